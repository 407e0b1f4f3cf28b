//! The browser hears of changes: one «changed» a second at most, whatever happens. Who follows one task hears of that task, its
//! Pods and its queue alone: its page is read from the API server.

use super::cache::{Cache, Live};
use super::record::Key;
use super::store::{Store, Watched};
use axum::response::sse::Event;
use futures::stream::{self, Stream};
use jiff::Timestamp;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

/// Least time between two messages.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is silent at most. Each message shows that the viewer still looks, and may still.
const TURN: Duration = Duration::from_secs(10);
/// How long a stream lasts. The browser connects again: so one that nobody reads any more ends at some time.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Least time between two messages on the queue of a task alone: a busy one changes every second.
const QUEUE_PAUSE: Duration = Duration::from_secs(5);
/// How old the page of a task that has not ended may get: what runs gets longer, and the line of the queue shorter.
const UNFINISHED: Duration = Duration::from_secs(15);
/// How old the page of any task may get while other things change: it has counts of them.
const OLDEST: Duration = Duration::from_secs(60);

/// What somebody follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Everything.
    All,
    /// One task.
    Task(Key),
}

/// What somebody who follows may see now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// What they follow.
    See,
    /// Other things. They hear of nothing.
    SeeOthers,
    /// Nothing, before they log in again.
    LogIn,
}

/// How far a stream is.
enum Stage {
    Begin,
    Listen,
    End,
}

/// What the page of a task shows, as the numbers of the last changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TaskState {
    own: OwnState,
    queue: Option<u64>,
}

/// What must be told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnState {
    task: Option<u64>,
    pods: (usize, u64),
    is_away: bool,
    problems: usize,
    is_listed: bool,
}

impl TaskState {
    fn of(store: &Store, key: &Key, watched: &[Watched]) -> Self {
        let task = store.tasks.get(key);
        let queue = task.filter(|task| !task.is_finished()).and_then(|task| task.queue.clone());
        let queue = queue.map(|name| Key { namespace: key.namespace.clone(), name });
        let pods = store.pods.versions_of(&key.namespace).filter(|(_, pod, _)| pod.task == key.name);
        let own = OwnState {
            task: store.tasks.version(key),
            pods: pods.fold((0, 0), |(count, newest), (_, _, version)| (count + 1, newest.max(version))),
            is_away: store.away.is_some(),
            problems: store.problems.len(),
            is_listed: store.tasks.is_listed(watched),
        };
        Self { own, queue: queue.and_then(|queue| store.queues.version(&queue)) }
    }
}

struct Listener<M> {
    cache: Arc<Cache>,
    live: Arc<Live>,
    changes: Receiver<u64>,
    topic: Topic,
    /// What was told last of a task, and when.
    told: Option<(TaskState, Instant)>,
    may: M,
    clock: fn() -> Timestamp,
    ends: Instant,
    stage: Stage,
}

/// The messages for one viewer: the time of this clock first; `changed` after changes of the topic; `ended` once they must log in
/// again, and nothing after that.
pub fn messages<M, F>(
    cache: Arc<Cache>,
    clock: fn() -> Timestamp,
    topic: Topic,
    may: M,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static
where
    M: Fn() -> F + Send + 'static,
    F: Future<Output = May> + Send,
{
    let live = cache.look();
    let mut changes = live.changes();
    // What happened between the page and this stream is told too.
    changes.mark_changed();
    let ends = Instant::now() + LIFETIME;
    let listener = Listener { cache, live, changes, topic, told: None, may, clock, ends, stage: Stage::Begin };
    stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}

impl<M, F> Listener<M>
where
    M: Fn() -> F,
    F: Future<Output = May>,
{
    async fn next(&mut self) -> Option<Event> {
        match self.stage {
            Stage::End => return None,
            Stage::Begin => {
                self.stage = Stage::Listen;
                let millis = (self.clock)().as_millisecond();
                return Some(Event::default().event("time").data(millis.to_string()));
            }
            Stage::Listen if Instant::now() >= self.ends => return None,
            Stage::Listen => tokio::time::sleep(PAUSE).await,
        }
        let is_news = self.wait_for_news().await;
        let may = (self.may)().await;
        if may == May::LogIn {
            self.stage = Stage::End;
            return Some(Event::default().event("ended").data("log in again"));
        }
        // Looking keeps the store. If it was dropped all the same, there is a new one.
        let live = self.cache.look();
        if !Arc::ptr_eq(&live, &self.live) {
            self.changes = live.changes();
            self.live = live;
        }
        if is_news && may == May::See {
            self.told = self.state().map(|state| (state, Instant::now()));
            // Without data a browser passes over it.
            return Some(Event::default().event("changed").data("yes"));
        }
        Some(Event::default().comment("nothing new"))
    }

    /// Whether there is something to tell, for which it waits for [`TURN`] at most.
    async fn wait_for_news(&mut self) -> bool {
        let turn = Instant::now() + TURN;
        while tokio::time::timeout_at(turn, self.changes.changed()).await.is_ok() {
            if self.is_news(true) {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.is_news(false)
    }

    fn is_news(&self, has_changed: bool) -> bool {
        let Topic::Task(key) = &self.topic else { return has_changed };
        let (Some(state), Some((told, at))) = (self.state(), self.told) else { return true };
        let age = at.elapsed();
        let goes_on = self.live.store().tasks.get(key).is_some_and(|task| !task.is_finished());
        state.own != told.own
            || state.queue != told.queue && age >= QUEUE_PAUSE
            || goes_on && age >= UNFINISHED
            || has_changed && age >= OLDEST
    }

    fn state(&self) -> Option<TaskState> {
        match &self.topic {
            Topic::All => None,
            Topic::Task(key) => Some(TaskState::of(&self.live.store(), key, self.cache.watched())),
        }
    }
}

#[cfg(test)]
mod tests;
