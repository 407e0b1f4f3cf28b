//! What must hold of a run, whatever went wrong in it.
//!
//! It rests on a record alone: every version of every task and Pod, and every write of the operator. The simulation makes
//! one of what its API server did; the end-to-end tests make one of watches and the audit log.
//!
//! - [`record`]: the record told by task and by Pod.
//! - [`sequence_checker`]: one Pod at a time, numbered without gap, none before its status, none released before its outcome, none stopped without intent.
//! - [`history_checker`]: the history says what really happened, and waits are kept.
//! - [`leader_checker`]: who does not lead creates nothing.
//! - [`liveness_checker`]: what is due is done soon, and nothing again and again.
//! - [`totals_checker`]: counters agree with the history, and budgets are kept.
//! - [`quiescence_checker`]: in the end nothing is left behind, and nothing is written.

mod history_checker;
mod leader_checker;
mod liveness_checker;
mod quiescence_checker;
mod record;
mod sequence_checker;
mod totals_checker;

use jiff::{SignedDuration, Timestamp};
use record::TaskRecord;
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// When it was stored, since the beginning.
    pub at: Duration,
    /// Whether the object went with it; then this is its last state.
    pub gone: bool,
    /// The object.
    pub object: Arc<Value>,
    /// Whether the operator made it.
    pub by_operator: bool,
}

/// One write that the operator asked for.
#[derive(Clone, Debug)]
pub struct Write {
    /// When it was asked for, since the beginning.
    pub called: Duration,
    /// When the API server did it, if it did.
    pub done: Option<Duration>,
    /// create, update, patch or delete.
    pub verb: String,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's namespace and name, with a slash between.
    pub object: String,
    /// What was sent, null if nothing was. None if that is not known: the API server answered before it read the body.
    pub body: Option<Value>,
    /// The API server's answer, seen or not; 0 without one.
    pub code: u16,
    /// Whether it changed the object.
    pub changed: bool,
    /// Whether something went wrong on its way.
    pub faulty: bool,
    /// Which process asked for it.
    pub by: u32,
}

impl Write {
    /// Whether the API server will not do it, however often it is asked.
    pub fn is_refused(&self) -> bool {
        matches!(self.code, 400 | 401 | 403 | 413 | 422)
    }
}

/// The record of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// When it began.
    pub start: Timestamp,
    /// Every version of every task, Pod and Event, in order.
    pub changes: Vec<Change>,
    /// Every write of the operator, in the order in which they were asked for.
    pub writes: Vec<Write>,
    /// Since when which process has held the Lease, if any, in order; nothing where nobody is elected.
    pub leaders: Vec<(Duration, Option<u32>)>,
    /// Whether it came to rest.
    pub rested: bool,
    /// The namespace whose Pods get no finalizer.
    pub own_namespace: String,
    /// Whether nothing went wrong but Pods.
    pub faultless: bool,
    /// Whether nothing holds the operator up: at most its clean-up is refused.
    pub prompt: bool,
    /// The operator's clock, if it does not always agree with the cluster's.
    pub clock: Vec<ClockMark>,
}

/// A moment at which the operator's clock jumped, or at which a process began and looked at it anew.
#[derive(Clone, Copy, Debug)]
pub struct ClockMark {
    /// When, since the beginning.
    pub at: Duration,
    /// How far the clock is ahead of the cluster's from then on.
    pub ahead: SignedDuration,
    /// Whether a process began.
    pub begun: bool,
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
    /// By what.
    pub story: String,
}

impl Violation {
    /// A violation of this rule.
    pub fn new(rule: &'static str, story: impl Into<String>) -> Self {
        Self { rule, story: story.into() }
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.rule, self.story)
    }
}

/// The bound on how late a Pod's creation may land after it was asked for (see ARCHITECTURE, invariant 2). Later ones are the
/// stated residual: they never count, and must be gone in the end.
pub const LATE: Duration = Duration::from_secs(20);

/// Everything that breaks a rule; and how each task ended, times aside, which is the same in runs that differ in faults
/// alone.
pub fn judge(trace: &Trace) -> (Vec<Violation>, Vec<String>) {
    let stories = record::tell(trace);
    let mut found = vec![];
    for story in &stories {
        sequence_checker::check(trace, story, &mut found);
        history_checker::check(trace, story, &mut found);
        totals_checker::check(story, &mut found);
        quiescence_checker::check(trace, story, &mut found);
        liveness_checker::check(trace, story, &mut found);
    }
    quiescence_checker::check_all(trace, &mut found);
    liveness_checker::check_refusals(trace, &mut found);
    sequence_checker::foreign(trace, &mut found);
    leader_checker::check(trace, &mut found);
    (found, stories.iter().map(TaskRecord::summary).collect())
}
