//! The record told by task and by Pod.

use super::{LATE, Trace};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::{
        ANNOTATION_RETRY_NOW, FINALIZER, HistoryEntry, LABEL_ATTEMPT, LABEL_FALLBACK, LABEL_TASK_UID, MAIN_CONTAINER,
        RetryableTask, RetryableTaskStatus, StopReason,
    },
    core::{
        decide::slot_of,
        identity::Slot,
        pod_snapshot::{FORCED_DELETION_BOUND, LOST_NODE_BOUND},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// One task, from its creation to its end.
#[derive(Debug)]
pub struct TaskRecord {
    /// Its UID.
    pub uid: String,
    /// Namespace and name, with a slash between.
    pub name: String,
    /// Whether its Pods get the finalizer.
    pub held: bool,
    /// Its versions.
    pub versions: Vec<(Duration, RetryableTask)>,
    /// When it went.
    pub gone: Option<Duration>,
    /// Its Pods, by creation.
    pub pods: Vec<PodRecord>,
    /// Every history entry that it ever had, by attempt, with the version that had it first.
    pub entries: BTreeMap<i32, (usize, Arc<HistoryEntry>)>,
    /// The same entries as they were last, with the version that changed them last: a changed spec changes a wait.
    pub last_entries: BTreeMap<i32, (usize, Arc<HistoryEntry>)>,
}

/// One Pod of a task, from its creation to its end.
#[derive(Debug)]
pub struct PodRecord {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The attempt that it was made for, or that failed before it.
    pub number: i32,
    /// Whether it is the fallback.
    pub fallback: bool,
    /// Its versions.
    pub versions: Vec<(Duration, Arc<Value>)>,
    /// When it went.
    pub gone: Option<Duration>,
    /// When it was first over: terminal, deleted without a node, given up for dead, or gone.
    pub over: Option<Duration>,
    /// When it was given up for dead: deleted, and its kubelet has not ended it long after its grace.
    pub given_up: Option<Duration>,
    /// When its creation had been asked for.
    pub called: Duration,
    /// Whether its creation landed after its task was deleted, or later than the operator has to reckon with and for an
    /// attempt that was over or had its Pod by then. The latter is the stated residual of an unbounded delay. Neither
    /// ever counts; both must be gone in the end.
    pub stray: bool,
}

impl TaskRecord {
    /// The status as it was at this time.
    pub fn status_at(&self, at: Duration) -> Option<&RetryableTaskStatus> {
        let upto = self.versions.partition_point(|(since, _)| *since <= at);
        self.versions[..upto].last()?.1.status.as_ref()
    }

    /// The last version.
    pub fn last(&self) -> &RetryableTask {
        &self.versions.last().expect("a story has a version").1
    }

    /// The last status.
    pub fn last_status(&self) -> RetryableTaskStatus {
        self.last().status.clone().unwrap_or_default()
    }

    /// When somebody first asked for its deletion.
    pub fn deleted(&self) -> Option<Duration> {
        let marked = self.versions.iter().find(|(_, task)| task.metadata.deletion_timestamp.is_some());
        marked.map(|(at, _)| *at).or(self.gone)
    }

    /// Whether an attempt, or the fallback, is over in the books at this time.
    pub fn is_closed(&self, slot: Slot, at: Duration) -> bool {
        let status = self.status_at(at);
        status
            .is_some_and(|s| s.current.as_ref().map_or(s.completion_time.is_some(), |current| slot_of(current) > slot))
    }

    /// Whether somebody skipped the wait between these times, or the task ended and was run again.
    pub fn was_hurried(&self, from: Duration, until: Duration) -> bool {
        let run = |at: Duration| self.status_at(at).and_then(|status| status.run);
        let heard = |at: Duration| {
            let heard = self.status_at(at).into_iter().flat_map(|status| &status.acknowledged);
            heard.filter(|heard| heard.annotation == ANNOTATION_RETRY_NOW).map(|heard| heard.value.clone()).next()
        };
        heard(from) != heard(until) || run(from) != run(until)
    }

    /// The attempts' Pods that count.
    pub fn attempts(&self) -> impl Iterator<Item = &PodRecord> {
        self.counted().filter(|pod| !pod.fallback)
    }

    /// The Pods that count.
    pub fn counted(&self) -> impl Iterator<Item = &PodRecord> {
        self.pods.iter().filter(|pod| !pod.stray)
    }

    /// Why the operator stopped the Pod of the attempt that was closed with this version, and what kept the Pod from
    /// starting.
    pub fn stop_before(&self, version: usize, number: i32) -> Option<(StopReason, Option<String>)> {
        let before = version.checked_sub(1)?;
        let current =
            self.versions[before].1.status.as_ref()?.current.as_ref().filter(|c| c.number == number && !c.fallback)?;
        Some((current.stop_reason?, current.stop_cause.clone()))
    }

    /// Whether an attempt ended without a Pod, since none could be created in time, as far as the history tells.
    pub fn ended_without_pod(&self, number: i32) -> bool {
        self.entries.get(&number).is_some_and(|(_, entry)| entry.pod_uid.is_none())
            || self.versions.iter().any(|(_, task)| task.spec.history_limit == 0)
    }

    /// The Pod of an entry.
    pub fn pod_of(&self, entry: &HistoryEntry) -> Option<&PodRecord> {
        self.pods.iter().find(|pod| entry.pod_uid.as_ref() == Some(&pod.uid))
    }

    /// How it ended, times aside.
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
        let books = json!({
            "state": status.state, "attempts": status.attempts, "retries": status.retries, "ignored": status.ignored,
            "failureCounts": status.failure_counts, "result": status.result, "dropped": status.history_dropped, "conditions": conditions,
            "reason": status.reason, "fallback": status.fallback.map(|f| (f.state, f.exit_code, f.reason, f.message)), "entries": entries.collect::<Vec<_>>(),
        });
        format!("{} {books}", self.name)
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

    /// The versions that show its end, the first of them first: the terminal ones, and the one that it was given up or
    /// went with.
    pub fn ends(&self) -> impl Iterator<Item = &Value> {
        let upto = self.given_up.map(|at| self.versions.partition_point(|(since, _)| *since <= at));
        let last = upto.or(self.gone.map(|_| self.versions.len())).map(|upto| upto - 1);
        let shows = move |index: usize, pod: &Value| {
            let given_up = self.given_up.is_some() && last.is_some_and(|last| index >= last);
            is_terminal(pod) || given_up || Some(index) == last && main_end(pod).is_some()
        };
        let versions = self.versions.iter().enumerate();
        versions.filter(move |(index, (_, pod))| shows(*index, pod)).map(|(_, (_, pod))| &**pod)
    }

    /// Whether it is there at this time.
    pub fn is_there(&self, at: Duration) -> bool {
        self.created() <= at && self.gone.is_none_or(|gone| gone > at)
    }

    /// Whether our finalizer holds it now.
    pub fn is_held(&self) -> bool {
        self.gone.is_none() && has_finalizer(self.last())
    }
}

/// Whether the Pod has our finalizer.
pub fn has_finalizer(pod: &Value) -> bool {
    pod["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|f| f == FINALIZER))
}

/// Whether the Pod has ended for the cluster: a phase that it cannot leave, or deleted before it had a node.
pub fn is_terminal(pod: &Value) -> bool {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    ended || (is_deleting(pod) && pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty))
}

/// Whether somebody asked for its deletion.
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

/// Until when the kubelet of a Pod that is being deleted must have ended it: its deletion time, and a time in which a
/// node that is alive reports.
fn overdue(trace: &Trace, pod: &Value) -> Option<Duration> {
    let deadline: Timestamp = pod["metadata"]["deletionTimestamp"].as_str()?.parse().ok()?;
    let forced = pod["metadata"]["deletionGracePeriodSeconds"] == json!(0);
    let bound = if forced { FORCED_DELETION_BOUND } else { LOST_NODE_BOUND };
    let grace = SignedDuration::from_secs(pod["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0));
    // By a clock that is wrong the operator can hold the grace to be over: then its own patience is as long as the
    // bound.
    let patience = if trace.clock.is_empty() { bound } else { bound.max(grace) - grace };
    Some(Duration::try_from(deadline.duration_since(trace.start) + patience).unwrap_or_default())
}

/// How the main container ended, if the Pod shows it.
pub fn main_end(pod: &Value) -> Option<&Value> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses.iter().find(|s| s["name"] == MAIN_CONTAINER)?["state"].get("terminated")
}

/// The text at a path of a Pod's metadata labels.
pub fn label<'a>(pod: &'a Value, name: &str) -> &'a str {
    pod["metadata"]["labels"][name].as_str().unwrap_or("")
}

