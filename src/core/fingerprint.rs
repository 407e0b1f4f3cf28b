//! Groups failures by their cause: a thousand failures of twelve causes are twelve rows.
//!
//! Two failures have one cause if their reason, exit code, error type and message are the same, where the message is compared
//! without what differs from failure to failure ([`pattern()`]).

mod failure;
mod pattern;
mod tally;

pub use failure::{Failure, TaskId, failures, last_failure};
pub use pattern::pattern;
pub use tally::{Counted, Tally, tally};

use crate::core::hash;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Characters of a fingerprint's short name.
const NAME_LENGTH: usize = 8;

/// What failures of one cause have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Why the attempt ended, such as `Error` or `OOMKilled`; or why the task stands still or has failed without an attempt, such as
    /// `PodRejected` or `DependencyFailed`.
    pub reason: String,
    /// The exit code, if a container ended.
    pub exit_code: Option<i32>,
    /// The kind of error that the task reported.
    pub error_type: Option<String>,
    /// The message without what differs from failure to failure. Empty if there is none.
    pub pattern: String,
}

impl Fingerprint {
    /// Its short name: the same for the same cause, in every process.
    pub fn name(&self) -> String {
        let Self { reason, exit_code, error_type, pattern } = self;
        let code = exit_code.map(|code| code.to_string()).unwrap_or_default();
        let error_type = error_type.as_deref().unwrap_or_default();
        hash::name(&[reason, &*code, error_type, pattern].join("\0"), NAME_LENGTH)
    }
}

/// Failures of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGroup {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// How many there are, at least 1.
    pub count: usize,
    /// When the first of them happened, as far as it is known.
    pub first: Option<Timestamp>,
    /// When the last of them happened, as far as it is known.
    pub last: Option<Timestamp>,
    /// The message of the last one, as it is. Empty if there is none.
    pub message: String,
    /// The tasks that they happened to.
    pub tasks: BTreeSet<TaskId>,
}

/// The failures by their cause: the most frequent first, and of two as frequent the later.
pub fn group(failures: impl IntoIterator<Item = Failure>) -> Vec<ErrorGroup> {
    let failures: Vec<Failure> = failures.into_iter().collect();
    let counted = failures.iter().map(|failure| Counted {
        cause: failure.fingerprint(),
        task: &failure.task,
        time: failure.time,
        message: &failure.message,
    });
    tally(counted).into_iter().map(ErrorGroup::of).collect()
}

impl ErrorGroup {
    fn of(tally: Tally<Fingerprint, &TaskId>) -> Self {
        let Tally { cause, count, first, last, message, tasks } = tally;
        let tasks = tasks.into_iter().map(|(task, _)| task.clone()).collect();
        Self { fingerprint: cause, count, first, last, message: message.to_owned(), tasks }
    }
}

#[cfg(test)]
mod tests;
