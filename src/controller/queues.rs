//! The queues of one controller: a ledger for each, fed by what is stored of the tasks.
//!
//! The ledgers are pure ([`Ledger`]); this shares them between reconciles, watches and [`work`], and wakes the tasks whose
//! attempts may start. Nothing is granted before tasks, Pods and queues are listed. Without the right to list queues, tasks
//! that name none are served all the same.

mod object;
mod report;
mod tasks;
mod work;

pub use object::QueueObject;
pub use work::{watch_queues, work};

use super::work_queue::{Priority, WorkQueue};
use super::{Clock, TaskKey};
use crate::api::{RetryableTask, TaskQueue};
use crate::core::queue::facts::TaskFacts;
use crate::core::queue::ledger::Ledger;
use crate::core::queue::line::Uid;
use crate::core::queue::view::{Admission, QueueDemand, QueueView, QueueWaitReason};
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tasks::{Known, Tasks};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Namespace and name of a queue.
pub type QueueKey = TaskKey;

/// The queues of one controller.
pub struct Queues {
    inner: Mutex<Inner>,
    work_queue: Arc<WorkQueue>,
    /// Wakes [`work`].
    changed: Notify,
    /// The wall clock when this process began, and the monotonic one: together a clock that does not jump.
    began: (Timestamp, Instant),
}

#[derive(Default)]
struct Inner {
    queues: BTreeMap<QueueKey, Queue>,
    tasks: Tasks,
    stage: Stage,
}

/// What has been listed.
enum Stage {
    /// Not all of it. What keeps the queues from being listed, if it is known.
    Listing { tasks: bool, pods: bool, queues: bool, trouble: Option<String> },
    /// All of it: attempts start.
    Serving,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Listing { tasks: false, pods: false, queues: false, trouble: None }
    }
}

/// A queue: what is known of its object, and its ledger.
struct Queue {
    ledger: Ledger,
    object: Option<Stored>,
    is_being_written: bool,
    /// When its status was last written by this process.
    written: Option<Instant>,
    /// No write before.
    write_after: Option<Instant>,
    failures: i32,
    /// When its metrics were last set.
    measured: Option<Instant>,
}

/// The newest version of the object that this process has seen.
struct Stored {
    object: Arc<TaskQueue>,
    version: u64,
}

impl Queue {
    fn new(key: &QueueKey, now: Timestamp) -> Self {
        let ledger = Ledger::new(key.name.as_str().into(), now);
        Self {
            ledger,
            object: None,
            is_being_written: false,
            written: None,
            write_after: None,
            failures: 0,
            measured: None,
        }
    }

    fn is_unused(&self) -> bool {
        self.object.is_none() && self.ledger.is_empty() && !self.is_being_written
    }
}

impl Queues {
    /// Nothing is known yet. Tasks that may start are added to `work_queue`.
    pub fn new(clock: &Clock, work_queue: Arc<WorkQueue>) -> Self {
        Self { inner: Mutex::default(), work_queue, changed: Notify::new(), began: (clock(), Instant::now()) }
    }

