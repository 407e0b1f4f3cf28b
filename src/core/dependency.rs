//! What a task knows of the tasks that it waits for, and of those that they wait for.

use super::condition_list;
use super::decide::is_finished;
use super::message::{MAX_WORD_BYTES, short};
use crate::api::{
    ANNOTATION_RUN_AGAIN, AfterCondition, ConditionReason, ConditionType, RetryableTask, RetryableTaskStatus,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most names that are followed in search of a cycle.
const MAX_NAMES: usize = 64;

/// Tasks by their names, as they were looked up; `None` for one that does not exist.
pub type KnownTasks = BTreeMap<String, Option<TaskFact>>;

/// What is to be known of another task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFact {
    /// Its UID.
    pub uid: String,
    /// The names of the tasks that it still waits for.
    pub waits_for: Vec<String>,
    /// How it ended, if it has.
    pub end: Option<TaskEnd>,
}

/// How a task ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskEnd {
    /// Whether it succeeded, in whole or in part.
    pub succeeded: bool,
    /// The reason of its last condition.
    pub reason: String,
    /// The message of its last condition.
    pub message: String,
    /// Its result.
    pub result: Option<String>,
}

impl TaskFact {
    /// What is to be known of the task.
    pub fn of(task: &RetryableTask) -> Self {
        let status = task.status.clone().unwrap_or_default();
        // One that is to run again has not ended.
        let finished = is_finished(&status.conditions) && !is_to_run_again(task, &status);
        let has_begun = finished || status.start_time.is_some();
        let is_met = |name: &str| status.after.iter().any(|after| after.task == name && after.met);
        let after = task.spec.after.iter().flatten().filter(|_| !has_begun).map(|after| after.task.clone());
        let of_end = [ConditionType::Finished, ConditionType::Complete, ConditionType::Failed];
        let last = of_end.into_iter().find_map(|type_| condition_list::find(&status.conditions, type_));
        let (reason, message) = last.map(|last| (last.reason.clone(), last.message.clone())).unwrap_or_default();
        let succeeded = condition_list::is_true(&status.conditions, ConditionType::Complete);
        Self {
            uid: task.metadata.uid.clone().unwrap_or_default(),
            waits_for: after.filter(|name| !is_met(name)).collect(),
            end: finished.then_some(TaskEnd { succeeded, reason, message, result: status.result }),
        }
    }
}

impl TaskEnd {
    /// Whether the task ended so.
    pub fn holds(&self, condition: AfterCondition) -> bool {
        match condition {
            AfterCondition::Succeeded => self.succeeded,
            AfterCondition::Failed => !self.succeeded,
            AfterCondition::Finished => true,
        }
    }

    /// Whether it ended because of the tasks that it waited for.
    pub fn is_of_dependency(&self) -> bool {
        self.reason == ConditionReason::DependencyFailed.as_str()
    }
}

/// Whether a user has requested another run that has not begun.
fn is_to_run_again(task: &RetryableTask, status: &RetryableTaskStatus) -> bool {
    let requested = task.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_RUN_AGAIN));
    let acknowledged = status.acknowledged.iter().find(|request| request.annotation == ANNOTATION_RUN_AGAIN);
    requested.is_some_and(|value| acknowledged.is_none_or(|request| request.value != short(value, MAX_WORD_BYTES)))
}

/// The names that must be looked up: of `first`, and with `walks` of the tasks that they wait for, and so on.
pub fn unknown(own_name: &str, first: &[String], known: &KnownTasks, walks: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    follow(own_name, first, known, |name, fact| match fact {
        None => {
            unknown.push(name.to_owned());
            Vec::new()
        }
        Some(fact) if walks => waits_for(fact.as_ref()),
        Some(_) => Vec::new(),
    });
    unknown
}

/// The tasks that wait for one another, from this task's own name to its own name, if there are such.
pub fn cycle(own_name: &str, first: &[String], known: &KnownTasks) -> Option<Vec<String>> {
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    follow(own_name, first, known, |name, fact| {
        let next = waits_for(fact.and_then(Option::as_ref));
        if next.iter().any(|next| next == own_name) {
            last.get_or_insert_with(|| name.to_owned());
        }
        for next in &next {
            before.entry(next.clone()).or_insert_with(|| name.to_owned());
        }
        next
    });
    let mut path = vec![own_name.to_owned()];
    let mut name = last?;
    while !path.contains(&name) {
        path.push(name.clone());
        match before.get(&name).filter(|_| !first.contains(&name)) {
            Some(earlier) => name.clone_from(earlier),
            None => break,
        }
    }
    path.push(own_name.to_owned());
    path.reverse();
    Some(path)
}

fn waits_for(fact: Option<&TaskFact>) -> Vec<String> {
    fact.map(|fact| fact.waits_for.clone()).unwrap_or_default()
}

/// Visits each name once, at most [`MAX_NAMES`] of them: `visit` gets what is known of the name and says which follow.
fn follow(
    own_name: &str,
    first: &[String],
    known: &KnownTasks,
    mut visit: impl FnMut(&str, Option<&Option<TaskFact>>) -> Vec<String>,
) {
    let mut queue: VecDeque<String> = first.iter().cloned().collect();
    let mut visited = BTreeSet::new();
    while let Some(name) = queue.pop_front().filter(|_| visited.len() < MAX_NAMES) {
        if name != own_name && visited.insert(name.clone()) {
            queue.extend(visit(&name, known.get(&name)));
        }
    }
}

/// The variable that has the result of the task of that name.
pub fn result_variable(task: &str) -> String {
    let name: String =
        task.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("RETRYABLE_AFTER_{name}_RESULT")
}

#[cfg(test)]
mod tests;
