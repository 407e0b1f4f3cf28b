//! Tasks that share a TaskQueue, on a real cluster: a service in a Pod of its own, which is up, slow, rate limiting or down on
//! command, says what it was asked and when.

mod circuit;
mod fleet;
mod limits;
mod modes;
mod outage;
mod plot;
mod service;

use crate::support::{Scene, eventually};
use retryable_tasks::api::{State, TaskQueue, TaskQueueStatus};
use serde_json::{Value, json};

pub fn queue(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}, "spec": spec})
}

fn patch_queue(scene: &Scene, name: &str, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    scene.kubectl(&["patch", "taskqueue", name, "--type=merge", "--patch", &patch]).ok();
}

async fn queue_status(scene: &Scene, name: &str) -> TaskQueueStatus {
    scene.api::<TaskQueue>().get(name).await.unwrap().status.unwrap_or_default()
}

/// Waits until the queue's status is as `is` wants it. Answers it.
pub async fn until_queue(
    scene: &Scene,
    name: &str,
    what: &str,
    is: impl Fn(&TaskQueueStatus) -> bool,
) -> TaskQueueStatus {
    eventually(what, async || {
        let status = queue_status(scene, name).await;
        if is(&status) { Ok(status) } else { Err(format!("{status:#?}")) }
    })
    .await
}

fn is(state: State) -> impl Fn(&retryable_tasks::api::RetryableTaskStatus) -> bool {
    move |status| status.state == Some(state)
}
