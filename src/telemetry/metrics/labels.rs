//! The labels that say whose a series is. What they can be is bounded.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Most values of one chosen label. Further ones count as [`OTHER`].
pub const MAX_VALUES: usize = 200;
/// Most queues, over all namespaces. Further ones count as [`OTHER`].
pub const MAX_QUEUES: usize = 1000;
/// Most combinations of the values of all chosen labels. In further ones, each value counts as [`OTHER`].
pub const MAX_COMBINATIONS: usize = 1000;
/// The value of a label for all that would be too many.
pub const OTHER: &str = "other";

/// Labels with their values.
pub(super) type LabelList = Vec<(Cow<'static, str>, Cow<'static, str>)>;

/// Which labels the metrics of tasks have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    chosen: Vec<ChosenLabel>,
    has_namespace: bool,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { chosen: Vec::new(), has_namespace: true }
    }
}

/// Two labels of tasks would be one label of the metrics.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--metrics-task-labels: {first} and {second} would both be the metrics' label {name}: leave one of them out")]
pub struct SameLabel {
    first: String,
    second: String,
    name: String,
}

/// A label of tasks, and its name in the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChosenLabel {
    key: String,
    name: String,
}

impl MetricsSettings {
    /// The counters of tasks get these `labels` of the task, and a namespace if `has_namespace`.
    ///
    /// # Errors
    /// When two labels have the same name in the metrics.
    pub fn new(labels: &[String], has_namespace: bool) -> Result<Self, SameLabel> {
        let mut chosen: Vec<ChosenLabel> = Vec::new();
        for key in labels {
            let name = metric_label(key);
            match chosen.iter().find(|other| other.name == name) {
                Some(other) if other.key == *key => {}
                Some(other) => return Err(SameLabel { first: other.key.clone(), second: key.clone(), name }),
                None => chosen.push(ChosenLabel { key: key.clone(), name }),
            }
        }
        Ok(Self { chosen, has_namespace })
    }
}

/// The name of a task's label in the metrics, as kube-state-metrics makes it: `label_`, and `_` for what is no letter and
/// no digit.
fn metric_label(key: &str) -> String {
    let rest: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("label_{rest}")
}

/// Whether it is the key of a Kubernetes label: `name` or `prefix/name`.
///
/// # Errors
/// Says what a key looks like.
pub fn check_label_key(key: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_name = |name: &str| {
        name.len() <= 63 && name.chars().all(is_inner) && name.starts_with(is_edge) && name.ends_with(is_edge)
    };
    let is_prefix = |prefix: &str| {
        let is_part = |part: &str| {
            let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !part.is_empty() && part.chars().all(is_inner) && !part.starts_with('-') && !part.ends_with('-')
        };
        prefix.len() <= 253 && prefix.split('.').all(is_part)
    };
    let is_key = key.split_once('/').map_or_else(|| is_name(key), |(prefix, name)| is_prefix(prefix) && is_name(name));
    let error = || format!("{key:?} is not the key of a label, such as team or example.com/team");
    if is_key { Ok(key.to_owned()) } else { Err(error()) }
}

/// What of a task is in the labels of its metrics.
#[derive(Clone, Copy, Debug)]
pub struct TaskIdentity<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The TaskQueue of its spec. Empty: none.
    pub queue: &'a str,
    /// Its labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// Makes the labels of a task's metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Labeller {
    settings: Arc<MetricsSettings>,
    known: Arc<Mutex<Known>>,
}

/// The values so far.
#[derive(Debug, Default)]
struct Known {
    queues: HashSet<(String, String)>,
    values: Vec<HashSet<String>>,
    combinations: HashSet<Vec<String>>,
}

impl Labeller {
    pub(super) fn new(settings: MetricsSettings) -> Self {
        let values = vec![HashSet::new(); settings.chosen.len()];
        let known = Known { values, ..Known::default() };
        Self { settings: Arc::new(settings), known: Arc::new(Mutex::new(known)) }
    }

    pub(super) fn has_namespace(&self) -> bool {
        self.settings.has_namespace
    }

    /// The namespace alone.
    pub(super) fn namespace(&self, namespace: &str) -> LabelList {
        let namespace = Some(namespace).filter(|_| self.settings.has_namespace);
        namespace.map(|namespace| label("namespace", namespace)).into_iter().collect()
    }

    /// Namespace and queue.
    pub(super) fn queue(&self, task: &TaskIdentity) -> LabelList {
        let mut labels = self.namespace(task.namespace);
        labels.push(label("queue", self.queue_name(task)));
        labels
    }

    /// A task may name any queue, also one that does not exist.
    fn queue_name<'a>(&self, task: &TaskIdentity<'a>) -> &'a str {
        if task.queue.is_empty() {
            return "";
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = (task.namespace.to_owned(), task.queue.to_owned());
        if known.queues.len() < MAX_QUEUES {
            known.queues.insert(queue.clone());
        }
        if known.queues.contains(&queue) { task.queue } else { OTHER }
    }

    /// Namespace, queue and the chosen labels.
    pub(super) fn task(&self, task: &TaskIdentity) -> LabelList {
        let mut labels = self.queue(task);
        let names = self.settings.chosen.iter().map(|chosen| Cow::Owned(chosen.name.clone()));
        labels.extend(names.zip(self.chosen(task).into_iter().map(Cow::Owned)));
        labels
    }

    fn chosen(&self, task: &TaskIdentity) -> Vec<String> {
        let chosen = &self.settings.chosen;
        if chosen.is_empty() {
            return Vec::new();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { queues: _, values, combinations } = &mut *known;
        let value = |key: &String| task.labels.and_then(|labels| labels.get(key)).cloned().unwrap_or_default();
        let bounded = |(chosen, values): (&ChosenLabel, &mut HashSet<String>)| {
            let value = value(&chosen.key);
            let fits = value.is_empty() || values.contains(&value) || values.len() < MAX_VALUES;
            if fits && !value.is_empty() {
                values.insert(value.clone());
            }
            if fits { value } else { OTHER.to_owned() }
        };
        let combination: Vec<String> = chosen.iter().zip(values.iter_mut()).map(bounded).collect();
        if combinations.len() < MAX_COMBINATIONS {
            combinations.insert(combination.clone());
        }
        if combinations.contains(&combination) { combination } else { vec![OTHER.to_owned(); chosen.len()] }
    }
}

fn label(name: &'static str, value: &str) -> (Cow<'static, str>, Cow<'static, str>) {
    (Cow::Borrowed(name), Cow::Owned(value.to_owned()))
}

#[cfg(test)]
mod tests;
