//! An attempt that is due and waits for its TaskQueue.

use super::{KnownQueue, NOTICED_WITHIN_SECONDS, Subject, Why, one_line};
use crate::api::{Circuit, CircuitState, ConditionType, CurrentAttempt, QueueConditionType, TaskQueue};
use crate::core::condition_list;
use crate::core::decide::queued_since;
use crate::core::queue::place::Place;
use crate::core::queue::view::QueueWaitReason;
use crate::core::time::plus;
use jiff::SignedDuration;

impl Subject<'_> {
    pub(super) fn queued(&self, current: &CurrentAttempt, name: &str) -> Why {
        let what = self.attempt(current);
        let since = queued_since(&self.task.metadata, self.status, current);
        let waited = since.map(|since| format!(" for {}", self.ago(since))).unwrap_or_default();
        let for_what = match self.known.queue {
            KnownQueue::Missing => {
                return Why::of(format!("{what} has waited{waited} for TaskQueue {name}, which does not exist"))
                    .hint("Create it, or change spec.queue.");
            }
            KnownQueue::Found { queue, place } => self.by_queue(queue, place),
            KnownQueue::Unknown => self.by_condition(),
        };
        let why = Why::of(format!("{what} is due and has waited{waited} for TaskQueue {name}: {for_what}"));
        match self.task.spec.queue.as_ref().and_then(|queue| queue.max_wait_seconds).zip(since) {
            Some((seconds, since)) => {
                let end = plus(since, SignedDuration::from_secs(seconds.into()));
                why.hint(format!("It fails {} if it has not started by then (queue.maxWaitSeconds).", self.at(end)))
            }
            None => why,
        }
    }

    /// What the queue itself says now: what the task's status says may be minutes old.
    fn by_queue(&self, queue: &TaskQueue, place: Option<Place>) -> String {
        let place = place.map(|Place { nth, of }| format!("it is number {nth} of {of} in line")).unwrap_or_default();
        let and_place = if place.is_empty() { String::new() } else { format!("; {place}") };
        let status = queue.status.clone().unwrap_or_default();
        let active = status.conditions.iter().find(|it| it.type_ == QueueConditionType::Active.as_str());
        match &status.circuit {
            _ if active.is_some_and(|active| active.status == "False" && active.reason != "CircuitOpen") => {
                format!("{}{and_place}", active.map(|active| one_line(&active.message)).unwrap_or_default())
            }
            Some(Circuit { state: CircuitState::Open, until, cause, .. }) => {
                let until = until.as_ref().map(|until| format!(", the first probes start {}", self.at(until.0)));
                let cause = cause.as_deref().map(|cause| format!(" ({})", one_line(cause))).unwrap_or_default();
                format!("its circuit is open{cause}{}{and_place}", until.unwrap_or_default())
            }
            Some(Circuit { state: CircuitState::HalfOpen, cause, .. }) => {
                let cause = cause.as_deref().map(|cause| format!(" ({})", one_line(cause))).unwrap_or_default();
                format!("its circuit is half open{cause}, and probes alone start{and_place}")
            }
            _ => {
                let Some(running) = status.running.as_deref() else {
                    return format!("{}{and_place}", self.by_condition());
                };
                let beside = self.beside_slots(running).map(|message| format!("{message}; ")).unwrap_or_default();
                format!("{beside}{running} attempts run{and_place}")
            }
        }
    }

    /// What the task's status says of the wait, if it is something that the queue's numbers do not show.
    fn beside_slots(&self, running: &str) -> Option<String> {
        let queued = condition_list::find(&self.status.conditions, ConditionType::Queued)?;
        let is = |reason: QueueWaitReason| reason.as_str() == queued.reason;
        // Where all slots are in use by now, that is why.
        let is_full = running.split_once('/').is_some_and(|(running, slots)| running == slots);
        let is_worth_it = is(QueueWaitReason::Recovering)
            || (!is_full && (is(QueueWaitReason::RateLimited) || is(QueueWaitReason::RetriesFull)));
        is_worth_it.then(|| one_line(&queued.message))
    }

    /// What the task's status says of the wait.
    fn by_condition(&self) -> String {
        let queued = condition_list::find(&self.status.conditions, ConditionType::Queued);
        match queued {
            Some(queued) => one_line(&queued.message),
            None => format!("nothing has been said of why yet, which takes up to {NOTICED_WITHIN_SECONDS} s"),
        }
    }
}
