//! Steps that are due follow soon, and no write is repeated in a loop.

use super::{
    Change, Trace, Violation,
    record::{PodRecord, TaskRecord, is_terminal},
};
use retryable_tasks::{api::RetryableTask, core::decide::slot_of};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// How long the operator may take for a step that is due, if nothing delays it.
const PROMPT: Duration = Duration::from_secs(20);
/// [`TOO_MANY`] writes, or refusals, within this time are a loop.
const WINDOW: Duration = Duration::from_secs(60);
const TOO_MANY: usize = 20;

pub fn check(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    if trace.prompt {
        prompt(trace, record, violations);
    }
    written_with_cause(trace, record, violations);
}

/// If nothing delays the operator, the next step follows within [`PROMPT`].
fn prompt(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    let end = record.deletion_requested().unwrap_or(Duration::MAX);
    let mut say = |text: String| {
        violations.push(Violation::new("what is due is done soon", format!("{}: {text}", record.name)));
    };
    for (at, task) in &record.versions {
        let current = task.status.as_ref().and_then(|status| status.current.as_ref());
        let Some(named) = current.filter(|current| current.pod_name.is_some()) else { continue };
        let created = |pod: &PodRecord| pod.slot() == slot_of(named) && pod.created() <= *at + PROMPT;
        // Its queue can take the slot back before the Pod is requested.
        let is_given_up = record
            .status_at(*at + PROMPT)
            .and_then(|status| status.current.as_ref())
            .is_none_or(|current| slot_of(current) != slot_of(named) || current.pod_name.is_none());
        if *at + PROMPT < end && !is_given_up && !record.pods.iter().any(created) {
            say(format!("there is no Pod long after {at:?}, when {named:?} was stored"));
        }
    }
    for (index, (at, task)) in record.versions.iter().enumerate() {
        let Some(due) = due(trace, *at, task) else { continue };
        let next = record.versions.get(index + 1).map_or(Duration::MAX, |(at, _)| *at);
        if due + PROMPT < end && next > due + PROMPT {
            say(format!("the attempt that was due at {due:?} was started at {next:?}"));
        }
    }
    for pod in record.counted().filter(|pod| pod.abandoned.is_none()) {
        let Some((ended, _)) = pod.versions.iter().find(|(_, object)| is_terminal(object)) else { continue };
        let latest = *ended + PROMPT;
        if latest < end && !record.is_recorded(pod.slot(), latest) {
            say(format!("Pod {} ended at {ended:?}, and its attempt was not recorded at {latest:?}", pod.name));
        }
    }
}

/// When the attempt that waits in this version is due.
fn due(trace: &Trace, at: Duration, task: &RetryableTask) -> Option<Duration> {
    let status = task.status.as_ref().filter(|status| status.completion_time.is_none())?;
    let current = status.current.as_ref().filter(|current| current.pod_name.is_none() && !task.spec.suspend)?;
    if current.blocked_time.is_some() || task.spec.queue.is_some() {
        return None; // other tasks decide, or its queue
    }
    let due = current
        .due_time
        .as_ref()
        .map_or(Duration::ZERO, |due| Duration::try_from(due.0.duration_since(trace.start)).unwrap_or_default());
    Some(due.max(at))
}

/// The operator writes a task only after a change, and one attempt has few steps.
fn written_with_cause(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    let mut times: Vec<Duration> = vec![];
    let mut slot = Value::Null;
    let mut before: Option<&Change> = None;
    for change in trace.changes.iter().filter(|c| c.object["metadata"]["uid"] == record.uid) {
        let current = &change.object["status"]["current"];
        let now = Value::Array(vec![current["number"].clone(), current["fallback"].clone()]);
        if now != slot || !change.by_operator {
            times.clear();
        }
        if before.is_some_and(|before| change.by_operator && before.by_operator && still_waits(before, change)) {
            let text = format!("{}: written at {:?}, during its wait", record.name, change.at);
            return violations.push(Violation::new("a waiting task is left alone", text));
        }
        before = Some(change);
        slot = now;
        times.push(change.at);
        if let Some(burst) = burst(&times, TOO_MANY) {
            let text = format!("{}: {TOO_MANY} writes of {slot} in {burst:?}, until {:?}", record.name, change.at);
            return violations.push(Violation::new("a task is written when something has happened", text));
        }
    }
}

/// Whether both versions are of the same wait, so that the write changed nothing but its wording. The request of a schedule that the
/// task makes way for another is no part of the status.
fn still_waits(before: &Change, after: &Change) -> bool {
    let (before, after) = (&before.object["status"], &after.object["status"]);
    if before == after {
        return false;
    }
    let waits = |status: &Value| status["state"] == "Waiting";
    waits(before) && waits(after) && before["current"] == after["current"] && before["after"] == after["after"]
}

/// A refused request is not repeated at once.
pub fn check_refusals(trace: &Trace, violations: &mut Vec<Violation>) {
    let mut times: BTreeMap<(&str, &str, &str), Vec<Duration>> = BTreeMap::new();
    for write in trace.writes.iter().filter(|write| write.is_refused()) {
        let times = times.entry((&write.verb, write.kind, &write.object)).or_default();
        times.push(write.called);
        // Every event of a task or its Pods causes a reconcile, which may repeat the request.
        let from = write.called.saturating_sub(WINDOW);
        let events = trace.changes.iter().filter(|c| (from..=write.called).contains(&c.at)).count();
        if let Some(burst) = burst(times, TOO_MANY + events) {
            let text = format!(
                "{} {} {}: refused {} times in {burst:?}, until {:?}",
                write.verb,
                write.kind,
                write.object,
                TOO_MANY + events,
                write.called
            );
            return violations.push(Violation::new("a refused request is not repeated at once", text));
        }
    }
}

/// Within how short a time the last `many` came, if that is within [`WINDOW`].
fn burst(times: &[Duration], many: usize) -> Option<Duration> {
    let (first, last) = (times.len().checked_sub(many)?, times.last()?);
    last.checked_sub(times[first]).filter(|burst| *burst <= WINDOW)
}
