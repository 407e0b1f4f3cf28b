//! The fallback: when it runs, what ends it, and what is reported.

use super::story::Step::{Api, Ask, Drain, Edit, Exit, Look, Pass, Restart, Resume, Run, Say, Suspend, Vanish};
use super::story::play;
use super::world::Server;
use crate::api::{FallbackState, OnFailure, RetryableTask, RetryableTaskStatus, State};
use crate::core::decide::is_finished;
use crate::core::testing::{BuildTask, task};

fn with_fallback() -> RetryableTask {
    let fallback = OnFailure { image: Some("notify".into()), timeout_seconds: Some(30), ..OnFailure::default() };
    task().max_retries(0).change(|task| task.spec.on_failure = Some(fallback))
}

fn failed(status: &RetryableTaskStatus) -> (&str, &str) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Failed").unwrap();
    (&condition.reason, &condition.message)
}

fn fallback(status: &RetryableTaskStatus) -> (FallbackState, &str, Option<i32>) {
    let fallback = status.fallback.as_ref().unwrap();
    (fallback.state, fallback.reason.as_deref().unwrap_or_default(), fallback.exit_code)
}

#[test]
fn it_runs_once_after_the_last_attempt() {
    let world = play(
        with_fallback().max_retries(1),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Say(3, "disk full"), "Running 2/1/0 Error [FailureTarget] 1E 2E 2fP"),
            (Run, "Running 2/1/0 Error [FailureTarget] 1E 2E 2fR"),
            (Restart, "Running 2/1/0 Error [FailureTarget] 1E 2E 2fR"),
            (Exit(0), "Failed 2/1/0 Error [Failed Finished Stalled] 1E 2E 2fE"),
            (Pass(60_000), "Failed 2/1/0 Error [Failed Finished Stalled] 2E- 2fE-"),
        ],
    );
    let status = world.status();
    assert_eq!(fallback(&status), (FallbackState::Succeeded, "Completed", Some(0)));
    let (reason, message) = failed(&status);
    assert_eq!(reason, "RetriesExhausted");
    assert!(message.contains("disk full") && message.ends_with("; the fallback succeeded"), "{message}");
    assert_eq!((status.history.len(), status.message.as_deref()), (2, Some("disk full")), "it is no attempt");
}

#[test]
fn its_own_failure_is_told_and_not_retried() {
    let world = play(
        with_fallback(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Exit(9), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
        ],
    );
    assert_eq!(fallback(&world.status()), (FallbackState::Failed, "Error", Some(9)));
    assert!(failed(&world.status()).1.ends_with("; the fallback ended with Error, exit code 9"));
}

#[test]
fn success_needs_no_fallback() {
    let world = play(
        with_fallback(),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E")],
    );
    assert_eq!(world.status().fallback, None);
}

#[test]
fn a_drain_or_a_loss_ends_it_too() {
    for (step, reason, gist) in [(Drain, "EvictionByEvictionAPI", " 1fE"), (Vanish, "Lost", "")] {
        let world = play(
            with_fallback(),
            &[
                (Look, "Running 1/0/0 [Reconciling] 1P"),
                (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
                (Run, "Running 1/0/0 Error [FailureTarget] 1E 1fR"),
                (step, &format!("Failed 1/0/0 Error [Failed Finished Stalled] 1E{gist}")),
            ],
        );
        assert_eq!(fallback(&world.status()).1, reason);
    }
}

#[test]
fn a_suspension_holds_it_back_and_does_not_stop_it() {
    play(
        with_fallback(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(10_000), "Running 1/0/0 1R"),
            (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Suspend, "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Exit(0), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
        ],
    );
    let mut held_back = super::world::World::new(with_fallback());
    held_back.reconcile();
    super::story::take(&mut held_back, Exit(1));
    super::story::play_in(
        held_back,
        &[
            (Suspend, "Suspended 1/0/0 Error [FailureTarget Suspended] 1E"),
            (Pass(60_000), "Suspended 1/0/0 Error [FailureTarget Suspended] 1E-"),
            (Resume, "Running 1/0/0 Error [FailureTarget] 1E- 1fP"),
        ],
    );
}

#[test]
fn it_has_a_time_limit_of_its_own_and_no_deadline() {
    let world = play(
        with_fallback().change(|task| task.spec.active_deadline_seconds = Some(5)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(5000), "Running 1/0/0 [Reconciling] 1Rx"),
            (Exit(143), "Running 1/0/0 DeadlineExceeded [FailureTarget] 1Ex 1fP"),
            (Run, "Running 1/0/0 DeadlineExceeded [FailureTarget] 1Ex 1fR"),
            (Pass(20_000), "Running 1/0/0 DeadlineExceeded [FailureTarget] 1Ex- 1fR"),
            (Pass(20_000), "Running 1/0/0 DeadlineExceeded [FailureTarget] 1Ex- 1fRx"),
            (Exit(143), "Failed 1/0/0 DeadlineExceeded [Failed Finished Stalled] 1Ex- 1fEx-"),
        ],
    );
    assert_eq!(fallback(&world.status()), (FallbackState::Failed, "AttemptTimeout", Some(143)));
    assert_eq!(failed(&world.status()).0, "DeadlineExceeded");
}

