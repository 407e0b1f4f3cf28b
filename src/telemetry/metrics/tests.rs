use super::reason::REASONS;
use super::*;
use crate::api::{EndReason, StopReason};

#[test]
fn every_metric_is_shown_under_its_name() {
    let metrics = Metrics::new();
    metrics.attempt_ended(AttemptResult::Failed, "OOMKilled");
    metrics.attempt_ended(AttemptResult::Failed, "OOMKilled");
    metrics.attempt_ended(AttemptResult::Ignored, "NodeShutdown");
    metrics.task_finished(TaskResult::Failed, ConditionReason::BudgetExhausted);
    metrics.retry_scheduled(Duration::from_millis(1_300));
    metrics.retry_started(Duration::from_micros(1_500));
    let queue = metrics.work_queue("Due");
    queue.depth_changed(3);
    queue.depth_changed(-1);
    queue.dispatched(Duration::from_millis(50));
    metrics.reconciled(Duration::from_millis(3));
    metrics.reconcile_failed("Conflict");
    metrics.status_update_failed();
    metrics.api_request("update", "retryabletasks/status", "409");
    metrics.set_leader(true);
    metrics.set_memory(Some(MemoryUse { used: 192 << 20, limit: 256 << 20 }));
    let text = metrics.encode().unwrap();
    for line in [
        r#"retryabletask_attempts_total{result="Failed",reason="OOMKilled"} 2"#,
        r#"retryabletask_attempts_total{result="Ignored",reason="NodeShutdown"} 1"#,
        r#"retryabletask_finished_total{result="Failed",reason="BudgetExhausted"} 1"#,
        r#"retryabletask_retry_delay_seconds_bucket{le="1.0"} 0"#,
        r#"retryabletask_retry_delay_seconds_bucket{le="2.0"} 1"#,
        "retryabletask_retry_delay_seconds_sum 1.3",
        r#"retryabletask_retry_lag_seconds_bucket{le="0.001"} 0"#,
        r#"retryabletask_retry_lag_seconds_bucket{le="0.002"} 1"#,
        r#"retryabletask_workqueue_depth{priority="Due"} 2"#,
        r#"retryabletask_workqueue_queue_duration_seconds_bucket{le="0.02",priority="Due"} 0"#,
        r#"retryabletask_workqueue_queue_duration_seconds_bucket{le="0.1",priority="Due"} 1"#,
        "retryabletask_reconcile_seconds_count 1",
        r#"retryabletask_reconcile_errors_total{kind="Conflict"} 1"#,
        "retryabletask_status_update_failures_total 1",
        r#"retryabletask_api_requests_total{verb="update",resource="retryabletasks/status",code="409"} 1"#,
        "retryabletask_leader 1",
        "retryabletask_memory_usage_ratio 0.75",
        "retryabletask_memory_limit_bytes 268435456",
        concat!("retryabletask_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn reasons_are_bounded() {
    for reason in REASONS {
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
    let metrics = Metrics::new();
    for n in 0..100 {
        metrics.attempt_ended(AttemptResult::Failed, &format!("Reason{n}"));
    }
    let text = metrics.encode().unwrap();
    assert_eq!(text.matches("retryabletask_attempts_total{").count(), 1, "{text}");
}

#[test]
fn without_a_memory_limit_none_is_shown() {
    let metrics = Metrics::new();
    for in_use in [None, Some(MemoryUse { used: 1, limit: 2 }), None] {
        metrics.set_memory(in_use);
        assert_eq!(metrics.encode().unwrap().contains("retryabletask_memory_"), in_use.is_some());
    }
}

#[test]
fn leadership_can_be_lost_again() {
    let metrics = Metrics::new();
    metrics.set_leader(true);
    metrics.set_leader(false);
    assert!(metrics.encode().unwrap().lines().any(|line| line == "retryabletask_leader 0"));
}
