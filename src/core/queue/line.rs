//! The tasks that wait for a queue, in the order in which they start.
//!
//! First the higher priority, where each ten minutes of waiting count as one more. Within a priority the fairness key with the
//! fewest attempts under way, and within a key who has waited longest. A task that has waited ten minutes longer stands level with
//! one of the next priority: so both are one number, the rank, which does not change while a task waits.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// UID of a task.
pub type Uid = Arc<str>;
/// What a task's fairness key is in the index.
pub type FairnessKey = Arc<str>;

/// Waiting time that counts as much as one priority.
pub const AGING: SignedDuration = SignedDuration::from_secs(600);

/// Since when a task of priority 0 would have waited to stand where this one stands, in microseconds.
pub type Rank = i64;

/// The rank of a task.
pub fn rank(since: Timestamp, priority: i32) -> Rank {
    since.as_microsecond().saturating_sub(i64::from(priority).saturating_mul(aging()))
}

fn aging() -> i64 {
    i64::try_from(AGING.as_micros()).unwrap_or(i64::MAX)
}

/// Tasks in a line, and how many attempts of each fairness key are under way. All operations take logarithmic time.
#[derive(Debug, Default)]
pub struct Line {
    /// By fairness key.
    tasks: HashMap<FairnessKey, BTreeSet<(Rank, Uid)>>,
    /// The first task of each key, by attempts under way.
    heads: BTreeMap<usize, BTreeSet<(Rank, FairnessKey)>>,
    under_way: HashMap<FairnessKey, usize>,
    len: usize,
}

impl Line {
    /// How many tasks wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no task waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a task.
    pub fn add(&mut self, key: &FairnessKey, rank: Rank, uid: &Uid) {
        self.remove_head(key);
        if self.tasks.entry(key.clone()).or_default().insert((rank, uid.clone())) {
            self.len += 1;
        }
        self.add_head(key);
    }

    /// Removes a task.
    pub fn remove(&mut self, key: &FairnessKey, rank: Rank, uid: &Uid) {
        self.remove_head(key);
        if let Some(tasks) = self.tasks.get_mut(key) {
            if tasks.remove(&(rank, uid.clone())) {
                self.len -= 1;
            }
            if tasks.is_empty() {
                self.tasks.remove(key);
            }
        }
        self.add_head(key);
    }

    /// Sets how many attempts of that key are under way.
    pub fn set_under_way(&mut self, key: &FairnessKey, count: usize) {
        self.remove_head(key);
        if count == 0 {
            self.under_way.remove(key);
        } else {
            self.under_way.insert(key.clone(), count);
        }
        self.add_head(key);
    }

    /// Who starts next, with its rank.
    pub fn first(&self, now: Timestamp) -> Option<(Rank, usize, &Uid)> {
        let best = self.heads.values().filter_map(|heads| heads.first()).map(|(rank, _)| *rank).min()?;
        let level_end = level_end(best, now);
        let (under_way, (_, key)) = self.heads.iter().find_map(|(under_way, heads)| {
            heads.first().filter(|(rank, _)| *rank <= level_end).map(|head| (*under_way, head))
        })?;
        self.tasks.get(key)?.first().map(|(rank, uid)| (*rank, under_way, uid))
    }

    fn remove_head(&mut self, key: &FairnessKey) {
        let Some((rank, _)) = self.tasks.get(key).and_then(|tasks| tasks.first()) else { return };
        let under_way = self.count(key);
        if let Some(heads) = self.heads.get_mut(&under_way) {
            heads.remove(&(*rank, key.clone()));
            if heads.is_empty() {
                self.heads.remove(&under_way);
            }
        }
    }

    fn add_head(&mut self, key: &FairnessKey) {
        let Some((rank, _)) = self.tasks.get(key).and_then(|tasks| tasks.first()) else { return };
        self.heads.entry(self.count(key)).or_default().insert((*rank, key.clone()));
    }

    fn count(&self, key: &FairnessKey) -> usize {
        self.under_way.get(key).copied().unwrap_or(0)
    }
}

/// Whether the first of two heads starts before the second: by priority, then by attempts of its key under way, then by rank.
pub fn is_before(first: (Rank, usize), second: (Rank, usize), now: Timestamp) -> bool {
    let level = |rank: Rank| std::cmp::Reverse(level(rank, now));
    (level(first.0), first.1, first.0) < (level(second.0), second.1, second.0)
}

/// The priority of a task with its waiting time.
fn level(rank: Rank, now: Timestamp) -> i64 {
    now.as_microsecond().saturating_sub(rank).div_euclid(aging())
}

/// The highest rank of the same level as `rank`.
fn level_end(rank: Rank, now: Timestamp) -> Rank {
    now.as_microsecond().saturating_sub(level(rank, now).saturating_mul(aging()))
}

#[cfg(test)]
mod tests;
