//! In the end nothing is left behind, and nothing is written.

use super::{
    Trace, Violation,
    record::{TaskRecord, is_deleting},
};
use retryable_tasks::api::State;
use std::time::Duration;

/// Most bytes of a task.
const MOST_BYTES: usize = 100 * 1024;
/// How long after the last change of anything the operator may still ask for writes.
const SETTLED: Duration = Duration::from_secs(600);

pub fn check(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    let status = story.last_status();
    let ended = status.completion_time.is_some();
    if story.gone.is_none() && !ended && !(story.last().spec.suspend && status.state == Some(State::Suspended)) {
        let text = format!("{}: it stays in {:?} with {:?}", story.name, status.state, status.current);
        found.push(Violation::new("a task goes on until it ends", text));
    }
    for pod in &story.pods {
        if pod.is_held() && trace.rested {
            let text = format!(
                "{}: Pod {} (deleting: {}) still has the finalizer",
                story.name,
                pod.name,
                is_deleting(pod.last())
            );
            found.push(Violation::new("no Pod keeps the finalizer", text));
        }
        if story.gone.is_none() && ended && pod.gone.is_none() && pod.over.is_none() {
            let text = format!("{}: Pod {} lives on after its task's end", story.name, pod.name);
            found.push(Violation::new("no Pod outlives its task's end", text));
        }
    }
    let kept = |phase: &str| {
        story
            .pods
            .iter()
            .filter(|pod| !pod.fallback && pod.gone.is_none() && pod.last()["status"]["phase"] == phase)
            .count()
    };
    let retention = &story.last().spec.pod_retention;
    let most = |n: i32| usize::try_from(n).unwrap_or(0);
    if story.gone.is_none()
        && ended
        && kept("Failed") + kept("Succeeded") > most(retention.failed) + most(retention.succeeded)
    {
        let text =
            format!("{}: {} failed and {} succeeded Pods are kept", story.name, kept("Failed"), kept("Succeeded"));
        found.push(Violation::new("no more Pods are kept than asked for", text));
    }
    let largest = story.versions.iter().map(|(_, task)| serde_json::to_vec(task).map_or(0, |bytes| bytes.len())).max();
    if largest.is_some_and(|bytes| bytes > MOST_BYTES) {
        found.push(Violation::new("a task stays small", format!("{}: {largest:?} bytes", story.name)));
    }
    if story.gone.is_none() && status.observed_generation != story.last().metadata.generation {
        let text =
            format!("{}: {:?} of {:?}", story.name, status.observed_generation, story.last().metadata.generation);
        found.push(Violation::new("observedGeneration follows the spec", text));
    }
}

/// What holds of the run as a whole.
pub fn check_all(trace: &Trace, found: &mut Vec<Violation>) {
    if !trace.rested {
        found.push(Violation::new("a run comes to rest", "writes go on and on"));
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
        found.push(Violation::new("silence when done", text));
    }
    for write in &trace.writes {
        let idle = write.kind == "RetryableTask" && (200..300).contains(&write.code) && !write.changed;
        if trace.faultless && idle {
            let text = format!("{} {} at {:?} changes nothing", write.verb, write.object, write.called);
            found.push(Violation::new("no write that changes nothing", text));
        }
        if write.is_refused() && !write.faulty && !is_wrong_uid(trace, write) {
            let text = format!("{} {} {} at {:?}: {}", write.verb, write.kind, write.object, write.called, write.code);
            found.push(Violation::new("no write that the API server refuses", text));
        }
    }
}

/// A patch by UID that found another Pod of that name.
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
