//! What the reconciles of one controller share.

use super::dependents::Dependents;
use super::pod_cache::PodCache;
use super::process_state::ProcessStates;
use super::queues::Queues;
use super::report::Reporter;
use super::task_cache::TaskCache;
use super::work_queue::WorkQueue;
use super::{Settings, TaskKey};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// What the reconciles of one controller share.
pub struct Context {
    /// What the controller was started with.
    pub settings: Settings,
    /// The tasks that the watch has shown.
    pub task_cache: TaskCache,
    /// The Pods that the watch has shown.
    pub pod_cache: PodCache,
    /// Which tasks wait for which others.
    pub dependents: Arc<Dependents>,
    /// What this process knows of each task beyond what is stored.
    pub process_states: ProcessStates,
    /// The TaskQueues of the tasks.
    pub queues: Queues,
    /// The tasks that are reconciled next.
    pub work_queue: Arc<WorkQueue>,
    /// Where log lines, metrics and Events of a stored status go.
    pub reporter: Reporter,
    /// Whether the log says already that Events cannot be read.
    pub events_are_unreadable: AtomicBool,
    /// The queue of `orphaned_pods`.
    orphans: UnboundedSender<TaskKey>,
    /// The keys in that queue.
    queued_orphans: Mutex<HashSet<TaskKey>>,
}

impl Context {
    /// Empty caches. `dependents` are those of the scope's tasks.
    pub fn new(
        settings: Settings,
        dependents: Arc<Dependents>,
        orphans: UnboundedSender<TaskKey>,
        work_queue: Arc<WorkQueue>,
        reporter: Reporter,
    ) -> Self {
        Self {
            queues: Queues::new(&settings.clock, work_queue.clone()),
            task_cache: TaskCache::new(settings.telemetry.metrics.task_counts().clone()),
            settings,
            pod_cache: PodCache::default(),
            dependents,
            process_states: ProcessStates::default(),
            work_queue,
            reporter,
            events_are_unreadable: AtomicBool::new(false),
            orphans,
            queued_orphans: Mutex::default(),
        }
    }

    /// Adds a task to the queue of `orphaned_pods`, once: Pods may carry the finalizer without their task.
    pub fn add_orphans(&self, key: TaskKey) {
        if self.queued_orphans.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            // A closed channel means that the controller ends.
            let _ = self.orphans.send(key);
        }
    }

    /// A task has left the queue of `orphaned_pods`, and may be added again.
    pub fn orphans_done(&self, key: &TaskKey) {
        self.queued_orphans.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        (self.settings.clock)()
    }

    /// Whether Pods of the namespace get the finalizer.
    pub fn holds_pods_in(&self, namespace: &str) -> bool {
        self.settings.own_namespace.as_deref() != Some(namespace)
    }
}
