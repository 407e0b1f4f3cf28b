//! Reports the transitions of a stored status: log lines, metrics, Events.

use super::Settings;
use crate::api::{Action, EventReason, HistoryEntry, HoldUp, RetryableTask, StopReason};
use crate::core::decide::{Cleanup, Plan, PodRef, Request, Settled, StatusWrite, Transition, Wait};

use crate::core::end_text::reason_and_code;
use crate::core::message::short;
use crate::core::slot::Slot;
use crate::core::time::human;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{AttemptResult, TaskResult};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube_runtime::events::{Event, EventType, Recorder, Reporter as EventReporter};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Most bytes of an Event's note (events.k8s.io/v1).
const MAX_NOTE_BYTES: usize = 1000;
/// Events that may wait to be sent. More are dropped, which the log says.
const QUEUE: usize = 4096;
/// The name that Events carry as their reporting controller.
const CONTROLLER: &str = "retryable.dev/retryable-tasks";

/// Reports transitions. Never waits.
#[derive(Clone)]
pub struct Reporter {
    telemetry: Arc<Telemetry>,
    events: mpsc::Sender<(Event, ObjectReference)>,
}

/// A reporter, and the future that sends its Events, to be spawned.
pub fn reporter(settings: &Settings) -> (Reporter, impl Future<Output = ()> + Send + 'static) {
    let (events, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
    let event_reporter = EventReporter { controller: CONTROLLER.into(), instance: Some(settings.identity.clone()) };
    let client = settings.client.clone();
    let sending = async move {
        while let Some((event, regarding)) = waiting.recv().await {
            // A recorder that is used again repeats the note of its first Event with the same reason.
            let recorder = Recorder::new(client.clone(), event_reporter.clone());
            if let Err(error) = recorder.publish(&event, &regarding).await {
                tracing::debug!(%error, reason = event.reason, "cannot record an Event");
            }
        }
    };
    (Reporter { telemetry: settings.telemetry.clone(), events }, sending)
}

impl Reporter {
    /// Reports the transitions of a status that was stored.
    pub fn report(&self, task: &RetryableTask, transitions: Vec<Transition>) {
        let finished = transitions.iter().any(|transition| matches!(transition, Transition::Finished { .. }));
        for transition in transitions {
            log(&transition);
            self.count(&transition);
            if let Some(event) = event(task, transition, finished) {
                self.send(event, task.object_ref(&()));
            }
        }
    }

    /// Reports that the Pod of an attempt was created, and how long after it was due.
    pub fn created(&self, slot: Slot, lag: Option<SignedDuration>) {
        let lag = lag.map(|lag| Duration::try_from(lag).unwrap_or_default());
        tracing::debug!(attempt = slot.number, fallback = slot.fallback, ?lag, "created the Pod");
        if let Some(lag) = lag {
            self.telemetry.metrics.retry_started(lag);
        }
    }

    /// Reports that the task's status cannot be stored.
    pub fn not_stored(&self, task: ObjectReference, message: &str) {
        let note = short(&format!("the status cannot be stored, and is not up to date: {message}"), MAX_NOTE_BYTES);
        let event = Event {
            type_: EventType::Warning,
            reason: EventReason::StatusUpdateFailed.as_str().into(),
            note: Some(note),
            action: "Reconcile".into(),
            secondary: None,
        };
        self.send(event, task);
    }

    fn send(&self, event: Event, task: ObjectReference) {
        if self.events.try_send((event, task)).is_err() {
            tracing::warn!("too many Events wait to be sent; dropping one");
        }
    }

    fn count(&self, transition: &Transition) {
        let metrics = &self.telemetry.metrics;
        match transition {
            Transition::Ended { entry, wait, line: _ } => {
                let result = match entry.action {
                    Action::Complete => AttemptResult::Succeeded,
                    Action::Ignore => AttemptResult::Ignored,
                    Action::Retry | Action::Fail | Action::Unknown => AttemptResult::Failed,
                };
                metrics.attempt_ended(result, &entry.reason);
                if let Some(wait) = wait {
                    metrics.retry_scheduled(Duration::try_from(wait.delay).unwrap_or_default());
                }
            }
            Transition::Finished { succeeded, reason, .. } => {
                let result = if *succeeded { TaskResult::Succeeded } else { TaskResult::Failed };
                metrics.task_finished(result, *reason);
            }
            Transition::Started { .. }
            | Transition::Rescheduled { .. }
            | Transition::FallingBack { .. }
            | Transition::Acknowledged { .. }
            | Transition::Stalled { .. }
            | Transition::ContainersStopped { .. }
            | Transition::UnknownAnnotation { .. }
            | Transition::MemoryRaiseRejected { .. }
            | Transition::HeldUp { .. } => {}
        }
    }
}

fn log(transition: &Transition) {
    match transition {
        Transition::Started { slot } => {
            tracing::debug!(attempt = slot.number, fallback = slot.fallback, "the Pod may be created");
        }
        Transition::FallingBack { reason, message } => {
            tracing::info!(reason = reason.as_str(), said = message, "the task has failed; its fallback is due");
        }
        Transition::Acknowledged { request, effect } => {
            tracing::info!(request = request.as_str(), effect, "requested by annotation");
        }
        Transition::Ended { entry, wait, line: _ } => {
            tracing::info!(
                attempt = entry.attempt,
                pod = entry.pod_name,
                reason = entry.reason,
                exit_code = entry.exit_code,
                rule = entry.rule,
                action = ?entry.action,
                delay_milliseconds = entry.delay_milliseconds,
                due = wait.map(|wait| tracing::field::display(wait.due)),
                said = entry.message,
                "the attempt ended"
            );
        }
        Transition::Finished { succeeded, reason, message } => {
            tracing::info!(succeeded, reason = reason.as_str(), said = message, "the task ended");
        }
        Transition::Stalled { reason, message } => {
            tracing::warn!(reason = reason.as_str(), said = message, "the task cannot go on");
        }
        Transition::Rescheduled { attempt, wait } => {
            tracing::info!(attempt, due = %wait.due, "the spec has changed, and the attempt is due at another time");
        }
        Transition::ContainersStopped { slot, pod, containers } => tracing::info!(
            attempt = slot.number,
            fallback = slot.fallback,
            pod = pod.name,
            ?containers,
            "the main container has ended; the containers that run on are stopped"
        ),
        Transition::UnknownAnnotation { effect } => tracing::warn!(effect, "unknown annotation"),
        Transition::MemoryRaiseRejected { message } => {
            tracing::warn!(said = message, "a raise of memory was taken back");
        }
        Transition::HeldUp { slot, pod, hold_up, is_stage: _ } => {
            let Slot { number, fallback } = slot;
            tracing::info!(
                attempt = number,
                fallback,
                pod = pod.name,
                hold_up.reason,
                said = hold_up.message,
                "the Pod does not start"
            );
        }
    }
}

/// The Event of a transition, if any. The task's end has one Event, which includes its last attempt.
fn event(task: &RetryableTask, transition: Transition, finished: bool) -> Option<Event> {
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

/// Logs every decision: what is stored, or will be, and what follows.
pub fn log_plan(task: &RetryableTask, plan: &Plan) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let written = if let Plan::WriteStatus(StatusWrite { status, .. }) = plan { Some(&**status) } else { None };
    let status = written.or(task.status.as_ref());
    let current = status.and_then(|status| status.current.as_ref());
    let span = tracing::debug_span!(
        "plan",
        attempt = current.map(|current| current.number).or(status.map(|status| status.attempts)),
        fallback = current.is_some_and(|current| current.fallback),
        state = status.and_then(|status| status.state).map(tracing::field::debug),
        reason = status.and_then(|status| status.reason.as_deref()),
    );
    let _entered = span.enter();
    match plan {
        Plan::WriteStatus(_) => tracing::debug!("decided: write the status"),
        Plan::LookUpPod(pod) => tracing::debug!(pod, "decided: look up the Pod"),
        Plan::ReadWarnings(pod) => tracing::debug!(pod = pod.name, "decided: read the Warning events about the Pod"),
        Plan::RefreshTask => tracing::debug!("decided: read the task"),
        Plan::CreatePod(_) => tracing::debug!("decided: create the Pod"),
        Plan::Settled(settled) => {
            let Settled { stop, stale_pods, cleanup, delete_task, progress, requeue } = &**settled;
            let Cleanup { delete, remove_finalizer } = cleanup;
            tracing::debug!(
                stop = stop.as_ref().map(|(pod, _)| pod.name.as_str()),
                stop_method = stop.as_ref().map(|(_, method)| tracing::field::debug(method)),
                stale_pods = ?names(stale_pods),
                delete = ?names(delete),
                remove_finalizer = ?names(remove_finalizer),
                delete_task,
                progress = progress.is_some(),
                delay_milliseconds = requeue.soonest().map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
                "decided: the status is as it should be"
            );
        }
    }
}

fn names(pods: &[PodRef]) -> Vec<&str> {
    pods.iter().map(|pod| pod.name.as_str()).collect()
}

#[cfg(test)]
mod tests;
