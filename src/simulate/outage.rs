//! Many tasks that call one service, and an outage of it: what becomes of them without a queue, with a queue, and with its
//! circuit breaker. The decisions are those of the operator, of each task and of the queue.

mod crowd;
mod failure;
mod text;

use super::outcomes::Outcome;
use super::run::START;
use super::{Attempt, Error, notes_on};
use crate::api::{CircuitMode, RetryableTask, StopPolicy, TaskQueue};
use crate::core::end_text::reason_and_code;
use crate::core::time::plus;
use crowd::Crowd;
use jiff::SignedDuration;
use serde::Serialize;
use std::collections::BTreeMap;

/// What happens to the service, and to how many tasks.
#[derive(Clone, Debug)]
pub struct Outage {
    /// The queue of the tasks.
    pub queue: Option<TaskQueue>,
    /// How many tasks there are, from 1.
    pub tasks: u32,
    /// Over how long they are created, evenly.
    pub created_over: SignedDuration,
    /// How long the service is down, from the creation of the first task on.
    pub down: SignedDuration,
    /// How an attempt ends that starts while it is down. None: as the queue's circuit breaker expects of a failure of the
    /// service, or with exit code 1.
    pub failure: Option<Outcome>,
    /// How long an attempt runs before it ends, in seconds.
    pub run_seconds: f64,
    /// How many attempts of one task are followed.
    pub attempts: usize,
}

/// What becomes of the tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutageSimulation {
    /// The task's name.
    pub name: String,
    /// The task's namespace, if the manifest has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The queue's name, if there is one.
    pub queue: Option<String>,
    /// How many tasks there are.
    pub tasks: u32,
    /// Over how long they are created, in milliseconds.
    pub created_over_milliseconds: i64,
    /// How long the service is down, in milliseconds.
    pub down_milliseconds: i64,
    /// How long an attempt runs before it ends, in milliseconds.
    pub run_milliseconds: i64,
    /// How an attempt ends that starts while the service is down. None if there is none.
    pub failure: Option<String>,
    /// Without a queue; with it, but without its circuit breaker, if it has one; with it as it is.
    pub cases: Vec<Case>,
    /// Further remarks, in sentences.
    pub notes: Vec<String>,
}

/// Which limits the tasks are under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Limits {
    /// They have no queue.
    NoQueue,
    /// They have the queue, without its circuit breaker.
    NoBreaker,
    /// They have the queue.
    Queue,
}

/// What becomes of the tasks under some limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// The limits.
    pub limits: Limits,
    /// Tasks that succeed.
    pub succeeded: usize,
    /// Tasks that fail, by reason.
    pub failed: BTreeMap<String, usize>,
    /// Tasks of which no end is seen: they wait for ever, or have more attempts than are followed.
    pub not_followed: usize,
    /// Tasks whose fallback runs.
    pub fallbacks: usize,
    /// Attempts that start.
    pub attempts: usize,
    /// Attempts that start while the service is down.
    pub attempts_while_down: usize,
    /// Attempts that probe a half-open circuit.
    pub probes: usize,
    /// Most attempts under way at a time.
    pub most_at_a_time: usize,
    /// Most attempts that start within a second, once the service is back.
    pub most_starts_in_a_second: usize,
    /// When the first attempt starts once the service is back, in milliseconds.
    pub first_start_after_milliseconds: Option<i64>,
    /// When the last task ends, in milliseconds. None if one does not.
    pub last_end_milliseconds: Option<i64>,
    /// The states of the circuit in their order, from the first time that it opens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub circuit: Vec<CircuitChange>,
}

/// A state of the circuit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitChange {
    /// The state.
    pub state: &'static str,
    /// When it begins, in milliseconds.
    pub at_milliseconds: i64,
    /// Until when nothing starts at least, in milliseconds.
    pub until_milliseconds: Option<i64>,
    /// What it opened for.
    pub cause: Option<String>,
}

