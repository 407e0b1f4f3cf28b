//! What a task and its queue tell each other.
//!
//! `decide` says that a task wants to start an attempt ([`QueueDemand`]); the ledger of its queue says whether it may
//! ([`QueueView`]). An attempt holds a slot exactly while the task's stored status has `current.queue`: from the write that names
//! its Pod to the write that says how it ended. While its Pod is rejected and the next try waits, it holds none.

use crate::api::ServiceFailures;
use jiff::Timestamp;

/// What the queue of a task says to it: the queue whose slot the current attempt holds, else that of `spec.queue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Whether the next attempt may start. It does not matter to an attempt that holds a slot.
    pub admission: Admission,
    /// Which failures are failures of the service: `circuitBreaker.failures`. None: every failure that is retried.
    pub failures: Option<ServiceFailures>,
    /// Whether attempts that hold a slot are stopped, uncharged.
    pub drain: bool,
}

/// Whether an attempt may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted {
        /// The number of the attempt that may start, and no other.
        attempt: i32,
        /// Whether it probes a service whose circuit is half-open.
        probe: bool,
        /// When the queue let it start.
        at: Timestamp,
    },
    /// It waits.
    Waits {
        /// For what.
        reason: QueueWaitReason,
        /// For what, in words.
        message: String,
        /// Whether it is in the line, so that it could have started.
        is_in_line: bool,
    },
    /// There is no queue of that name.
    Missing,
}

/// What an attempt waits for.
#[cfg_attr(test, derive(strum::EnumIter))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueWaitReason {
    /// All slots are held.
    Full,
    /// It is a retry, and all slots for retries are held.
    RetriesFull,
    /// `startRate` allows no further start yet.
    RateLimited,
    /// The circuit is open or half-open.
    CircuitOpen,
    /// The circuit has closed, and the slots grow again.
    Recovering,
    /// `stopPolicy` lets nothing start.
    Held,
}

impl QueueWaitReason {
    /// The reason of the condition `Queued`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "QueueFull",
            Self::RetriesFull => "RetriesFull",
            Self::RateLimited => "RateLimited",
            Self::CircuitOpen => "CircuitOpen",
            Self::Recovering => "Recovering",
            Self::Held => "Held",
        }
    }
}

/// An attempt whose time has come, and that starts once its queue lets it. A task without one is not in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDemand {
    /// Name of the queue.
    pub queue: String,
    /// Number of the attempt.
    pub attempt: i32,
    /// Whether it is a retry: not the first attempt of its run.
    pub is_retry: bool,
    /// How many retries the task has left.
    pub retries_left: i32,
    /// The priority, from -10 to 10.
    pub priority: i32,
    /// The fairness key.
    pub fairness_key: Option<String>,
    /// Since when it has waited: its due time, without the time that the task was suspended.
    pub since: Timestamp,
}
