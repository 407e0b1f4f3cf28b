#![allow(clippy::unwrap_used)]

use super::*;
use crate::core::testing::task_with;
use serde_json::{Value, json};

fn played(queue: &Value, setting: impl FnOnce(&mut Outage)) -> OutageSimulation {
    let queue =
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "q"}, "spec": queue});
    let task = task_with(json!({"image": "x", "queue": {"name": "q"}}));
    let mut asked = Outage {
        queue: Some(serde_json::from_value(queue).unwrap()),
        tasks: 20,
        created_over: SignedDuration::ZERO,
        down: SignedDuration::from_mins(5),
        failure: None,
        run_seconds: 5.0,
        attempts: 50,
    };
    setting(&mut asked);
    outage(&task, &asked).unwrap()
}

fn of_queue(simulation: &OutageSimulation) -> &Case {
    simulation.cases.last().unwrap()
}

#[test]
fn limits_hold_and_all_tasks_are_accounted_for() {
    for queue in [
        json!({"maxConcurrent": 3}),
        json!({"maxConcurrent": 3, "retries": {"maxPercent": 30}}),
        json!({"startRate": {"starts": 1, "perSeconds": 10}}),
        json!({"maxConcurrent": 3, "circuitBreaker": {}}),
        json!({"circuitBreaker": {"recoverySeconds": 60}}),
    ] {
        let simulation = played(&queue, |_| {});
        for case in &simulation.cases {
            let failed: usize = case.failed.values().sum();
            assert_eq!(case.succeeded + failed + case.not_followed, 20, "{queue}: {case:#?}");
        }
        let limit = if queue.get("maxConcurrent").is_some() { 3 } else { 20 };
        assert!(of_queue(&simulation).most_at_a_time <= limit, "{queue}: {simulation:#?}");
    }
}

#[test]
fn a_breaker_costs_no_retries_and_starts_probes_alone_while_it_is_not_closed() {
    let simulation = played(&json!({"maxConcurrent": 5, "circuitBreaker": {}}), |_| {});
    let [without, no_breaker, queue] = simulation.cases.as_slice() else { panic!("{simulation:#?}") };
    assert_eq!((without.failed["RetriesExhausted"], no_breaker.failed["RetriesExhausted"]), (20, 20));
    assert_eq!((queue.succeeded, queue.circuit[0].state), (20, "Open"));
    // those that were under way when it opened, and a probe for each time that it opened again
    let reopened = queue.circuit.iter().filter(|change| change.state == "Open").count() - 1;
    assert_eq!(queue.attempts_while_down, 5 + reopened);
    assert_eq!(queue.probes, reopened + 2);
}

#[test]
fn without_limits_those_who_waited_do_not_start_at_once() {
    let simulation = played(&json!({"circuitBreaker": {"recoverySeconds": 60}}), |asked| asked.tasks = 120);
    assert_eq!(of_queue(&simulation).succeeded, 120);
    assert!(of_queue(&simulation).most_starts_in_a_second < 12, "{simulation:#?}");
}

#[test]
fn a_failure_is_made_up_that_the_breaker_takes_for_one_of_the_service() {
    for (failures, expected) in [
        (json!({"errorTypes": ["Down", "Slow"]}), "Error, exit code 1, error type Down"),
        (json!({"exitCodes": ["70-80"]}), "Error, exit code 70"),
        (json!({"notExitCodes": [1, 2]}), "Error, exit code 3"),
        (json!({"preset": "SysexitsTransient"}), "Error, exit code 69"),
        (json!({"reasons": ["OOMKilled"]}), "OOMKilled, exit code 137"),
        (json!({"signals": ["SIGTERM"]}), "Error, exit code 143"),
    ] {
        let simulation = played(&json!({"circuitBreaker": {"failures": failures}}), |_| {});
        assert_eq!(simulation.failure.as_deref(), Some(expected));
        assert!(!of_queue(&simulation).circuit.is_empty(), "{failures}: {simulation:#?}");
    }
}

#[test]
fn what_stops_nobody_is_shown_as_if_it_did() {
    let held = played(&json!({"stopPolicy": "Hold", "circuitBreaker": {"mode": "Observe"}}), |_| {});
    assert_eq!((of_queue(&held).succeeded, held.notes.len()), (20, 2), "{held:#?}");
    let forced = played(&json!({"circuitBreaker": {"mode": "ForceOpen"}}), |_| {});
    assert_eq!((of_queue(&forced).not_followed, of_queue(&forced).attempts), (20, 0), "{forced:#?}");
}

#[test]
fn tasks_may_come_one_after_the_other_and_attempts_may_hang() {
    let simulation = played(&json!({"maxConcurrent": 5, "circuitBreaker": {}}), |asked| {
        asked.created_over = SignedDuration::from_mins(20);
        asked.down = SignedDuration::ZERO;
    });
    assert_eq!((of_queue(&simulation).succeeded, simulation.failure), (20, None));
    assert_eq!(simulation.cases[0].last_end_milliseconds, Some(19 * 60_000 + 5_000));
    let hanging = played(&json!({"maxConcurrent": 5}), |asked| asked.failure = Some(Outcome::word("AttemptTimeout")));
    let case = of_queue(&hanging);
    assert_eq!((case.not_followed, case.most_at_a_time, hanging.failure.as_deref()), (20, 5, Some("AttemptTimeout")));
    assert!(hanging.notes[0].contains("attemptTimeoutSeconds"), "{hanging:#?}");
}
