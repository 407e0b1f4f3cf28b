//! One Pod at a time, numbered without gap, none before its status, none released before its outcome, none stopped
//! without intent.

use super::{
    Trace, Violation, Write,
    record::{PodRecord, TaskRecord, has_finalizer, has_run, is_terminal},
};
use retryable_tasks::core::decide::slot_of;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// How long the operator may take to see what its watch brings, where nothing holds it up.
const SEEN: Duration = Duration::from_secs(10);
/// How long a kubelet has at least to end a Pod whose deadline has passed.
const UNANSWERED: Duration = Duration::from_secs(30);

pub fn check(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    one_at_a_time(story, found);
    numbers(story, found);
    status_before_pod(story, found);
    outcome_before_release(trace, story, found);
    intent_before_stop(trace, story, found);
    log_stays(trace, story, found);
    held(story, found);
}

/// A Pod has the finalizer from its first moment, except in the operator's own namespace.
fn held(story: &TaskRecord, found: &mut Vec<Violation>) {
    for pod in story.pods.iter().filter(|pod| has_finalizer(&pod.versions[0].1) != story.held) {
        let text = format!("{}: Pod {} is created with the finalizer: {}", story.name, pod.name, !story.held);
        found.push(Violation::new("a Pod is created with the finalizer where it can be freed", text));
    }
}

/// The operator neither changes nor deletes what it did not create.
pub fn foreign(trace: &Trace, found: &mut Vec<Violation>) {
    let mut ours: BTreeMap<&str, bool> = BTreeMap::new();
    for change in trace.changes.iter().filter(|change| change.object["kind"] == "Pod") {
        let uid = change.object["metadata"]["uid"].as_str().unwrap_or("");
        let is_ours = *ours.entry(uid).or_insert(change.by_operator);
        if change.by_operator && !is_ours {
            let text = format!("{} at {:?}, gone: {}", change.object["metadata"]["name"], change.at, change.gone);
            found.push(Violation::new("Pods of others are left alone", text));
        }
    }
}

fn one_at_a_time(story: &TaskRecord, found: &mut Vec<Violation>) {
    let pods: Vec<&PodRecord> = story.counted().collect();
    for (i, pod) in pods.iter().enumerate() {
        for later in &pods[i + 1..] {
            if pod.over.is_none_or(|over| over > later.created()) {
                let text = format!(
                    "{}: Pod {} was created at {:?} while {} lived (over: {:?})",
                    story.name,
                    later.name,
                    later.created(),
                    pod.name,
                    pod.over
                );
                found.push(Violation::new("at most one live Pod per task", text));
            }
        }
    }
}

fn numbers(story: &TaskRecord, found: &mut Vec<Violation>) {
    let mut say = |text: String| found.push(Violation::new("attempts are numbered 1..N without gap or repeat", text));
    let mut last: BTreeMap<i32, &PodRecord> = BTreeMap::new();
    for pod in story.attempts() {
        let highest = last.last_key_value().map_or(0, |(number, _)| *number);
        if let Some(before) = last.insert(pod.number, pod)
            && !vanished_unseen(story, before)
        {
            say(format!("{}: attempt {} has two Pods, {} and {}", story.name, pod.number, before.uid, pod.uid));
        }
        let gap = (highest + 1..pod.number).any(|number| !story.ended_without_pod(number));
        if gap || pod.number < highest {
            say(format!("{}: Pod {} of attempt {} follows attempt {highest}", story.name, pod.name, pod.number));
        }
    }
}

/// A Pod that no finalizer held, and that was gone before the operator could put its UID on record: nobody can know
/// that it was there.
fn vanished_unseen(story: &TaskRecord, pod: &PodRecord) -> bool {
    let Some(gone) = pod.gone.filter(|_| !story.held) else { return false };
    let recorded = |status: &retryable_tasks::api::RetryableTaskStatus| {
        status.current.as_ref().is_some_and(|current| current.pod_uid.as_ref() == Some(&pod.uid))
    };
    !story.versions.iter().any(|(at, task)| *at <= gone && task.status.as_ref().is_some_and(recorded))
}

fn status_before_pod(story: &TaskRecord, found: &mut Vec<Violation>) {
    for pod in story.counted() {
        let current = story.status_at(pod.called).and_then(|status| status.current.as_ref());
        let named = current.is_some_and(|c| slot_of(c) == pod.slot() && c.pod_name.as_ref() == Some(&pod.name));
        if !named {
            let text = format!(
                "{}: Pod {} was asked for at {:?}, when the status said {current:?}",
                story.name, pod.name, pod.called
            );
            found.push(Violation::new("a Pod is created after the status that names its attempt", text));
        }
    }
}

