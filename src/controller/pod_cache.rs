//! The attempts that the watch has shown, by task. It keeps what decides of each Pod, not the Pod; and it remembers a
//! Pod that is gone until its attempt is in the books.

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

/// What is known of the attempts' Pods.
#[derive(Debug)]
pub struct PodCache {
    inner: Mutex<Inner>,
    begun: Instant,
    synced: SetOnce<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the Pod's name. Most tasks have one Pod, and a map makes room for eleven of whatever it holds: boxes.
    tasks: BTreeMap<TaskKey, BTreeMap<String, Box<Entry>>>,
    /// UIDs that the list in progress has shown.
    listed: Option<HashSet<String>>,
}

#[derive(Debug)]
struct Entry {
    tracked: TrackedPod,
    version: u64,
    /// Whether the watch has shown its deletion, after which no answer brings it back.
    deleted: bool,
}

/// How a Pod came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Watch,
    Deletion,
    /// A request that finds or makes it.
    PodLookup,
    /// A request that changes it: by then it may be gone again, so it adds nothing that is not known.
    ChangeAnswer,
}

impl Default for PodCache {
    fn default() -> Self {
        Self { inner: Mutex::default(), begun: Instant::now(), synced: SetOnce::new() }
    }
}

impl PodCache {
    /// Takes in a watch event, and answers which tasks it touches.
    pub fn apply(&self, event: &Event<Pod>, now: Timestamp) -> Vec<TaskKey> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(pod) => {
                inner.listed.get_or_insert_default().extend(pod.metadata.uid.clone());
                inner.upsert(pod, By::Watch, self.at(now)).into_iter().collect()
            }
            Event::InitDone => {
                let listed = inner.listed.take().unwrap_or_default();
                let touched = inner.mark_missing(&listed);
                // Said again by each list.
                let _ = self.synced.set(());
                touched
            }
            Event::Apply(pod) => inner.upsert(pod, By::Watch, self.at(now)).into_iter().collect(),
            Event::Delete(pod) => inner.upsert(pod, By::Deletion, self.at(now)).into_iter().collect(),
        }
    }

    /// Takes in a Pod that the API server answered with to a GET or POST: the watch will show it too, later.
    pub fn answered(&self, pod: &Pod, now: Timestamp) {
        self.lock().upsert(pod, By::PodLookup, self.at(now));
    }

    /// Takes in a Pod that the API server answered with to a PATCH or DELETE.
    pub fn changed(&self, pod: &Pod, now: Timestamp) {
        self.lock().upsert(pod, By::ChangeAnswer, self.at(now));
    }

    /// The API server has answered that there is no Pod of that name and UID.
    pub fn answered_gone(&self, key: &TaskKey, pod_name: &str, pod_uid: &str) {
        let mut inner = self.lock();
        let entry = inner.tasks.get_mut(key).and_then(|pods| pods.get_mut(pod_name));
        if let Some(entry) = entry.filter(|entry| entry.tracked.pod.pod_uid == pod_uid) {
            entry.tracked.deleted = true;
        }
    }

    /// The UID of the Pod of that name, as far as known.
    pub fn uid_of(&self, key: &TaskKey, pod_name: &str) -> Option<String> {
        self.lock().tasks.get(key)?.get(pod_name).map(|entry| entry.tracked.pod.pod_uid.clone())
    }

    /// The Pods of the task with that name, of whatever UID.
    pub fn of(&self, key: &TaskKey) -> Vec<TrackedPod> {
        self.lock()
            .tasks
            .get(key)
            .into_iter()
            .flat_map(|pods| pods.values())
            .map(|entry| entry.tracked.clone())
            .collect()
    }

    /// Forgets what was said of the ends that are recorded.
    pub fn forget_texts(&self, key: &TaskKey, recorded: impl Fn(&PodSnapshot) -> bool) {
        let mut inner = self.lock();
        for entry in inner.tasks.get_mut(key).into_iter().flat_map(BTreeMap::values_mut) {
            if recorded(&entry.tracked.pod) {
                entry.tracked.pod.forget_texts();
            }
        }
    }

    /// Forgets the Pods that are gone and no longer needed.
    pub fn forget_gone(&self, key: &TaskKey, needed: impl Fn(&PodSnapshot) -> bool) {
        let mut inner = self.lock();
        if let Some(pods) = inner.tasks.get_mut(key) {
            pods.retain(|_, entry| !entry.tracked.deleted || needed(&entry.tracked.pod));
            if pods.is_empty() {
                inner.tasks.remove(key);
            }
        }
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        self.synced.wait().await;
    }

    /// How long this process has run, by its monotonic clock.
    pub fn uptime(&self) -> SignedDuration {
        SignedDuration::try_from(self.begun.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn at(&self, now: Timestamp) -> (Timestamp, SignedDuration) {
        (now, self.uptime())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock; even then the map is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn upsert(&mut self, pod: &Pod, by: By, (now, uptime): (Timestamp, SignedDuration)) -> Option<TaskKey> {
        let snapshot = PodSnapshot::of(pod)?;
        let key = TaskKey { namespace: pod.metadata.namespace.clone()?, name: snapshot.task_name.clone() };
        let version = pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0);
        let known = self.tasks.get(&key).and_then(|pods| pods.get(&snapshot.pod_name));
        let old = known.filter(|old| old.tracked.pod.pod_uid == snapshot.pod_uid);
        // The request that frees a Pod which is being deleted ends it, and is answered with the version from before.
        let freed = |old: &Entry| {
            old.version == version && !old.tracked.pod.has_finalizer && snapshot.has_finalizer && by != By::Deletion
        };
        if old.is_some_and(|old| old.version > version || freed(old) || (old.deleted && by != By::Watch))
            || (old.is_none() && by == By::ChangeAnswer)
        {
            return Some(key); // an older answer that came late
        }
        let is_deleted = by == By::Deletion;
        let tracked = TrackedPod::update(old.map(|old| &old.tracked), snapshot, (now, uptime));
        let tracked = TrackedPod { deleted: is_deleted, ..tracked };
        let entry = Entry { tracked, version, deleted: is_deleted };
        self.tasks.entry(key.clone()).or_default().insert(entry.tracked.pod.pod_name.clone(), Box::new(entry));
        Some(key)
    }

    /// What the complete list did not show is gone.
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
