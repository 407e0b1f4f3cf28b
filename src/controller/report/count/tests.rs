use super::*;
use crate::api::Run;
use crate::core::testing::{at, task};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// The attempt of that number, with its end in that second.
fn entry(attempt: i32, action: Action, second: i64) -> HistoryEntry {
    let (start_time, finish_time) = (Some(Time(at(second - 3))), Some(Time(at(second))));
    HistoryEntry { attempt, action, start_time, finish_time, reason: "Error".into(), ..HistoryEntry::default() }
}

fn status(attempts: i32, history: Vec<HistoryEntry>) -> RetryableTaskStatus {
    RetryableTaskStatus {
        attempts,
        history: history.into_iter().map(Arc::new).collect(),
        start_time: Some(Time(at(0))),
        completion_time: Some(Time(at(100))),
        ..RetryableTaskStatus::default()
    }
}

fn recovered_after(status: &RetryableTaskStatus) -> Option<u64> {
    let finished = finished_task(Some(status), true, ConditionReason::Succeeded);
    finished.recovered_after.map(|after| after.as_secs())
}

#[test]
fn the_first_attempt_of_a_run_is_no_retry() {
    let mut status = status(4, vec![]);
    for (first_attempt, attempt, is_retry) in [(1, 1, false), (1, 2, true), (3, 3, false), (3, 4, true)] {
        status.run = (first_attempt > 1).then_some(Run { number: 2, first_attempt });
        let entry = entry(attempt, Action::Retry, 10);
        assert_eq!(ended_attempt(Some(&status), &entry).is_retry, is_retry, "{first_attempt} {attempt}");
    }
    let without_times = HistoryEntry { start_time: None, ..entry(1, Action::Retry, 10) };
    assert_eq!(ended_attempt(None, &without_times).took, None);
    assert_eq!(ended_attempt(None, &entry(1, Action::Retry, 10)).took, Some(Duration::from_secs(3)));
}

#[test]
fn recovery_counts_from_the_first_failure_of_the_run() {
    let suspended = entry(1, Action::Ignore, 10);
    let drained = HistoryEntry { rule: Some("disruption".into()), ..entry(2, Action::Ignore, 20) };
    let (failed, done) = (entry(3, Action::Retry, 30), entry(4, Action::Complete, 99));
    assert_eq!(recovered_after(&status(1, vec![entry(1, Action::Complete, 99)])), None);
    assert_eq!(recovered_after(&status(2, vec![suspended.clone(), entry(2, Action::Complete, 99)])), None);
    let mut whole = status(4, vec![suspended, drained, failed.clone(), done.clone()]);
    assert_eq!(recovered_after(&whole), Some(80));
    whole.run = Some(Run { number: 2, first_attempt: 3 });
    assert_eq!(recovered_after(&whole), Some(70), "the run before does not count");
    assert_eq!(recovered_after(&status(4, vec![failed, done])), Some(100), "the first entries were dropped");
}

#[test]
fn a_finished_task_has_the_attempts_of_its_run() {
    let attempts = |status: &RetryableTaskStatus| {
        let finished = finished_task(Some(status), false, ConditionReason::RetriesExhausted);
        assert_eq!((finished.result, finished.recovered_after), (TaskResult::Failed, None));
        finished.attempts
    };
    assert_eq!(attempts(&status(4, vec![])), 4);
    assert_eq!(attempts(&status(0, vec![])), 0, "it failed before its first");
    let run = Some(Run { number: 2, first_attempt: 4 });
    assert_eq!(attempts(&RetryableTaskStatus { run, ..status(4, vec![]) }), 1);
}

#[test]
fn the_identity_has_namespace_queue_and_labels() {
    let mut task = task();
    assert_eq!(identity(&task).queue, "");
    task.spec.queue = Some(crate::api::QueueRef { name: "payments".into(), ..Default::default() });
    task.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
    let TaskIdentity { namespace, queue, labels } = identity(&task);
    assert_eq!((Some(namespace), queue), (task.metadata.namespace.as_deref(), "payments"));
    assert_eq!(labels.and_then(|labels| labels.get("team")).map(String::as_str), Some("a"));
}
