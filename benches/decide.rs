//! How long a decision takes: `cargo bench`. The task has twenty failures in its history, as many as it keeps unless its
//! spec says otherwise, and its last Pod is still there. The queue has 10,000 tasks in its line.

// What cannot be made here ends the benchmark; and criterion's macros document nothing.
#![allow(clippy::expect_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use retryable_tasks::api::{RetryableTask, RetryableTaskStatus, TaskQueue};
use retryable_tasks::core::build_pod::pod;
use retryable_tasks::core::decide::{Lookups, Plan, ProcessState, Situation, TrackedPod, decide};
use retryable_tasks::core::pod_snapshot::PodSnapshot;
use retryable_tasks::core::queue::facts::TaskFacts;
use retryable_tasks::core::queue::ledger::Ledger;
use retryable_tasks::core::queue::view::QueueDemand;
use serde_json::json;
use std::hint::black_box;

const FAILURES: i32 = 20;

/// Fails, with a rule that has to look at the message, and waits.
fn task() -> RetryableTask {
    let spec = json!({
        "image": "registry.example/import:1.4",
        "maxRetries": 100,
        "backoff": {"strategy": "Exponential", "initialDelaySeconds": 30, "maxDelaySeconds": 600},
        "rules": [{"name": "rate-limited", "when": {"message": "(?i)too many requests"}, "action": "Retry"}],
        "podRetention": {"failed": 1, "succeeded": 1}
    });
    let mut task = RetryableTask::new("import-orders", serde_json::from_value(spec).expect("a spec"));
    task.metadata.namespace = Some("default".into());
    task.metadata.uid = Some("9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10".into());
    task.metadata.generation = Some(1);
    task.metadata.resource_version = Some("1".into());
    task
}

fn at(seconds: i32) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000) + SignedDuration::from_secs(seconds.into())
}

