//! The attempts' Pods as the watch has shown them, by task. It has of each Pod what decisions need, and keeps a deleted Pod
//! until its attempt is recorded.

use super::TaskKey;
use crate::core::decide::TrackedPod;
use crate::core::pod_snapshot::PodSnapshot;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube_runtime::watcher::Event;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::SetOnce;
use tokio::time::Instant;

/// The attempts' Pods.
#[derive(Debug)]
pub struct PodCache {
    inner: Mutex<Inner>,
    begun: Instant,
    synced: SetOnce<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the Pod's name. Boxed, since most tasks have one Pod and a map allocates eleven values at a time.
    tasks: BTreeMap<TaskKey, BTreeMap<String, Box<Entry>>>,
    /// UIDs of the list in progress.
    listed: Option<HashSet<String>>,
}

#[derive(Debug)]
struct Entry {
    tracked: TrackedPod,
    version: u64,
    /// Whether the watch has shown its deletion. A later answer does not undo it.
    deleted: bool,
    /// Whether nothing is left to do with it as long as it and its task stay as they are.
    is_left_alone: bool,
}

/// Where a version of a Pod comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Watch,
    WatchDeletion,
    /// The answer to a GET or POST.
    Read,
    /// The answer to a PATCH or DELETE. The Pod may be deleted by then, so it adds no Pod to the cache.
    Write,
}

impl Default for PodCache {
    fn default() -> Self {
        Self { inner: Mutex::default(), begun: Instant::now(), synced: SetOnce::new() }
    }
}

