//! The requests that a plan asks for. Each is sent once: what comes of a request that got no answer is found out by
//! looking.

use super::reconcile::Context;
use super::{Error, TaskKey};
use crate::api::{FINALIZER, RetryableTask, RetryableTaskStatus};
use crate::core::build_pod::pod;
use crate::core::decide::{PodLookup, PodRef, STOP_DEADLINE_SECONDS, StopMethod, unreadable};
use crate::core::message;
use crate::core::pod_event::{PodWarning, newest_warning as newest_warning_of};
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::rejection::{Refusal, Rejection, is_of_admission, is_of_this_change};
use crate::core::slot::Slot;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::core::error_boundary::InvalidObject;
use kube::{Client, ResourceExt};
use serde_json::json;
use std::sync::atomic::Ordering;

/// Most events about one Pod that are looked at: the kubelet counts up those that say the same.
const MOST_EVENTS: u32 = 100;

/// What came of storing a status.
pub enum Stored {
    /// It is stored; the task as it is now.
    Done(Box<RetryableTask>),
    /// Somebody else has written since, in the server's words.
    Conflict(String),
    /// The task is gone.
    Gone,
}

/// What came of creating a Pod.
pub enum Created {
    /// It was created, with this UID.
    Done(String),
    /// It was there, and is ours.
    Adopted,
    /// It was not, or nobody knows.
    Rejected(Rejection),
}

fn tasks(context: &Context, key: &TaskKey) -> Api<RetryableTask> {
    Api::namespaced(context.settings.client.clone(), &key.namespace)
}

fn pods(context: &Context, key: &TaskKey) -> Api<Pod> {
    Api::namespaced(context.settings.client.clone(), &key.namespace)
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the object is gone or has changed, so that the watch will tell. An admission webhook may choose these codes
/// too, and then says nothing of the object.
fn is_gone_or_changed(error: &kube::Error) -> bool {
    matches!(code(error), Some(404 | 409)) && !is_denied(error)
}

/// Whether an admission webhook or policy has denied the request, or fails: whatever the code, it will again.
fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_of_admission(&status.message))
}

/// Stores `status`, if the task is still the one that was read. Sent only while this process may write.
pub async fn store(
    context: &Context,
    key: &TaskKey,
    task: &RetryableTask,
    status: RetryableTaskStatus,
) -> Result<Stored, Error> {
    if !(context.settings.may_write)() {
        return Err(Error::NotLeading(key.clone()));
    }
    let next = RetryableTask { status: Some(status), ..task.clone() };
    match tasks(context, key).replace_status(&key.name, &PostParams::default(), &next).await {
        Ok(mut stored) => {
            stored.managed_fields_mut().clear();
            Ok(Stored::Done(Box::new(stored)))
        }
        // A webhook can say so too.
        Err(error)
            if code(&error) == Some(404) && read(context, key).await?.is_none_or(|live| live.uid() != task.uid()) =>
        {
            Ok(Stored::Gone)
        }
        Err(error) if code(&error) == Some(409) => Ok(Stored::Conflict(rejection(&error).message)),
        Err(error) => Err(Error::request(key, "storing the status")(error)),
    }
}

/// The task as it is in the store of the API server.
pub async fn read(context: &Context, key: &TaskKey) -> Result<Option<RetryableTask>, Error> {
    let mut live = tasks(context, key).get_opt(&key.name).await.map_err(Error::request(key, "reading the task"))?;
    if let Some(live) = live.as_mut() {
        live.managed_fields_mut().clear();
    }
    Ok(live)
}

/// Asks the API server for a Pod of the task. A Pod that is there goes to the cache.
pub async fn ask(context: &Context, key: &TaskKey, uid: &str, pod_name: &str) -> Result<PodLookup, Error> {
    let known = context.pod_cache.uid_of(key, pod_name);
    let found = pods(context, key).get_opt(pod_name).await.map_err(Error::request(key, "looking the Pod up"))?;
    let Some(found) = found else {
        if let Some(known) = known {
            context.pod_cache.answered_gone(key, pod_name, &known);
        }
        return Ok(PodLookup::NotFound);
    };
    if !is_ours(&found, uid) {
        return Ok(PodLookup::NotOwned);
    }
    context.pod_cache.answered(&found, context.now());
    Ok(PodLookup::Found)
}

