//! A checkpoint goes from attempt to attempt, whatever ends them, until one succeeds.

use super::{
    Violation,
    record::{PodRecord, TaskRecord, main_end},
};
use retryable_tasks::{
    api::{MAIN_CONTAINER, RetryableTask, RetryableTaskStatus},
    core::{decide::slot_of, slot::Slot},
};
use serde_json::Value;

pub fn check(record: &TaskRecord, violations: &mut Vec<Violation>) {
    for pod in record.counted() {
        is_given(record, pod, violations);
    }
    for pair in record.versions.windows(2) {
        stays(record, (&pair[0].1, &pair[1].1), violations);
    }
}

/// The Pod of an attempt, or of the fallback, has the checkpoint that the status had when it named the Pod.
fn is_given(record: &TaskRecord, pod: &PodRecord, violations: &mut Vec<Violation>) {
    let names = |status: &&RetryableTaskStatus| {
        status.current.as_ref().is_some_and(|current| current.pod_name.is_some() && slot_of(current) == pod.slot())
    };
    let before = record.versions.iter().filter(|(at, _)| *at <= pod.called);
    let Some(status) = before.filter_map(|(_, task)| task.status.as_ref()).rfind(names) else { return };
    let stored = status.checkpoint.as_ref().map(|checkpoint| checkpoint.replace('$', "$$"));
    let (_, first) = pod.versions.first().expect("a Pod has a version");
    let containers = first["spec"]["containers"].as_array().into_iter().flatten();
    let main = containers.into_iter().find(|container| container["name"] == MAIN_CONTAINER);
    let env = main.map(|main| main["env"].as_array().into_iter().flatten());
    let given = env.into_iter().flatten().find(|variable| variable["name"] == "RETRYABLE_CHECKPOINT");
    let given = given.and_then(|variable| variable["value"].as_str());
    if given != stored.as_deref() {
        let text = format!("{}: Pod {} is given {given:?}, and {stored:?} is stored", record.name, pod.name);
        violations.push(Violation::new("an attempt gets the checkpoint", text));
    }
}

/// The stored checkpoint is that of the last attempt that reported one. Success in whole clears it.
fn stays(record: &TaskRecord, (before, after): (&RetryableTask, &RetryableTask), violations: &mut Vec<Violation>) {
    let status = |task: &RetryableTask| task.status.clone().unwrap_or_default();
    let (before, after) = (status(before), status(after));
    let ended = recorded(&before, &after).filter(|slot| !slot.fallback);
    let pod = ended.and_then(|slot| record.attempts().find(|pod| pod.slot() == slot));
    let said = pod.and_then(reported).unwrap_or_default();
    let succeeded = !has_succeeded(&before) && has_succeeded(&after);
    let expected = match (succeeded, &said) {
        (true, _) => None,
        (false, Said::Nothing) => before.checkpoint.clone(),
        (false, Said::Checkpoint(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        (false, Said::Unclear) => return,
    };
    // Of a Pod that nobody reports any more, or that can vanish unseen, the operator may not have read the last words.
    let may_be_unread = pod.is_some_and(|pod| pod.abandoned.is_some()) || !record.has_finalizers;
    let is_unread = may_be_unread && after.checkpoint == before.checkpoint;
    if after.checkpoint != expected && !is_unread {
        let text = format!(
            "{}: {:?} follows {:?}, where {ended:?} reported {said:?}",
            record.name, after.checkpoint, before.checkpoint
        );
        violations.push(Violation::new("a checkpoint stays until an attempt reports another", text));
    }
}

/// The slot whose end the second status records.
fn recorded(before: &RetryableTaskStatus, after: &RetryableTaskStatus) -> Option<Slot> {
    let current = before.current.as_ref().filter(|current| current.pod_name.is_some())?;
    let slot = slot_of(current);
    let is_over = after.current.as_ref().map_or(after.completion_time.is_some(), |next| slot_of(next) > slot);
    is_over.then_some(slot)
}

/// What the termination message of an attempt says of a checkpoint.
#[derive(Clone, Debug, Default)]
enum Said {
    /// Nothing that counts.
    #[default]
    Nothing,
    /// This one; an empty one clears it.
    Checkpoint(String),
    /// It has the word, and is not an object by itself: perhaps a log with a report in it.
    Unclear,
}

/// What the termination message of the main container says.
fn reported(pod: &PodRecord) -> Option<Said> {
    let message = pod.ends().find_map(main_end)?["message"].as_str()?;
    let Ok(report) = serde_json::from_str::<Value>(message) else {
        return message.contains("checkpoint").then_some(Said::Unclear);
    };
    let text = match report.get("checkpoint")? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (text.len() <= 1024 && !text.contains('\0')).then_some(Said::Checkpoint(text))
}

fn has_succeeded(status: &RetryableTaskStatus) -> bool {
    let is_whole = |known: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        known.type_ == "Complete" && known.status == "True" && known.reason == "Succeeded"
    };
    status.conditions.iter().any(is_whole)
}
