//! Which task is dispatched next, and how many reconciles run at a time.
//!
//! Within a priority the first task that was added is dispatched first. Due tasks have a limit of their own, in
//! addition to that of the others and four times as large: a due retry never waits behind another priority. The other
//! priorities share the concurrency fairly, so that no burst in one starves another.
//!
//! Cleanup gets a small share even while nothing else waits. To delete and release a Pod takes two requests, as many as
//! a retry, and cleanups that run take the API server's time from a retry that becomes due. Only a large backlog of
//! cleanups gets a full share, before finished Pods fill the cluster.

use super::Priority;
use crate::controller::TaskKey;
use crate::telemetry::metrics::{Metrics, QueueMetrics};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Due tasks that are reconciled at a time, as a multiple of the concurrency.
pub const DUE_CONCURRENCY_FACTOR: u16 = 4;
/// Cleanup gets this fraction of the concurrency, at least one.
const CLEANUP_DIVISOR: usize = 8;
/// With more than this number of cleanups waiting, as a multiple of the concurrency, cleanup gets a full share.
const CLEANUP_BACKLOG_FACTOR: usize = 64;

/// The tasks that wait for a reconcile, and those whose reconcile runs.
#[derive(Debug)]
pub struct Dispatcher {
    /// Due tasks that may run at a time.
    due_limit: usize,
    /// All others that may run at a time.
    limit: usize,
    /// Those of them that may be cleanups, unless the backlog is large.
    cleanup_limit: usize,
    tasks: HashMap<TaskKey, State>,
    levels: [Level; Priority::ALL.len()],
    dispatched: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting(Waiting),
    /// Dispatched with this priority; `again` if the task was added since.
    Running {
        priority: Priority,
        again: Option<Waiting>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    priority: Priority,
    since: Instant,
}

/// The tasks of one priority.
#[derive(Debug)]
struct Level {
    /// In the order in which they were added. Also has keys that got another priority since: they are skipped.
    keys: VecDeque<TaskKey>,
    waiting: u32,
    running: usize,
    /// Which dispatch of all was the last with this priority.
    last: u64,
    metrics: QueueMetrics,
}

impl Dispatcher {
    /// Dispatches up to `concurrency` tasks at a time that are not due.
    pub fn new(concurrency: u16, metrics: &Metrics) -> Self {
        let limit = usize::from(concurrency.max(1));
        Self {
            due_limit: limit * usize::from(DUE_CONCURRENCY_FACTOR),
            limit,
            cleanup_limit: (limit / CLEANUP_DIVISOR).max(1),
            tasks: HashMap::new(),
            levels: Priority::ALL.map(|priority| Level {
                keys: VecDeque::new(),
                waiting: 0,
                running: 0,
                last: 0,
                metrics: metrics.work_queue(priority.as_str()),
            }),
            dispatched: 0,
        }
    }

    /// Adds a task, or raises the priority of one that waits. One that runs waits again once it is done.
    pub fn add(&mut self, key: TaskKey, priority: Priority) {
        let now = Instant::now();
        match self.tasks.get_mut(&key) {
            None => self.wait(key, Waiting { priority, since: now }),
            Some(State::Waiting(waiting)) => {
                let Waiting { priority: earlier, since } = *waiting;
                if priority < earlier {
                    self.level(earlier).leave();
                    self.wait(key, Waiting { priority, since });
                }
            }
            Some(State::Running { again, .. }) => {
                let Waiting { priority: earlier, since } = again.unwrap_or(Waiting { priority, since: now });
                *again = Some(Waiting { priority: priority.min(earlier), since });
            }
        }
    }

    /// The reconcile of a task that was dispatched has ended.
    pub fn done(&mut self, key: &TaskKey) {
        let Some(State::Running { priority, again }) = self.tasks.get(key).copied() else { return };
        self.level(priority).running -= 1;
        match again {
            None => {
                self.tasks.remove(key);
            }
            Some(waiting) => self.wait(key.clone(), waiting),
        }
    }

    /// Records how long a reconcile took.
    pub fn reconciled(&mut self, priority: Priority, took: Duration) {
        self.level(priority).metrics.reconciled(took);
    }

    /// Dispatches the next task: the first that is due; else the first of the priority that runs the fewest tasks, and
    /// among equals, of the one that was dispatched least recently.
    pub fn next(&mut self) -> Option<(TaskKey, Priority)> {
        let [due, active, new, cleanup] = &self.levels;
        let may_run_due = due.running < self.due_limit;
        let may_run_others = active.running + new.running + cleanup.running < self.limit;
        let has_backlog = cleanup.waiting as usize > self.limit * CLEANUP_BACKLOG_FACTOR;
        let may_run_cleanup = has_backlog || cleanup.running < self.cleanup_limit;
        let mut others = [Priority::Active, Priority::New, Priority::Cleanup];
        others.sort_by_key(|priority| (self.levels[*priority as usize].running, self.levels[*priority as usize].last));
        let others = others.into_iter().filter(|priority| *priority != Priority::Cleanup || may_run_cleanup);
        let due = may_run_due.then_some(Priority::Due);
        due.into_iter().chain(others.filter(|_| may_run_others)).find_map(|priority| self.dispatch_first(priority))
    }

    /// Whether little urgent work waits or runs: at most as many tasks of the other priorities as cleanups may run. With
    /// more, the API server is the bottleneck, even if this queue is empty.
    pub fn has_little_urgent_work(&self) -> bool {
        let [due, active, new, _] = &self.levels;
        let urgent: usize = [due, active, new].iter().map(|level| level.running + level.waiting as usize).sum();
        urgent <= self.cleanup_limit
    }

    fn wait(&mut self, key: TaskKey, waiting: Waiting) {
        self.tasks.insert(key.clone(), State::Waiting(waiting));
        self.level(waiting.priority).enter(key);
    }

    fn dispatch_first(&mut self, priority: Priority) -> Option<(TaskKey, Priority)> {
        loop {
            let key = self.level(priority).keys.pop_front()?;
            if let Some(State::Waiting(waiting)) = self.tasks.get(&key)
                && waiting.priority == priority
            {
                let since = waiting.since;
                self.tasks.insert(key.clone(), State::Running { priority, again: None });
                self.dispatched += 1;
                let dispatched = self.dispatched;
                let level = self.level(priority);
                level.leave();
                level.metrics.dispatched(since.elapsed());
                level.running += 1;
                level.last = dispatched;
                return Some((key, priority));
            }
        }
    }

    fn level(&mut self, priority: Priority) -> &mut Level {
        &mut self.levels[priority as usize]
    }
}

impl Level {
    fn enter(&mut self, key: TaskKey) {
        self.keys.push_back(key);
        self.waiting += 1;
        self.metrics.depth_changed(1);
    }

    fn leave(&mut self) {
        self.waiting -= 1;
        self.metrics.depth_changed(-1);
    }
}

impl Drop for Level {
    /// The process goes on with other queues, or with the next one of the same scope.
    fn drop(&mut self) {
        self.metrics.depth_changed(-i64::from(self.waiting));
    }
}
