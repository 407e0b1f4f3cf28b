//! The faults between a process and the API server, and how often each happens.

use crate::{
    random::Random,
    server::{Resource, Verb},
};
use std::{collections::BTreeMap, time::Duration};

/// How often each fault happens, per 1,000 requests (or watch events), and how severe it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// There are no faults after this age of the world.
    pub until: Duration,
    /// Refused, nothing done: 409, 429, 500, 503, 504.
    pub reject: u32,
    /// Done, and then answered with 500 or 504.
    pub error_after_commit: u32,
    /// The connection breaks before the server has the request.
    pub drop_before: u32,
    /// The connection breaks after the server has done it.
    pub drop_after: u32,
    /// No answer ever comes; half of the time it is done.
    pub hang: u32,
    /// A write is done long after the client was cut off.
    pub late: u32,
    /// How late at most.
    pub lateness: Duration,
    /// A list, or a read that accepts any version, comes from a stale server.
    pub stale: u32,
    /// How stale it is at most.
    pub staleness: Duration,
    /// For each resource, how much its watches lag at most.
    pub lag: BTreeMap<Resource, Duration>,
    /// A watch event is delayed beyond that.
    pub stall: u32,
    /// For how long at most.
    pub stalling: Duration,
    /// A watch is cut before its time: end, reset or 410.
    pub cut: u32,
    /// A watch hangs: no more events, and no end.
    pub silence: u32,
    /// A watch event is lost. The watch ends with 410 some time later.
    pub lose: u32,
    /// A watch event comes twice, or earlier ones come again.
    pub repeat: u32,
    /// The history is compacted up to now when a watch begins, so that others get 410.
    pub compact: u32,
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Refused with this code, nothing done.
    Reject(u16),
    /// Done, and answered with this code.
    ErrorAfterCommit(u16),
    /// The connection breaks; the server never had the request.
    DropBefore,
    /// The connection breaks; it is done.
    DropAfter,
    /// No answer; done if true.
    Hang(bool),
    /// The connection breaks; it is done after this long.
    Late(Duration),
}

/// How a watch ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As if its time were over.
    End,
    /// In the middle of a line.
    Torn,
    /// With an error of the connection.
    Reset,
    /// With 410.
    Expired,
    /// With an error event that is not 410.
    Failed,
    /// Nothing more comes, and it does not end.
    Silence,
}

/// What happens to one event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFault {
    /// It comes once.
    None,
    /// It does not come; the watch ends with 410 after this long.
    Lost(Duration),
    /// It comes once more, after so many earlier ones.
    Repeat(u64),
}

/// Draws the faults of a world.
#[derive(Debug)]
pub struct Faults {
    /// How often.
    pub rates: Rates,
    requests: Random,
    watches: Random,
}

impl Faults {
    /// The faults of this seed.
    pub fn new(seed: u64, rates: Rates) -> Self {
        Self { rates, requests: Random::fork(seed, "requests"), watches: Random::fork(seed, "watches") }
    }

    /// How long a request, or its answer, is under way.
    pub fn latency(&mut self) -> Duration {
        Duration::from_micros(200) + self.requests.skewed(60)
    }

    /// What goes wrong with a request at this age of the world.
    pub fn request(&mut self, verb: Verb, now: Duration) -> Fault {
        let rates = &self.rates;
        if now >= rates.until {
            return Fault::None;
        }
        let rejections: &[u16] = match verb {
            Verb::Get | Verb::List | Verb::Watch => &[429, 500, 503, 504],
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => &[409, 429, 500, 503, 504],
        };
        let late = if verb.writes() { rates.late } else { 0 };
        let shares = [rates.reject, rates.error_after_commit, rates.drop_before, rates.drop_after, rates.hang, late];
        let mut draw = u32::try_from(self.requests.below(1000)).unwrap_or(0);
        let kind = shares.iter().position(|share| {
            let hit = draw < *share;
            draw = draw.saturating_sub(*share);
            hit
        });
        match kind {
            Some(0) => Fault::Reject(self.requests.pick(rejections)),
            Some(1) => Fault::ErrorAfterCommit(self.requests.pick(&[500, 504])),
            Some(2) => Fault::DropBefore,
            Some(3) => Fault::DropAfter,
            Some(4) => Fault::Hang(self.requests.chance(500)),
            Some(_) => Fault::Late(self.requests.duration(Duration::from_millis(100), rates.lateness)),
            None => Fault::None,
        }
    }

    /// How stale the server that answers a read is.
    pub fn staleness(&mut self, now: Duration) -> Option<Duration> {
        let stale = now < self.rates.until && self.requests.chance(self.rates.stale);
        stale.then(|| self.requests.duration(Duration::ZERO, self.rates.staleness))
    }

    /// Whether the history is compacted as a watch begins.
    pub fn compacts(&mut self, now: Duration) -> bool {
        now < self.rates.until && self.watches.chance(self.rates.compact)
    }

    /// When and how a new watch is cut.
    pub fn cut(&mut self, now: Duration) -> Option<(Duration, Cut)> {
        if now >= self.rates.until {
            return None;
        }
        let cuts = [Cut::End, Cut::Torn, Cut::Reset, Cut::Expired, Cut::Failed];
        let cut = if self.watches.chance(self.rates.cut) {
            self.watches.pick(&cuts)
        } else if self.watches.chance(self.rates.silence) {
            Cut::Silence
        } else {
            return None;
        };
        Some((self.watches.skewed(200_000), cut))
    }

    /// How long after its commit an event of a watch comes.
    pub fn lag(&mut self, resource: Resource, now: Duration) -> Duration {
        let least = Duration::from_millis(1);
        if now >= self.rates.until {
            return least;
        }
        let most = self.rates.lag.get(&resource).copied().unwrap_or_default();
        let stall = if self.watches.chance(self.rates.stall) { self.rates.stalling } else { Duration::ZERO };
        least + self.watches.duration(Duration::ZERO, most) + self.watches.duration(Duration::ZERO, stall)
    }

    /// What happens to a watch event.
    pub fn event(&mut self, now: Duration) -> EventFault {
        if now >= self.rates.until {
            EventFault::None
        } else if self.watches.chance(self.rates.lose) {
            EventFault::Lost(Duration::from_millis(100) + self.watches.skewed(60_000))
        } else if self.watches.chance(self.rates.repeat) {
            EventFault::Repeat(self.watches.below(4))
        } else {
            EventFault::None
        }
    }
}
