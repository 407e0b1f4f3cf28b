//! What is done for queues beside reconciles: their watch, the writes of their status, and what becomes due with time.

use super::object::QueueObject;
use super::report::report;
use super::{Queue, QueueKey, Queues, Stage, Stored, task_key, until};
use crate::api::{StopPolicy, TaskQueue, TaskQueueStatus};
use crate::controller::client::WRITE_LIMIT;
use crate::controller::context::Context;
use crate::controller::work_queue::Priority;
use crate::controller::{Error, TaskKey, watch};
use crate::core::queue::ledger::{Counts, WriteEnd};
use crate::telemetry::metrics::{QueueDepth, QueueGauges, TaskQueueMetrics};
use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use kube_runtime::watcher::{self, Event, watcher};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often counts are written at most.
const COUNTS_EVERY: Duration = Duration::from_secs(10);
/// How long they wait at most for more urgent work.
const COUNTS_AT_LAST: Duration = Duration::from_secs(60);
/// How often depth is measured at most.
const MEASURED_EVERY: Duration = Duration::from_secs(5);
/// The shortest and longest time between two tries to write a status.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long the worker sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Keeps the queues as the watch shows them.
pub async fn watch_queues(context: Arc<Context>, api: Api<QueueObject>, namespace: Option<String>) {
    let telemetry = context.settings.telemetry.clone();
    let mut listed = BTreeSet::new();
    let mut is_watched = false;
    let refused = context.clone();
    let stream = futures::StreamExt::inspect(watcher(api, watch::config()), move |event| {
        if let Err(error) = event {
            refused.queues.cannot_list(why(error));
        }
    });
    watch::follow("taskqueues", telemetry, stream, |event: Event<QueueObject>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.insert(object.key());
            context.queues.apply(object);
        }
        Event::InitDone => {
            context.queues.queues_listed(&std::mem::take(&mut listed));
            // Where the operator may not list queues, that is no reason to restart it.
            if !std::mem::replace(&mut is_watched, true) {
                context.settings.telemetry.health.watching(namespace.as_deref(), "taskqueues");
            }
        }
        Event::Apply(object) => context.queues.apply(object),
        Event::Delete(object) => context.queues.delete(&object, context.settings.telemetry.metrics.task_queues()),
    })
    .await;
}

