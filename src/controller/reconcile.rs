//! One task: gather what is known, decide, apply, and decide again until there is nothing to do but wait.

use super::context::Context;
use super::process_state::TaskState;
use super::report::log_plan;
use super::task_api::{Created, TaskApi, Written, message_of};
use super::work_queue::Priority;
use super::{CachedTask, Error, TaskKey};
use crate::api::{RetryableTask, RetryableTaskStatus};
use crate::core::decide::{
    Cleanup, Deferrable, Lookups, Plan, PodRef, ProcessState, Requeue, Settled, Situation, StatusWrite, StopMethod,
    TrackedPod, decide, is_finished, slot_of,
};
use crate::core::drive::{Execute, drive};
use crate::core::rejection::Rejection;
use crate::core::slot::Slot;
use crate::core::trace_context::trace_id;
use futures::FutureExt;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::error_boundary::InvalidObject;
use kube::{Resource, ResourceExt};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// Longest time that one reconcile may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How often one reconcile reads live and decides again when others write the same status.
const MAX_CONFLICTS: u32 = 5;
/// When Pods of a task that cannot be read, and is being deleted, are tried again.
const CLEANUP_AGAIN: Duration = Duration::from_secs(10);
/// How long before the task's own time no clean-up of it begins: the task would have to wait until that is over.
const NO_CLEANUP_BEFORE: Duration = Duration::from_secs(2);
/// How long a report of progress waits at a time while there is more urgent work.
const DEFERRAL: Duration = Duration::from_secs(5);
/// How long a quiet task is left alone at most.
const LONGEST_REQUEUE: Duration = Duration::from_secs(3600);

/// When a task is to be looked at again though nothing happens to it and nothing of its current attempt is urgent.
enum Again {
    /// After so long, or not by time.
    In(Option<Duration>),
    /// After so long, when there is time: a clean-up was put off for what is more urgent, which says nothing of whether it
    /// works.
    PutOff(Duration),
}

/// One reconcile, contained: it ends within its limit, and a panic ends it alone. It adds the task to the work queue again,
/// after a delay.
///
/// # Errors
/// Logged and counted already.
pub async fn reconcile(task: &CachedTask, priority: Priority, context: &Arc<Context>) -> Result<(), Error> {
    let key = TaskKey { namespace: task.namespace().unwrap_or_default(), name: task.name_any() };
    let uid = task.uid().unwrap_or_default();
    let span = tracing::info_span!("task", namespace = key.namespace, name = key.name, trace_id = trace_id(&uid));
    async {
        let started = tokio::time::Instant::now();
        let contained = AssertUnwindSafe(of(&key, task, priority, context)).catch_unwind();
        let result = match tokio::time::timeout(LIMIT, contained).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::Panic { task: key.clone(), message: panic_message(panic.as_ref()) }),
            Err(_) => Err(Error::Timeout { task: key.clone(), limit: LIMIT }),
        };
        context.settings.telemetry.metrics.reconciled(started.elapsed());
        let (begun, cleanup) = match &result {
            Ok(Again::In(wait)) => {
                context.process_states.with(&key, &uid, TaskState::went_through);
                (None, Some(*wait))
            }
            Ok(Again::PutOff(wait)) => (None, Some(Some(*wait))),
            Err(error) => {
                context.settings.telemetry.metrics.reconcile_failed(error.kind());
                tracing::warn!(%error, "the reconcile failed");
                (Some(context.process_states.with(&key, &uid, TaskState::failed)), None)
            }
        };
        context.work_queue.add_after(key.clone(), Priority::Active, begun);
        if let Some(wait) = cleanup {
            context.work_queue.add_after(key.clone(), Priority::Cleanup, wait);
        }
        result.map(drop)
    }
    .instrument(span)
    .await
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

