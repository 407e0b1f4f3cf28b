//! An attempt that is due and whose task has a queue: whether it may start, since when it waits, and what is said of the wait.

use super::draft::Draft;
use super::rejected_creation::create_wait;
use super::{Settled, Situation, deadlines};
use crate::api::{
    Action, ConditionReason, ConditionType, CurrentAttempt, QueueRef, QueueSlot, RetryableTaskStatus, State,
};
use crate::core::attempt_spec::number_in_run;
use crate::core::classify::Verdict;
use crate::core::condition_list;
use crate::core::jitter_seed::jitter_seed;
use crate::core::pod_snapshot::Outcome;
use crate::core::queue::failures;
use crate::core::queue::view::{Admission, QueueDemand, QueueView, QueueWaitReason};
use crate::core::time::{micros, plus, until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

/// How long an attempt waits before the status says so: most get their slot at once, and a write for each would be a quarter
/// more writes.
const UNSAID: SignedDuration = SignedDuration::from_secs(5);
/// How long what is said of the wait stays, at least, when the attempt waits for something else by then: a circuit that opens
/// is no write for each task of its queue.
const SAID_HOLDS: SignedDuration = SignedDuration::from_mins(10);
/// How long the answer of a queue may take before it is asked for again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What the queue says to an attempt that is due.
pub(super) enum Turn {
    /// It starts: it has a slot, or needs none.
    Starts,
    /// It waits.
    Waits,
    /// It has waited longer than `maxWaitSeconds`.
    TimedOut,
}

impl Draft<'_> {
    /// The attempt is due. Takes the slot that its queue grants, or says in the status what it waits for.
    pub(super) fn take_turn(&mut self) -> Turn {
        let Some(queue) = of(self.situation, &self.current) else { return Turn::Starts };
        if let Some(slot) = granted(self.situation, queue, self.current.number) {
            self.current.queue = Some(slot);
            self.current.queued_time = None;
            return Turn::Starts;
        }
        if self.falls_due_now() {
            self.current.queued_time = Some(MicroTime(micros(self.situation.now)));
        }
        if is_timed_out(self.situation, &self.status, &self.current) {
            return Turn::TimedOut;
        }
        self.say_that_it_waits(queue);
        Turn::Waits
    }

    /// Whether nothing stored says since when the attempt is due: its wait was skipped, or it follows without one.
    fn falls_due_now(&self) -> bool {
        let stored = self.situation.task.status.as_ref().and_then(|status| status.current.as_ref());
        let before = stored.filter(|stored| stored.number == self.current.number);
        let due_is_dropped = self.current.due_time.is_none() && before.is_some_and(|before| before.due_time.is_some());
        let is_known = since(self.situation, &self.status, &self.current).is_some();
        self.current.queued_time.is_none() && (due_is_dropped || !is_known)
    }

    /// The creation of the Pod was rejected, and the slot was given back. The next try needs another one.
    pub(super) fn try_again_when_granted(&mut self) {
        let Some(queue) = self.situation.task.spec.queue.as_ref().filter(|_| in_line(self.situation, &self.current))
        else {
            return self.end_missing_queue();
        };
        let Some(slot) = granted(self.situation, queue, self.current.number) else {
            return self.say_that_it_waits(queue);
        };
        let now = self.situation.now;
        let waited = self.current.next_create_time.take().map_or(SignedDuration::ZERO, |since| until(since.0, now));
        // The time in the queue does not count towards startupTimeoutSeconds.
        if let Some(first) = self.current.create_time.as_mut() {
            *first = MicroTime(micros(plus(first.0, waited)));
        }
        self.current.queue = Some(slot);
        self.end_missing_queue();
        if self.status.state == Some(State::Queued) {
            self.show_stall();
        }
    }

    /// The creation of the Pod goes on: whatever queue was missing, it no longer waits for it.
    fn end_missing_queue(&mut self) {
        if is_stalled_for_queue(&self.status) {
            self.clear_stall(ConditionReason::QueueMissing);
            self.status.state = Some(State::Running);
            self.show_last_failure();
        }
    }

    /// A task that is resumed has not waited while it was suspended.
    pub(super) fn leave_out_suspension(&mut self) {
        let (Some(suspended), Some(_)) = (self.status.suspended_time.as_ref(), of(self.situation, &self.current))
        else {
            return;
        };
        let now = self.situation.now;
        let Some(since) = since(self.situation, &self.status, &self.current) else { return };
        // What falls due later has not begun to wait.
        if since < now {
            let waited = until(since, suspended.0);
            self.current.queued_time = Some(MicroTime(micros(now.saturating_sub(waited).unwrap_or(now))));
        }
    }

    /// The queue that the attempt must ask when it has no slot.
    pub(super) fn queue_to_ask(&self) -> Option<&QueueRef> {
        of(self.situation, &self.current)
    }

    /// How long the attempt has waited for its queue, if it does.
    pub(super) fn waited(&self) -> Option<(SignedDuration, &QueueRef)> {
        let queue = of(self.situation, &self.current)?;
        let since = since(self.situation, &self.status, &self.current)?;
        Some((until(since, self.situation.now), queue)).filter(|(waited, _)| waited.is_positive())
    }

    fn say_that_it_waits(&mut self, QueueRef { name, .. }: &QueueRef) {
        let Some(QueueView { admission, .. }) = self.situation.process.queue.as_ref() else {
            return self.keep_what_was_said();
        };
        let since = since(self.situation, &self.status, &self.current).unwrap_or(self.situation.now);
        let is_worth_it = until(since, self.situation.now) >= UNSAID;
        match admission {
            Admission::Missing if is_worth_it => {
                let namespace = self.situation.task.metadata.namespace.as_deref().unwrap_or_default();
                let message = format!(
                    "there is no TaskQueue {name} in namespace {namespace}, so no attempt starts: create it, or change spec.queue"
                );
                self.stall(ConditionReason::QueueMissing, &message);
            }
            Admission::Waits { reason, message, is_in_line: _ } if is_worth_it => {
                self.clear_stall(ConditionReason::QueueMissing);
                condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
                self.queued_condition(*reason, message);
            }
            Admission::Waits { .. } | Admission::Granted { .. } => {
                self.clear_stall(ConditionReason::QueueMissing);
                self.keep_what_was_said();
            }
            Admission::Missing => self.keep_what_was_said(),
        }
    }

    /// What was said stays. A wait of which nothing was said stays what it was: no write is made to say so. Any other state is
    /// over with the write that brings the attempt here.
    fn keep_what_was_said(&mut self) {
        if is_stalled_for_queue(&self.status) {
            return self.show_stall();
        }
        if let Some(said) = condition_list::find(&self.status.conditions, ConditionType::Queued).cloned() {
            self.status.state = Some(State::Queued);
            (self.status.reason, self.status.message) = (Some(said.reason), Some(said.message));
            return;
        }
        let is_rejected = self.current.pod_name.is_some();
        if !is_rejected && !matches!(self.status.state, None | Some(State::Waiting)) {
            self.status.state = Some(State::Queued);
        }
    }

    fn queued_condition(&mut self, reason: QueueWaitReason, message: &str) {
        let stored = condition_list::find(&self.status.conditions, ConditionType::Queued);
        let is_news = stored.is_none_or(|stored| {
            stored.reason != reason.as_str()
                && says_until(self.situation, stored.last_transition_time.0) <= self.situation.now
        });
        if is_news {
            // The transition time says when it was said.
            condition_list::remove(&mut self.status.conditions, ConditionType::Queued);
            let at = (self.situation.now, self.situation.task.metadata.generation);
            let type_ = (ConditionType::Queued, true);
            condition_list::set_for(&mut self.status.conditions, type_, reason.as_str(), message, at);
        }
        self.keep_what_was_said();
    }
}

