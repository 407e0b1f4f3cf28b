//! One controller over one scope: its watches, its loop, its reconciles.
//!
//! The loop is ours and not the Controller of kube-runtime: the lanes order what is to be looked at and let each task in
//! once, the timers say when, and what is left is to run what they let in. The Controller's own queue would be a second
//! one behind them, which wakes by the millisecond.

use super::reconcile::{Context, reconcile};
use super::work_queue::{Priority, WorkQueue};
use super::{CachedTask, Settings, TaskKey, orphaned_pods, report, timers, watch};
use crate::api::LABEL_TASK_UID;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube_runtime::reflector::{self, Store};
use kube_runtime::watcher::watcher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::{JoinError, JoinSet};

/// How often the loop tells the health probe that it turns.
const TICK: Duration = Duration::from_secs(5);
/// How long the last Events may take to be sent.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// A part of the controller ended by a defect of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the controller died")]
pub struct TaskExited;

/// Runs the controller of `namespace` (all namespaces if `None`) until `stop`, then lets the reconciles that are under
/// way finish.
///
/// # Errors
/// When a part of it died: its caches would never change again.
pub async fn run(
    settings: Settings,
    namespace: Option<String>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), TaskExited> {
    let (tasks, pods) = apis(&settings, namespace.as_deref());
    let (queue, queued) = mpsc::unbounded_channel();
    let (store, writer) = reflector::store();
    let (orphans, orphaned) = mpsc::unbounded_channel();
    let (reporter, sending_events) = report::reporter(&settings);
    let (timers, set) = timers::timers();
    let work_queue = Arc::new(WorkQueue::new(queue, settings.concurrency));
    let context = Arc::new(Context::new(settings, orphans, timers, work_queue.clone(), reporter));
    let health = HealthOf { context: context.clone(), namespace };
    health.begin();

    // Aborted when this future is dropped.
    let mut events = JoinSet::new();
    events.spawn(sending_events);
    let mut background = JoinSet::new();
    background.spawn(orphaned_pods::work(context.clone(), orphaned));
    let task_store = watch::Tasks::new(writer, work_queue.clone());
    let tasks_synced = task_store.synced();
    background.spawn(watch_tasks(context.clone(), tasks, task_store));
    background.spawn(watch_pods(context.clone(), pods));
    background.spawn(timers::work(set, work_queue));

    // Without its Pods no task can be decided.
    let pods_seen = context.clone();
    let filled = async move {
        tasks_synced.await;
        pods_seen.pod_cache.synced().await;
    };
    let result = Loop { context, store, queued }.run(&health, (filled, stop), &mut background).await;
    health.end();
    background.shutdown().await;
    // With nobody left who could tell more, the Events that wait are sent, and that is all.
    drop(health);
    let _ = tokio::time::timeout(LAST_EVENTS, events.join_next()).await;
    result
}

/// What reconciles run from.
struct Loop {
    context: Arc<Context>,
    store: Store<CachedTask>,
    /// What the lanes let in.
    queued: UnboundedReceiver<TaskKey>,
}

impl Loop {
    /// Reconciles whatever is let in, once the caches are `filled` and until `stop`; then what is under way ends.
    async fn run(
        mut self,
        health: &HealthOf,
        (filled, stop): (impl Future<Output = ()>, impl Future<Output = ()>),
        background: &mut JoinSet<()>,
    ) -> Result<(), TaskExited> {
        let (mut filled, mut stop) = (std::pin::pin!(filled), std::pin::pin!(stop));
        let (mut is_filled, mut is_stopping) = (false, false);
        let mut reconciles = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        while !is_stopping || !reconciles.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = background.join_next() => return Err(task_exited(ended.err())),
                _ = tick.tick() => health.turned(),
                () = &mut stop, if !is_stopping => is_stopping = true,
                () = &mut filled, if !is_filled => {
                    is_filled = true;
                    health.synced();
                }
                Some(ended) = reconciles.join_next() => match ended {
                    Ok(key) => self.context.work_queue.done(&key),
                    Err(error) => return Err(task_exited(Some(error))),
                },
                Some(key) = self.queued.recv(), if is_filled && !is_stopping => {
                    reconciles.spawn(look_at(key, self.store.clone(), self.context.clone()));
                }
            }
        }
        Ok(())
    }
}

/// None of the parts ends while the loop turns.
fn task_exited(error: Option<JoinError>) -> TaskExited {
    let error = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
    tracing::error!(error, "a part of the controller died; ending, so that a new process starts with all of them");
    TaskExited
}

/// Reconciles the task, and answers which it was. One that the lanes name and the store has not is gone: what is left of
/// it must be freed.
async fn look_at(key: TaskKey, store: Store<CachedTask>, context: Arc<Context>) -> TaskKey {
    if let Some(task) = store.get(&key.reference()) {
        // What went wrong is told there.
        let _ = reconcile(&task, &context).await;
    } else {
        context.process_states.forget(&key);
        context.timers.forget(&key);
        context.orphaned(key.clone());
    }
    key
}

fn apis(settings: &Settings, namespace: Option<&str>) -> (Api<CachedTask>, Api<Pod>) {
    let client = settings.client.clone();
    match namespace {
        None => (Api::all(client.clone()), Api::all(client)),
        Some(namespace) => (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace)),
    }
}

async fn watch_tasks(context: Arc<Context>, api: Api<CachedTask>, mut tasks: watch::Tasks) {
    let telemetry = context.settings.telemetry.clone();
    watch::follow("retryabletasks", telemetry, watcher(api, watch::config()), |event| tasks.apply(&event)).await;
}

async fn watch_pods(context: Arc<Context>, api: Api<Pod>) {
    let telemetry = context.settings.telemetry.clone();
    let ours = watch::config().labels(LABEL_TASK_UID);
    watch::follow("pods", telemetry, watcher(api, ours), |event| {
        for key in context.pod_cache.apply(&event, (context.settings.clock)()) {
            context.work_queue.add(key, Priority::Active);
        }
    })
    .await;
}

/// The watches of one scope, as the health probe knows them.
struct HealthOf {
    context: Arc<Context>,
    namespace: Option<String>,
}

impl HealthOf {
    const RESOURCES: [&str; 2] = ["retryabletasks", "pods"];

    fn begin(&self) {
        self.context.settings.telemetry.health.begun(self.namespace.as_deref());
        for resource in Self::RESOURCES {
            self.context.settings.telemetry.health.watching(self.namespace.as_deref(), resource);
        }
    }

    fn synced(&self) {
        self.context.settings.telemetry.health.synced(self.namespace.as_deref());
        tracing::info!("the caches are synced");
    }

    fn turned(&self) {
        self.context.settings.telemetry.health.turned(self.namespace.as_deref());
    }

    fn end(&self) {
        for resource in Self::RESOURCES {
            self.context.settings.telemetry.health.stopped_watching(self.namespace.as_deref(), resource);
        }
    }
}
