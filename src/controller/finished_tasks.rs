//! Finished tasks at rest: the cache holds little of them, and nobody looks at them until they or their Pods change or their
//! time to live is over.

use super::context::Context;
use super::process_state::TaskState;
use super::work_queue::Priority;
use super::{CachedTask, TaskKey};
use crate::api::RetryableTask;
use crate::core::decide::{AtRest, Lookups, Plan, ProcessState, Situation, at_rest, decide, is_finished, slot_of};
use crate::core::slot::Slot;
use crate::core::time::until;
use jiff::Timestamp;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::Duration;

/// Longest time between two looks at the wall clock, which may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Whether a task that the watch shows is at rest, so that it needs no reconcile. Not if one has run since it was last at
/// rest: that one knows what the watch may show later.
pub fn rests(context: &Context, key: &TaskKey, cached: &CachedTask) -> Option<AtRest> {
    if !cached.has_ended() || !context.pod_cache.is_synced() || context.process_states.has(key) {
        return None;
    }
    let task = cached.task().ok()?;
    let uid = task.uid().unwrap_or_default();
    let (pods, others): (Vec<_>, Vec<_>) =
        context.pod_cache.of(key).into_iter().partition(|tracked| tracked.pod.task_uid == uid);
    if others.iter().any(|tracked| tracked.pod.has_finalizer) {
        return None;
    }
    let default_ttl_seconds = context.settings.default_ttl_seconds;
    let uptime = context.pod_cache.uptime();
    let is_awaited = context.dependents.is_awaited(key);
    let process = ProcessState { uptime, default_ttl_seconds, is_awaited, ..ProcessState::default() };
    let (now, lookups) = (context.now(), Lookups::default());
    match decide(&Situation { task: &task, pods: &pods, now, lookups: &lookups, process: &process }) {
        Plan::Settled(settled) => {
            let at_rest = at_rest(&task, now, &settled)?;
            context.pod_cache.leave_alone(key, &pods);
            prune_pods(context, key, &task);
            Some(at_rest)
        }
        Plan::WriteStatus(_)
        | Plan::LookUpPod(_)
        | Plan::LookUpTasks(_)
        | Plan::ReadWarnings(_)
        | Plan::RefreshTask
        | Plan::CreatePod(_) => None,
    }
}

/// Whether nothing has happened to a task at rest for which it must be reconciled. If so, it waits for its time to live.
pub fn goes_on_resting(context: &Context, key: &TaskKey, expires: Option<Timestamp>) -> bool {
    let is_expired = expires.is_some_and(|at| at <= context.now());
    // A reconcile that has not found it at rest saw something that the watch has yet to show.
    if is_expired || context.pod_cache.has_news(key) || context.process_states.has(key) {
        return false;
    }
    context.pod_cache.forget_deleted(key, |_| false);
    context.task_cache.expire_later(key);
    true
}

/// Drops what the caches no longer need: a deleted Pod is kept until its attempt is recorded.
pub fn prune_caches(context: &Context, key: &TaskKey, task: &RetryableTask) {
    let status = task.status.as_ref();
    let has_begun = status.and_then(|status| status.current.as_ref()?.pod_name.as_ref()).is_some();
    if !has_begun || status.is_some_and(|status| is_finished(&status.conditions)) {
        context.process_states.with(key, &task.uid().unwrap_or_default(), TaskState::nothing_begun);
    }
    prune_pods(context, key, task);
}

fn prune_pods(context: &Context, key: &TaskKey, task: &RetryableTask) {
    let (uid, status) = (task.uid().unwrap_or_default(), task.status.as_ref());
    let finished = status.is_some_and(|status| is_finished(&status.conditions));
    let open = status.and_then(|status| status.current.as_ref()).map(slot_of);
    let last = status.map(|status| Slot { number: status.attempts, fallback: status.fallback.is_some() });
    context.pod_cache.forget_texts(key, |pod| {
        // An outdated status has fewer attempts.
        let recorded = open.is_some_and(|open| pod.slot() < open) || (finished && last >= Some(pod.slot()));
        pod.task_uid == uid && recorded
    });
    let created = task.metadata.creation_timestamp.as_ref().map(|created| created.0);
    context.pod_cache.forget_deleted(key, |pod| {
        // A Pod of a later task of the name: the watch of tasks has yet to show it.
        let is_of_later = pod.task_uid != uid && created.is_some_and(|created| pod.created > created);
        is_of_later || (!finished && pod.task_uid == uid && open.is_none_or(|open| pod.slot() >= open))
    });
}

/// Adds finished tasks at rest to the work queue when their time to live is over, for ever.
pub async fn expire(context: Arc<Context>) {
    loop {
        let now = context.now();
        for key in context.task_cache.take_expired(now) {
            context.work_queue.add(key, Priority::Cleanup);
        }
        let next = context.task_cache.next_expiry().map(|at| Duration::try_from(until(now, at)).unwrap_or_default());
        let wait = next.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = context.task_cache.expires_sooner() => {}
        }
    }
}

#[cfg(test)]
mod tests;
