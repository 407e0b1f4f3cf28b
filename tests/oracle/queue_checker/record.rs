//! The trace's queues, and who held and awaited their slots when.

use super::super::{Trace, Write, record::TaskRecord};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::api::{CircuitState, CurrentAttempt, QueueSlot, RetryableTask, RetryableTaskStatus, TaskQueue};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// Within how long the operator knows of a change that it did not make, if nothing delays it.
const NEWS: Duration = Duration::from_secs(5);
/// The same if watches hang, lag and are cut: a watch call lasts at most 290 s, and the one that follows starts with a list.
const LATE_NEWS: Duration = Duration::from_secs(300);

/// The queues of a run.
pub struct Queues<'a> {
    /// The run.
    pub trace: &'a Trace,
    /// Its tasks.
    pub tasks: &'a [TaskRecord],
    /// Each queue by its name, with all that had the name.
    pub all: Vec<QueueRecord>,
    /// Who held a slot, by start.
    pub holds: Vec<Hold<'a>>,
}

/// All queues of one name.
pub struct QueueRecord {
    /// Namespace and name, with a slash between.
    pub name: String,
    /// Their versions, and their deletions.
    pub versions: Vec<Version>,
}

/// A version of a queue.
pub struct Version {
    /// When it was stored.
    pub at: Duration,
    /// The process of the operator that wrote it, if one did.
    pub by: Option<u32>,
    /// The queue. None: it was deleted.
    pub queue: Option<TaskQueue>,
}

/// A slot that an attempt held: from the write that names its Pod to the write that says how it ended.
pub struct Hold<'a> {
    /// The task.
    pub task: &'a TaskRecord,
    /// Index of the version that has it first.
    pub version: usize,
    /// Namespace and name of the queue.
    pub queue: String,
    /// The attempt.
    pub attempt: i32,
    /// Whether it is not the first of its run.
    pub is_retry: bool,
    /// When it was stored, and when that was no longer.
    pub from: Duration,
    /// When it was no longer stored; `Duration::MAX` if it still was at the end.
    pub until: Duration,
    /// When the write was requested that stored it.
    pub called: Duration,
    /// The process that wrote it, if that is known.
    pub by: Option<u32>,
    /// As it was stored.
    pub slot: &'a QueueSlot,
}

impl<'a> Queues<'a> {
    /// The queues of this run.
    pub fn of(trace: &'a Trace, tasks: &'a [TaskRecord]) -> Self {
        let mut writes = Writes::new();
        for write in trace.writes.iter().filter(|write| write.changed) {
            writes.entry(write.done.unwrap_or_default()).or_default().push(write);
        }
        let mut all: Vec<QueueRecord> = vec![];
        for change in trace.changes.iter().filter(|change| change.object["kind"] == "TaskQueue") {
            let queue = TaskQueue::deserialize(&*change.object).expect("a queue that can be read");
            let metadata = &queue.metadata;
            let name =
                format!("{}/{}", metadata.namespace.as_deref().unwrap_or(""), metadata.name.as_deref().unwrap_or(""));
            let by = writer(&writes, "TaskQueue", &name, change.at).filter(|_| change.by_operator).map(|(by, _)| by);
            let index = all.iter().position(|record| record.name == name).unwrap_or_else(|| {
                all.push(QueueRecord { name, versions: vec![] });
                all.len() - 1
            });
            all[index].versions.push(Version { at: change.at, by, queue: (!change.deleted).then_some(queue) });
        }
        let mut holds: Vec<Hold> = tasks.iter().flat_map(|task| holds_of(&writes, task)).collect();
        holds.sort_by_key(|hold| hold.from);
        Self { trace, tasks, all, holds }
    }