fn why(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A status to write.
pub(super) struct Write {
    key: QueueKey,
    pub(super) object: Arc<TaskQueue>,
    pub(super) status: TaskQueueStatus,
}

/// Does what is due of the queues, for ever.
pub async fn work(context: Arc<Context>) {
    let mut writes = JoinSet::new();
    loop {
        let (due, sleep) = context.queues.turn(!context.work_queue.has_little_urgent_work());
        context.queues.measure(context.settings.telemetry.metrics.task_queues());
        for write in due {
            let context = context.clone();
            writes.spawn(async move {
                let (key, written) = write_status(&context, write).await;
                context.queues.written(&context, &key, written);
            });
        }
        tokio::select! {
            () = context.queues.changed.notified() => {}
            Some(_) = writes.join_next() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// What became of a write.
enum Written {
    Done {
        before: Arc<TaskQueue>,
        after: Box<TaskQueue>,
    },
    /// Somebody else has written, or the queue is gone: the watch shows it.
    Conflict,
    Failed(kube::Error),
    /// This process does not lead.
    NotLeading,
}

async fn write_status(context: &Context, write: Write) -> (QueueKey, Written) {
    let Write { key, object, status } = write;
    let api: Api<TaskQueue> = Api::namespaced(context.settings.client.clone(), &key.namespace);
    if !(context.settings.may_write)() {
        return (key, Written::NotLeading);
    }
    let next = TaskQueue { status: Some(status), ..(*object).clone() };
    let written = match api.replace_status(&key.name, &PostParams::default(), &next).await {
        Ok(after) => Written::Done { before: object, after: Box::new(after) },
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Written::Conflict,
        Err(error) => Written::Failed(error),
    };
    (key, written)
}

impl Queues {
    /// Brings the metrics up to date. How long the tasks have waited is looked for every few seconds.
    fn measure(&self, metrics: &TaskQueueMetrics) {
        let now = self.now();
        let mut inner = self.lock();
        for (QueueKey { namespace, name }, queue) in &mut inner.queues {
            for waited in queue.ledger.take_waits() {
                metrics.started(namespace, name, Duration::try_from(waited).unwrap_or_default());
            }
            let Some(object) =
                queue.object.as_ref().filter(|_| queue.measured.is_none_or(|at| at.elapsed() >= MEASURED_EVERY))
            else {
                continue;
            };
            let is_held = object.object.spec.stop_policy != StopPolicy::None;
            queue.measured = Some(Instant::now());
            let Counts { running, slots, queued, waiting: _ } = queue.ledger.counts();
            let oldest_wait = queue.ledger.oldest_wait().map(|since| until(since, now)).unwrap_or_default();
            let circuit = queue.ledger.circuit().map(|circuit| circuit.state.as_str());
            let depth = QueueDepth { running, slots, queued, oldest_wait };
            metrics.set(namespace, name, QueueGauges { depth, circuit, is_held });
        }
    }

    pub(super) fn apply(&self, object: QueueObject) {
        let key = object.key();
        match object.queue() {
            Ok(queue) => self.set(&key, queue),
            Err(error) => {
                tracing::warn!(queue = %key, %error, "this version cannot read the TaskQueue; it stays as it was");
            }
        }
    }

    /// A version of the queue.
    pub(super) fn set(&self, key: &QueueKey, queue: TaskQueue) {
        let now = self.now();
        let mut inner = self.lock();
        let serves = matches!(inner.stage, Stage::Serving);
        let Queue { ledger, object, .. } = inner.queue(key, now);
        let version = version(&queue);
        let same_uid = object.as_ref().is_some_and(|known| known.object.uid() == queue.uid());
        if same_uid && object.as_ref().is_some_and(|known| known.version >= version) {
            return;
        }
        let mut woken = Vec::new();
        if serves {
            woken = ledger.set_queue(&queue, now);
            // An answer that was lost, or an edit of the status: what is stored holds.
            let circuit = queue.status.as_ref().and_then(|status| status.circuit.clone());
            if same_uid && circuit.as_ref() != ledger.circuit() {
                ledger.stored(circuit, now);
            }
        }
        *object = Some(Stored { object: Arc::new(queue), version });
        self.start_what_may(inner, std::slice::from_ref(key), None, now);
        self.wake(key, &woken, Priority::Active);
    }

    /// The answer to a write, which may come after the watch has shown that the queue is gone, or another one under its name.
    pub(super) fn answered(&self, key: &QueueKey, queue: TaskQueue) {
        let is_known = {
            let inner = self.lock();
            let known = inner.queues.get(key).and_then(|known| known.object.as_ref());
            known.is_some_and(|known| known.object.uid() == queue.uid())
        };
        if is_known {
            self.set(key, queue);
        }
    }

    fn delete(&self, object: &QueueObject, metrics: &TaskQueueMetrics) {
        let QueueKey { namespace, name } = object.key();
        metrics.remove(&namespace, &name);
        self.remove_queue(&object.key(), object.meta().uid.as_deref());
    }

    pub(super) fn remove_queue(&self, key: &QueueKey, uid: Option<&str>) {
        let mut inner = self.lock();
        let Some(queue) = inner.queues.get_mut(key) else { return };
        let is_this = queue.object.as_ref().is_some_and(|known| uid.is_none() || known.object.uid().as_deref() == uid);
        if !is_this {
            return;
        }
        queue.object = None;
        let woken = queue.ledger.remove_queue();
        inner.drop_unused(key);
        drop(inner);
        self.wake(key, &woken, Priority::Active);
    }

    pub(super) fn queues_listed(&self, listed: &BTreeSet<QueueKey>) {
        let gone: Vec<_> = {
            let inner = self.lock();
            let is_gone = |(key, queue): &(&QueueKey, &Queue)| queue.object.is_some() && !listed.contains(*key);
            inner.queues.iter().filter(is_gone).map(|(key, _)| key.clone()).collect()
        };
        for key in gone {
            self.remove_queue(&key, None);
        }
        self.listed(|stage| {
            if let Stage::Listing { queues, trouble, .. } = stage {
                (*queues, *trouble) = (true, None);
            }
        });
    }

    fn wake(&self, queue: &QueueKey, names: &[Arc<str>], priority: Priority) {
        for name in names {
            self.work_queue.add(task_key(queue, name), priority);
        }
    }

    /// What is to be written now, and how long until something becomes due.
    pub(super) fn turn(&self, is_busy: bool) -> (Vec<Write>, Duration) {
        let now = self.now();
        let mut inner = self.lock();
        if !matches!(inner.stage, Stage::Serving) {
            return (Vec::new(), LONGEST_SLEEP);
        }
        let (mut writes, mut sleep) = (Vec::new(), LONGEST_SLEEP);
        let mut granted: Vec<TaskKey> = Vec::new();
        for (key, queue) in &mut inner.queues {
            granted.extend(queue.ledger.advance(now).iter().map(|name| task_key(key, name)));
            match queue.next_write(now, is_busy) {
                Ok(write) => writes.extend(write.map(|(object, status)| Write { key: key.clone(), object, status })),
                Err(wait) => sleep = sleep.min(wait),
            }
            if let Some(at) = queue.ledger.next_advance(now) {
                sleep = sleep.min(until(now, at));
            }
        }
        drop(inner);
        for key in granted {
            self.work_queue.add(key, Priority::Due);
        }
        // A wait of nothing would turn for ever.
        (writes, sleep.max(Duration::from_millis(1)))
    }

    fn written(&self, context: &Context, key: &QueueKey, written: Written) {
        let now = self.now();
        let mut inner = self.lock();
        let Some(queue) = inner.queues.get_mut(key) else { return };
        queue.written = Some(Instant::now());
        let end = match &written {
            Written::Done { .. } => WriteEnd::Stored,
            Written::Conflict | Written::NotLeading => WriteEnd::NotStored,
            Written::Failed(_) => WriteEnd::Unknown,
        };
        let live = match written {
            Written::Done { before, after } => {
                queue.failures = 0;
                report(context, &before, &after);
                Some(after)
            }
            Written::Conflict => {
                queue.write_after = Some(Instant::now() + RETRY.0);
                None
            }
            Written::Failed(error) => {
                let error = Error::request(key, "cannot write the status of the TaskQueue")(error);
                context.settings.telemetry.metrics.reconcile_failed(error.kind());
                tracing::warn!(%error, "the write failed");
                queue.failures = queue.failures.saturating_add(1);
                let doubled = RETRY.0.saturating_mul(1 << queue.failures.clamp(0, 10).unsigned_abs());
                queue.write_after = Some(Instant::now() + doubled.min(RETRY.1));
                None
            }
            Written::NotLeading => {
                queue.write_after = Some(Instant::now() + WRITE_LIMIT);
                None
            }
        };
        drop(inner);
        if let Some(live) = live {
            self.answered(key, *live);
        }
        let mut inner = self.lock();
        if let Some(queue) = inner.queues.get_mut(key) {
            queue.is_being_written = false;
            queue.ledger.write_ended(end, now);
        }
        self.start_what_may(inner, std::slice::from_ref(key), None, now);
        self.changed.notify_one();
    }
}

impl Queue {
    /// The status to write now, if any; else how long until it is time.
    fn next_write(
        &mut self,
        now: Timestamp,
        is_busy: bool,
    ) -> Result<Option<(Arc<TaskQueue>, TaskQueueStatus)>, Duration> {
        let Some(Stored { object, .. }) = self.object.as_ref().filter(|_| !self.is_being_written) else {
            return Ok(None);
        };
        let left = self.write_after.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if !left.is_zero() {
            return Err(left);
        }
        let stored = object.status.clone().unwrap_or_default();
        let wanted = self.ledger.circuit_to_store(now);
        let circuit = wanted.unwrap_or_else(|| stored.circuit.clone());
        let status = self.ledger.status(&stored, circuit, now);
        if status == stored {
            return Ok(None);
        }
        let is_counts_alone = TaskQueueStatus {
            running: stored.running.clone(),
            queued: stored.queued,
            waiting: stored.waiting,
            ..status.clone()
        } == stored;
        if is_counts_alone {
            let since = self.written.map_or(Duration::MAX, |written| written.elapsed());
            let wait = if is_busy { COUNTS_AT_LAST } else { COUNTS_EVERY }.saturating_sub(since);
            if !wait.is_zero() {
                return Err(wait);
            }
        }
        self.is_being_written = true;
        self.ledger.write_begins(status.circuit.as_ref());
        Ok(Some((object.clone(), status)))
    }
}

fn version(queue: &TaskQueue) -> u64 {
    queue.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
