//! Where tasks are in the line of their queue, from what is stored of them alone.
//!
//! For people: the operator decides by its ledger, which also counts limits on retries and grants not stored yet.

use super::facts::TaskFacts;
use super::line::{Line, rank};
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

/// The places of the tasks that wait for that queue, by UID. `tasks` are all of its namespace, or all that name the queue.
pub fn places<'a>(
    queue: &str,
    tasks: impl IntoIterator<Item = &'a RetryableTask>,
    now: Timestamp,
) -> HashMap<Arc<str>, Place> {
    let mut line = Line::default();
    let mut under_way: HashMap<Arc<str>, usize> = HashMap::new();
    let mut waiting: HashMap<Arc<str>, (Arc<str>, i64)> = HashMap::new();
    for task in tasks {
        let Some(facts) = TaskFacts::of(task, now) else { continue };
        if facts.held.as_ref().is_some_and(|held| *held.queue == *queue) {
            *under_way.entry(facts.fairness_key.clone()).or_default() += 1;
        }
        let is_in_line = facts.is_due && facts.queue.as_deref() == Some(queue) && !is_blocked(task);
        let Some(since) = is_in_line.then(|| since(task, now)) else { continue };
        let priority = task.spec.queue.as_ref().map_or(0, |queue| queue.priority.clamp(-10, 10));
        let rank = rank(since, priority);
        line.add(&facts.fairness_key, rank, &facts.uid);
        waiting.insert(facts.uid, (facts.fairness_key, rank));
    }
    for (key, count) in &under_way {
        line.set_under_way(key, *count);
    }
    let of = line.len();
    let mut places = HashMap::with_capacity(of);
    while let Some(uid) = line.first(now).map(|(_, _, uid)| uid.clone()) {
        let Some((key, rank)) = waiting.get(&uid) else { break };
        line.remove(key, *rank, &uid);
        let count = under_way.entry(key.clone()).or_default();
        *count += 1;
        line.set_under_way(key, *count);
        places.insert(uid, Place { nth: places.len() + 1, of });
    }
    places
}

/// Whether it waits for other tasks, and not for the queue.
fn is_blocked(task: &RetryableTask) -> bool {
    let current = task.status.as_ref().and_then(|status| status.current.as_ref());
    current.is_some_and(|current| current.blocked_time.is_some())
}

fn since(task: &RetryableTask, now: Timestamp) -> Timestamp {
    let status = task.status.clone().unwrap_or_default();
    let current = status.current.clone().unwrap_or_default();
    queued_since(&task.metadata, &status, &current).unwrap_or(now)
}

#[cfg(test)]
mod tests;
