//! The decision, as a pure function: what the status should be and, once that is stored, what to do next.
//!
//! **Invariant.** An effect follows only from a status that is stored: if the next status differs from the stored one, the plan is that write
//! and nothing else. So every Pod is created after a status that names its attempt, every outcome is stored before its
//! finalizer is removed, and every intent to stop a Pod is stored before the Pod is stopped. A process that dies anywhere is
//! followed by one that reads the same status and decides the same. A task that is being deleted is the exception: its
//! Pods lose the finalizer without a write.

mod after;
mod at_rest;
mod attempt;
mod attempt_end;
mod closed_pods;
mod deadlines;
mod draft;
mod effects;
mod failed_message;
mod fallback;
mod finish;
mod history;
mod hold_up;
mod plan;
mod queue;
mod record;
mod rejected_creation;
mod requests;
mod retry_wait;
mod situation;
mod stage;
mod start;
mod stop_method;
mod stop_reasons;
mod time_to_live;
mod tracked_pod;
mod transition;
mod unreadable;

pub use at_rest::{AtRest, at_rest};
pub use deadlines::{STARTUP_SECONDS, startup_limit};
pub use hold_up::{SETTLE, WARNINGS_HOLD};
pub use plan::{Cleanup, Deferrable, Plan, PodRef, ProgressReport, Requeue, Settled, StatusWrite};
pub use queue::queued_since;
pub use requests::{Request, pending_requests};
pub use situation::{
    Created, Failing, LATE_POST_BOUND, Lookups, PodLookup, PodWarnings, ProcessState, Situation, UNSEEN_BOUND,
    is_finished, nothing_has_begun, slot_of,
};
pub use stop_method::{STOP_DEADLINE_SECONDS, StopMethod};
pub use time_to_live::ttl_seconds;
pub use tracked_pod::TrackedPod;
pub use transition::{Transition, Wait};
pub use unreadable::unreadable;

use crate::api::{ConditionReason, RetryableTaskStatus};
use crate::core::validate::problem;
use draft::{Draft, Scope, Step};

/// What to do now. Total: any spec, any status, any Pods.
pub fn decide(situation: &Situation) -> Plan {
    if situation.task.metadata.deletion_timestamp.is_some() {
        return Plan::Settled(Box::new(effects::of_deleted_task(situation)));
    }
    let none = RetryableTaskStatus::default();
    let stored = situation.task.status.as_ref().unwrap_or(&none);
    match next_status(situation, stored, Scope::Required) {
        Next::LookUpPod(pod_name) => Plan::LookUpPod(pod_name),
        Next::LookUpTasks(names) => Plan::LookUpTasks(names),
        Next::ReadWarnings(pod) => Plan::ReadWarnings(pod),
        Next::Status(write) if *write.status != *stored => Plan::WriteStatus(with_progress(situation, stored, write)),
        Next::Status(_) => match effects::of_stored_status(situation, stored) {
            Plan::Settled(mut settled) => {
                settled.progress = progress(situation, stored);
                Plan::Settled(settled)
            }
            plan => plan,
        },
    }
}

/// What the status should be, or what must be known first.
enum Next {
    LookUpPod(String),
    LookUpTasks(Vec<String>),
    ReadWarnings(PodRef),
    Status(StatusWrite),
}

fn next_status(situation: &Situation, stored: &RetryableTaskStatus, scope: Scope) -> Next {
    let mut draft = Draft::new(situation, stored, scope);
    if is_finished(&stored.conditions) {
        requests::after_the_end(&mut draft);
        if is_finished(&draft.status.conditions) {
            return Next::Status(conclude(draft));
        }
        // The task runs again: its status was reset.
    }
    requests::before_the_end(&mut draft);
    let cancelled = requests::is_cancelled(situation, &draft.status);
    // An invalid spec does not stop a running Pod, but no new Pod is created.
    let problem = problem(&situation.task.spec).filter(|_| !cancelled);
    if problem.is_none() {
        draft.clear_stall(ConditionReason::InvalidSpec);
    }
    match draft.inspect_current() {
        Step::LookUpPod(pod_name) => return Next::LookUpPod(pod_name),
        Step::ReadWarnings(pod) => return Next::ReadWarnings(pod),
        Step::NotStarted => match problem {
            Some(problem) if !draft.is_over(situation.now) => draft.stall(ConditionReason::InvalidSpec, &problem),
            // An invalid spec after the deadline fails by the deadline there.
            Some(_) | None => {
                let unknown = draft.unknown_tasks();
                if !unknown.is_empty() {
                    return Next::LookUpTasks(unknown);
                }
                draft.start_when_due();
            }
        },
        Step::Active | Step::TaskEnded => {}
    }
    Next::Status(conclude(draft))
}

fn conclude(mut draft: Draft) -> StatusWrite {
    requests::unknown(&mut draft);
    if is_finished(&draft.status.conditions) {
        requests::too_late(&mut draft);
    }
    draft.done()
}

/// Since a write is needed anyway, it reports the attempt's progress too: that saves a write of its own.
fn with_progress(situation: &Situation, stored: &RetryableTaskStatus, write: StatusWrite) -> StatusWrite {
    if !hold_up::can_progress(situation, stored) {
        return write;
    }
    match next_status(situation, stored, Scope::WithProgress) {
        Next::Status(write) => write,
        // Progress would need another request first: only what is required is written.
        Next::LookUpPod(_) | Next::LookUpTasks(_) | Next::ReadWarnings(_) => write,
    }
}

/// What can be reported of the current attempt's progress, if the stored status does not say it.
fn progress(situation: &Situation, stored: &RetryableTaskStatus) -> Option<Deferrable> {
    if !hold_up::can_progress(situation, stored) {
        return None;
    }
    let report = match next_status(situation, stored, Scope::WithProgress) {
        Next::LookUpPod(_) | Next::LookUpTasks(_) => return None,
        Next::ReadWarnings(pod) => ProgressReport::ReadWarnings(pod),
        Next::Status(write) if *write.status == *stored => return None,
        Next::Status(write) => ProgressReport::WriteStatus(write),
    };
    Some(Deferrable { report, required_in: hold_up::required_in(situation, stored) })
}

#[cfg(test)]
mod tests;