    /// Who held a slot of this queue.
    pub fn holds_of<'b>(&'b self, queue: &'b QueueRecord) -> impl Iterator<Item = &'b Hold<'a>> {
        self.holds.iter().filter(|hold| hold.queue == queue.name)
    }

    /// How late the operator may know of a change that it did not make.
    pub fn news(&self) -> Duration {
        if self.trace.prompt { NEWS } else { LATE_NEWS }
    }

    /// When the process began to serve: it led, and listed.
    pub fn began(&self, process: u32) -> Duration {
        let leads = self.trace.leaders.iter().find(|(_, leader)| *leader == Some(process)).map(|(since, _)| *since);
        let started = usize::try_from(process).ok().and_then(|process| self.trace.processes.get(process)).copied();
        leads.or(started).unwrap_or_default()
    }

    /// Whether the process that wrote `by` must have known at `at` of what another (or the same) stored at `stored`.
    ///
    /// It knows what it wrote itself, and what was stored before it listed. A write of an earlier process that lands after that list is
    /// the residual that the design states: the watch shows it, [`news`](Self::news) later at the latest.
    pub fn knows(&self, by: Option<u32>, at: Duration, (writer, stored): (Option<u32>, Duration)) -> bool {
        let Some(by) = by else { return false };
        writer == Some(by) || stored < self.began(by) || stored + self.news() <= at
    }

    /// The date at this time of the run.
    pub fn date(&self, at: Duration) -> Timestamp {
        self.trace.start + SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX)
    }

    /// The time of the run at this date.
    pub fn age(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.trace.start)).unwrap_or_default()
    }

    /// When the task's current attempt is due, and when its Pod is to be created again.
    pub fn due(&self, task: &RetryableTask) -> impl Iterator<Item = Duration> {
        let current = task.status.as_ref().and_then(|status| status.current.as_ref());
        let dates =
            current.into_iter().flat_map(|current| [current.due_time.as_ref(), current.next_create_time.as_ref()]);
        dates.flatten().map(|date| self.age(date.0))
    }

    /// Whether the operator's clock always agreed with the cluster's.
    pub fn has_true_clock(&self) -> bool {
        self.trace.clock.is_empty()
    }
}

impl QueueRecord {
    /// The name by which this task can ask for it, if it is in the task's namespace.
    pub fn name_for(&self, task: &TaskRecord) -> Option<&str> {
        let namespace = task.name.split('/').next()?;
        self.name.strip_prefix(namespace)?.strip_prefix('/')
    }

    /// The queue at this time.
    pub fn at(&self, at: Duration) -> Option<&TaskQueue> {
        self.version_at(at).and_then(|index| self.versions[index].queue.as_ref())
    }

    /// The index of the version of this time.
    pub fn version_at(&self, at: Duration) -> Option<usize> {
        self.versions.partition_point(|version| version.at <= at).checked_sub(1)
    }

    /// What there was at some time between these two, both included. None: there was no queue.
    pub fn between(&self, from: Duration, until: Duration) -> impl Iterator<Item = Option<&TaskQueue>> {
        let first = self.version_at(from);
        let after = self.versions.partition_point(|version| version.at <= until);
        let before_all = first.is_none().then_some(None);
        before_all
            .into_iter()
            .chain(self.versions[first.unwrap_or(0)..after].iter().map(|version| version.queue.as_ref()))
    }

    /// The index of the version since which the circuit is in the state of the version `index`.
    pub fn state_since(&self, index: usize) -> usize {
        let same = |one: &Version, other: &Version| {
            state(one.queue.as_ref()) == state(other.queue.as_ref()) && uid(one) == uid(other)
        };
        let mut first = index;
        while first > 0 && same(&self.versions[first - 1], &self.versions[index]) {
            first -= 1;
        }
        first
    }

    /// Whether the spec was the same at all times between these two, as long as there was a queue. That it was created is no change: there is
    /// no other spec that the operator could have gone by.
    pub fn is_unchanged(&self, from: Duration, until: Duration) -> bool {
        let key =
            |queue: Option<&TaskQueue>| queue.map(|queue| (queue.metadata.uid.clone(), queue.metadata.generation));
        let created = self.versions.first().map_or(from, |version| version.at);
        let mut keys = self.between(from.max(created), until).map(key);
        let first = keys.next();
        keys.all(|key| Some(key) == first)
    }
}

/// The state of its circuit.
pub fn state(queue: Option<&TaskQueue>) -> CircuitState {
    let circuit = queue.and_then(|queue| queue.status.as_ref()?.circuit.as_ref());
    circuit.map_or(CircuitState::Closed, |circuit| circuit.state)
}

fn uid(version: &Version) -> Option<&str> {
    version.queue.as_ref()?.metadata.uid.as_deref()
}

/// The operator's writes that changed something, by when they were done.
type Writes<'a> = BTreeMap<Duration, Vec<&'a Write>>;

/// Who wrote this version of the object, and when the write was requested.
fn writer(writes: &Writes, kind: &'static str, object: &str, at: Duration) -> Option<(u32, Duration)> {
    let write = writes.get(&at)?.iter().find(|write| write.kind == kind && write.object == object)?;
    Some((write.by, write.called))
}

fn current(task: &RetryableTask) -> Option<&CurrentAttempt> {
    task.status.as_ref()?.current.as_ref()
}

