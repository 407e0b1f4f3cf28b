//! Fuzzes the status of a task and of its Pods: forged and odd ones too.

use super::life::Life;
use retryable_tasks::api::RetryableTask;
use serde_json::{Value, json};

/// Specs that together use all features.
fn specs() -> [Value; 4] {
    [
        json!({"image": "busybox", "ttlSecondsAfterFinished": 60}),
        json!({"image": "busybox", "maxRetries": 2, "onOutOfMemory": {}, "resources": {"limits": {"memory": "64Mi"}},
            "onFailure": {"command": ["report"]}, "overrides": [{"fromAttempt": 2, "nodeSelector": {"big": "yes"}}],
            "backoff": {"strategy": "Fibonacci"}, "historyLimit": 3}),
        json!({"image": "busybox", "maxRetries": 1, "attemptTimeoutSeconds": 30, "activeDeadlineSeconds": 3600,
            "startupTimeoutSeconds": 20, "budgets": {"disruptions": 2, "outOfMemory": 1, "startup": 1},
            "rules": [
                {"name": "bad", "when": {"exitCodes": ["64-78", 3]}, "action": "Fail"},
                {"name": "slow", "when": {"message": "(?i)x+", "podConditions": ["Ready"]}, "action": "Retry",
                 "maxRetries": 2, "backoff": {"strategy": "List", "delaysSeconds": [1, 5]}},
                {"name": "node", "when": {"signals": ["KILL"], "reasons": ["Evicted", "Error"]}, "action": "Ignore"}]}),
        json!({"maxRetries": 3, "podRetention": {"failed": 9, "succeeded": 0}, "historyLimit": 100,
            "template": {"spec": {"initContainers": [{"name": "mesh", "restartPolicy": "Always", "image": "m"},
                {"name": "setup", "image": "s"}],
            "containers": [{"name": "main", "image": "a"}, {"name": "proxy", "image": "b"}]}}}),
    ]
}

/// Runs a task and returns whether any Pod was created. Reads `{"task": n, "status": …, "pods": [{"metadata": …,
/// "status": …}]}`: which of the specs, the status that is stored first, and the attempts' Pods in their order. Each
/// may be left out.
///
/// # Panics
/// If an invariant is violated: that is the finding.
pub fn pod(data: &[u8]) -> bool {
    let Ok(input) = serde_json::from_slice::<Value>(data) else { return false };
    let specs = specs();
    let which = input["task"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0) % specs.len();
    let mut task = RetryableTask::new("import-orders", serde_json::from_value(specs[which].clone()).unwrap());
    // The operator decides nothing about a task whose status it cannot read.
    let Ok(status) = serde_json::from_value(input["status"].clone()) else { return false };
    task.status = status;
    let pods = input["pods"].as_array().cloned().unwrap_or_default();
    Life::new(task, &pods).live() > 0
}
