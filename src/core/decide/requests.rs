//! Requests by annotation. A value is acknowledged once; another value is another request.

use super::draft::Draft;
use super::situation::{nothing_has_begun, pod_of, slot_of};
use super::{Situation, TrackedPod, Transition};
use crate::api::{
    ANNOTATION_CANCEL, ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN, ANNOTATION_SCHEDULED_TIME, Acknowledged,
    AfterStatus, ConditionType, CurrentAttempt, QueueRef, RetryableTask, RetryableTaskStatus, Run, State, StopReason,
};
use crate::core::pod_snapshot::Progress;
use crate::core::time::micros;
use crate::core::{annotations, condition_list};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// What the value of a request to run again contains if the checkpoint is not to be kept.
const FROM_START: &str = "from-start";

/// What an annotation can request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Skip the wait for the next attempt.
    RetryNow,
    /// Run again once the task has ended.
    RunAgain,
    /// Stop, and do not go on.
    Cancel,
}

impl Request {
    const ALL: [Self; 3] = [Self::RetryNow, Self::RunAgain, Self::Cancel];

    /// The annotation that asks for it.
    pub const fn annotation(self) -> &'static str {
        match self {
            Self::RetryNow => ANNOTATION_RETRY_NOW,
            Self::RunAgain => ANNOTATION_RUN_AGAIN,
            Self::Cancel => ANNOTATION_CANCEL,
        }
    }

    /// Its word in Events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RetryNow => "RetryNow",
            Self::RunAgain => "RunAgain",
            Self::Cancel => "Cancel",
        }
    }
}

/// The value of a request that has not been acknowledged.
fn pending(situation: &Situation, status: &RetryableTaskStatus, request: Request) -> Option<String> {
    pending_value(situation.task, status, request)
}

fn pending_value(task: &RetryableTask, status: &RetryableTaskStatus, request: Request) -> Option<String> {
    annotations::pending(task.metadata.annotations.as_ref(), &status.acknowledged, request.annotation())
}

/// The requests of the task as it is stored that have not been acknowledged.
pub fn pending_requests(task: &RetryableTask) -> Vec<Request> {
    let none = RetryableTaskStatus::default();
    let status = task.status.as_ref().unwrap_or(&none);
    Request::ALL.into_iter().filter(|request| pending_value(task, status, *request).is_some()).collect()
}

/// Whether a user has requested the task's end.
pub(super) fn is_cancelled(situation: &Situation, status: &RetryableTaskStatus) -> bool {
    pending(situation, status, Request::Cancel).is_some()
}

pub(super) fn unknown(draft: &mut Draft) {
    let requests = Request::ALL.map(Request::annotation);
    let stored = draft.situation.task.metadata.annotations.as_ref();
    let (now, acknowledged) = (draft.situation.now, &mut draft.status.acknowledged);
    for effect in annotations::acknowledge_unknown(stored, &requests, &[ANNOTATION_SCHEDULED_TIME], now, acknowledged) {
        draft.transitions.push(Transition::UnknownAnnotation { effect });
    }
}

/// The task has ended: a request to retry or to cancel comes too late.
pub(super) fn too_late(draft: &mut Draft) {
    for request in [Request::RetryNow, Request::Cancel] {
        acknowledge(draft, request, "the task had ended");
    }
}

/// The task has ended: it runs again on request.
pub(super) fn after_the_end(draft: &mut Draft) {
    if pending(draft.situation, &draft.status, Request::RunAgain).is_some() {
        run_again(draft);
    }
}

/// Requests that take effect before the current attempt is inspected.
pub(super) fn before_the_end(draft: &mut Draft) {
    if nothing_has_begun(&draft.status) {
        // A copy of a task carries its annotations along.
        acknowledge(draft, Request::RunAgain, "the task had not run");
    }
    if pending(draft.situation, &draft.status, Request::RetryNow).is_some() {
        let effect = retry_now(draft);
        acknowledge(draft, Request::RetryNow, &effect);
    }
}

/// The cancellation has had its effect.
pub(super) fn cancelled(draft: &mut Draft) {
    acknowledge(draft, Request::Cancel, "the task was cancelled");
    // A cancellation also revokes an earlier request to run again.
    acknowledge(draft, Request::RunAgain, "the task was cancelled");
}

/// The cancellation has ended the fallback; the task fails as it had.
pub(super) fn fallback_cancelled(draft: &mut Draft) {
    acknowledge(draft, Request::Cancel, "the fallback was cancelled; the task had failed");
    acknowledge(draft, Request::RunAgain, "the fallback was cancelled");
}

