//! At the end nothing is left behind, and nothing is written any more.

use super::{
    Trace, Violation,
    queue_checker::is_queued,
    record::{TaskRecord, is_deleting},
};
use retryable_tasks::api::State;
use std::time::Duration;

/// The maximum size of a task.
const MOST_BYTES: usize = 100 * 1024;
/// How long after the last change of any object the operator may still send writes.
const SETTLED: Duration = Duration::from_secs(600);

pub fn check(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    let status = record.last_status();
    let ended = status.completion_time.is_some();
    let is_blocked = status.state == Some(State::Blocked);
    let is_suspended = record.last().spec.suspend && status.state == Some(State::Suspended);
    let is_idle = is_blocked || is_suspended || is_queued(trace, record);
    if record.deleted_at.is_none() && !ended && !is_idle {
        let text = format!("{}: it stays in {:?} with {:?}", record.name, status.state, status.current);
        violations.push(Violation::new("a task goes on until it ends", text));
    }
    for pod in &record.pods {
        if pod.keeps_finalizer() && trace.converged {
            let text = format!(
                "{}: Pod {} (deleting: {}) still has the finalizer",
                record.name,
                pod.name,
                is_deleting(pod.last())
            );
            violations.push(Violation::new("no Pod keeps the finalizer", text));
        }
        if record.deleted_at.is_none() && ended && pod.deleted_at.is_none() && pod.over.is_none() {
            let text = format!("{}: Pod {} runs on after its task has ended", record.name, pod.name);
            violations.push(Violation::new("no Pod outlives its task's end", text));
        }
    }
    let kept = |phase: &str| {
        record
            .pods
            .iter()
            .filter(|pod| !pod.fallback && pod.deleted_at.is_none() && pod.last()["status"]["phase"] == phase)
            .count()
    };
    let retention = &record.last().spec.pod_retention;
    let most = |n: i32| usize::try_from(n).unwrap_or(0);
    if record.deleted_at.is_none()
        && ended
        && kept("Failed") + kept("Succeeded") > most(retention.failed) + most(retention.succeeded)
    {
        let text =
            format!("{}: {} failed and {} succeeded Pods are kept", record.name, kept("Failed"), kept("Succeeded"));
        violations.push(Violation::new("no more Pods are kept than asked for", text));
    }
    let largest = record.versions.iter().map(|(_, task)| serde_json::to_vec(task).map_or(0, |bytes| bytes.len())).max();
    if largest.is_some_and(|bytes| bytes > MOST_BYTES) {
        violations.push(Violation::new("a task stays small", format!("{}: {largest:?} bytes", record.name)));
    }
    if record.deleted_at.is_none() && status.observed_generation != record.last().metadata.generation {
        let text =
            format!("{}: {:?} of {:?}", record.name, status.observed_generation, record.last().metadata.generation);
        violations.push(Violation::new("observedGeneration follows the spec", text));
    }
}

/// The rules about the run as a whole.
pub fn check_all(trace: &Trace, violations: &mut Vec<Violation>) {
    if !trace.converged {
        violations.push(Violation::new("a run converges", "the operator does not stop writing"));
    }
    let last = trace.changes.iter().map(|change| change.at).max().unwrap_or_default();
    let late: Vec<_> = trace.writes.iter().filter(|write| write.called > last + SETTLED).collect();
    if let Some(first) = late.first() {
        let text = format!(
            "{} writes, the first at {:?}: {} {} {}",
            late.len(),
            first.called,
            first.verb,
            first.kind,
            first.object
        );
        violations.push(Violation::new("silence when done", text));
    }
    for write in &trace.writes {
        let idle = matches!(write.kind, "RetryableTask" | "TaskQueue" | "TaskSchedule")
            && (200..300).contains(&write.code)
            && !write.changed;
        if trace.faultless && idle {
            let text = format!("{} {} at {:?} changes nothing", write.verb, write.object, write.called);
            violations.push(Violation::new("no write that changes nothing", text));
        }
        if write.is_refused() && !write.faulty && !is_wrong_uid(trace, write) {
            let text = format!("{} {} {} at {:?}: {}", write.verb, write.kind, write.object, write.called, write.code);
            violations.push(Violation::new("no write that the API server refuses", text));
        }
    }
}

/// Whether the write is a patch by UID, and the Pod of that name has another UID.
fn is_wrong_uid(trace: &Trace, write: &super::Write) -> bool {
    let Some(uid) = write.body.as_ref().map(|body| &body["metadata"]["uid"]) else { return false };
    let same = |change: &super::Change| change.object["metadata"]["uid"] == *uid;
    let newest = trace.changes.iter().rev().find(|change| {
        let metadata = &change.object["metadata"];
        let name =
            format!("{}/{}", metadata["namespace"].as_str().unwrap_or(""), metadata["name"].as_str().unwrap_or(""));
        change.object["kind"] == write.kind && name == write.object && Some(change.at) <= write.done
    });
    write.verb == "patch" && uid.is_string() && newest.is_some_and(|change| !same(change))
}
