use super::*;
use crate::core::testing::{BuildTask, task_with};
use serde_json::{Value, json};

/// A task of that spec with that history: the rule, the action, and the wait in seconds.
fn with_history(
    spec: Value,
    retries: i32,
    counts: &[(&str, i32)],
    history: &[(&str, &str, Option<i64>)],
) -> RetryableTask {
    let entries: Vec<Value> = history
        .iter()
        .zip(1..)
        .map(|((rule, action, wait), attempt)| {
            let rule = Some(*rule).filter(|rule| !rule.is_empty());
            let wait = wait.map(|seconds| seconds * 1000);
            json!({"attempt": attempt, "podName": "p", "reason": "Error", "rule": rule, "action": action, "delayMilliseconds": wait})
        })
        .collect();
    let counts: Vec<Value> = counts.iter().map(|(name, count)| json!({"name": name, "count": count})).collect();
    let status = json!({"retries": retries, "failureCounts": counts, "history": entries});
    task_with(spec).status(serde_json::from_value(status).unwrap())
}

fn seconds(task: &RetryableTask) -> Vec<Option<(i64, i64)>> {
    let both = |range: DelayRange| (range.earliest().as_secs(), range.latest().as_secs());
    ranges(task).into_iter().map(|range| range.map(both)).collect()
}

#[test]
fn each_wait_has_the_range_of_its_own_retry() {
    let spec = json!({"image": "i", "backoff": {"initialDelaySeconds": 8, "maxDelaySeconds": 1000, "jitter": {"percent": 50}}});
    let history = [("", "Retry", Some(9)), ("", "Retry", Some(10)), ("", "Retry", Some(40)), ("", "Fail", None)];
    assert_eq!(seconds(&with_history(spec, 3, &[], &history)), [Some((4, 12)), Some((8, 24)), Some((16, 48)), None]);
}

#[test]
fn a_budget_of_its_own_counts_its_waits_by_itself() {
    let spec = json!({"image": "i", "backoff": {"initialDelaySeconds": 1, "jitter": {"mode": "None"}}, "rules": [
        {"name": "busy", "when": {"exitCodes": [7]}, "action": "Retry", "maxRetries": 9,
         "backoff": {"initialDelaySeconds": 10, "jitter": {"mode": "None"}}},
    ]});
    let history =
        [("busy", "Retry", Some(10)), ("", "Retry", Some(1)), ("busy", "Retry", Some(20)), ("", "Retry", Some(2))];
    let task = with_history(spec, 2, &[("busy", 2)], &history);
    assert_eq!(seconds(&task), [Some((10, 10)), Some((1, 1)), Some((20, 20)), Some((2, 2))]);
}

#[test]
fn what_the_spec_does_not_explain_has_no_range() {
    let spec = json!({"image": "i", "backoff": {"initialDelaySeconds": 1, "jitter": {"mode": "None"}}});
    let history = [("", "Retry", Some(300)), ("", "Ignore", None), ("", "Retry", Some(2))];
    assert_eq!(seconds(&with_history(spec, 2, &[], &history)), [None, None, Some((2, 2))]);
}

#[test]
fn waits_of_earlier_runs_are_not_explained_by_the_counters_of_this_one() {
    let spec = json!({"image": "i", "backoff": {"initialDelaySeconds": 1, "jitter": {"mode": "None"}}});
    let history = [("", "Retry", Some(1)), ("", "Fail", None), ("", "Retry", Some(1))];
    let mut task = with_history(spec, 1, &[], &history);
    task.status.as_mut().unwrap().run = Some(crate::api::Run { number: 2, first_attempt: 3 });
    assert_eq!(seconds(&task), [None, None, Some((1, 1))]);
}

#[test]
fn a_wait_that_the_task_requested_is_explained() {
    let spec = json!({"image": "i", "backoff": {"initialDelaySeconds": 1, "jitter": {"percent": 10}}});
    let mut task = with_history(spec, 2, &[], &[("", "Retry", Some(310)), ("", "Retry", Some(2))]);
    let asked = std::sync::Arc::make_mut(&mut task.status.as_mut().unwrap().history[0]);
    asked.retry_after_seconds = Some(300);
    assert_eq!(seconds(&task), [Some((300, 330)), Some((1, 2))]);
}

proptest::proptest! {
    /// Whatever the history, the ranges are those of the delays, or none.
    #[test]
    fn a_range_holds_the_wait(retries in 0..6i32, waits in proptest::collection::vec(proptest::option::of(0..400i64), 0..8)) {
        let history: Vec<_> = waits.iter().map(|wait| ("", "Retry", *wait)).collect();
        let task = with_history(json!({"image": "i"}), retries, &[], &history);
        let all = ranges(&task);
        proptest::prop_assert_eq!(all.len(), waits.len());
        for (range, wait) in all.iter().zip(&waits) {
            if let Some(range) = range {
                let wait = SignedDuration::from_secs(wait.unwrap());
                proptest::prop_assert!(range.earliest() <= wait + ROUNDING && wait <= range.latest() + ROUNDING);
            }
        }
    }
}
