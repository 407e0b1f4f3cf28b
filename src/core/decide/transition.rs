//! What is reported once it is stored: an Event, a metric, a log line.

use super::{PodRef, Request};
use crate::api::{ConditionReason, HistoryEntry, HoldUp};
use crate::core::delay::DelayRange;
use crate::core::slot::Slot;
use jiff::{SignedDuration, Timestamp};

/// What happened to a task: the source of Events, metrics and log lines.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// An attempt, or the fallback, may start; its Pod is about to be created.
    Started {
        /// Which.
        slot: Slot,
    },
    /// An attempt ended.
    Ended {
        /// What is now in the history, or would be if it had room.
        entry: Box<HistoryEntry>,
        /// The wait before the next attempt, if one follows after a wait.
        wait: Option<Wait>,
        /// The message of its end in one line.
        line: Option<String>,
    },
    /// The spec has changed, and with it the wait for the next attempt.
    Rescheduled {
        /// The attempt that waits.
        attempt: i32,
        /// Its wait now.
        wait: Wait,
    },
    /// The task ended.
    Finished {
        /// Whether it succeeded.
        succeeded: bool,
        /// Why.
        reason: ConditionReason,
        /// The condition's message.
        message: String,
    },
    /// The task will be failed when its fallback has ended.
    FallingBack {
        /// Why it fails.
        reason: ConditionReason,
        /// The condition's message.
        message: String,
    },
    /// A request by annotation was acknowledged.
    Acknowledged {
        /// Which request.
        request: Request,
        /// Its effect.
        effect: String,
    },
    /// The task cannot go on, for a new reason: a Pod cannot be created, or the spec makes no sense.
    Stalled {
        /// `PodRejected`, `FailedCreate`, `PodNameConflict` or `InvalidSpec`.
        reason: ConditionReason,
        /// The server's own words, or what is wrong.
        message: String,
    },
    /// The main container has ended, and containers that run on are stopped.
    ContainersStopped {
        /// Whose Pod it is.
        slot: Slot,
        /// The Pod.
        pod: PodRef,
        /// The containers' names.
        containers: Vec<String>,
    },
    /// The task has an annotation of this group that asks for nothing.
    UnknownAnnotation {
        /// What is wrong, and what may have been meant.
        effect: String,
    },
    /// The API server refused the memory that onOutOfMemory has raised: a raise was taken back.
    MemoryRaiseRejected {
        /// What the Pod gets now, and the server's own words.
        message: String,
    },
    /// The current Pod does not start, for a new reason.
    HeldUp {
        /// Whose Pod it is.
        slot: Slot,
        /// The Pod.
        pod: PodRef,
        /// What keeps it from starting.
        hold_up: HoldUp,
        /// Whether that only says how far it is, and not what is wrong.
        is_stage: bool,
    },
}

/// The wait before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The range that the jitter picks from.
    pub range: DelayRange,
    /// The wait that the jitter picked.
    pub delay: SignedDuration,
    /// When it ends.
    pub due: Timestamp,
}

impl Wait {
    /// Its length as the history has it.
    pub(super) fn milliseconds(self) -> i64 {
        i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX)
    }
}
