//! Rules and their budgets, delays and counters.

use super::deadlines::{failed, failure_counts, last, timed};
use super::story::Step::{Drain, Exit, Kubelet, Look, Pass, Run, Say};
use super::story::play;
use crate::api::{Action, FailureRule, RetryableTask};
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, task};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

const OUTAGE: &str = "HTTP 429 Too Many Requests";

fn with_rules(task: RetryableTask, rules: Value) -> RetryableTask {
    let rules: Vec<FailureRule> = serde_json::from_value(rules).unwrap();
    task.change(|task| task.spec.rules = Some(rules))
}

#[test]
fn a_rule_matches_the_reason_of_a_timeout_and_none_its_exit_code() {
    let rules = json!([
        {"name": "killed", "when": {"exitCodes": ["1-255"]}, "action": "Fail"},
        {"name": "not-3", "when": {"notExitCodes": [3]}, "action": "Fail"},
        {"name": "by-signal", "when": {"signals": ["KILL", "TERM"]}, "action": "Fail"},
        {"name": "slow", "when": {"reasons": ["AttemptTimeout"]}, "action": "Ignore", "maxRetries": 1},
    ]);
    let world = play(
        with_rules(timed(Some(10), None, None), rules),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(12_000), "Running 1/0/0 1Rx"),
            (Exit(143), "Waiting 1/0/1 due 13000 AttemptTimeout 1Ex"),
            (Pass(1000), "Running 2/0/1 AttemptTimeout 1Ex 2P"),
            (Run, "Running 2/0/1 AttemptTimeout 1Ex 2R"),
            // Nobody stopped this one.
            (Exit(143), "Failed 2/0/1 Error [Failed Finished Stalled] 1Ex 2E"),
        ],
    );
    assert_eq!(failure_counts(&world), [("slow".into(), 1), ("killed".into(), 1)]);
    assert_eq!(last(&world), ("Error".into(), Some("killed".into()), Action::Fail));
    assert_eq!(failed(&world).0, "RuleFailed");
}

/// Whoever may write the status may write anything.
#[test]
fn counters_below_zero_are_no_credit() {
    let status = json!({"attempts": -5, "retries": i32::MIN, "ignored": -1, "current": {"number": -7},
        "failureCounts": [{"name": "disruption", "count": i32::MIN}]});
    let forged = task().max_retries(1).status(serde_json::from_value(status).unwrap());
    let world = play(
        forged,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Exit(1), "Failed 2/1/0 Error [Failed Finished Stalled] 1E 2E"),
        ],
    );
    assert_eq!(failure_counts(&world), [("disruption".into(), 0)]);
}

#[test]
fn a_rule_has_a_budget_and_delays_of_its_own() {
    let rules = json!([{
        "name": "rate-limited", "when": {"message": "(?i)too many requests"}, "action": "Retry", "maxRetries": 2,
        "backoff": {"strategy": "List", "delaysSeconds": [5, 7], "jitter": {"mode": "None"}},
    }]);
    let world = play(
        with_rules(task().max_retries(1), rules),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(1, OUTAGE), "Waiting 1/0/0 due 5000 Error 1E"),
            (Pass(5000), "Running 2/0/0 Error 1E 2P"),
            (Exit(1), "Waiting 2/1/0 due 6000 Error 1E 2E"), // the task's first charged failure
            (Pass(1000), "Running 3/1/0 Error 1E 2E 3P"),
            (Say(1, OUTAGE), "Waiting 3/1/0 due 13000 Error 1E 2E 3E"),
            (Pass(7000), "Running 4/1/0 Error 1E 2E 3E 4P"),
            (Say(1, OUTAGE), "Failed 4/1/0 Error [Failed Finished Stalled] 1E 2E 3E 4E"),
        ],
    );
    let (reason, message) = failed(&world);
    assert_eq!(reason, "BudgetExhausted");
    for part in ["rate-limited", "4 attempts", "exit code 1", OUTAGE] {
        assert!(message.contains(part), "{message}");
    }
    let status = world.status();
    assert_eq!(status.exhausted_budget.as_deref(), Some("rate-limited"));
    assert_eq!(failure_counts(&world), [("rate-limited".into(), 3)]);
    let delays: Vec<_> = status.history.iter().map(|entry| entry.delay_milliseconds).collect();
    assert_eq!(delays, [Some(5000), Some(1000), Some(7000), None]);
}

#[test]
fn past_its_cap_a_rule_that_ignores_is_charged() {
    let rules = json!([{"name": "flaky", "when": {"exitCodes": [9]}, "action": "Ignore", "maxRetries": 1}]);
    let world = play(
        with_rules(task().max_retries(1).backoff(fixed(1)), rules),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(9), "Waiting 1/0/1 due 1000 Error 1E"),
            (Pass(1000), "Running 2/0/1 Error 1E 2P"),
            (Exit(9), "Waiting 2/1/1 due 2000 Error 1E 2E"),
            (Pass(1000), "Running 3/1/1 Error 1E 2E 3P"),
            (Exit(9), "Failed 3/1/1 Error [Failed Finished Stalled] 1E 2E 3E"),
        ],
    );
    assert_eq!(failed(&world).0, "RetriesExhausted");
    assert_eq!(world.status().exhausted_budget.as_deref(), Some("maxRetries"));
    let rules: Vec<_> = world.status().history.iter().map(|entry| entry.rule.clone().unwrap_or_default()).collect();
    assert_eq!(rules, ["flaky", "flaky", "flaky"]);
}

fn out_of_memory(pod: Pod) -> Pod {
    pod.ended(end(137).reason("OOMKilled"))
}

#[test]
fn every_budget_is_counted_apart() {
    let budgets = |task: &mut RetryableTask| {
        task.spec.budgets = Some(serde_json::from_value(json!({"disruptions": 1, "outOfMemory": 1})).unwrap());
    };
    let world = play(
        task().max_retries(1).backoff(fixed(0)).change(budgets),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Drain, "Running 2/0/1 EvictionByEvictionAPI 1E 2P"),
            (Kubelet(out_of_memory), "Running 3/0/1 OOMKilled 1E 2E 3P"),
            (Exit(1), "Running 4/1/1 Error 1E 2E 3E 4P"),
            (Kubelet(out_of_memory), "Failed 4/1/1 OOMKilled [Failed Finished Stalled] 1E 2E 3E 4E"),
        ],
    );
    assert_eq!(failed(&world).0, "BudgetExhausted");
    assert_eq!(world.status().exhausted_budget.as_deref(), Some("outOfMemory"));
    assert_eq!(failure_counts(&world), [("disruption".into(), 1), ("outOfMemory".into(), 2)]);
}