async fn of(key: &TaskKey, task: &CachedTask, priority: Priority, context: &Arc<Context>) -> Result<Again, Error> {
    let task = match task.task() {
        Ok(task) => Arc::new(task),
        Err(invalid) => return unreadable(key, task.object_ref(&()), &invalid, context).await,
    };
    let uid = task.uid().unwrap_or_default();
    if context.pod_cache.of(key).iter().any(|tracked| tracked.pod.has_finalizer && tracked.pod.task_uid != uid) {
        context.add_orphans(key.clone());
    }
    let task = context.process_states.with(key, &uid, |state| state.newest(task));
    ReconcileRun { key, uid, priority, context, task, lookups: Lookups::default(), conflicts: 0 }.run().await
}

/// A task that this version cannot read is told so where its owner looks; its Pods, if any, stay as they are.
async fn unreadable(
    key: &TaskKey,
    task: ObjectReference,
    invalid: &InvalidObject,
    context: &Arc<Context>,
) -> Result<Again, Error> {
    let message = format!("the operator cannot read this task: {}", invalid.error);
    tracing::warn!(error = invalid.error, "the task cannot be read");
    if invalid.metadata.deletion_timestamp.is_some() {
        let uid = invalid.metadata.uid.as_deref().unwrap_or_default();
        let pods = context.pod_cache.of(key);
        let held = pods
            .into_iter()
            .filter(|tracked| tracked.pod.has_finalizer && !tracked.deleted && tracked.pod.task_uid == uid);
        let held: Vec<PodRef> =
            held.map(|tracked| PodRef { name: tracked.pod.pod_name, uid: tracked.pod.pod_uid }).collect();
        let done = TaskApi::new(context, key).cleanup(&[], &held).await;
        return Ok(Again::In((!done).then_some(CLEANUP_AGAIN)));
    }
    let marked = TaskApi::new(context, key).mark_unreadable(invalid, &message).await;
    let uid = invalid.metadata.uid.clone().unwrap_or_default();
    if let Err(error) = marked.map_err(Error::request(key, "cannot mark the task as unreadable")) {
        not_stored(context, key, (&uid, task), &error, None);
        return Err(error);
    }
    context.process_states.with(key, &uid, TaskState::stored);
    Ok(Again::In(None))
}

/// A status that cannot be stored cannot say so itself.
fn not_stored(
    context: &Context,
    key: &TaskKey,
    (uid, task): (&str, ObjectReference),
    error: &Error,
    words: Option<String>,
) {
    if matches!(error, Error::NotLeading(_)) {
        return;
    }
    context.settings.telemetry.metrics.status_update_failed();
    if context.process_states.with(key, uid, TaskState::not_stored) {
        context.reporter.not_stored(task, &words.unwrap_or_else(|| message_of(error)));
    }
}

/// One reconcile on its way.
struct ReconcileRun<'a> {
    key: &'a TaskKey,
    uid: String,
    priority: Priority,
    context: &'a Arc<Context>,
    task: Arc<RetryableTask>,
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
        Ok(unless_gone(self.store(write).await?))
    }

    async fn look_up_pod(&mut self, pod_name: String) -> Result<(), Error> {
        self.lookups.pod = Some(self.api().look_up_pod(&self.uid, &pod_name).await?);
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
        Ok(unless_gone(self.read().await?))
    }

    async fn create_pod(&mut self, slot: Slot) -> Result<ControlFlow<()>, Error> {
        self.create(slot).await?;
        Ok(ControlFlow::Continue(()))
    }

    async fn stop_pod(&mut self, pod: &PodRef, method: StopMethod) -> Result<bool, Error> {
        self.api().stop_pod(pod, method).await
    }

    fn defers(&self, _: &Deferrable) -> bool {
        !self.context.work_queue.is_idle()
    }

    fn no_convergence(&self) -> Error {
        Error::NoConvergence(self.key.clone())
    }
}

