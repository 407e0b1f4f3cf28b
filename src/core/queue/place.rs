//! Where tasks are in the line of their queue, from what is stored of them alone.
//!
//! For people: the operator decides by its ledger, which also counts limits on retries and grants not stored yet.

use super::facts::TaskFacts;
use super::line::{FairnessKey, Line, Rank, Uid, rank};
use crate::api::RetryableTask;
use crate::core::decide::queued_since;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// Where a task is in the line of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// As which it starts if none comes that goes before it: 1 is the next.
    pub nth: usize,
    /// How many tasks wait.
    pub of: usize,
}

/// What the line has to know of a task. It holds until the task changes, whatever the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InLine {
    /// UID of the task.
    pub uid: Uid,
    /// Its fairness key.
    pub fairness_key: FairnessKey,
    /// The queue whose slot its attempt holds.
    pub held: Option<Arc<str>>,
    /// The queue that its next attempt waits for.
    pub waits: Option<Arc<str>>,
    /// From when on it waits, if that is not past.
    pub due: Option<Timestamp>,
    /// Since when it has waited, if that is known.
    pub since: Option<Timestamp>,
    /// The priority, from -10 to 10.
    pub priority: i32,
}

impl InLine {
    /// Of the task as it is stored. None if it neither waits for a queue nor holds a slot.
    pub fn of(task: &RetryableTask) -> Option<Self> {
        // As if all that is due at any time were due.
        let facts = TaskFacts::of(task, Timestamp::MAX)?;
        let TaskFacts { uid, queue, fairness_key, held, is_due, .. } = facts;
        let status = task.status.clone().unwrap_or_default();
        let current = status.current.clone().unwrap_or_default();
        // Whoever waits for other tasks does not wait for the queue.
        let waits = queue.filter(|_| is_due && current.blocked_time.is_none());
        let held = held.map(|held| held.queue);
        if waits.is_none() && held.is_none() {
            return None;
        }
        Some(Self {
            uid,
            fairness_key,
            held,
            waits,
            due: current.next_create_time.as_ref().or(current.due_time.as_ref()).map(|at| at.0),
            since: queued_since(&task.metadata, &status, &current),
            priority: task.spec.queue.as_ref().map_or(0, |queue| queue.priority.clamp(-10, 10)),
        })
    }

    fn waits_for(&self, queue: &str, now: Timestamp) -> bool {
        self.waits.as_deref() == Some(queue) && self.due.is_none_or(|due| due <= now)
    }
}

/// The line of a queue, from which who starts next is taken.
struct Leaving {
    line: Line,
    under_way: HashMap<FairnessKey, usize>,
    waiting: HashMap<Uid, (FairnessKey, Rank)>,
}

impl Leaving {
    fn of<'a>(queue: &str, tasks: impl IntoIterator<Item = &'a InLine>, now: Timestamp) -> Self {
        let mut line = Line::default();
        let mut under_way: HashMap<FairnessKey, usize> = HashMap::new();
        let mut waiting = HashMap::new();
        for task in tasks {
            if task.held.as_deref() == Some(queue) {
                *under_way.entry(task.fairness_key.clone()).or_default() += 1;
            }
            if task.waits_for(queue, now) {
                let rank = rank(task.since.unwrap_or(now), task.priority);
                line.add(&task.fairness_key, rank, &task.uid);
                waiting.insert(task.uid.clone(), (task.fairness_key.clone(), rank));
            }
        }
        for (key, count) in &under_way {
            line.set_under_way(key, *count);
        }
        Self { line, under_way, waiting }
    }

    /// Takes out who starts next.
    fn next(&mut self, now: Timestamp) -> Option<Uid> {
        let uid = self.line.first(now).map(|(_, _, uid)| uid.clone())?;
        let (key, rank) = self.waiting.remove(&uid)?;
        self.line.remove(&key, rank, &uid);
        let count = self.under_way.entry(key.clone()).or_default();
        *count += 1;
        self.line.set_under_way(&key, *count);
        Some(uid)
    }
}

/// The places of the tasks that wait for that queue, by UID. `tasks` are all of its namespace, or all that name the queue.
pub fn places<'a>(
    queue: &str,
    tasks: impl IntoIterator<Item = &'a RetryableTask>,
    now: Timestamp,
) -> HashMap<Uid, Place> {
    let tasks: Vec<InLine> = tasks.into_iter().filter_map(InLine::of).collect();
    let mut leaving = Leaving::of(queue, &tasks, now);
    let of = leaving.line.len();
    let in_order = std::iter::from_fn(|| leaving.next(now));
    in_order.enumerate().map(|(index, uid)| (uid, Place { nth: index + 1, of })).collect()
}

/// The place of the task of that UID in the line of the queue, if it is in it. `tasks` are all of the queue's namespace, or all that name
/// the queue.
pub fn place<'a>(queue: &str, uid: &str, tasks: impl IntoIterator<Item = &'a InLine>, now: Timestamp) -> Option<Place> {
    let mut leaving = Leaving::of(queue, tasks, now);
    let of = leaving.line.len();
    if !leaving.waiting.contains_key(uid) {
        return None;
    }
    let nth = std::iter::from_fn(|| leaving.next(now)).position(|next| *next == *uid)?;
    Some(Place { nth: nth + 1, of })
}

#[cfg(test)]
mod tests;
