//! Faults between the operator and the API server, and within the cluster: the task ends as it would without them.

pub mod faulty_writes;
mod network;
mod schedule_runs;
mod stale_reads;
mod webhooks_and_rights;

use crate::support::oracle::{ExpectedRun, nothing_more_is_written};
use crate::support::proxy::Proxy;
use crate::support::record::Record;
use crate::support::{Operator, Scene, sh};
use retryable_tasks::api::RetryableTaskStatus;
use serde_json::{Value, json};

/// Fails `failures` times and then succeeds. Each attempt prints its number.
pub fn unlucky(name: &str, failures: i32, delay: i32) -> Value {
    let script = format!("echo attempt $RETRYABLE_ATTEMPT; test $RETRYABLE_ATTEMPT -gt {failures}");
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": delay, "jitter": {"mode": "None"}});
    sh(name, &script, &json!({"backoff": backoff, "podRetention": {"failed": 0}}))
}

/// An operator that goes through the proxy.
pub fn through(proxy: &Proxy, scene: &Scene) -> Operator {
    Operator::spawn_with(&scene.operator_user(), &scene.namespace, &[], Some(proxy.kubeconfig()))
}

/// Asserts that such a task ends as it would without faults.
async fn ends_as_expected(scene: &Scene, record: &Record, failures: i32) -> RetryableTaskStatus {
    let status = ExpectedRun::of(failures).is_recorded(scene, record).await;
    nothing_more_is_written(scene).await;
    status
}
