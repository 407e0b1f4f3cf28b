//! Which tasks wait for which others: who is reconciled when a task ends, and which finished tasks must not go yet. Nor must the run of
//! a schedule while its creation may come a second time.
//!
//! It is made from what the watch shows, so a new process has it as soon as its list is complete.

use super::task_cache::Milestone;
use super::{CachedTask, TaskKey};
use crate::core::decide::LATE_POST_BOUND;
use kube::ResourceExt;
use kube_runtime::watcher::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::SetOnce;
use tokio::time::Instant;

/// The tasks that wait for others.
#[derive(Debug)]
pub struct Dependents {
    inner: Mutex<Inner>,
    /// When this process began to serve.
    begun: Instant,
    /// All tasks that may wait are known.
    listed: SetOnce<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The tasks that each task waits for.
    waits_for: BTreeMap<TaskKey, Vec<TaskKey>>,
    /// The tasks that others wait for.
    awaited: BTreeMap<TaskKey, Awaited>,
    /// The tasks of a list that is not complete.
    listed: BTreeSet<TaskKey>,
    /// The runs that their schedules have recorded lately, with when.
    recorded: BTreeMap<TaskKey, Instant>,
}

impl Default for Dependents {
    fn default() -> Self {
        Self { inner: Mutex::default(), begun: Instant::now(), listed: SetOnce::default() }
    }
}

#[derive(Debug, Default)]
struct Awaited {
    by: BTreeSet<TaskKey>,
    /// What was last seen of it that may matter to them.
    seen: Option<Milestone>,
}

impl Dependents {
    /// Applies a watch event. The tasks that must be reconciled because of it: those that wait for a task that has come, ended,
    /// changed its spec, or gone; and one that nobody waits for any more.
    pub fn apply(&self, event: &Event<CachedTask>) -> Vec<TaskKey> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed.clear();
                Vec::new()
            }
            Event::InitApply(task) => {
                inner.listed.insert(key(task));
                inner.see(task)
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut inner.listed);
                let known: BTreeSet<TaskKey> = inner.waits_for.keys().chain(inner.awaited.keys()).cloned().collect();
                known.difference(&listed).flat_map(|gone| inner.forget(gone)).collect()
            }
            Event::Apply(task) => inner.see(task),
            Event::Delete(task) => inner.forget(&key(task)),
        }
    }

    /// The watch of unfinished tasks shows a task, which may be newer than the list in progress. Those that must be reconciled
    /// because of it.
    pub fn see(&self, task: &CachedTask) -> Vec<TaskKey> {
        let mut inner = self.lock();
        inner.listed.insert(task.key());
        inner.see(task)
    }

    /// The tasks that wait for this one.
    pub fn of(&self, key: &TaskKey) -> Vec<TaskKey> {
        self.lock().awaited.get(key).map(|awaited| awaited.by.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a task waits for this one.
    pub fn is_awaited(&self, key: &TaskKey) -> bool {
        self.lock().awaited.contains_key(key)
    }

    /// Records that all unfinished tasks have been seen: no other waits.
    pub fn listed(&self) {
        // Each later list fails here, which is fine.
        let _ = self.listed.set(());
    }

    /// Whether a task waits for this one, or may do so: not all tasks have been seen.
    pub fn may_be_awaited(&self, key: &TaskKey) -> bool {
        self.listed.get().is_none() || self.is_awaited(key)
    }

    /// Notes that a schedule is about to record that the task exists. If its creation is requested again, so is this.
    pub fn run_recorded(&self, task: TaskKey) {
        let mut inner = self.lock();
        inner.recorded.retain(|_, since| is_recent(*since));
        inner.recorded.insert(task, Instant::now());
    }

    /// Whether a request to create the run of a schedule can still be on its way: one of this process, or of an earlier one. The name
    /// must not become free before, or the run would start again.
    pub fn may_be_created(&self, task: &TaskKey) -> bool {
        is_recent(self.begun) || self.lock().recorded.get(task).is_some_and(|since| is_recent(*since))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn see(&mut self, task: &CachedTask) -> Vec<TaskKey> {
        let key = key(task);
        let namespace = &key.namespace;
        let in_namespace = |name: &String| TaskKey { namespace: namespace.clone(), name: name.clone() };
        let mut wake = self.set(&key, task.waits_for().iter().map(in_namespace).collect());
        wake.extend(self.pass(&key, Some(task.milestone())));
        wake
    }

    fn forget(&mut self, key: &TaskKey) -> Vec<TaskKey> {
        let mut wake = self.set(key, Vec::new());
        wake.extend(self.pass(key, None));
        wake
    }

    /// Sets what the task waits for. The tasks that nobody waits for any more.
    fn set(&mut self, key: &TaskKey, waits_for: Vec<TaskKey>) -> Vec<TaskKey> {
        let before = self.waits_for.remove(key).unwrap_or_default();
        for awaited in &waits_for {
            self.awaited.entry(awaited.clone()).or_default().by.insert(key.clone());
        }
        let mut free = Vec::new();
        for old in before.into_iter().filter(|old| !waits_for.contains(old)) {
            let Some(awaited) = self.awaited.get_mut(&old) else { continue };
            awaited.by.remove(key);
            if awaited.by.is_empty() {
                self.awaited.remove(&old);
                free.push(old);
            }
        }
        if !waits_for.is_empty() {
            self.waits_for.insert(key.clone(), waits_for);
        }
        free
    }

    /// Those that wait for the task, if something has happened that may matter to them. Its deletion always does: who waits for it
    /// may have seen it before anything happened to it.
    fn pass(&mut self, key: &TaskKey, seen: Option<Milestone>) -> Vec<TaskKey> {
        let Some(awaited) = self.awaited.get_mut(key).filter(|awaited| seen.is_none() || awaited.seen != seen) else {
            return Vec::new();
        };
        awaited.seen = seen;
        awaited.by.iter().cloned().collect()
    }
}

/// Whether a request that was sent before can still be on its way.
fn is_recent(since: Instant) -> bool {
    since.elapsed() < Duration::try_from(LATE_POST_BOUND).unwrap_or_default()
}

fn key(task: &CachedTask) -> TaskKey {
    TaskKey { namespace: task.namespace().unwrap_or_default(), name: task.name_any() }
}

#[cfg(test)]
mod tests;
