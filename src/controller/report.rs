//! Reports the transitions of a stored status: log lines, metrics, spans, Events.

mod count;
mod events;
mod spans;

use super::Settings;
use crate::api::{EventReason, RetryableTask};
use crate::core::decide::{Cleanup, Plan, PodRef, Settled, StatusWrite, Transition};
use crate::core::message::short;
use crate::core::slot::Slot;
use crate::telemetry::Telemetry;
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
    /// Reports the transitions of a status that was stored, from the task as it was before it and as it is now.
    pub fn report(&self, task: &RetryableTask, stored: &RetryableTask, transitions: Vec<Transition>) {
        let finished = transitions.iter().any(|transition| matches!(transition, Transition::Finished { .. }));
        for transition in transitions {
            log(&transition);
            count::count(&self.telemetry.metrics, stored, &transition);
            if self.telemetry.traces.are_sent() {
                for span in spans::spans(task, stored, &transition) {
                    self.telemetry.traces.send(span);
                }
            }
            if let Some(event) = events::event(task, transition, finished) {
                self.send(event, task.object_ref(&()));
            }
        }
    }

    /// A task is reconciled that may have something to report.
    pub fn foresee(&self, task: &RetryableTask) {
        self.telemetry.metrics.foresee(&count::identity(task));
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

    /// Reports what happened to a queue.
    pub fn of_queue(&self, queue: ObjectReference, is_warning: bool, reason: EventReason, note: &str) {
        let event = Event {
            type_: if is_warning { EventType::Warning } else { EventType::Normal },
            reason: reason.as_str().into(),
            note: Some(short(note, MAX_NOTE_BYTES)),
            action: "Reconcile".into(),
            secondary: None,
        };
        self.send(event, queue);
    }

    /// Sends an Event about an object.
    pub(super) fn send(&self, event: Event, task: ObjectReference) {
        if self.events.try_send((event, task)).is_err() {
            tracing::warn!("too many Events wait to be sent; dropping one");
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
        Plan::LookUpTasks(names) => tracing::debug!(?names, "decided: look up other tasks"),
        Plan::ReadWarnings(pod) => tracing::debug!(pod = pod.name, "decided: read the Warning events about the Pod"),
        Plan::RefreshTask => tracing::debug!("decided: read the task"),
        Plan::CreatePod(_) => tracing::debug!("decided: create the Pod"),
        Plan::Settled(settled) => {
            let Settled { stop, stale_pods, cleanup, delete_task, progress, queue, requeue } = &**settled;
            let Cleanup { delete, remove_finalizer } = cleanup;
            tracing::debug!(
                stop = stop.as_ref().map(|(pod, _)| pod.name.as_str()),
                stop_method = stop.as_ref().map(|(_, method)| tracing::field::debug(method)),
                stale_pods = ?names(stale_pods),
                delete = ?names(delete),
                remove_finalizer = ?names(remove_finalizer),
                delete_task,
                progress = progress.is_some(),
                queue = queue.as_ref().map(|demand| demand.queue.as_str()),
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
