//! How long to wait before a retry: the strategy's delay, capped, then jittered.

use crate::api::{Backoff, Jitter, JitterMode, Multiplier, Strategy};
use jiff::SignedDuration;

const MICROS: i64 = 1_000_000;
const DEFAULT_INITIAL_SECONDS: i32 = 1;
const DEFAULT_MAX_SECONDS: i32 = 60;
const DEFAULT_JITTER_PERCENT: i32 = 25;
/// Longest wait that a task can request (`retryAfterSeconds`): a year, like the longest delay in a spec.
const LONGEST_SECONDS: i64 = 31_536_000;

/// A factor with four decimals: `numerator / 10_000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) struct Factor(u128);

impl Factor {
    const DENOMINATOR: u128 = 10_000;
    pub(super) const ONE: Self = Self(Self::DENOMINATOR);
    pub(super) const TWO: Self = Self(2 * Self::DENOMINATOR);

    pub(super) fn times(self, amount: u128) -> u128 {
        amount.saturating_mul(self.0) / Self::DENOMINATOR
    }
}

/// The range from which the jitter picks a wait, evenly spread. In microseconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayRange {
    low: i64,
    high: i64,
}

impl DelayRange {
    /// The range before retry `retry` (1 for the first).
    pub fn of(backoff: &Backoff, retry: i32) -> Self {
        let d = before_jitter(backoff, retry);
        let (low, high) = match jitter_of(Some(backoff)) {
            (JitterMode::None, _) => (d, d),
            (JitterMode::Proportional, percent) => {
                let deviation = d / 100 * percent + d % 100 * percent / 100;
                (d - deviation, d + deviation)
            }
            (JitterMode::Full, _) => (0, d),
            (JitterMode::Equal, _) => (d / 2, d),
        };
        Self { low, high }
    }

    /// The range if the task requested a wait. It is never shorter than requested. It is spread upwards, so that tasks
    /// that requested the same wait do not retry together.
    pub fn requested(seconds: i64, backoff: Option<&Backoff>) -> Self {
        let requested = seconds.clamp(0, LONGEST_SECONDS) * MICROS;
        let percent = match jitter_of(backoff) {
            (JitterMode::None, _) => 0,
            (JitterMode::Proportional, percent) => percent,
            (JitterMode::Full | JitterMode::Equal, _) => i64::from(DEFAULT_JITTER_PERCENT),
        };
        Self { low: requested, high: requested + requested / 100 * percent }
    }

    /// The shortest wait.
    pub fn earliest(self) -> SignedDuration {
        SignedDuration::from_micros(self.low)
    }

    /// The mean of all waits.
    pub fn expected(self) -> SignedDuration {
        SignedDuration::from_micros(self.low.midpoint(self.high))
    }

    /// The longest wait.
    pub fn latest(self) -> SignedDuration {
        SignedDuration::from_micros(self.high)
    }

    /// The wait that `jitter_seed` (evenly spread over 64 bits) picks. The same seed gives the same wait.
    pub fn pick(self, jitter_seed: u64) -> SignedDuration {
        let width = u128::try_from(self.high.saturating_sub(self.low)).unwrap_or(0) + 1;
        let offset = (u128::from(jitter_seed) * width) >> 64;
        SignedDuration::from_micros(self.low.saturating_add(i64::try_from(offset).unwrap_or(0)))
    }
}

/// The wait before retry `retry` (1 for the first). Without `backoff`, the default back-off applies.
pub fn delay(backoff: Option<&Backoff>, retry: i32, jitter_seed: u64) -> SignedDuration {
    delay_range(backoff, retry).pick(jitter_seed)
}

/// The range of waits before retry `retry` (1 for the first). Without `backoff`, the default back-off applies.
pub fn delay_range(backoff: Option<&Backoff>, retry: i32) -> DelayRange {
    backoff.map_or_else(|| DelayRange::of(&Backoff::default(), retry), |backoff| DelayRange::of(backoff, retry))
}

/// What is wrong with the back-off, as a message to the spec's author. Admission rejects the same.
pub fn problem(backoff: &Backoff) -> Option<String> {
    match &backoff.multiplier {
        Some(multiplier) if factor(multiplier).is_none() => {
            Some(format!("multiplier {multiplier:?} is not a number from 1 to 1000 with at most four decimals"))
        }
        _ => None,
    }
}

/// The strategy's delay before retry `retry` in microseconds, capped.
fn before_jitter(backoff: &Backoff, retry: i32) -> i64 {
    let n = i64::from(retry.max(1));
    let initial = backoff.initial_delay_seconds.unwrap_or(DEFAULT_INITIAL_SECONDS).max(0);
    let cap = backoff.max_delay_seconds.unwrap_or(DEFAULT_MAX_SECONDS.max(initial));
    let (initial, cap) = (i64::from(initial) * MICROS, i64::from(cap) * MICROS);
    match backoff.strategy.unwrap_or_default() {
        Strategy::Fixed => initial,
        Strategy::Linear => initial.saturating_mul(n).min(cap),
        Strategy::Exponential => exponential(initial, backoff.multiplier.as_ref(), n, cap),
        Strategy::Fibonacci => fibonacci(initial, n, cap),
        Strategy::List => {
            let delays = backoff.delays_seconds.as_deref().unwrap_or_default();
            let index = usize::try_from(n - 1).unwrap_or(usize::MAX).min(delays.len().saturating_sub(1));
            i64::from(delays.get(index).copied().unwrap_or(DEFAULT_INITIAL_SECONDS).max(0)) * MICROS
        }
    }
}

fn exponential(initial: i64, multiplier: Option<&Multiplier>, n: i64, cap: i64) -> i64 {
    let factor = multiplier.and_then(factor).unwrap_or(Factor::TWO);
    if factor <= Factor::ONE || initial <= 0 {
        return initial.min(cap);
    }
    let cap = u128::try_from(cap).unwrap_or(0);
    let mut delay = u128::try_from(initial).unwrap_or(0);
    for _ in 1..n {
        delay = factor.times(delay);
        if delay >= cap {
            break;
        }
    }
    i64::try_from(delay.min(cap)).unwrap_or(i64::MAX)
}

fn fibonacci(initial: i64, n: i64, cap: i64) -> i64 {
    if initial <= 0 {
        return 0;
    }
    let (mut previous, mut delay) = (0i64, initial);
    for _ in 1..n {
        (previous, delay) = (delay, delay.saturating_add(previous));
        if delay >= cap {
            break;
        }
    }
    delay.min(cap)
}

/// The multiplier as a number. None if it is not a number from 1 to 1000 with at most four decimals.
pub(super) fn factor(multiplier: &Multiplier) -> Option<Factor> {
    let text = match multiplier {
        Multiplier::Int(n) => n.to_string(),
        Multiplier::Decimal(text) => text.clone(),
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, "0"));
    let is_number = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let decimals: u128 = format!("{decimals:0<4}").parse().ok()?;
    let factor = whole * Factor::DENOMINATOR + decimals;
    (Factor::DENOMINATOR..=1000 * Factor::DENOMINATOR).contains(&factor).then_some(Factor(factor))
}

fn jitter_of(backoff: Option<&Backoff>) -> (JitterMode, i64) {
    let jitter = backoff.and_then(|b| b.jitter.clone()).unwrap_or_default();
    let Jitter { mode, percent } = jitter;
    (mode.unwrap_or_default(), i64::from(percent.unwrap_or(DEFAULT_JITTER_PERCENT).clamp(0, 100)))
}

#[cfg(test)]
mod tests;
