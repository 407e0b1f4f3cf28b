//! What the queue's status says.

use super::{Ledger, Queue, State};
use crate::api::{Circuit, CircuitState, QueueConditionType, StopPolicy, TaskQueue, TaskQueueStatus};
use crate::core::condition_list;
use crate::core::queue::settings::Settings;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

const HELD: &str = "Held";
const HELD_AND_DRAINED: &str = "HeldAndDrained";
/// The reason while the slots grow. With the time of its transition, a new process knows since when.
const RECOVERING: &str = "Recovering";

/// How many attempts run and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that hold a slot.
    pub running: usize,
    /// How many may.
    pub slots: Option<usize>,
    /// Tasks that wait for the queue.
    pub queued: usize,
    /// Tasks whose next attempt is not due yet.
    pub waiting: usize,
}

impl Ledger {
    /// How many attempts run and wait.
    pub fn counts(&self) -> Counts {
        Counts {
            running: self.slots,
            slots: self.queue.as_ref().and_then(|queue| queue.settings.max_concurrent),
            queued: self.firsts.len() + self.retries.len() + self.spread.len(),
            waiting: self.waiting,
        }
    }

    /// Since when the task that has waited longest waits.
    pub fn oldest_wait(&self) -> Option<Timestamp> {
        let since = |state: &State| match state {
            State::Queued(place) => Some(place.demand.since),
            State::Idle | State::Granted(_) | State::Holds(..) => None,
        };
        self.members.values().filter_map(|member| since(&member.state)).min()
    }

    /// How long those waited who have been let in since this was last asked.
    pub fn take_waits(&mut self) -> Vec<SignedDuration> {
        std::mem::take(&mut self.waits)
    }

    /// The circuit as it is stored.
    pub fn circuit(&self) -> Option<&Circuit> {
        self.circuit.as_ref()
    }

    /// The status with that circuit. `before` is what is stored; a condition that has not changed keeps its time.
    pub fn status(&self, before: &TaskQueueStatus, circuit: Option<Circuit>, now: Timestamp) -> TaskQueueStatus {
        let Counts { running, slots, queued, waiting } = self.counts();
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let mut conditions = before.conditions.clone();
        let generation = self.queue.as_ref().and_then(|queue| queue.generation);
        if let Some(Queue { settings, .. }) = &self.queue {
            let closes =
                self.is_shut() && circuit.as_ref().is_some_and(|circuit| circuit.state == CircuitState::Closed);
            let slots_grow = self.is_recovering(now) || closes && self.growth().is_some();
            let limits = Limits { slots_grow, delay_requested: self.retry_after.is_some_and(|until| until > now) };
            set_conditions(&mut conditions, settings, circuit.as_ref(), limits, (now, generation));
        }
        TaskQueueStatus {
            observed_generation: generation,
            running: Some(slots.map_or_else(|| running.to_string(), |slots| format!("{running}/{slots}"))),
            queued: number(queued),
            waiting: number(waiting),
            circuit,
            conditions,
        }
    }
}

/// Since when the slots grow after a hold, by what is stored of the queue.
pub(super) fn released_since(queue: &TaskQueue, now: Timestamp) -> Option<Timestamp> {
    let conditions = queue.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let active = conditions.iter().find(|condition| condition.type_ == QueueConditionType::Active.as_str())?;
    match active.reason.as_str() {
        RECOVERING => Some(active.last_transition_time.0),
        // It has ended, and no process has seen it.
        HELD | HELD_AND_DRAINED if queue.spec.stop_policy == StopPolicy::None => Some(now),
        _ => None,
    }
}

/// What limits the starts beside the spec and the state of the circuit.
struct Limits {
    /// The slots grow.
    slots_grow: bool,
    /// An attempt has requested a delay.
    delay_requested: bool,
}

fn set_conditions(
    conditions: &mut Vec<Condition>,
    settings: &Settings,
    circuit: Option<&Circuit>,
    Limits { slots_grow, delay_requested }: Limits,
    at: (Timestamp, Option<i64>),
) {
    let state = circuit.map(|circuit| circuit.state);
    let is_open = matches!(state, Some(CircuitState::Open | CircuitState::HalfOpen));
    let cause = circuit.and_then(|circuit| circuit.cause.clone()).unwrap_or_default();
    let mut set = |type_: QueueConditionType, is: bool, reason: &str, message: &str| {
        condition_list::set_named(conditions, (type_.as_str(), is), reason, message, at);
    };
    let (active, reason, message) = match &settings.problem {
        Some(problem) => (false, "InvalidSpec", problem.clone()),
        None if settings.drain => {
            (false, HELD_AND_DRAINED, "stopPolicy is HoldAndDrain: no attempt starts, and none runs on".into())
        }
        None if settings.hold => (false, HELD, "stopPolicy is Hold: no attempt starts".into()),
        None if is_open => (false, "CircuitOpen", cause.clone()),
        None if delay_requested => {
            let message =
                "a failed attempt has requested a delay (retryAfterSeconds): no attempt starts until it is over";
            (false, "RetryAfter", message.into())
        }
        None if slots_grow => (true, RECOVERING, "attempts start, and the slots grow again".into()),
        None => (true, "Active", "attempts start".into()),
    };
    set(QueueConditionType::Active, active, reason, &message);
    let mut or_remove = |type_: QueueConditionType, is_there: bool, is: bool, message: &str| {
        if is_there {
            let reason = state.map_or("Closed", CircuitState::as_str);
            condition_list::set_named(conditions, (type_.as_str(), is), reason, message, at);
        } else {
            conditions.retain(|condition| condition.type_ != type_.as_str());
        }
    };
    let would_open = state == Some(CircuitState::WouldOpen);
    let observes = settings.breaker.as_ref().is_some_and(|breaker| breaker.mode == crate::api::CircuitMode::Observe);
    let said = if cause.is_empty() { "the circuit is closed" } else { &cause };
    or_remove(QueueConditionType::CircuitOpen, settings.breaker.is_some() && !observes, is_open, said);
    or_remove(QueueConditionType::CircuitWouldOpen, observes, would_open, said);
}
