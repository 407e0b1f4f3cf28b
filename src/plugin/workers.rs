//! Where attempts run: by node.

use super::table::Table;
use crate::api::LABEL_TASK_NAME;
use crate::core::fingerprint::TaskId;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The attempts on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name. None for attempts that no node has taken yet.
    pub name: Option<String>,
    /// Attempts whose Pods run.
    pub running: usize,
    /// Attempts whose Pods have not started.
    pub starting: usize,
    /// Attempts whose Pods are being deleted.
    pub stopping: usize,
    /// The tasks of all of these, in their order.
    pub tasks: Vec<TaskId>,
}

/// How many names of tasks a row has.
const NAMED_TASKS: usize = 5;

/// The attempts that have not ended, by the nodes of their Pods.
pub fn nodes(pods: &[Pod]) -> Vec<Node> {
    let mut nodes: BTreeMap<Option<String>, Node> = BTreeMap::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let labels = pod.metadata.labels.as_ref();
        let Some(task) = labels.and_then(|labels| labels.get(LABEL_TASK_NAME)) else { continue };
        let name = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let node = nodes.entry(name.clone()).or_insert_with(|| Node { name, ..Node::default() });
        match phase {
            _ if pod.metadata.deletion_timestamp.is_some() => node.stopping += 1,
            Some("Running") => node.running += 1,
            _ => node.starting += 1,
        }
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        node.tasks.push(TaskId { namespace, name: task.clone() });
    }
    let sorted = |mut node: Node| {
        node.tasks.sort();
        node
    };
    nodes.into_values().map(sorted).collect()
}

/// The nodes as rows. `wide`: with the names of all tasks.
pub fn table(nodes: &[Node], with_namespace: bool, wide: bool) -> Table {
    let mut table = Table::new(&["NODE", "RUNNING", "STARTING", "STOPPING", "TASKS"]);
    let row = |node: &Node| {
        let Node { name, running, starting, stopping, tasks } = node;
        let shown = if wide { tasks.len() } else { NAMED_TASKS };
        let mut named: Vec<String> = tasks
            .iter()
            .take(shown)
            .map(|TaskId { namespace, name }| if with_namespace { format!("{namespace}/{name}") } else { name.clone() })
            .collect();
        let rest = tasks.len().saturating_sub(shown);
        named.extend((rest > 0).then(|| format!("+{rest}")));
        let name = name.clone().unwrap_or_else(|| "<none>".into());
        vec![name, running.to_string(), starting.to_string(), stopping.to_string(), named.join(",")]
    };
    table.rows = nodes.iter().map(row).collect();
    table
}

/// The nodes for programs.
pub fn json(nodes: &[Node]) -> Value {
    let one = |node: &Node| {
        let Node { name, running, starting, stopping, tasks } = node;
        let tasks: Vec<Value> =
            tasks.iter().map(|TaskId { namespace, name }| json!({"namespace": namespace, "name": name})).collect();
        json!({"node": name, "running": running, "starting": starting, "stopping": stopping, "tasks": tasks})
    };
    json!({"nodes": nodes.iter().map(one).collect::<Vec<_>>()})
}
