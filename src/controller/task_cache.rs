//! The tasks as the watch has shown them. One that has work left is held whole. Of a finished task at rest only its identity
//! and its time to live are held: whoever needs more of it reads it from the API server.

mod cached_task;

pub use cached_task::{CachedTask, Milestone, version_of};

use super::TaskKey;
use crate::api::State;
use crate::core::decide::AtRest;
use crate::telemetry::metrics::{TaskCounts, TaskPlace};
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The list that has a task which only the list of unfinished tasks, or its watch, has shown.
const NO_LIST: u32 = 0;

/// The tasks of one controller.
#[derive(Debug, Default)]
pub struct TaskCache {
    inner: Mutex<Inner>,
    /// The next time to live may be over sooner than before.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    tasks: BTreeMap<TaskKey, Entry>,
    /// When which finished task is to be deleted.
    expiries: BTreeSet<(Timestamp, TaskKey)>,
    /// The number of the last list that has begun.
    list: u32,
    /// Whether a list is complete.
    is_complete: bool,
    /// Tasks that were asked for before a list was complete, and that no list has shown yet.
    awaited: BTreeSet<TaskKey>,
    /// Where all tasks of the process are counted, those of this cache too.
    counts: TaskCounts,
}

#[derive(Debug)]
struct Entry {
    version: u64,
    /// The last list of all tasks that had it.
    list: u32,
    /// Whether the watch of unfinished tasks has shown this version. That of all tasks may follow with older ones.
    is_ahead: bool,
    /// Its state, if that is certain.
    state: Option<State>,
    known: KnownTask,
}

/// What is held of a task.
#[derive(Clone, Debug)]
pub enum KnownTask {
    /// All of it.
    Whole(Arc<CachedTask>),
    /// It is finished and at rest.
    AtRest(FinishedTask),
    /// Its UID: the task may be deleted, or finished. The API server knows.
    Uncertain(Box<str>),
}

/// What is held of a finished task at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTask {
    /// Its UID.
    pub uid: Box<str>,
    /// When it is to be deleted, if ever.
    pub expires: Option<Timestamp>,
}

/// What the cache has of a name.
#[derive(Clone, Debug)]
pub enum Cached {
    /// The task.
    Known(KnownTask),
    /// No task.
    Absent,
    /// No task yet: no list is complete. [`TaskCache::end_list`] returns the name if none shows it.
    NotListed,
}

impl KnownTask {
    /// Its UID.
    pub fn uid(&self) -> String {
        match self {
            Self::Whole(task) => task.uid().unwrap_or_default(),
            Self::AtRest(FinishedTask { uid, expires: _ }) | Self::Uncertain(uid) => uid.to_string(),
        }
    }
}

impl TaskCache {
    /// An empty cache, whose tasks are counted there.
    pub fn new(counts: TaskCounts) -> Self {
        Self { inner: Mutex::new(Inner { counts, ..Inner::default() }), sooner: Notify::new() }
    }

    /// What is held of the task.
    pub fn get(&self, key: &TaskKey) -> Cached {
        let mut inner = self.lock();
        match inner.tasks.get(key) {
            Some(entry) => Cached::Known(entry.known.clone()),
            None if inner.is_complete => Cached::Absent,
            None => {
                inner.awaited.insert(key.clone());
                Cached::NotListed
            }
        }
    }

    /// How many tasks it has.
    pub fn count(&self) -> usize {
        self.lock().tasks.len()
    }

    /// A list begins: tasks that it does not show are deleted.
    pub fn begin_list(&self) {
        let mut inner = self.lock();
        inner.list = inner.list.wrapping_add(1).max(NO_LIST + 1);
    }

    /// The list is complete. Returns the tasks that it did not show: they are deleted, or newer than the list.
    pub fn end_list(&self) -> Vec<TaskKey> {
        let mut inner = self.lock();
        let list = inner.list;
        let is_missing = |(_, entry): &(&TaskKey, &Entry)| entry.list != list;
        let missing: Vec<TaskKey> = inner.tasks.iter().filter(is_missing).map(|(key, _)| key.clone()).collect();
        for key in &missing {
            match inner.tasks.get(key) {
                Some(entry) if entry.list == NO_LIST => inner.doubt(key),
                Some(_) | None => inner.remove(key),
            }
        }
        inner.is_complete = true;
        let awaited = std::mem::take(&mut inner.awaited);
        missing.into_iter().chain(awaited).collect()
    }

