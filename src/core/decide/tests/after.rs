//! The first attempt waits for other tasks.

use super::story::Step::{Ask, Edit, Exit, Look, Pass, Resume, Say, Suspend};
use super::story::{play_in, take};
use super::world::World;
use crate::api::{ConditionType, RetryableTask, State};
use crate::core::condition_list;
use crate::core::decide::Plan;
use crate::core::dependency::{TaskEnd, TaskFact};
use crate::core::testing::{BuildTask, NAME, at, fixed, task_with};
use serde_json::{Value, json};

const BLOCKED: &str = "Blocked 0/0/0 DependencyPending [Blocked]";
const RUNS: &str = "Running 1/0/0 [Reconciling] 1P";

fn after(list: &Value) -> RetryableTask {
    task_with(json!({"image": "x", "after": list, "onFailure": {"args": ["tidy"]}})).backoff(fixed(1))
}

fn of(uid: &str) -> TaskFact {
    TaskFact { uid: uid.into(), ..TaskFact::default() }
}

fn ended(uid: &str, succeeded: bool, reason: &str) -> TaskFact {
    let end =
        TaskEnd { succeeded, reason: reason.into(), message: "why".into(), result: Some(format!("{uid}-result")) };
    TaskFact { end: Some(end), ..of(uid) }
}

fn succeeded(uid: &str) -> TaskFact {
    ended(uid, true, "Succeeded")
}

fn failed(uid: &str) -> TaskFact {
    ended(uid, false, "RetriesExhausted")
}

/// Blocked by `import`, which does not exist.
fn blocked(condition: &str) -> World {
    let mut world = World::new(after(&json!([{"task": "import", "condition": condition}])));
    world.reconcile();
    assert_eq!(world.gist(), BLOCKED);
    world
}

/// The world once another task is so, or gone.
fn then(world: &mut World, name: &str, fact: Option<TaskFact>) -> String {
    match fact {
        Some(fact) => world.others.insert(name.into(), fact),
        None => world.others.remove(name),
    };
    world.reconcile();
    world.gist()
}

fn message(world: &World) -> String {
    world.status().message.unwrap_or_default()
}

/// Why the task has failed.
fn failure(world: &World) -> (String, String) {
    let conditions = world.status().conditions;
    let failed = condition_list::find(&conditions, ConditionType::Failed).unwrap();
    (failed.reason.clone(), failed.message.clone())
}

#[test]
fn it_waits_for_a_task_that_is_not_there_yet_and_gets_its_result() {
    let mut world = blocked("Succeeded");
    assert_eq!(message(&world), "waits for import, which must succeed, and does not exist");
    assert_eq!(then(&mut world, "import", Some(of("u"))), BLOCKED);
    assert_eq!(message(&world), "waits for import, which must succeed");
    assert_eq!(world.status().after[0].task_uid.as_deref(), Some("u"));
    assert_eq!(world.requeue, None, "the end of import wakes it");
    assert_eq!(then(&mut world, "import", Some(succeeded("u"))), RUNS);
    let env = world.pods.values().next().unwrap().spec.as_ref().unwrap().containers[0].env.clone().unwrap();
    let result = env.iter().find(|it| it.name == "RETRYABLE_AFTER_IMPORT_RESULT").unwrap();
    assert_eq!(result.value.as_deref(), Some("u-result"));
    let asked = world.looked_up;
    take(&mut world, Exit(1));
    assert_eq!(then(&mut world, "import", None), "Waiting 1/1/0 due 1000 Error 1E");
    assert_eq!(world.looked_up, asked, "what has begun waits for nobody");
    assert_eq!(world.status().after[0].result.as_deref(), Some("u-result"), "later attempts get it too");
}

#[test]
fn each_condition_holds_at_its_ends_and_breaks_at_the_others() {
    let ends = [succeeded("u"), ended("u", true, "PartiallySucceeded"), failed("u"), ended("u", false, "Cancelled")];
    for (condition, holds, verb) in [
        ("Succeeded", [true, true, false, false], "succeed"),
        ("Failed", [false, false, true, true], "fail"),
        ("Finished", [true, true, true, true], "finish"),
    ] {
        for (end, holds) in ends.iter().zip(holds) {
            let mut world = blocked(condition);
            let gist = then(&mut world, "import", Some(end.clone()));
            if holds {
                assert_eq!(gist, RUNS, "{condition} {end:?}");
                continue;
            }
            assert_eq!(gist, "Failed 0/0/0 DependencyFailed [Failed Finished Stalled]", "{condition} {end:?}");
            let TaskEnd { succeeded, reason, .. } = end.end.clone().unwrap();
            let how = if succeeded { "has succeeded" } else { "has failed" };
            let expected = format!("import, which must {verb}, {how}; the first cause: import: {reason}: why");
            assert_eq!(failure(&world), ("DependencyFailed".into(), expected));
            assert!(world.pods.is_empty(), "no attempt and no fallback");
        }
    }
}

