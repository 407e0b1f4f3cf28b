//! The first attempt waits for the tasks of `spec.after`.

use super::draft::Draft;
use super::{Settled, Situation, record, requests};
use crate::api::{After, AfterCondition, AfterStatus, ConditionReason, ConditionType, CurrentAttempt, State};
use crate::core::dependency::{TaskEnd, TaskFact, cycle, unknown};
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use crate::core::time::{micros, plus, until};
use crate::core::{attempt_spec, condition_list};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Precedes what a chain of failures began with.
const FIRST_CAUSE: &str = "; the first cause: ";
/// How soon a cycle is looked for again: whoever resolves it may not change this task.
const CYCLE_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What `spec.after` means for the first attempt.
pub(super) enum Dependencies {
    /// It may start.
    Met,
    /// It waits.
    Pending(String),
    /// It would wait for ever: the tasks wait for one another.
    Cycle(String),
    /// It can never start.
    Failed(String),
}

impl Draft<'_> {
    /// Whether no attempt of this run has begun.
    pub(super) fn is_first_of_run(&self) -> bool {
        let CurrentAttempt { number, fallback, .. } = self.current;
        let has_begun = self.status.start_time.is_some() || self.current.wait.is_some();
        attempt_spec::number_in_run(Some(&self.status), number) == 1 && !fallback && !has_begun
    }

    /// The tasks that must be looked up before it is known whether the first attempt may start.
    pub(super) fn unknown_tasks(&self) -> Vec<String> {
        let is_held = self.situation.task.spec.suspend || requests::is_cancelled(self.situation, &self.status);
        if is_held || !self.is_first_of_run() {
            return Vec::new();
        }
        unknown(self.own_name(), &self.unmet(), &self.situation.lookups.tasks, self.seeks_cycle())
    }

    /// A cycle begins with a new task, or with a changed one, and that one finds it.
    fn seeks_cycle(&self) -> bool {
        let task = self.situation.task;
        let Some(stored) = &task.status else { return true };
        let stalled = condition_list::find(&stored.conditions, ConditionType::Stalled);
        stored.observed_generation != task.metadata.generation
            || stalled.is_some_and(|stalled| stalled.reason == ConditionReason::DependencyCycle.as_str())
    }

    fn own_name(&self) -> &str {
        self.situation.task.metadata.name.as_deref().unwrap_or_default()
    }

    /// The tasks that have not ended yet as they must, as far as the status says.
    fn unmet(&self) -> Vec<String> {
        let is_met = |after: &After| {
            let same = |seen: &&AfterStatus| seen.task == after.task && seen.condition == after.condition;
            self.status.after.iter().find(same).is_some_and(|seen| seen.met)
        };
        let all = self.situation.task.spec.after.iter().flatten();
        all.filter(|after| !is_met(after)).map(|after| after.task.clone()).collect()
    }

    /// Brings `status.after` up to date.
    pub(super) fn follow_after(&mut self) -> Dependencies {
        if !self.is_first_of_run() {
            return Dependencies::Met;
        }
        let known = &self.situation.lookups.tasks;
        let before = std::mem::take(&mut self.status.after);
        let mut failed = None;
        for After { task, condition } in self.situation.task.spec.after.iter().flatten() {
            // A definition without its rules lets two conditions on one task through.
            let is_same = |seen: &&AfterStatus| seen.task == *task && seen.condition == *condition;
            let seen = before.iter().find(is_same).or_else(|| before.iter().find(|seen| seen.task == *task));
            let mut seen =
                seen.cloned().unwrap_or_else(|| AfterStatus { task: task.clone(), ..AfterStatus::default() });
            if seen.condition != *condition {
                seen = AfterStatus { task: task.clone(), task_uid: seen.task_uid, ..AfterStatus::default() };
                seen.condition = *condition;
            }
            if let Some(found) = known.get(task).filter(|_| !seen.met) {
                failed = failed.or(see(&mut seen, found.as_ref()));
            }
            self.status.after.push(seen);
        }
        if let Some(failed) = failed {
            return Dependencies::Failed(short(&failed, MAX_MESSAGE_BYTES));
        }
        if let Some(path) = cycle(self.own_name(), &self.unmet(), known) {
            let path = path.join(" -> ");
            return Dependencies::Cycle(format!(
                "these tasks wait for one another: {path}; change spec.after of one of them"
            ));
        }
        let exists = |seen: &AfterStatus| seen.task_uid.is_some();
        let pending = self.status.after.iter().filter(|seen| !seen.met).map(|seen| {
            let absent = if exists(seen) { "" } else { ", and does not exist" };
            format!("{}, which must {}{absent}", seen.task, seen.condition.verb())
        });
        let pending: Vec<String> = pending.collect();
        if pending.is_empty() {
            return Dependencies::Met;
        }
        Dependencies::Pending(short(&format!("waits for {}", pending.join("; ")), MAX_MESSAGE_BYTES))
    }

    /// The first attempt falls due now, and is not late.
    pub(super) fn unblock(&mut self) {
        if self.current.blocked_time.take().is_some() && self.remaining().is_zero() {
            self.current.due_time = None;
            let queues = self.queue_to_ask().is_some();
            self.current.queued_time = queues.then(|| MicroTime(micros(self.situation.now)));
        }
    }

    /// The first attempt waits, or has waited for too long.
    pub(super) fn block(&mut self, why: &str) {
        if self.fail_if_blocked_too_long(why) {
            return;
        }
        self.status.state = Some(State::Blocked);
        self.status.reason = Some(ConditionReason::DependencyPending.as_str().into());
        self.status.message = Some(why.into());
        condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
        self.condition((ConditionType::Blocked, true), ConditionReason::DependencyPending, why);
    }

    /// The tasks wait for one another.
    pub(super) fn block_in_cycle(&mut self, why: &str) {
        if !self.fail_if_blocked_too_long(why) {
            self.stall(ConditionReason::DependencyCycle, why);
        }
    }

    fn fail_if_blocked_too_long(&mut self, why: &str) -> bool {
        let now = self.situation.now;
        let since = self.current.blocked_time.get_or_insert(MicroTime(micros(now))).0;
        let is_over = deadline(self.situation, since).is_some_and(|deadline| deadline <= now);
        if is_over {
            let message = format!("afterTimeoutSeconds passed before attempt {}: {why}", self.current.number);
            self.fail_without_attempt(ConditionReason::DependencyTimeout, &message);
        }
        is_over
    }

    /// The task ends without an attempt in this run, and without its fallback.
    pub(super) fn fail_without_attempt(&mut self, reason: ConditionReason, message: &str) {
        record::fail_without_attempt(self, reason, &short(message, MAX_MESSAGE_BYTES));
    }

    /// The time of a suspension does not count towards `afterTimeoutSeconds`.
    pub(super) fn leave_out_of_blocked_time(&mut self) {
        if let (Some(blocked), Some(since)) = (&mut self.current.blocked_time, &self.status.suspended_time) {
            let suspended = until(since.0, self.situation.now);
            *blocked = MicroTime(micros(plus(blocked.0, suspended)));
        }
    }
}

