//! One controller over one scope: its watches, its work queue, its reconciles.

use super::lanes::{Lanes, Line};
use super::reconcile::{Context, reconcile, when_failed};
use super::{Error, Kept, Settings, TaskKey, orphans, tell, timers, watch};
use crate::api::LABEL_TASK_UID;
use futures::{StreamExt, future, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube_runtime::controller::{Action, Config, Controller};
use kube_runtime::reflector::{self, ObjectRef};
use kube_runtime::watcher::{self, watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often the loop is looked after even if nothing wakes it. A lost wake-up in the Controller of kube-runtime 5.0.0
/// (an item and an error of a watch in the same poll) would otherwise hang it for good.
const TICK: Duration = Duration::from_secs(5);
/// How long the last Events may take to be sent.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// A part of the controller ended by a defect of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the controller died")]
pub struct Died;

type Outcome = Result<(ObjectRef<Kept>, Action), kube_runtime::controller::Error<Error, watcher::Error>>;

/// Runs the controller of `namespace` (all namespaces if `None`) until `stop`, then lets the reconciles that are under
/// way finish.
///
/// # Errors
/// When a part of it died: its caches would never change again.
pub async fn run(
    settings: Settings,
    namespace: Option<String>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), Died> {
    let (tasks, pods) = apis(&settings, namespace.as_deref());
    let (queue, queued) = mpsc::unbounded_channel();
    let (store, writer) = reflector::store();
    let (orphans, orphaned) = mpsc::unbounded_channel();
    let (teller, telling) = tell::teller(&settings);
    let (timers, set) = timers::timers();
    let lanes = Arc::new(Lanes::new(queue, settings.concurrency));
    let context = Arc::new(Context::new(settings, orphans, timers, lanes.clone(), teller));
    let health = HealthOf { context: context.clone(), namespace };
    health.begin();

    // Aborted when this future is dropped.
    let mut events = JoinSet::new();
    events.spawn(telling);
    let mut background = JoinSet::new();
    background.spawn(orphans::work(context.clone(), orphaned));
    let task_store = watch::Tasks::new(writer, lanes.clone());
    let tasks_synced = task_store.synced();
    background.spawn(watch_tasks(context.clone(), tasks, task_store));
    background.spawn(watch_pods(context.clone(), pods));
    background.spawn(timers::work(set, lanes));
    background.spawn(tell_synced(context.clone(), health.namespace.clone(), tasks_synced));

    let seen = context.clone();
    let touched = stream::unfold((queued, seen), |(mut queued, seen)| async move {
        // Without its Pods no task can be decided.
        seen.attempts.synced().await;
        let key: TaskKey = queued.recv().await?;
        Some((key.reference(), (queued, seen)))
    });
    let concurrency = context.settings.concurrency;
    let outcomes = Controller::for_stream(stream::pending(), store)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(touched)
        .graceful_shutdown_on(stop)
        .run(reconcile, when_failed, context.clone());
    let result = drive(&context, &health, outcomes, &mut background).await;
    health.end();
    background.shutdown().await;
    // With nobody left who could tell more, the Events that wait are sent, and that is all.
    drop((context, health));
    let _ = tokio::time::timeout(LAST_EVENTS, events.join_next()).await;
    result
}

async fn drive(
    context: &Arc<Context>,
    health: &HealthOf,
    outcomes: impl futures::Stream<Item = Outcome>,
    background: &mut JoinSet<()>,
) -> Result<(), Died> {
    let mut outcomes = std::pin::pin!(outcomes);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            Some(ended) = background.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a watch died; ending, so that a new process starts with fresh ones");
                    return Err(Died);
                }
            }
            _ = tick.tick() => {
                health.turned();
            }
            outcome = outcomes.next() => match outcome {
                None => return Ok(()),
                Some(outcome) => look_after(context, outcome),
            },
        }
    }
}

/// Makes room for the next new task. A task that the queue names and the store has not is gone: what is left of it must
/// be freed.
fn look_after(context: &Context, outcome: Outcome) {
    use kube_runtime::controller::Error as Queue;
    let key_of = |namespace: Option<String>, name| TaskKey { namespace: namespace.unwrap_or_default(), name };
    match outcome {
        Err(Queue::ObjectNotFound(reference)) => {
            let key = key_of(reference.namespace, reference.name);
            context.lanes.settled(&key);
            context.memory.forget(&key);
            context.timers.forget(&key);
            context.orphaned(key);
        }
        Err(Queue::QueueError(error)) => tracing::warn!(%error, "the work queue failed"),
        Err(Queue::RunnerError(error)) => tracing::error!(%error, "the controller's runner failed"),
        Ok((reference, _)) => context.lanes.settled(&key_of(reference.namespace, reference.name)),
        // Told where it happens.
        Err(Queue::ReconcilerFailed(_, reference)) => {
            context.lanes.settled(&key_of(reference.namespace, reference.name));
        }
    }
}

fn apis(settings: &Settings, namespace: Option<&str>) -> (Api<Kept>, Api<Pod>) {
    let client = settings.client.clone();
    match namespace {
        None => (Api::all(client.clone()), Api::all(client)),
        Some(namespace) => (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace)),
    }
}

async fn watch_tasks(context: Arc<Context>, api: Api<Kept>, mut tasks: watch::Tasks) {
    let telemetry = context.settings.telemetry.clone();
    watch::follow("retryabletasks", telemetry, watcher(api, watch::config()), |event| tasks.apply(&event)).await;
}

async fn watch_pods(context: Arc<Context>, api: Api<Pod>) {
    let telemetry = context.settings.telemetry.clone();
    let ours = watch::config().labels(LABEL_TASK_UID);
    watch::follow("pods", telemetry, watcher(api, ours), |event| {
        for key in context.attempts.apply(&event, (context.settings.clock)()) {
            context.lanes.touched(key, Line::Begun);
        }
    })
    .await;
}

async fn tell_synced(context: Arc<Context>, namespace: Option<String>, tasks: impl Future<Output = ()> + Send) {
    future::join(tasks, context.attempts.synced()).await;
    context.settings.telemetry.health.synced(namespace.as_deref());
    tracing::info!("the caches are filled");
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

    fn turned(&self) {
        self.context.settings.telemetry.health.turned(self.namespace.as_deref());
    }

    fn end(&self) {
        for resource in Self::RESOURCES {
            self.context.settings.telemetry.health.stopped_watching(self.namespace.as_deref(), resource);
        }
    }
}
