//! The trace of a run, grouped by task and Pod.

use super::{LATE, Trace};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::{
        ANNOTATION_RETRY_NOW, FINALIZER, HistoryEntry, LABEL_ATTEMPT, LABEL_FALLBACK, LABEL_TASK_UID, MAIN_CONTAINER,
        RetryableTask, RetryableTaskStatus, StopReason,
    },
    core::{
        decide::slot_of,
        pod_snapshot::{FORCED_DELETION_BOUND, LOST_NODE_BOUND},
        slot::Slot,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// One task, from its creation to its deletion.
#[derive(Debug)]
pub struct TaskRecord {
    /// Its UID.
    pub uid: String,
    /// Namespace and name, with a slash between.
    pub name: String,
    /// Whether its Pods get the finalizer.
    pub has_finalizers: bool,
    /// Its versions.
    pub versions: Vec<(Duration, RetryableTask)>,
    /// When it was deleted from the store.
    pub deleted_at: Option<Duration>,
    /// Its Pods, in the order of their creation.
    pub pods: Vec<PodRecord>,
    /// Every history entry that it ever had, by attempt, as it was first, with the index of that version.
    pub entries: BTreeMap<i32, (usize, Arc<HistoryEntry>)>,
    /// The same entries as they were last, with the index of the version that last changed them. A changed spec changes
    /// the delay of an attempt that waits.
    pub last_entries: BTreeMap<i32, (usize, Arc<HistoryEntry>)>,
}

/// One Pod of a task, from its creation to its deletion.
#[derive(Debug)]
pub struct PodRecord {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its attempt. For a fallback: the last attempt before it.
    pub number: i32,
    /// Whether it is the fallback.
    pub fallback: bool,
    /// Its versions.
    pub versions: Vec<(Duration, Arc<Value>)>,
    /// When it was deleted from the store.
    pub deleted_at: Option<Duration>,
    /// When it first counted as ended: terminal, being deleted without a node, abandoned, or deleted.
    pub over: Option<Duration>,
    /// When it was abandoned: its grace period is long over, and its kubelet still has not ended it.
    pub abandoned: Option<Duration>,
    /// When the operator called the API to create it.
    pub called: Duration,
    /// Whether its creation landed too late: after its task was deleted, or beyond [`LATE`] for an attempt that was
    /// recorded or had a Pod by then. Such a Pod never counts, and must be deleted at the end.
    pub landed_late: bool,
}

impl TaskRecord {
    /// The status as it was at this time.
    pub fn status_at(&self, at: Duration) -> Option<&RetryableTaskStatus> {
        let upto = self.versions.partition_point(|(since, _)| *since <= at);
        self.versions[..upto].last()?.1.status.as_ref()
    }

    /// The last version.
    pub fn last(&self) -> &RetryableTask {
        &self.versions.last().expect("a record has a version").1
    }

    /// The last status.
    pub fn last_status(&self) -> RetryableTaskStatus {
        self.last().status.clone().unwrap_or_default()
    }

    /// When its deletion was first requested.
    pub fn deletion_requested(&self) -> Option<Duration> {
        let marked = self.versions.iter().find(|(_, task)| task.metadata.deletion_timestamp.is_some());
        marked.map(|(at, _)| *at).or(self.deleted_at)
    }

    /// Whether the outcome of an attempt, or of the fallback, is recorded at this time.
    pub fn is_recorded(&self, slot: Slot, at: Duration) -> bool {
        let status = self.status_at(at);
        status
            .is_some_and(|s| s.current.as_ref().map_or(s.completion_time.is_some(), |current| slot_of(current) > slot))
    }

    /// Whether between these times a user skipped the wait, or the task ended and was run again.
    pub fn wait_was_skipped(&self, from: Duration, until: Duration) -> bool {
        let run = |at: Duration| self.status_at(at).and_then(|status| status.run);
        let retry_now = |at: Duration| {
            let acknowledged = self.status_at(at).into_iter().flat_map(|status| &status.acknowledged);
            acknowledged
                .filter(|entry| entry.annotation == ANNOTATION_RETRY_NOW)
                .map(|entry| entry.value.clone())
                .next()
        };
        retry_now(from) != retry_now(until) || run(from) != run(until)
    }

    /// The attempts' Pods that count.
    pub fn attempts(&self) -> impl Iterator<Item = &PodRecord> {
        self.counted().filter(|pod| !pod.fallback)
    }

    /// The Pods that count.
    pub fn counted(&self) -> impl Iterator<Item = &PodRecord> {
        self.pods.iter().filter(|pod| !pod.landed_late)
    }

    /// Why the operator stopped the Pod of the attempt that was recorded in this version, and what kept the Pod from
    /// starting.
    pub fn stop_before(&self, version: usize, number: i32) -> Option<(StopReason, Option<String>)> {
        let before = version.checked_sub(1)?;
        let current =
            self.versions[before].1.status.as_ref()?.current.as_ref().filter(|c| c.number == number && !c.fallback)?;
        Some((current.stop_reason?, current.stop_cause.clone()))
    }

    /// Whether an attempt ended without a Pod because none could be created in time, as far as the history shows.
    pub fn ended_without_pod(&self, number: i32) -> bool {
        self.entries.get(&number).is_some_and(|(_, entry)| entry.pod_uid.is_none())
            || self.versions.iter().any(|(_, task)| task.spec.history_limit == 0)
    }

    /// The Pod of an entry.
    pub fn pod_of(&self, entry: &HistoryEntry) -> Option<&PodRecord> {
        self.pods.iter().find(|pod| entry.pod_uid.as_ref() == Some(&pod.uid))
    }

    /// How it ended, without times.
    pub fn summary(&self) -> String {
        let status = self.last_status();
        let entries = self.entries.values().map(|(_, e)| {
            json!([
                e.attempt,
                e.exit_code,
                e.signal,
                e.reason,
                e.error_type,
                e.rule,
                e.action,
                e.delay_milliseconds,
                e.message,
                e.container
            ])
        });
        let mut status = status;
        status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        let conditions: Vec<_> =
            status.conditions.iter().map(|c| json!([c.type_, c.status, c.reason, c.message])).collect();
        let end = json!({
            "state": status.state, "attempts": status.attempts, "retries": status.retries, "ignored": status.ignored,
            "failureCounts": status.failure_counts, "result": status.result, "dropped": status.history_dropped, "conditions": conditions,
            "reason": status.reason, "fallback": status.fallback.map(|f| (f.state, f.exit_code, f.reason, f.message)), "entries": entries.collect::<Vec<_>>(),
        });
        format!("{} {end}", self.name)
    }
}

impl PodRecord {
    /// Which of its task's Pods it is.
    pub fn slot(&self) -> Slot {
        Slot { number: self.number, fallback: self.fallback }
    }

    /// When it was created.
    pub fn created(&self) -> Duration {
        self.versions.first().expect("a Pod has a version").0
    }

    /// The newest version.
    pub fn last(&self) -> &Value {
        &self.versions.last().expect("a Pod has a version").1
    }

    /// The versions that show its end, oldest first: those that are terminal, and the last one before it was abandoned
    /// or deleted.
    pub fn ends(&self) -> impl Iterator<Item = &Value> {
        let upto = self.abandoned.map(|at| self.versions.partition_point(|(since, _)| *since <= at));
        let last = upto.or(self.deleted_at.map(|_| self.versions.len())).map(|upto| upto - 1);
        let shows = move |index: usize, pod: &Value| {
            let abandoned = self.abandoned.is_some() && last.is_some_and(|last| index >= last);
            is_terminal(pod) || abandoned || Some(index) == last && main_end(pod).is_some()
        };
        let versions = self.versions.iter().enumerate();
        versions.filter(move |(index, (_, pod))| shows(*index, pod)).map(|(_, (_, pod))| &**pod)
    }

    /// Whether it exists at this time.
    pub fn is_there(&self, at: Duration) -> bool {
        self.created() <= at && self.deleted_at.is_none_or(|deleted_at| deleted_at > at)
    }

    /// Whether it exists at the end of the run and still has our finalizer.
    pub fn keeps_finalizer(&self) -> bool {
        self.deleted_at.is_none() && has_finalizer(self.last())
    }
}

/// Whether the Pod has our finalizer.
pub fn has_finalizer(pod: &Value) -> bool {
    pod["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|f| f == FINALIZER))
}

/// Whether the Pod has ended: its phase is final, or it is being deleted and never had a node.
pub fn is_terminal(pod: &Value) -> bool {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    ended || (is_deleting(pod) && pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty))
}

/// Whether it is being deleted.
pub fn is_deleting(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
}

/// Whether the kubelet ended the Pod because its deadline had passed.
pub fn is_past_deadline(pod: &Value) -> bool {
    pod["status"]["phase"] == "Failed" && pod["status"]["reason"] == "DeadlineExceeded"
}

/// Whether any of the Pod's containers has started.
pub fn has_run(pod: &Value) -> bool {
    let all = ["initContainerStatuses", "containerStatuses"].into_iter();
    let mut all = all.flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    all.any(|status| status["state"]["running"].is_object() || status["state"]["terminated"].is_object())
}

/// When a Pod that is being deleted is abandoned: its deletion timestamp, and a bound within which a live node reports.
fn abandoned_at(trace: &Trace, pod: &Value) -> Option<Duration> {
    let deadline: Timestamp = pod["metadata"]["deletionTimestamp"].as_str()?.parse().ok()?;
    let forced = pod["metadata"]["deletionGracePeriodSeconds"] == json!(0);
    let bound = if forced { FORCED_DELETION_BOUND } else { LOST_NODE_BOUND };
    let grace = SignedDuration::from_secs(pod["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0));
    // With a wrong clock the operator may think that the grace period is over. Then it waits for the bound, by its
    // monotonic clock.
    let extra = if trace.clock.is_empty() { bound } else { bound.max(grace) - grace };
    Some(Duration::try_from(deadline.duration_since(trace.start) + extra).unwrap_or_default())
}

/// How the main container ended, if the Pod shows it.
pub fn main_end(pod: &Value) -> Option<&Value> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses.iter().find(|s| s["name"] == MAIN_CONTAINER)?["state"].get("terminated")
}

/// A label of the Pod; empty without it.
pub fn label<'a>(pod: &'a Value, name: &str) -> &'a str {
    pod["metadata"]["labels"][name].as_str().unwrap_or("")
}

