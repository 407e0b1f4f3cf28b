use super::reason::REASONS;
use super::reason::bounded_reason;
use super::*;
use crate::api::{ConditionReason, EndReason, State, StopReason};
use crate::core::known_reasons::KNOWN;
use std::collections::BTreeMap;

const IMPORT: TaskIdentity = TaskIdentity { namespace: "shop", queue: "payments", labels: None };

fn ended(result: AttemptResult, reason: &str, is_retry: bool) -> EndedAttempt<'_> {
    EndedAttempt { result, reason, is_retry, took: Some(Duration::from_secs(20)) }
}

fn has(metrics: &Metrics, line: &str) -> bool {
    metrics.encode().unwrap().lines().any(|shown| shown == line)
}

fn series(metrics: &Metrics, name: &str) -> usize {
    metrics.encode().unwrap().lines().filter(|line| line.starts_with(name)).count()
}

#[test]
fn every_metric_is_shown_under_its_name() {
    let metrics = Metrics::default();
    metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Failed, "OOMKilled", false));
    metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Failed, "OOMKilled", true));
    metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Failed, "OOMKilled", true));
    metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Ignored, "NodeShutdown", true));
    metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Succeeded, "Completed", true));
    let recovered_after = Some(Duration::from_secs(70));
    let reason = ConditionReason::PartiallySucceeded;
    metrics.task_finished(&IMPORT, &FinishedTask { result: TaskResult::Partial, reason, attempts: 4, recovered_after });
    metrics.retry_scheduled(Duration::from_millis(1_300));
    metrics.retry_started(Duration::from_micros(1_500));
    let queue = metrics.work_queue("Due");
    queue.depth_changed(3);
    queue.depth_changed(-1);
    queue.dispatched(Duration::from_millis(50));
    queue.reconciled(Duration::from_millis(3));
    let place = TaskPlace { state: State::Running, pending_since: None };
    metrics.task_counts().enter("shop", place);
    metrics.reconcile_failed("conflict");
    metrics.status_update_failed();
    metrics.api_request("update", "retryabletasks/status", "409");
    metrics.spans().dropped(2);
    metrics.set_leader(true);
    metrics.set_memory(Some(MemoryUse { used: 192 << 20, limit: 256 << 20 }));
    let (version, tzdata) = (env!("CARGO_PKG_VERSION"), database_version());
    let build = format!("retryabletask_build_info{{version=\"{version}\",tzdata=\"{tzdata}\"}} 1");
    let text = metrics.encode().unwrap();
    for line in [
        r#"retryabletask_attempts_total{namespace="shop",queue="payments",result="Failed",reason="OOMKilled",retry="false"} 1"#,
        r#"retryabletask_attempts_total{namespace="shop",queue="payments",result="Failed",reason="OOMKilled",retry="true"} 2"#,
        r#"retryabletask_attempts_total{namespace="shop",queue="payments",result="Ignored",reason="NodeShutdown",retry="true"} 1"#,
        r#"retryabletask_attempt_seconds_sum{namespace="shop",result="Failed"} 60.0"#,
        r#"retryabletask_wasted_seconds_total{namespace="shop",queue="payments",reason="OOMKilled"} 60.0"#,
        r#"retryabletask_wasted_seconds_total{namespace="shop",queue="payments",reason="NodeShutdown"} 20.0"#,
        r#"retryabletask_finished_total{namespace="shop",queue="payments",result="Partial",reason="PartiallySucceeded",retried="true"} 1"#,
        r#"retryabletask_attempts_per_task_bucket{le="3.0",namespace="shop",result="Partial"} 0"#,
        r#"retryabletask_attempts_per_task_bucket{le="4.0",namespace="shop",result="Partial"} 1"#,
        r#"retryabletask_recovery_seconds_sum{namespace="shop",queue="payments"} 70.0"#,
        r#"retryabletask_tasks{namespace="shop",state="Running"} 1"#,
        r#"retryabletask_tasks{namespace="shop",state="Failed"} 0"#,
        r#"retryabletask_oldest_pending_seconds{namespace="shop"} 0"#,
        r#"retryabletask_retry_delay_seconds_bucket{le="1.0"} 0"#,
        r#"retryabletask_retry_delay_seconds_bucket{le="2.0"} 1"#,
        "retryabletask_retry_delay_seconds_sum 1.3",
        r#"retryabletask_retry_lag_seconds_bucket{le="0.001"} 0"#,
        r#"retryabletask_retry_lag_seconds_bucket{le="0.002"} 1"#,
        r#"retryabletask_workqueue_depth{priority="Due"} 2"#,
        r#"retryabletask_workqueue_queue_duration_seconds_bucket{le="0.02",priority="Due"} 0"#,
        r#"retryabletask_workqueue_queue_duration_seconds_bucket{le="0.1",priority="Due"} 1"#,
        r#"retryabletask_reconcile_seconds_count{priority="Due"} 1"#,
        r#"retryabletask_reconcile_errors_total{kind="conflict"} 1"#,
        r#"retryabletask_reconcile_errors_total{kind="panic"} 0"#,
        "retryabletask_status_update_failures_total 1",
        r#"retryabletask_api_requests_total{verb="update",resource="retryabletasks/status",code="409"} 1"#,
        r#"retryabletask_spans_total{result="Dropped"} 2"#,
        "retryabletask_leader 1",
        "retryabletask_memory_usage_ratio 0.75",
        "retryabletask_memory_limit_bytes 268435456",
        build.as_str(),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn reasons_are_bounded() {
    for reason in REASONS.iter().chain(&KNOWN).filter(|reason| **reason != "Unknown") {
        assert_eq!(bounded_reason(reason), *reason);
    }
    for own in [
        StopReason::AttemptTimeout.as_str(),
        StopReason::Suspended.as_str(),
        EndReason::Lost.as_str(),
        EndReason::PodDeadlineExceeded.as_str(),
        ConditionReason::BudgetExhausted.as_str(),
        ConditionReason::PodRejected.as_str(),
    ] {
        assert_eq!(bounded_reason(own), own);
    }
    for unknown in ["", "error", "ImportOrders-42", "Other", "Unknown"] {
        assert_eq!(bounded_reason(unknown), "Other");
    }
    let metrics = Metrics::default();
    for n in 0..100 {
        metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Failed, &format!("Reason{n}"), false));
    }
    assert_eq!(series(&metrics, "retryabletask_attempts_total{"), 1);
    assert_eq!(series(&metrics, "retryabletask_wasted_seconds_total{"), 1);
}

