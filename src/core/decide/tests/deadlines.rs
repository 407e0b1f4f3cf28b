//! The limits in time: of an attempt, of its start, and of the whole task.

use super::story::Step::{Api, Blind, Edit, Exit, Kubelet, Look, Pass, Restart, Resume, Run, Say, Suspend};
use super::story::{play, play_in, take};
use super::world::{Server, World};
use crate::api::{Action, ConditionType, HistoryEntry, RetryableTask, StopReason};
use crate::core::condition_list;
use crate::core::testing::{BuildPod, BuildTask, at, fixed, task};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

pub fn timed(attempt: Option<i32>, deadline: Option<i32>, startup: Option<i32>) -> RetryableTask {
    task().change(|task| {
        task.spec.attempt_timeout_seconds = attempt;
        task.spec.active_deadline_seconds = deadline;
        task.spec.startup_timeout_seconds = startup;
    })
}

/// Why the task failed, by its condition: reason and message.
#[track_caller]
pub fn failed(world: &World) -> (String, String) {
    let all = world.status().conditions;
    let failed = condition_list::find(&all, ConditionType::Failed).expect("it has failed");
    assert_eq!(failed.status, "True");
    (failed.reason.clone(), failed.message.clone())
}

pub fn failure_counts(world: &World) -> Vec<(String, i32)> {
    world.status().failure_counts.into_iter().map(|class| (class.name, class.count)).collect()
}

/// Reason, rule and action of the last attempt.
pub fn last(world: &World) -> (String, Option<String>, Action) {
    let status = world.status();
    let HistoryEntry { reason, rule, action, .. } = &**status.history.last().unwrap();
    (reason.clone(), rule.clone(), *action)
}

pub fn looks_again_in(world: &World, millis: i64) -> bool {
    world.requeue == Some(SignedDuration::from_millis(millis))
}

pub fn unschedulable(pod: Pod) -> Pod {
    pod.condition("PodScheduled", false, "Unschedulable", "0/3 nodes are available", 0)
}

#[test]
fn an_attempt_that_runs_too_long_is_stopped_and_charged() {
    let mut world = play(
        timed(Some(20), None, None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"), // since second 2
            (Pass(12_000), "Running 1/0/0 1R"),
        ],
    );
    assert!(looks_again_in(&world, 10_000));
    world = play_in(world, &[(Pass(9999), "Running 1/0/0 1R"), (Pass(1), "Running 1/0/0 1Rx")]);
    let current = world.status().current.unwrap();
    assert_eq!((current.stop_reason, current.stop_time.unwrap().0), (Some(StopReason::AttemptTimeout), at(22)));
    let world = play_in(
        world,
        &[
            (Restart, "Running 1/0/0 1Rx"),
            (Pass(5000), "Running 1/0/0 1Rx"),
            (Exit(137), "Waiting 1/1/0 due 28000 AttemptTimeout 1Ex"),
            (Pass(1000), "Running 2/1/0 AttemptTimeout 1Ex 2P"),
        ],
    );
    assert_eq!(last(&world), ("AttemptTimeout".into(), None, Action::Retry));
    let failure = world.status().last_failure.unwrap();
    assert_eq!(
        (failure.exit_code, failure.message.as_deref()),
        (Some(137), Some("ran longer than attemptTimeoutSeconds"))
    );
}

#[test]
fn exit_0_on_the_sigterm_of_a_timeout_is_not_a_success() {
    play(
        timed(Some(10), None, None).max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(12_000), "Running 1/0/0 1Rx"),
            (Exit(0), "Failed 1/0/0 AttemptTimeout [Failed Finished Stalled] 1Ex"),
        ],
    );
}

#[test]
fn a_container_that_ended_before_the_timeout_keeps_its_outcome() {
    play(
        timed(Some(10), None, None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(5000), "Running 1/0/0 [Reconciling] 1R"),
            (Blind(true), "Running 1/0/0 [Reconciling] 1R"),
            (Exit(0), "Running 1/0/0 [Reconciling] 1E"),
            (Pass(7000), "Running 1/0/0 1Ex"),
            (Blind(false), "Succeeded 1/0/0 [Complete Finished] 1Ex"),
        ],
    );
}

#[test]
fn the_timeout_is_for_running_and_begins_with_each_attempt() {
    let world = play(
        timed(Some(10), None, None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Pass(60_000), "Pending 1/0/0 Unscheduled 1P"),
            (Exit(1), "Waiting 1/1/0 due 61000 Error 1E-"),
            (Pass(1000), "Running 2/1/0 Error 1E- 2P"),
            (Run, "Running 2/1/0 Error 1E- 2R"), // not before its Pod was created, whatever its node's clock says
            (Pass(9999), "Running 2/1/0 Error 1E- 2R"),
        ],
    );
    assert!(looks_again_in(&world, 1));
    play_in(world, &[(Pass(1), "Running 2/1/0 Error 1E- 2Rx")]);
}

