//! A task that this version of the operator cannot parse.

use super::unstored_status;
use crate::controller::context::Context;
use crate::controller::process_state::TaskState;
use crate::controller::task_api::TaskApi;
use crate::controller::{Error, TaskKey};
use crate::core::decide::PodRef;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::error_boundary::InvalidObject;
use std::time::Duration;

/// When the cleanup of such a task is retried.
const CLEANUP_RETRY_DELAY: Duration = Duration::from_secs(10);

/// Writes into the task's status that it cannot be read. Its Pods stay as they are. If the task is being deleted, removes
/// the finalizer from its Pods instead. Returns when to retry.
///
/// # Errors
/// When the status could not be written.
pub async fn handle(
    key: &TaskKey,
    task: ObjectReference,
    invalid: &InvalidObject,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let message = format!("the operator cannot read this task: {}", invalid.error);
    tracing::warn!(error = invalid.error, "cannot read the task");
    let api = TaskApi::new(context, key);
    let uid = invalid.metadata.uid.as_deref().unwrap_or_default();
    if invalid.metadata.deletion_timestamp.is_some() {
        let done = api.cleanup(&[], &pods_with_finalizer(context, key, uid)).await;
        return Ok((!done).then_some(CLEANUP_RETRY_DELAY));
    }
    let marked = api.mark_unreadable(invalid, &message).await;
    if let Err(error) = marked.map_err(Error::request(key, "cannot mark the task as unreadable")) {
        unstored_status::report(context, key, (uid, task), &error, None);
        return Err(error);
    }
    context.process_states.with(key, uid, TaskState::stored);
    Ok(None)
}

fn pods_with_finalizer(context: &Context, key: &TaskKey, task_uid: &str) -> Vec<PodRef> {
    let pods = context.pod_cache.of(key).into_iter();
    pods.filter(|tracked| tracked.pod.has_finalizer && !tracked.deleted && tracked.pod.task_uid == task_uid)
        .map(|tracked| PodRef { name: tracked.pod.pod_name, uid: tracked.pod.pod_uid })
        .collect()
}
