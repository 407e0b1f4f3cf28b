//! The metrics, from the text that the operator serves.

use crate::page::{cell, code, table as markdown};
use retryable_tasks::api::{ConditionReason, State};
use retryable_tasks::telemetry::memory::MemoryUse;
use retryable_tasks::telemetry::metrics::{
    AttemptResult, EndedAttempt, FinishedTask, Metrics, MetricsSettings, ProbeResult, QueueDepth, QueueGauges,
    ScheduleGauges, TaskIdentity, TaskPlace, TaskResult,
};
use std::time::Duration;

/// The text with at least one series of each metric.
fn text() -> String {
    text_with(MetricsSettings::default())
}

fn text_with(settings: MetricsSettings) -> String {
    let metrics = Metrics::new(settings);
    let task = TaskIdentity { namespace: "shop", queue: "payments", labels: None };
    let (took, recovered_after) = (Some(Duration::ZERO), Some(Duration::ZERO));
    let ended = EndedAttempt { result: AttemptResult::Failed, reason: "Error", is_retry: false, took };
    metrics.attempt_ended(&task, &ended);
    let reason = ConditionReason::Succeeded;
    let finished = FinishedTask { result: TaskResult::Succeeded, reason, attempts: 2, recovered_after };
    metrics.task_finished(&task, &finished);
    metrics.task_counts().enter("shop", TaskPlace { state: State::Running, pending_since: None });
    metrics.retry_scheduled(Duration::ZERO);
    metrics.retry_started(Duration::ZERO);
    metrics.work_queue("Due").dispatched(Duration::ZERO);
    metrics.reconcile_failed("request");
    metrics.status_update_failed();
    metrics.api_request("get", "pods", "200");
    let gauges = ScheduleGauges {
        state: "Scheduled",
        next: Some(0),
        last_success: Some(0),
        success_due: Some(0),
        consecutive_failures: 0,
    };
    metrics.schedules().set("shop", "nightly", gauges);
    metrics.spans().sent(1);
    metrics.set_leader(true);
    metrics.set_memory(Some(MemoryUse { used: 1, limit: 2 }));
    let depth = QueueDepth { running: 0, slots: Some(1), queued: 0, oldest_wait: Duration::ZERO };
    let gauges = QueueGauges { depth, circuit: Some("Closed"), is_held: false };
    metrics.task_queues().set("shop", "payments", gauges);
    metrics.task_queues().started("shop", "payments", Duration::ZERO);
    metrics.task_queues().probed("shop", "payments", ProbeResult::Passed);
    metrics.encode().unwrap()
}

pub fn table() -> String {
    let text = text();
    let about = |keyword: &str| {
        let prefix = format!("# {keyword} ");
        text.lines().filter_map(move |line| line.strip_prefix(&prefix)?.split_once(' ').map(|(a, b)| (a.to_owned(), b)))
    };
    let rows: Vec<Vec<String>> = about("HELP")
        .map(|(name, help)| {
            let (_, type_) = about("TYPE").find(|(other, _)| *other == name).unwrap();
            let suffix = match type_ {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            vec![code(&format!("{name}{suffix}")), type_.into(), labels(&text, &name), cell(help.trim_end_matches('.'))]
        })
        .collect();
    markdown(&["Metric", "Type", "Labels", "Meaning"], &rows)
}

/// The labels of a metric's first series, but for the bounds of buckets.
fn labels(text: &str, name: &str) -> String {
    let first = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let inside = first.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map(|(labels, _)| labels);
    let names = inside.unwrap_or_default().split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
    names.filter(|name| *name != "le").map(code).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_metric_that_is_registered_has_a_row() {
    let sources = [
        include_str!("../../src/telemetry/metrics.rs"),
        include_str!("../../src/telemetry/metrics/schedules.rs"),
        include_str!("../../src/telemetry/metrics/task_counts.rs"),
        include_str!("../../src/telemetry/metrics/task_queues.rs"),
        include_str!("../../src/telemetry/metrics/tasks.rs"),
    ];
    let source = sources.concat();
    let registered = ["registry.register(", "registry.register_with_unit(", "encoder.encode_descriptor("]
        .map(|call| source.matches(call).count())
        .iter()
        .sum::<usize>();
    assert_eq!(table().lines().count(), registered + 2, "a metric without a series is not in the text: count it here");
}

/// The metrics that have the label namespace, by the names in their help.
fn with_namespace(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    let mut names: Vec<String> =
        names.filter(|name| labels(text, name).contains("`namespace`")).map(str::to_owned).collect();
    names.sort();
    names
}

/// Where a metric lacks the label, Prometheus adds the operator's own namespace. The chart's ServiceMonitor takes that off.
#[test]
fn the_chart_knows_the_metrics_that_can_lack_the_namespace() {
    let without = with_namespace(&text_with(MetricsSettings::new(&[], false).unwrap()));
    let lacking = with_namespace(&text()).into_iter().filter(|name| !without.contains(name));
    let short: Vec<String> = lacking.map(|name| name.trim_start_matches("retryabletask_").to_owned()).collect();
    let chart = include_str!("../../charts/retryable-tasks/templates/metrics.yaml");
    let expected = format!("regex: retryabletask_({})(_total|_bucket|_sum|_count)?()", short.join("|"));
    assert!(chart.contains(&expected), "expected in the ServiceMonitor: {expected}");
}