#[test]
fn what_is_likely_is_there_before_it_happens() {
    let metrics = Metrics::default();
    metrics.foresee(&IMPORT);
    for retry in [false, true] {
        for (result, reason) in [("Failed", "Error"), ("Failed", "OOMKilled"), ("Succeeded", "Completed")] {
            let labels =
                format!(r#"namespace="shop",queue="payments",result="{result}",reason="{reason}",retry="{retry}""#);
            assert!(has(&metrics, &format!("retryabletask_attempts_total{{{labels}}} 0")), "{labels}");
        }
        for reason in ["RetriesExhausted", "QueueTimeout", "DependencyFailed", "DependencyTimeout"] {
            let labels =
                format!(r#"namespace="shop",queue="payments",result="Failed",reason="{reason}",retried="{retry}""#);
            assert!(has(&metrics, &format!("retryabletask_finished_total{{{labels}}} 0")), "{labels}");
        }
    }
    assert!(has(&metrics, r#"retryabletask_recovery_seconds_count{namespace="shop",queue="payments"} 0"#));
    metrics.attempt_ended(&IMPORT, &ended(AttemptResult::Failed, "Error", false));
    let before = metrics.encode().unwrap();
    metrics.foresee(&IMPORT);
    assert_eq!(metrics.encode().unwrap().len(), before.len(), "nothing is set back");
}

#[test]
fn tasks_add_a_bounded_number_of_series() {
    let labels = ["team".to_owned(), "app".to_owned()];
    let metrics = Metrics::new(MetricsSettings::new(&labels, true).unwrap());
    for n in 0..3_000 {
        let labels = BTreeMap::from([("team".to_owned(), format!("team-{n}")), ("app".to_owned(), format!("app-{n}"))]);
        let task = TaskIdentity { labels: Some(&labels), ..IMPORT };
        metrics.attempt_ended(&task, &ended(AttemptResult::Failed, &format!("Reason{n}"), false));
    }
    assert_eq!(series(&metrics, "retryabletask_attempts_total{"), 201);
    assert_eq!(series(&metrics, "retryabletask_attempt_seconds_count{"), 1, "histograms have no chosen labels");
}

#[test]
fn the_namespace_can_be_left_out() {
    let metrics = Metrics::new(MetricsSettings::new(&[], false).unwrap());
    for namespace in ["a", "b"] {
        let task = TaskIdentity { namespace, ..IMPORT };
        metrics.attempt_ended(&task, &ended(AttemptResult::Failed, "Error", true));
        metrics.task_counts().enter(namespace, TaskPlace { state: State::Waiting, pending_since: None });
    }
    for line in [
        r#"retryabletask_attempts_total{queue="payments",result="Failed",reason="Error",retry="true"} 2"#,
        r#"retryabletask_tasks{state="Waiting"} 2"#,
        "retryabletask_oldest_pending_seconds{} 0",
    ] {
        assert!(has(&metrics, line), "{line}");
    }
}

#[test]
fn without_a_memory_limit_none_is_shown() {
    let metrics = Metrics::default();
    for in_use in [None, Some(MemoryUse { used: 1, limit: 2 }), None] {
        metrics.set_memory(in_use);
        assert_eq!(metrics.encode().unwrap().contains("retryabletask_memory_"), in_use.is_some());
    }
}

#[test]
fn leadership_can_be_lost_again() {
    let metrics = Metrics::default();
    metrics.set_leader(true);
    metrics.set_leader(false);
    assert!(metrics.encode().unwrap().lines().any(|line| line == "retryabletask_leader 0"));
}

#[test]
fn nothing_is_left_of_a_queue_or_schedule_that_is_gone() {
    let metrics = Metrics::default();
    let depth = QueueDepth { running: 1, slots: Some(2), queued: 1, oldest_wait: Duration::ZERO };
    metrics.task_queues().set("shop", "gone", QueueGauges { depth, circuit: Some("Open"), is_held: false });
    metrics.task_queues().started("shop", "gone", Duration::ZERO);
    metrics.task_queues().circuit_changed("shop", "gone", "Open");
    for result in [ProbeResult::Passed, ProbeResult::Failed, ProbeResult::Neutral] {
        metrics.task_queues().probed("shop", "gone", result);
    }
    let gauges = ScheduleGauges { state: "Scheduled", next: Some(1), last_success: Some(1), ..Default::default() };
    metrics.schedules().set("shop", "gone", gauges);
    metrics.schedules().started("shop", "gone", "Trigger", None);
    metrics.schedules().skipped("shop", "gone", SkipReason::Missed, 1);
    assert!(metrics.encode().unwrap().contains("gone"));
    metrics.task_queues().remove("shop", "gone");
    metrics.schedules().remove("shop", "gone");
    let text = metrics.encode().unwrap();
    let left: Vec<&str> = text.lines().filter(|line| line.contains("gone")).collect();
    assert!(left.is_empty(), "{left:?}");
}