fn is_stalled_for_queue(status: &RetryableTaskStatus) -> bool {
    let stalled = condition_list::find(&status.conditions, ConditionType::Stalled);
    stalled.is_some_and(|stalled| stalled.reason == ConditionReason::QueueMissing.as_str())
}

/// The queue that an attempt without a slot must ask. The fallback asks none: it is the way out when the queue starts nothing.
fn of<'a>(situation: &'a Situation, current: &CurrentAttempt) -> Option<&'a QueueRef> {
    situation.task.spec.queue.as_ref().filter(|_| !current.fallback)
}

/// The slot that the queue grants to that attempt, if it does.
fn granted(situation: &Situation, queue: &QueueRef, number: i32) -> Option<QueueSlot> {
    match situation.process.queue.as_ref()?.admission {
        Admission::Granted { attempt, probe, at } if attempt == number => {
            Some(QueueSlot { name: queue.name.clone(), grant_time: Some(MicroTime(micros(at))), probe })
        }
        Admission::Granted { .. } | Admission::Waits { .. } | Admission::Missing => None,
    }
}

/// Whether the attempt's Pod was rejected, and the time of the next try has come: it has no slot.
pub(super) fn in_line(situation: &Situation, current: &CurrentAttempt) -> bool {
    let is_rejected = current.pod_name.is_some() && current.next_create_time.is_some();
    is_rejected && of(situation, current).is_some() && create_wait(situation, current).is_zero()
}

