//! Tasks to apply.

use serde_json::{Value, json};

/// An image that every node has.
pub const IMAGE: &str = "docker.io/library/busybox:1";

/// A task.
pub fn task(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": {"name": name}, "spec": spec})
}

/// A task that runs a shell script, with more fields of its spec in `more`.
pub fn sh(name: &str, script: &str, more: &Value) -> Value {
    let mut manifest = task(name, &json!({"image": IMAGE, "command": ["sh", "-c", script]}));
    let more = more.as_object().expect("the further fields are an object");
    manifest["spec"].as_object_mut().unwrap().extend(more.clone());
    manifest
}

/// A script that runs until it is stopped, and then stops at once: a shell as process 1 ignores signals that it has no
/// trap for.
pub const UNTIL_STOPPED: &str = "trap 'exit 143' TERM; while :; do sleep 1 & wait $!; done";

/// A task whose Pods run on simulated nodes, fail so often and then succeed; `annotations` say more of how, as
/// `tests/cluster/simulated-nodes.yaml` tells.
pub fn simulated(name: &str, failures: i32, annotations: &Value, more: &Value) -> Value {
    let mut all = json!({"simulate.retryable.dev/failures": failures.to_string()});
    all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
    let template = json!({"metadata": {"annotations": all}, "spec": {
        "nodeSelector": {"retryable.dev/simulated": "true"},
        "tolerations": [{"key": "retryable.dev/simulated", "operator": "Exists"}]}});
    let mut manifest = task(name, &json!({"image": "none", "template": template}));
    manifest["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manifest
}
