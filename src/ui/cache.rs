//! Keeps the store by watches of its own, as long as somebody looks.

use super::record::{Key, PodRecord, Shared, TaskRecord};
use super::store::{Kind, Seen, Store, Table, Watched};
use crate::api::{LABEL_TASK_UID, TaskSchedule};
use crate::controller::queues::QueueObject;
use crate::controller::{CachedTask, client, watch};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Api, Client, Resource};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, DefaultBackoff, Event, watcher};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long the store is kept after somebody has looked last.
pub const IDLE: Duration = Duration::from_secs(15 * 60);
/// How often it is asked whether anybody still looks.
const IDLE_CHECK: Duration = Duration::from_secs(30);
/// How often the API server is asked whether it is there.
const PULSE: Duration = Duration::from_secs(5);
/// How long it may take to answer that.
const PULSE_LIMIT: Duration = Duration::from_secs(4);
/// Longest message of an error.
const MAX_ERROR_BYTES: usize = 300;

/// The store, and what keeps it.
pub struct Cache {
    client: Client,
    namespaces: Vec<Watched>,
    clock: fn() -> Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    looked: Option<Instant>,
}

/// A store that watches keep. They end when it is dropped.
pub struct Live {
    store: RwLock<Store>,
    changes: signal::Sender<u64>,
    /// Aborted when this is dropped.
    watches: Mutex<JoinSet<()>>,
}

impl Live {
    fn new() -> Self {
        Self { store: RwLock::default(), changes: signal::Sender::new(0), watches: Mutex::default() }
    }

    /// What is known now.
    pub fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when the store does.
    pub fn changes(&self) -> signal::Receiver<u64> {
        self.changes.subscribe()
    }

    /// As if a watch had shown it.
    #[cfg(test)]
    pub fn show(&self, change: impl FnOnce(&mut Store)) {
        self.change(change);
    }

