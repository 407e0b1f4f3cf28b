//! How a reconcile ended, and when the task is added to the work queue again.

use crate::controller::context::Context;
use crate::controller::process_state::TaskState;
use crate::controller::work_queue::Priority;
use crate::controller::{Error, TaskKey};
use crate::core::decide::AtRest;
use crate::core::time::until;
use jiff::SignedDuration;
use std::time::Duration;

/// Longest time between two reconciles of a task.
pub const LONGEST_REQUEUE: Duration = Duration::from_secs(3600);

/// How a reconcile ended, and after which delay the task is added with the priority `Cleanup`; `None` for not at all.
pub enum Outcome {
    /// All is done.
    Done(Option<Duration>),
    /// Cleanup was deferred for more urgent work: its failure back-off is not reset yet.
    CleanupDeferred(Duration),
    /// This version of a finished task is at rest.
    AtRest(u64, AtRest),
}

/// Acts on how a reconcile ended.
pub fn apply(key: &TaskKey, uid: &str, result: &Result<Outcome, Error>, context: &Context) {
    if !rest(key, uid, result, context) {
        requeue(key, uid, result, context);
    }
}

/// Forgets what is no longer needed if the task is at rest. False if it is not, or if the watch has shown another version.
fn rest(key: &TaskKey, uid: &str, result: &Result<Outcome, Error>, context: &Context) -> bool {
    let Ok(Outcome::AtRest(version, at_rest)) = result else { return false };
    if !context.task_cache.rest(key, (uid, *version), *at_rest) {
        return false;
    }
    context.process_states.forget(key);
    context.work_queue.forget(key);
    true
}

/// Adds the task to the work queue again, after a delay.
fn requeue(key: &TaskKey, uid: &str, result: &Result<Outcome, Error>, context: &Context) {
    let (retry, cleanup) = match result {
        Ok(Outcome::Done(wait)) => {
            context.process_states.with(key, uid, TaskState::succeeded);
            (None, Some(*wait))
        }
        Ok(Outcome::AtRest(_, AtRest { expires })) => {
            context.process_states.with(key, uid, TaskState::succeeded);
            let wait = expires.map_or(LONGEST_REQUEUE, |at| unsigned(until(context.now(), at)));
            (None, Some(Some(wait.min(LONGEST_REQUEUE))))
        }
        Ok(Outcome::CleanupDeferred(wait)) => (None, Some(Some(*wait))),
        Err(error) => {
            context.settings.telemetry.metrics.reconcile_failed(error.kind());
            tracing::warn!(%error, "the reconcile failed");
            context.queues.reconcile_failed(uid);
            (Some(context.process_states.with(key, uid, TaskState::failed)), None)
        }
    };
    context.work_queue.add_after(key.clone(), Priority::Active, retry);
    if let Some(wait) = cleanup {
        context.work_queue.add_after(key.clone(), Priority::Cleanup, wait);
    }
}

/// Zero for a wait that is over.
pub fn unsigned(wait: SignedDuration) -> Duration {
    Duration::try_from(wait).unwrap_or_default()
}