#[test]
fn the_deadline_stops_a_running_attempt_and_ends_the_task() {
    let mut world = play(
        timed(None, Some(10), None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Run, "Running 2/1/0 Error 1E 2R"),
            (Pass(5000), "Running 2/1/0 Error 1E 2R"),
        ],
    );
    assert!(looks_again_in(&world, 4000), "from the first attempt");
    world = play_in(
        world,
        &[
            (Pass(3999), "Running 2/1/0 Error 1E 2R"),
            (Pass(1), "Running 2/1/0 Error 1E 2Rx"),
            (Exit(0), "Failed 2/1/0 Error [Failed Finished Stalled] 1E 2Ex"),
        ],
    );
    let (reason, message) = failed(&world);
    assert_eq!(reason, "DeadlineExceeded");
    assert!(message.starts_with("activeDeadlineSeconds passed during attempt 2"), "{message}");
    assert!(message.contains("attempt 1 ended with Error, exit code 1"), "the last real cause: {message}");
    assert_eq!(last(&world), ("DeadlineExceeded".into(), None, Action::Fail));
    assert_eq!(world.status().exhausted_budget, None);
}

#[test]
fn the_deadline_holds_for_a_pod_that_does_not_start() {
    let world = play(
        timed(None, Some(20), None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(unschedulable), "Pending 1/0/0 Unschedulable 1P"),
            (Pass(12_000), "Pending 1/0/0 Unschedulable 1P"),
        ],
    );
    assert!(looks_again_in(&world, 8000));
    let world = play_in(
        world,
        &[
            (Pass(8000), "Pending 1/0/0 Unschedulable 1E!"),
            (Look, "Failed 1/0/0 DeadlineExceeded [Failed Finished Stalled]"),
        ],
    );
    assert_eq!(failed(&world).0, "DeadlineExceeded");
}

#[test]
fn a_wait_that_would_pass_the_deadline_is_not_begun() {
    play(
        timed(None, Some(10), None).backoff(fixed(9)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(3, "no such table"), "Waiting 1/1/0 due 9000 Error 1E"),
            (Pass(9000), "Running 2/1/0 Error 1E 2P"),
        ],
    );
    let mut world = World::new(timed(None, Some(9), None).backoff(fixed(9)));
    world.reconcile();
    take(&mut world, Say(3, "no such table"));
    world.reconcile();
    assert!(world.gist().starts_with("Failed 1/"), "{}", world.gist());
    assert!(world.gist().ends_with("/0 Error [Failed Finished Stalled] 1E"), "{}", world.gist());
    let (reason, message) = failed(&world);
    assert_eq!(reason, "DeadlineExceeded");
    for part in ["attempt 2 would be due at 2026-11-22T10:00:09", "Error, exit code 3", "no such table"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(last(&world), ("Error".into(), None, Action::Fail));
    assert_eq!(world.status().history[0].delay_milliseconds, None, "nothing was waited for");
}

#[test]
fn a_deadline_that_is_set_during_a_wait_ends_it() {
    let set = |task: &mut RetryableTask| task.spec.active_deadline_seconds = Some(30);
    let mut world = play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(3, "no such table"), "Waiting 1/1/0 due 60000 Error 1E"),
            (Edit(|task| task.spec.active_deadline_seconds = Some(61)), "Waiting 1/1/0 due 60000 Error 1E"),
        ],
    );
    world.edit(set);
    world.reconcile();
    assert_eq!(failed(&world).0, "DeadlineExceeded");
    assert!(failed(&world).1.contains("no such table"));
}

#[test]
fn a_retry_that_never_gets_its_pod_before_the_deadline_is_not_charged() {
    let rejected = || {
        play(
            timed(None, Some(60), None).backoff(fixed(1)),
            &[
                (Look, "Running 1/0/0 [Reconciling] 1P"),
                (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
                (Api(Server::Rejects("no")), "Waiting 1/1/0 due 1000 Error 1E"),
                (Pass(1000), "Running 2/1/0 Error 1E"),
                (Pass(3000), "Pending 1/1/0 PodRejected [Stalled] 1E"),
            ],
        )
    };
    let over = (Pass(60_000), "Failed 1/0/0 Error [Stalled Failed Finished] 1E-");
    let worlds = [
        play_in(rejected(), &[over]),
        play_in(rejected(), &[(Restart, "Pending 1/1/0 PodRejected [Stalled] 1E"), over]),
    ];
    for world in worlds {
        let entry = &world.status().history[0];
        assert_eq!((entry.action, entry.delay_milliseconds), (Action::Fail, None), "the task ended with it");
        assert_eq!(failed(&world).0, "DeadlineExceeded");
    }
}

#[test]
fn a_suspension_stops_the_clock_of_the_deadline() {
    let world = play(
        timed(None, Some(10), None).backoff(fixed(4)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 4000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Pass(100_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Restart, "Suspended 1/1/0 Error [Suspended] 1E-"),
        ],
    );
    assert_eq!(world.status().suspended_time.unwrap().0, at(0));
    let world = play_in(world, &[(Resume, "Running 2/1/0 Error 1E- 2P"), (Run, "Running 2/1/0 Error 1E- 2R")]);
    let status = world.status();
    assert_eq!((status.suspended_time, status.suspended_milliseconds), (None, 100_000));
    let world = play_in(world, &[(Pass(9999), "Running 2/1/0 Error 1E- 2R")]);
    assert!(looks_again_in(&world, 1));
    play_in(world, &[(Pass(1), "Running 2/1/0 Error 1E- 2Rx")]);
}

#[test]
fn a_suspension_before_the_first_attempt_does_not_move_the_deadline() {
    let mut world = World::new(timed(None, Some(10), None).suspended());
    world.reconcile();
    world.pass(SignedDuration::from_secs(100));
    take(&mut world, Resume);
    world.reconcile();
    take(&mut world, Run);
    world.pass(SignedDuration::from_secs(10));
    world.reconcile();
    assert_eq!(world.gist(), "Running 1/0/0 1Rx");
}
