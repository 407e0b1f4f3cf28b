//! How an attempt ended: what its Pod reports, and the effect of the operator's own stop.

use super::draft::Draft;
use super::stop_method::STOP_DEADLINE_SECONDS;
use super::{Failing, Situation, TrackedPod};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, EndReason, StopReason};
use crate::core::attempt_spec;
use crate::core::condition_list;
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use crate::core::pod_snapshot::{Outcome, PastDeadline};
use crate::core::termination_report::TerminationReport;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};

/// How an attempt ended, as far as it is known.
pub(super) struct AttemptEnd {
    pub(super) outcome: Outcome,
    pub(super) pod_name: String,
    pub(super) pod_uid: Option<String>,
    pub(super) node_name: Option<String>,
    pub(super) started: Timestamp,
    pub(super) generation: Option<i64>,
    pub(super) memory: Option<String>,
    pub(super) created: Timestamp,
    /// Whether the Pod was being deleted, by us or by others.
    deleted: bool,
    /// Whether the template gives its Pods a deadline of their own.
    has_own_deadline: bool,
    /// When this process first saw the end.
    pub(super) seen: Timestamp,
}

impl AttemptEnd {
    /// The end that a Pod reports.
    pub(super) fn of(tracked: &TrackedPod, outcome: &Outcome, situation: &Situation) -> Self {
        Self {
            outcome: outcome.clone(),
            pod_name: tracked.pod.pod_name.clone(),
            pod_uid: Some(tracked.pod.pod_uid.clone()),
            node_name: tracked.pod.node_name.clone(),
            started: outcome.started.unwrap_or(tracked.pod.created),
            generation: tracked.pod.generation,
            memory: tracked.pod.memory.clone(),
            created: tracked.pod.created,
            deleted: tracked.pod.deleting || tracked.deleted,
            has_own_deadline: outcome.past_deadline.is_some() && has_own_deadline(situation, tracked),
            seen: tracked.end_seen.unwrap_or(situation.now),
        }
    }

    /// The end of an attempt whose Pod was deleted before its end was seen.
    pub(super) fn lost(draft: &Draft, pod_uid: String, last_seen: Option<&TrackedPod>) -> Self {
        let now = draft.situation.now;
        let outcome = unseen(EndReason::Lost.as_str(), "the Pod is gone, and its end was never seen", now);
        let pod_name = draft.expected_pod_name();
        let node_name = last_seen.and_then(|tracked| tracked.pod.node_name.clone());
        let created = last_seen.map_or(now, |tracked| tracked.pod.created);
        Self {
            outcome,
            pod_name,
            pod_uid: Some(pod_uid),
            node_name,
            started: created,
            generation: last_seen.and_then(|tracked| tracked.pod.generation),
            memory: last_seen.and_then(|tracked| tracked.pod.memory.clone()),
            created,
            deleted: true,
            has_own_deadline: false,
            seen: now,
        }
    }

    /// The end of an attempt whose Pod could not be created in time.
    pub(super) fn never_created(draft: &Draft) -> Self {
        let now = draft.situation.now;
        let (reason, message) = why_not_created(draft);
        let decided = draft.current.create_time.as_ref().map_or(now, |time| time.0.min(now));
        Self {
            outcome: Outcome { never_started: true, ..unseen(&reason, &message, now) },
            pod_name: draft.expected_pod_name(),
            pod_uid: None,
            node_name: None,
            started: decided,
            generation: draft.situation.task.metadata.generation,
            memory: None,
            created: decided,
            deleted: false,
            has_own_deadline: false,
            seen: now,
        }
    }

    /// The operator's reason to stop the Pod, if that is what ended it, and the attempt's outcome.
    pub(super) fn judge(&self, current: &CurrentAttempt) -> (Option<StopReason>, Outcome) {
        let stop = self.stopped_by(current);
        // A deadline that the operator set says nothing of the attempt.
        let ours = self.outcome.past_deadline.as_deref().filter(|deadline| self.is_ours(deadline, current));
        (stop, as_stopped(ours.map_or(&self.outcome, |deadline| &deadline.outcome), stop, current))
    }

    /// The operator's reason to stop the Pod, if that is what ended it. A container that had finished before ended by itself.
    fn stopped_by(&self, current: &CurrentAttempt) -> Option<StopReason> {
        let had_finished = self.had_finished(current)?;
        let deadline = self.outcome.past_deadline.as_deref();
        let ended_by_us = self.deleted || deadline.is_some_and(|deadline| self.is_ours(deadline, current));
        // The node's clock may be behind: a container killed by SIGKILL or SIGTERM was stopped by the operator at any time.
        let killed = matches!(self.outcome.signal, Some(9 | 15));
        // We replace a Pod by a deletion that fails once the Pod has changed, and that marks no disruption: somebody else
        // ended a disrupted one, perhaps after its main container had started.
        let ended_by_others = |stop: &StopReason| stop.replaces() && self.outcome.disrupted;
        current.stop_reason.filter(|stop| ended_by_us && (killed || !had_finished) && !ended_by_others(stop))
    }