/// The tasks of the trace, in the order of their creation.
pub fn by_task(trace: &Trace) -> Vec<TaskRecord> {
    let mut tasks: Vec<TaskRecord> = vec![];
    let mut pods: BTreeMap<String, (String, PodRecord)> = BTreeMap::new();
    for change in &trace.changes {
        let object = &change.object;
        let uid = object["metadata"]["uid"].as_str().unwrap_or("").to_string();
        match object["kind"].as_str() {
            Some("RetryableTask") => {
                let task = RetryableTask::deserialize(&**object).expect("a task that can be read");
                add_version(trace, &mut tasks, change.at, change.deleted, uid, task);
            }
            Some("Pod") if !label(object, LABEL_TASK_UID).is_empty() => {
                if !change.by_operator && !pods.contains_key(&uid) {
                    continue; // a user's copy
                }
                let owner = label(object, LABEL_TASK_UID).to_string();
                let (_, pod) =
                    pods.entry(uid.clone()).or_insert_with(|| (owner, new_pod(trace, uid, change.at, object)));
                // An abandoned Pod stays abandoned, whatever happens to it later.
                let abandoned = pod.versions.last().and_then(|(_, before)| abandoned_at(trace, before));
                let abandoned = abandoned.filter(|at| pod.over.is_none() && *at < change.at);
                (pod.over, pod.abandoned) = (pod.over.or(abandoned), pod.abandoned.or(abandoned));
                pod.versions.push((change.at, object.clone()));
                let over = change.deleted || is_terminal(object);
                pod.over = pod.over.or(over.then_some(change.at));
                pod.deleted_at = change.deleted.then_some(change.at);
            }
            _ => {}
        }
    }
    let mut pods: Vec<(String, PodRecord)> = pods.into_values().collect();
    pods.sort_by_key(|(_, pod)| pod.created());
    for (owner, mut pod) in pods {
        if pod.over.is_none() {
            pod.abandoned = abandoned_at(trace, pod.last());
            pod.over = pod.abandoned;
        }
        let record =
            tasks.iter_mut().find(|record| record.uid == owner).expect("a Pod is made for a task that there was");
        let earlier = record.pods.iter().find(|other| other.slot() == pod.slot());
        let taken = earlier.is_some_and(|earlier| {
            record.has_finalizers || earlier.deleted_at.is_none_or(|deleted_at| pod.called <= deleted_at)
        });
        // Without a finalizer the name is free at once, and a creation in flight can take it.
        let late = pod.created() > pod.called + LATE || !record.has_finalizers;
        let of_deleted_task = record.deletion_requested().is_some_and(|deleted| deleted <= pod.created());
        pod.landed_late = of_deleted_task || late && (taken || record.is_recorded(pod.slot(), pod.created()));
        record.pods.push(pod);
    }
    tasks
}

