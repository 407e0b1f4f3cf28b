//! The rules that every run must keep, whatever faults it had.
//!
//! A rule reads only the trace of the run: every version of every task and Pod, and every write of the operator. The
//! simulation takes it from its API server, the end-to-end tests from watches and the audit log.
//!
//! - [`record`]: the trace, grouped by task and Pod.
//! - [`sequence_checker`]: one Pod at a time; status before Pod, outcome before the finalizer's removal, intent before stop.
//! - [`after_checker`]: a task waits for `startAt` and for those of `spec.after`, and no longer.
//! - [`checkpoint_checker`]: a checkpoint goes from attempt to attempt.
//! - [`history_checker`]: the history matches the Pods.
//! - [`delay_checker`]: delays are those of the spec, and are kept.
//! - [`leader_checker`]: only the leader creates Pods.
//! - [`liveness_checker`]: steps that are due follow soon, and no write is repeated in a loop.
//! - [`queue_checker`]: tasks of a queue start in its order, within its limits, and not while its service is down.
//! - [`schedule_checker`]: each time of a schedule is started once, or left out for a reason.
//! - [`totals_checker`]: counters match the history, and budgets are kept.
//! - [`quiescence_checker`]: at the end nothing is left behind, and nothing is written any more.

mod after_checker;
mod checkpoint_checker;
mod delay_checker;
mod history_checker;
mod leader_checker;
mod liveness_checker;
mod queue_checker;
mod quiescence_checker;
mod record;
mod schedule_checker;
mod sequence_checker;
mod totals_checker;

use jiff::{SignedDuration, Timestamp};
use record::TaskRecord;
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};

/// One version of an object, as a watch shows it.
#[derive(Clone, Debug)]
pub struct Change {
    /// When it was stored, since the beginning.
    pub at: Duration,
    /// Whether the object was deleted: the watch event `DELETED`, with the last state.
    pub deleted: bool,
    /// The object.
    pub object: Arc<Value>,
    /// Whether the operator made it.
    pub by_operator: bool,
}

/// One write request of the operator.
#[derive(Clone, Debug)]
pub struct Write {
    /// When the operator called the API, since the beginning.
    pub called: Duration,
    /// When the API server carried it out, if it did.
    pub done: Option<Duration>,
    /// create, update, patch or delete.
    pub verb: String,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's namespace and name, with a slash between.
    pub object: String,
    /// The request's body; null if it had none. None if it is unknown: the API server answered before it read the body.
    pub body: Option<Value>,
    /// The status code that the API server answered, even if the answer was lost; 0 without an answer.
    pub code: u16,
    /// Whether it changed the object.
    pub changed: bool,
    /// Whether a fault was injected.
    pub faulty: bool,
    /// Which process sent it.
    pub by: u32,
}

impl Write {
    /// Whether the API server rejects it, and will again if it is repeated.
    pub fn is_refused(&self) -> bool {
        matches!(self.code, 400 | 401 | 403 | 413 | 422)
    }
}

/// Everything that the rules know of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// When it began.
    pub start: Timestamp,
    /// Every version of every task, queue, schedule, Pod and Event, in order.
    pub changes: Vec<Change>,
    /// Every write of the operator, by `called`.
    pub writes: Vec<Write>,
    /// The holders of the Lease, each with the time since when, in order. Empty without leader election.
    pub leaders: Vec<(Duration, Option<u32>)>,
    /// When each process of the operator started, by its number. Empty if that is not known.
    pub processes: Vec<Duration>,
    /// When the run ended.
    pub end: Duration,
    /// Since when nothing delays the operator any more.
    pub calm_since: Duration,
    /// Whether the operator stopped writing at the end.
    pub converged: bool,
    /// The namespace whose Pods get no finalizer.
    pub own_namespace: String,
    /// Whether no fault was injected, apart from how Pods end.
    pub faultless: bool,
    /// Whether nothing delays the operator: at most its cleanup is refused.
    pub prompt: bool,
    /// The operator's clock, if it does not always agree with the cluster's.
    pub clock: Vec<ClockMark>,
}

/// When the operator's clock jumped, or a process started and read it.
#[derive(Clone, Copy, Debug)]
pub struct ClockMark {
    /// When, since the beginning.
    pub at: Duration,
    /// How far the clock is ahead of the cluster's from then on.
    pub ahead: SignedDuration,
    /// Whether a process started.
    pub process_started: bool,
}

impl Trace {
    /// How far the operator's clock was ahead at this time.
    pub fn ahead(&self, at: Duration) -> SignedDuration {
        self.clock.iter().rev().find(|mark| mark.at <= at).map_or(SignedDuration::ZERO, |mark| mark.ahead)
    }
}

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// What broke it.
    pub details: String,
}

impl Violation {
    /// A violation of this rule.
    pub fn new(rule: &'static str, details: impl Into<String>) -> Self {
        Self { rule, details: details.into() }
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.rule, self.details)
    }
}

/// How long after its request a Pod's creation may still land (ARCHITECTURE.md, invariant 2). Later ones are the residual
/// risk stated there: they never count as attempts, and must be deleted at the end.
pub const LATE: Duration = Duration::from_secs(20);

/// All violations; and how each task ended, without times, which is the same in runs that differ only in faults.
pub fn judge(trace: &Trace) -> (Vec<Violation>, Vec<String>) {
    let tasks = record::by_task(trace);
    let mut violations = vec![];
    queue_checker::check(trace, &tasks, &mut violations);
    schedule_checker::check(trace, &tasks, &mut violations);
    for record in &tasks {
        sequence_checker::check(trace, record, &mut violations);
        history_checker::check(trace, record, &mut violations);
        delay_checker::check(trace, record, &mut violations);
        checkpoint_checker::check(record, &mut violations);
        totals_checker::check(record, &mut violations);
        quiescence_checker::check(trace, record, &mut violations);
        liveness_checker::check(trace, record, &mut violations);
    }
    after_checker::check(trace, &tasks, &mut violations);
    after_checker::awaited_stay(trace, &tasks, &mut violations);
    quiescence_checker::check_all(trace, &mut violations);
    liveness_checker::check_refusals(trace, &mut violations);
    sequence_checker::foreign_pods(trace, &mut violations);
    leader_checker::check(trace, &mut violations);
    (violations, tasks.iter().map(TaskRecord::summary).collect())
}