#[test]
fn one_that_is_gone_or_another_of_its_name_has_not_ended_so() {
    for condition in ["Succeeded", "Failed"] {
        for next in [None, Some(succeeded("v"))] {
            let mut world = blocked(condition);
            then(&mut world, "import", Some(of("u")));
            let gist = then(&mut world, "import", next);
            assert_eq!(gist, "Failed 0/0/0 DependencyFailed [Failed Finished Stalled]");
            assert!(
                failure(&world).1.ends_with("is gone; the first cause: import was deleted"),
                "{:?}",
                failure(&world)
            );
        }
    }
    let mut world = blocked("Finished");
    then(&mut world, "import", Some(of("u")));
    assert_eq!(then(&mut world, "import", None), RUNS, "its deletion is an end");
}

#[test]
fn a_chain_of_failures_names_the_first() {
    let mut world = blocked("Succeeded");
    let mut end = ended("u", false, "DependencyFailed");
    end.end.as_mut().unwrap().message =
        "load, which must succeed, has failed; the first cause: load: RuleFailed: no input".into();
    then(&mut world, "import", Some(end));
    assert_eq!(
        failure(&world).1,
        "import, which must succeed, has failed; the first cause: load: RuleFailed: no input"
    );
}

#[test]
fn all_must_hold_and_what_held_once_holds() {
    let mut world = World::new(after(&json!([{"task": "a"}, {"task": "b", "condition": "Finished"}])));
    assert_eq!(then(&mut world, "a", Some(succeeded("u"))), BLOCKED);
    assert_eq!(message(&world), "waits for b, which must finish, and does not exist");
    assert_eq!(then(&mut world, "a", None), BLOCKED, "its success is recorded");
    assert_eq!(then(&mut world, "b", Some(failed("v"))), RUNS);
}

#[test]
fn edits_suspension_and_cancellation_while_it_is_blocked() {
    let none = Edit(|task| task.spec.after = None);
    play_in(blocked("Succeeded"), &[(none, RUNS)]);
    let other = Edit(|task| task.spec.after = serde_json::from_value(json!([{"task": "other"}])).unwrap());
    let world = play_in(blocked("Succeeded"), &[(other, BLOCKED)]);
    assert_eq!(message(&world), "waits for other, which must succeed, and does not exist");
    play_in(blocked("Succeeded"), &[(Ask("cancel", "1"), "Cancelled 0/0/0 [Failed Finished Stalled]")]);
    let world = play_in(blocked("Succeeded"), &[(Ask("retry-now", "1"), BLOCKED)]);
    assert_eq!(world.status().acknowledged[0].effect, "no effect: attempt 1 waits for other tasks: see spec.after");
    let mut world = play_in(blocked("Succeeded"), &[(Suspend, "Suspended 0/0/0 [Suspended]")]);
    assert_eq!(then(&mut world, "import", Some(succeeded("u"))), "Suspended 0/0/0 [Suspended]");
    play_in(world, &[(Resume, RUNS)]);
}

#[test]
fn its_deadline_begins_with_the_first_attempt_and_the_wait_has_one_of_its_own() {
    let mut world = blocked("Succeeded");
    world.edit(|task| task.spec.active_deadline_seconds = Some(10));
    let mut world = play_in(world, &[(Pass(3_600_000), BLOCKED)]);
    assert_eq!(then(&mut world, "import", Some(succeeded("u"))), RUNS);

    let mut world = blocked("Succeeded");
    world.edit(|task| task.spec.after_timeout_seconds = Some(60));
    let world = play_in(
        world,
        &[
            (Pass(30_000), BLOCKED),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Pass(600_000), "Suspended 0/0/0 [Suspended]"),
            (Resume, BLOCKED),
            (Pass(29_999), BLOCKED),
            (Pass(1), "Failed 0/0/0 DependencyTimeout [Failed Finished Stalled]"),
        ],
    );
    let message =
        "afterTimeoutSeconds passed before attempt 1: waits for import, which must succeed, and does not exist";
    assert_eq!(failure(&world), ("DependencyTimeout".into(), message.into()));
}