#[test]
fn a_wait_that_the_deadline_cuts_is_followed_by_it() {
    let world = play(
        with_fallback().max_retries(3).change(|task| task.spec.active_deadline_seconds = Some(1)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Exit(0), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
        ],
    );
    assert_eq!(failed(&world.status()).0, "DeadlineExceeded");
}

#[test]
fn cancelling_prevents_or_stops_it() {
    play(
        with_fallback(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Ask("cancel", "1"), "Running 1/0/0 [Reconciling] 1Rx"),
            (Exit(143), "Cancelled 1/0/0 Cancelled [Failed Finished Stalled] 1Ex"),
        ],
    );
    let world = play(
        with_fallback(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Run, "Running 1/0/0 Error [FailureTarget] 1E 1fR"),
            (Ask("cancel", "1"), "Running 1/0/0 Error [FailureTarget] 1E 1fRx"),
            (Exit(143), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fEx"),
        ],
    );
    let status = world.status();
    assert_eq!(fallback(&status).1, "Cancelled");
    let (reason, message) = failed(&status);
    assert_eq!(reason, "RetriesExhausted", "what the task failed of stays");
    assert!(message.ends_with("; the fallback was cancelled by the user"), "{message}");
    assert_eq!(status.acknowledged[0].effect, "the fallback was cancelled; the task had failed");
}

#[test]
fn a_fallback_that_never_had_a_pod_did_not_run() {
    let mut world = super::world::World::new(with_fallback());
    world.reconcile();
    super::story::take(&mut world, Exit(1));
    world.server = Server::Rejects("no such account");
    let world = super::story::play_in(
        world,
        &[
            (Look, "Running 1/0/0 Error [FailureTarget] 1E"),
            (Pass(3000), "Pending 1/0/0 PodRejected [FailureTarget Stalled] 1E"),
            (Ask("cancel", "1"), "Failed 1/0/0 Error [Stalled Failed Finished] 1E"),
        ],
    );
    let status = world.status();
    assert_eq!(status.fallback, None);
    let (reason, message) = failed(&status);
    assert_eq!(reason, "RetriesExhausted");
    assert!(message.ends_with("; the fallback was cancelled by the user before it started"), "{message}");
}

