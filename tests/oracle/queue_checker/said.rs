//! What a task says of its wait for a queue.

use super::super::{Violation, record::TaskRecord};
use super::progress::lasts;
use super::record::{Queues, task_at, waiting};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use retryable_tasks::api::{RetryableTask, State};
use std::{collections::BTreeSet, time::Duration};

/// How long what a task says of its wait stays.
const SAID: Duration = Duration::from_secs(600);

pub fn check(queues: &Queues, violations: &mut Vec<Violation>) {
    for task in queues.tasks {
        waits_quietly(queues, task, violations);
        while_it_waits(task, violations);
        let times = times(queues, task);
        let rule = ("a task says that it waits for its queue", task.name.as_str());
        lasts(queues, rule, &times, Duration::ZERO, |at| unsaid(queues, task, at), violations);
    }
}

/// The condition that says that the task waits for its queue.
fn queued(object: &RetryableTask) -> Option<&Condition> {
    let mut conditions = object.status.as_ref()?.conditions.iter();
    conditions.find(|condition| condition.type_ == "Queued" && condition.status == "True")
}

/// The condition that says that there is no such queue.
fn missing(object: &RetryableTask) -> Option<&Condition> {
    let mut conditions = object.status.as_ref()?.conditions.iter();
    conditions.find(|condition| condition.type_ == "Stalled" && condition.reason == "QueueMissing")
}

/// What is said of the wait is no longer said when the task waits for something else, or runs.
fn while_it_waits(task: &TaskRecord, violations: &mut Vec<Violation>) {
    for (at, object) in &task.versions {
        let state = object.status.as_ref().and_then(|status| status.state);
        let is_old = |said: Option<&Condition>, goes_with: State| said.is_some() && state != Some(goes_with);
        if is_old(queued(object), State::Queued) || is_old(missing(object), State::Pending) {
            let text = format!("{}: at {at:?} it is {state:?}, and says that it waits for its queue", task.name);
            return violations.push(Violation::new("a task says that it waits for its queue", text));
        }
    }
}

/// When something of the task changes, or its time comes.
fn times(queues: &Queues, task: &TaskRecord) -> BTreeSet<Duration> {
    let mut times: BTreeSet<Duration> = task.deleted_at.into_iter().collect();
    for (at, object) in &task.versions {
        times.insert(*at);
        times.extend(queues.due(object));
    }
    times.retain(|at| *at <= queues.trace.end);
    times
}

/// The task waits for its queue, and does not say so. Judged where the operator's clock agrees with the cluster's, since it says so after
/// some seconds.
fn unsaid(queues: &Queues, task: &TaskRecord, at: Duration) -> Option<String> {
    let object = task_at(task, at).filter(|_| queues.has_true_clock())?;
    let waiting = waiting(object, queues.date(at))?;
    let is_said = queued(object).or(missing(object)).is_some();
    (!is_said).then(|| format!("attempt {} waits since {}", waiting.attempt, waiting.since))
}

/// Q8: a transition of a queue writes to no task. What a task that waits says of its queue, once it has said something, stays for ten minutes
/// whatever becomes of the queue.
///
/// Judged between two versions of one wait that both say so. A queue that is missing is said at once.
fn waits_quietly(queues: &Queues, task: &TaskRecord, violations: &mut Vec<Violation>) {
    let said = |object: &RetryableTask| queued(object).map(|said| (said.reason.clone(), said.message.clone()));
    let current = |object: &RetryableTask| object.status.as_ref().and_then(|status| status.current.clone());
    let mut since: Option<Duration> = None;
    for (index, (at, object)) in task.versions.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &task.versions[before].1);
        let is_same = before.is_some_and(|before| current(before) == current(object) && said(before).is_some());
        if said(object).is_none() || !is_same {
            since = said(object).map(|_| *at);
            continue;
        }
        if before.and_then(said) == said(object) {
            continue;
        }
        if since.is_some_and(|since| since + SAID > *at) && queues.has_true_clock() {
            let text =
                format!("{}: at {at:?} it says {:?}, and something else since {since:?}", task.name, said(object));
            return violations.push(Violation::new("a task is not written for its queue", text));
        }
        since = Some(*at);
    }
}