fn retry_now(draft: &mut Draft) -> String {
    let number = draft.current.number;
    if is_cancelled(draft.situation, &draft.status) {
        return "no effect: the task is being cancelled".into();
    }
    if let Some(next) = draft.current.next_create_time.take() {
        if let Some(QueueRef { name, .. }) = draft.queue_to_ask() {
            let message = format!("the Pod of attempt {number} is created as soon as TaskQueue {name} lets it start");
            draft.current.next_create_time = Some(MicroTime(micros(next.0.min(draft.situation.now))));
            return message;
        }
        return format!("the Pod of attempt {number} is created without further wait");
    }
    if draft.current.pod_name.is_some() {
        return replace(draft);
    }
    if draft.current.blocked_time.is_some() {
        return format!("no effect: attempt {number} waits for other tasks: see spec.after");
    }
    if let Some((_, QueueRef { name, .. })) = draft.waited().filter(|_| draft.remaining().is_zero()) {
        return format!("no effect: attempt {number} is due, and starts once TaskQueue {name} lets it");
    }
    if draft.current.due_time.take().is_none() {
        return format!("no effect: attempt {number} is due");
    }
    if draft.situation.task.spec.suspend {
        return format!("the wait for attempt {number} was skipped; it starts once the task is resumed");
    }
    format!("the wait for attempt {number} was skipped")
}

/// A Pod that is held up gives way to another one. There is no slot for another fallback.
fn replace(draft: &mut Draft) -> String {
    let (situation, current) = (draft.situation, &draft.current);
    let number = current.number;
    let starts = |tracked: &&TrackedPod| tracked.pod.can_be_replaced() && !tracked.deleted;
    let is_free = !current.fallback && current.stop_reason.is_none();
    let Some(tracked) = pod_of(situation, slot_of(current)).filter(starts).filter(|_| is_free) else {
        return format!("no effect: attempt {number} is running");
    };
    let shown = match &tracked.pod.progress {
        Progress::Pending(hold_up) => hold_up.clone(),
        Progress::Running | Progress::MainContainerExited(_) | Progress::Ended(_) => None,
    };
    let Some(hold_up) = shown.or(current.hold_up.clone()) else {
        return format!("no effect: attempt {number} is starting");
    };
    draft.stop(StopReason::RetryNow, tracked, Some(&hold_up));
    format!("the Pod of attempt {number}, held up by {}, is replaced", hold_up.reason)
}

/// Resets everything but the history, the acknowledged requests, the raised memory, the recorded default, and the checkpoint
/// unless the value of the request says `from-start`.
fn run_again(draft: &mut Draft) {
    let first_attempt = draft.status.attempts.max(0).saturating_add(1);
    let number = draft.status.run.map_or(1, |run| run.number).saturating_add(1);
    let annotations = draft.situation.task.metadata.annotations.as_ref();
    let value = annotations.and_then(|all| all.get(Request::RunAgain.annotation()));
    let from_start = value.is_some_and(|value| value.contains(FROM_START));
    let from = match &draft.status.checkpoint {
        None => "",
        Some(_) if from_start => ", without the checkpoint",
        Some(_) => ", from the checkpoint",
    };
    acknowledge(draft, Request::RunAgain, &format!("run {number} begins with attempt {first_attempt}{from}"));
    let kept = std::mem::take(&mut draft.status);
    draft.status = RetryableTaskStatus {
        observed_generation: kept.observed_generation,
        default_ttl_seconds_after_finished: kept.default_ttl_seconds_after_finished,
        state: Some(State::Pending),
        attempts: kept.attempts,
        history: kept.history,
        history_dropped: kept.history_dropped,
        memory_raises: kept.memory_raises,
        after: kept.after.into_iter().filter_map(met_before).collect(),
        checkpoint: kept.checkpoint.filter(|_| !from_start),
        acknowledged: kept.acknowledged,
        conditions: kept.conditions,
        run: Some(Run { number, first_attempt }),
        ..RetryableTaskStatus::default()
    };
    for ended in [
        ConditionType::Complete,
        ConditionType::Failed,
        ConditionType::FailureTarget,
        ConditionType::Finished,
        ConditionType::Stalled,
    ] {
        condition_list::remove(&mut draft.status.conditions, ended);
    }
    draft.current = CurrentAttempt { number: first_attempt, ..CurrentAttempt::default() };
}

/// Another run waits anew for the tasks that still exist.
fn met_before(seen: AfterStatus) -> Option<AfterStatus> {
    (seen.met || seen.met_before).then_some(AfterStatus { met: false, met_before: true, ..seen })
}

fn acknowledge(draft: &mut Draft, request: Request, effect: &str) {
    let Some(value) = pending(draft.situation, &draft.status, request) else { return };
    let acknowledged = Acknowledged {
        annotation: request.annotation().into(),
        value,
        time: Time(draft.situation.now),
        effect: effect.into(),
    };
    draft.transitions.push(Transition::Acknowledged { request, effect: effect.into() });
    match draft.status.acknowledged.iter_mut().find(|old| old.annotation == acknowledged.annotation) {
        Some(old) => *old = acknowledged,
        None => draft.status.acknowledged.push(acknowledged),
    }
}
