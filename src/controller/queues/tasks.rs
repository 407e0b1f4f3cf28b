//! Which task has to do with which queues.

use super::QueueKey;
use crate::core::queue::facts::TaskFacts;
use crate::core::queue::line::Uid;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a task that is gone is remembered: longer than a request takes whose answer may show it once more.
const REMEMBERED: Duration = Duration::from_secs(120);

/// The tasks that have to do with a queue.
#[derive(Debug, Default)]
pub struct Tasks {
    known: HashMap<Uid, Known>,
    gone: HashMap<Uid, Instant>,
}

/// What is known of a task.
#[derive(Debug)]
pub struct Known {
    /// Its namespace.
    pub namespace: String,
    /// What its newest version says.
    pub facts: TaskFacts,
}

impl Known {
    /// The queue whose slot it holds, and the one that its spec names.
    fn queues(&self) -> Vec<QueueKey> {
        let TaskFacts { held, queue, .. } = &self.facts;
        let held = held.as_ref().map(|held| &held.queue);
        let other = queue.as_ref().filter(|queue| Some(*queue) != held);
        let key = |name: &std::sync::Arc<str>| QueueKey { namespace: self.namespace.clone(), name: name.to_string() };
        held.into_iter().chain(other).map(key).collect()
    }
}

impl Tasks {
    /// Notes what a version of the task says. Answers the queues that it had or has to do with; None if a newer version is
    /// known, or this one, or if the task is gone.
    pub fn update(&mut self, namespace: &str, facts: &TaskFacts) -> Option<Vec<QueueKey>> {
        let before = self.known.get(&facts.uid);
        let is_old = before.is_some_and(|before| before.facts.version >= facts.version);
        if is_old || self.gone.contains_key(&facts.uid) {
            return None;
        }
        let mut queues = before.map(Known::queues).unwrap_or_default();
        let known = Known { namespace: namespace.to_owned(), facts: facts.clone() };
        let new: Vec<_> = known.queues().into_iter().filter(|key| !queues.contains(key)).collect();
        queues.extend(new);
        self.known.insert(facts.uid.clone(), known);
        Some(queues)
    }

    /// The task is gone. Answers the queues that it had to do with.
    pub fn remove(&mut self, uid: &Uid) -> Vec<QueueKey> {
        let queues = self.known.remove(uid).map(|known| known.queues()).unwrap_or_default();
        if !queues.is_empty() {
            self.gone.retain(|_, since| since.elapsed() < REMEMBERED);
            self.gone.insert(uid.clone(), Instant::now());
        }
        queues
    }

    /// The queues that the task has to do with.
    pub fn queues_of(&self, uid: &Uid) -> Vec<QueueKey> {
        self.known.get(uid).map(Known::queues).unwrap_or_default()
    }

    /// All tasks.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// The UIDs of all tasks.
    pub fn uids(&self) -> impl Iterator<Item = Uid> {
        self.known.keys().cloned()
    }

    /// Drops what the ledgers have taken over.
    pub fn forget_ends(&mut self) {
        self.known.values_mut().for_each(|known| known.facts.last_end = None);
    }

    /// The same for one task.
    pub fn forget_end(&mut self, uid: &Uid) {
        if let Some(known) = self.known.get_mut(uid) {
            known.facts.last_end = None;
        }
    }

    /// The task has no queue any more, but is there.
    pub fn leave(&mut self, uid: &Uid) -> Vec<QueueKey> {
        self.known.remove(uid).map(|known| known.queues()).unwrap_or_default()
    }
}
