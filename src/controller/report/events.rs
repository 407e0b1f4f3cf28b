//! The Event of a transition, as users see it: type, reason, note, and the Pod that it is about.

use super::MAX_NOTE_BYTES;
use crate::api::{Action, EventReason, HistoryEntry, HoldUp, RetryableTask, StopReason};
use crate::core::decide::{Request, Transition, Wait};
use crate::core::end_text::reason_and_code;
use crate::core::message::short;
use crate::core::slot::Slot;
use crate::core::time::human;
use k8s_openapi::api::core::v1::ObjectReference;
use kube_runtime::events::{Event, EventType};

/// The Event of a transition, if any. The task's end has one Event, which includes its last attempt.
pub(super) fn event(task: &RetryableTask, transition: Transition, finished: bool) -> Option<Event> {
    let (type_, reason, note, secondary) = match transition {
        Transition::Ended { .. } if finished => return None,
        // The Event of the request says it.
        Transition::Ended { entry, .. } if was_stopped(&entry, StopReason::RetryNow) => return None,
        Transition::Ended { entry, wait, line } => {
            let (type_, reason, note) = ended(&entry, wait, line.as_deref());
            (type_, reason, note, Some(pod_reference(task, entry.pod_name, entry.pod_uid)))
        }
        Transition::Finished { succeeded: true, reason, message } => {
            (EventType::Normal, reason.as_str(), message, None)
        }
        Transition::Finished { succeeded: false, reason, message } | Transition::Stalled { reason, message } => {
            (EventType::Warning, reason.as_str(), message, None)
        }
        Transition::Rescheduled { attempt, wait: Wait { due, .. } } => {
            let note = format!("attempt {attempt} is due at {due:.3}, since the spec has changed");
            (EventType::Normal, EventReason::RetryRescheduled.as_str(), note, None)
        }
        Transition::MemoryRaiseRejected { message } => {
            (EventType::Warning, EventReason::MemoryRaiseRejected.as_str(), message, None)
        }
        Transition::FallingBack { reason, message } => {
            let note = format!("the fallback is started, since the task has failed: {}: {message}", reason.as_str());
            (EventType::Normal, EventReason::FallbackStarted.as_str(), note, None)
        }
        Transition::Acknowledged { request: request @ (Request::RetryNow | Request::RunAgain), effect } => {
            (EventType::Normal, request.as_str(), effect, None)
        }
        Transition::UnknownAnnotation { effect } => {
            (EventType::Warning, EventReason::UnknownAnnotation.as_str(), effect, None)
        }
        Transition::ContainersStopped { slot, pod, containers } => {
            let note = containers_stopped(slot, &containers);
            let related = pod_reference(task, pod.name, Some(pod.uid));
            (EventType::Normal, EventReason::ContainersStopped.as_str(), note, Some(related))
        }
        Transition::HeldUp { slot, pod, hold_up: HoldUp { reason, message }, is_stage: false } => {
            let what = if slot.fallback { "the fallback".into() } else { format!("attempt {}", slot.number) };
            let said = message.map(|message| format!(": {message}")).unwrap_or_default();
            let related = pod_reference(task, pod.name, Some(pod.uid));
            let note = format!("{what} has not started: {reason}{said}");
            (EventType::Warning, EventReason::AttemptNotStarting.as_str(), note, Some(related))
        }
        // The Event of the task's end says it.
        Transition::Acknowledged { request: Request::Cancel, .. }
        | Transition::Started { .. }
        | Transition::HeldUp { .. } => {
            return None;
        }
    };
    Some(Event {
        type_,
        reason: reason.into(),
        note: Some(short(&note, MAX_NOTE_BYTES)),
        action: "Reconcile".into(),
        secondary,
    })
}

fn containers_stopped(slot: Slot, containers: &[String]) -> String {
    let of = if slot.fallback { "the fallback".to_owned() } else { format!("attempt {}", slot.number) };
    let names = containers.join(", ");
    format!(
        "the main container of {of} has ended, and its Pod is stopped while these still run: {names}; with \
         completion AllContainers they would run to their end"
    )
}

fn ended(entry: &HistoryEntry, wait: Option<Wait>, line: Option<&str>) -> (EventType, &'static str, String) {
    let HistoryEntry { attempt, reason, .. } = entry;
    if was_stopped(entry, StopReason::Suspended) {
        let note = format!("attempt {attempt} was stopped: the task is suspended (not charged)");
        return (EventType::Normal, StopReason::Suspended.as_str(), note);
    }
    if was_stopped(entry, StopReason::QueueDrained) {
        let note = format!("attempt {attempt} was stopped: its TaskQueue drains (not charged)");
        return (EventType::Normal, StopReason::QueueDrained.as_str(), note);
    }
    if was_stopped(entry, StopReason::SpecChanged) {
        let why = entry.message.as_deref().unwrap_or_default();
        let note = format!("the Pod of attempt {attempt} is replaced (not charged): {why}");
        return (EventType::Normal, StopReason::SpecChanged.as_str(), note);
    }
    let end = reason_and_code(reason, entry.exit_code);
    let said = line.map(|line| format!(": {line}")).unwrap_or_default();
    let charged = if entry.action == Action::Ignore { " (not charged)" } else { "" };
    let next = wait.map_or_else(
        || charged.to_owned(),
        |Wait { delay, due, .. }| {
            format!("; attempt {} is due in {} at {due:.3}{charged}", attempt.saturating_add(1), human(delay))
        },
    );
    (EventType::Warning, EventReason::AttemptFailed.as_str(), format!("attempt {attempt} ended with {end}{next}{said}"))
}

/// Whether the operator stopped the attempt for that reason, and did not charge it.
fn was_stopped(entry: &HistoryEntry, stop: StopReason) -> bool {
    entry.reason == stop.as_str() && entry.action == Action::Ignore && entry.rule.is_none()
}

fn pod_reference(task: &RetryableTask, name: String, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: task.metadata.namespace.clone(),
        name: Some(name),
        uid,
        ..ObjectReference::default()
    }
}