fn since(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt) -> Option<Timestamp> {
    queued_since(&situation.task.metadata, status, current)
}

/// Since when an attempt that is due waits for its queue. None if that is not known: since now.
pub fn queued_since(
    metadata: &ObjectMeta,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
) -> Option<Timestamp> {
    let stored = match &current.pod_name {
        Some(_) => current.next_create_time.as_ref(),
        None => current.queued_time.as_ref().or(current.due_time.as_ref()),
    };
    let is_first = status.run.is_none() && current.number == 1;
    let created = metadata.creation_timestamp.as_ref().filter(|_| is_first).map(|created| created.0);
    stored.map(|time| time.0).or(created)
}

/// Whether an attempt that is due has waited longer than `maxWaitSeconds`.
pub(super) fn is_timed_out(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt) -> bool {
    let waits = current.pod_name.is_none() || in_line(situation, current);
    waits && timeout(situation, status, current).is_some_and(|at| at <= situation.now)
}

/// Whether the attempt is not in the line yet. After a restart it is once the task has been reconciled.
fn is_outside_line(view: &QueueView) -> bool {
    matches!(view.admission, Admission::Waits { is_in_line: false, .. })
}

/// When the wait times out. Not before the queue has been asked: it may grant a slot.
fn timeout(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt) -> Option<Timestamp> {
    let limit = SignedDuration::from_secs(i64::from(of(situation, current)?.max_wait_seconds?));
    let view = situation.process.queue.as_ref().filter(|view| !is_outside_line(view));
    view.and(since(situation, status, current)).map(|since| plus(since, limit))
}

/// The verdict on an attempt that may have been a probe: it volunteered, so a failure of the service is not charged to it.
pub(super) fn spare_probe(draft: &Draft, outcome: &Outcome, verdict: Verdict) -> Verdict {
    let is_probe = draft.current.queue.as_ref().is_some_and(|slot| slot.probe);
    // Before the queues are known, every failure that would be charged counts as the service's.
    let failures = draft.situation.process.queue.as_ref().and_then(|view| view.failures.as_ref());
    if is_probe && failures::spares(failures, outcome, &verdict) {
        return Verdict { action: Action::Ignore, rule: Some(failures::CIRCUIT.into()), ..Verdict::default() };
    }
    verdict
}

/// Whether the queue stops attempts that hold a slot.
pub(super) fn drains(situation: &Situation, current: &CurrentAttempt) -> bool {
    current.queue.is_some() && !current.fallback && situation.process.queue.as_ref().is_some_and(|view| view.drain)
}

/// Until when what was said at that time of the wait stays.
fn says_until(situation: &Situation, said: Timestamp) -> Timestamp {
    let spread = jitter_seed(situation.task.metadata.uid.as_deref().unwrap_or_default(), 0)
        % SAID_HOLDS.as_secs().unsigned_abs();
    plus(plus(said, SAID_HOLDS), SignedDuration::from_secs(i64::try_from(spread).unwrap_or_default()))
}

/// The attempt is due and has no slot: it is in the line of its queue. False if it needs no slot.
pub(super) fn wait_in_line(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
    settled: &mut Settled,
) -> bool {
    let Some(QueueRef { name, priority, fairness_key, max_wait_seconds }) = of(situation, current) else {
        return false;
    };
    let since = since(situation, status, current).unwrap_or(situation.now);
    settled.queue = Some(QueueDemand {
        queue: name.clone(),
        attempt: current.number,
        is_retry: number_in_run(Some(status), current.number) > 1,
        retries_left: situation.task.spec.max_retries.saturating_sub(status.retries).max(0),
        priority: (*priority).clamp(-10, 10),
        fairness_key: fairness_key.clone(),
        since,
    });
    let said = condition_list::find(&status.conditions, ConditionType::Queued);
    let said_until = said.map(|said| says_until(situation, said.last_transition_time.0));
    let deadline = deadlines::deadline_to_come(situation, status);
    let times = [Some(plus(since, UNSAID)), timeout(situation, status, current), said_until, deadline];
    for at in times.into_iter().flatten().filter(|at| *at > situation.now) {
        settled.requeue_in(until(situation.now, at));
    }
    let is_limited = max_wait_seconds.is_some();
    if situation.process.queue.as_ref().is_none_or(|view| is_limited && is_outside_line(view)) {
        settled.requeue_in(ASK_AGAIN);
    }
    true
}
