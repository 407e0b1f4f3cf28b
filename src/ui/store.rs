//! The objects as the watches have shown them.

use super::record::{Key, PodRecord, QueueRecord, ScheduleRecord, Shared, TaskRecord};
use jiff::Timestamp;
use kube_runtime::watcher::Event;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// The namespace that a watch is of; all of them if `None`.
pub type Watched = Option<String>;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `RetryableTask`.
    Tasks,
    /// `TaskQueue`.
    Queues,
    /// `TaskSchedule`.
    Schedules,
    /// The attempts' Pods.
    Pods,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tasks, Self::Queues, Self::Schedules, Self::Pods];

    /// Its API group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Tasks | Self::Queues | Self::Schedules => crate::api::GROUP,
            Self::Pods => "",
        }
    }

    /// Its plural in the API.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Tasks => "retryabletasks",
            Self::Queues => "taskqueues",
            Self::Schedules => "taskschedules",
            Self::Pods => "pods",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural())
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Store {
    /// The tasks.
    pub tasks: Table<TaskRecord>,
    /// The queues.
    pub queues: Table<QueueRecord>,
    /// The schedules.
    pub schedules: Table<ScheduleRecord>,
    /// The attempts' Pods.
    pub pods: Table<PodRecord>,
    /// What many of them have.
    pub shared: Shared,
    /// What is wrong with a watch now.
    pub problems: BTreeMap<(Kind, Watched), String>,
    /// Since when the API server has not answered, and what came instead.
    pub away: Option<(Timestamp, String)>,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Table<R> {
    rows: BTreeMap<Key, Row<R>>,
    /// How many changes there have been.
    version: u64,
    /// What a list in progress has shown so far, by watch.
    listing: HashMap<Watched, HashSet<Key>>,
    /// The watches that have shown all their objects.
    listed: HashSet<Watched>,
}

#[derive(Debug)]
struct Row<R> {
    record: R,
    /// The number of its last change.
    version: u64,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), version: 0, listing: HashMap::new(), listed: HashSet::new() }
    }
}

/// What a watch has shown, with the key and the record of each object.
pub type Seen<R> = Event<(Key, Option<R>)>;

impl<R> Table<R> {
    /// Applies an event of the watch of `watched`. A record that is missing changes nothing.
    pub fn apply(&mut self, watched: &Watched, event: Seen<R>) {
        match event {
            Event::Init => {
                self.listing.insert(watched.clone(), HashSet::new());
            }
            Event::InitApply((key, record)) => {
                self.listing.entry(watched.clone()).or_default().insert(key.clone());
                self.put(key, record);
            }
            Event::InitDone => {
                let seen = self.listing.remove(watched).unwrap_or_default();
                let is_of = |key: &Key| watched.as_deref().is_none_or(|namespace| *key.namespace == *namespace);
                self.rows.retain(|key, _| !is_of(key) || seen.contains(key));
                self.listed.insert(watched.clone());
            }
            Event::Apply((key, record)) => self.put(key, record),
            Event::Delete((key, _)) => drop(self.rows.remove(&key)),
        }
    }

    fn put(&mut self, key: Key, record: Option<R>) {
        if let Some(record) = record {
            self.version += 1;
            self.rows.insert(key, Row { record, version: self.version });
        }
    }

    /// Whether these watches have shown all their objects.
    pub fn is_listed(&self, watched: &[Watched]) -> bool {
        watched.iter().all(|watched| self.listed.contains(watched))
    }

    /// The objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &R)> {
        self.rows.iter().map(|(key, row)| (key, &row.record))
    }

    /// The objects of a namespace, by name.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = (&Key, &R)> {
        self.versions_of(namespace).map(|(key, record, _)| (key, record))
    }

    /// The objects of a namespace, each with the number of its last change.
    pub fn versions_of(&self, namespace: &str) -> impl Iterator<Item = (&Key, &R, u64)> {
        let first = Key { namespace: namespace.into(), name: "".into() };
        let namespace = first.namespace.clone();
        let rows = self.rows.range(first..).take_while(move |(key, _)| key.namespace == namespace);
        rows.map(|(key, row)| (key, &row.record, row.version))
    }

    /// The number of the object's last change.
    pub fn version(&self, key: &Key) -> Option<u64> {
        self.rows.get(key).map(|row| row.version)
    }

    /// The namespaces that have objects, by name. It takes no longer for many objects than for few.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        let first = self.rows.first_key_value().map(|(key, _)| key);
        let namespaces = std::iter::successors(first, |key| {
            // No text is between this one and the next.
            let beyond = Key { namespace: format!("{}\0", key.namespace).into(), name: "".into() };
            self.rows.range(beyond..).next().map(|(key, _)| key)
        });
        namespaces.map(|key| &key.namespace)
    }

    /// That object.
    pub fn get(&self, key: &Key) -> Option<&R> {
        self.rows.get(key).map(|row| &row.record)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests;
