//! Faults between the operator and the API server, and within the cluster: the story is told as if nothing had been.

mod cluster;
mod network;
mod writes;

use crate::support::proxy::Proxy;
use crate::support::record::{Record, assert_waits};
use crate::support::{Operator, Scene, sh};
use retryable_tasks::api::{RetryableTask, RetryableTaskStatus, State};
use serde_json::{Value, json};

/// Fails so often and then succeeds, each time with words of its own.
fn unlucky(name: &str, failures: i32, delay: i32) -> Value {
    let script = format!("echo attempt $RETRYABLE_ATTEMPT; test $RETRYABLE_ATTEMPT -gt {failures}");
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": delay, "jitter": {"mode": "None"}});
    sh(name, &script, &json!({"backoff": backoff, "podRetention": {"failed": 0}}))
}

/// An operator that goes through the proxy.
fn through(proxy: &Proxy, scene: &Scene) -> Operator {
    Operator::spawn_with(&scene.operator_user(), &scene.namespace, &[], Some(proxy.kubeconfig()))
}

/// What must be true of such a task in the end, whatever happened: each attempt once, with its own outcome, after its
/// wait, in the books and in the counters.
async fn told_as_it_was(scene: &Scene, record: &Record, failures: i32) -> RetryableTaskStatus {
    let versions = record.until_finished().await;
    assert_waits(scene, &versions);
    let status = last(&versions);
    let told: Vec<_> =
        status.history.iter().map(|entry| (entry.attempt, entry.exit_code, entry.message.clone())).collect();
    let expected: Vec<_> = (1..=failures + 1)
        .map(|n| (n, Some(i32::from(n <= failures)), (n <= failures).then(|| format!("attempt {n}"))))
        .collect();
    let told_of_success =
        |(n, code, message): (i32, Option<i32>, Option<String>)| (n, code, message.filter(|_| n <= failures));
    assert_eq!(told.into_iter().map(told_of_success).collect::<Vec<_>>(), expected);
    assert_eq!(
        (status.state, status.attempts, status.retries, status.ignored),
        (Some(State::Succeeded), failures + 1, failures, 0)
    );
    status
}

fn last(versions: &[RetryableTask]) -> RetryableTaskStatus {
    versions.last().and_then(|task| task.status.clone()).unwrap()
}