impl PodCache {
    /// Applies a watch event. Returns the tasks whose Pods have changed.
    pub fn apply(&self, event: &Event<Pod>, now: Timestamp) -> Vec<TaskKey> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(pod) => {
                inner.listed.get_or_insert_default().extend(pod.metadata.uid.clone());
                inner.upsert(pod, Source::Watch, self.at(now)).into_iter().collect()
            }
            Event::InitDone => {
                let listed = inner.listed.take().unwrap_or_default();
                let touched = inner.mark_missing(&listed);
                // Each later list fails here, which is fine.
                let _ = self.synced.set(());
                touched
            }
            Event::Apply(pod) => inner.upsert(pod, Source::Watch, self.at(now)).into_iter().collect(),
            Event::Delete(pod) => inner.upsert(pod, Source::WatchDeletion, self.at(now)).into_iter().collect(),
        }
    }

    /// Applies the answer to a GET or POST. The watch shows the Pod later.
    pub fn answered(&self, pod: &Pod, now: Timestamp) {
        self.lock().upsert(pod, Source::Read, self.at(now));
    }

    /// Applies the answer to a PATCH or DELETE.
    pub fn changed(&self, pod: &Pod, now: Timestamp) {
        self.lock().upsert(pod, Source::Write, self.at(now));
    }

    /// The API server has no Pod of that name and UID.
    pub fn answered_not_found(&self, key: &TaskKey, pod_name: &str, pod_uid: &str) {
        let mut inner = self.lock();
        let entry = inner.tasks.get_mut(key).and_then(|pods| pods.get_mut(pod_name));
        if let Some(entry) = entry.filter(|entry| entry.tracked.pod.pod_uid == pod_uid) {
            entry.tracked.deleted = true;
        }
    }

    /// The UID of the cached Pod of that name.
    pub fn uid_of(&self, key: &TaskKey, pod_name: &str) -> Option<String> {
        self.lock().tasks.get(key)?.get(pod_name).map(|entry| entry.tracked.pod.pod_uid.clone())
    }

    /// The Pods of all tasks with that name, whatever the task's UID.
    pub fn of(&self, key: &TaskKey) -> Vec<TrackedPod> {
        self.lock()
            .tasks
            .get(key)
            .into_iter()
            .flat_map(|pods| pods.values())
            .map(|entry| entry.tracked.clone())
            .collect()
    }

    /// Nothing is left to do with these Pods of a task, seen so.
    pub fn leave_alone(&self, key: &TaskKey, seen: &[TrackedPod]) {
        let mut inner = self.lock();
        for entry in inner.tasks.get_mut(key).into_iter().flat_map(BTreeMap::values_mut) {
            entry.is_left_alone |= seen.contains(&entry.tracked);
        }
    }

    /// Whether the task has a Pod that is not deleted and not left alone.
    pub fn has_news(&self, key: &TaskKey) -> bool {
        let inner = self.lock();
        let mut entries = inner.tasks.get(key).into_iter().flat_map(BTreeMap::values);
        entries.any(|entry| !entry.tracked.deleted && !entry.is_left_alone)
    }

    /// Drops the messages of attempts that are recorded.
    pub fn forget_texts(&self, key: &TaskKey, recorded: impl Fn(&PodSnapshot) -> bool) {
        let mut inner = self.lock();
        for entry in inner.tasks.get_mut(key).into_iter().flat_map(BTreeMap::values_mut) {
            if recorded(&entry.tracked.pod) {
                entry.tracked.pod.forget_texts();
            }
        }
    }

    /// Drops deleted Pods that are no longer needed.
    pub fn forget_deleted(&self, key: &TaskKey, needed: impl Fn(&PodSnapshot) -> bool) {
        let mut inner = self.lock();
        if let Some(pods) = inner.tasks.get_mut(key) {
            pods.retain(|_, entry| !entry.tracked.deleted || needed(&entry.tracked.pod));
            if pods.is_empty() {
                inner.tasks.remove(key);
            }
        }
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        self.synced.get().is_some()
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        self.synced.wait().await;
    }

    /// How long this cache has existed, by the monotonic clock.
    pub fn uptime(&self) -> SignedDuration {
        SignedDuration::try_from(self.begun.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn at(&self, now: Timestamp) -> (Timestamp, SignedDuration) {
        (now, self.uptime())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock, and the map would be consistent even then.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn upsert(&mut self, pod: &Pod, source: Source, (now, uptime): (Timestamp, SignedDuration)) -> Option<TaskKey> {
        let snapshot = PodSnapshot::of(pod)?;
        let key = TaskKey { namespace: pod.metadata.namespace.clone()?, name: snapshot.task_name.clone() };
        let version = pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0);
        let known = self.tasks.get(&key).and_then(|pods| pods.get(&snapshot.pod_name));
        let old = known.filter(|old| old.tracked.pod.pod_uid == snapshot.pod_uid);
        // Removing the last finalizer deletes a Pod that is being deleted, and the answer has the version from before.
        let released = |old: &Entry| {
            old.version == version
                && !old.tracked.pod.has_finalizer
                && snapshot.has_finalizer
                && source != Source::WatchDeletion
        };
        if old.is_some_and(|old| old.version > version || released(old) || (old.deleted && source != Source::Watch))
            || (old.is_none() && source == Source::Write)
        {
            return Some(key); // an older version that arrived late
        }
        let is_deleted = source == Source::WatchDeletion;
        let tracked = TrackedPod::update(old.map(|old| &old.tracked), snapshot, (now, uptime));
        let tracked = TrackedPod { deleted: is_deleted, ..tracked };
        let is_left_alone = old.is_some_and(|old| old.is_left_alone && old.version == version);
        let entry = Entry { tracked, version, deleted: is_deleted, is_left_alone };
        self.tasks.entry(key.clone()).or_default().insert(entry.tracked.pod.pod_name.clone(), Box::new(entry));
        Some(key)
    }

    /// Pods that a complete list does not have are deleted.
    fn mark_missing(&mut self, listed: &HashSet<String>) -> Vec<TaskKey> {
        let mut touched = Vec::new();
        for (key, pods) in &mut self.tasks {
            for entry in pods.values_mut() {
                if !listed.contains(&entry.tracked.pod.pod_uid) && !entry.tracked.deleted {
                    entry.tracked.deleted = true;
                    touched.push(key.clone());
                }
            }
        }
        touched
    }
}

#[cfg(test)]
mod tests;
