//! What is kept of each object. A task is read whole when it changes, and a few hundred bytes of it stay: what the lists
//! show. Its own page reads it anew.

use super::interner::Interner;
use crate::api::{
    ConditionType, LABEL_ATTEMPT, LABEL_SCHEDULE_NAME, LABEL_TASK_NAME, RetryableTask, State, TaskQueue, TaskSchedule,
};
use crate::core::condition_list;
use crate::core::fingerprint::{Failure, Fingerprint, failures};
use crate::core::message::short;
use crate::core::queue::place::InLine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::sync::Arc;

/// Most bytes of a message in a list.
const MAX_MESSAGE_BYTES: usize = 240;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// What is kept once, however many tasks have it.
#[derive(Debug, Default)]
pub struct Shared {
    /// Namespaces, reasons, nodes, and names of queues and schedules.
    pub texts: Interner<str>,
    /// Causes of failures.
    pub causes: Interner<Cause>,
}

/// What failures of one cause have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// Its short name, the same in every process.
    pub id: String,
    /// The reason, exit code, error type, and the message without what differs.
    pub fingerprint: Fingerprint,
}

/// What the lists show of a task.
#[derive(Clone, Debug)]
pub struct TaskRecord {
    /// Its state. [`State::Unknown`] if the task cannot be read.
    pub state: State,
    /// Why it failed, the reason of the condition `Failed`.
    pub failed_for: Option<Arc<str>>,
    /// Why it has not started, or why the last attempt failed.
    pub reason: Option<Arc<str>>,
    /// The exit code of the last failure, if that is the reason.
    pub exit_code: Option<i32>,
    /// What it waits for or failed of, in one line.
    pub message: Option<Box<str>>,
    /// How many attempts have been started.
    pub attempts: i32,
    /// How many retries are charged.
    pub retries: i32,
    /// `spec.maxRetries`.
    pub max_retries: i32,
    /// Name of its TaskQueue.
    pub queue: Option<Arc<str>>,
    /// Name of its schedule.
    pub schedule: Option<Arc<str>>,
    /// When it was created.
    pub created: Timestamp,
    /// Since when its current attempt has run or waited, as far as that is known.
    pub since: Option<Timestamp>,
    /// When the next attempt is due.
    pub next: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its failures, oldest first.
    pub failures: Box<[FailureRecord]>,
    /// What the line of its queue has to know of it, as long as that is anything.
    pub in_line: Option<Box<InLine>>,
}

/// A failure of a task.
#[derive(Clone, Debug)]
pub struct FailureRecord {
    /// Its cause.
    pub cause: Arc<Cause>,
    /// When it happened.
    pub time: Option<Timestamp>,
    /// The node that the attempt ran on.
    pub node: Option<Arc<str>>,
    /// Its message, where that differs from the pattern of its cause.
    pub message: Option<Box<str>>,
}

impl FailureRecord {
    /// Its message. Empty if there is none.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.cause.fingerprint.pattern)
    }
}

impl TaskRecord {
    /// What is kept of the task.
    pub fn of(task: &RetryableTask, shared: &mut Shared) -> Self {
        let status = task.status.clone().unwrap_or_default();
        let current = status.current.as_ref();
        let state = status.state.unwrap_or(State::Pending);
        let says = condition_that_says(state, &status.conditions);
        let failed = condition_list::find(&status.conditions, ConditionType::Failed)
            .filter(|failed| failed.status == "True")
            .map(|failed| shared.texts.get(failed.reason.as_str()));
        let reason = says.map(|says| says.reason.clone()).or(status.reason.clone());
        let message = says.map(|says| says.message.clone()).or(status.message.clone());
        let last = status.last_failure.as_ref().filter(|last| reason.as_ref() == Some(&last.reason));
        let labels = task.metadata.labels.as_ref();
        let schedule = labels.and_then(|labels| labels.get(LABEL_SCHEDULE_NAME));
        let since = match state {
            State::Queued => current.and_then(|current| current.queued_time.as_ref().or(current.due_time.as_ref())),
            State::Blocked => current.and_then(|current| current.blocked_time.as_ref()),
            State::Suspended => status.suspended_time.as_ref(),
            _ => current.and_then(|current| current.create_time.as_ref()),
        };
        Self {
            state,
            failed_for: failed,
            reason: reason.as_deref().map(|reason| shared.texts.get(reason)),
            exit_code: last.and_then(|last| last.exit_code),
            message: message.map(|message| one_line(&message).into()),
            attempts: status.attempts,
            retries: status.retries,
            max_retries: task.spec.max_retries,
            queue: task.spec.queue.as_ref().map(|queue| shared.texts.get(queue.name.as_str())),
            schedule: schedule.map(|name| shared.texts.get(name.as_str())),
            created: task.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            since: since.map(|at| at.0),
            next: status.next_retry_time.as_ref().map(|at| at.0),
            ended: status.completion_time.as_ref().map(|at| at.0),
            failures: failures(task).into_iter().map(|failure| failure_record(failure, task, shared)).collect(),
            in_line: InLine::of(task).map(|in_line| Box::new(share(in_line, shared))),
        }
    }