fn outcome_before_release(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    for pod in &story.pods {
        let freed = pod.versions.windows(2).find(|pair| has_finalizer(&pair[0].1) && !has_finalizer(&pair[1].1));
        // The last finalizer takes the object with it, and its last state still has it.
        let freed = freed.map(|pair| pair[1].0).or(pod.gone.filter(|_| has_finalizer(pod.last())));
        let Some(freed) = freed else { continue };
        let by_operator =
            trace.changes.iter().any(|c| c.at == freed && c.by_operator && c.object["metadata"]["uid"] == pod.uid);
        let on_record = story
            .entries
            .values()
            .any(|(version, entry)| entry.pod_uid.as_ref() == Some(&pod.uid) && story.versions[*version].0 <= freed);
        let on_record = on_record || pod.fallback && story.is_closed(pod.slot(), freed);
        let dropped =
            story.status_at(freed).is_some_and(|s| s.history_dropped > 0 && story.is_closed(pod.slot(), freed));
        let task_gone = story.deleted().is_some_and(|deleted| deleted <= freed);
        let was_closed = pod.stray && story.is_closed(pod.slot(), freed);
        if by_operator && !(on_record || dropped || task_gone || was_closed) {
            let text = format!("{}: Pod {} was freed at {freed:?}", story.name, pod.name);
            found.push(Violation::new("a Pod is released after its outcome is stored", text));
        }
    }
}

fn intent_before_stop(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    let namespace = story.name.split('/').next().unwrap_or("");
    for write in trace.writes.iter().filter(|write| stops(write)) {
        let named = |pod: &&PodRecord| write.object == format!("{namespace}/{}", pod.name);
        let pod = match (&write.body, uid_of(write)) {
            (Some(_), Some(uid)) => story.pods.iter().find(|pod| pod.uid == uid),
            (Some(_), None) => {
                if story.pods.iter().any(|pod| named(&pod)) {
                    let (name, verb, called) = (&write.object, &write.verb, write.called);
                    let text = format!("{}: the {verb} of {name} at {called:?} has no UID", story.name);
                    let is_deletion = verb == "delete";
                    let rule = if is_deletion { "a Pod is deleted by its UID" } else { "a Pod is stopped by its UID" };
                    found.push(Violation::new(rule, text));
                }
                None
            }
            // Whatever UID it had, it was about the Pod that was there.
            (None, _) => story.pods.iter().filter(named).rfind(|pod| pod.is_there(write.called)),
        };
        let Some(pod) = pod else { continue };
        let known = pod.versions.iter().rev().find(|(at, _)| *at <= write.called);
        if known.is_none_or(|(_, pod)| is_terminal(pod))
            || story.deleted().is_some_and(|deleted| deleted <= write.called)
        {
            continue;
        }
        let current = story.status_at(write.called).and_then(|status| status.current.as_ref());
        let meant = current.is_some_and(|c| c.stop_reason.is_some() && c.pod_uid.as_ref() == Some(&pod.uid));
        if !meant && !story.is_closed(pod.slot(), write.called) {
            let text = format!(
                "{}: Pod {} was stopped at {:?}, when the status said {current:?}",
                story.name, pod.name, write.called
            );
            found.push(Violation::new("a Pod is stopped after the intent is stored", text));
        }
    }
}

/// Whether the write ends a Pod that runs: it deletes it, or gives it a deadline.
fn stops(write: &Write) -> bool {
    write.kind == "Pod" && (write.verb == "delete" || sets_deadline(write))
}

/// A patch that was refused before it was read may have been one that frees the Pod.
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

/// What has run is stopped by its kubelet, and stays; it is deleted where that is refused, or no kubelet answers.
fn log_stays(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    for write in trace.writes.iter().filter(|write| trace.prompt && write.verb == "delete" && stops(write)) {
        let Some(pod) = story.pods.iter().find(|pod| Some(&*pod.uid) == uid_of(write)) else { continue };
        let current = story.status_at(write.called).and_then(|status| status.current.as_ref());
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
        let ran = could_be_seen.iter().all(|(_, pod)| has_run(pod) && !is_terminal(pod));
        if is_stop && ran && !was_refused_or_unanswered {
            let text = format!("{}: Pod {} was deleted at {:?} while it ran", story.name, pod.name, write.called);
            found.push(Violation::new("the Pod of a stopped attempt stays", text));
        }
    }
}
