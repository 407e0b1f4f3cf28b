//! Which Pods a task has had, in the order in which they ran; and how far the log of one was read.

use crate::api::RetryableTask;
use crate::core::slot::Slot;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

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

/// Whether its container may still print: it runs, or can still start.
pub fn may_print(pod: &Pod, container: &str) -> bool {
    let Some(status) = &pod.status else { return pod.metadata.deletion_timestamp.is_none() };
    let mut found = [&status.container_statuses, &status.init_container_statuses].into_iter().flatten().flatten();
    let state = found.find(|status| status.name == container).and_then(|status| status.state.as_ref());
    match state {
        Some(state) if state.terminated.is_some() => false,
        Some(state) if state.running.is_some() => true,
        Some(_) | None => {
            pod.metadata.deletion_timestamp.is_none()
                && !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
        }
    }
}

/// How far a log was read whose lines begin with their time, so that it goes on there when its connection breaks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    latest: Option<Timestamp>,
    /// What is not later was read before the connection broke.
    read: Option<Timestamp>,
}

impl Place {
    /// The line without its time. None if it was read before.
    pub fn take<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let Some((time, rest)) = timed(line) else { return Some(line) };
        if self.read.is_some_and(|read| time <= read) {
            return None;
        }
        // Lines of the two streams may be a little out of order.
        self.read = None;
        self.latest = self.latest.max(Some(time));
        Some(rest)
    }

    /// From when to ask for the log again. The API takes whole seconds, so some lines come twice, and are read once. None if no line was
    /// read.
    pub fn resume(&mut self) -> Option<Timestamp> {
        self.read = self.latest;
        self.latest.and_then(|latest| Timestamp::from_second(latest.as_second()).ok())
    }
}

/// The time with which the line begins, and the rest.
fn timed(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let (time, rest) = line.split_at_checked(end)?;
    Some((std::str::from_utf8(time).ok()?.parse().ok()?, rest.get(1..)?))
}
