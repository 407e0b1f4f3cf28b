//! What [Kueue](https://kueue.sigs.k8s.io) reads of a plain Pod: labels that the task's own are copied to.

use crate::api::RetryableTask;
use serde_json::{Map, Value};

/// The labels by which users tell Kueue of a workload. (`pkg/controller/constants` and `pkg/controller/jobframework` of Kueue:
/// all three are labels.)
const LABELS: [&str; 3] =
    ["kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class", "kueue.x-k8s.io/max-exec-time-seconds"];

/// Copies the task's labels for Kueue to a Pod's. Those of the template win.
pub fn copy_labels(task: &RetryableTask, labels: &mut Map<String, Value>) {
    let of_task = task.metadata.labels.as_ref();
    for (name, value) in LABELS.iter().filter_map(|name| Some((name, of_task?.get(*name)?))) {
        labels.entry(*name).or_insert_with(|| value.clone().into());
    }
}
