//! Watch streams that never end. Each has a back-off of its own, so one that fails delays no other.

use super::context::Context;
use super::work_queue::Priority;
use super::{CachedTask, TaskKey};
use crate::api::RetryableTask;
use crate::telemetry::Telemetry;
use crate::telemetry::memory::ListInProgress;
use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube_runtime::watcher::{self, DefaultBackoff, Event};
use kube_runtime::{WatchStreamExt, reflector::store::Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::SetOnce;

/// How long a watch call lasts at most, in seconds; also what a silent connection costs before it is noticed.
pub const WATCH_SECONDS: u32 = 290;

/// Objects in one answer of a list. An answer is in memory as text and as values at once: with the usual 500 objects, an
/// operator with 10,000 tasks starts with 30 MB more, and no sooner.
const PAGE: u32 = 200;

/// The settings of a watch.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

/// Passes the events of `stream` to `apply`, for ever. Errors are logged and counted.
pub async fn follow<K: Debug + Send + 'static>(
    kind: &'static str,
    telemetry: Arc<Telemetry>,
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    mut apply: impl FnMut(Event<K>) + Send,
) {
    let mut stream = std::pin::pin!(stream.backoff(DefaultBackoff::default()));
    let mut list = ListInProgress::new(telemetry.memory.clone());
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                match event {
                    Event::Init => list.set(true),
                    Event::InitDone => list.set(false),
                    Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
                }
                apply(event);
            }
            Err(error) => {
                list.set(false);
                telemetry.metrics.reconcile_failed("watch");
                tracing::warn!(kind, %error, "the watch failed; starting it again");
            }
        }
    }
}

/// Keeps the task store, and adds the tasks of each event to the work queue. The tasks of a list are added once the store
/// has all of them.
pub struct Tasks {
    writer: Writer<CachedTask>,
    context: Arc<Context>,
    known: BTreeSet<TaskKey>,
    listed: BTreeMap<TaskKey, Priority>,
    /// Those of a list that have to do with a queue.
    queued: Vec<(String, RetryableTask)>,
    synced: Arc<SetOnce<()>>,
}

impl Tasks {
    /// Writes to `writer`, adds to the context's work queue.
    pub fn new(writer: Writer<CachedTask>, context: Arc<Context>) -> Self {
        let synced = Arc::new(SetOnce::new());
        Self { writer, context, known: BTreeSet::new(), listed: BTreeMap::new(), queued: Vec::new(), synced }
    }

    /// Resolves when the first list is complete.
    pub fn synced(&self) -> impl Future<Output = ()> + Send + 'static {
        let synced = self.synced.clone();
        async move {
            synced.wait().await;
        }
    }

    /// How many tasks it holds. While a list is being read, the old and the new ones are there at once.
    pub fn count(&self) -> usize {
        self.known.len() + self.listed.len()
    }

    /// Applies a watch event.
    pub fn apply(&mut self, event: &Event<CachedTask>) {
        self.writer.apply_watcher_event(event);
        match event {
            Event::Init => {
                self.listed.clear();
                self.queued.clear();
            }
            Event::InitApply(task) => {
                self.listed.insert(key(task), priority(task));
                self.queued.extend(queued(task).map(|queued| (key(task).namespace, queued)));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.context.queues.tasks_listed(std::mem::take(&mut self.queued).into_iter());
                for deleted in self.known.iter().filter(|key| !listed.contains_key(key)) {
                    self.context.work_queue.add(deleted.clone(), Priority::Active);
                }
                for (key, priority) in &listed {
                    self.context.work_queue.add(key.clone(), *priority);
                }
                self.known = listed.into_keys().collect();
                // Each later list fails here, which is fine.
                let _ = self.synced.set(());
            }
            Event::Apply(task) => {
                self.known.insert(key(task));
                match queued(task) {
                    Some(task_of_queue) => self.context.queues.observe(&key(task).namespace, &task_of_queue),
                    None => self.context.queues.leave(task.uid().as_deref()),
                }
                self.context.work_queue.add(key(task), priority(task));
            }
            Event::Delete(task) => {
                self.known.remove(&key(task));
                self.context.queues.remove(task.uid().as_deref().unwrap_or_default());
                self.context.work_queue.add(key(task), Priority::Active);
            }
        }
    }
}

/// The task, if it has to do with a queue and can be read.
fn queued(task: &CachedTask) -> Option<RetryableTask> {
    task.has_queue().then(|| task.task().ok()).flatten()
}

fn key(task: &CachedTask) -> TaskKey {
    TaskKey { namespace: task.namespace().unwrap_or_default(), name: task.name_any() }
}

fn priority(task: &CachedTask) -> Priority {
    if task.is_new() { Priority::New } else { Priority::Active }
}
