//! A token bucket: how fast attempts may start.

use super::settings::Rate;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};

/// The tokens of a queue. It starts empty.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// When the bucket would have been empty, had no token been taken since: each interval after it is a token.
    empty_at: Timestamp,
}

impl Bucket {
    /// An empty bucket.
    pub fn empty(now: Timestamp) -> Self {
        Self { empty_at: now }
    }

    /// Whether there is a token.
    pub fn has_token(&mut self, rate: &Rate, now: Timestamp) -> bool {
        self.cap(rate, now);
        now.duration_since(self.empty_at) >= rate.interval
    }

    /// Takes a token.
    pub fn take(&mut self, rate: &Rate) {
        self.empty_at = plus(self.empty_at, rate.interval);
    }

    /// Gives back a token of a start that did not happen.
    pub fn give_back(&mut self, rate: &Rate) {
        self.empty_at = plus(self.empty_at, -rate.interval);
    }

    /// When there is a token.
    pub fn next_token(&self, rate: &Rate) -> Timestamp {
        plus(self.empty_at, rate.interval)
    }

    /// Drops what flows over. A clock that was set back makes no wait longer than an interval.
    fn cap(&mut self, rate: &Rate, now: Timestamp) {
        let most = SignedDuration::from_micros(
            i64::try_from(rate.interval.as_micros()).unwrap_or(i64::MAX).saturating_mul(rate.burst),
        );
        let since = now.duration_since(self.empty_at);
        if since > most {
            self.empty_at = plus(now, -most);
        } else if since.is_negative() {
            self.empty_at = now;
        }
    }
}
