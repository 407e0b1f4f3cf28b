//! Why a task is where it is, in one sentence: what it waits for, what keeps it from starting, or how it ended.
//!
//! The sentence follows from the task as it is stored, and from its queue where that is known. It is the same for the command line and the page.

mod ended;
mod fallback;
mod queued;
mod standstill;
mod waiting;

use crate::api::{
    ConditionReason, ConditionType, CurrentAttempt, HoldUp, RetryableTask, RetryableTaskStatus, State, TaskQueue,
};
use crate::core::attempt_spec::number_in_run;
use crate::core::condition_list;
use crate::core::decide::{Request, is_finished, pending_requests};
use crate::core::message::short;
use crate::core::queue::place::Place;
use crate::core::time::{human, until};
use jiff::Timestamp;
use waiting::failed_before;

/// Most bytes of a message of others in the sentence.
const MAX_QUOTE_BYTES: usize = 400;
/// How long an operator takes to see a new task, or an attempt that is due, at most: after that something is wrong.
const NOTICED_WITHIN_SECONDS: i64 = 30;

/// What is known beside the task.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The current time.
    pub now: Timestamp,
    /// The TaskQueue of `spec.queue`.
    pub queue: KnownQueue<'a>,
    /// Options that a command in the hints needs to mean the same cluster, such as `--context prod`. Empty if it needs none.
    pub options: &'a str,
}

/// What is known of the task's queue.
#[derive(Clone, Copy, Debug)]
pub enum KnownQueue<'a> {
    /// It was not looked up, or cannot be read.
    Unknown,
    /// There is none of that name.
    Missing,
    /// It exists.
    Found {
        /// As it is stored.
        queue: &'a TaskQueue,
        /// Where the task is in its line, if that was looked up and it is in it.
        place: Option<Place>,
    },
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// One sentence, without its full stop.
    pub sentence: String,
    /// What to do or to know beside it: one sentence each.
    pub hints: Vec<String>,
}

impl Why {
    /// The sentence with its full stop. What it quotes at its end may have one of its own.
    pub fn text(&self) -> String {
        format!("{}.", self.sentence.trim_end_matches('.'))
    }

    fn of(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hints: Vec::new() }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Why the task is where it is.
pub fn why(task: &RetryableTask, known: &Known) -> Why {
    let Some(status) = task.status.as_ref().filter(|status| status.observed_generation.is_some_and(|seen| seen >= 0))
    else {
        return unseen(task, known.now);
    };
    let subject = Subject { task, status, known };
    if task.metadata.deletion_timestamp.is_some() {
        return subject.deleted();
    }
    if is_finished(&status.conditions) {
        return subject.with_requests(subject.ended());
    }
    let why = subject.unfinished();
    subject.with_requests(subject.with_generation(why))
}

/// Whether it is to be known of the task's queue why the task is where it is: its next attempt has not started.
pub fn is_about_queue(task: &RetryableTask) -> bool {
    let Some(status) = task.status.as_ref().filter(|_| task.spec.queue.is_some()) else { return false };
    let has_pod = status.current.as_ref().is_some_and(|current| current.pod_name.is_some());
    !is_finished(&status.conditions) && (!has_pod || status.state == Some(State::Queued))
}

/// An object as an argument of a command that is copied, such as `import-orders -n shop --context prod`.
pub fn as_argument(name: &str, namespace: Option<&str>, options: &str) -> String {
    let namespace = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    let gap = if options.is_empty() { "" } else { " " };
    format!("{name}{namespace}{gap}{options}")
}

/// A task, and what is known.
struct Subject<'a> {
    task: &'a RetryableTask,
    status: &'a RetryableTaskStatus,
    known: &'a Known<'a>,
}

