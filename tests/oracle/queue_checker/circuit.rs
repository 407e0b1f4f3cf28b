//! Who starts while the circuit is open or half-open, or the queue is held.

use super::super::Violation;
use super::record::{Hold, QueueRecord, Queues, Version, state};
use retryable_tasks::api::{Circuit, CircuitState, StopPolicy};

pub fn check(queues: &Queues, violations: &mut Vec<Violation>) {
    for queue in &queues.all {
        for hold in queues.holds_of(queue).filter(|hold| hold.slot.grant_time.is_some()) {
            while_open(queues, queue, hold, violations);
            while_half_open(queues, queue, hold, violations);
            while_held(queues, queue, hold, violations);
        }
        probes(queue, violations);
    }
}

fn circuit(version: &Version) -> Option<&Circuit> {
    version.queue.as_ref()?.status.as_ref()?.circuit.as_ref()
}

/// Whether the process that started the attempt had to know of that version of the queue.
///
/// The state is stored before it takes effect, so the process that stored it goes by it at once. What another one has stored, an earlier or a
/// later one, is the residual: a request that was on its way when the other listed.
fn had_to_know(queues: &Queues, version: &Version, hold: &Hold) -> bool {
    queues.knows(hold.by, hold.called, (version.by, version.at))
}

/// Q5: between the writes Open and HalfOpen nobody starts.
fn while_open(queues: &Queues, queue: &QueueRecord, hold: &Hold, violations: &mut Vec<Violation>) {
    let Some(index) = queue.version_at(hold.from) else { return };
    let opened = &queue.versions[queue.state_since(index)];
    if state(opened.queue.as_ref()) == CircuitState::Open && had_to_know(queues, opened, hold) {
        let text = format!(
            "{}: {} starts attempt {} at {:?}, open since {:?}",
            queue.name, hold.task.name, hold.attempt, hold.from, opened.at
        );
        violations.push(Violation::new("nothing starts while the circuit is open", text));
    }
}

/// Q6: who starts half-open is named before it starts, and knows that it is a probe; no others are probes.
fn while_half_open(queues: &Queues, queue: &QueueRecord, hold: &Hold, violations: &mut Vec<Violation>) {
    let Some(index) = queue.version_at(hold.from) else { return };
    let named = |version: &Version| {
        let mut probes = circuit(version).into_iter().flat_map(|circuit| &circuit.probes);
        probes.any(|probe| probe.task_uid == hold.task.uid && probe.attempt == hold.attempt)
    };
    let is_named = queue.versions[..=index].iter().any(named);
    let since = &queue.versions[queue.state_since(index)];
    let is_half_open = state(since.queue.as_ref()) == CircuitState::HalfOpen && had_to_know(queues, since, hold);
    let is_known_probe = is_named && hold.slot.probe;
    if !is_known_probe && (is_half_open || hold.slot.probe) {
        let text = format!(
            "{}: {} starts attempt {} at {:?}, half-open since {:?}; named: {is_named}, probe: {}",
            queue.name, hold.task.name, hold.attempt, hold.from, since.at, hold.slot.probe
        );
        violations.push(Violation::new("who starts half-open is named", text));
    }
}

/// No attempt starts while `stopPolicy` holds the queue, as far as the operator could know.
fn while_held(queues: &Queues, queue: &QueueRecord, hold: &Hold, violations: &mut Vec<Violation>) {
    let mut known = queue.between(hold.called.saturating_sub(queues.news()), hold.from);
    if known.all(|queue| queue.is_some_and(|queue| queue.spec.stop_policy != StopPolicy::None)) {
        let text = format!("{}: {} starts attempt {} at {:?}", queue.name, hold.task.name, hold.attempt, hold.from);
        violations.push(Violation::new("nothing starts in a held queue", text));
    }
}

/// No more probes are named than may run at a time. The status is written with the version that was read, so its spec is the one that the
/// operator went by, unless probes were named before an edit.
fn probes(queue: &QueueRecord, violations: &mut Vec<Violation>) {
    for (index, version) in queue.versions.iter().enumerate() {
        let since = queue.versions[queue.state_since(index)].at;
        let specs = queue.between(since, version.at).flatten().filter_map(|queue| queue.spec.circuit_breaker.as_ref());
        let most = specs.map(|breaker| breaker.probes.as_ref().and_then(|probes| probes.at_a_time).unwrap_or(1)).max();
        let named = circuit(version).map_or(0, |circuit| circuit.probes.len());
        if most.is_some_and(|most| usize::try_from(most).is_ok_and(|most| named > most)) {
            let text = format!("{}: at {:?} it names {named} probes of {most:?}", queue.name, version.at);
            violations.push(Violation::new("who starts half-open is named", text));
        }
    }
}
