//! Watch streams that never end. Each has a back-off of its own, so one that fails delays no other.

use super::context::Context;
use super::work_queue::Priority;
use super::{CachedTask, TaskKey, finished_tasks};
use crate::api::RetryableTask;
use crate::core::queue::facts::TaskFacts;
use crate::telemetry::Telemetry;
use crate::telemetry::memory::{ListInProgress, Memory};
use futures::{FutureExt, Stream, StreamExt};
use kube::{Api, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, DefaultBackoff, Event, watcher};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
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
        // A page of a list comes at once. Others run in between.
        tokio::task::consume_budget().await;
        match event {
            Ok(event) => {
                match event {
                    Event::Init => list.set(true),
                    Event::InitDone => list.set(false),
                    Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => list.progress(),
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

/// Which tasks are listed first. Only these are waited for before the first reconcile: of the others nothing is due.
const UNFINISHED: &str = "status.state!=Succeeded,status.state!=Failed,status.state!=Cancelled";
/// How long the list of all tasks waits for the list of the unfinished ones, and for that of the Pods.
const HEAD_START: Duration = Duration::from_secs(10);
/// A list of all tasks that takes no longer needs no watch of the unfinished ones beside it.
const SHORT_LIST: Duration = Duration::from_secs(2);

/// Watches the tasks of `api`, for ever.
///
/// While the first list of all tasks is read, which may take long, the unfinished ones are listed and watched by
/// themselves. That needs a field of the definition that can be selected; without it nothing is due before all are listed.
pub async fn tasks(context: Arc<Context>, api: Api<CachedTask>, tasks: Tasks) {
    let telemetry = &context.settings.telemetry;
    let unfinished = async {
        let stream = watcher(api.clone(), config().fields(UNFINISHED));
        tokio::select! {
            () = follow_unfinished(&tasks, &telemetry.memory, stream) => {}
            () = tasks.complete.wait().map(|&()| ()) => {}
        }
        let _ = tasks.is_head_start_over.set(());
    };
    let all = async {
        let head_start = async {
            tasks.is_head_start_over.wait().await;
            context.pod_cache.synced().await;
        };
        let _ = tokio::time::timeout(HEAD_START, head_start).await;
        follow("retryabletasks", telemetry.clone(), watcher(api.clone(), config()), |event| tasks.apply(event)).await;
    };
    tokio::join!(unfinished, all);
}

/// Until the first error: the list of all tasks comes anyway.
async fn follow_unfinished(
    tasks: &Tasks,
    memory: &Arc<Memory>,
    stream: impl Stream<Item = Result<Event<CachedTask>, watcher::Error>> + Send,
) {
    let mut stream = std::pin::pin!(stream);
    let mut list = ListInProgress::new(memory.clone());
    list.set(true);
    while let Some(event) = stream.next().await {
        tokio::task::consume_budget().await;
        match event {
            Ok(event) => {
                let is_listed = matches!(event, Event::InitDone);
                tasks.apply_unfinished(event);
                list.progress();
                if is_listed {
                    list.set(false);
                    tokio::time::sleep(SHORT_LIST).await;
                }
            }
            Err(error) => return tracing::info!(%error, "cannot list the unfinished tasks first; listing all"),
        }
    }
}

/// Keeps the task cache, and adds the tasks of each event to the work queue.
pub struct Tasks {
    context: Arc<Context>,
    namespace: Option<String>,
    /// Those of a list that have to do with a queue, by namespace.
    queued: Mutex<Vec<(String, TaskFacts)>>,
    /// All unfinished tasks are known.
    ready: Arc<SetOnce<()>>,
    /// All tasks are known.
    complete: SetOnce<()>,
    /// The list of all tasks may begin.
    is_head_start_over: SetOnce<()>,
}

impl Tasks {
    /// Writes to the context's caches, adds to its work queue. `namespace` is that of the watch; `None` for all.
    pub fn new(context: Arc<Context>, namespace: Option<String>) -> Self {
        let (complete, is_head_start_over) = (SetOnce::new(), SetOnce::new());
        Self {
            context,
            namespace,
            queued: Mutex::default(),
            ready: Arc::new(SetOnce::new()),
            complete,
            is_head_start_over,
        }
    }

    /// Resolves when all unfinished tasks are known.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let ready = self.ready.clone();
        async move {
            ready.wait().await;
        }
    }

    /// Applies an event of the unfinished tasks, which come before all are listed.
    fn apply_unfinished(&self, event: Event<CachedTask>) {
        match event {
            Event::Init => {}
            Event::InitApply(task) | Event::Apply(task) => {
                let (key, priority) = (task.key(), priority(&task));
                let wake = self.context.dependents.see(&task);
                if self.context.task_cache.show_unfinished(task) {
                    self.context.work_queue.add(key, priority);
                    self.wake(wake);
                }
            }
            Event::Delete(task) => {
                let key = task.key();
                self.wake(self.context.dependents.of(&key));
                if self.context.task_cache.doubt_unfinished(&key, task.version()) {
                    self.context.work_queue.add(key, Priority::Active);
                }
            }
            Event::InitDone => {
                self.context.dependents.listed();
                let _ = self.ready.set(());
                let _ = self.is_head_start_over.set(());
            }
        }
        self.record_count();
    }

    /// Applies a watch event.
    pub fn apply(&self, event: Event<CachedTask>) {
        let wake = self.context.dependents.apply(&event);
        self.apply_to_caches(event);
        self.wake(wake);
    }

    fn wake(&self, dependents: Vec<TaskKey>) {
        for key in dependents {
            self.context.work_queue.add(key, Priority::Active);
        }
    }

    fn apply_to_caches(&self, event: Event<CachedTask>) {
        match event {
            Event::Init => {
                self.context.task_cache.begin_list();
                self.queued().clear();
            }
            Event::InitApply(task) => {
                let facts = queued(&task).and_then(|task| self.context.queues.facts(&task));
                self.queued().extend(facts.map(|facts| (task.key().namespace, facts)));
                self.show(task);
            }
            Event::Apply(task) => {
                match queued(&task) {
                    Some(queued) => self.context.queues.observe(&task.key().namespace, &queued),
                    None => self.context.queues.leave(task.uid().as_deref()),
                }
                self.show(task);
            }
            Event::InitDone => {
                let queued = std::mem::take(&mut *self.queued());
                self.context.queues.tasks_listed(queued.into_iter());
                for key in self.context.task_cache.end_list() {
                    self.context.work_queue.add(key, Priority::Active);
                }
                self.context.dependents.listed();
                // Each later list fails here, which is fine.
                let _ = self.ready.set(());
                let _ = self.complete.set(());
            }
            Event::Delete(task) => {
                let key = task.key();
                self.context.task_cache.remove(&key, task.version());
                self.context.queues.remove(task.uid().as_deref().unwrap_or_default());
                self.context.work_queue.add(key, Priority::Active);
            }
        }
        self.record_count();
    }

    fn record_count(&self) {
        let memory = &self.context.settings.telemetry.memory;
        memory.holds("retryabletasks", self.namespace.as_deref(), self.context.task_cache.count());
    }

    fn queued(&self) -> MutexGuard<'_, Vec<(String, TaskFacts)>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, task: CachedTask) {
        let key = task.key();
        if self.context.task_cache.still_rests(&key, task.version()) {
            return;
        }
        let at_rest = finished_tasks::rests(&self.context, &key, &task);
        let priority = priority(&task);
        self.context.task_cache.show(task, at_rest);
        if at_rest.is_none() {
            self.context.work_queue.add(key, priority);
        }
    }
}

fn priority(task: &CachedTask) -> Priority {
    if task.is_new() { Priority::New } else { Priority::Active }
}

/// The task, if it has to do with a queue and can be read.
fn queued(task: &CachedTask) -> Option<RetryableTask> {
    task.has_queue().then(|| task.task().ok()).flatten()
}
