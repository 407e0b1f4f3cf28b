//! The order of writes: one Pod at a time, status before Pod, outcome before the finalizer's removal, intent before stop.

use super::{
    Trace, Violation, Write,
    record::{PodRecord, TaskRecord, has_finalizer, has_run, is_terminal},
};
use retryable_tasks::core::decide::slot_of;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// How long the operator may take to notice a watch event, if nothing delays it.
const SEEN: Duration = Duration::from_secs(10);
/// How long the operator leaves a kubelet to end a Pod whose deadline has passed.
const UNANSWERED: Duration = Duration::from_secs(30);

pub fn check(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    one_at_a_time(record, violations);
    numbers(record, violations);
    status_before_pod(record, violations);
    outcome_before_finalizer_removal(trace, record, violations);
    intent_before_stop(trace, record, violations);
    log_stays(trace, record, violations);
    finalizer_from_creation(record, violations);
}

/// A Pod has the finalizer from its creation, except in the operator's own namespace.
fn finalizer_from_creation(record: &TaskRecord, violations: &mut Vec<Violation>) {
    for pod in record.pods.iter().filter(|pod| has_finalizer(&pod.versions[0].1) != record.has_finalizers) {
        let with = if record.has_finalizers { "without" } else { "with" };
        let text = format!("{}: Pod {} was created {with} the finalizer", record.name, pod.name);
        violations
            .push(Violation::new("Pods are created with the finalizer, except in the operator's namespace", text));
    }
}

/// The operator neither changes nor deletes what it did not create.
pub fn foreign_pods(trace: &Trace, violations: &mut Vec<Violation>) {
    let mut ours: BTreeMap<&str, bool> = BTreeMap::new();
    for change in trace.changes.iter().filter(|change| change.object["kind"] == "Pod") {
        let uid = change.object["metadata"]["uid"].as_str().unwrap_or("");
        let is_ours = *ours.entry(uid).or_insert(change.by_operator);
        if change.by_operator && !is_ours {
            let text = format!("{} at {:?}, deleted: {}", change.object["metadata"]["name"], change.at, change.deleted);
            violations.push(Violation::new("Pods of others are left alone", text));
        }
    }
}

fn one_at_a_time(record: &TaskRecord, violations: &mut Vec<Violation>) {
    let pods: Vec<&PodRecord> = record.counted().collect();
    for (i, pod) in pods.iter().enumerate() {
        for later in &pods[i + 1..] {
            if pod.over.is_none_or(|over| over > later.created()) {
                let text = format!(
                    "{}: Pod {} was created at {:?} while {} lived (over: {:?})",
                    record.name,
                    later.name,
                    later.created(),
                    pod.name,
                    pod.over
                );
                violations.push(Violation::new("at most one live Pod per task", text));
            }
        }
    }
}

fn numbers(record: &TaskRecord, violations: &mut Vec<Violation>) {
    let mut say =
        |text: String| violations.push(Violation::new("attempts are numbered 1..N without gap or repeat", text));
    let mut last: BTreeMap<i32, &PodRecord> = BTreeMap::new();
    for pod in record.attempts() {
        let highest = last.last_key_value().map_or(0, |(number, _)| *number);
        if let Some(before) = last.insert(pod.number, pod)
            && !vanished_before_recorded(record, before)
        {
            say(format!("{}: attempt {} has two Pods, {} and {}", record.name, pod.number, before.uid, pod.uid));
        }
        let gap = (highest + 1..pod.number).any(|number| !record.ended_without_pod(number));
        if gap || pod.number < highest {
            say(format!("{}: Pod {} of attempt {} follows attempt {highest}", record.name, pod.name, pod.number));
        }
    }
}

/// Whether the Pod had no finalizer, and was deleted before its UID was recorded: then nobody can know of it.
fn vanished_before_recorded(record: &TaskRecord, pod: &PodRecord) -> bool {
    let Some(deleted_at) = pod.deleted_at.filter(|_| !record.has_finalizers) else { return false };
    let recorded = |status: &retryable_tasks::api::RetryableTaskStatus| {
        status.current.as_ref().is_some_and(|current| current.pod_uid.as_ref() == Some(&pod.uid))
    };
    !record.versions.iter().any(|(at, task)| *at <= deleted_at && task.status.as_ref().is_some_and(recorded))
}

fn status_before_pod(record: &TaskRecord, violations: &mut Vec<Violation>) {
    for pod in record.counted() {
        let current = record.status_at(pod.called).and_then(|status| status.current.as_ref());
        let named = current.is_some_and(|c| slot_of(c) == pod.slot() && c.pod_name.as_ref() == Some(&pod.name));
        if !named {
            let text = format!(
                "{}: Pod {} was requested at {:?}, when the status had {current:?}",
                record.name, pod.name, pod.called
            );
            violations.push(Violation::new("a Pod is created after the status that names its attempt", text));
        }
    }
}

fn outcome_before_finalizer_removal(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    for pod in &record.pods {
        let removed = pod.versions.windows(2).find(|pair| has_finalizer(&pair[0].1) && !has_finalizer(&pair[1].1));
        // Removing the last finalizer deletes the object, whose last state still has it.
        let removed = removed.map(|pair| pair[1].0).or(pod.deleted_at.filter(|_| has_finalizer(pod.last())));
        let Some(removed) = removed else { continue };
        let by_operator =
            trace.changes.iter().any(|c| c.at == removed && c.by_operator && c.object["metadata"]["uid"] == pod.uid);
        let on_record = record
            .entries
            .values()
            .any(|(version, entry)| entry.pod_uid.as_ref() == Some(&pod.uid) && record.versions[*version].0 <= removed);
        let on_record = on_record || pod.fallback && record.is_recorded(pod.slot(), removed);
        let dropped =
            record.status_at(removed).is_some_and(|s| s.history_dropped > 0 && record.is_recorded(pod.slot(), removed));
        let task_is_deleted = record.deletion_requested().is_some_and(|deleted| deleted <= removed);
        let was_closed = pod.landed_late && record.is_recorded(pod.slot(), removed);
        if by_operator && !(on_record || dropped || task_is_deleted || was_closed) {
            let text = format!("{}: Pod {} lost the finalizer at {removed:?}", record.name, pod.name);
            violations.push(Violation::new("the finalizer is removed after the outcome is stored", text));
        }
    }
}