/// The newest Warning event about the Pod, if there is one. Fails where the API server does not say.
pub async fn newest_warning(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<Option<PodWarning>, kube::Error> {
    let events: Api<Event> = Api::namespaced(context.settings.client.clone(), &key.namespace);
    let selector = format!("involvedObject.uid={},type=Warning", pod.uid);
    match events.list(&ListParams::default().fields(&selector).limit(MOST_EVENTS)).await {
        Ok(list) => Ok(newest_warning_of(&list.items)),
        Err(error) => {
            if !context.events_are_unreadable.swap(true, Ordering::Relaxed) {
                tracing::warn!(%key, %error, "events cannot be read: what keeps Pods from starting is reported without them");
            }
            Err(error)
        }
    }
}

fn is_ours(found: &Pod, uid: &str) -> bool {
    PodSnapshot::of(found).is_some_and(|snapshot| snapshot.owned && snapshot.task_uid == uid)
}

/// Creates the Pod of an attempt or of the fallback. Sent only while this process may write.
pub async fn create(context: &Context, key: &TaskKey, task: &RetryableTask, slot: Slot) -> Result<Created, Error> {
    let body = pod(task, slot, context.holds_pods_in(&key.namespace));
    let name = body.pointer("/metadata/name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    if !(context.settings.may_write)() {
        return Err(Error::NotLeading(key.clone()));
    }
    match post_pod(&context.settings.client, key, &body).await {
        Ok(created) => {
            context.pod_cache.answered(&created, context.now());
            Ok(Created::Done(created.uid().unwrap_or_default()))
        }
        Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
            Ok(match ask(context, key, &task.uid().unwrap_or_default(), &name).await {
                Ok(PodLookup::Found) => Created::Adopted,
                // Gone again in between, or a webhook's words.
                Ok(PodLookup::NotFound) => Created::Rejected(rejection(&kube::Error::Api(status))),
                Ok(PodLookup::NotOwned) => Created::Rejected(Rejection {
                    answer: Refusal::NameConflict,
                    message: format!(
                        "a Pod that is not this task's has the name {name}: delete it, or run the task under another name"
                    ),
                }),
                Err(error) => Created::Rejected(Rejection { answer: Refusal::NoAnswer, message: words(&error) }),
            })
        }
        Err(error) => Ok(Created::Rejected(rejection(&error))),
    }
}

/// A creation that failed, whatever came of it.
fn rejection(error: &kube::Error) -> Rejection {
    match error {
        kube::Error::Api(status) => {
            let said = if status.message.is_empty() { &status.reason } else { &status.message };
            let said =
                if said.is_empty() { format!("the API server answered with {}", status.code) } else { said.clone() };
            let message = message::short(&said, message::MAX_MESSAGE_BYTES);
            Rejection { answer: Refusal::Code(status.code), message }
        }
        error => Rejection { answer: Refusal::NoAnswer, message: words(error) },
    }
}

/// An error with its causes, as far as they say more; or the API server's own words alone.
pub fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let boxed = error.downcast_ref::<Box<kube::Error>>().map(|boxed| &**boxed);
        if let Some(kube::Error::Api(status)) = boxed.or_else(|| error.downcast_ref()) {
            said.clone_from(&status.message);
            break;
        }
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    message::short(&said, message::MAX_MESSAGE_BYTES)
}

/// Creates with strict field validation: a misspelt field of the template comes back as a rejection instead of being
/// dropped.
async fn post_pod(client: &Client, key: &TaskKey, body: &serde_json::Value) -> Result<Pod, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods?fieldValidation=Strict", key.namespace);
    let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(bytes)
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// Deletes the task, if it is still the one that was read.
pub async fn delete_task(context: &Context, key: &TaskKey, task: &RetryableTask) -> Result<(), Error> {
    let preconditions = Some(Preconditions { uid: task.uid(), resource_version: task.resource_version() });
    let parameters = DeleteParams {
        preconditions,
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match tasks(context, key).delete(&key.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone_or_changed(&error) => Ok(()),
        Err(error) => Err(Error::request(key, "deleting the task after its time")(error)),
    }
}

/// Stops the current attempt's Pod, with the grace that it asks for.
pub async fn stop(context: &Context, key: &TaskKey, pod: &PodRef, method: StopMethod) -> Result<(), Error> {
    let stopped = match method {
        StopMethod::Deadline => end_pod(context, key, pod).await,
        StopMethod::Deletion => delete_pod(context, key, pod).await,
    };
    stopped.map_err(Error::request(key, "stopping the Pod"))
}

/// Has the kubelet end the Pod, which stays. A Pod that the API server lets nobody change so is deleted.
async fn end_pod(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"uid": pod.uid}, "spec": {"activeDeadlineSeconds": STOP_DEADLINE_SECONDS}});
    match pods(context, key).patch(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(stopping) => {
            context.pod_cache.changed(&stopping, context.now());
            Ok(())
        }
        Err(error) if is_refusal(&error) => {
            tracing::warn!(%key, pod = pod.name, %error, "the Pod cannot be given a deadline: it is deleted to stop it");
            delete_pod(context, key, pod).await
        }
        Err(error) => unless_gone(context, key, pod, error).await,
    }
}

