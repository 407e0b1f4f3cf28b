//! Which Pods a task has had, in the order in which they ran.

use crate::api::RetryableTask;
use crate::core::slot::Slot;

/// The attempts of which a Pod is known, and the fallback.
pub fn slots(task: &RetryableTask) -> Vec<Slot> {
    let Some(status) = &task.status else { return Vec::new() };
    let ended = status.history.iter().filter(|entry| !entry.pod_name.is_empty()).map(|entry| Slot::from(entry.attempt));
    let current = status.current.as_ref().filter(|current| current.pod_name.is_some());
    let current = current.map(|current| Slot { number: current.number, fallback: current.fallback });
    let fallback = status.fallback.as_ref().map(|_| Slot { number: status.attempts, fallback: true });
    let mut all: Vec<Slot> = ended.chain(current).chain(fallback).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The name of its Pod, if it is known.
pub fn pod_of(task: &RetryableTask, slot: Slot) -> Option<String> {
    let status = task.status.as_ref()?;
    if slot.fallback {
        return status.fallback.as_ref().map(|fallback| fallback.pod_name.clone());
    }
    let ended = status.history.iter().find(|entry| entry.attempt == slot.number).map(|entry| entry.pod_name.clone());
    let current = status.current.as_ref().filter(|current| current.number == slot.number && !current.fallback);
    ended.or_else(|| current.and_then(|current| current.pod_name.clone())).filter(|name| !name.is_empty())
}

/// Whether its end is recorded.
pub fn has_ended(task: &RetryableTask, slot: Slot) -> bool {
    let Some(status) = &task.status else { return false };
    match &status.current {
        None => true,
        Some(current) => (current.number, current.fallback) > (slot.number, slot.fallback),
    }
}

/// The next of which a Pod is known.
pub fn next_after(task: &RetryableTask, slot: Slot) -> Option<Slot> {
    slots(task).into_iter().find(|other| *other > slot)
}
