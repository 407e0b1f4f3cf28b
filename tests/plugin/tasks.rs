//! Objects as a cluster has them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The time so many seconds ago; in the future if negative. A little is left for the program to start.
pub fn ago(seconds: i64) -> String {
    Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).unwrap().to_string()
}

/// An object with that name in `shop`, created 65 minutes ago.
pub fn object(kind: &str, name: &str, more: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "7",
        "generation": 1, "creationTimestamp": ago(65 * 60 + 20)});
    let mut object = json!({"apiVersion": "retryable.dev/v1alpha1", "kind": kind, "metadata": metadata});
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

pub fn task(name: &str, status: &Value) -> Value {
    let mut status = status.clone();
    status["observedGeneration"] = json!(1);
    object("RetryableTask", name, &json!({"spec": {"image": "shop/import:1.4"}, "status": status}))
}

/// It waits for its second attempt, which is due in an hour.
pub fn waiting(name: &str) -> Value {
    let due = ago(-3630);
    task(
        name,
        &json!({"state": "Waiting", "attempts": 1, "retries": 1, "reason": "Error", "message": "no route to host 7",
            "nextRetryTime": due, "history": [entry(1, 7)],
            "lastFailure": {"attempt": 1, "reason": "Error", "exitCode": 3, "message": "no route to host 7"},
            "current": {"number": 2, "dueTime": due, "wait": {"from": ago(5), "action": "Retry", "charged": true}}}),
    )
}

/// It has failed after its only attempt.
pub fn failed(name: &str, host: i64) -> Value {
    let message = "the only attempt failed (maxRetries 0); the last ended with Error, exit code 3";
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "RetriesExhausted", "message": message, "lastTransitionTime": ago(7530)});
    task(
        name,
        &json!({"state": "Failed", "attempts": 1, "reason": "Error", "message": format!("no route to host {host}"),
            "startTime": ago(7540), "completionTime": ago(7530), "duration": "10s", "history": [entry(1, host)],
            "lastFailure": {"attempt": 1, "reason": "Error", "exitCode": 3, "message": format!("no route to host {host}")},
            "conditions": [condition("Failed"), condition("Finished"), condition("Stalled")]}),
    )
}

/// It has succeeded.
pub fn succeeded(name: &str) -> Value {
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "Succeeded", "message": "attempt 1 succeeded", "lastTransitionTime": ago(7530)});
    task(
        name,
        &json!({"state": "Succeeded", "attempts": 1, "startTime": ago(7540), "completionTime": ago(7530), "duration": "10s",
            "history": [{"attempt": 1, "podName": "p", "reason": "Completed", "exitCode": 0, "action": "Complete"}],
            "conditions": [condition("Complete"), condition("Finished")]}),
    )
}

fn entry(attempt: i32, host: i64) -> Value {
    json!({"attempt": attempt, "podName": format!("pod-{attempt}"), "nodeName": "node-1", "reason": "Error", "exitCode": 3,
        "startTime": "2026-11-22T10:00:00Z", "finishTime": "2026-11-22T10:00:10Z", "action": "Retry", "delayMilliseconds": 1500,
        "message": format!("starting\nno route to host {host}")})
}

/// With other metadata.
pub fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// In that queue.
pub fn in_queue(mut task: Value, queue: &str) -> Value {
    task["spec"]["queue"] = json!({"name": queue});
    task
}
