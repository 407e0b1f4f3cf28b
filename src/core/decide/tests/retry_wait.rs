//! A task that waits follows a change of its spec at once: the delay, and whether there is to be another attempt.

use super::deadlines::failed;
use super::story::Step::{Ask, Drain, Edit, Exit, Jump, Look, Pass, Restart, Resume, Say, Suspend};
use super::story::{play, play_in};
use super::world::World;
use crate::api::{Action, FailureRule, OnFailure, RetryableTask};
use crate::core::decide::Transition;
use crate::core::testing::{BuildTask, fixed, task};
use serde_json::json;

fn rules(task: &mut RetryableTask, rules: serde_json::Value) {
    task.spec.rules = Some(serde_json::from_value::<Vec<FailureRule>>(rules).unwrap());
}

/// The action and the delay of the last attempt.
fn last(world: &World) -> (Action, Option<i64>) {
    let entry = world.status().history.last().unwrap().clone();
    (entry.action, entry.delay_milliseconds)
}

fn was_rescheduled(world: &World) -> usize {
    world.told.iter().filter(|told| matches!(told, Transition::Rescheduled { .. })).count()
}

#[test]
fn a_changed_backoff_moves_the_time_of_the_next_attempt() {
    let waits = play(
        task().backoff(fixed(600)),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/1/0 due 600000 Error 1E")],
    );
    let world = play_in(
        waits,
        &[
            (Edit(|task| task.spec.backoff = Some(fixed(5))), "Waiting 1/1/0 due 5000 Error 1E"),
            (Restart, "Waiting 1/1/0 due 5000 Error 1E"),
            (Edit(|task| task.spec.backoff = Some(fixed(60))), "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(59_999), "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(1), "Running 2/1/0 Error 1E- 2P"),
            (Edit(|task| task.spec.backoff = Some(fixed(5))), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
    assert_eq!((last(&world), was_rescheduled(&world)), ((Action::Retry, Some(60_000)), 2), "no wait changes later");
}

#[test]
fn a_wait_that_becomes_shorter_than_it_has_lasted_is_over() {
    let world = play(
        task().backoff(fixed(600)).history_limit(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 600000 Error 1E"),
            (Pass(100_000), "Waiting 1/1/0 due 600000 Error 1E-"),
            (Edit(|task| task.spec.backoff = Some(fixed(10))), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
    assert_eq!(world.status().history_dropped, 1);
}

#[test]
fn a_change_of_the_spec_lets_no_clock_shorten_the_wait() {
    play(
        task().backoff(fixed(600)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 600000 Error 1E"),
            (Jump(550_000), "Waiting 1/1/0 due 600000 Error 1E"),
            (Edit(|task| task.spec.backoff = Some(fixed(500))), "Waiting 1/1/0 due 500000 Error 1E"),
            (Pass(499_999), "Waiting 1/1/0 due 500000 Error 1E-"),
            (Pass(1), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
}

#[test]
fn the_rule_that_matched_gives_the_delay_whatever_it_says_now() {
    let own = |seconds: i32| {
        json!([{"name": "busy", "when": {"exitCodes": [1]}, "action": "Ignore",
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": seconds, "jitter": {"mode": "None"}}}])
    };
    let world = play(
        task().change(|task| rules(task, own(600))),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/0/1 due 600000 Error 1E")],
    );
    let mut world =
        play_in(world, &[(Edit(|task| task.spec.backoff = Some(fixed(7))), "Waiting 1/0/1 due 600000 Error 1E")]);
    world.edit(|task| rules(task, own(30)));
    play_in(
        world,
        &[
            (Look, "Waiting 1/0/1 due 30000 Error 1E"),
            (Edit(|task| task.spec.rules = None), "Waiting 1/0/1 due 7000 Error 1E"),
        ],
    );
}

#[test]
fn what_the_task_asked_for_stays_asked_for() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(1, r#"{"retryAfterSeconds": 90}"#), "Waiting 1/1/0 due 90000 Error 1E"),
            (Edit(|task| task.spec.backoff = Some(fixed(5))), "Waiting 1/1/0 due 90000 Error 1E"),
        ],
    );
}

#[test]
fn lowered_max_retries_end_a_task_that_waits() {
    let world = play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Edit(|task| task.spec.max_retries = 1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(60_000), "Running 2/1/0 Error 1E- 2P"),
            (Edit(|task| task.spec.max_retries = 2), "Running 2/1/0 Error 1E- 2P"),
            (Say(3, "disk full"), "Waiting 2/2/0 due 120000 Error 2E"),
            (Edit(|task| task.spec.max_retries = 1), "Failed 2/1/0 Error [Failed Finished Stalled] 2E"),
        ],
    );
    let (reason, message) = failed(&world);
    assert_eq!(reason, "RetriesExhausted");
    for part in ["2 attempts", "maxRetries (1)", "disk full", "exit code 3"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.status().exhausted_budget.as_deref(), Some("maxRetries"));
    assert_eq!(last(&world), (Action::Fail, None));
    let finished = world.told.iter().filter(|told| matches!(told, Transition::Finished { .. }));
    assert_eq!(finished.count(), 1, "it is reported");
}

#[test]
fn the_fallback_follows_a_task_that_a_lowered_limit_ends() {
    let world = play(
        task().history_limit(0).change(|task| task.spec.on_failure = Some(OnFailure::default())),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(1, "no such table"), "Waiting 1/1/0 due 1000 Error 1E"),
            (Edit(|task| task.spec.max_retries = 0), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Exit(0), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
        ],
    );
    assert!(failed(&world).1.contains("no such table"), "{:?}", failed(&world));
}

#[test]
fn lowered_budgets_end_a_task_that_waits_for_one_of_their_retries() {
    let flaky =
        |most: i32| json!([{"name": "flaky", "when": {"exitCodes": [1]}, "action": "Retry", "maxRetries": most}]);
    let waits = |most| {
        play(
            task().change(move |task| rules(task, flaky(most))),
            &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/0/0 due 1000 Error 1E")],
        )
    };
    play_in(waits(5), &[(Edit(|task| task.spec.max_retries = 0), "Waiting 1/0/0 due 1000 Error 1E")]);
    let mut world = waits(5);
    world.edit(|task| rules(task, flaky(0)));
    let world = play_in(world, &[(Look, "Failed 1/0/0 Error [Failed Finished Stalled] 1E")]);
    assert_eq!(failed(&world).0, "BudgetExhausted");
    assert_eq!(world.status().exhausted_budget.as_deref(), Some("flaky"));
    let mut world = waits(5);
    world.edit(|task| rules(task, json!([{"name": "flaky", "when": {"exitCodes": [1]}, "action": "Fail"}])));
    let world = play_in(world, &[(Look, "Failed 1/0/0 Error [Failed Finished Stalled] 1E")]);
    assert_eq!(failed(&world).0, "RuleFailed");
}

#[test]
fn what_is_not_charged_goes_on_within_its_budget() {
    let budget = |task: &mut RetryableTask, most: i32| {
        task.spec.budgets = Some(serde_json::from_value(json!({"disruptions": most})).unwrap());
    };
    let mut world = play(
        task().change(|task| budget(task, 3)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Drain, "Waiting 1/0/1 due 1000 EvictionByEvictionAPI 1E"),
            (Edit(|task| task.spec.max_retries = 0), "Waiting 1/0/1 due 1000 EvictionByEvictionAPI 1E"),
        ],
    );
    world.edit(|task| budget(task, 0));
    play_in(world, &[(Look, "Failed 1/0/0 EvictionByEvictionAPI [Failed Finished Stalled] 1E")]);
}

#[test]
fn a_wait_that_was_skipped_stays_skipped() {
    play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Ask("retry-now", "1"), "Suspended 1/1/0 Error [Suspended] 1E"),
            (Edit(|task| task.spec.backoff = Some(fixed(600))), "Suspended 1/1/0 Error [Suspended] 1E"),
            (Resume, "Running 2/1/0 Error 1E 2P"),
        ],
    );
}

#[test]
fn what_was_changed_during_a_suspension_holds_afterwards() {
    let suspended = || {
        play(
            task().backoff(fixed(10)),
            &[
                (Look, "Running 1/0/0 [Reconciling] 1P"),
                (Exit(1), "Waiting 1/1/0 due 10000 Error 1E"),
                (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
                (Pass(20_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            ],
        )
    };
    play_in(
        suspended(),
        &[
            (Edit(|task| task.spec.backoff = Some(fixed(30))), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Waiting 1/1/0 due 30000 Error 1E-"),
        ],
    );
    play_in(
        suspended(),
        &[
            (Edit(|task| task.spec.max_retries = 0), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Failed 1/0/0 Error [Failed Finished Stalled] 1E-"),
        ],
    );
}