fn holds_of<'a>(writes: &Writes, task: &'a TaskRecord) -> Vec<Hold<'a>> {
    let namespace = task.name.split('/').next().unwrap_or_default();
    let mut holds: Vec<Hold> = vec![];
    let mut is_held = false;
    for (version, (at, object)) in task.versions.iter().enumerate() {
        let current =
            current(object).filter(|_| object.status.as_ref().is_some_and(|status| status.completion_time.is_none()));
        let slot = current.and_then(|current| Some((current, current.queue.as_ref()?)));
        let is_same = |hold: &Hold| {
            slot.is_some_and(|(current, slot)| {
                hold.attempt == current.number && hold.slot.name == slot.name && hold.slot.grant_time == slot.grant_time
            })
        };
        let last = holds.last_mut().filter(|_| is_held);
        if last.as_ref().is_some_and(|hold| is_same(hold)) {
            continue;
        }
        if let Some(hold) = last {
            hold.until = *at;
        }
        is_held = slot.is_some();
        let Some((current, slot)) = slot else { continue };
        let (by, called) = writer(writes, "RetryableTask", &task.name, *at).unzip();
        let first = object.status.as_ref().and_then(|status| status.run).map_or(1, |run| run.first_attempt);
        holds.push(Hold {
            task,
            version,
            queue: format!("{namespace}/{}", slot.name),
            attempt: current.number,
            is_retry: current.number > first,
            from: *at,
            until: Duration::MAX,
            called: called.unwrap_or(*at),
            by,
            slot,
        });
    }
    if let (Some(deleted), Some(hold)) = (task.deleted_at.filter(|_| is_held), holds.last_mut()) {
        hold.until = deleted;
    }
    holds
}

/// An attempt that waits for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub attempt: i32,
    /// Whether it is not the first of its run.
    pub is_retry: bool,
    /// Since when.
    pub since: Timestamp,
}

/// The attempt of this version of the task that waits for a slot of its queue at this date.
///
/// It is due: its time has come, or that of the next try to create its Pod. Whoever is suspended, blocked, deleted or finished waits for
/// something else.
pub fn waiting(task: &RetryableTask, now: Timestamp) -> Option<Waiting> {
    task.spec.queue.as_ref()?;
    if task.spec.suspend || task.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let created = task.metadata.creation_timestamp.as_ref().map_or(now, |created| created.0);
    let none = RetryableTaskStatus::default();
    let status = task.status.as_ref().unwrap_or(&none);
    if status.completion_time.is_some() {
        return None;
    }
    let Some(current) = &status.current else {
        // Of a new task nothing is stored yet.
        let is_plain = status.run.is_none() && task.spec.after.is_none() && task.spec.start_at.is_none();
        return is_plain.then_some(Waiting { attempt: 1, is_retry: false, since: created });
    };
    if current.fallback || current.blocked_time.is_some() || current.queue.is_some() {
        return None;
    }
    let due = if current.pod_name.is_some() {
        Some(current.next_create_time.as_ref()?.0)
    } else {
        current.due_time.as_ref().map(|due| due.0)
    };
    if due.is_some_and(|due| due > now) {
        return None;
    }
    let queued = current.queued_time.as_ref().map(|queued| queued.0).filter(|_| current.pod_name.is_none());
    let first = status.run.map_or(1, |run| run.first_attempt);
    Some(Waiting {
        attempt: current.number,
        is_retry: current.number > first,
        since: queued.or(due).unwrap_or(created),
    })
}

/// The version of the task at this time, if it exists then.
pub fn task_at(task: &TaskRecord, at: Duration) -> Option<&RetryableTask> {
    if task.deleted_at.is_some_and(|deleted| deleted <= at) {
        return None;
    }
    let upto = task.versions.partition_point(|(since, _)| *since <= at);
    Some(&task.versions[..upto].last()?.1)
}

impl Queues<'_> {
    /// The attempt of the task that waits for a slot of this queue at this time.
    pub fn waits(&self, task: &TaskRecord, queue: &QueueRecord, at: Duration) -> Option<Waiting> {
        let object = task_at(task, at)?;
        let is_of = queue.name_for(task)? == object.spec.queue.as_ref()?.name;
        is_of.then(|| waiting(object, self.date(at))).flatten()
    }
}

/// Whether the task waits for a slot of its queue at the end.
pub fn is_queued(trace: &Trace, task: &TaskRecord) -> bool {
    let end = trace.start + SignedDuration::try_from(trace.end).unwrap_or(SignedDuration::MAX);
    waiting(task.last(), end).is_some()
}
