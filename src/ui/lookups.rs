//! What is read when a page asks for it: one task, and the operator's replicas.

use super::cache::error_text;
use super::views::task::Answer;
use super::views::workers::Replica;
use crate::api::RetryableTask;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer on the replicas holds.
const FRESH: Duration = Duration::from_secs(5);

/// Where the operator's replicas are.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Their namespace.
    pub namespace: String,
    /// The labels of their Pods.
    pub selector: String,
    /// The name of their Lease.
    pub lease: String,
}

/// The task, whether this version can read it or not.
pub async fn read_task(client: &Client, namespace: &str, name: &str) -> Answer {
    let kind = ApiResource::erase::<RetryableTask>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    match api.get_opt(name).await {
        Ok(Some(task)) => match serde_json::to_value(task) {
            Ok(task) => Answer::Found(task),
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Ok(None) => Answer::Missing,
        Err(error) => Answer::Unavailable(error_text(&error)),
    }
}

/// The operator's replicas, by name; or why they cannot be shown.
pub type Found = Result<Vec<Replica>, String>;

/// The operator's replicas. They are read from the API server, every [`FRESH`] at most, however many look.
pub struct Replicas {
    operator: Option<Operator>,
    /// What was found last, and when.
    last: Mutex<Option<(Instant, Found)>>,
}

impl Replicas {
    /// Those of that operator, if it is known where it is.
    pub fn of(operator: Option<Operator>) -> Self {
        Self { operator, last: Mutex::default() }
    }

    /// The replicas, for somebody who may see them or not.
    ///
    /// # Errors
    /// Why they cannot be shown.
    pub async fn find(&self, client: &Client, may_see: bool) -> Found {
        let Some(operator) = &self.operator else {
            return Err("Start the page with --operator-namespace to see the operator's replicas.".into());
        };
        if !may_see {
            return Err(format!(
                "You may not list the Pods of namespace {}, where the operator is.",
                operator.namespace
            ));
        }
        // Who comes meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((_, found)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return found.clone();
        }
        let found = read(client, operator).await;
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

async fn read(client: &Client, operator: &Operator) -> Found {
    let Operator { namespace, selector, lease } = operator;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let found = pods.list(&ListParams::default().labels(selector)).await;
    let found = found.map_err(|error| format!("The operator's Pods cannot be read: {}", error_text(&error)))?;
    // Without the Lease, or without the right to read it, nobody knows who leads.
    let lease = leases.get_opt(lease).await.ok().flatten();
    let leader = lease.and_then(|lease| lease.spec?.holder_identity).filter(|leader| !leader.is_empty());
    let mut replicas: Vec<Replica> = found.into_iter().map(|pod| replica(&pod, leader.as_deref())).collect();
    replicas.sort_by(|a, b| a.pod.cmp(&b.pod));
    Ok(replicas)
}

fn replica(pod: &Pod, leader: Option<&str>) -> Replica {
    let status = pod.status.as_ref();
    let is_ready =
        |condition: &k8s_openapi::api::core::v1::PodCondition| condition.type_ == "Ready" && condition.status == "True";
    let container = status.and_then(|status| status.container_statuses.as_ref()?.first());
    let name = pod.name_any();
    Replica {
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        is_ready: status.and_then(|status| status.conditions.as_ref()).into_iter().flatten().any(is_ready),
        leads: leader.map(|leader| leader == name),
        restarts: container.map_or(0, |container| container.restart_count),
        started: status.and_then(|status| status.start_time.as_ref()).map(|at| at.0),
        image: container.map(|container| container.image.clone()).unwrap_or_default(),
        pod: name,
    }
}
