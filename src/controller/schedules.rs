//! The controller of schedules: watches, loop, reconciles. No policy: [`core::schedule`](crate::core::schedule) decides.
//!
//! It has a loop of its own beside that of the tasks, so that a cluster without the definition or the rights of
//! schedules serves tasks all the same.

mod api;
mod process_state;
mod reconcile;
mod report;
mod run_cache;

use super::dependents::Dependents;
use super::main_loop::TaskExited;
use super::report::Reporter;
use super::work_queue::{Priority, WorkQueue};
use super::{Settings, TaskKey, watch};
use crate::api::{LABEL_SCHEDULE_UID, TaskSchedule};
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube_runtime::reflector::{ObjectRef, Store, store};
use kube_runtime::watcher::{Event, watcher};
use process_state::ProcessStates;
use run_cache::{RunCache, WatchedTask};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;
use tokio::task::JoinSet;

/// How long to wait before asking again whether schedules are served. At first the definition may be just being installed.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How many schedules are reconciled at a time.
const CONCURRENCY: u16 = 8;

/// A schedule as it is watched. One that cannot be parsed hides no others.
type Watched = DeserializeGuard<TaskSchedule>;

/// What the reconciles of schedules share.
struct Context {
    settings: Settings,
    store: Store<Watched>,
    runs: RunCache,
    dependents: Arc<Dependents>,
    states: ProcessStates,
    work_queue: WorkQueue,
    reporter: Reporter,
}

/// Runs the controller of schedules of `namespace` (all namespaces if `None`) until `stop`, then waits for the running
/// reconciles. No finished run is deleted that `dependents`, which the controller of tasks fills, says to be awaited.
///
/// # Errors
/// When a part of it ended.
pub async fn run(
    settings: Settings,
    namespace: Option<String>,
    dependents: Arc<Dependents>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), TaskExited> {
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        () = are_served(&settings, namespace.as_deref()) => {}
        () = &mut stop => return Ok(()),
    }
    let (store, mut writer) = store::<Watched>();
    let (reporter, sending_events) = super::report::reporter(&settings);
    let work_queue = WorkQueue::new(CONCURRENCY, &settings.telemetry.metrics);
    let (runs, states) = (RunCache::default(), ProcessStates::default());
    let context = Arc::new(Context { settings, store, runs, dependents, states, work_queue, reporter });
    let listed = Arc::new(SetOnce::new());
    let mut background = JoinSet::new();
    background.spawn(sending_events);
    background.spawn(watch_runs(context.clone(), namespace.clone()));
    let (schedules, watching, is_listed) = (schedules(&context.settings, namespace), context.clone(), listed.clone());
    background.spawn(async move {
        let telemetry = watching.settings.telemetry.clone();
        watch::follow("taskschedules", telemetry, watcher(schedules, watch::config()), |event| {
            writer.apply_watcher_event(&event);
            match event {
                Event::Apply(schedule) | Event::Delete(schedule) | Event::InitApply(schedule) => {
                    watching.work_queue.add(key_of(&schedule), Priority::Active);
                }
                Event::InitDone => drop(is_listed.set(())),
                Event::Init => {}
            }
        })
        .await;
    });
    context.drive(listed, stop, background).await
}

impl Context {
    async fn drive(
        self: Arc<Self>,
        listed: Arc<SetOnce<()>>,
        mut stop: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
        mut background: JoinSet<()>,
    ) -> Result<(), TaskExited> {
        let (mut reconciles, mut is_filled, mut is_stopping) = (JoinSet::new(), false, false);
        let filled = async {
            listed.wait().await;
            self.runs.synced().await;
        };
        let mut filled = std::pin::pin!(filled);
        while !is_stopping || !reconciles.is_empty() {
            tokio::select! {
                biased;
                Some(_) = background.join_next() => return Err(TaskExited),
                () = &mut stop, if !is_stopping => is_stopping = true,
                () = &mut filled, if !is_filled => is_filled = true,
                Some(ended) = reconciles.join_next() => match ended {
                    Ok(key) => self.work_queue.done(&key),
                    Err(_) => return Err(TaskExited),
                },
                (key, _) = self.work_queue.next(), if is_filled && !is_stopping => {
                    reconciles.spawn(reconcile_key(key, self.clone()));
                }
            }
        }
        Ok(())
    }
}

async fn reconcile_key(key: TaskKey, context: Arc<Context>) -> TaskKey {
    if let Some(watched) = context.store.get(&ObjectRef::<Watched>::new(&key.name).within(&key.namespace)) {
        match &watched.0 {
            Ok(schedule) => reconcile::reconcile(&key, schedule, &context).await,
            Err(error) => tracing::error!(%key, %error, "cannot read this schedule: it starts nothing"),
        }
    } else {
        context.settings.telemetry.metrics.schedules().remove(&key.namespace, &key.name);
        context.states.forget(&key);
        context.work_queue.forget(&key);
    }
    key
}

fn key_of(schedule: &Watched) -> TaskKey {
    use kube::ResourceExt;
    TaskKey { namespace: schedule.namespace().unwrap_or_default(), name: schedule.name_any() }
}

fn schedules(settings: &Settings, namespace: Option<String>) -> Api<Watched> {
    let client = settings.client.clone();
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), &namespace))
}

/// Resolves once the API server lists schedules to us: without its definition, or with the rights of an older chart, the
/// operator serves tasks alone.
async fn are_served(settings: &Settings, namespace: Option<&str>) {
    let schedules = schedules(settings, namespace.map(ToOwned::to_owned));
    let [mut wait, longest] = ASK_AGAIN;
    while let Err(error) = schedules.list_metadata(&ListParams::default().limit(1)).await {
        if wait < longest {
            tracing::warn!(%error, "cannot list TaskSchedules, so none is served: apply their definition and the operator's rights");
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(longest);
    }
}

async fn watch_runs(context: Arc<Context>, namespace: Option<String>) {
    let client = context.settings.client.clone();
    let tasks: Api<WatchedTask> =
        namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), &namespace));
    let ours = watch::config().labels(LABEL_SCHEDULE_UID);
    let telemetry = context.settings.telemetry.clone();
    watch::follow("retryabletasks of schedules", telemetry, watcher(tasks, ours), |event| {
        for key in context.runs.apply(event) {
            context.work_queue.add(key, Priority::Active);
        }
    })
    .await;
}
