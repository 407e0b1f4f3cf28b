//! Pods that the API server will not have, and specs that cannot be.

use super::story::Step::{Api, Edit, Exit, Look, Pass, Restart, Resume, Run, Suspend};
use super::story::{Step, play, play_in, take};
use super::world::Server;
use crate::api::{Multiplier, RetryableTask};
use crate::core::decide::Transition;
use crate::core::testing::{BuildTask, at, task};
use jiff::SignedDuration;

const QUOTA: &str = "exceeded quota: pods=3";

/// The creation fails for as long as nothing is said of it, and then it is said.
fn rejected(why: &'static str) -> [(Step, &'static str); 2] {
    [(Api(Server::Rejects(why)), "Running 1/0/0 [Reconciling]"), (Pass(3000), "Pending 0/0/0 PodRejected [Stalled]")]
}

#[test]
fn a_rejected_pod_is_no_attempt_and_is_tried_again_ever_later() {
    let mut world = play(task(), &rejected(QUOTA));
    let mut waits = Vec::new();
    for _ in 0..10 {
        let wait = world.requeue.unwrap();
        waits.push(wait.as_millis());
        world.pass(wait - SignedDuration::from_millis(1));
        let writes = world.writes;
        world.reconcile();
        assert_eq!(world.writes, writes, "not before its time");
        world.pass(SignedDuration::from_millis(1));
        world.reconcile();
        assert_eq!(world.writes, writes + 1);
        assert_eq!(world.gist(), "Pending 0/0/0 PodRejected [Stalled]");
    }
    for (n, wait) in waits.into_iter().enumerate() {
        let base = (1000 << n).min(60_000);
        assert!((base * 3 / 4..=base * 5 / 4).contains(&wait), "try {n}: {wait}");
    }
    let is_told = |transition: &&Transition| matches!(transition, Transition::Stalled { .. });
    assert_eq!(world.told.iter().filter(is_told).count(), 1, "reported once");
    let stalled = world.status().conditions.into_iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert_eq!((stalled.message.as_str(), stalled.last_transition_time.0), (QUOTA, at(3)));

    take(&mut world, Api(Server::Rejects("exceeded quota: pods=12")));
    world.pass(SignedDuration::from_secs(100));
    world.reconcile();
    assert_eq!(world.status().message.as_deref(), Some(QUOTA), "other numbers are no other message");
    assert_eq!(world.told.iter().filter(is_told).count(), 1);

    take(&mut world, Api(Server::Rejects("forbidden: no such service account")));
    world.pass(SignedDuration::from_secs(100));
    world.reconcile();
    assert_eq!(world.told.iter().filter(is_told).count(), 2, "a new reason is reported");
    play_in(
        world,
        &[
            (Api(Server::Accepts), "Pending 0/0/0 PodRejected [Stalled]"),
            (Pass(100_000), "Pending 1/0/0 PodRejected 1P"),
            (Run, "Running 1/0/0 1R"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
}

#[test]
fn an_edit_of_the_spec_tries_a_rejected_pod_at_once() {
    let edit = |task: &mut RetryableTask| task.spec.image = Some("other".into());
    let mut world = play(task(), &rejected(QUOTA));
    for _ in 0..5 {
        world.pass(world.requeue.unwrap());
        world.reconcile();
    }
    let wait = world.requeue.unwrap();
    let world = play_in(world, &[(Edit(edit), "Pending 0/0/0 PodRejected [Stalled]")]);
    assert!(world.requeue.unwrap() >= wait, "rejected again, the back-off goes on");
    play_in(
        world,
        &[(Api(Server::Accepts), "Pending 0/0/0 PodRejected [Stalled]"), (Edit(edit), "Pending 1/0/0 PodRejected 1P")],
    );
}

#[test]
fn a_rejected_retry_keeps_its_number() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Api(Server::Rejects(QUOTA)), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E"),
            (Pass(3000), "Pending 1/1/0 PodRejected [Stalled] 1E"),
            (Restart, "Pending 1/1/0 PodRejected [Stalled] 1E"),
            (Api(Server::Accepts), "Pending 1/1/0 PodRejected [Stalled] 1E"),
            (Pass(2000), "Pending 2/1/0 PodRejected 1E 2P"),
            (Exit(0), "Succeeded 2/1/0 Error [Complete Finished] 1E 2E"),
        ],
    );
    assert_eq!(world.status().history.len(), 2);
}

#[test]
fn a_rejected_pod_is_suspended() {
    let world = play(task(), &rejected(QUOTA));
    play_in(
        world,
        &[
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Api(Server::Accepts), "Suspended 0/0/0 [Suspended]"),
            (Pass(1000), "Suspended 0/0/0 [Suspended]"),
            (Resume, "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

#[test]
fn a_foreign_pod_of_the_same_name_stalls_the_task() {
    play(
        task(),
        &[
            (Api(Server::HasForeignPod), "Pending 0/0/0 PodNameConflict [Stalled]"),
            (Pass(1500), "Pending 0/0/0 PodNameConflict [Stalled]"),
            (Api(Server::Accepts), "Pending 0/0/0 PodNameConflict [Stalled]"),
            (Pass(3000), "Pending 1/0/0 PodNameConflict 1P"),
        ],
    );
}

#[test]
fn a_spec_that_becomes_impossible_stops_no_pod_and_loses_no_end() {
    let break_it = |task: &mut RetryableTask| task.spec.image = None;
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Edit(break_it), "Running 1/0/0 [Reconciling] 1R"),
            (Exit(1), "Pending 1/1/0 InvalidSpec [Stalled] 1E"),
            (Pass(1_000_000), "Pending 1/1/0 InvalidSpec [Stalled] 1E-"),
            (Edit(|task| task.spec.image = Some("busybox".into())), "Running 2/1/0 Error 1E- 2P"),
            (Edit(break_it), "Running 2/1/0 Error 1E- 2P"),
            (Exit(0), "Succeeded 2/1/0 Error [Complete Finished] 1E- 2E"),
        ],
    );
    let timed = task().change(|task| task.spec.active_deadline_seconds = Some(60));
    play(
        timed,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Edit(break_it), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Pending 1/1/0 InvalidSpec [Stalled] 1E"),
            (Pass(60_000), "Failed 1/0/0 Error [Stalled Failed Finished] 1E-"),
        ],
    );
}

#[test]
fn an_impossible_spec_stalls_until_it_is_mended() {
    let break_it = |task: &mut RetryableTask| task.spec.image = None;
    let mend = |task: &mut RetryableTask| task.spec.image = Some("busybox".into());
    let world = play(
        task(),
        &[
            (Edit(break_it), "Pending 0/0/0 InvalidSpec [Stalled]"),
            (Pass(1_000_000), "Pending 0/0/0 InvalidSpec [Stalled]"),
            (Edit(mend), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
    assert_eq!(world.writes, 2);
    let multiplier = |task: &mut RetryableTask| {
        task.spec.backoff.as_mut().unwrap().multiplier = Some(Multiplier::Decimal("much".into()));
    };
    let world = play(task(), &[(Edit(multiplier), "Pending 0/0/0 InvalidSpec [Stalled]")]);
    assert!(world.status().message.unwrap().contains("much"));
}