/// When a task that has been blocked since then has waited too long.
fn deadline(situation: &Situation, since: Timestamp) -> Option<Timestamp> {
    let limit = situation.task.spec.after_timeout_seconds?;
    Some(plus(since, SignedDuration::from_secs(i64::from(limit))))
}

/// Plans when to look again at an attempt that is blocked. The end of another task wakes it before.
pub(super) fn requeue(situation: &Situation, current: &CurrentAttempt, settled: &mut Settled) -> bool {
    let Some(since) = current.blocked_time.as_ref() else { return false };
    if let Some(deadline) = deadline(situation, since.0) {
        settled.requeue_in(until(situation.now, deadline));
    }
    let conditions = situation.task.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let stalled = condition_list::find(conditions, ConditionType::Stalled);
    if stalled.is_some_and(|stalled| stalled.reason == ConditionReason::DependencyCycle.as_str()) {
        settled.requeue_in(CYCLE_AGAIN);
    }
    true
}

/// Records what was found of the task. Says why, if it can no longer end as it must.
fn see(seen: &mut AfterStatus, found: Option<&TaskFact>) -> Option<String> {
    let is_other = |found: &TaskFact| seen.task_uid.as_ref().is_some_and(|uid| *uid != found.uid);
    let is_gone = seen.task_uid.is_some() && found.is_none_or(is_other);
    if is_gone && (seen.condition == AfterCondition::Finished || (seen.met_before && found.is_none())) {
        seen.met = true;
        return None;
    }
    if is_gone && !seen.met_before {
        let AfterStatus { task, condition, .. } = seen;
        return Some(format!("{task}, which must {}, is gone{FIRST_CAUSE}{task} was deleted", condition.verb()));
    }
    let found = found?;
    (seen.task_uid, seen.met_before) = (Some(found.uid.clone()), false);
    let end = found.end.as_ref()?;
    if end.holds(seen.condition) {
        (seen.met, seen.result) = (true, end.result.clone());
        return None;
    }
    Some(broken(seen, end))
}

fn broken(seen: &AfterStatus, end: &TaskEnd) -> String {
    let AfterStatus { task, condition, .. } = seen;
    let TaskEnd { succeeded, reason, message, .. } = end;
    let how = if *succeeded { "has succeeded" } else { "has failed" };
    let first = message.split_once(FIRST_CAUSE).filter(|_| end.is_of_dependency()).map(|(_, first)| first.to_owned());
    let first = first.unwrap_or_else(|| format!("{task}: {reason}: {message}"));
    format!("{task}, which must {}, {how}{FIRST_CAUSE}{first}", condition.verb())
}