/// Simulates copies of a task that was admitted.
///
/// # Errors
/// The template gives a Pod that this version cannot read.
pub fn outage(task: &RetryableTask, outage: &Outage) -> Result<OutageSimulation, Error> {
    let breaker = outage.queue.as_ref().and_then(|queue| queue.spec.circuit_breaker.as_ref());
    let failures = breaker.and_then(|breaker| breaker.failures.as_ref());
    let run_seconds = outage.run_seconds;
    let fails = outage.failure.clone().unwrap_or_else(|| failure::of(failures));
    let fails = Outcome { run_seconds, ..fails };
    let succeeds = Outcome { exit_code: Some(0), run_seconds, ..Outcome::default() };
    let back = plus(START, outage.down);
    let script = |_, now| if now < back { fails.clone() } else { succeeds.clone() };

    let mut cases = Vec::new();
    let (mut failure, mut is_of_service) = (None, false);
    for (limits, queue) in limits(outage.queue.as_ref()) {
        let played = Crowd::new(task, queue.as_ref(), outage, &script).play(outage.attempts)?;
        failure = failure.or_else(|| played.first_attempt().map(said));
        is_of_service = played.has_failed_service;
        cases.push(played.case(limits, back));
    }
    let never_ends = || fails.reason.clone().unwrap_or_else(|| "no end".into());
    let failure = outage.down.is_positive().then(|| failure.unwrap_or_else(never_ends));
    Ok(OutageSimulation {
        name: task.metadata.name.clone().unwrap_or_default(),
        namespace: task.metadata.namespace.clone(),
        queue: outage.queue.as_ref().and_then(|queue| queue.metadata.name.clone()),
        tasks: outage.tasks,
        created_over_milliseconds: millis(outage.created_over),
        down_milliseconds: millis(outage.down),
        run_milliseconds: millis(SignedDuration::try_from_secs_f64(run_seconds).unwrap_or_default()),
        notes: [notes_on(task), notes(outage, &cases, failure.as_deref(), is_of_service)].concat(),
        failure,
        cases,
    })
}

/// What is compared: a hold and an observing mode are played as if they were none.
fn limits(queue: Option<&TaskQueue>) -> Vec<(Limits, Option<TaskQueue>)> {
    let mut limits = vec![(Limits::NoQueue, None)];
    let Some(queue) = queue else { return limits };
    let mut queue = queue.clone();
    queue.metadata.uid = Some("queue".into());
    queue.spec.stop_policy = StopPolicy::None;
    if let Some(breaker) = queue.spec.circuit_breaker.as_mut() {
        if breaker.mode == CircuitMode::Observe {
            breaker.mode = CircuitMode::Enforce;
        }
        let mut without = queue.clone();
        without.spec.circuit_breaker = None;
        limits.push((Limits::NoBreaker, Some(without)));
    }
    limits.push((Limits::Queue, Some(queue)));
    limits
}

fn notes(outage: &Outage, cases: &[Case], failure: Option<&str>, is_of_service: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if cases.iter().any(|case| case.not_followed > 0) {
        notes.push(format!(
            "a task without an end waits for ever, or has more attempts than {} (--attempts): its attempts may lack \
             spec.attemptTimeoutSeconds",
            outage.attempts
        ));
    }
    let Some(queue) = &outage.queue else {
        notes.push("no queue: give one with --queue, or in the same file, to compare".into());
        return notes;
    };
    if queue.spec.stop_policy != StopPolicy::None {
        notes.push("the queue is held by its stopPolicy: this shows what happens once that is None".into());
    }
    let Some(breaker) = &queue.spec.circuit_breaker else {
        notes.push("the queue has no circuitBreaker".into());
        return notes;
    };
    match breaker.mode {
        CircuitMode::Observe => {
            notes.push("mode is Observe, which stops nobody: QUEUE shows what Enforce would do".into());
        }
        CircuitMode::ForceOpen => notes.push("mode is ForceOpen: nothing starts".into()),
        CircuitMode::ForceClosed => notes.push("mode is ForceClosed: the circuit never opens".into()),
        CircuitMode::Enforce => {}
    }
    let acts = matches!(breaker.mode, CircuitMode::Enforce | CircuitMode::Observe);
    let never_opens = cases.last().is_some_and(|case| case.circuit.is_empty());
    let Some(failure) = failure.filter(|_| acts && never_opens) else { return notes };
    if is_of_service {
        notes.push("the circuit does not open: fewer tasks fail than openAfter says".into());
    } else {
        notes.push(format!(
            "circuitBreaker.failures does not match an attempt that ends with {failure}, so the circuit cannot open: say with \
             --exit-code, --reason or --message how an attempt ends while the service is down"
        ));
    }
    notes
}

fn said(attempt: &Attempt) -> String {
    let error_type = attempt.error_type.as_ref().map(|type_| format!(", error type {type_}")).unwrap_or_default();
    format!("{}{error_type}", reason_and_code(&attempt.reason, attempt.exit_code))
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
