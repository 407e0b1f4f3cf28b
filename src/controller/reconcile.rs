//! One reconcile of one task: decide by what is known, act, and decide again until the task can only wait.

mod outcome;
mod unreadable_task;
mod unstored_status;

use super::context::Context;
use super::process_state::TaskState;
use super::report::log_plan;
use super::task_api::{Created, TaskApi, Written};
use super::task_cache::{FinishedTask, KnownTask, version_of};
use super::work_queue::Priority;
use super::{Error, TaskKey, finished_tasks};
use crate::api::{CurrentAttempt, RetryableTask, RetryableTaskStatus};
use crate::core::decide::{
    Cleanup, Deferrable, Lookups, Plan, PodRef, ProcessState, Requeue, Settled, Situation, StatusWrite, StopMethod,
    TrackedPod, at_rest, decide, slot_of,
};
use crate::core::drive::{Execute, drive};
use crate::core::rejection::Rejection;
use crate::core::slot::Slot;
use crate::core::trace_context::trace_id;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use outcome::{LONGEST_REQUEUE, Outcome, unsigned};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// Longest time of one reconcile.
const LIMIT: Duration = Duration::from_secs(60);
/// How many times one reconcile reads the task and decides again after a conflict.
const MAX_CONFLICTS: u32 = 5;
/// No cleanup starts this long before the task is due: one task has one reconcile at a time, so its retry would wait.
const NO_CLEANUP_BEFORE: Duration = Duration::from_secs(2);
/// Longest delay of a progress report at a time, while more urgent work waits.
const DEFERRAL: Duration = Duration::from_secs(5);
/// How long a task whose time to live is over waits for its schedule to record its end.
const UNTIL_RECORDED: Duration = Duration::from_secs(5);

/// Reconciles a task within [`LIMIT`], catches a panic, and adds the task to the work queue again, after a delay.
///
/// # Errors
/// They are logged and counted already.
pub async fn reconcile(
    key: &TaskKey,
    task: &KnownTask,
    priority: Priority,
    context: &Arc<Context>,
) -> Result<(), Error> {
    let uid = task.uid();
    let span = tracing::info_span!("task", namespace = key.namespace, name = key.name, trace_id = trace_id(&uid));
    async {
        let started = tokio::time::Instant::now();
        let caught = AssertUnwindSafe(reconcile_task(key, task, priority, context)).catch_unwind();
        let result = match tokio::time::timeout(LIMIT, caught).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::Panic { task: key.clone(), message: panic_message(panic.as_ref()) }),
            Err(_) => Err(Error::Timeout { task: key.clone(), limit: LIMIT }),
        };
        context.work_queue.reconciled(priority, started.elapsed());
        outcome::apply(key, &uid, &result, context);
        result.map(drop)
    }
    .instrument(span)
    .await
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

async fn reconcile_task(
    key: &TaskKey,
    known: &KnownTask,
    priority: Priority,
    context: &Arc<Context>,
) -> Result<Outcome, Error> {
    let (cached, task_is_live) = match known {
        KnownTask::Whole(task) => (task.clone(), false),
        KnownTask::AtRest(FinishedTask { uid, expires: _ }) | KnownTask::Uncertain(uid) => {
            let live = TaskApi::new(context, key).read_cached_task().await?;
            let Some(live) = live.filter(|live| live.uid().as_deref() == Some(uid)) else {
                if context.task_cache.remove_gone(key, uid) {
                    context.work_queue.add(key.clone(), Priority::Active);
                }
                return Ok(Outcome::Done(None));
            };
            (Arc::new(live), true)
        }
    };
    let task = match cached.task() {
        Ok(task) => Arc::new(task),
        Err(invalid) => {
            return unreadable_task::handle(key, cached.object_ref(&()), &invalid, context).await.map(Outcome::Done);
        }
    };
    let uid = task.uid().unwrap_or_default();
    if context.pod_cache.of(key).iter().any(|tracked| tracked.pod.has_finalizer && tracked.pod.task_uid != uid) {
        context.add_orphans(key.clone());
    }
    let task = context.process_states.with(key, &uid, |state| state.newest(task));
    context.reporter.foresee(&task);
    let lookups = Lookups { task_is_live, ..Lookups::default() };
    ReconcileRun { key, uid, priority, context, task, pods: Vec::new(), lookups, conflicts: 0 }.run().await
}

