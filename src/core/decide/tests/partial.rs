//! A task that succeeds in part.

use super::story::Step::{Edit, Exit, Look, Say, Suspend};
use super::story::play;
use super::world::World;
use crate::api::{Action, ConditionType, RetryableTask};
use crate::core::condition_list;
use crate::core::testing::{BuildTask, fixed, task_with};
use serde_json::{Value, json};

const SOME: &str = r#"{"partial": {"failed": 3, "total": 100}, "result": 97}"#;

fn with_rule(rule: &Value) -> RetryableTask {
    task_with(json!({"image": "x", "rules": [rule], "onFailure": {"args": ["a"]}})).backoff(fixed(60))
}

fn exit_3() -> RetryableTask {
    with_rule(&json!({"name": "some-rows", "when": {"exitCodes": [3]}, "action": "Complete"}))
}

fn complete(world: &World) -> (String, String) {
    let conditions = world.status().conditions;
    let complete = condition_list::find(&conditions, ConditionType::Complete).unwrap();
    (complete.reason.clone(), complete.message.clone())
}

#[test]
fn it_is_complete_by_its_report_or_by_a_rule() {
    let done = "Succeeded 1/0/0 [Complete Finished] 1E";
    for (code, report, reason, message) in [
        (0, SOME, "PartiallySucceeded", "attempt 1 succeeded in part: 3 of 100 failed"),
        (0, r#"{"partial": {"failed": 0, "total": 100}}"#, "Succeeded", "attempt 1 succeeded"),
        (0, r#"{"partial": {"failed": 4, "total": 3}}"#, "Succeeded", "attempt 1 succeeded"),
        (
            3,
            r#"{"partial": {"failed": 3}, "message": "rows 7 to 9"}"#,
            "PartiallySucceeded",
            "attempt 1 matched rule some-rows, whose action is Complete: 3 failed; the last ended with Error, exit code 3: \
             rows 7 to 9",
        ),
        (
            3,
            "",
            "PartiallySucceeded",
            "attempt 1 matched rule some-rows, whose action is Complete; the last ended with Error, exit code 3",
        ),
    ] {
        let world = play(exit_3(), &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Say(code, report), done)]);
        assert_eq!(complete(&world), (reason.into(), message.into()), "{report}");
        assert_eq!(world.status().last_failure, None, "it is no failure");
    }
}

#[test]
fn a_failure_that_no_rule_matches_is_one_whatever_the_report_says() {
    play(exit_3(), &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Say(1, SOME), "Waiting 1/1/0 due 60000 Error 1E")]);
    // What the operator stops has not succeeded.
    play(
        exit_3(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1E!"),
            (Look, "Suspended 1/0/1 [Suspended] 1E!"),
        ],
    );
}

#[test]
fn a_rule_that_becomes_complete_ends_a_task_that_waits() {
    let becomes = Edit(|task| {
        let rule = json!([{"name": "some-rows", "when": {"exitCodes": [3]}, "action": "Complete"}]);
        task.spec.rules = Some(serde_json::from_value(rule).unwrap());
    });
    let world = play(
        with_rule(&json!({"name": "some-rows", "when": {"exitCodes": [3]}, "action": "Retry"})),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 60000 Error 1E"),
            (becomes, "Succeeded 1/0/0 Error [Complete Finished] 1E"),
        ],
    );
    let message = "attempt 1 matched rule some-rows, whose action is Complete; the last ended with Error, exit code 3";
    assert_eq!(complete(&world), ("PartiallySucceeded".into(), message.into()));
    assert_eq!(world.status().history[0].action, Action::Complete);
}
