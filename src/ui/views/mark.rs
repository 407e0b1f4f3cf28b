//! A state as a word with a shape.

use crate::api::{CircuitState, ScheduleState, State};

/// A state: its word, and the name of its shape and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The word.
    pub word: &'static str,
    /// The class of its shape and colour.
    pub class: &'static str,
}

impl Mark {
    const fn new(word: &'static str, class: &'static str) -> Self {
        Self { word, class }
    }

    /// That of a task.
    pub const fn of_task(state: State) -> Self {
        match state {
            State::Running => Self::new("Running", "running"),
            State::Waiting => Self::new("Waiting", "waiting"),
            State::Queued => Self::new("Queued", "queued"),
            State::Blocked => Self::new("Blocked", "blocked"),
            State::Pending => Self::new("Pending", "pending"),
            State::Suspended => Self::new("Suspended", "suspended"),
            State::Succeeded => Self::new("Succeeded", "succeeded"),
            State::Failed => Self::new("Failed", "failed"),
            State::Cancelled => Self::new("Cancelled", "cancelled"),
            State::Unknown => Self::new("Unreadable", "unknown"),
        }
    }

    /// That of a queue's circuit.
    pub const fn of_circuit(state: CircuitState) -> Self {
        match state {
            CircuitState::Closed => Self::new("Closed", "succeeded"),
            CircuitState::Open => Self::new("Open", "failed"),
            CircuitState::HalfOpen => Self::new("HalfOpen", "waiting"),
            CircuitState::WouldOpen => Self::new("WouldOpen", "pending"),
            CircuitState::Unknown => Self::new("Unknown", "unknown"),
        }
    }

    /// That of a schedule.
    pub const fn of_schedule(state: ScheduleState) -> Self {
        match state {
            ScheduleState::Scheduled => Self::new("Scheduled", "running"),
            ScheduleState::Suspended => Self::new("Suspended", "suspended"),
            ScheduleState::Paused => Self::new("Paused", "pending"),
            ScheduleState::Stalled => Self::new("Stalled", "failed"),
            ScheduleState::Unknown => Self::new("Unknown", "unknown"),
        }
    }

    /// A queue that is held.
    pub const HELD: Self = Self::new("Held", "suspended");
    /// What cannot be read.
    pub const UNREADABLE: Self = Self::new("Unreadable", "unknown");
    /// What the operator has not seen.
    pub const NEW: Self = Self::new("New", "pending");
    /// A replica of which nobody knows whether it leads.
    pub const READY: Self = Self::new("Ready", "running");
    /// A replica that leads.
    pub const LEADS: Self = Self::new("Leads", "running");
    /// A replica that stands by.
    pub const STANDS_BY: Self = Self::new("Stands by", "queued");
    /// A replica that is not ready.
    pub const NOT_READY: Self = Self::new("Not ready", "failed");
}