/// A reconcile that runs.
struct ReconcileRun<'a> {
    key: &'a TaskKey,
    uid: String,
    priority: Priority,
    context: &'a Arc<Context>,
    task: Arc<RetryableTask>,
    /// The Pods of the last decision.
    pods: Vec<TrackedPod>,
    lookups: Lookups,
    conflicts: u32,
}

impl Execute for ReconcileRun<'_> {
    type Error = Error;

    fn decide(&mut self) -> Plan {
        let plan = self.plan();
        log_plan(&self.task, &plan);
        plan
    }

    async fn write_status(&mut self, write: StatusWrite) -> Result<ControlFlow<()>, Error> {
        Ok(unless_deleted(self.store(write).await?))
    }

    async fn look_up_pod(&mut self, pod_name: String) -> Result<(), Error> {
        self.lookups.pod = Some(self.api().look_up_pod(&self.uid, &pod_name).await?);
        Ok(())
    }

    async fn look_up_tasks(&mut self, names: Vec<String>) -> Result<(), Error> {
        for name in names {
            let found = self.api().look_up_other(&name).await?;
            self.lookups.tasks.insert(name, found);
        }
        Ok(())
    }

    async fn read_warnings(&mut self, pod: PodRef) -> Result<(), Error> {
        let newest = self.api().newest_warning(&pod).await;
        self.context.process_states.with(self.key, &self.uid, |state| match newest {
            Ok(newest) => state.warned(pod.uid, newest),
            Err(_) => state.warnings_unread(pod.uid),
        });
        Ok(())
    }

    async fn refresh_task(&mut self) -> Result<ControlFlow<()>, Error> {
        Ok(unless_deleted(self.read().await?))
    }

    async fn create_pod(&mut self, slot: Slot) -> Result<ControlFlow<()>, Error> {
        self.create(slot).await?;
        Ok(ControlFlow::Continue(()))
    }

    async fn stop_pod(&mut self, pod: &PodRef, method: StopMethod) -> Result<bool, Error> {
        self.api().stop_pod(pod, method).await
    }

    fn defers(&self, _: &Deferrable) -> bool {
        !self.context.work_queue.has_little_urgent_work()
    }

    fn no_convergence(&self) -> Error {
        Error::NoConvergence(self.key.clone())
    }
}

