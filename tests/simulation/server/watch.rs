//! Watches: which events each gets, when, and how it ends.

use super::{
    Server, State,
    error::ApiError,
    read::{selected, view},
    route::Call,
    store::{Change, ChangeKind},
};
use crate::faults::{Cut, EventFault};
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

/// How often an idle watch gets a bookmark.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How many lines can be repeated.
const REMEMBERED: usize = 4;

type Line = (Instant, Result<Bytes, Cut>);

/// An open watch, on the server's side.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    call: Call,
    sender: mpsc::UnboundedSender<Line>,
    last: Instant,
    recent: Vec<Bytes>,
}

/// An open watch, on its way to the client.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    lines: mpsc::UnboundedReceiver<Line>,
    until: Instant,
    bookmarks: bool,
}

impl State {
    pub(super) fn watch(&mut self, call: &Call) -> Result<Subscription, ApiError> {
        let asked = call.version()?;
        let now = self.store.clock.elapsed();
        if self.faults.compacts(now) {
            self.store.compact(self.store.version());
        }
        self.watches_opened += 1;
        let (sender, lines) = mpsc::unbounded_channel();
        let mut watch =
            Watch { id: self.watches_opened, call: call.clone(), sender, last: Instant::now(), recent: vec![] };
        let initial = call.parameter("sendInitialEvents") == Some("true");
        match asked.filter(|version| *version > 0 && !initial) {
            Some(version) if version < self.store.compacted() => {
                watch.send_at_once(Ok(expired(version, self.store.compacted())));
                watch.send_at_once(Err(Cut::End));
            }
            Some(version) => {
                for change in self.store.changes_after(version).to_vec() {
                    self.deliver(&mut watch, &change);
                }
                self.watches.push(watch);
            }
            None => {
                let version = self.store.version();
                for object in self.snapshot(call, version) {
                    watch.send_at_once(Ok(line("ADDED", &view(call, &object))));
                }
                if initial {
                    let end = json!({"k8s.io/initial-events-end": "true"});
                    watch.send_at_once(Ok(bookmark(call, version, Some(end))));
                }
                self.watches.push(watch);
            }
        }
        if let Some((after, cut)) = self.faults.cut(now)
            && let Some(watch) = self.watches.last().filter(|watch| watch.id == self.watches_opened)
        {
            watch.cut_after(after, cut);
        }
        let seconds = call.parameter("timeoutSeconds").and_then(|s| s.parse().ok()).filter(|s| *s > 0);
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(1800));
        let bookmarks = call.parameter("allowWatchBookmarks") == Some("true");
        Ok(Subscription { id: self.watches_opened, lines, until, bookmarks })
    }

    /// Sends a change to every watch.
    pub(super) fn publish(&mut self, change: &Change) {
        let mut watches = std::mem::take(&mut self.watches);
        watches.retain_mut(|watch| self.deliver(watch, change));
        self.watches = watches;
    }

    /// Sends a change to one watch if it is selected. False if the client has closed the watch.
    fn deliver(&mut self, watch: &mut Watch, change: &Change) -> bool {
        let Some(line) = event(&watch.call, change) else { return !watch.sender.is_closed() };
        let now = self.store.clock.elapsed();
        let at = watch.last.max(Instant::now() + self.faults.lag(change.key.resource, now));
        watch.last = at;
        match self.faults.event(now) {
            EventFault::Lost(heals_after) => {
                watch.cut_after(heals_after, Cut::Expired);
                return !watch.sender.is_closed();
            }
            EventFault::Repeat(earlier) => {
                let earlier = usize::try_from(earlier).unwrap_or(0).min(watch.recent.len());
                let again: Vec<Bytes> = watch.recent[watch.recent.len() - earlier..].to_vec();
                let _ = watch.sender.send((at, Ok(line.clone())));
                for line in again {
                    let _ = watch.sender.send((at, Ok(line)));
                }
            }
            EventFault::None => {}
        }
        watch.recent.push(line.clone());
        if watch.recent.len() > REMEMBERED {
            watch.recent.remove(0);
        }
        watch.sender.send((at, Ok(line))).is_ok()
    }

    fn mark(&mut self, id: u64) {
        let version = self.store.version();
        if let Some(watch) = self.watches.iter_mut().find(|watch| watch.id == id) {
            let line = bookmark(&watch.call, version, None);
            watch.last = watch.last.max(Instant::now());
            let _ = watch.sender.send((watch.last, Ok(line)));
        }
    }
}