fn add_version(
    trace: &Trace,
    tasks: &mut Vec<TaskRecord>,
    at: Duration,
    deleted: bool,
    uid: String,
    task: RetryableTask,
) {
    let at_index = tasks.iter().position(|record| record.uid == uid).unwrap_or_else(|| {
        let namespace = task.metadata.namespace.clone().unwrap_or_default();
        let name = format!("{namespace}/{}", task.metadata.name.clone().unwrap_or_default());
        let has_finalizers = namespace != trace.own_namespace;
        tasks.push(TaskRecord {
            uid,
            name,
            has_finalizers,
            versions: vec![],
            deleted_at: None,
            pods: vec![],
            entries: BTreeMap::new(),
            last_entries: BTreeMap::new(),
        });
        tasks.len() - 1
    });
    let record = &mut tasks[at_index];
    let version = record.versions.len();
    for entry in task.status.iter().flat_map(|status| &status.history) {
        record.entries.entry(entry.attempt).or_insert_with(|| (version, entry.clone()));
        let last = record.last_entries.entry(entry.attempt).or_insert_with(|| (version, entry.clone()));
        if last.1 != *entry {
            *last = (version, entry.clone());
        }
    }
    record.deleted_at = deleted.then_some(at);
    record.versions.push((at, task));
}

fn new_pod(trace: &Trace, uid: String, at: Duration, pod: &Value) -> PodRecord {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or("").to_string();
    let object = format!("{}/{}", text("namespace"), text("name"));
    let made = trace
        .writes
        .iter()
        .find(|w| w.kind == "Pod" && w.verb == "create" && w.changed && w.object == object && w.done == Some(at));
    PodRecord {
        uid,
        name: text("name"),
        number: label(pod, LABEL_ATTEMPT).parse().unwrap_or(0),
        fallback: !label(pod, LABEL_FALLBACK).is_empty(),
        versions: vec![],
        deleted_at: None,
        over: None,
        abandoned: None,
        called: made.map_or(at, |write| write.called),
        landed_late: false,
    }
}