/// A deleted task needs no further decision.
fn unless_deleted(exists: bool) -> ControlFlow<()> {
    if exists { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl ReconcileRun<'_> {
    fn api(&self) -> TaskApi<'_> {
        TaskApi::new(self.context, self.key)
    }

    async fn run(mut self) -> Result<Outcome, Error> {
        let Some(mut settled) = drive(&mut self).await? else { return Ok(Outcome::Done(None)) };
        // Its queue lets it start at once: it does, in the same reconcile.
        if self.context.queues.demand(self.key, &self.task, settled.queue.as_ref()) {
            let Some(started) = drive(&mut self).await? else { return Ok(Outcome::Done(None)) };
            settled = started;
            self.context.queues.demand(self.key, &self.task, settled.queue.as_ref());
        }
        if let Some(at_rest) = at_rest(&self.task, self.context.now(), &settled).filter(|_| !settled.delete_task) {
            self.context.pod_cache.leave_alone(self.key, &self.pods);
            finished_tasks::prune_caches(self.context, self.key, &self.task);
            return Ok(Outcome::AtRest(version_of(&self.task.metadata), at_rest));
        }
        let Settled { stop: _, stale_pods, cleanup, delete_task, progress, queue: _, requeue } = settled;
        // Before the requests below, which may take long.
        let Requeue { for_attempt, deferrable, expiry } = requeue;
        let for_attempt = for_attempt.map(|wait| unsigned(wait).min(LONGEST_REQUEUE));
        self.context.work_queue.add_after(self.key.clone(), Priority::Due, for_attempt);
        let stale_pods_again = self.cleanup(&stale_pods, &[]).await;
        let has_cleanup = delete_task || !cleanup.is_empty();
        if has_cleanup && let Some(wait) = self.cleanup_deferral(for_attempt) {
            finished_tasks::prune_caches(self.context, self.key, &self.task);
            return Ok(Outcome::CleanupDeferred(wait));
        }
        let Cleanup { delete, remove_finalizer } = cleanup;
        let cleanup_again = self.cleanup(&delete, &remove_finalizer).await;
        finished_tasks::prune_caches(self.context, self.key, &self.task);
        if delete_task {
            let is_deleted = self.api().delete_task(&self.task).await?;
            return Ok(Outcome::Done((!is_deleted).then_some(UNTIL_RECORDED)));
        }
        let deferred =
            progress.map(|Deferrable { report: _, required_in }| required_in.map_or(DEFERRAL, unsigned).min(DEFERRAL));
        let longest = for_attempt.is_none().then_some(LONGEST_REQUEUE);
        let waits = deferrable
            .into_iter()
            .chain(expiry)
            .map(unsigned)
            .chain(deferred)
            .chain(stale_pods_again)
            .chain(cleanup_again);
        Ok(Outcome::Done(waits.chain(longest).map(|wait| wait.min(LONGEST_REQUEUE)).min()))
    }

    fn plan(&mut self) -> Plan {
        let mut pods = self.context.pod_cache.of(self.key);
        pods.retain(|tracked| tracked.pod.task_uid == self.uid);
        self.pods = pods;
        let now = self.context.now();
        let current = self.task.status.as_ref().and_then(|status| status.current.as_ref());
        let due = current.and_then(|current| current.due_time.as_ref()).map(|due| due.0);
        let slot = current.map_or(1.into(), slot_of);
        let longest = self.task.status.as_ref().and_then(last_delay);
        let uptime = self.context.pod_cache.uptime();
        let default_ttl_seconds = self.context.settings.default_ttl_seconds;
        let queue = self.context.queues.view(self.key, &self.task);
        let is_awaited = self.context.dependents.is_awaited(self.key);
        let process = self.context.process_states.with(self.key, &self.uid, |state| ProcessState {
            uptime,
            created: state.creation_of(slot),
            create_in_flight: state.sent_for(slot),
            failing: state.failing(slot),
            warnings: state.warnings(),
            is_awaited,
            remaining: due.map(|due| (due, state.remaining(slot, due, now, longest))),
            queue,
            default_ttl_seconds,
        });
        decide(&Situation { task: &self.task, pods: &self.pods, now, lookups: &self.lookups, process: &process })
    }

    /// Writes the status. False if the task is deleted. After a conflict, reads the task to decide again.
    async fn store(&mut self, write: StatusWrite) -> Result<bool, Error> {
        let StatusWrite { status, transitions } = write;
        let previous = self.task.clone();
        let stored = self.api().write_status(&self.task, *status).await;
        match stored.inspect_err(|error| self.not_stored(error, None))? {
            Written::Done(task) => {
                self.task = Arc::new(*task);
                self.context.queues.observe(&self.key.namespace, &self.task);
                self.lookups = Lookups { task_is_live: true, ..Lookups::default() };
                self.context.process_states.with(self.key, &self.uid, |state| {
                    state.wrote(self.task.clone());
                });
                self.context.reporter.report(&previous, &self.task, transitions);
                Ok(true)
            }
            Written::Deleted => Ok(false),
            Written::Conflict(message) => {
                self.conflicts += 1;
                if self.conflicts > MAX_CONFLICTS {
                    let error = Error::Conflict(self.key.clone());
                    self.not_stored(&error, Some(message));
                    return Err(error);
                }
                self.read().await
            }
        }
    }

    fn not_stored(&self, error: &Error, message: Option<String>) {
        let regarding = (self.uid.as_str(), self.task.object_ref(&()));
        unstored_status::report(self.context, self.key, regarding, error, message);
    }

    /// Reads the task. False if it is deleted.
    async fn read(&mut self) -> Result<bool, Error> {
        let live = self.api().read_task().await?;
        let Some(live) = live.filter(|live| live.uid().unwrap_or_default() == self.uid) else { return Ok(false) };
        self.task = Arc::new(live);
        self.context.queues.observe(&self.key.namespace, &self.task);
        self.lookups.task_is_live = true;
        Ok(true)
    }

    async fn create(&mut self, slot: Slot) -> Result<(), Error> {
        let begun = Instant::now();
        match self.api().create_pod(&self.task, slot).await? {
            Created::Done(pod_uid) => {
                self.context.process_states.with(self.key, &self.uid, |state| state.created(slot, &pod_uid));
                let current = self.task.status.as_ref().and_then(|status| status.current.as_ref());
                let start = current.and_then(may_start_from);
                self.context.reporter.created(slot, start.map(|start| self.context.now().duration_since(start)));
            }
            Created::Adopted => self.context.process_states.with(self.key, &self.uid, TaskState::adopted),
            Created::Rejected(rejection) => {
                let Rejection { answer, message } = &rejection;
                tracing::info!(
                    attempt = slot.number,
                    fallback = slot.fallback,
                    ?answer,
                    said = message,
                    "the Pod was not created"
                );
                self.context.process_states.with(self.key, &self.uid, |state| {
                    state.not_created(slot, &rejection, begun);
                });
                self.lookups.rejection = Some(rejection);
            }
        }
        Ok(())
    }

    /// How long to defer cleanup, if at all. It runs with its own priority, and not shortly before the task is due.
    fn cleanup_deferral(&self, for_attempt: Option<Duration>) -> Option<Duration> {
        match self.priority {
            Priority::Due | Priority::Active | Priority::New => Some(Duration::ZERO),
            Priority::Cleanup => for_attempt
                .filter(|wait| *wait < NO_CLEANUP_BEFORE)
                .filter(|_| self.context.process_states.with(self.key, &self.uid, TaskState::may_defer_cleanup)),
        }
    }

    /// Deletes Pods and removes finalizers. A failure does not fail the reconcile: cleanup has a back-off of its own.
    /// Returns when to retry.
    async fn cleanup(&self, delete: &[PodRef], remove_finalizer: &[PodRef]) -> Option<Duration> {
        if delete.is_empty() && remove_finalizer.is_empty() {
            return None;
        }
        let wait = self.context.process_states.with(self.key, &self.uid, |state| state.cleanup_wait());
        if !wait.is_zero() {
            return Some(wait);
        }
        let ok = self.api().cleanup(delete, remove_finalizer).await;
        self.context.process_states.with(self.key, &self.uid, |state| {
            state.cleaned_up(ok);
            (!ok).then(|| state.cleanup_wait())
        })
    }
}

/// From when a retry may start: it is due, and its queue lets it. None for an attempt that did not wait.
fn may_start_from(current: &CurrentAttempt) -> Option<Timestamp> {
    let granted = current.queue.as_ref().and_then(|slot| slot.grant_time.as_ref()).map(|granted| granted.0);
    let due = current.due_time.as_ref().map(|due| due.0)?;
    Some(granted.map_or(due, |granted| granted.max(due)))
}

/// The delay that was last decided. The current wait is no longer than it, unless a run begins: that one waits for
/// `startAt`, and the last delay is of the run before.
fn last_delay(status: &RetryableTaskStatus) -> Option<SignedDuration> {
    let run = status.run.zip(status.current.as_ref());
    let begins = run.is_some_and(|(run, current)| run.first_attempt == current.number);
    status
        .history
        .last()
        .filter(|_| !begins)?
        .delay_milliseconds
        .map(|millis| SignedDuration::from_millis(millis.saturating_add(1)))
}

#[cfg(test)]
mod tests;