impl Subject<'_> {
    fn unfinished(&self) -> Why {
        let none = CurrentAttempt { number: self.status.attempts.saturating_add(1), ..CurrentAttempt::default() };
        let current = self.status.current.as_ref().unwrap_or(&none);
        if let Some(reason) = current.stop_reason {
            return self.stopping(current, reason);
        }
        if self.status.state == Some(State::Suspended) {
            return self.suspended(current);
        }
        if let Some(stalled) = condition_list::find(&self.status.conditions, ConditionType::Stalled)
            .filter(|stalled| stalled.status == "True" && self.status.state != Some(State::Queued))
        {
            return self.stalled(current, stalled);
        }
        if current.pod_name.is_none() || self.status.state == Some(State::Queued) {
            return self.not_started(current);
        }
        if let Some(HoldUp { reason, message }) = &current.hold_up {
            return self.held_up(current, reason, message.as_deref());
        }
        self.running(current)
    }

    fn not_started(&self, current: &CurrentAttempt) -> Why {
        let blocked = condition_list::find(&self.status.conditions, ConditionType::Blocked);
        if let Some(blocked) = blocked.filter(|_| self.status.state == Some(State::Blocked)) {
            return self.blocked(current, &blocked.message);
        }
        let due = current.due_time.as_ref().map(|due| due.0).filter(|due| *due > self.known.now);
        if let Some(due) = due.filter(|_| current.pod_name.is_none()) {
            return self.waiting(current, due);
        }
        match &self.task.spec.queue {
            Some(queue) if !current.fallback => self.queued(current, &queue.name),
            _ => self.due(current),
        }
    }

    fn running(&self, current: &CurrentAttempt) -> Why {
        let what = self.attempt(current);
        let pod = current.pod_name.as_deref().unwrap_or_default();
        let since = current.create_time.as_ref().map(|at| format!(", created {} ago", self.ago(at.0)));
        let why = Why::of(format!("{what} runs in Pod {pod}{}{}", since.unwrap_or_default(), self.so_far(current)));
        match &self.task.spec.attempt_timeout_seconds {
            Some(seconds) if !current.fallback => {
                why.hint(format!("It is stopped once its main container has run {seconds} s (attemptTimeoutSeconds)."))
            }
            _ => why,
        }
    }

    /// What came before an attempt that is under way.
    fn so_far(&self, current: &CurrentAttempt) -> String {
        if current.fallback {
            return format!("; the task has failed: {}", self.failure_target());
        }
        match &self.status.last_failure {
            Some(failure) if self.is_of_this_run(failure.attempt) => {
                format!("; {}, and {}", failed_before(failure), self.charged())
            }
            _ => String::new(),
        }
    }

    /// The task as an argument of a command that is copied.
    fn as_argument(&self) -> String {
        let metadata = &self.task.metadata;
        as_argument(metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref(), self.known.options)
    }

    /// Such as `attempt 3` or `the fallback`, at the beginning of a sentence.
    fn attempt(&self, current: &CurrentAttempt) -> String {
        if current.fallback {
            return "The fallback".into();
        }
        match self.status.run {
            Some(run) => format!("Attempt {} (run {})", current.number, run.number),
            None => format!("Attempt {}", current.number),
        }
    }

    fn is_of_this_run(&self, attempt: i32) -> bool {
        number_in_run(Some(self.status), attempt) >= 1
    }

    fn charged(&self) -> String {
        format!("{} of {} retries are charged", self.status.retries, self.task.spec.max_retries)
    }

    fn ago(&self, at: Timestamp) -> String {
        human(until(at, self.known.now))
    }

    /// A time to come, and how far it is.
    fn at(&self, at: Timestamp) -> String {
        format!("at {at:.0}, in {}", human(until(self.known.now, at)))
    }

    fn deleted(&self) -> Why {
        let metadata = &self.task.metadata;
        let since = metadata.deletion_timestamp.as_ref().map_or(String::new(), |at| format!(" {} ago", self.ago(at.0)));
        match metadata.finalizers.as_deref() {
            Some(finalizers) if !finalizers.is_empty() => Why::of(format!(
                "It was deleted{since}, and is gone once these finalizers are removed: {}",
                finalizers.join(", ")
            )),
            _ => Why::of(format!("It was deleted{since}, and is about to be gone")),
        }
    }

    /// Requests that the operator has not acknowledged.
    fn with_requests(&self, why: Why) -> Why {
        pending_requests(self.task).into_iter().fold(why, |why, request| {
            let then = match request {
                Request::RetryNow => "skip the wait",
                Request::RunAgain if is_finished(&self.status.conditions) => "run again",
                Request::RunAgain => "run again once it has ended",
                Request::Cancel => "cancel it",
            };
            why.hint(format!("A request to {then} ({}) is not acknowledged yet.", request.annotation()))
        })
    }

    fn with_generation(&self, why: Why) -> Why {
        let (seen, is) = (self.status.observed_generation, self.task.metadata.generation);
        match (seen, is) {
            (Some(seen), Some(is)) if seen < is => {
                why.hint(format!("The operator has not seen the last change of the spec yet (generation {is})."))
            }
            _ => why,
        }
    }
}

/// The message of others, in one line and not too long, after a colon; or nothing.
fn quote(message: Option<&str>) -> String {
    let line = message.map(one_line).filter(|line| !line.is_empty());
    line.map(|line| format!(": {line}")).unwrap_or_default()
}

fn one_line(message: &str) -> String {
    short(&message.split_whitespace().collect::<Vec<_>>().join(" "), MAX_QUOTE_BYTES)
}

fn unseen(task: &RetryableTask, now: Timestamp) -> Why {
    let Some(created) = task.metadata.creation_timestamp.as_ref() else {
        return Why::of("It does not exist yet");
    };
    let age = until(created.0, now);
    let why = Why::of(format!("It was created {} ago, and no operator has seen it yet", human(age)));
    if age.as_secs() < NOTICED_WITHIN_SECONDS {
        return why;
    }
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    why.hint(format!("Check that the operator runs, and that it watches namespace {namespace}."))
}

#[cfg(test)]
mod tests;
