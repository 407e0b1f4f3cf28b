//! The metrics of TaskQueues. Their names are labels: queues are few and live long.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

const WAIT_BUCKETS: [f64; 12] = [0.1, 1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];
/// The states of a circuit.
const STATES: [&str; 4] = ["Closed", "Open", "HalfOpen", "WouldOpen"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    namespace: String,
    queue: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransitionLabels {
    namespace: String,
    queue: String,
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    namespace: String,
    queue: String,
    result: ProbeResult,
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ProbeResult {
    /// The service answered.
    Passed,
    /// The service failed.
    Failed,
    /// It said nothing of the service.
    Neutral,
}

/// How a queue is.
#[derive(Debug, Clone, Copy)]
pub struct QueueGauges<'a> {
    /// How many attempts run and wait.
    pub depth: QueueDepth,
    /// The circuit's state, if there is a circuit.
    pub circuit: Option<&'a str>,
    /// Whether `stopPolicy` holds it.
    pub is_held: bool,
}

/// How many attempts of a queue run and wait.
#[derive(Debug, Clone, Copy)]
pub struct QueueDepth {
    /// Attempts that hold a slot.
    pub running: usize,
    /// How many may. None: no limit.
    pub slots: Option<usize>,
    /// Tasks that wait for the queue.
    pub queued: usize,
    /// How long the one that has waited longest has waited.
    pub oldest_wait: Duration,
}

/// The metrics of all queues.
#[derive(Debug)]
pub struct TaskQueueMetrics {
    running: Family<Labels, Gauge>,
    slots: Family<Labels, Gauge>,
    queued: Family<Labels, Gauge>,
    oldest_wait: Family<Labels, Gauge>,
    held: Family<Labels, Gauge>,
    wait: Family<Labels, Histogram, fn() -> Histogram>,
    circuit_state: Family<StateLabels, Gauge>,
    circuit_transitions: Family<TransitionLabels, Counter>,
    probes: Family<ProbeLabels, Counter>,
}

impl TaskQueueMetrics {
    pub(super) fn new() -> Self {
        Self {
            running: Family::default(),
            slots: Family::default(),
            queued: Family::default(),
            oldest_wait: Family::default(),
            held: Family::default(),
            wait: Family::new_with_constructor(|| Histogram::new(WAIT_BUCKETS)),
            circuit_state: Family::default(),
            circuit_transitions: Family::default(),
            probes: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("queue_running", "Attempts that hold a slot of a TaskQueue", self.running.clone());
        registry.register("queue_slots", "maxConcurrent of a TaskQueue; absent without a limit", self.slots.clone());
        registry.register("queue_queued", "Tasks that are due and wait for their TaskQueue", self.queued.clone());
        registry.register_with_unit(
            "queue_oldest_wait",
            "How long the task that has waited longest has waited for its TaskQueue",
            Unit::Seconds,
            self.oldest_wait.clone(),
        );
        registry.register("queue_held", "1 while the stopPolicy of a TaskQueue holds it, else 0", self.held.clone());
        registry.register_with_unit(
            "queue_wait",
            "Time from when an attempt was due to when its TaskQueue let it start",
            Unit::Seconds,
            self.wait.clone(),
        );
        registry.register(
            "queue_circuit_state",
            "1 for the state that the circuit of a TaskQueue is in, 0 for the others",
            self.circuit_state.clone(),
        );
        registry.register(
            "queue_circuit_transitions",
            "Changes of the circuit of a TaskQueue, by the state it went to",
            self.circuit_transitions.clone(),
        );
        registry.register("queue_probes", "Probes of a TaskQueue's circuit that ended, by result", self.probes.clone());
    }

    /// Sets how a queue is. Its counters exist from now on.
    pub fn set(&self, namespace: &str, queue: &str, gauges: QueueGauges) {
        let QueueGauges { depth, circuit: state, is_held } = gauges;
        let QueueDepth { running, slots, queued, oldest_wait } = depth;
        let labels = labels(namespace, queue);
        self.held.get_or_create(&labels).set(is_held.into());
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.running.get_or_create(&labels).set(number(running));
        self.queued.get_or_create(&labels).set(number(queued));
        let oldest = i64::try_from(oldest_wait.as_secs()).unwrap_or(i64::MAX);
        self.oldest_wait.get_or_create(&labels).set(oldest);
        match slots {
            Some(slots) => {
                self.slots.get_or_create(&labels).set(number(slots));
            }
            None => {
                self.slots.remove(&labels);
            }
        }
        if state.is_some() {
            for result in [ProbeResult::Passed, ProbeResult::Failed, ProbeResult::Neutral] {
                let labels = ProbeLabels { namespace: namespace.into(), queue: queue.into(), result };
                drop(self.probes.get_or_create(&labels));
            }
        }
        for known in STATES {
            let labels = StateLabels { namespace: namespace.into(), queue: queue.into(), state: known };
            match state {
                Some(state) => {
                    self.circuit_state.get_or_create(&labels).set((state == known).into());
                    let labels = TransitionLabels { namespace: namespace.into(), queue: queue.into(), to: known };
                    drop(self.circuit_transitions.get_or_create(&labels));
                }
                None => {
                    self.circuit_state.remove(&labels);
                }
            }
        }
    }

    /// Removes what a queue had that is gone.
    pub fn remove(&self, namespace: &str, queue: &str) {
        let labels = labels(namespace, queue);
        for gauge in [&self.running, &self.slots, &self.queued, &self.oldest_wait, &self.held] {
            gauge.remove(&labels);
        }
        for state in STATES {
            self.circuit_state.remove(&StateLabels { namespace: namespace.into(), queue: queue.into(), state });
            let labels = TransitionLabels { namespace: namespace.into(), queue: queue.into(), to: state };
            self.circuit_transitions.remove(&labels);
        }
        self.wait.remove(&labels);
        for result in [ProbeResult::Passed, ProbeResult::Failed, ProbeResult::Neutral] {
            self.probes.remove(&ProbeLabels { namespace: namespace.into(), queue: queue.into(), result });
        }
    }

    /// Records how long an attempt waited before its queue let it start.
    pub fn started(&self, namespace: &str, queue: &str, waited: Duration) {
        self.wait.get_or_create(&labels(namespace, queue)).observe(waited.as_secs_f64());
    }

    /// Counts a change of the circuit.
    pub fn circuit_changed(&self, namespace: &str, queue: &str, to: &'static str) {
        let labels = TransitionLabels { namespace: namespace.into(), queue: queue.into(), to };
        self.circuit_transitions.get_or_create(&labels).inc();
    }

    /// Counts a probe that has ended.
    pub fn probed(&self, namespace: &str, queue: &str, result: ProbeResult) {
        let labels = ProbeLabels { namespace: namespace.into(), queue: queue.into(), result };
        self.probes.get_or_create(&labels).inc();
    }
}

fn labels(namespace: &str, queue: &str) -> Labels {
    Labels { namespace: namespace.into(), queue: queue.into() }
}