    /// Whether the deadline that was over is the one by which we stop Pods. We only ever lower one, so a longer one is
    /// the Pod's own; and a Pod that had ended before the stop was stored may have done so by its own, which we have
    /// lowered since.
    fn is_ours(&self, deadline: &PastDeadline, current: &CurrentAttempt) -> bool {
        let lowered = deadline.seconds.is_none_or(|seconds| seconds <= STOP_DEADLINE_SECONDS);
        let ended_before = self.has_own_deadline && self.had_finished(current) == Some(true);
        current.stop_reason.is_some() && lowered && !ended_before
    }

    /// Whether the attempt had finished by itself when the intent to stop it was stored, if it was. Kubernetes cuts times
    /// to whole seconds; in the second of the stop, the stop counts, since running twice is better than not having run.
    fn had_finished(&self, current: &CurrentAttempt) -> Option<bool> {
        let stop_time = current.stop_time.as_ref()?.0;
        // A kubelet applies a deadline to Pods that have not ended: a Pod without a terminated container was waiting.
        let waited = self.outcome.past_deadline.is_some() && self.outcome.container.is_none();
        Some(!waited && plus(self.outcome.finished, SignedDuration::from_secs(1)) <= stop_time)
    }
}

/// Whether the template gives the Pod a deadline of its own.
fn has_own_deadline(situation: &Situation, tracked: &TrackedPod) -> bool {
    let template = attempt_spec::spec_of(situation.task, tracked.pod.slot()).template;
    template.is_some_and(|template| template.pointer("/spec/activeDeadlineSeconds").is_some())
}

/// A failure that no Pod reports.
fn unseen(reason: &str, message: &str, finished: Timestamp) -> Outcome {
    Outcome {
        succeeded: false,
        container: None,
        exit_code: None,
        signal: None,
        reason: reason.into(),
        cause: None,
        message: Some(message.into()),
        raw_report: None,
        is_log: false,
        report: TerminationReport::default(),
        started: None,
        finished,
        disrupted: false,
        conditions: Vec::new(),
        never_started: false,
        stopped: false,
        past_deadline: None,
    }
}

/// Why the Pod could not be created: the last answer to this process, else what the status says.
fn why_not_created(draft: &Draft) -> (String, String) {
    if let Some(Failing { rejection, .. }) = draft.situation.process.failing.as_ref() {
        return (rejection.reason().as_str().into(), short(&rejection.message, MAX_MESSAGE_BYTES));
    }
    let of_creation = [ConditionReason::PodRejected, ConditionReason::FailedCreate, ConditionReason::PodNameConflict];
    let stalled = condition_list::find(&draft.status.conditions, ConditionType::Stalled);
    match stalled.filter(|stalled| of_creation.iter().any(|reason| reason.as_str() == stalled.reason)) {
        Some(stalled) => (stalled.reason.clone(), stalled.message.clone()),
        None => (StopReason::StartupTimeout.as_str().into(), "the Pod was not created in time".into()),
    }
}

/// The outcome as our own stop has shaped it: an exit code on our SIGTERM says nothing of the task. What the task says
/// in words still counts.
fn as_stopped(outcome: &Outcome, stop: Option<StopReason>, current: &CurrentAttempt) -> Outcome {
    // What the Pod says of an end that was our doing is no cause.
    let own = Outcome { stopped: true, succeeded: false, disrupted: false, cause: None, ..outcome.clone() };
    let said = |text: &str| own.message.clone().or_else(|| Some(text.into()));
    match stop {
        None | Some(StopReason::TaskEnded) => outcome.clone(),
        Some(StopReason::StartupTimeout) => Outcome {
            reason: current.stop_cause.clone().unwrap_or_else(|| StopReason::StartupTimeout.as_str().into()),
            // The kubelet's end of a container that never ran says nothing.
            message: match (&current.stop_cause, &current.stop_message) {
                (Some(_), Some(said)) => Some(said.clone()),
                (None, Some(stage)) => {
                    Some(short(&format!("the Pod did not start in time: {stage}"), MAX_MESSAGE_BYTES))
                }
                (_, None) => Some("the Pod did not start in time".into()),
            },
            exit_code: None,
            signal: None,
            never_started: true,
            ..own
        },
        Some(stop @ (StopReason::SpecChanged | StopReason::RetryNow)) => {
            let why = if stop == StopReason::SpecChanged { "the spec changed" } else { "another try was asked for" };
            let cause = current.stop_cause.as_ref().map(|cause| format!("; it was held up: {cause}"));
            let said = current.stop_message.as_ref().map(|message| format!(": {message}"));
            let message = format!(
                "{why} before the main container started{}{}",
                cause.unwrap_or_default(),
                said.unwrap_or_default()
            );
            let message = Some(short(&message, MAX_MESSAGE_BYTES));
            Outcome { reason: stop.as_str().into(), message, exit_code: None, signal: None, never_started: true, ..own }
        }
        Some(stop @ StopReason::AttemptTimeout) => {
            Outcome { reason: stop.as_str().into(), message: said("ran longer than attemptTimeoutSeconds"), ..own }
        }
        Some(stop @ StopReason::DeadlineExceeded) => Outcome {
            reason: stop.as_str().into(),
            message: said("the task took longer than activeDeadlineSeconds"),
            ..own
        },
        Some(stop @ StopReason::Cancelled) => {
            Outcome { reason: stop.as_str().into(), message: said("the task was cancelled"), ..own }
        }
        Some(stop @ (StopReason::Suspended | StopReason::QueueDrained | StopReason::Unknown)) => {
            Outcome { reason: stop.as_str().into(), ..own }
        }
    }
}