fn intent_before_stop(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    let namespace = record.name.split('/').next().unwrap_or("");
    for write in trace.writes.iter().filter(|write| stops(write)) {
        let named = |pod: &&PodRecord| write.object == format!("{namespace}/{}", pod.name);
        let pod = match (&write.body, uid_of(write)) {
            (Some(_), Some(uid)) => record.pods.iter().find(|pod| pod.uid == uid),
            (Some(_), None) => {
                if record.pods.iter().any(|pod| named(&pod)) {
                    let (name, verb, called) = (&write.object, &write.verb, write.called);
                    let text = format!("{}: the {verb} of {name} at {called:?} has no UID", record.name);
                    let is_deletion = verb == "delete";
                    let rule = if is_deletion { "a Pod is deleted by its UID" } else { "a Pod is stopped by its UID" };
                    violations.push(Violation::new(rule, text));
                }
                None
            }
            // Without a known body: the Pod that existed then.
            (None, _) => record.pods.iter().filter(named).rfind(|pod| pod.is_there(write.called)),
        };
        let Some(pod) = pod else { continue };
        let known = pod.versions.iter().rev().find(|(at, _)| *at <= write.called);
        if known.is_none_or(|(_, pod)| is_terminal(pod))
            || record.deletion_requested().is_some_and(|deleted| deleted <= write.called)
        {
            continue;
        }
        let current = record.status_at(write.called).and_then(|status| status.current.as_ref());
        let meant = current.is_some_and(|c| c.stop_reason.is_some() && c.pod_uid.as_ref() == Some(&pod.uid));
        if !meant && !record.is_recorded(pod.slot(), write.called) {
            let text = format!(
                "{}: Pod {} was stopped at {:?}, when the status had {current:?}",
                record.name, pod.name, write.called
            );
            violations.push(Violation::new("a Pod is stopped after the intent is stored", text));
        }
    }
}

/// Whether the write ends a Pod that runs: it deletes it, or gives it a deadline.
fn stops(write: &Write) -> bool {
    write.kind == "Pod" && (write.verb == "delete" || sets_deadline(write))
}

/// A patch with an unknown body is not counted: it may be one that removes the finalizer.
fn sets_deadline(write: &Write) -> bool {
    let is_deadline = |body: &Value| body["spec"]["activeDeadlineSeconds"].is_i64();
    write.kind == "Pod" && write.verb == "patch" && write.body.as_ref().is_some_and(is_deadline)
}

/// The UID that the write has as a precondition.
fn uid_of(write: &Write) -> Option<&str> {
    let body = write.body.as_ref()?;
    let uid = if write.verb == "delete" { &body["preconditions"]["uid"] } else { &body["metadata"]["uid"] };
    uid.as_str()
}

/// A Pod that has run is stopped by its kubelet and stays. It is deleted only if the patch is refused, or no kubelet acts.
fn log_stays(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    for write in trace.writes.iter().filter(|write| trace.prompt && write.verb == "delete" && stops(write)) {
        let Some(pod) = record.pods.iter().find(|pod| Some(&*pod.uid) == uid_of(write)) else { continue };
        let current = record.status_at(write.called).and_then(|status| status.current.as_ref());
        let is_stop =
            current.is_some_and(|c| c.stop_reason.is_some_and(|reason| !reason.replaces()) && slot_of(c) == pod.slot());
        let upto = pod.versions.partition_point(|(at, _)| *at <= write.called);
        let known = pod.versions[..upto].iter().rposition(|(at, _)| *at + SEEN <= write.called).unwrap_or(0);
        let could_be_seen = &pod.versions[known..upto];
        let mut earlier = trace.writes.iter().filter(|other| other.called < write.called && sets_deadline(other));
        let has_deadline = |other: &Write| uid_of(other) == Some(&pod.uid);
        let was_refused_or_unanswered = earlier.any(|other| {
            let unanswered = other.done.is_some_and(|done| done + UNANSWERED <= write.called);
            has_deadline(other) && (unanswered || other.code >= 400)
        });
        // It was to be deleted before it had run, and that was refused: no log is lost that was there when the stop was decided.
        let of_pod =
            |other: &&Write| other.verb == "delete" && other.called < write.called && uid_of(other) == Some(&pod.uid);
        let is_repeated = trace.writes.iter().filter(of_pod).any(|other| {
            let before = pod.versions.iter().rev().find(|(at, _)| *at <= other.called);
            other.code >= 400 && before.is_some_and(|(_, pod)| !has_run(pod))
        });
        let ran = could_be_seen.iter().all(|(_, pod)| has_run(pod) && !is_terminal(pod));
        if is_stop && ran && !was_refused_or_unanswered && !is_repeated {
            let text = format!("{}: Pod {} was deleted at {:?} while it ran", record.name, pod.name, write.called);
            violations.push(Violation::new("the Pod of a stopped attempt stays", text));
        }
    }
}
