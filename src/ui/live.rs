//! The browser hears of changes: one «changed» a second at most, whatever happens.

use super::cache::{Cache, Live};
use axum::response::sse::Event;
use futures::stream::{self, Stream};
use jiff::Timestamp;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// Least time between two messages.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is silent at most. Each message shows that the viewer still looks, and may still.
const TURN: Duration = Duration::from_secs(10);
/// How long a stream lasts. The browser connects again: so one that nobody reads any more ends at some time.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How far a stream is.
enum Stage {
    Begin,
    Listen,
    End,
}

struct Listener<M> {
    cache: Arc<Cache>,
    live: Arc<Live>,
    changes: Receiver<u64>,
    may_look: M,
    clock: fn() -> Timestamp,
    ends: tokio::time::Instant,
    stage: Stage,
}

/// The messages for one viewer: the time of this clock first; `changed` after changes; `ended` once it may not look any more,
/// and nothing after that.
pub fn messages<M, F>(
    cache: Arc<Cache>,
    clock: fn() -> Timestamp,
    may_look: M,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static
where
    M: Fn() -> F + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let live = cache.look();
    let mut changes = live.changes();
    // What happened between the page and this stream is told too.
    changes.mark_changed();
    let ends = tokio::time::Instant::now() + LIFETIME;
    let listener = Listener { cache, live, changes, may_look, clock, ends, stage: Stage::Begin };
    stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}

impl<M, F> Listener<M>
where
    M: Fn() -> F,
    F: Future<Output = bool>,
{
    async fn next(&mut self) -> Option<Event> {
        match self.stage {
            Stage::End => return None,
            Stage::Begin => {
                self.stage = Stage::Listen;
                let millis = (self.clock)().as_millisecond();
                return Some(Event::default().event("time").data(millis.to_string()));
            }
            Stage::Listen if tokio::time::Instant::now() >= self.ends => return None,
            Stage::Listen => tokio::time::sleep(PAUSE).await,
        }
        let has_changed = tokio::time::timeout(TURN, self.changes.changed()).await.is_ok();
        if !(self.may_look)().await {
            self.stage = Stage::End;
            return Some(Event::default().event("ended").data("log in again"));
        }
        // Looking keeps the store. If it was dropped all the same, there is a new one.
        let live = self.cache.look();
        if !Arc::ptr_eq(&live, &self.live) {
            self.changes = live.changes();
            self.live = live;
        }
        if has_changed {
            // Without data a browser passes over it.
            return Some(Event::default().event("changed").data("yes"));
        }
        Some(Event::default().comment("nothing new"))
    }
}

#[cfg(test)]
mod tests;
