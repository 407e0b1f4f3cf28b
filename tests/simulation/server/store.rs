//! The objects, and every change of them.

use super::resource::Resource;
use crate::clock::WorldClock;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{Notify, mpsc};

/// The key of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace; empty without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of this object.
    pub fn new(resource: Resource, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { resource, namespace: namespace.into(), name: name.into() }
    }
}

/// Who asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A process under test, by its number in the world.
    Client(u32),
    /// A user with kubectl.
    User,
    /// The scheduler.
    Scheduler,
    /// A kubelet.
    Kubelet,
    /// The controller manager: garbage collector, Pod garbage collector, node lifecycle controller.
    Manager,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The object is new.
    Added,
    /// The object has changed.
    Modified,
    /// The object was deleted.
    Deleted,
}

/// One committed change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Age of the world at the commit.
    pub at: Duration,
    /// The version that it made.
    pub version: u64,
    /// What it did.
    pub kind: ChangeKind,
    /// To which object.
    pub key: Key,
    /// The object after the change; of a deletion, its last state.
    pub object: Arc<Value>,
    /// The object as it was before.
    pub before: Option<Arc<Value>>,
    /// Who asked.
    pub actor: Actor,
}

/// The objects and their history.
#[derive(Debug)]
pub struct Store {
    /// True time.
    pub clock: WorldClock,
    /// Wakes the garbage collector.
    pub collect: Arc<Notify>,
    seed: u64,
    version: u64,
    compacted: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    uses: BTreeMap<Key, u32>,
    listeners: BTreeMap<Key, Arc<Notify>>,
    new_pods: Option<mpsc::UnboundedSender<Key>>,
}

impl Store {
    /// An empty store.
    pub fn new(seed: u64, clock: WorldClock) -> Self {
        Self {
            clock,
            collect: Arc::new(Notify::new()),
            seed,
            version: 100,
            compacted: 100,
            objects: BTreeMap::new(),
            changes: vec![],
            uses: BTreeMap::new(),
            listeners: BTreeMap::new(),
            new_pods: None,
        }
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The oldest version whose changes can still be asked for.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Compacts: clients can no longer read the changes up to this version.
    pub fn compact(&mut self, version: u64) {
        self.compacted = self.compacted.max(version.min(self.version));
    }

    /// Every change since the beginning, oldest first, compacted or not.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes after this version, oldest first.
    pub fn changes_after(&self, version: u64) -> &[Change] {
        &self.changes[self.changes.partition_point(|change| change.version <= version)..]
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a resource, ordered by namespace and name.
    pub fn all(&self, resource: Resource) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let first = Key::new(resource, "", "");
        self.objects.range(first..).take_while(move |(key, _)| key.resource == resource)
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// An object as it was at a version.
    pub fn get_at(&self, key: &Key, version: u64) -> Option<Arc<Value>> {
        let upto = self.changes.partition_point(|change| change.version <= version);
        let last = self.changes[..upto].iter().rev().find(|change| change.key == *key)?;
        (last.kind != ChangeKind::Deleted).then(|| last.object.clone())
    }

    /// The objects of a resource as they were at a version.
    pub fn all_at(&self, resource: Resource, version: u64) -> Vec<Arc<Value>> {
        if version >= self.version {
            return self.all(resource).map(|(_, object)| object.clone()).collect();
        }
        let upto = self.changes.partition_point(|change| change.version <= version);
        let mut objects = BTreeMap::new();
        for change in self.changes[..upto].iter().filter(|change| change.key.resource == resource) {
            match change.kind {
                ChangeKind::Deleted => drop(objects.remove(&change.key)),
                ChangeKind::Added | ChangeKind::Modified => drop(objects.insert(&change.key, change.object.clone())),
            }
        }
        objects.into_values().collect()
    }

    /// The true time as metadata has it: cut to whole seconds.
    pub fn stamp(&self, offset: Duration) -> String {
        stamp(self.clock.now() + jiff::SignedDuration::try_from(offset).expect("an offset in range"))
    }

    /// The UID of the next object of this name. It depends on the seed and on how often the name was used, and on
    /// nothing else, so that runs with and without faults give the same tasks the same UIDs.
    pub fn next_uid(&mut self, key: &Key) -> String {
        let uses = self.uses.entry(key.clone()).or_insert(0);
        *uses += 1;
        let label = format!("{:?}/{}/{}/{uses}", key.resource, key.namespace, key.name);
        let mut random = crate::random::Random::fork(self.seed, &label);
        let (a, b) = (random.next(), random.next());
        let (node, low) = (b & 0xffff_ffff_ffff, (a >> 16) & 0xffff);
        format!("{:08x}-{low:04x}-4{:03x}-a{:03x}-{node:012x}", a >> 32, a & 0xfff, b >> 52)
    }

    /// A channel of the keys of Pods as they are created.
    pub fn new_pods(&mut self) -> mpsc::UnboundedReceiver<Key> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.new_pods = Some(sender);
        receiver
    }

    /// Is notified of the changes of one object. One listener an object.
    pub fn listener(&mut self, key: &Key) -> Arc<Notify> {
        self.listeners.entry(key.clone()).or_default().clone()
    }

    /// Commits a change, and returns it.
    pub fn commit(&mut self, actor: Actor, kind: ChangeKind, key: Key, mut object: Value) -> Change {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let before = match kind {
            ChangeKind::Deleted => self.objects.remove(&key),
            ChangeKind::Added | ChangeKind::Modified => self.objects.insert(key.clone(), object.clone()),
        };
        let change =
            Change { at: self.clock.elapsed(), version: self.version, kind, key: key.clone(), object, before, actor };
        self.changes.push(change.clone());
        if let Some(listener) = self.listeners.get(&key) {
            listener.notify_one();
        }
        if let (ChangeKind::Added, Resource::Pods, Some(new_pods)) = (kind, key.resource, &self.new_pods) {
            // The receiver is dropped when the world is torn down.
            let _ = new_pods.send(key);
        }
        let metadata = &change.object["metadata"];
        let owned = metadata["ownerReferences"].is_array();
        if kind == ChangeKind::Deleted || owned || metadata["deletionTimestamp"].is_string() {
            self.collect.notify_one();
        }
        change
    }
}

/// A time as metadata has it: cut to whole seconds.
pub fn stamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