/// The Pod of attempt `number`, which runs for two seconds and fails.
fn failed(task: &RetryableTask, number: i32) -> TrackedPod {
    let start = at(number * 1000);
    let mut failed: Pod = serde_json::from_value(pod(task, number, true)).expect("a Pod");
    failed.metadata.uid = Some(format!("{number:08}-5d0c-4a3b-8a55-0f8f2b3f6f10"));
    failed.metadata.creation_timestamp = serde_json::from_value(json!(start)).ok();
    failed.spec.get_or_insert_default().node_name = Some("node-1".into());
    let end = json!({"exitCode": 1, "reason": "Error", "message": "connection to orders.example refused",
                     "startedAt": start, "finishedAt": at(number * 1000 + 2)});
    let status = json!({"phase": "Failed", "startTime": start, "containerStatuses":
                        [{"name": "task", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": end}}]});
    failed.status = Some(serde_json::from_value(status).expect("a status"));
    TrackedPod {
        pod: PodSnapshot::of(&failed).expect("an attempt's Pod"),
        first_seen: start,
        known_since: SignedDuration::ZERO,
        deleting_since: None,
        stopping_since: None,
        ungated: None,
        end_seen: Some(at(number * 1000 + 2)),
        deleted: false,
    }
}

fn decided(task: &RetryableTask, pods: &[TrackedPod], now: Timestamp) -> Plan {
    let lookups = Lookups { task_is_live: true, ..Lookups::default() };
    let process = ProcessState { uptime: SignedDuration::from_hours(1), ..ProcessState::default() };
    decide(&Situation { task, pods, now, lookups: &lookups, process: &process })
}

fn next(task: &RetryableTask, pods: &[TrackedPod], now: Timestamp) -> Option<RetryableTaskStatus> {
    match decided(task, pods, now) {
        Plan::WriteStatus(write) => Some(*write.status),
        Plan::LookUpPod(_)
        | Plan::LookUpTasks(_)
        | Plan::ReadWarnings(_)
        | Plan::RefreshTask
        | Plan::CreatePod(_)
        | Plan::Settled(_) => None,
    }
}

/// The task with `number` recorded failures.
fn after(number: i32) -> RetryableTask {
    let mut task = task();
    for number in 1..=number {
        task.status = next(&task, &[], at(number * 1000)).or(task.status);
        let pods = [failed(&task, number)];
        task.status = Some(next(&task, &pods, at(number * 1000 + 2)).expect("the end of the attempt"));
    }
    let status = task.status.as_ref().expect("a status");
    assert_eq!(i32::try_from(status.history.len()), Ok(number), "every failure is in the history");
    task
}

fn benchmarks(criterion: &mut Criterion) {
    let waiting = after(FAILURES);
    let pods = [failed(&waiting, FAILURES)];
    let now = at(FAILURES * 1000 + 3);
    criterion.bench_function("a task that waits", |bencher| {
        bencher.iter(|| decided(black_box(&waiting), &pods, now));
    });

    let due = at(FAILURES * 1000 + 999);
    assert!(next(&waiting, &pods, due).is_some(), "the next attempt is due");
    criterion.bench_function("an attempt that is due", |bencher| {
        bencher.iter(|| decided(black_box(&waiting), &pods, due));
    });

    let mut running = after(FAILURES - 1);
    running.status = next(&running, &[], at(FAILURES * 1000));
    let ended = [failed(&running, FAILURES)];
    let now = at(FAILURES * 1000 + 2);
    assert!(next(&running, &ended, now).is_some(), "the end is to be stored");
    criterion.bench_function("an attempt that has failed", |bencher| {
        bencher.iter(|| decided(black_box(&running), &ended, now));
    });
}

/// A task that wants to start its first attempt.
fn queued(number: i32) -> (TaskFacts, QueueDemand) {
    let tenant = format!("tenant-{}", number % 100);
    let queue = json!({"name": "q", "fairnessKey": tenant, "priority": number % 5});
    let spec = json!({"image": "registry.example/import:1.4", "queue": queue});
    let mut task = RetryableTask::new(&format!("task-{number}"), serde_json::from_value(spec).expect("a spec"));
    task.metadata.uid = Some(format!("{number:08}-5d0c-4a3b-8a55-0f8f2b3f6f10"));
    let demand = QueueDemand {
        queue: "q".into(),
        attempt: 1,
        is_retry: false,
        retries_left: 3,
        priority: number % 5,
        fairness_key: Some(tenant),
        since: at(number),
    };
    (TaskFacts::of(&task, at(0)).expect("a task with a queue"), demand)
}

fn queues(criterion: &mut Criterion) {
    let spec = json!({"maxConcurrent": 100, "retries": {"maxPercent": 25}, "circuitBreaker": {}});
    let mut queue = TaskQueue::new("q", serde_json::from_value(spec).expect("a spec"));
    queue.metadata.uid = Some("queue".into());
    let now = at(20_000);
    let mut ledger = Ledger::new("q".into(), now);
    ledger.set_queue(&queue, now);
    if let Some(circuit) = ledger.circuit_to_store(now) {
        ledger.stored(circuit, now);
    }
    let tasks: Vec<_> = (0..10_100).map(queued).collect();
    let mut running: Vec<usize> = Vec::new();
    let index = |name: &str| name.trim_start_matches("task-").parse::<usize>().expect("its number");
    for (facts, demand) in &tasks {
        ledger.observe(facts, false, now);
        ledger.demand(facts, Some(demand), now);
        running.extend(ledger.advance(now).iter().map(|name| index(name)));
    }
    criterion.bench_function("a slot that falls free, with 10,000 tasks in the line", |bencher| {
        bencher.iter(|| {
            let (facts, demand) = &tasks[running.pop().expect("one runs")];
            ledger.demand(facts, None, now);
            running.extend(ledger.advance(now).iter().map(|name| index(name)));
            ledger.demand(facts, Some(demand), now);
        });
    });
}

criterion_group!(decisions, benchmarks, queues);
criterion_main!(decisions);
