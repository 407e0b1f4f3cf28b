//! The trace's schedules, with their runs.

use super::super::{Trace, Write, record::TaskRecord};
use jiff::Timestamp;
use retryable_tasks::api::{
    ANNOTATION_SCHEDULED_TIME, PlannedRun, RunCause, TaskSchedule, TaskScheduleSpec, TaskScheduleStatus,
};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// One schedule, from its creation to its deletion.
pub struct ScheduleRecord<'a> {
    /// Its UID.
    pub uid: String,
    /// Namespace and name, with a slash between.
    pub name: String,
    /// Its versions.
    pub versions: Vec<Version>,
    /// When it was deleted from the store.
    pub deleted_at: Option<Duration>,
    /// Its tasks, in the order of their creation.
    pub runs: Vec<Run<'a>>,
}

/// A version of a schedule.
pub struct Version {
    /// When it was stored.
    pub at: Duration,
    /// Whether the operator wrote it.
    pub by_operator: bool,
    /// The schedule.
    pub schedule: TaskSchedule,
}

/// A task of a schedule.
pub struct Run<'a> {
    /// The task.
    pub task: &'a TaskRecord,
    /// The time that it is for.
    pub time: Option<Timestamp>,
    /// When its creation was requested.
    pub called: Duration,
    /// When it was created.
    pub created: Duration,
    /// Whether the operator deleted it, if it is deleted.
    pub deleted_by_operator: bool,
}

impl ScheduleRecord<'_> {
    /// The status of a version.
    pub fn status(&self, index: usize) -> TaskScheduleStatus {
        self.versions[index].schedule.status.clone().unwrap_or_default()
    }

    /// The index of the version of this time.
    pub fn version_at(&self, at: Duration) -> Option<usize> {
        self.versions.partition_point(|version| version.at <= at).checked_sub(1)
    }

    /// When the version was replaced by the next, or deleted.
    pub fn until(&self, index: usize, end: Duration) -> Duration {
        let last = self.deleted_at.unwrap_or(end);
        self.versions.get(index + 1).map_or(last, |next| next.at)
    }

    /// The newest version up to this time that says that the task of this name is being created.
    pub fn naming(&self, name: &str, at: Duration) -> Option<(usize, PlannedRun)> {
        let upto = self.version_at(at)? + 1;
        (0..upto).rev().find_map(|index| {
            let creating = self.versions[index].schedule.status.as_ref()?.creating.clone()?;
            (creating.name == name).then_some((index, creating))
        })
    }

    /// The runs that this version plans: their names and causes.
    pub fn planned(&self, index: usize) -> BTreeMap<String, PlannedRun> {
        let status = self.status(index);
        let all = status.creating.into_iter().chain(status.waiting);
        all.map(|run| (run.name.clone(), run)).collect()
    }
}

impl Run<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        self.task.name.split('/').nth(1).unwrap_or_default()
    }

    /// Why it was started, as the status said that named it.
    pub fn cause(&self, record: &ScheduleRecord) -> Option<RunCause> {
        record.naming(self.name(), self.called).map(|(_, planned)| planned.cause)
    }

    /// Whether it exists and has not ended at this time.
    pub fn is_unfinished(&self, at: Duration) -> bool {
        let is_there = self.created <= at && self.task.deleted_at.is_none_or(|deleted| deleted > at);
        is_there && self.task.status_at(at).is_none_or(|status| status.completion_time.is_none())
    }

    /// Whether it has ended and was run again.
    pub fn ran_again(&self) -> bool {
        let mut runs = self.task.versions.iter().filter_map(|(_, task)| task.status.as_ref()?.run.as_ref());
        runs.any(|run| run.number > 1)
    }
}

/// What its times follow from.
pub fn times_of(spec: &TaskScheduleSpec) -> (&Option<String>, &Option<Vec<String>>, &str, i32) {
    (&spec.schedule, &spec.schedules, &spec.time_zone, spec.splay_seconds)
}

/// The schedules of this run.
pub fn by_schedule<'a>(trace: &Trace, tasks: &'a [TaskRecord]) -> Vec<ScheduleRecord<'a>> {
    let mut records: Vec<ScheduleRecord> = vec![];
    for change in trace.changes.iter().filter(|change| change.object["kind"] == "TaskSchedule") {
        let schedule = TaskSchedule::deserialize(&*change.object).expect("a schedule that can be read");
        let metadata = &schedule.metadata;
        let uid = metadata.uid.clone().unwrap_or_default();
        let index = records.iter().position(|record| record.uid == uid).unwrap_or_else(|| {
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            let name = format!("{}/{}", namespace.unwrap_or(""), name.unwrap_or(""));
            records.push(ScheduleRecord { uid, name, versions: vec![], deleted_at: None, runs: vec![] });
            records.len() - 1
        });
        if change.deleted {
            records[index].deleted_at = Some(change.at);
        } else {
            records[index].versions.push(Version { at: change.at, by_operator: change.by_operator, schedule });
        }
    }
    for task in tasks {
        let owners = task.versions.first().map(|(_, task)| task.metadata.owner_references.iter().flatten());
        let owner = owners.into_iter().flatten().find(|owner| owner.controller == Some(true));
        let record = owner.and_then(|owner| records.iter_mut().find(|record| record.uid == owner.uid));
        if let Some(record) = record {
            record.runs.push(run(trace, task));
        }
    }
    records
}

fn run<'a>(trace: &Trace, task: &'a TaskRecord) -> Run<'a> {
    let (created, first) = task.versions.first().map(|(at, task)| (*at, task)).expect("a record has a version");
    let annotation = first.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_SCHEDULED_TIME));
    let is_creation = |write: &&Write| {
        (write.kind, &*write.verb, write.done) == ("RetryableTask", "create", Some(created))
            && write.object == task.name
    };
    let write = trace.writes.iter().find(is_creation);
    let deletion =
        trace.changes.iter().find(|change| change.deleted && change.object["metadata"]["uid"] == task.uid.as_str());
    Run {
        task,
        time: annotation.and_then(|time| time.parse().ok()),
        called: write.map_or(created, |write| write.called),
        created,
        deleted_by_operator: deletion.is_some_and(|change| change.by_operator),
    }
}
