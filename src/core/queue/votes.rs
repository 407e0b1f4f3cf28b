//! What the ends of attempts say of a service: one vote for each task, by its latest end within the window.

use super::line::Uid;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many causes the summary names.
const CAUSES: usize = 3;

/// What the end of an attempt says of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Success,
    /// It failed: the cause in short, such as `Unavailable` or `Error (exit code 3)`.
    Failure(String),
    /// Nothing.
    Neutral,
}

/// The votes of the tasks.
#[derive(Debug, Default)]
pub struct Votes {
    by_task: HashMap<Uid, (Timestamp, Option<String>)>,
    by_time: BTreeSet<(Timestamp, Uid)>,
    failed: usize,
}

impl Votes {
    /// A task's attempt has ended. A neutral end leaves the task's vote as it is.
    pub fn cast(&mut self, uid: &Uid, at: Timestamp, verdict: Verdict) {
        let cause = match verdict {
            Verdict::Neutral => return,
            Verdict::Success => None,
            Verdict::Failure(cause) => Some(cause),
        };
        self.remove(uid);
        self.failed += usize::from(cause.is_some());
        self.by_time.insert((at, uid.clone()));
        self.by_task.insert(uid.clone(), (at, cause));
    }

    /// Forgets the votes that are older than the window.
    pub fn expire(&mut self, now: Timestamp, window: SignedDuration) {
        let oldest = plus(now, -window);
        while let Some((_, uid)) = self.by_time.first().filter(|(at, _)| *at < oldest).cloned() {
            self.remove(&uid);
        }
    }

    /// When the first vote expires.
    pub fn next_expiry(&self, window: SignedDuration) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| plus(*at, window.saturating_add(SignedDuration::from_micros(1))))
    }

    /// Forgets all votes.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many tasks failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// How many tasks have a vote.
    pub fn all(&self) -> usize {
        self.by_task.len()
    }

    /// In words: how many failed, and their most frequent causes.
    pub fn summary(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for cause in self.by_task.values().filter_map(|(_, cause)| cause.as_deref()) {
            *counts.entry(cause).or_default() += 1;
        }
        let mut causes: Vec<_> = counts.into_iter().collect();
        causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(*count), *cause));
        let causes: Vec<_> = causes.iter().take(CAUSES).map(|(cause, count)| format!("{cause} ({count})")).collect();
        format!("{} of {} tasks failed: {}", self.failed, self.all(), causes.join(", "))
    }

    fn remove(&mut self, uid: &Uid) {
        if let Some((at, cause)) = self.by_task.remove(uid) {
            self.by_time.remove(&(at, uid.clone()));
            self.failed -= usize::from(cause.is_some());
        }
    }
}