    /// The time of the queues. It does not jump within a process, so no circuit closes early.
    fn now(&self) -> Timestamp {
        let (at, began) = self.began;
        plus(at, SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the task's queue says to it: the queue whose slot its attempt holds, else the one that its spec names. None if it
    /// has nothing to do with a queue, or the queues are not listed yet.
    pub fn view(&self, key: &TaskKey, task: &RetryableTask) -> Option<QueueView> {
        let status = task.status.as_ref();
        let held = status.and_then(|status| status.current.as_ref()?.queue.as_ref()).map(|slot| &slot.name);
        let name = held.or(task.spec.queue.as_ref().map(|queue| &queue.name))?;
        let queue = QueueKey { namespace: key.namespace.clone(), name: name.clone() };
        let uid: Uid = task.metadata.uid.as_deref().unwrap_or_default().into();
        let now = self.now();
        let mut inner = self.lock();
        match &inner.stage {
            Stage::Serving => Some(inner.queue(&queue, now).ledger.view(&uid, now)),
            Stage::Listing { trouble: Some(trouble), .. } => Some(QueueView {
                admission: Admission::Waits {
                    reason: QueueWaitReason::Held,
                    message: format!("the operator cannot list TaskQueues: {trouble}"),
                    is_in_line: false,
                },
                failures: None,
                drain: false,
            }),
            Stage::Listing { trouble: None, .. } => None,
        }
    }

    /// The watch has shown the task, or this process has read or written it.
    pub fn observe(&self, namespace: &str, task: &RetryableTask) {
        let now = self.now();
        let Some(uid) = task.metadata.uid.as_deref() else { return };
        let facts = TaskFacts::of(task, now);
        let mut inner = self.lock();
        let changed = match facts {
            Some(facts) => inner.observe(namespace, &facts, now),
            None => inner.leave(uid),
        };
        self.start_what_may(inner, &changed, None, now);
    }

    /// The task has nothing to do with a queue.
    pub fn leave(&self, uid: Option<&str>) {
        let now = self.now();
        let mut inner = self.lock();
        let changed = inner.leave(uid.unwrap_or_default());
        self.start_what_may(inner, &changed, None, now);
    }

    /// The task is gone.
    pub fn remove(&self, uid: &str) {
        let mut inner = self.lock();
        let changed = inner.remove_task(uid);
        let now = self.now();
        self.start_what_may(inner, &changed, None, now);
    }

    /// A reconcile of the task has ended: it wants to start an attempt, or does not. True if it may start now: the reconcile
    /// goes on.
    pub fn demand(&self, key: &TaskKey, task: &RetryableTask, demand: Option<&QueueDemand>) -> bool {
        let now = self.now();
        let Some(facts) = TaskFacts::of(task, now) else { return false };
        let mut inner = self.lock();
        if !matches!(inner.stage, Stage::Serving) {
            return false;
        }
        let mut changed = inner.observe(&key.namespace, &facts, now);
        for queue in inner.tasks.queues_of(&facts.uid) {
            inner.queue(&queue, now).ledger.demand(&facts, demand, now);
            if !changed.contains(&queue) {
                changed.push(queue);
            }
        }
        self.start_what_may(inner, &changed, Some(key), now)
    }

    /// A reconcile of the task has failed.
    pub fn reconcile_failed(&self, uid: &str) {
        let (uid, now): (Uid, _) = (uid.into(), self.now());
        let mut inner = self.lock();
        let queues = inner.tasks.queues_of(&uid);
        for key in queues {
            if let Some(queue) = inner.queues.get_mut(&key) {
                queue.ledger.reconcile_failed(&uid, now);
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Lets attempts of those queues start, and wakes their tasks, but for `asking`: whether it may start is the answer.
    fn start_what_may(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        changed: &[QueueKey],
        asking: Option<&TaskKey>,
        now: Timestamp,
    ) -> bool {
        if !matches!(inner.stage, Stage::Serving) || changed.is_empty() {
            return false;
        }
        let mut woken = Vec::new();
        for key in changed {
            if let Some(queue) = inner.queues.get_mut(key) {
                let granted = queue.ledger.advance(now);
                woken.extend(granted.iter().map(|name| task_key(key, name)));
            }
            inner.drop_unused(key);
        }
        drop(inner);
        self.changed.notify_one();
        let mut may_start = false;
        for key in woken {
            if Some(&key) == asking {
                may_start = true;
            } else {
                self.work_queue.add(key, Priority::Due);
            }
        }
        may_start
    }

    /// What the queues need of the task; `None` if it has nothing to do with one.
    pub fn facts(&self, task: &RetryableTask) -> Option<TaskFacts> {
        TaskFacts::of(task, self.now())
    }

    /// All tasks are listed: these have to do with a queue, by namespace.
    pub fn tasks_listed(&self, tasks: impl Iterator<Item = (String, TaskFacts)>) {
        let now = self.now();
        let mut inner = self.lock();
        let known: HashMap<Uid, Known> =
            tasks.map(|(namespace, facts)| (facts.uid.clone(), Known { namespace, facts })).collect();
        let gone: Vec<_> = inner.tasks.uids().filter(|uid| !known.contains_key(uid)).collect();
        // What a reconcile has shown before the first list is complete may be newer than that list: the watch shows it next.
        let is_first = matches!(inner.stage, Stage::Listing { tasks: false, .. });
        let mut changed = Vec::new();
        for uid in &gone {
            changed.extend(if is_first { inner.leave(uid) } else { inner.remove_task(uid) });
        }
        for Known { namespace, facts } in known.into_values() {
            changed.extend(inner.observe(&namespace, &facts, now));
        }
        changed.sort();
        changed.dedup();
        self.start_what_may(inner, &changed, None, now);
        self.listed(|stage| {
            if let Stage::Listing { tasks, .. } = stage {
                *tasks = true;
            }
        });
    }

    /// All Pods are listed.
    pub fn pods_listed(&self) {
        self.listed(|stage| {
            if let Stage::Listing { pods, .. } = stage {
                *pods = true;
            }
        });
    }

    /// The queues cannot be listed.
    pub fn cannot_list(&self, error: String) {
        if let Stage::Listing { queues: false, trouble, .. } = &mut self.lock().stage {
            *trouble = Some(error);
        }
    }

    /// Serves the queues once all is listed.
    fn listed(&self, note: impl FnOnce(&mut Stage)) {
        let now = self.now();
        let mut inner = self.lock();
        note(&mut inner.stage);
        if !matches!(inner.stage, Stage::Listing { tasks: true, pods: true, queues: true, .. }) {
            return;
        }
        inner.stage = Stage::Serving;
        let due = inner.begin(now);
        drop(inner);
        for key in due {
            self.work_queue.add(key, Priority::Active);
        }
        self.changed.notify_one();
    }
}

impl Inner {
    fn queue(&mut self, key: &QueueKey, now: Timestamp) -> &mut Queue {
        self.queues.entry(key.clone()).or_insert_with(|| Queue::new(key, now))
    }

    fn drop_unused(&mut self, key: &QueueKey) {
        if self.queues.get(key).is_some_and(Queue::is_unused) {
            self.queues.remove(key);
        }
    }

    /// Feeds the ledgers. Answers which of them have changed.
    fn observe(&mut self, namespace: &str, facts: &TaskFacts, now: Timestamp) -> Vec<QueueKey> {
        let Some(queues) = self.tasks.update(namespace, facts) else { return Vec::new() };
        if matches!(self.stage, Stage::Serving) {
            for key in &queues {
                self.queue(key, now).ledger.observe(facts, false, now);
            }
            self.tasks.forget_end(&facts.uid);
        }
        queues
    }

    fn remove_task(&mut self, uid: &str) -> Vec<QueueKey> {
        let uid: Uid = uid.into();
        let queues = self.tasks.remove(&uid);
        self.remove_from(&uid, &queues);
        queues
    }

    /// The task has nothing to do with a queue any more.
    fn leave(&mut self, uid: &str) -> Vec<QueueKey> {
        let uid: Uid = uid.into();
        let queues = self.tasks.leave(&uid);
        self.remove_from(&uid, &queues);
        queues
    }

    fn remove_from(&mut self, uid: &Uid, queues: &[QueueKey]) {
        for key in queues {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.ledger.remove(uid);
            }
        }
    }

    /// All is listed. Answers the tasks that are due.
    fn begin(&mut self, now: Timestamp) -> Vec<TaskKey> {
        for (key, queue) in &mut self.queues {
            queue.ledger = Ledger::new(key.name.as_str().into(), now);
            queue.ledger.begin(now);
            if let Some(Stored { object, .. }) = &queue.object {
                queue.ledger.set_queue(object, now);
            }
        }
        let mut due = Vec::new();
        for Known { namespace, facts } in self.tasks.all() {
            for key in self.tasks.queues_of(&facts.uid) {
                let queue = self.queues.entry(key).or_insert_with_key(|key| {
                    let mut queue = Queue::new(key, now);
                    queue.ledger.begin(now);
                    queue
                });
                queue.ledger.observe(facts, true, now);
            }
            if facts.is_due {
                due.push(TaskKey { namespace: namespace.clone(), name: facts.name.to_string() });
            }
        }
        self.tasks.forget_ends();
        due
    }
}

fn task_key(queue: &QueueKey, name: &str) -> TaskKey {
    TaskKey { namespace: queue.namespace.clone(), name: name.to_owned() }
}

/// How long until then, by the queues' time.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(crate::core::time::until(now, at)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