    fn change(&self, change: impl FnOnce(&mut Store)) {
        change(&mut self.store.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl Cache {
    /// Nothing is watched before somebody looks.
    pub fn new(client: Client, namespaces: Vec<Watched>, clock: fn() -> Timestamp) -> Arc<Self> {
        Arc::new(Self { client, namespaces, clock, state: Mutex::default() })
    }

    /// The namespaces that are watched.
    pub fn watched(&self) -> &[Watched] {
        &self.namespaces
    }

    /// Somebody looks: the store, which is empty at first.
    pub fn look(self: &Arc<Self>) -> Arc<Live> {
        let mut state = self.state();
        state.looked = Some(Instant::now());
        state.live.get_or_insert_with(|| self.start()).clone()
    }

    /// Drops the store whenever nobody has looked for [`IDLE`]. Runs for ever.
    pub async fn forget_when_idle(&self) {
        loop {
            tokio::time::sleep(IDLE_CHECK).await;
            let mut state = self.state();
            if state.live.is_some() && state.looked.is_none_or(|looked| looked.elapsed() >= IDLE) {
                tracing::info!("nobody has looked for 15 min: the cache is dropped");
                state.live = None;
            }
        }
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        self.state().live.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Arc<Live> {
        tracing::info!(namespaces = ?self.namespaces, "somebody looks: watching");
        let live = Arc::new(Live::new());
        let mut watches = JoinSet::new();
        for namespace in &self.namespaces {
            watches.spawn(follow(
                &live,
                Kind::Tasks,
                namespace,
                api::<CachedTask>(&self.client, namespace),
                apply_task,
            ));
            watches.spawn(follow(&live, Kind::Queues, namespace, api(&self.client, namespace), apply_queue));
            watches.spawn(follow(&live, Kind::Schedules, namespace, api(&self.client, namespace), apply_schedule));
            watches.spawn(follow(&live, Kind::Pods, namespace, api(&self.client, namespace), apply_pod));
        }
        watches.spawn(pulse(Arc::downgrade(&live), self.client.clone(), self.clock));
        *live.watches.lock().unwrap_or_else(PoisonError::into_inner) = watches;
        live
    }
}

fn api<K>(client: &Client, namespace: &Watched) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

/// Applies what a watch of one kind shows, for ever. It does not keep the store: who drops that ends the watch.
fn follow<K>(
    live: &Arc<Live>,
    kind: Kind,
    namespace: &Watched,
    api: Api<K>,
    apply: fn(&mut Store, &Watched, Event<K>),
) -> impl Future<Output = ()> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (live, namespace) = (Arc::downgrade(live), namespace.clone());
    let config = if kind == Kind::Pods { watch::config().labels(LABEL_TASK_UID) } else { watch::config() };
    async move {
        let mut stream = std::pin::pin!(watcher(api, config).backoff(DefaultBackoff::default()));
        while let Some(event) = stream.next().await {
            // A page of a list comes at once. Others run in between.
            tokio::task::consume_budget().await;
            let Some(live) = live.upgrade() else { return };
            let place = (kind, namespace.clone());
            match event {
                Ok(event) => live.change(|store| {
                    store.problems.remove(&place);
                    apply(store, &namespace, event);
                }),
                Err(error) => {
                    let text = problem(&error);
                    tracing::warn!(%kind, ?namespace, error = text, "the watch failed; starting it again");
                    live.change(|store| drop(store.problems.insert(place, text)));
                }
            }
        }
    }
}

fn problem(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error_text(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// What went wrong, in one line that is not too long.
pub fn error_text(error: &kube::Error) -> String {
    crate::core::message::short(&client::error_text(error).replace('\n', " "), MAX_ERROR_BYTES)
}

/// Asks the API server again and again whether it is there. A watch alone would not tell: it may be silent for minutes.
async fn pulse(live: std::sync::Weak<Live>, client: Client, clock: fn() -> Timestamp) {
    loop {
        let answer = tokio::time::timeout(PULSE_LIMIT, client.apiserver_version()).await;
        let error = match answer {
            Ok(Ok(_)) => None,
            // An answer that is a refusal is an answer.
            Ok(Err(kube::Error::Api(status))) if status.code < 500 => None,
            Ok(Err(error)) => Some(error_text(&error)),
            Err(_) => Some(format!("none within {} s", PULSE_LIMIT.as_secs())),
        };
        let Some(live) = live.upgrade() else { return };
        let is_away = live.store().away.is_some();
        match error {
            Some(error) if !is_away => live.change(|store| store.away = Some((clock(), error))),
            None if is_away => live.change(|store| store.away = None),
            Some(_) | None => {}
        }
        drop(live);
        tokio::time::sleep(PULSE).await;
    }
}

/// The event with the key of its object, and what is kept of it.
fn seen<K: Resource<DynamicType = ()>, R>(
    event: Event<K>,
    shared: &mut Shared,
    mut record: impl FnMut(K, &mut Shared) -> R,
) -> Seen<R> {
    let mut keyed = |object: K, is_kept: bool, shared: &mut Shared| {
        let meta = object.meta();
        let key = Key {
            namespace: shared.texts.get(meta.namespace.as_deref().unwrap_or_default()),
            name: meta.name.as_deref().unwrap_or_default().into(),
        };
        let record = is_kept.then(|| record(object, shared));
        (key, record)
    };
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(keyed(object, true, shared)),
        Event::Apply(object) => Event::Apply(keyed(object, true, shared)),
        Event::Delete(object) => Event::Delete(keyed(object, false, shared)),
    }
}

fn apply<R>(table: &mut Table<R>, watched: &Watched, event: Seen<R>) {
    table.apply(watched, event);
}

fn apply_task(store: &mut Store, watched: &Watched, event: Event<CachedTask>) {
    let event = seen(event, &mut store.shared, |task, shared| match task.task() {
        Ok(task) => TaskRecord::of(&task, shared),
        Err(error) => TaskRecord::unreadable(&error.error),
    });
    apply(&mut store.tasks, watched, event);
}

fn apply_queue(store: &mut Store, watched: &Watched, event: Event<QueueObject>) {
    let event =
        seen(event, &mut store.shared, |queue, _| queue.queue().map(Box::new).map_err(|error| error.to_string()));
    apply(&mut store.queues, watched, event);
}

fn apply_schedule(store: &mut Store, watched: &Watched, event: Event<DeserializeGuard<TaskSchedule>>) {
    let event = seen(event, &mut store.shared, |guard, _| {
        guard.0.map_err(|error| error.to_string()).map(|mut schedule| {
            schedule.metadata.managed_fields = None;
            schedule.spec.template.spec = serde_json::Value::Null;
            Box::new(schedule)
        })
    });
    apply(&mut store.schedules, watched, event);
}

fn apply_pod(store: &mut Store, watched: &Watched, event: Event<Pod>) {
    let event = seen(event, &mut store.shared, |pod, shared| PodRecord::of(&pod, shared));
    apply(&mut store.pods, watched, event);
}

#[cfg(test)]
mod tests;
