//! An attempt that something keeps from starting, or that is being stopped.

use super::{ConditionReason, Subject, Why, one_line, quote};
use crate::api::{CurrentAttempt, StopReason};
use crate::core::decide::{STARTUP_SECONDS, startup_limit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

impl Subject<'_> {
    /// The task cannot go on without help, or the API server does not create its Pod.
    pub(super) fn stalled(&self, current: &CurrentAttempt, stalled: &Condition) -> Why {
        let what = self.attempt(current);
        let Condition { reason, message, .. } = stalled;
        let message = one_line(message);
        let is = |known: ConditionReason| known.as_str() == reason;
        if is(ConditionReason::InvalidSpec) {
            return Why::of(format!("{what} cannot start, because the spec is not valid: {message}"))
                .hint("Change the spec; the task then goes on by itself.");
        }
        if is(ConditionReason::QueueMissing) || is(ConditionReason::DependencyCycle) {
            return Why::of(format!("{what} cannot start: {message}"));
        }
        let (problem, next) = if is(ConditionReason::PodNameConflict) {
            ("the name of its Pod is taken", "delete the other Pod")
        } else if is(ConditionReason::PodRejected) {
            ("the API server rejects its Pod", "change what it objects to")
        } else if is(ConditionReason::FailedCreate) {
            ("its Pod cannot be created now", "wait, or look at the API server")
        } else {
            return Why::of(format!("{what} cannot start: {reason}: {message}"));
        };
        let tries = current.rejections;
        let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
        let again = current.next_create_time.as_ref().filter(|at| at.0 > self.known.now);
        let again = again.map_or_else(|| "the next is due".into(), |at| format!("the next is {}", self.at(at.0)));
        let why = Why::of(format!("{what} cannot start, because {problem}: {message}; {tries} so far, {again}"))
            .hint(format!("It goes on by itself once that is over: {next}."));
        self.with_startup_limit(why, current)
    }

    /// Says the time limit that is given, or that of a fallback.
    fn with_startup_limit(&self, why: Why, current: &CurrentAttempt) -> Why {
        match startup_limit(&self.task.spec, current) {
            Some(seconds) => {
                let what = if current.fallback { "The fallback" } else { "The attempt" };
                why.hint(format!("{what} fails if it has not started within {seconds} s (startupTimeoutSeconds)."))
            }
            None => why,
        }
    }

    /// The Pod exists, and its main container has not started.
    pub(super) fn held_up(&self, current: &CurrentAttempt, reason: &str, message: Option<&str>) -> Why {
        let what = self.attempt(current);
        let pod = current.pod_name.as_deref().unwrap_or_default();
        let since = current.create_time.as_ref();
        let since = since.map(|at| format!(", created {} ago,", self.ago(at.0))).unwrap_or_default();
        let failed =
            if current.fallback { format!("; the task has failed: {}", self.failure_target()) } else { String::new() };
        let problem = match reason {
            "Unschedulable" | "FailedScheduling" => format!("no node takes it{}", quote(message)),
            "SchedulingGated" => one_line(message.unwrap_or("its scheduling gates hold it back")),
            "Unscheduled" => "no node has been assigned yet".into(),
            "ContainerCreating" | "PodInitializing" => one_line(message.unwrap_or(reason)),
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                format!("its image cannot be pulled ({reason}){}", quote(message))
            }
            _ => format!("{reason}{}", quote(message)),
        };
        let why = Why::of(format!("{what} has not started: Pod {pod}{since} waits, because {problem}{failed}"));
        let why = match (reason, startup_limit(&self.task.spec, current)) {
            // The limit begins when the gates are gone.
            ("SchedulingGated", _) => why,
            (_, Some(_)) => self.with_startup_limit(why, current),
            ("Unschedulable" | "FailedScheduling" | "Unscheduled", None) => {
                why.hint("Without startupTimeoutSeconds it may wait for a node for ever.")
            }
            (_, None) => why.hint(format!(
                "The attempt fails {STARTUP_SECONDS} s after its init containers have ended (without startupTimeoutSeconds)."
            )),
        };
        if current.fallback {
            return why;
        }
        let name = self.as_argument();
        why.hint(format!("To replace the Pod: kubectl retryable retry-now {name}"))
    }

    pub(super) fn stopping(&self, current: &CurrentAttempt, reason: StopReason) -> Why {
        let what = self.attempt(current);
        let since = current.stop_time.as_ref().map(|at| format!(" for {}", self.ago(at.0))).unwrap_or_default();
        let spec = &self.task.spec;
        let limit = |seconds: Option<i32>| seconds.map(|seconds| format!(" ({seconds} s)")).unwrap_or_default();
        let because = match reason {
            StopReason::Suspended => "the task was suspended".into(),
            StopReason::TaskEnded => "its main container has ended and others still run".into(),
            StopReason::AttemptTimeout => {
                format!("it ran longer than attemptTimeoutSeconds{}", limit(spec.attempt_timeout_seconds))
            }
            StopReason::StartupTimeout => {
                let cause = current.stop_cause.as_deref().map(|cause| format!(" ({cause})")).unwrap_or_default();
                format!("it did not start in time{cause}{}", quote(current.stop_message.as_deref()))
            }
            StopReason::DeadlineExceeded => {
                format!("the task took longer than activeDeadlineSeconds{}", limit(spec.active_deadline_seconds))
            }
            StopReason::Cancelled => "the task was cancelled".into(),
            StopReason::SpecChanged => "its Pod had not started and no longer matches the spec".into(),
            StopReason::RetryNow => "its Pod had not started, and a retry was requested".into(),
            StopReason::QueueDrained => {
                let queue = current.queue.as_ref().map(|slot| format!(" {}", slot.name)).unwrap_or_default();
                format!("stopPolicy of TaskQueue{queue} is HoldAndDrain")
            }
            StopReason::Unknown => "another version of the operator says so".into(),
        };
        let pod = current.pod_name.as_deref().unwrap_or_default();
        Why::of(format!("{what} has been stopping{since}, because {because}: its Pod {pod} has yet to end"))
    }
}
