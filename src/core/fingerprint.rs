//! Groups failures by their cause: a thousand failures of twelve causes are twelve rows.
//!
//! Two failures have one cause if their reason, exit code, error type and message are the same, where the message is compared
//! without what differs from failure to failure ([`pattern()`]).

mod failure;
mod pattern;

pub use failure::{Failure, TaskId, failures, last_failure};
pub use pattern::pattern;

use crate::core::hash;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

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
    let mut groups: HashMap<Fingerprint, ErrorGroup> = HashMap::new();
    for failure in failures {
        let fingerprint = failure.fingerprint();
        match groups.get_mut(&fingerprint) {
            Some(group) => group.add(failure),
            None => {
                groups.insert(fingerprint.clone(), ErrorGroup::of(fingerprint, failure));
            }
        }
    }
    let mut rows: Vec<ErrorGroup> = groups.into_values().collect();
    rows.sort_by(|a, b| {
        let order = |group: &ErrorGroup| (Reverse(group.count), Reverse(group.last));
        order(a).cmp(&order(b)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    rows
}

impl ErrorGroup {
    fn of(fingerprint: Fingerprint, failure: Failure) -> Self {
        let Failure { task, time, message, attempt: _, reason: _, exit_code: _, error_type: _ } = failure;
        Self { fingerprint, count: 1, first: time, last: time, message, tasks: BTreeSet::from([task]) }
    }

    fn add(&mut self, failure: Failure) {
        let Failure { task, time, message, attempt: _, reason: _, exit_code: _, error_type: _ } = failure;
        self.count += 1;
        if time.is_some() && (self.first.is_none() || time < self.first) {
            self.first = time;
        }
        // Of two at the same time the message does not depend on the order in which they come.
        if (time, &message) > (self.last, &self.message) {
            self.message = message;
        }
        self.last = self.last.max(time);
        self.tasks.insert(task);
    }
}

#[cfg(test)]
mod tests;
