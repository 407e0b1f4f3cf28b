//! The tasks of schedules, as the watch has shown them: only what decides.

use crate::api::{
    ANNOTATION_CANCEL, ANNOTATION_SCHEDULED_TIME, Acknowledged, LABEL_SCHEDULE_NAME, LABEL_SCHEDULE_UID, RetryableTask,
    Run,
};
use crate::controller::TaskKey;
use crate::core::annotations;
use crate::core::schedule::{RunEnd, RunResult, RunSnapshot};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use kube_runtime::watcher::Event;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::SetOnce;

/// A task with as much of its status as says how it ended.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WatchedTask {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    completion_time: Option<Time>,
    conditions: Vec<Condition>,
    acknowledged: Vec<Acknowledged>,
    run: Option<Run>,
    history: Vec<Finished>,
    fallback: Option<Finished>,
}

/// An attempt, or the fallback.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Finished {
    finish_time: Option<Time>,
}

impl Resource for WatchedTask {
    type DynamicType = ();
    type Scope = <RetryableTask as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        RetryableTask::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        RetryableTask::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        RetryableTask::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        RetryableTask::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl WatchedTask {
    /// The UID of the schedule that it belongs to: that of the label, if it is its owner.
    pub(super) fn schedule_uid(&self) -> Option<&str> {
        let uid = self.labels().get(LABEL_SCHEDULE_UID)?;
        self.owner_references().iter().any(|owner| owner.uid == *uid && owner.controller == Some(true)).then_some(uid)
    }

    fn schedule(&self) -> TaskKey {
        let name = self.labels().get(LABEL_SCHEDULE_NAME).cloned().unwrap_or_default();
        TaskKey { namespace: self.namespace().unwrap_or_default(), name }
    }

    fn snapshot(&self) -> RunSnapshot {
        RunSnapshot {
            name: self.name_any(),
            uid: self.uid().unwrap_or_default(),
            resource_version: self.resource_version().unwrap_or_default(),
            number: self.status.as_ref().and_then(|status| status.run.as_ref()).map_or(1, |run| run.number),
            scheduled_time: self.annotations().get(ANNOTATION_SCHEDULED_TIME).and_then(|time| time.parse().ok()),
            end: self.end(),
            is_cancelled: self.is_cancelled(),
            is_awaited: false,
        }
    }

    /// Whether it is requested to cancel, and has not done so yet: a run that is run again keeps the annotation.
    fn is_cancelled(&self) -> bool {
        let acknowledged = self.status.as_ref().map_or(&[][..], |status| &status.acknowledged);
        annotations::pending(self.metadata.annotations.as_ref(), acknowledged, ANNOTATION_CANCEL).is_some()
    }

    fn end(&self) -> Option<RunEnd> {
        let Status { completion_time, conditions, acknowledged: _, run: _, history, fallback } =
            self.status.as_ref()?;
        let is_true = |type_: &str| conditions.iter().find(|known| known.type_ == type_ && known.status == "True");
        let (result, condition) = match (is_true("Complete"), is_true("Failed")) {
            (Some(complete), _) => (RunResult::Succeeded, complete),
            (None, Some(failed)) if failed.reason == "Cancelled" => (RunResult::Cancelled, failed),
            (None, Some(failed)) => (RunResult::Failed, failed),
            (None, None) => return None,
        };
        let time: Timestamp = completion_time.as_ref().map_or(condition.last_transition_time.0, |time| time.0);
        let pods = history.iter().chain(fallback).filter_map(|pod| pod.finish_time.as_ref());
        let work_until = pods.map(|finished| finished.0).max().map_or(time, |finished| finished.min(time));
        Some(RunEnd { result, time, work_until })
    }
}

/// The tasks of schedules, by the schedule's UID.
#[derive(Debug, Default)]
pub(super) struct RunCache {
    inner: Mutex<Inner>,
    synced: SetOnce<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the UID of the schedule, then by that of the task.
    runs: BTreeMap<String, BTreeMap<String, (TaskKey, RunSnapshot)>>,
    listed: BTreeMap<String, BTreeMap<String, (TaskKey, RunSnapshot)>>,
}

impl RunCache {
    /// Applies a watch event. Returns the schedules that it concerns.
    pub(super) fn apply(&self, event: Event<WatchedTask>) -> BTreeSet<TaskKey> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed.clear();
                BTreeSet::new()
            }
            Event::InitApply(task) => {
                insert(&mut inner.listed, &task);
                BTreeSet::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut inner.listed);
                let before = std::mem::replace(&mut inner.runs, listed);
                // Each later list fails here, which is fine.
                let _ = self.synced.set(());
                let all = before.values().chain(inner.runs.values()).flat_map(BTreeMap::values);
                all.map(|(key, _)| key.clone()).collect()
            }
            Event::Apply(task) => {
                insert(&mut inner.runs, &task);
                BTreeSet::from([task.schedule()])
            }
            Event::Delete(task) => {
                let uid = task.uid().unwrap_or_default();
                for runs in inner.runs.values_mut() {
                    runs.remove(&uid);
                }
                inner.runs.retain(|_, runs| !runs.is_empty());
                BTreeSet::from([task.schedule()])
            }
        }
    }

    /// The tasks of the schedule.
    pub(super) fn of(&self, schedule_uid: &str) -> Vec<RunSnapshot> {
        let inner = self.lock();
        inner.runs.get(schedule_uid).into_iter().flat_map(BTreeMap::values).map(|(_, run)| run.clone()).collect()
    }

    /// Resolves when the first list is complete.
    pub(super) async fn synced(&self) {
        self.synced.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(runs: &mut BTreeMap<String, BTreeMap<String, (TaskKey, RunSnapshot)>>, task: &WatchedTask) {
    if let Some(schedule) = task.schedule_uid() {
        let of_schedule = runs.entry(schedule.to_owned()).or_default();
        of_schedule.insert(task.uid().unwrap_or_default(), (task.schedule(), task.snapshot()));
    }
}

#[cfg(test)]
mod tests;