/// Tells the record by task, in the order of their creation.
pub fn tell(trace: &Trace) -> Vec<TaskRecord> {
    let mut stories: Vec<TaskRecord> = vec![];
    let mut pods: BTreeMap<String, (String, PodRecord)> = BTreeMap::new();
    for change in &trace.changes {
        let object = &change.object;
        let uid = object["metadata"]["uid"].as_str().unwrap_or("").to_string();
        match object["kind"].as_str() {
            Some("RetryableTask") => {
                let task = RetryableTask::deserialize(&**object).expect("a task that can be read");
                tell_task(trace, &mut stories, change.at, change.gone, uid, task);
            }
            Some("Pod") if !label(object, LABEL_TASK_UID).is_empty() => {
                if !change.by_operator && !pods.contains_key(&uid) {
                    continue; // a copy that somebody made
                }
                let owner = label(object, LABEL_TASK_UID).to_string();
                let (_, pod) =
                    pods.entry(uid.clone()).or_insert_with(|| (owner, new_pod(trace, uid, change.at, object)));
                // Nothing that happens to a Pod after it was given up for dead brings it back.
                let given_up = pod.versions.last().and_then(|(_, before)| overdue(trace, before));
                let given_up = given_up.filter(|at| pod.over.is_none() && *at < change.at);
                (pod.over, pod.given_up) = (pod.over.or(given_up), pod.given_up.or(given_up));
                pod.versions.push((change.at, object.clone()));
                let over = change.gone || is_terminal(object);
                pod.over = pod.over.or(over.then_some(change.at));
                pod.gone = change.gone.then_some(change.at);
            }
            _ => {}
        }
    }
    let mut pods: Vec<(String, PodRecord)> = pods.into_values().collect();
    pods.sort_by_key(|(_, pod)| pod.created());
    for (owner, mut pod) in pods {
        if pod.over.is_none() {
            pod.given_up = overdue(trace, pod.last());
            pod.over = pod.given_up;
        }
        let story =
            stories.iter_mut().find(|story| story.uid == owner).expect("a Pod is made for a task that there was");
        let earlier = story.pods.iter().find(|other| other.slot() == pod.slot());
        let taken = earlier.is_some_and(|earlier| story.held || earlier.gone.is_none_or(|gone| pod.called <= gone));
        // Nothing holds the names of Pods without a finalizer against creations that are on their way.
        let late = pod.created() > pod.called + LATE || !story.held;
        let of_deleted_task = story.deleted().is_some_and(|deleted| deleted <= pod.created());
        pod.stray = of_deleted_task || late && (taken || story.is_closed(pod.slot(), pod.created()));
        story.pods.push(pod);
    }
    stories
}

