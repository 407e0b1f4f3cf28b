//! Faults between the operator and the API server, and within the cluster: the story is told as if nothing had been.

mod cluster;
mod network;
mod stale;
pub mod writes;

use crate::support::oracle::{Life, nothing_more_is_written};
use crate::support::proxy::Proxy;
use crate::support::record::Record;
use crate::support::{Operator, Scene, sh};
use retryable_tasks::api::RetryableTaskStatus;
use serde_json::{Value, json};

/// Fails so often and then succeeds, each time with words of its own.
pub fn unlucky(name: &str, failures: i32, delay: i32) -> Value {
    let script = format!("echo attempt $RETRYABLE_ATTEMPT; test $RETRYABLE_ATTEMPT -gt {failures}");
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": delay, "jitter": {"mode": "None"}});
    sh(name, &script, &json!({"backoff": backoff, "podRetention": {"failed": 0}}))
}

/// An operator that goes through the proxy.
pub fn through(proxy: &Proxy, scene: &Scene) -> Operator {
    Operator::spawn_with(&scene.operator_user(), &scene.namespace, &[], Some(proxy.kubeconfig()))
}

/// What must be true of such a task in the end.
async fn told_as_it_was(scene: &Scene, record: &Record, failures: i32) -> RetryableTaskStatus {
    let status = Life::of(failures).is_told(scene, record).await;
    nothing_more_is_written(scene).await;
    status
}
