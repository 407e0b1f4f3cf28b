//! How many tasks are in which state. The caches of the controllers count them as they change; a scrape only reads.

use super::labels::Labeller;
use crate::api::State;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::{MetricType, gauge::ConstGauge};
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The states that are shown, also where no task is in them.
const STATES: [State; 9] = [
    State::Pending,
    State::Blocked,
    State::Running,
    State::Waiting,
    State::Queued,
    State::Suspended,
    State::Succeeded,
    State::Failed,
    State::Cancelled,
];

/// Where one task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPlace {
    /// Its state.
    pub state: State,
    /// Since when something has kept its attempt from starting, if something does.
    pub pending_since: Option<Timestamp>,
}

/// The tasks of all controllers of this process. None where it does not lead: the metrics are absent then.
#[derive(Clone, Debug, Default)]
pub struct TaskCounts {
    labeller: Labeller,
    namespaces: Arc<Mutex<BTreeMap<Box<str>, Counts>>>,
}

/// The tasks of one namespace.
#[derive(Clone, Debug, Default)]
struct Counts {
    by_state: BTreeMap<&'static str, u64>,
    pending: BTreeMap<Timestamp, u64>,
}

impl TaskCounts {
    pub(super) fn new(labeller: Labeller) -> Self {
        Self { labeller, namespaces: Arc::default() }
    }

    /// Counts a task.
    pub fn enter(&self, namespace: &str, place: TaskPlace) {
        let TaskPlace { state, pending_since } = place;
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if !namespaces.contains_key(namespace) {
            namespaces.insert(namespace.into(), Counts::default());
        }
        let Some(counts) = namespaces.get_mut(namespace) else { return };
        *counts.by_state.entry(state.as_str()).or_default() += 1;
        if let Some(since) = pending_since {
            *counts.pending.entry(since).or_default() += 1;
        }
    }

    /// No longer counts a task that has been counted there.
    pub fn leave(&self, namespace: &str, place: TaskPlace) {
        let TaskPlace { state, pending_since } = place;
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = namespaces.get_mut(namespace) else { return };
        decrement(&mut counts.by_state, &state.as_str());
        if let Some(since) = pending_since {
            decrement(&mut counts.pending, &since);
        }
        if counts.by_state.is_empty() {
            namespaces.remove(namespace);
        }
    }

    /// By the name that is shown: one without a name if namespaces are not to be told apart.
    fn shown(&self) -> BTreeMap<Box<str>, Counts> {
        let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if self.labeller.has_namespace() || namespaces.is_empty() {
            return namespaces.clone();
        }
        let mut all = Counts::default();
        for Counts { by_state, pending } in namespaces.values() {
            for (state, count) in by_state {
                *all.by_state.entry(state).or_default() += count;
            }
            if let Some((since, count)) = pending.first_key_value() {
                *all.pending.entry(*since).or_default() += count;
            }
        }
        BTreeMap::from([("".into(), all)])
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Collector for TaskCounts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (shown, now) = (self.shown(), Timestamp::now());
        let mut tasks = encoder.encode_descriptor("tasks", "Tasks by their state now", None, MetricType::Gauge)?;
        for (namespace, Counts { by_state, pending: _ }) in &shown {
            let known = STATES.map(State::as_str);
            let others = by_state.keys().copied().filter(|state| !known.contains(state));
            for state in known.into_iter().chain(others) {
                let mut labels = self.labeller.namespace(namespace);
                labels.push(("state".into(), state.into()));
                let count = ConstGauge::new(by_state.get(state).copied().unwrap_or(0));
                count.encode(tasks.encode_family(&labels)?)?;
            }
        }
        let help = "How long the task that has been Pending longest has been so";
        let mut oldest = encoder.encode_descriptor("oldest_pending", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (namespace, Counts { by_state: _, pending }) in &shown {
            let since = pending.first_key_value().map(|(since, _)| now.duration_since(*since).as_secs().max(0));
            ConstGauge::new(since.unwrap_or(0)).encode(oldest.encode_family(&self.labeller.namespace(namespace))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
