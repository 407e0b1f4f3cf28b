//! Fuzzes manifests: admits them, and runs the tasks that are admitted.

use super::life::Life;
use retryable_tasks::admission::{Admission, Notation};
use serde_json::{Value, json};
use std::sync::LazyLock;

static ADMISSION: LazyLock<Admission> = LazyLock::new(Admission::new);

/// Admits the manifest in `data`. If it is valid, the task runs, and each attempt fails in another way. Returns whether
/// it was admitted.
///
/// # Panics
/// If an invariant is violated: that is the finding.
pub fn spec(data: &[u8]) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Value>(data) else { return false };
    let Ok(task) = ADMISSION.admit(&manifest, Notation::Json) else { return false };
    let ends = [
        json!({"phase": "Failed", "containerStatuses": [{"name": "task", "state": {"terminated": {
            "exitCode": 1, "reason": "Error", "message": "it broke", "startedAt": "2026-11-22T10:00:01Z",
            "finishedAt": "2026-11-22T10:00:02Z"}}}]}),
        json!({"phase": "Failed", "containerStatuses": [{"name": "task", "state": {"terminated": {
            "exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-22T10:00:02Z"}}}]}),
        json!({"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]}),
    ];
    let pods: Vec<Value> = ends.map(|status| json!({"status": status})).into();
    Life::new(task, &pods).live() > 0
}
