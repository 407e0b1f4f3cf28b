//! What users write and read: the `RetryableTask` resource. Types, schema and admission rules; no behaviour.

mod backoff;
mod crd;
mod rules;
mod schema;
mod status;
mod task;

pub use backoff::{Backoff, Jitter, JitterMode, Multiplier, Strategy};
pub use crd::crd;
pub use rules::{Budgets, FailureRule, IntOrText, Preset, RuleAction, When};
pub use status::{
    Action, ConditionReason, ConditionType, CurrentAttempt, FailureClass, HistoryEntry, LastFailure,
    RetryableTaskStatus, State, StopReason,
};
pub use task::{PodRetention, RetryableTask, RetryableTaskSpec};

/// API group of the resource.
pub const GROUP: &str = "retryable.dev";

/// Label of an attempt's Pod: the task's name.
pub const LABEL_TASK_NAME: &str = "retryable.dev/task-name";
/// Label of an attempt's Pod: the task's UID.
pub const LABEL_TASK_UID: &str = "retryable.dev/task-uid";
/// Label of an attempt's Pod: the attempt's number, from 1.
pub const LABEL_ATTEMPT: &str = "retryable.dev/attempt";

/// Finalizer of an attempt's Pod: its exit status cannot be lost before it is in the task's status.
pub const FINALIZER: &str = "retryable.dev/attempt";

/// Name of the main container, whose exit status is the attempt's.
pub const MAIN_CONTAINER: &str = "task";
