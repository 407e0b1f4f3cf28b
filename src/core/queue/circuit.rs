//! The circuit breaker: which state follows.
//!
//! A state is stored before it takes effect, so [`next`] says what is to be stored; the ledger goes by what is stored.

use super::settings::Breaker;
use crate::api::{Circuit, CircuitMode, CircuitState, Probe};
use crate::core::jitter_seed::jitter_seed;
use crate::core::time::{micros, plus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// What the circuit's next state follows from.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What is stored.
    pub circuit: &'a Circuit,
    /// UID of the queue, from which the jitter follows.
    pub queue_uid: &'a str,
    /// Why it should open, if so many tasks have failed.
    pub failing: Option<String>,
    /// What has become of each of the stored probes.
    pub probes: Vec<ProbeState>,
    /// Attempts that could be probes, the best first: as many as there can be probes at a time. None of the stored ones.
    pub candidates: Vec<Probe>,
    /// The time.
    pub now: Timestamp,
}

/// What has become of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// It has not ended.
    Open,
    /// It has succeeded, or has run so long that it counts as one that has.
    Passed,
    /// The service has failed it.
    Failed(String),
    /// It said nothing of the service, or there is no such attempt: another one takes its place.
    Gone,
}

/// The circuit that is to be stored, if it is another one than is stored.
#[allow(clippy::option_option)] // that there is no circuit is to be stored too
pub fn next(breaker: Option<&Breaker>, evidence: &Evidence) -> Option<Option<Circuit>> {
    let Some(breaker) = breaker else { return Some(None) };
    let next = match breaker.mode {
        CircuitMode::ForceOpen => forced_open(evidence),
        CircuitMode::ForceClosed => closed(evidence),
        CircuitMode::Observe => observed(evidence),
        CircuitMode::Enforce => enforced(breaker, evidence),
    };
    (next != *evidence.circuit).then_some(Some(next))
}

fn forced_open(evidence: &Evidence) -> Circuit {
    let circuit = evidence.circuit;
    if circuit.state == CircuitState::Open && circuit.until.is_none() {
        return circuit.clone();
    }
    let cause = Some("spec.circuitBreaker.mode is ForceOpen".into());
    Circuit { trip: circuit.trip.saturating_add(1), cause, ..entered(CircuitState::Open, evidence.now) }
}

/// The circuit closes, or stays closed.
fn closed(evidence: &Evidence) -> Circuit {
    let circuit = evidence.circuit;
    if circuit.state == CircuitState::Closed {
        return circuit.clone();
    }
    Circuit { trip: circuit.trip, ..entered(CircuitState::Closed, evidence.now) }
}

fn observed(evidence: &Evidence) -> Circuit {
    let circuit = evidence.circuit;
    match (&evidence.failing, circuit.state) {
        (Some(_), CircuitState::WouldOpen) => circuit.clone(),
        (Some(cause), _) => Circuit {
            trip: circuit.trip.saturating_add(1),
            cause: Some(cause.clone()),
            ..entered(CircuitState::WouldOpen, evidence.now)
        },
        (None, _) => closed(evidence),
    }
}

fn enforced(breaker: &Breaker, evidence: &Evidence) -> Circuit {
    let circuit = evidence.circuit;
    match circuit.state {
        CircuitState::Closed => match &evidence.failing {
            Some(cause) => opened(breaker, evidence, cause.clone(), 0),
            None => circuit.clone(),
        },
        // Whoever forced it open no longer does: the service is taken to be up.
        CircuitState::Open if circuit.until.is_none() => closed(evidence),
        CircuitState::Open => {
            // As long as nobody waits, nothing is to be let through.
            let is_over = circuit.until.as_ref().is_some_and(|until| until.0 <= evidence.now);
            if !is_over || evidence.candidates.is_empty() {
                return circuit.clone();
            }
            let half_open = Circuit {
                trip: circuit.trip,
                reopenings: circuit.reopenings,
                cause: circuit.cause.clone(),
                ..entered(CircuitState::HalfOpen, evidence.now)
            };
            with_probes(breaker, evidence, half_open)
        }
        CircuitState::HalfOpen => half_open(breaker, evidence),
        // It was only observed.
        CircuitState::WouldOpen | CircuitState::Unknown => closed(evidence),
    }
}

fn half_open(breaker: &Breaker, evidence: &Evidence) -> Circuit {
    let circuit = evidence.circuit;
    let failure = evidence.probes.iter().find_map(|state| match state {
        ProbeState::Failed(cause) => Some(cause),
        ProbeState::Open | ProbeState::Passed | ProbeState::Gone => None,
    });
    if let Some(cause) = failure {
        let cause = format!("a probe failed: {cause}");
        return opened(breaker, evidence, cause, circuit.reopenings.saturating_add(1));
    }
    let passed = evidence.probes.iter().filter(|state| **state == ProbeState::Passed).count();
    let successes = circuit.successes.saturating_add(i32::try_from(passed).unwrap_or(i32::MAX));
    if successes >= breaker.successes {
        return closed(evidence);
    }
    let states = circuit.probes.iter().zip(&evidence.probes);
    let probes = states.filter(|(_, state)| **state == ProbeState::Open).map(|(probe, _)| probe.clone()).collect();
    with_probes(breaker, evidence, Circuit { successes, probes, ..circuit.clone() })
}

/// Names as many probes as there may be, and as many as could still be needed.
fn with_probes(breaker: &Breaker, evidence: &Evidence, mut circuit: Circuit) -> Circuit {
    let needed = usize::try_from(breaker.successes.saturating_sub(circuit.successes)).unwrap_or(0);
    let room = breaker.at_a_time.min(needed).saturating_sub(circuit.probes.len());
    circuit.probes.extend(evidence.candidates.iter().take(room).cloned());
    circuit
}

fn opened(breaker: &Breaker, evidence: &Evidence, cause: String, reopenings: i32) -> Circuit {
    let trip = evidence.circuit.trip.saturating_add(1);
    let until = plus(evidence.now, open_time(breaker, evidence.queue_uid, trip, reopenings));
    Circuit {
        until: Some(MicroTime(micros(until))),
        trip,
        reopenings,
        cause: Some(cause),
        ..entered(CircuitState::Open, evidence.now)
    }
}

/// How long the circuit stays open: doubled for each probe that failed in a row, up to the cap, and up to a tenth more, so that
/// the queues of one service do not probe together.
fn open_time(breaker: &Breaker, queue_uid: &str, trip: i32, reopenings: i32) -> SignedDuration {
    let factor = 1i32.checked_shl(reopenings.clamp(0, 20).unsigned_abs()).unwrap_or(i32::MAX);
    let time = breaker.open.saturating_mul(factor).min(breaker.max_open);
    let tenth = u64::try_from(time.as_micros() / 10).unwrap_or(0);
    let more = (u128::from(jitter_seed(queue_uid, trip)) * u128::from(tenth)) >> 64;
    time.saturating_add(SignedDuration::from_micros(i64::try_from(more).unwrap_or(0)))
}

fn entered(state: CircuitState, now: Timestamp) -> Circuit {
    Circuit { state, since: Some(MicroTime(micros(now))), ..Circuit::default() }
}