/// Whether the API server will not make this change, however often it is asked.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_of_this_change(status.code, &status.reason, &status.message))
}

/// Deletes the Pod, if its main container has not started; false if it has, or has changed in between, and the cache
/// knows more of it than before. The precondition on its version makes sure that none is deleted that has started.
pub async fn delete_if_pending(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<bool, Error> {
    let failed = || Error::request(key, "replacing the Pod");
    let Some(found) = pods(context, key).get_opt(&pod.name).await.map_err(failed())? else {
        context.pod_cache.answered_gone(key, &pod.name, &pod.uid);
        return Ok(false);
    };
    context.pod_cache.answered(&found, context.now());
    if found.metadata.uid.as_ref() != Some(&pod.uid)
        || !PodSnapshot::of(&found).is_some_and(|snapshot| snapshot.can_be_replaced())
    {
        return Ok(false);
    }
    let preconditions = Some(Preconditions { uid: found.uid(), resource_version: found.resource_version() });
    match pods(context, key).delete(&pod.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(answer) => {
            if let Some(deleting) = answer.left() {
                context.pod_cache.changed(&deleting, context.now());
            }
            Ok(true)
        }
        Err(error) if is_gone_or_changed(&error) => Ok(false),
        Err(error) => Err(failed()(error)),
    }
}

/// Deletes Pods, then frees Pods. Every Pod is tried; false if any could not be done.
pub async fn cleanup(context: &Context, key: &TaskKey, delete: &[PodRef], release: &[PodRef]) -> bool {
    let mut ok = true;
    for pod in delete {
        ok &= told(context, key, "deleting the Pod", &pod.name, &delete_pod(context, key, pod).await);
    }
    for pod in release {
        ok &= told(context, key, "freeing the Pod", &pod.name, &free_pod(context, key, pod).await);
    }
    ok
}

fn told(context: &Context, key: &TaskKey, what: &'static str, pod: &str, result: &Result<(), kube::Error>) -> bool {
    if let Err(error) = result {
        context.settings.telemetry.metrics.reconcile_failed("cleanup");
        tracing::warn!(%key, pod, %error, "{what} failed; trying again later");
    }
    result.is_ok()
}

async fn delete_pod(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<(), kube::Error> {
    let preconditions = Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None });
    match pods(context, key).delete(&pod.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(answer) => {
            if let Some(deleting) = answer.left() {
                context.pod_cache.changed(&deleting, context.now());
            }
            Ok(())
        }
        Err(error) => unless_gone(context, key, pod, error).await,
    }
}

/// Removes our finalizer and leaves those of others.
pub async fn free_pod(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    match pods(context, key).patch(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(freed) => {
            context.pod_cache.changed(&freed, context.now());
            Ok(())
        }
        Err(error) => unless_gone(context, key, pod, error).await,
    }
}

/// The error, unless it means that the Pod is gone: there is none of that name, or one with another UID. A conflict
/// says that, or that others were writing at the same time, and a webhook may answer as if the Pod were gone: the API
/// server is asked which.
async fn unless_gone(context: &Context, key: &TaskKey, pod: &PodRef, error: kube::Error) -> Result<(), kube::Error> {
    let is_gone = match code(&error) {
        Some(404) if !is_denied(&error) => true,
        Some(404 | 409) => {
            pods(context, key).get_metadata_opt(&pod.name).await?.and_then(|live| live.uid()) != Some(pod.uid.clone())
        }
        _ => false,
    };
    if !is_gone {
        return Err(error);
    }
    context.pod_cache.answered_gone(key, &pod.name, &pod.uid);
    Ok(())
}

/// Writes into the status of a task that cannot be read why it cannot, once, and leaves the rest of the status as it
/// is.
pub async fn mark_unreadable(
    context: &Context,
    key: &TaskKey,
    invalid: &InvalidObject,
    message: &str,
) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(
        context.settings.client.clone(),
        &key.namespace,
        &ApiResource::erase::<RetryableTask>(&()),
    );
    let Some(mut live) = api.get_opt(&key.name).await? else { return Ok(()) };
    if live.metadata.resource_version != invalid.metadata.resource_version {
        return Ok(()); // the watch will show what it is now
    }
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let before = live.data.get("status").cloned().unwrap_or_default();
    let Some(after) = unreadable(&before, message, (context.now(), live.metadata.generation)) else { return Ok(()) };
    live.data["status"] = after;
    if !(context.settings.may_write)() {
        return Ok(()); // the next leader will see it
    }
    match api.replace_status(&key.name, &PostParams::default(), &live).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone_or_changed(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
