//! What each page shows, from the store, the query and the time. No effects, and no policy: what a task does and why is
//! read off its status.

pub mod errors;
pub mod frame;
pub mod list;
pub mod login;
pub mod mark;
pub mod queues;
pub mod schedules;
pub mod task;
pub mod timeline;
pub mod workers;

use super::query::Query;
use super::record::{Key, PodRecord, QueueRecord, ScheduleRecord, TaskRecord};
use super::sight::Sight;
use super::store::{Kind, Store, Watched};
use super::text::When;
use jiff::Timestamp;

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What is known.
    pub store: &'a Store,
    /// What the viewer may see of it.
    pub sight: &'a Sight,
    /// What the viewer asks for.
    pub query: &'a Query,
    /// The current time.
    pub now: Timestamp,
    /// The namespaces that are watched.
    pub watched: &'a [Watched],
    /// Who the viewer is, where that is known.
    pub user: Option<&'a str>,
}

impl<'a> Look<'a> {
    /// The tasks that the viewer may see, in the namespace that the query asks for.
    pub fn tasks(self) -> impl Iterator<Item = (&'a Key, &'a TaskRecord)> {
        self.store.tasks.iter().filter(move |(key, _)| self.shows(Kind::Tasks, key))
    }

    /// The queues, likewise.
    pub fn queues(self) -> impl Iterator<Item = (&'a Key, &'a QueueRecord)> {
        self.store.queues.iter().filter(move |(key, _)| self.shows(Kind::Queues, key))
    }

    /// The schedules, likewise.
    pub fn schedules(self) -> impl Iterator<Item = (&'a Key, &'a ScheduleRecord)> {
        self.store.schedules.iter().filter(move |(key, _)| self.shows(Kind::Schedules, key))
    }

    /// The attempts' Pods, likewise.
    pub fn pods(self) -> impl Iterator<Item = (&'a Key, &'a PodRecord)> {
        self.store.pods.iter().filter(move |(key, _)| self.shows(Kind::Pods, key))
    }

    fn shows(self, kind: Kind, key: &Key) -> bool {
        let wanted = self.query.namespace.as_deref();
        wanted.is_none_or(|wanted| *wanted == *key.namespace) && self.sight.covers(kind, &key.namespace)
    }

    /// The time, as it is seen from now.
    pub fn when(self, at: Timestamp) -> When {
        When::of(at, self.now)
    }
}

/// A text that leads somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says.
    pub text: String,
    /// The relative URL.
    pub href: String,
}

impl Link {
    /// A count that leads to its list. Nothing if there is nothing to see.
    pub fn count(number: usize, query: &Query, place: super::query::Place) -> Option<Self> {
        (number > 0).then(|| Self { text: super::text::count(number), href: query.link(place) })
    }
}

#[cfg(test)]
mod tests;
