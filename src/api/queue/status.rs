//! The status of a `TaskQueue`.

use crate::api::skip::is_zero;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many attempts run and wait, and the state of the circuit. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskQueueStatus {
    /// The generation of the spec that this status reflects. -1 until the operator has seen the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How many attempts are under way, and how many may be, such as 3/20. For people: it may be 10 s old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,

    /// How many tasks wait for this queue, their next attempt being due. May be 10 s old.
    pub queued: i32,

    /// How many tasks wait for the time of their next attempt. May be 10 s old.
    pub waiting: i32,

    /// The circuit breaker. Absent without spec.circuitBreaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<Circuit>,

    /// Active is True while attempts may start, with the reason Recovering while the slots grow after an outage or a hold; else its reason is Held, HeldAndDrained, CircuitOpen, RetryAfter (a failed attempt has requested a delay) or InvalidSpec. CircuitOpen is True while the circuit is
    /// Open or HalfOpen. CircuitWouldOpen, with mode Observe, is True while the circuit would be open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The state of the circuit. It is stored before it takes effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Circuit {
    /// Closed: attempts start. Open: none starts. HalfOpen: the probes alone start. WouldOpen: with mode Observe, it would be open.
    #[schemars(with = "String")]
    pub state: CircuitState,

    /// Since when. Ends of attempts before it no longer count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,

    /// When the open circuit lets the first probes through. Absent with mode ForceOpen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,

    /// How often it has opened.
    pub trip: i32,

    /// How often in a row it has opened again because a probe failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub reopenings: i32,

    /// What it opened for: how many tasks failed, and their most frequent causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,

    /// How many probes have succeeded since it is HalfOpen.
    #[serde(skip_serializing_if = "is_zero")]
    pub successes: i32,

    /// The attempts that may start while it is HalfOpen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
}

/// An attempt that may start while the circuit is HalfOpen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Name of its task.
    pub task: String,

    /// UID of its task.
    #[serde(rename = "taskUID")]
    pub task_uid: String,

    /// The attempt's number.
    pub attempt: i32,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CircuitState {
    /// Attempts start.
    #[default]
    Closed,
    /// No attempt starts.
    Open,
    /// The probes alone start.
    HalfOpen,
    /// Attempts start; with mode Enforce none would.
    WouldOpen,
    /// Written by another version of the operator.
    #[serde(other)]
    Unknown,
}

impl CircuitState {
    /// Its value in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "Closed",
            Self::Open => "Open",
            Self::HalfOpen => "HalfOpen",
            Self::WouldOpen => "WouldOpen",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueConditionType {
    /// Attempts may start.
    Active,
    /// The circuit is open or half open.
    CircuitOpen,
    /// With mode Observe: the circuit would be open.
    CircuitWouldOpen,
}

impl QueueConditionType {
    /// The condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::CircuitOpen => "CircuitOpen",
            Self::CircuitWouldOpen => "CircuitWouldOpen",
        }
    }
}
