//! The metrics of TaskSchedules. Their names are labels: schedules are few and live long.

use super::tasks::LAG_BUCKETS;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// The causes of runs.
const CAUSES: [&str; 3] = ["Schedule", "Trigger", "Backfill"];
/// The states of a schedule.
const SKIP_REASONS: [SkipReason; 3] = [SkipReason::Overlap, SkipReason::Missed, SkipReason::Rejected];
const STATES: [&str; 4] = ["Scheduled", "Suspended", "Paused", "Stalled"];

/// Why a time of a schedule was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum SkipReason {
    /// A run had not ended.
    Overlap,
    /// Nothing could be started in time.
    Missed,
    /// The API server refused the task.
    Rejected,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    schedule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    #[prometheus(flatten)]
    of: Labels,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SkipLabels {
    #[prometheus(flatten)]
    of: Labels,
    reason: SkipReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    #[prometheus(flatten)]
    of: Labels,
    state: &'static str,
}

/// How a schedule is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScheduleGauges<'a> {
    /// The state in its status.
    pub state: &'a str,
    /// When the next run starts, in seconds since 1970.
    pub next: Option<i64>,
    /// When a run last succeeded, in seconds since 1970.
    pub last_success: Option<i64>,
    /// By when a run should have succeeded, in seconds since 1970.
    pub success_due: Option<i64>,
    /// How many runs have failed in a row.
    pub consecutive_failures: i32,
}

/// The metrics of all schedules.
#[derive(Debug)]
pub struct ScheduleMetrics {
    runs: Family<RunLabels, Counter>,
    skipped: Family<SkipLabels, Counter>,
    lag: Histogram,
    state: Family<StateLabels, Gauge>,
    next: Family<Labels, Gauge>,
    last_success: Family<Labels, Gauge>,
    success_due: Family<Labels, Gauge>,
    consecutive_failures: Family<Labels, Gauge>,
}

impl ScheduleMetrics {
    pub(super) fn new() -> Self {
        Self {
            runs: Family::default(),
            skipped: Family::default(),
            lag: Histogram::new(LAG_BUCKETS),
            state: Family::default(),
            next: Family::default(),
            last_success: Family::default(),
            success_due: Family::default(),
            consecutive_failures: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "schedule_runs",
            "Tasks that a TaskSchedule has created, by cause: Schedule, Trigger, Backfill",
            self.runs.clone(),
        );
        registry.register(
            "schedule_skipped",
            "Times of a TaskSchedule that were skipped, by reason",
            self.skipped.clone(),
        );
        registry.register_with_unit(
            "schedule_lag",
            "How late behind its time a schedule's task was created; those by request and of a backfill do not count",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "schedule_state",
            "1 for the state that a TaskSchedule is in, 0 for the others",
            self.state.clone(),
        );
        registry.register_with_unit(
            "schedule_next_timestamp",
            "When the next run of a TaskSchedule starts; absent while nothing is scheduled",
            Unit::Seconds,
            self.next.clone(),
        );
        registry.register_with_unit(
            "schedule_last_success_timestamp",
            "When a run of a TaskSchedule last succeeded; absent before that",
            Unit::Seconds,
            self.last_success.clone(),
        );
        registry.register_with_unit(
            "schedule_success_due_timestamp",
            "By when a run of a TaskSchedule should have succeeded: its second time after the last success, or after its creation or the end of \
             its last suspension or pause if that is later; absent while no time starts a run",
            Unit::Seconds,
            self.success_due.clone(),
        );
        registry.register(
            "schedule_consecutive_failures",
            "Runs of a TaskSchedule that have failed in a row",
            self.consecutive_failures.clone(),
        );
    }

    /// Sets how a schedule is. Its counters exist from now on.
    pub fn set(&self, namespace: &str, schedule: &str, gauges: ScheduleGauges) {
        let ScheduleGauges { state, next, last_success, success_due, consecutive_failures } = gauges;
        let of = labels(namespace, schedule);
        for known in STATES {
            let labels = StateLabels { of: of.clone(), state: known };
            self.state.get_or_create(&labels).set((state == known).into());
        }
        let times = [(&self.next, next), (&self.last_success, last_success), (&self.success_due, success_due)];
        for (family, time) in times {
            match time {
                Some(time) => {
                    family.get_or_create(&of).set(time);
                }
                None => {
                    family.remove(&of);
                }
            }
        }
        self.consecutive_failures.get_or_create(&of).set(consecutive_failures.into());
        for cause in CAUSES {
            drop(self.runs.get_or_create(&RunLabels { of: of.clone(), cause }));
        }
        for reason in SKIP_REASONS {
            drop(self.skipped.get_or_create(&SkipLabels { of: of.clone(), reason }));
        }
    }

    /// Removes what a schedule had that is gone.
    pub fn remove(&self, namespace: &str, schedule: &str) {
        let of = labels(namespace, schedule);
        for gauge in [&self.next, &self.last_success, &self.success_due, &self.consecutive_failures] {
            gauge.remove(&of);
        }
        for state in STATES {
            self.state.remove(&StateLabels { of: of.clone(), state });
        }
        for cause in CAUSES {
            self.runs.remove(&RunLabels { of: of.clone(), cause });
        }
        for reason in SKIP_REASONS {
            self.skipped.remove(&SkipLabels { of: of.clone(), reason });
        }
    }

    /// Counts a task that a schedule has created, `late` after its time; `cause` is one of a fixed set.
    pub fn started(&self, namespace: &str, schedule: &str, cause: &'static str, late: Option<Duration>) {
        self.runs.get_or_create(&RunLabels { of: labels(namespace, schedule), cause }).inc();
        if let Some(late) = late {
            self.lag.observe(late.as_secs_f64());
        }
    }

    /// Counts times of a schedule that were skipped.
    pub fn skipped(&self, namespace: &str, schedule: &str, reason: SkipReason, count: u64) {
        self.skipped.get_or_create(&SkipLabels { of: labels(namespace, schedule), reason }).inc_by(count);
    }
}

fn labels(namespace: &str, schedule: &str) -> Labels {
    Labels { namespace: namespace.into(), schedule: schedule.into() }
}