    /// The list of unfinished tasks, or its watch, shows the task. False if that is no news.
    pub fn show_unfinished(&self, task: CachedTask) -> bool {
        let (key, version) = (task.key(), task.version());
        let mut inner = self.lock();
        let known = inner.tasks.get(&key);
        if inner.is_complete || known.is_some_and(|known| known.version >= version) {
            return false;
        }
        let list = known.map_or(NO_LIST, |known| known.list);
        inner.awaited.remove(&key);
        let state = Some(task.place().state);
        self.put(
            &mut inner,
            key,
            Entry { version, list, is_ahead: true, state, known: KnownTask::Whole(Arc::new(task)) },
        );
        true
    }

    /// The watch of unfinished tasks no longer has the task, from this version on. False if that is no news.
    pub fn doubt_unfinished(&self, key: &TaskKey, version: u64) -> bool {
        let mut inner = self.lock();
        let is_complete = inner.is_complete;
        let known = inner.tasks.get(key).filter(|known| !is_complete && known.version <= version);
        if !known.is_some_and(|known| matches!(known.known, KnownTask::Whole(_))) {
            return false;
        }
        inner.doubt(key);
        true
    }

    /// Whether the task is held as one at rest, of this version. The list in progress has shown it then.
    pub fn still_rests(&self, key: &TaskKey, version: u64) -> bool {
        let mut inner = self.lock();
        let list = inner.list;
        let Some(entry) = inner.tasks.get_mut(key) else { return false };
        if version == 0 || entry.version != version || !matches!(entry.known, KnownTask::AtRest(_)) {
            return false;
        }
        entry.list = list;
        if let Some(expires) = entry.expires() {
            self.expire_at(&mut inner, expires, key.clone());
        }
        true
    }

    /// The list or watch of all tasks shows the task. It is held whole, or as one at rest if it is.
    pub fn show(&self, task: CachedTask, at_rest: Option<AtRest>) {
        let (key, version, state) = (task.key(), task.version(), Some(task.place().state));
        let known = match at_rest {
            None => KnownTask::Whole(Arc::new(task)),
            Some(AtRest { expires }) => {
                KnownTask::AtRest(FinishedTask { uid: task.uid().unwrap_or_default().into(), expires })
            }
        };
        let mut inner = self.lock();
        inner.awaited.remove(&key);
        let list = inner.list;
        if let Some(newer) = inner.tasks.get_mut(&key).filter(|known| known.is_ahead_of(version)) {
            newer.list = list;
            return;
        }
        self.put(&mut inner, key, Entry { version, list, is_ahead: false, state, known });
    }

    /// The reconcile of this version found the task at rest. False if the cache has another version by now.
    pub fn rest(&self, key: &TaskKey, (uid, version): (&str, u64), AtRest { expires }: AtRest) -> bool {
        let mut inner = self.lock();
        let known = inner.tasks.get(key).filter(|known| version != 0 && known.version == version);
        let Some(&Entry { version, list, is_ahead, state, known: _ }) = known else { return false };
        let known = KnownTask::AtRest(FinishedTask { uid: uid.into(), expires });
        self.put(&mut inner, key.clone(), Entry { version, list, is_ahead, state, known });
        true
    }

    /// The watch of all tasks shows that this version is deleted.
    pub fn remove(&self, key: &TaskKey, version: u64) {
        let mut inner = self.lock();
        if inner.tasks.get(key).is_some_and(|known| !known.is_ahead_of(version)) {
            inner.remove(key);
        }
    }

