//! The words of the conditions.

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
    /// The task ended, for good or ill: one thing for `kubectl wait` to wait for.
    Finished,
    /// The main container of the current attempt has started. Only ever False: it goes when it has.
    AttemptStarted,
    /// kstatus: the first Pod does not exist yet.
    Reconciling,
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
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// The reasons of the conditions that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ConditionReason {
    /// An attempt succeeded.
    Succeeded,
    /// `maxRetries` is used up.
    RetriesExhausted,
    /// The budget of a rule is used up.
    BudgetExhausted,
    /// A rule with action Fail matched.
    RuleFailed,
    /// The task itself said `doNotRetry`.
    DoNotRetry,
    /// The task took longer than `activeDeadlineSeconds`, or would.
    DeadlineExceeded,
    /// Somebody cancelled the task.
    Cancelled,
    /// `spec.suspend` is set.
    Suspended,
    /// `spec.suspend` was taken back.
    Resumed,
    /// The first Pod is being created.
    CreatingPod,
    /// The API server rejected the Pod.
    PodRejected,
    /// The API server cannot create the Pod now, or does not answer (as in a Job's Events).
    FailedCreate,
    /// A Pod that is not this task's has the name of the attempt's Pod.
    PodNameConflict,
    /// The operator cannot read the spec.
    InvalidSpec,
}

impl ConditionReason {
    /// Those with which a task can fail.
    const FAILURES: [Self; 6] = [
        Self::RetriesExhausted,
        Self::BudgetExhausted,
        Self::RuleFailed,
        Self::DoNotRetry,
        Self::DeadlineExceeded,
        Self::Cancelled,
    ];

    /// The reason of a failure by its word in a condition.
    pub fn of_failure(word: &str) -> Option<Self> {
        Self::FAILURES.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The condition's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
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
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}
