//! What is reported of a queue whose status was stored.

use crate::api::{Circuit, CircuitState, EventReason, TaskQueue};
use crate::controller::context::Context;
use crate::telemetry::metrics::ProbeResult;
use kube::{Resource, ResourceExt};

/// Log lines, metrics and Events of what was stored.
pub(super) fn report(context: &Context, before: &TaskQueue, after: &TaskQueue) {
    let state = |queue: &TaskQueue| queue.status.as_ref().and_then(|status| status.circuit.as_ref()).cloned();
    let (from, to) = (state(before), state(after).unwrap_or_default());
    let from = from.unwrap_or_default();
    let Circuit { state, until, cause, .. } = &to;
    let regarding = after.object_ref(&());
    let (namespace, name) = (after.namespace().unwrap_or_default(), after.name_any());
    let metrics = context.settings.telemetry.metrics.task_queues();
    for result in probe_results(&from, &to) {
        metrics.probed(&namespace, &name, result);
    }
    // Without a breaker there is no trip, and nothing has changed that somebody waits for.
    if from.state != *state || to.trip > from.trip {
        metrics.circuit_changed(&namespace, &name, state.as_str());
        tracing::info!(namespace, name, from = from.state.as_str(), to = state.as_str(), cause, "the circuit changed");
        let until = until.as_ref().map(|until| format!(", until {:.0}", until.0)).unwrap_or_default();
        let cause = cause.clone().unwrap_or_default();
        let event = match state {
            CircuitState::Open => {
                Some((true, EventReason::CircuitOpened, format!("no attempt starts{until}: {cause}")))
            }
            CircuitState::HalfOpen => {
                let probes: Vec<_> = to.probes.iter().map(|probe| probe.task.as_str()).collect();
                Some((false, EventReason::CircuitHalfOpened, format!("probes start: {}", probes.join(", "))))
            }
            CircuitState::Closed if from.state == CircuitState::WouldOpen => None,
            CircuitState::Closed => Some((false, EventReason::CircuitClosed, "attempts start again".to_owned())),
            CircuitState::WouldOpen => {
                let note = format!("with mode Enforce no attempt would start now: {cause}");
                Some((true, EventReason::CircuitWouldOpen, note))
            }
            CircuitState::Unknown => None,
        };
        if let Some((is_warning, reason, note)) = event {
            context.reporter.of_queue(regarding.clone(), is_warning, reason, &note);
        }
    }
    let held = |queue: &TaskQueue| {
        let conditions = queue.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let active = conditions.iter().find(|condition| condition.type_ == "Active");
        active.filter(|active| active.status == "False" && active.reason.starts_with("Held")).cloned()
    };
    if let Some(active) = held(after).filter(|active| held(before).is_none_or(|before| before.reason != active.reason))
    {
        context.reporter.of_queue(regarding, false, EventReason::Held, &active.message);
    }
}

/// What became of probes between two states of the circuit.
fn probe_results(from: &Circuit, to: &Circuit) -> Vec<ProbeResult> {
    if from.state != CircuitState::HalfOpen {
        return Vec::new();
    }
    match to.state {
        CircuitState::Open => vec![ProbeResult::Failed],
        CircuitState::Closed => vec![ProbeResult::Passed],
        CircuitState::HalfOpen => {
            let passed = usize::try_from(to.successes.saturating_sub(from.successes)).unwrap_or(0);
            let ended = from.probes.iter().filter(|probe| !to.probes.contains(probe)).count();
            let neutral = ended.saturating_sub(passed);
            let results = std::iter::repeat_n(ProbeResult::Passed, passed);
            results.chain(std::iter::repeat_n(ProbeResult::Neutral, neutral)).collect()
        }
        CircuitState::WouldOpen | CircuitState::Unknown => Vec::new(),
    }
}
