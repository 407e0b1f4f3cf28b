//! The resources, as users write and read them: types, schema and admission rules, no behaviour.

mod after;
mod attempt_changes;
mod backoff;
mod condition;
mod crd;
mod cron;
mod current_attempt;
mod event_reason;
mod history;
mod queue;
mod queue_ref;
mod rules;
mod schedule;
mod schedule_status;
mod schema;
mod skip;
mod status;
mod task;

pub use after::{After, AfterCondition, AfterStatus};
pub use attempt_changes::{AttemptOverride, OnFailure, OnOutOfMemory};
pub use backoff::{Backoff, Jitter, JitterMode, Multiplier, Strategy};
pub use condition::{ConditionReason, ConditionType};
pub use crd::{RESOURCES, crd, crds, queue_crd, schedule_crd};
pub use current_attempt::{CurrentAttempt, HoldUp, RetryWait, StopReason};
pub use event_reason::EventReason;
pub use history::{Action, EndReason, FailureCount, HistoryEntry, LastFailure};
pub use queue::{
    Circuit, CircuitBreaker, CircuitMode, CircuitState, OpenAfter, Probe, Probes, QueueConditionType, RetryShare,
    ServiceFailures, StartRate, StopPolicy, TaskQueue, TaskQueueSpec, TaskQueueStatus,
};
pub use queue_ref::{QueueRef, QueueSlot};
pub use rules::{Budgets, FailureRule, IntOrText, Preset, RuleAction, When};
pub use schedule::{
    Missed, MissedPolicy, Overlap, RunHistory, TaskSchedule, TaskScheduleSpec, TaskTemplate, TemplateMetadata,
};
pub use schedule_status::{ActiveRun, Backfill, PlannedRun, RunCause, ScheduleState, SkippedRuns, TaskScheduleStatus};
pub use status::{Acknowledged, Fallback, FallbackState, RetryableTaskStatus, Run, State};
pub use task::{Completion, PodRetention, RetryableTask, RetryableTaskSpec};

/// API group of the resources.
pub const GROUP: &str = "retryable.dev";

/// Label of an attempt's Pod: the task's name.
pub const LABEL_TASK_NAME: &str = "retryable.dev/task-name";
/// Label of an attempt's Pod: the task's UID.
pub const LABEL_TASK_UID: &str = "retryable.dev/task-uid";
/// Label of an attempt's Pod: the attempt's number, from 1.
pub const LABEL_ATTEMPT: &str = "retryable.dev/attempt";
/// Label of a fallback's Pod.
pub const LABEL_FALLBACK: &str = "retryable.dev/fallback";

/// Label of a schedule's task: the schedule's name.
pub const LABEL_SCHEDULE_NAME: &str = "retryable.dev/schedule-name";
/// Label of a schedule's task: the schedule's UID.
pub const LABEL_SCHEDULE_UID: &str = "retryable.dev/schedule-uid";
/// Annotation of a schedule's task: the time that it is for.
pub const ANNOTATION_SCHEDULED_TIME: &str = "retryable.dev/scheduled-time";

/// Annotation of an attempt's Pod: the generation of the spec that it was made from.
pub const ANNOTATION_GENERATION: &str = "retryable.dev/generation";
/// Annotation of an attempt's Pod: a hash of the part of the spec that it was made from.
pub const ANNOTATION_TEMPLATE_HASH: &str = "retryable.dev/pod-template-hash";
/// Annotation of an attempt's Pod: which containers decide, if not the main one alone.
pub const ANNOTATION_COMPLETION: &str = "retryable.dev/completion";
/// Request by annotation of a task: start the next attempt now.
pub const ANNOTATION_RETRY_NOW: &str = "retryable.dev/retry-now";
/// Request by annotation of a task: run again once it has ended.
pub const ANNOTATION_RUN_AGAIN: &str = "retryable.dev/run-again";
/// Request by annotation of a task: stop it for good.
pub const ANNOTATION_CANCEL: &str = "retryable.dev/cancel";
/// Request by annotation of a schedule: start a run now.
pub const ANNOTATION_TRIGGER: &str = "retryable.dev/trigger";
/// Request by annotation of a schedule: go on after a pause.
pub const ANNOTATION_RESUME: &str = "retryable.dev/resume";
/// Request by annotation of a schedule: start the times of an interval that has passed.
pub const ANNOTATION_BACKFILL: &str = "retryable.dev/backfill";

/// Finalizer of an attempt's Pod: the API server keeps the Pod until its end is recorded in the task's status.
pub const FINALIZER: &str = "retryable.dev/attempt";

/// The main container's name, unless the template names another. Its end is the attempt's end.
pub const MAIN_CONTAINER: &str = "task";
