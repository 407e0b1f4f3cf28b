//! The counters and histograms of tasks and their attempts.

use super::labels::{LabelList, Labeller, TaskIdentity};
use super::reason::bounded_reason;
use crate::api::{ConditionReason, EndReason, StopReason};
use crate::core::known_reasons::OOM_KILLED;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const DELAY_BUCKETS: [f64; 15] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0];
pub(super) const LAG_BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// From a call that fails at once to a job of a day.
const ATTEMPT_BUCKETS: [f64; 11] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 10_800.0, 43_200.0, 86_400.0];
/// From one retry to a service that is down for a day.
const RECOVERY_BUCKETS: [f64; 11] =
    [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 10_800.0, 43_200.0, 86_400.0];
const ATTEMPTS_BUCKETS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 13.0, 21.0];

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum AttemptResult {
    /// The attempt succeeded.
    Succeeded,
    /// The attempt failed and was charged to the task's retries.
    Failed,
    /// The attempt ended without being charged: by a disruption, a suspension or a rule with action Ignore.
    Ignored,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum TaskResult {
    /// An attempt succeeded.
    Succeeded,
    /// An attempt succeeded in part.
    Partial,
    /// The task failed for good, or was cancelled.
    Failed,
}

/// An attempt that ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedAttempt<'a> {
    /// How.
    pub result: AttemptResult,
    /// Why: any text.
    pub reason: &'a str,
    /// Whether it was not the first of its run.
    pub is_retry: bool,
    /// How long its container ran, if that is known.
    pub took: Option<Duration>,
}