#[test]
fn it_ends_when_its_pod_is_never_created() {
    for (server, limit, reason) in [
        (Server::Rejects("no such account"), None, "PodRejected"),
        (Server::Rejects("no such account"), Some(30), "PodRejected"),
        (Server::Fails(503, "try again"), None, "FailedCreate"),
        (Server::Fails(0, "connection refused"), Some(1), "FailedCreate"),
        (Server::HasForeignPod, None, "PodNameConflict"),
    ] {
        let mut world = super::world::World::new(with_fallback().change(|task| {
            task.spec.startup_timeout_seconds = limit;
            task.spec.active_deadline_seconds = Some(5);
        }));
        world.reconcile();
        world.server = server;
        super::story::take(&mut world, Exit(3));
        world.reconcile();
        let decided = world.now();
        while !is_finished(&world.status().conditions) {
            let late = world.now().duration_since(decided).as_secs() > i64::from(limit.unwrap_or(600)) + 20;
            assert!(!late, "{server:?}: {}", world.gist());
            world.pass(world.requeue.unwrap());
            world.reconcile();
        }
        let waited = world.now().duration_since(decided).as_secs();
        assert!(waited >= i64::from(limit.unwrap_or(600)), "{server:?}: {waited} s");
        let status = world.status();
        assert_eq!(fallback(&status), (FallbackState::Failed, reason, None));
        assert_eq!(status.fallback.as_ref().unwrap().pod_uid, None);
        assert_eq!((failed(&status).0, status.state), ("RetriesExhausted", Some(State::Failed)));
        let message = failed(&status).1;
        assert!(message.contains("Error, exit code 3; the fallback did not start: "), "{message}");
        assert!(message.contains(&format!("{reason}: ")), "{message}");
    }
}

#[test]
fn its_pod_has_ten_minutes_to_be_created_and_ten_to_start() {
    let mut world = super::world::World::new(with_fallback());
    world.reconcile();
    super::story::take(&mut world, Exit(1));
    world.server = Server::Rejects("no room");
    let world = super::story::play_in(
        world,
        &[
            (Look, "Running 1/0/0 Error [FailureTarget] 1E"),
            (Pass(300_000), "Pending 1/0/0 PodRejected [FailureTarget Stalled] 1E-"),
            (Api(Server::Accepts), "Pending 1/0/0 PodRejected [FailureTarget Stalled] 1E-"),
            (Pass(290_000), "Pending 1/0/0 PodRejected [FailureTarget] 1E- 1fP"),
            (Pass(599_999), "Pending 1/0/0 Unscheduled [FailureTarget] 1E- 1fP"),
            (Pass(1), "Pending 1/0/0 Unscheduled [FailureTarget] 1E- 1fE!"),
            (Look, "Failed 1/0/0 Error [Failed Finished Stalled] 1E-"),
        ],
    );
    assert_eq!(fallback(&world.status()).0, FallbackState::Failed);
}

#[test]
fn a_fallback_that_is_taken_back_before_it_starts_does_not_run() {
    play(
        with_fallback().change(|task| task.spec.active_deadline_seconds = None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Edit(|task| task.spec.on_failure = None), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Failed 1/0/0 Error [Failed Finished Stalled] 1E"),
        ],
    );
}

#[test]
fn running_again_may_need_it_again() {
    let world = play(
        with_fallback(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Exit(0), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
            (Ask("run-again", "1"), "Running 2/0/0 [Reconciling] 1E 1fE 2P"),
            (Exit(1), "Running 2/0/0 Error [FailureTarget] 1E 1fE 2E 2fP"),
            (Exit(0), "Failed 2/0/0 Error [Failed Finished Stalled] 1E 1fE 2E 2fE"),
            (Pass(60_000), "Failed 2/0/0 Error [Failed Finished Stalled] 2E- 2fE-"),
        ],
    );
    assert_eq!(world.status().history.len(), 2);
}

#[test]
fn while_the_spec_is_impossible_it_waits_and_the_deadline_is_none_of_its() {
    let break_it = |task: &mut RetryableTask| task.spec.image = None;
    let mend = |task: &mut RetryableTask| task.spec.image = Some("busybox".into());
    play(
        with_fallback().change(|task| task.spec.active_deadline_seconds = Some(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Edit(break_it), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Pending 1/0/0 InvalidSpec [FailureTarget Stalled] 1E"),
            (Pass(60_000), "Pending 1/0/0 InvalidSpec [FailureTarget Stalled] 1E-"),
            (Look, "Pending 1/0/0 InvalidSpec [FailureTarget Stalled] 1E-"),
            (Edit(mend), "Running 1/0/0 Error [FailureTarget] 1E- 1fP"),
        ],
    );
}