#[test]
fn first_its_time_then_the_others() {
    let mut world = World::new(after(&json!([{"task": "import"}])).change(|task| {
        task.spec.start_at = Some(at(60).to_string());
        task.spec.after_timeout_seconds = Some(60);
    }));
    world.reconcile();
    let world = play_in(
        world,
        &[
            (Look, "Waiting 0/0/0 due 60000"),
            (Pass(60_000), BLOCKED),
            (Pass(59_999), BLOCKED),
            (Pass(1), "Failed 0/0/0 DependencyTimeout [Failed Finished Stalled]"),
        ],
    );
    assert!(world.pods.is_empty());
    // A failure is told at once.
    let mut world =
        World::new(after(&json!([{"task": "import"}])).change(|task| task.spec.start_at = Some(at(60).to_string())));
    assert_eq!(
        then(&mut world, "import", Some(failed("u"))),
        "Failed 0/0/0 DependencyFailed [Failed Finished Stalled]"
    );
}

#[test]
fn tasks_that_wait_for_one_another_are_told_so() {
    let stalled = "Pending 0/0/0 DependencyCycle [Stalled]";
    let mut world = World::new(after(&json!([{"task": "import"}])));
    let waits = |name: &str| TaskFact { waits_for: vec![name.into()], ..of("u") };
    world.others.insert("load".into(), waits(NAME));
    assert_eq!(then(&mut world, "import", Some(waits("load"))), stalled);
    let path = format!(
        "these tasks wait for one another: {NAME} -> import -> load -> {NAME}; change spec.after of one of them"
    );
    assert_eq!(message(&world), path);
    assert!(world.requeue.is_some(), "whoever resolves it may not change this task");
    assert_eq!(then(&mut world, "load", Some(of("v"))), BLOCKED);
    assert_eq!(then(&mut world, "import", Some(succeeded("u"))), RUNS);
    // One that only waits for such tasks is blocked by them.
    let mut world = blocked("Succeeded");
    world.others.insert("load".into(), waits("import"));
    world.edit(|_| ());
    assert_eq!(then(&mut world, "import", Some(waits("load"))), BLOCKED);
}

#[test]
fn another_run_waits_anew_for_what_still_exists() {
    let done = || {
        let mut world = blocked("Succeeded");
        then(&mut world, "import", Some(succeeded("u")));
        play_in(world, &[(Say(0, ""), "Succeeded 1/0/0 [Complete Finished] 1E")])
    };
    let again = |world: &mut World| {
        take(world, Ask("run-again", "1"));
        world.reconcile();
        world.status()
    };
    let mut world = done();
    then(&mut world, "import", Some(of("u")));
    assert_eq!(again(&mut world).state, Some(State::Blocked), "it is being run again, too");
    then(&mut world, "import", Some(succeeded("u")));
    assert_eq!(world.status().state, Some(State::Running));
    let mut world = done();
    then(&mut world, "import", None);
    let status = again(&mut world);
    assert_eq!(
        (status.state, status.after[0].result.as_deref()),
        (Some(State::Running), Some("u-result")),
        "it is gone"
    );
    let mut world = done();
    then(&mut world, "import", Some(succeeded("v")));
    assert_eq!(again(&mut world).after[0].result.as_deref(), Some("v-result"), "another one has its name");
    // What had failed is waited for, once it is run again.
    let mut world = blocked("Succeeded");
    then(&mut world, "import", Some(failed("u")));
    then(&mut world, "import", Some(of("v")));
    assert_eq!(again(&mut world).state, Some(State::Blocked));
}

#[test]
fn a_finished_task_that_is_awaited_outlives_its_time_to_live() {
    let mut world = World::new(task_with(json!({"image": "x"})).ttl(60));
    let world = {
        world.reconcile();
        play_in(world, &[(Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E")])
    };
    let mut world = play_in(world, &[(Pass(30_000), "Succeeded 1/0/0 [Complete Finished] 1E-")]);
    world.is_awaited = true;
    world.pass(jiff::SignedDuration::from_secs(60));
    world.reconcile();
    assert!(!world.task_is_deleted && world.requeue.is_some());
    world.is_awaited = false;
    world.reconcile();
    assert!(world.task_is_deleted);
}

#[test]
fn a_suspended_or_cancelled_task_looks_nobody_up() {
    let mut world = World::new(after(&json!([{"task": "import"}])).suspended());
    world.reconcile();
    assert_eq!((world.gist().as_str(), world.looked_up), ("Suspended 0/0/0 [Suspended]", 0));
    assert!(!matches!(world.plan(), Plan::LookUpTasks(_)));
}
