//! What is due is done soon, and nothing is done again and again.

use super::{
    Change, Trace, Violation,
    record::{PodRecord, TaskRecord, is_terminal},
};
use retryable_tasks::{api::RetryableTask, core::decide::slot_of};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// How long the operator takes at most for what is due, where nothing holds it up.
const PROMPT: Duration = Duration::from_secs(20);
/// In how long a time how many writes, or refusals, are too many.
const WINDOW: Duration = Duration::from_secs(60);
const TOO_MANY: usize = 20;

pub fn check(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    if trace.prompt {
        prompt(trace, story, found);
    }
    restless(trace, story, found);
}

/// Where nothing holds the operator up, the next step follows within a short time.
fn prompt(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    let end = story.deleted().unwrap_or(Duration::MAX);
    let mut say = |text: String| {
        found.push(Violation::new("what is due is done soon", format!("{}: {text}", story.name)));
    };
    for (at, task) in &story.versions {
        let current = task.status.as_ref().and_then(|status| status.current.as_ref());
        let Some(named) = current.filter(|current| current.pod_name.is_some()) else { continue };
        let created = |pod: &PodRecord| pod.slot() == slot_of(named) && pod.created() <= *at + PROMPT;
        if *at + PROMPT < end && !story.pods.iter().any(created) {
            say(format!("there is no Pod long after {at:?}, when {named:?} was stored"));
        }
    }
    for (index, (at, task)) in story.versions.iter().enumerate() {
        let Some(due) = due(trace, *at, task) else { continue };
        let next = story.versions.get(index + 1).map_or(Duration::MAX, |(at, _)| *at);
        if due + PROMPT < end && next > due + PROMPT {
            say(format!("the attempt that was due at {due:?} was started at {next:?}"));
        }
    }
    for pod in story.counted().filter(|pod| pod.given_up.is_none()) {
        let Some((ended, _)) = pod.versions.iter().find(|(_, object)| is_terminal(object)) else { continue };
        let latest = *ended + PROMPT;
        if latest < end && !story.is_closed(pod.slot(), latest) {
            say(format!("Pod {} ended at {ended:?}, and its attempt was open at {latest:?}", pod.name));
        }
    }
}

/// When the attempt that waits in this version is due.
fn due(trace: &Trace, at: Duration, task: &RetryableTask) -> Option<Duration> {
    let status = task.status.as_ref().filter(|status| status.completion_time.is_none())?;
    let current = status.current.as_ref().filter(|current| current.pod_name.is_none() && !task.spec.suspend)?;
    let due = current
        .due_time
        .as_ref()
        .map_or(Duration::ZERO, |due| Duration::try_from(due.0.duration_since(trace.start)).unwrap_or_default());
    Some(due.max(at))
}

/// The operator writes a task when something has happened. The same attempt has few steps.
fn restless(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    let mut times: Vec<Duration> = vec![];
    let mut slot = Value::Null;
    let mut before: Option<&Change> = None;
    for change in trace.changes.iter().filter(|c| c.object["metadata"]["uid"] == story.uid) {
        let current = &change.object["status"]["current"];
        let now = Value::Array(vec![current["number"].clone(), current["fallback"].clone()]);
        if now != slot || !change.by_operator {
            times.clear();
        }
        if before.is_some_and(|before| change.by_operator && before.by_operator && still_waits(before, change)) {
            let text = format!("{}: written at {:?}, in the midst of its wait", story.name, change.at);
            return found.push(Violation::new("a waiting task is left alone", text));
        }
        before = Some(change);
        slot = now;
        times.push(change.at);
        if let Some(burst) = burst(&times, TOO_MANY) {
            let text = format!("{}: {TOO_MANY} writes of {slot} in {burst:?}, until {:?}", story.name, change.at);
            return found.push(Violation::new("a task is written when something has happened", text));
        }
    }
}

/// Whether nothing has come of the change but another word for the same wait.
fn still_waits(before: &Change, after: &Change) -> bool {
    let (before, after) = (&before.object["status"], &after.object["status"]);
    let waits = |status: &Value| status["state"] == "Waiting";
    waits(before) && waits(after) && before["current"] == after["current"]
}

/// What is refused is not asked for again at once.
pub fn check_refusals(trace: &Trace, found: &mut Vec<Violation>) {
    let mut times: BTreeMap<(&str, &str, &str), Vec<Duration>> = BTreeMap::new();
    for write in trace.writes.iter().filter(|write| write.is_refused()) {
        let times = times.entry((&write.verb, write.kind, &write.object)).or_default();
        times.push(write.called);
        // Whatever happens to a task or its Pods is a reason to look again.
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
            return found.push(Violation::new("what is refused is not asked for again at once", text));
        }
    }
}

/// In how short a time the last so many came, if that is too short.
fn burst(times: &[Duration], many: usize) -> Option<Duration> {
    let (first, last) = (times.len().checked_sub(many)?, times.last()?);
    last.checked_sub(times[first]).filter(|burst| *burst <= WINDOW)
}
