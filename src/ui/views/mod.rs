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
    /// The options by which kubectl means this cluster, such as `--context prod`.
    pub options: &'a str,
}

impl<'a> Look<'a> {
    /// The tasks that the viewer may see, in the namespace that the query asks for.
    pub fn tasks(self) -> impl Iterator<Item = (&'a Key, &'a TaskRecord)> {
        self.shown(Kind::Tasks, self.store.tasks.iter())
    }

    /// The queues, likewise.
    pub fn queues(self) -> impl Iterator<Item = (&'a Key, &'a QueueRecord)> {
        self.shown(Kind::Queues, self.store.queues.iter())
    }

    /// The schedules, likewise.
    pub fn schedules(self) -> impl Iterator<Item = (&'a Key, &'a ScheduleRecord)> {
        self.shown(Kind::Schedules, self.store.schedules.iter())
    }

    /// The attempts' Pods, likewise.
    pub fn pods(self) -> impl Iterator<Item = (&'a Key, &'a PodRecord)> {
        self.shown(Kind::Pods, self.store.pods.iter())
    }

    fn shown<R: 'a>(
        self,
        kind: Kind,
        rows: impl Iterator<Item = (&'a Key, &'a R)>,
    ) -> impl Iterator<Item = (&'a Key, &'a R)> {
        let (wanted, scope) = (self.query.namespace.as_deref(), self.sight.scope(kind));
        rows.filter(move |(key, _)| {
            wanted.is_none_or(|wanted| *wanted == *key.namespace)
                && scope.is_some_and(|scope| scope.covers(&key.namespace))
        })
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