    /// The API server no longer has the task, of which little is held. False if the watch has shown more of it since.
    pub fn remove_gone(&self, key: &TaskKey, gone: &str) -> bool {
        let mut inner = self.lock();
        let is_it = inner.tasks.get(key).is_some_and(|entry| match &entry.known {
            KnownTask::Whole(_) => false,
            KnownTask::AtRest(FinishedTask { uid, expires: _ }) | KnownTask::Uncertain(uid) => **uid == *gone,
        });
        if is_it {
            inner.remove(key);
        }
        is_it
    }

    /// The finished tasks that are to be deleted by now. They are not returned again unless [`expire_later`] or a list says
    /// so.
    ///
    /// [`expire_later`]: Self::expire_later
    pub fn take_expired(&self, now: Timestamp) -> Vec<TaskKey> {
        let mut inner = self.lock();
        let mut expired = Vec::new();
        while inner.expiries.first().is_some_and(|(at, _)| *at <= now) {
            expired.extend(inner.expiries.pop_first().map(|(_, key)| key));
        }
        expired
    }

    /// When the next finished task is to be deleted.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.lock().expiries.first().map(|(at, _)| *at)
    }

    /// Waits until [`next_expiry`](Self::next_expiry) may be sooner than before.
    pub async fn expires_sooner(&self) {
        self.sooner.notified().await;
    }

    /// The task's time to live is not over yet after all: the wall clock was set back.
    pub fn expire_later(&self, key: &TaskKey) {
        let mut inner = self.lock();
        if let Some(expires) = inner.tasks.get(key).and_then(Entry::expires) {
            self.expire_at(&mut inner, expires, key.clone());
        }
    }

    fn put(&self, inner: &mut Inner, key: TaskKey, entry: Entry) {
        let expires = entry.expires();
        inner.remove_expiry(&key);
        inner.insert(key.clone(), entry);
        if let Some(expires) = expires {
            self.expire_at(inner, expires, key);
        }
    }

    fn expire_at(&self, inner: &mut Inner, at: Timestamp, key: TaskKey) {
        if inner.expiries.first().is_none_or(|(next, _)| at < *next) {
            self.sooner.notify_one();
        }
        inner.expiries.insert((at, key));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock, and the maps would be consistent even then.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, key: TaskKey, entry: Entry) {
        if let Some(place) = entry.place() {
            self.counts.enter(&key.namespace, place);
        }
        if let Some(place) = self.tasks.get(&key).and_then(Entry::place) {
            self.counts.leave(&key.namespace, place);
        }
        self.tasks.insert(key, entry);
    }

    fn remove(&mut self, key: &TaskKey) {
        self.remove_expiry(key);
        if let Some(place) = self.tasks.remove(key).and_then(|entry| entry.place()) {
            self.counts.leave(&key.namespace, place);
        }
    }

    /// What is held of the task may be outdated.
    fn doubt(&mut self, key: &TaskKey) {
        let Some(entry) = self.tasks.get_mut(key) else { return };
        if let Some(place) = entry.place() {
            self.counts.leave(&key.namespace, place);
        }
        (entry.known, entry.state) = (KnownTask::Uncertain(entry.known.uid().into()), None);
    }

    fn remove_expiry(&mut self, key: &TaskKey) {
        if let Some(expires) = self.tasks.get(key).and_then(Entry::expires) {
            self.expiries.remove(&(expires, key.clone()));
        }
    }
}

impl Entry {
    fn is_ahead_of(&self, version: u64) -> bool {
        self.is_ahead && self.version > version
    }

    /// Where the metrics count it.
    fn place(&self) -> Option<TaskPlace> {
        match &self.known {
            KnownTask::Whole(task) => Some(task.place()),
            KnownTask::AtRest(_) | KnownTask::Uncertain(_) => {
                self.state.map(|state| TaskPlace { state, pending_since: None })
            }
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        match &self.known {
            KnownTask::Whole(_) | KnownTask::Uncertain(_) => None,
            KnownTask::AtRest(FinishedTask { uid: _, expires }) => *expires,
        }
    }
}

impl Drop for TaskCache {
    /// The process goes on without this controller.
    fn drop(&mut self) {
        let inner = self.lock();
        for (key, entry) in &inner.tasks {
            if let Some(place) = entry.place() {
                inner.counts.leave(&key.namespace, place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