/// A task that ended.
#[derive(Debug, Clone, Copy)]
pub struct FinishedTask {
    /// How.
    pub result: TaskResult,
    /// Why.
    pub reason: ConditionReason,
    /// How many attempts its run had.
    pub attempts: u32,
    /// How long after its first failure it succeeded. None: it has not failed before, or has not succeeded.
    pub recovered_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    #[prometheus(flatten)]
    task: LabelList,
    result: AttemptResult,
    reason: &'static str,
    retry: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FinishedLabels {
    #[prometheus(flatten)]
    task: LabelList,
    result: TaskResult,
    reason: &'static str,
    retried: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    #[prometheus(flatten)]
    task: LabelList,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptResultLabels {
    #[prometheus(flatten)]
    task: LabelList,
    result: AttemptResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskResultLabels {
    #[prometheus(flatten)]
    task: LabelList,
    result: TaskResult,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of tasks.
#[derive(Debug)]
pub(super) struct TaskMetrics {
    labeller: Labeller,
    /// The labels of tasks whose likely series exist.
    foreseen: Mutex<HashSet<LabelList>>,
    attempts: Family<AttemptLabels, Counter>,
    attempt_duration: Histograms<AttemptResultLabels>,
    wasted: Family<ReasonLabels, Counter<f64, AtomicU64>>,
    finished: Family<FinishedLabels, Counter>,
    attempts_per_task: Histograms<TaskResultLabels>,
    recovery: Histograms<LabelList>,
    retry_delay: Histogram,
    retry_lag: Histogram,
}

impl TaskMetrics {
    pub(super) fn new(labeller: Labeller) -> Self {
        Self {
            labeller,
            foreseen: Mutex::default(),
            attempts: Family::default(),
            attempt_duration: Family::new_with_constructor(|| Histogram::new(ATTEMPT_BUCKETS)),
            wasted: Family::default(),
            finished: Family::default(),
            attempts_per_task: Family::new_with_constructor(|| Histogram::new(ATTEMPTS_BUCKETS)),
            recovery: Family::new_with_constructor(|| Histogram::new(RECOVERY_BUCKETS)),
            retry_delay: Histogram::new(DELAY_BUCKETS),
            retry_lag: Histogram::new(LAG_BUCKETS),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attempts",
            "Attempts that ended, by result and reason; retry is false for the first attempt of a run",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "attempt",
            "How long the container of an attempt ran. It has no reason, by which a histogram would be many series: what each reason costs is in retryabletask_wasted_seconds_total",
            Unit::Seconds,
            self.attempt_duration.clone(),
        );
        registry.register_with_unit(
            "wasted",
            "Time that the containers of attempts ran which did not succeed",
            Unit::Seconds,
            self.wasted.clone(),
        );
        registry.register(
            "finished",
            "Tasks that ended, by result and reason; retried is true if the run had more than one attempt",
            self.finished.clone(),
        );
        registry.register(
            "attempts_per_task",
            "Attempts of a run that ended, by the task's result",
            self.attempts_per_task.clone(),
        );
        registry.register_with_unit(
            "recovery",
            "Time from the first failure of a run to its success",
            Unit::Seconds,
            self.recovery.clone(),
        );
        registry.register_with_unit(
            "retry_delay",
            "Back-off between the end of an attempt and the time the next one is due",
            Unit::Seconds,
            self.retry_delay.clone(),
        );
        registry.register_with_unit(
            "retry_lag",
            "How late behind its due time a retry's Pod was created",
            Unit::Seconds,
            self.retry_lag.clone(),
        );
    }

    /// The series that are likely for this task exist from now on, at 0: `increase()` misses the first count of a series
    /// that begins with it.
    pub(super) fn foresee(&self, task: &TaskIdentity) {
        let labels = self.labeller.task(task);
        if !self.foreseen.lock().unwrap_or_else(PoisonError::into_inner).insert(labels.clone()) {
            return;
        }
        let attempts = [
            (AttemptResult::Succeeded, EndReason::Completed.as_str()),
            (AttemptResult::Failed, EndReason::Error.as_str()),
            (AttemptResult::Failed, OOM_KILLED),
            (AttemptResult::Failed, StopReason::AttemptTimeout.as_str()),
        ];
        let finished = [
            (TaskResult::Succeeded, ConditionReason::Succeeded),
            (TaskResult::Failed, ConditionReason::RetriesExhausted),
            (TaskResult::Failed, ConditionReason::BudgetExhausted),
            (TaskResult::Failed, ConditionReason::RuleFailed),
            (TaskResult::Failed, ConditionReason::DoNotRetry),
            (TaskResult::Failed, ConditionReason::DeadlineExceeded),
            (TaskResult::Failed, ConditionReason::QueueTimeout),
            (TaskResult::Failed, ConditionReason::DependencyFailed),
            (TaskResult::Failed, ConditionReason::DependencyTimeout),
        ];
        drop(self.recovery.get_or_create(&self.labeller.queue(task)));
        for again in [false, true] {
            for (result, reason) in attempts {
                let task = labels.clone();
                drop(self.attempts.get_or_create(&AttemptLabels { task, result, reason, retry: again }));
            }
            for (result, reason) in finished {
                let (task, reason) = (labels.clone(), reason.as_str());
                drop(self.finished.get_or_create(&FinishedLabels { task, result, reason, retried: again }));
            }
        }
    }

    pub(super) fn attempt_ended(&self, task: &TaskIdentity, ended: &EndedAttempt) {
        let EndedAttempt { result, reason, is_retry: retry, took } = *ended;
        let (reason, labels) = (bounded_reason(reason), self.labeller.task(task));
        self.attempts.get_or_create(&AttemptLabels { task: labels.clone(), result, reason, retry }).inc();
        let Some(took) = took.map(|took| took.as_secs_f64()) else { return };
        let of_namespace = self.labeller.namespace(task.namespace);
        self.attempt_duration.get_or_create(&AttemptResultLabels { task: of_namespace, result }).observe(took);
        if result != AttemptResult::Succeeded {
            self.wasted.get_or_create(&ReasonLabels { task: labels, reason }).inc_by(took);
        }
    }

    pub(super) fn finished(&self, task: &TaskIdentity, finished: &FinishedTask) {
        let FinishedTask { result, reason, attempts, recovered_after } = *finished;
        let (labels, reason, retried) = (self.labeller.task(task), reason.as_str(), attempts > 1);
        self.finished.get_or_create(&FinishedLabels { task: labels, result, reason, retried }).inc();
        let of_namespace = self.labeller.namespace(task.namespace);
        // One that fails before its first attempt says nothing of retries.
        if attempts > 0 {
            let of_result = TaskResultLabels { task: of_namespace, result };
            self.attempts_per_task.get_or_create(&of_result).observe(attempts.into());
        }
        if let Some(after) = recovered_after {
            self.recovery.get_or_create(&self.labeller.queue(task)).observe(after.as_secs_f64());
        }
    }

    pub(super) fn retry_scheduled(&self, delay: Duration) {
        self.retry_delay.observe(delay.as_secs_f64());
    }

    pub(super) fn retry_started(&self, lag: Duration) {
        self.retry_lag.observe(lag.as_secs_f64());
    }
}