fn tell_task(trace: &Trace, stories: &mut Vec<TaskRecord>, at: Duration, gone: bool, uid: String, task: RetryableTask) {
    let at_index = stories.iter().position(|story| story.uid == uid).unwrap_or_else(|| {
        let namespace = task.metadata.namespace.clone().unwrap_or_default();
        let name = format!("{namespace}/{}", task.metadata.name.clone().unwrap_or_default());
        let held = namespace != trace.own_namespace;
        stories.push(TaskRecord {
            uid,
            name,
            held,
            versions: vec![],
            gone: None,
            pods: vec![],
            entries: BTreeMap::new(),
            last_entries: BTreeMap::new(),
        });
        stories.len() - 1
    });
    let story = &mut stories[at_index];
    let version = story.versions.len();
    for entry in task.status.iter().flat_map(|status| &status.history) {
        story.entries.entry(entry.attempt).or_insert_with(|| (version, entry.clone()));
        let last = story.last_entries.entry(entry.attempt).or_insert_with(|| (version, entry.clone()));
        if last.1 != *entry {
            *last = (version, entry.clone());
        }
    }
    story.gone = gone.then_some(at);
    story.versions.push((at, task));
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
        gone: None,
        over: None,
        given_up: None,
        called: made.map_or(at, |write| write.called),
        stray: false,
    }
}