impl Watch {
    fn send_at_once(&self, line: Result<Bytes, Cut>) {
        let _ = self.sender.send((self.last, line));
    }

    fn cut_after(&self, after: Duration, cut: Cut) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = sender.send((Instant::now(), Err(cut)));
        });
    }
}

impl Subscription {
    /// The next frame of the response's body, or its end.
    pub async fn next(&mut self, server: &Server) -> Option<io::Result<Frame<Bytes>>> {
        let mut marks = interval_at(self.next_mark(), BOOKMARK_PERIOD);
        marks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { biased;
                () = sleep_until(self.until) => return None,
                line = self.lines.recv() => {
                    let (at, line) = line?;
                    sleep_until(at.min(self.until)).await;
                    if at > self.until {
                        return None;
                    }
                    match line {
                        Ok(line) => return Some(Ok(Frame::data(line))),
                        Err(cut) => return self.end(cut).await,
                    }
                }
                _ = marks.tick(), if self.bookmarks => server.lock().mark(self.id),
            }
        }
    }

    /// Bookmarks come at fixed times, whatever events come in between.
    fn next_mark(&self) -> Instant {
        let left = self.until.saturating_duration_since(Instant::now());
        let millis = u64::try_from(left.as_millis()).unwrap_or(0);
        let period = u64::try_from(BOOKMARK_PERIOD.as_millis()).unwrap_or(1);
        Instant::now() + Duration::from_millis(millis % period + 1)
    }

    async fn end(&mut self, cut: Cut) -> Option<io::Result<Frame<Bytes>>> {
        let last = |line: Bytes| Some(Ok(Frame::data(line)));
        if cut == Cut::Silence {
            return std::future::pending().await;
        }
        // What is returned now is the last line.
        self.until = Instant::now();
        match cut {
            Cut::End | Cut::Silence => None,
            Cut::Torn => last(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":")),
            Cut::Reset => Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer"))),
            Cut::Expired => last(expired(1, 2)),
            Cut::Failed => {
                let error = ApiError::new(
                    500,
                    "InternalError",
                    "an error on the server has prevented the request from succeeding",
                );
                last(line("ERROR", &error.status()))
            }
        }
    }
}

/// The event of a change: `ADDED` if it brings the object into the selection, `DELETED` if it takes it out.
fn event(call: &Call, change: &Change) -> Option<Bytes> {
    if change.key.resource != call.resource {
        return None;
    }
    let now = change.kind != ChangeKind::Deleted && selected(call, &change.object);
    let before = change.before.as_ref().filter(|before| selected(call, before));
    match (before, now) {
        (Some(_), true) => Some(line("MODIFIED", &view(call, &change.object))),
        (None, true) => Some(line("ADDED", &view(call, &change.object))),
        (Some(before), false) => {
            let mut last = (**before).clone();
            last["metadata"]["resourceVersion"] = json!(change.version.to_string());
            Some(line("DELETED", &view(call, &Arc::new(last))))
        }
        (None, false) => None,
    }
}

fn expired(asked: u64, oldest: u64) -> Bytes {
    line("ERROR", &ApiError::expired(asked, oldest).status())
}

fn bookmark(call: &Call, version: u64, annotations: Option<Value>) -> Bytes {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if let Some(annotations) = annotations {
        metadata["annotations"] = annotations;
    }
    let object = json!({"kind": call.resource.kind(), "apiVersion": call.resource.api_version(), "metadata": metadata});
    line("BOOKMARK", &object)
}

fn line(kind: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
}
