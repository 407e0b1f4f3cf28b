//! Reasons of the Events.

use serde::Deserialize;

/// The reasons of Events that are not also the reason of a condition, a stop or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum EventReason {
    /// An attempt ended, and the task did not.
    AttemptFailed,
    /// Something keeps a Pod from starting.
    AttemptNotStarting,
    /// The spec has changed, and with it the time of the next attempt.
    RetryRescheduled,
    /// No retry is left: the fallback starts before the task is failed.
    FallbackStarted,
    /// The API server rejected a Pod with the memory that `onOutOfMemory` gave it.
    MemoryRaiseRejected,
    /// The status cannot be stored.
    StatusUpdateFailed,
    /// Containers that still ran after the main one had ended are stopped.
    ContainersStopped,
    /// A schedule has started a run.
    RunStarted,
    /// A run of a schedule has failed.
    RunFailed,
    /// A schedule has skipped times.
    RunSkipped,
    /// All times of a backfill are started.
    BackfillFinished,
    /// An annotation under the operator's group is not a known request.
    UnknownAnnotation,
    /// The circuit of a TaskQueue has opened: no attempt starts.
    CircuitOpened,
    /// The circuit of a TaskQueue lets probes start.
    CircuitHalfOpened,
    /// The circuit of a TaskQueue has closed: attempts start again.
    CircuitClosed,
    /// The circuit of a TaskQueue, which is only observed, would have opened.
    CircuitWouldOpen,
    /// A TaskQueue starts nothing, because its `stopPolicy` says so.
    Held,
}

impl EventReason {
    /// The Event's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptFailed => "AttemptFailed",
            Self::AttemptNotStarting => "AttemptNotStarting",
            Self::RetryRescheduled => "RetryRescheduled",
            Self::FallbackStarted => "FallbackStarted",
            Self::MemoryRaiseRejected => "MemoryRaiseRejected",
            Self::StatusUpdateFailed => "StatusUpdateFailed",
            Self::ContainersStopped => "ContainersStopped",
            Self::RunStarted => "RunStarted",
            Self::RunFailed => "RunFailed",
            Self::RunSkipped => "RunSkipped",
            Self::BackfillFinished => "BackfillFinished",
            Self::UnknownAnnotation => "UnknownAnnotation",
            Self::CircuitOpened => "CircuitOpened",
            Self::CircuitHalfOpened => "CircuitHalfOpened",
            Self::CircuitClosed => "CircuitClosed",
            Self::CircuitWouldOpen => "CircuitWouldOpen",
            Self::Held => "Held",
        }
    }
}
