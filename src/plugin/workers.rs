//! Where attempts run: by node.

use super::table::Table;
use crate::api::LABEL_TASK_NAME;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

/// The attempts on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    running: usize,
    starting: usize,
    stopping: usize,
    tasks: Vec<String>,
}

/// How many names of tasks a row has.
const NAMED_TASKS: usize = 5;

/// The Pods of attempts that have not ended, by their node.
pub fn table(pods: &[Pod], with_namespace: bool) -> Table {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let labels = pod.metadata.labels.as_ref();
        let Some(task) = labels.and_then(|labels| labels.get(LABEL_TASK_NAME)) else { continue };
        let name = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_else(|| "<none>".into());
        let node = nodes.entry(name).or_default();
        match phase {
            _ if pod.metadata.deletion_timestamp.is_some() => node.stopping += 1,
            Some("Running") => node.running += 1,
            _ => node.starting += 1,
        }
        let namespace = pod.metadata.namespace.as_deref().filter(|_| with_namespace);
        node.tasks.push(namespace.map_or_else(|| task.clone(), |namespace| format!("{namespace}/{task}")));
    }
    let mut table = Table::new(&["NODE", "RUNNING", "STARTING", "STOPPING", "TASKS"]);
    table.rows = nodes
        .into_iter()
        .map(|(name, Node { running, starting, stopping, mut tasks })| {
            tasks.sort();
            let rest = tasks.len().saturating_sub(NAMED_TASKS);
            tasks.truncate(NAMED_TASKS);
            let more = if rest > 0 { format!(",+{rest}") } else { String::new() };
            vec![name, running.to_string(), starting.to_string(), stopping.to_string(), tasks.join(",") + &more]
        })
        .collect();
    table
}
