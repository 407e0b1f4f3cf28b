//! A task that waits for a time, for other tasks, or to be resumed.

use super::{NOTICED_WITHIN_SECONDS, Subject, Why, one_line, quote};
use crate::api::{CurrentAttempt, LastFailure, RetryableTaskSpec};
use crate::core::end_text::reason_and_code;
use crate::core::time::{plus, until};
use jiff::{SignedDuration, Timestamp};

impl Subject<'_> {
    /// The attempt is due later.
    pub(super) fn waiting(&self, current: &CurrentAttempt, due: Timestamp) -> Why {
        let what = self.attempt(current);
        let at = self.at(due);
        if current.wait.is_none() && current.start_at.is_some() {
            return Why::of(format!("{what} starts {at}, as spec.startAt says"));
        }
        let wait = current.wait.as_ref();
        let whose = if wait.and_then(|wait| wait.retry_after_seconds).is_some() {
            "the delay that the failed attempt asked for"
        } else {
            "its back-off"
        };
        let cause = match &self.status.last_failure {
            Some(failure) => format!("{}; ", failed_before(failure)),
            None => String::new(),
        };
        let charge = match wait {
            Some(wait) if wait.charged => self.charged(),
            Some(wait) => match &wait.rule {
                Some(rule) => format!("rule {rule} matched, and this retry is not charged to maxRetries"),
                None => "this retry is not charged to maxRetries".into(),
            },
            None => self.charged(),
        };
        let why = Why::of(format!("{what} waits for {whose} and starts {at}: {cause}{charge}"));
        let name = self.as_argument();
        why.hint(format!("To start it now: kubectl retryable retry-now {name}"))
    }

    /// The attempt is due, and needs nothing but an operator.
    pub(super) fn due(&self, current: &CurrentAttempt) -> Why {
        let what = self.attempt(current);
        let since = current.due_time.as_ref().map(|due| due.0);
        let Some(since) = since else {
            return Why::of(format!("{what} is due, and about to start"));
        };
        let late = until(since, self.known.now);
        let why = Why::of(format!("{what} was due {} ago, and is about to start", self.ago(since)));
        if late.as_secs() < NOTICED_WITHIN_SECONDS {
            return why;
        }
        why.hint("It is late: check that the operator runs.")
    }

    pub(super) fn suspended(&self, current: &CurrentAttempt) -> Why {
        let since = self.status.suspended_time.as_ref();
        let since = since.map(|since| format!(" for {}", self.ago(since.0))).unwrap_or_default();
        let failed = if current.fallback {
            format!("; the task has failed: {}", self.failure_target())
        } else {
            match &self.status.last_failure {
                Some(failure) => format!("; {}", failed_before(failure)),
                None => String::new(),
            }
        };
        let what = if current.fallback { "the fallback".into() } else { format!("attempt {}", current.number) };
        let due = current.due_time.as_ref().map(|due| due.0).filter(|due| *due > self.known.now);
        let then = match due {
            Some(due) => format!("{what} is due {}, unless it is still suspended then", self.at(due)),
            None => format!("{what} starts once it is resumed{}", self.beside_resume(current)),
        };
        let why = Why::of(format!("It has been suspended{since}, and {then}{failed}"));
        let name = self.as_argument();
        why.hint(format!("To resume it: kubectl retryable resume {name}"))
    }

    /// What a suspended attempt needs beside being resumed.
    fn beside_resume(&self, current: &CurrentAttempt) -> String {
        let RetryableTaskSpec { after, queue, .. } = &self.task.spec;
        let after = if current.number == 1 && after.as_ref().is_some_and(|after| !after.is_empty()) {
            ", after the tasks of spec.after"
        } else {
            ""
        };
        let queue = queue.as_ref().filter(|_| !current.fallback);
        let queue = queue.map(|queue| format!(", when TaskQueue {} lets it", queue.name)).unwrap_or_default();
        format!("{after}{queue}")
    }

    /// The message says which tasks it waits for.
    pub(super) fn blocked(&self, current: &CurrentAttempt, message: &str) -> Why {
        let what = self.attempt(current);
        let since = current.blocked_time.as_ref().map(|since| since.0);
        let ago = since.map(|since| format!(", for {} now", self.ago(since))).unwrap_or_default();
        let why = Why::of(format!("{what} {}{ago}", one_line(message)));
        match self.task.spec.after_timeout_seconds.zip(since) {
            Some((seconds, since)) => {
                let end = plus(since, SignedDuration::from_secs(seconds.into()));
                why.hint(format!("It fails {} if they have not ended by then (afterTimeoutSeconds).", self.at(end)))
            }
            None => why,
        }
    }
}

/// Such as `attempt 2 ended with Error, exit code 3: connection refused`.
pub(super) fn failed_before(failure: &LastFailure) -> String {
    let LastFailure { attempt, reason, exit_code, message } = failure;
    format!("attempt {attempt} ended with {}{}", reason_and_code(reason, *exit_code), quote(message.as_deref()))
}
