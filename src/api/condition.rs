//! Types and reasons of the conditions.

use serde::Deserialize;

/// The conditions that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ConditionType {
    /// The task succeeded (as on a Job).
    Complete,
    /// The task failed for good (as on a Job).
    Failed,
    /// The task will be failed once its fallback has ended (as on a Job whose Pods have yet to end).
    FailureTarget,
    /// The task is suspended (as on a Job).
    Suspended,
    /// The task succeeded or failed: one condition for `kubectl wait`.
    Finished,
    /// The main container of the current attempt has started. Only ever False: it is removed once the container
    /// has started.
    AttemptStarted,
    /// The current attempt is due and waits for its TaskQueue to start it. It is removed once that is over.
    Queued,
    /// The first attempt of a task waits for the tasks of `spec.after`; or a schedule skips times, because a run does not end. It is
    /// removed once that is over.
    Blocked,
    /// kstatus: the first Pod does not exist yet.
    Reconciling,
    /// A schedule starts nothing, because its runs fail.
    Paused,
    /// kstatus: failed for good, or unable to go on without help.
    Stalled,
}

impl ConditionType {
    /// The condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::FailureTarget => "FailureTarget",
            Self::Suspended => "Suspended",
            Self::Finished => "Finished",
            Self::AttemptStarted => "AttemptStarted",
            Self::Queued => "Queued",
            Self::Blocked => "Blocked",
            Self::Reconciling => "Reconciling",
            Self::Paused => "Paused",
            Self::Stalled => "Stalled",
        }
    }
}

/// The reasons of the conditions that the operator sets.
#[cfg_attr(test, derive(strum::EnumIter))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ConditionReason {
    /// An attempt succeeded.
    Succeeded,
    /// An attempt succeeded in part, by its termination report or by a rule with action Complete.
    PartiallySucceeded,
    /// `maxRetries` is exhausted.
    RetriesExhausted,
    /// The budget of a rule is exhausted.
    BudgetExhausted,
    /// A rule with action Fail matched.
    RuleFailed,
    /// The task returned `doNotRetry`.
    DoNotRetry,
    /// The task took longer than `activeDeadlineSeconds`, or would.
    DeadlineExceeded,
    /// The user cancelled the task.
    Cancelled,
    /// `spec.suspend` is set.
    Suspended,
    /// `spec.suspend` was set back to false.
    Resumed,
    /// The first Pod is being created.
    CreatingPod,
    /// The API server rejected the Pod.
    PodRejected,
    /// The API server cannot create the Pod now, or does not answer (as in a Job's Events).
    FailedCreate,
    /// The name of the attempt's Pod is taken by a Pod that does not belong to this task.
    PodNameConflict,
    /// There is no TaskQueue of the name that `spec.queue` gives.
    QueueMissing,
    /// An attempt waited longer than `spec.queue.maxWaitSeconds`.
    QueueTimeout,
    /// A task of `spec.after` has not ended yet.
    DependencyPending,
    /// A task of `spec.after` cannot end any more as it must.
    DependencyFailed,
    /// The tasks of `spec.after` have taken longer than `afterTimeoutSeconds`.
    DependencyTimeout,
    /// The tasks of `spec.after` wait for this task.
    DependencyCycle,
    /// The operator cannot read the spec.
    InvalidSpec,
    /// So many runs of a schedule failed in a row as `pauseAfterFailures` says.
    TooManyFailures,
    /// A run of a schedule has not ended.
    RunActive,
    /// The API server rejects a schedule's task.
    TaskRejected,
}

impl ConditionReason {
    /// The reasons with which a task can fail.
    const FAILURES: [Self; 9] = [
        Self::RetriesExhausted,
        Self::BudgetExhausted,
        Self::RuleFailed,
        Self::DoNotRetry,
        Self::DeadlineExceeded,
        Self::QueueTimeout,
        Self::DependencyFailed,
        Self::DependencyTimeout,
        Self::Cancelled,
    ];

    /// The reason of a failure, from the `reason` of a condition.
    pub fn of_failure(reason: &str) -> Option<Self> {
        Self::FAILURES.into_iter().find(|known| known.as_str() == reason)
    }

    /// Whether a task that ended with it has succeeded, in whole or in part.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::PartiallySucceeded)
    }

    /// The condition's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::PartiallySucceeded => "PartiallySucceeded",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::BudgetExhausted => "BudgetExhausted",
            Self::RuleFailed => "RuleFailed",
            Self::DoNotRetry => "DoNotRetry",
            Self::Suspended => "Suspended",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Cancelled => "Cancelled",
            Self::Resumed => "Resumed",
            Self::CreatingPod => "CreatingPod",
            Self::PodRejected => "PodRejected",
            Self::FailedCreate => "FailedCreate",
            Self::PodNameConflict => "PodNameConflict",
            Self::QueueMissing => "QueueMissing",
            Self::QueueTimeout => "QueueTimeout",
            Self::DependencyPending => "DependencyPending",
            Self::DependencyFailed => "DependencyFailed",
            Self::DependencyTimeout => "DependencyTimeout",
            Self::DependencyCycle => "DependencyCycle",
            Self::InvalidSpec => "InvalidSpec",
            Self::TooManyFailures => "TooManyFailures",
            Self::RunActive => "RunActive",
            Self::TaskRejected => "TaskRejected",
        }
    }
}
