//! What the spec of a queue says, with its defaults.

use super::failures;
use crate::api::{
    CircuitBreaker, CircuitMode, OpenAfter, Probes, RetryShare, ServiceFailures, StartRate, StopPolicy, TaskQueueSpec,
};
use jiff::SignedDuration;

/// Over how long tasks that have waited for a queue without limits are spread, unless its spec says.
const RECOVERY_SECONDS: i32 = 300;

/// The spec of a queue, with its defaults. Its numbers are at least 1, whatever the spec has.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many attempts may be under way.
    pub max_concurrent: Option<usize>,
    /// How many percent of them may be retries.
    pub retry_percent: Option<usize>,
    /// How fast attempts may start.
    pub rate: Option<Rate>,
    /// Whether nothing starts.
    pub hold: bool,
    /// Whether what is under way is stopped.
    pub drain: bool,
    /// The circuit breaker.
    pub breaker: Option<Breaker>,
    /// Why the spec cannot be followed as it is. Then nothing starts.
    pub problem: Option<String>,
}

/// How fast attempts may start: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time from one token to the next.
    pub interval: SignedDuration,
    /// Most tokens.
    pub burst: i64,
}

/// The circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// What it does.
    pub mode: CircuitMode,
    /// What counts as a failure of the service.
    pub failures: Option<ServiceFailures>,
    /// How many tasks must fail before it opens.
    pub tasks: usize,
    /// How many percent of those with an end.
    pub percent: usize,
    /// How long an end counts.
    pub within: SignedDuration,
    /// How long it stays open at first.
    pub open: SignedDuration,
    /// How long at most.
    pub max_open: SignedDuration,
    /// How many probes run at a time.
    pub at_a_time: usize,
    /// How many must succeed.
    pub successes: i32,
    /// How long a probe runs before it counts as one that succeeded.
    pub pass_after: SignedDuration,
    /// How long the slots grow after closing.
    pub recovery: SignedDuration,
    /// Whether a failure with a requested delay holds the queue.
    pub honor_retry_after: bool,
}

impl Settings {
    /// From the spec.
    pub fn of(spec: &TaskQueueSpec) -> Self {
        let TaskQueueSpec { max_concurrent, retries, start_rate, stop_policy, circuit_breaker } = spec;
        let problem = circuit_breaker
            .as_ref()
            .and_then(|breaker| breaker.failures.as_ref())
            .and_then(failures::problem)
            .map(|problem| format!("spec.circuitBreaker.failures: {problem}"));
        Self {
            max_concurrent: max_concurrent.map(at_least_one),
            retry_percent: retries.as_ref().map(|RetryShare { max_percent }| at_least_one(*max_percent).min(100)),
            rate: start_rate.as_ref().map(Rate::of),
            hold: *stop_policy != StopPolicy::None,
            drain: *stop_policy == StopPolicy::HoldAndDrain,
            breaker: circuit_breaker.as_ref().map(Breaker::of),
            problem,
        }
    }

    /// How many of `slots` may be retries.
    pub fn retry_slots(&self, slots: usize) -> usize {
        self.retry_percent.map_or(slots, |percent| slots.saturating_mul(percent).div_ceil(100).max(1))
    }

    /// Whether nothing limits how many attempts start at once.
    pub fn has_no_limit(&self) -> bool {
        self.max_concurrent.is_none() && self.rate.is_none()
    }

    /// Over how long tasks are spread that have waited for a queue without limits.
    pub fn spread(&self) -> SignedDuration {
        self.breaker.as_ref().map_or(SignedDuration::from_secs(RECOVERY_SECONDS.into()), |breaker| breaker.recovery)
    }
}

impl Rate {
    fn of(spec: &StartRate) -> Self {
        let StartRate { starts, per_seconds, burst } = spec;
        let per = seconds(*per_seconds, 1).as_micros();
        let interval = i64::try_from(per).unwrap_or(i64::MAX) / i64::from((*starts).max(1));
        Self { interval: SignedDuration::from_micros(interval.max(1)), burst: i64::from(burst.unwrap_or(1).max(1)) }
    }
}

impl Breaker {
    fn of(spec: &CircuitBreaker) -> Self {
        let CircuitBreaker {
            mode,
            failures,
            open_after,
            open_seconds,
            max_open_seconds,
            probes,
            recovery_seconds,
            honor_retry_after,
        } = spec;
        let OpenAfter { tasks, percent, within_seconds } = open_after.clone().unwrap_or_default();
        let Probes { at_a_time, successes, pass_after_seconds } = probes.clone().unwrap_or_default();
        let open = seconds(*open_seconds, 60);
        Self {
            mode: *mode,
            failures: failures.clone(),
            tasks: at_least_one(tasks.unwrap_or(5)),
            percent: at_least_one(percent.unwrap_or(50)),
            within: seconds(within_seconds, 300),
            open,
            max_open: seconds(*max_open_seconds, 1800).max(open),
            at_a_time: at_least_one(at_a_time.unwrap_or(1)),
            successes: successes.unwrap_or(2).max(1),
            pass_after: seconds(pass_after_seconds, 300),
            recovery: SignedDuration::from_secs(recovery_seconds.unwrap_or(RECOVERY_SECONDS).max(0).into()),
            honor_retry_after: honor_retry_after.unwrap_or(true),
        }
    }
}

fn at_least_one(n: i32) -> usize {
    usize::try_from(n).unwrap_or(1).max(1)
}

fn seconds(given: Option<i32>, default: i32) -> SignedDuration {
    SignedDuration::from_secs(given.unwrap_or(default).max(1).into())
}
