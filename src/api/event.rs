//! The words of the Events.

use serde::Deserialize;

/// The reasons of Events that are no reason of a condition, a stop or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum EventReason {
    /// An attempt ended, and the task did not.
    AttemptFailed,
    /// Something keeps a Pod from starting.
    AttemptNotStarting,
    /// The spec has changed, and the attempt that waits is due at another time.
    RetryRescheduled,
    /// The task will be failed, and its fallback is started.
    FallbackStarted,
    /// The memory that `onOutOfMemory` has raised is not admitted.
    MemoryRaiseRejected,
    /// The status cannot be stored.
    StatusUpdateFailed,
    /// Containers that ran on after the main one are stopped.
    ContainersStopped,
    /// An annotation of the operator's group asks for nothing.
    UnknownAnnotation,
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
            Self::UnknownAnnotation => "UnknownAnnotation",
        }
    }
}