/// A task that is gone needs no further decision.
fn unless_gone(is_there: bool) -> ControlFlow<()> {
    if is_there { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl ReconcileRun<'_> {
    fn api(&self) -> TaskApi<'_> {
        TaskApi::new(self.context, self.key)
    }

    async fn run(mut self) -> Result<Again, Error> {
        let Some(Settled { stop: _, stale_pods, cleanup, delete_task, progress, requeue }) = drive(&mut self).await?
        else {
            return Ok(Again::In(None));
        };
        // Before the requests that follow, which may take long.
        let Requeue { for_attempt, deferrable } = requeue;
        let for_attempt = for_attempt.map(|wait| unsigned(wait).min(LONGEST_REQUEUE));
        self.context.work_queue.add_after(self.key.clone(), Priority::Due, for_attempt);
        let stale_pods_again = self.cleanup(&stale_pods, &[]).await;
        let something_can_go = delete_task || !cleanup.is_empty();
        if something_can_go && let Some(wait) = self.more_urgent(for_attempt) {
            self.forget_gone();
            return Ok(Again::PutOff(wait));
        }
        let Cleanup { delete, remove_finalizer } = cleanup;
        let cleanup_again = self.cleanup(&delete, &remove_finalizer).await;
        self.forget_gone();
        if delete_task {
            self.api().delete_task(&self.task).await?;
            return Ok(Again::In(None));
        }
        let deferred =
            progress.map(|Deferrable { report: _, required_in }| required_in.map_or(DEFERRAL, unsigned).min(DEFERRAL));
        let longest = for_attempt.is_none().then_some(LONGEST_REQUEUE);
        let waits = deferrable.map(unsigned).into_iter().chain(deferred).chain(stale_pods_again).chain(cleanup_again);
        Ok(Again::In(waits.chain(longest).map(|wait| wait.min(LONGEST_REQUEUE)).min()))
    }

    fn plan(&self) -> Plan {
        let pods: Vec<TrackedPod> = self
            .context
            .pod_cache
            .of(self.key)
            .into_iter()
            .filter(|tracked| tracked.pod.task_uid == self.uid)
            .collect();
        let now = self.context.now();
        let current = self.task.status.as_ref().and_then(|status| status.current.as_ref());
        let due = current.and_then(|current| current.due_time.as_ref()).map(|due| due.0);
        let slot = current.map_or(1.into(), slot_of);
        let longest = self.task.status.as_ref().and_then(last_delay);
        let uptime = self.context.pod_cache.uptime();
        let process = self.context.process_states.with(self.key, &self.uid, |state| ProcessState {
            uptime,
            created: state.creation_of(slot),
            create_in_flight: state.sent_for(slot),
            failing: state.failing(slot),
            warnings: state.warnings(),
            remaining: due.map(|due| (due, state.remaining(slot, due, now, longest))),
        });
        decide(&Situation { task: &self.task, pods: &pods, now, lookups: &self.lookups, process: &process })
    }

    /// Stores the status; false if the task is gone. On a conflict the task is read live and decided again.
    async fn store(&mut self, write: StatusWrite) -> Result<bool, Error> {
        let StatusWrite { status, transitions } = write;
        let previous = self.task.clone();
        let stored = self.api().write_status(&self.task, *status).await;
        match stored.inspect_err(|error| self.not_stored(error, None))? {
            Written::Done(task) => {
                self.task = Arc::new(*task);
                self.lookups = Lookups { task_is_live: true, ..Lookups::default() };
                self.context.process_states.with(self.key, &self.uid, |state| {
                    state.wrote(self.task.clone());
                });
                self.context.reporter.tell(&previous, transitions);
                Ok(true)
            }
            Written::Deleted => Ok(false),
            Written::Conflict(words) => {
                self.conflicts += 1;
                if self.conflicts > MAX_CONFLICTS {
                    let error = Error::Conflict(self.key.clone());
                    self.not_stored(&error, Some(words));
                    return Err(error);
                }
                self.read().await
            }
        }
    }

    fn not_stored(&self, error: &Error, words: Option<String>) {
        let regarding = (self.uid.as_str(), self.task.object_ref(&()));
        not_stored(self.context, self.key, regarding, error, words);
    }

    /// Reads the task live; false if it is gone.
    async fn read(&mut self) -> Result<bool, Error> {
        let live = self.api().read_task().await?;
        let Some(live) = live.filter(|live| live.uid().unwrap_or_default() == self.uid) else { return Ok(false) };
        self.task = Arc::new(live);
        self.lookups.task_is_live = true;
        Ok(true)
    }

    async fn create(&mut self, slot: Slot) -> Result<(), Error> {
        let begun = Instant::now();
        match self.api().create_pod(&self.task, slot).await? {
            Created::Done(pod_uid) => {
                self.context.process_states.with(self.key, &self.uid, |state| state.created(slot, &pod_uid));
                let due = self.task.status.as_ref().and_then(|status| status.current.as_ref()?.due_time.as_ref());
                self.context.reporter.created(slot, due.map(|due| self.context.now().duration_since(due.0)));
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

    /// How long to defer cleanup, if at all: it has a priority of its own, and what the task itself has to do soon comes
    /// first.
    fn more_urgent(&self, for_attempt: Option<Duration>) -> Option<Duration> {
        match self.priority {
            Priority::Due | Priority::Active | Priority::New => Some(Duration::ZERO),
            Priority::Cleanup => for_attempt
                .filter(|wait| *wait < NO_CLEANUP_BEFORE)
                .filter(|_| self.context.process_states.with(self.key, &self.uid, TaskState::cleanup_makes_way)),
        }
    }

    /// Deletes and frees Pods; the Pods of ended attempts are a best effort with a back-off of its own. Answers how
    /// long until it is tried again.
    async fn cleanup(&self, delete: &[PodRef], release: &[PodRef]) -> Option<Duration> {
        if delete.is_empty() && release.is_empty() {
            return None;
        }
        let wait = self.context.process_states.with(self.key, &self.uid, |state| state.cleanup_wait());
        if !wait.is_zero() {
            return Some(wait);
        }
        let ok = self.api().cleanup(delete, release).await;
        self.context.process_states.with(self.key, &self.uid, |state| {
            state.cleaned_up(ok);
            (!ok).then(|| state.cleanup_wait())
        })
    }

    /// A Pod that is gone is needed as long as its attempt is not in the books.
    fn forget_gone(&self) {
        let status = self.task.status.as_ref();
        let finished = status.is_some_and(|status| is_finished(&status.conditions));
        let open = status.and_then(|status| status.current.as_ref()).map(slot_of);
        let has_begun = status.and_then(|status| status.current.as_ref()?.pod_name.as_ref()).is_some();
        if finished || !has_begun {
            self.context.process_states.with(self.key, &self.uid, TaskState::nothing_begun);
        }
        let last = status.map(|status| Slot { number: status.attempts, fallback: status.fallback.is_some() });
        self.context.pod_cache.forget_texts(self.key, |pod| {
            // A status that is old knows fewer attempts.
            let recorded = open.is_some_and(|open| pod.slot() < open) || (finished && last >= Some(pod.slot()));
            pod.task_uid != self.uid || recorded
        });
        self.context.pod_cache.forget_gone(self.key, |pod| {
            !finished && pod.task_uid == self.uid && open.is_none_or(|open| pod.slot() >= open)
        });
    }
}

/// A wait that is over is none.
fn unsigned(wait: SignedDuration) -> Duration {
    Duration::try_from(wait).unwrap_or_default()
}

/// The last wait that was decided: the current one is no longer.
fn last_delay(status: &RetryableTaskStatus) -> Option<SignedDuration> {
    status.history.last()?.delay_milliseconds.map(|millis| SignedDuration::from_millis(millis.saturating_add(1)))
}

#[cfg(test)]
mod tests;
