//! One controller of one scope: its watches, its loop, its reconciles.
//!
//! The loop is ours, not the Controller of kube-runtime: the work queue chooses what runs, and the loop runs it. The
//! Controller has a queue of its own, which would be a second one behind ours and wakes by the millisecond.

use super::context::Context;
use super::dependents::Dependents;
use super::queues::{QueueObject, watch_queues};
use super::reconcile::reconcile;
use super::task_cache::{Cached, FinishedTask, KnownTask};
use super::work_queue::{Priority, WorkQueue};
use super::{CachedTask, Settings, TaskKey, finished_tasks, orphaned_pods, queues, report, watch};
use crate::api::LABEL_TASK_UID;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube_runtime::watcher::watcher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

/// How often the loop reports to the health probe that it turns.
const TICK: Duration = Duration::from_secs(5);
/// Time for sending the last Events.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// A part of the controller ended, which is a defect of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the controller ended")]
pub struct TaskExited;

/// Runs the controller of `namespace` (all namespaces if `None`) until `stop`, then waits for the running reconciles. It
/// fills `dependents`, which must be empty.
///
/// # Errors
/// When a part of it ended: without its watches the caches would never change again.
pub async fn run(
    settings: Settings,
    namespace: Option<String>,
    dependents: Arc<Dependents>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), TaskExited> {
    let (tasks, pods, task_queues) = apis(&settings, namespace.as_deref());
    let (orphans, orphaned) = mpsc::unbounded_channel();
    let (reporter, sending_events) = report::reporter(&settings);
    let work_queue = Arc::new(WorkQueue::new(settings.concurrency, &settings.telemetry.metrics));
    let context = Arc::new(Context::new(settings, dependents, orphans, work_queue, reporter));
    let health = HealthOf { context: context.clone(), namespace };
    health.begin();

    // Aborted when this future is dropped.
    let mut events = JoinSet::new();
    events.spawn(sending_events);
    let mut background = JoinSet::new();
    background.spawn(orphaned_pods::work(context.clone(), orphaned));
    background.spawn(finished_tasks::expire(context.clone()));
    let watched = watch::Tasks::new(context.clone(), health.namespace.clone());
    let tasks_ready = watched.ready();
    background.spawn(watch::tasks(context.clone(), tasks, watched));
    background.spawn(watch_pods(context.clone(), pods));
    background.spawn(watch_queues(context.clone(), task_queues, health.namespace.clone()));
    background.spawn(queues::work(context.clone()));

    // A decision needs the task's Pods.
    let pods_seen = context.clone();
    let filled = async move {
        tasks_ready.await;
        pods_seen.pod_cache.synced().await;
        pods_seen.queues.pods_listed();
    };
    let result = Loop { context }.run(&health, (filled, stop), &mut background).await;
    health.end();
    background.shutdown().await;
    // No sender is left, so this ends once the waiting Events are sent.
    drop(health);
    let _ = tokio::time::timeout(LAST_EVENTS, events.join_next()).await;
    result
}

/// What the loop starts reconciles from.
struct Loop {
    context: Arc<Context>,
}

impl Loop {
    /// Reconciles what the work queue dispatches, from when the caches are `filled` until `stop`. Then waits for the
    /// running reconciles.
    async fn run(
        self,
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
                (key, priority) = self.context.work_queue.next(), if is_filled && !is_stopping => {
                    reconciles.spawn(reconcile_key(key, priority, self.context.clone()));
                }
            }
        }
        Ok(())
    }
}

/// No part ends while the loop turns.
fn task_exited(error: Option<JoinError>) -> TaskExited {
    let error = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
    tracing::error!(error, "a part of the controller ended; exiting, so that a new process starts with all parts");
    TaskExited
}

/// Reconciles the task and returns its key. A task that is not in the cache is deleted: its Pods must not keep the
/// finalizer.
async fn reconcile_key(key: TaskKey, priority: Priority, context: Arc<Context>) -> TaskKey {
    match context.task_cache.get(&key) {
        Cached::NotListed => {}
        Cached::Known(KnownTask::AtRest(FinishedTask { uid: _, expires }))
            if finished_tasks::goes_on_resting(&context, &key, expires) => {}
        Cached::Known(task) => {
            // It logs and counts its errors.
            let _ = reconcile(&key, &task, priority, &context).await;
        }
        Cached::Absent => {
            context.process_states.forget(&key);
            context.work_queue.forget(&key);
            context.add_orphans(key.clone());
        }
    }
    key
}

fn apis(settings: &Settings, namespace: Option<&str>) -> (Api<CachedTask>, Api<Pod>, Api<QueueObject>) {
    let client = settings.client.clone();
    match namespace {
        None => (Api::all(client.clone()), Api::all(client.clone()), Api::all(client)),
        Some(namespace) => (
            Api::namespaced(client.clone(), namespace),
            Api::namespaced(client.clone(), namespace),
            Api::namespaced(client, namespace),
        ),
    }
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

/// What the health probe knows of one scope.
struct HealthOf {
    context: Arc<Context>,
    namespace: Option<String>,
}

impl HealthOf {
    const RESOURCES: [&str; 2] = ["retryabletasks", "pods"];
    /// Watched only where the operator may list it.
    const TASK_QUEUES: &str = "taskqueues";

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
        for resource in Self::RESOURCES.into_iter().chain([Self::TASK_QUEUES]) {
            self.context.settings.telemetry.health.stopped_watching(self.namespace.as_deref(), resource);
        }
    }
}