    /// A task that this version cannot read: it hides no others.
    pub fn unreadable(error: &str) -> Self {
        Self {
            state: State::Unknown,
            failed_for: None,
            reason: None,
            exit_code: None,
            message: Some(one_line(&format!("This version cannot read it: {error}")).into()),
            attempts: 0,
            retries: 0,
            max_retries: 0,
            queue: None,
            schedule: None,
            created: Timestamp::UNIX_EPOCH,
            since: None,
            next: None,
            ended: None,
            failures: Box::default(),
            in_line: None,
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        is_end(self.state)
    }
}

/// Whether a task in that state has ended.
pub const fn is_end(state: State) -> bool {
    match state {
        State::Succeeded | State::Failed | State::Cancelled => true,
        State::Pending
        | State::Blocked
        | State::Running
        | State::Waiting
        | State::Queued
        | State::Suspended
        | State::Unknown => false,
    }
}

/// The condition that says more of where the task is than its last failure.
fn condition_that_says(state: State, conditions: &[Condition]) -> Option<&Condition> {
    let types: &[ConditionType] = match state {
        State::Blocked => &[ConditionType::Blocked],
        State::Queued => &[ConditionType::Queued],
        State::Pending | State::Running => &[ConditionType::Stalled, ConditionType::AttemptStarted],
        State::Waiting | State::Suspended | State::Unknown => &[ConditionType::Stalled],
        State::Succeeded | State::Failed | State::Cancelled => &[],
    };
    types.iter().find_map(|type_| condition_list::find(conditions, *type_).filter(|found| says_so(*type_, found)))
}

fn says_so(type_: ConditionType, condition: &Condition) -> bool {
    let is = if matches!(type_, ConditionType::AttemptStarted) { "False" } else { "True" };
    condition.status == is
}

/// The same, with names that are kept once.
fn share(in_line: InLine, shared: &mut Shared) -> InLine {
    let InLine { uid, fairness_key, held, waits, due, since, priority } = in_line;
    let mut once = |name: Arc<str>| shared.texts.share(name);
    let fairness_key = once(fairness_key);
    let (held, waits) = (held.map(&mut once), waits.map(&mut once));
    InLine { uid, fairness_key, held, waits, due, since, priority }
}

fn failure_record(failure: Failure, task: &RetryableTask, shared: &mut Shared) -> FailureRecord {
    let fingerprint = failure.fingerprint();
    let Failure { task: _, attempt, reason: _, exit_code: _, error_type: _, message, time } = failure;
    let history = || task.status.iter().flat_map(|status| &status.history);
    let node = attempt.and_then(|attempt| history().find(|entry| entry.attempt == attempt)?.node_name.as_deref());
    let message = Some(message).filter(|message| *message != fingerprint.pattern);
    let cause = Arc::new(Cause { id: fingerprint.name(), fingerprint });
    FailureRecord {
        cause: shared.causes.share(cause),
        time,
        node: node.map(|node| shared.texts.get(node)),
        message: message.map(|message| one_line(&message).into()),
    }
}

fn one_line(text: &str) -> String {
    short(&text.split_whitespace().collect::<Vec<_>>().join(" "), MAX_MESSAGE_BYTES)
}

/// What the lists show of an attempt's Pod.
#[derive(Clone, Debug)]
pub struct PodRecord {
    /// The name of its task.
    pub task: Arc<str>,
    /// The number of its attempt, as its label says.
    pub attempt: Box<str>,
    /// The node that it is bound to.
    pub node: Option<Arc<str>>,
    /// Whether its containers run; else it is about to start.
    pub is_running: bool,
    /// Whether it has ended.
    pub has_ended: bool,
}

impl PodRecord {
    /// What is kept of the Pod.
    pub fn of(pod: &Pod, shared: &mut Shared) -> Self {
        let label = |name| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map_or("", String::as_str);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        Self {
            task: label(LABEL_TASK_NAME).into(),
            attempt: label(LABEL_ATTEMPT).into(),
            node: node.map(|node| shared.texts.get(node)),
            is_running: phase == "Running",
            has_ended: matches!(phase, "Succeeded" | "Failed"),
        }
    }
}

/// A queue, or why it cannot be read.
pub type QueueRecord = Result<Box<TaskQueue>, String>;

/// A schedule, or why it cannot be read.
pub type ScheduleRecord = Result<Box<TaskSchedule>, String>;

#[cfg(test)]
mod tests;
