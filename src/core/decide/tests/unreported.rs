//! Pods whose end nobody reports: their node is gone, or somebody deleted them by force.

use super::deadlines::{last, looks_again_in, timed};
use super::story::Step::{DeletePod, Kubelet, Look, Pass, Run};
use super::story::{Step, play, play_in, take};
use crate::api::Action;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, at, end, fixed, task};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

/// A Pod that was deleted at second 5 with 30 s of grace, and whose end nobody reports.
const UNREPORTED: [(Step, &str); 5] = [
    (Look, "Running 1/0/0 [Reconciling] 1P"),
    (Run, "Running 1/0/0 [Reconciling] 1R"),
    (Pass(15_000), "Running 1/0/0 1R"),
    (Kubelet(|pod| pod.deleted_at(5)), "Running 1/0/0 1R!"),
    (Pass(20_000), "Running 1/0/0 1R!"),
];

#[test]
fn a_pod_on_a_lost_node_is_given_up_300_seconds_after_its_grace() {
    let world = play(task(), &UNREPORTED);
    assert!(looks_again_in(&world, 300_000));
    let mut world = play_in(world, &[(Pass(299_999), "Running 1/0/0 1R!")]);
    world.pass(SignedDuration::from_millis(1));
    world.reconcile();
    assert_eq!(last(&world), ("NodeLost".into(), None, Action::Retry));
    let entry = &world.status().history[0];
    assert_eq!((entry.exit_code, entry.node_name.as_deref()), (None, Some("node-1")));
    assert_eq!(entry.finish_time.as_ref().unwrap().0, at(335));
    assert_eq!((world.status().retries, world.status().ignored), (1, 0));
}

/// Found by the simulation: the watch was late, and the exit code was lost.
#[test]
fn a_pod_is_looked_at_before_it_is_given_up() {
    let mut world = play(task(), &UNREPORTED);
    world.blind = true;
    world.change_pod(1, |pod| pod.ended(end(7).at(20)));
    world.pass(SignedDuration::from_secs(300));
    world.reconcile();
    assert_eq!(world.status().history[0].exit_code, Some(7));
}

#[test]
fn a_pod_that_the_cluster_took_from_a_lost_node_is_not_charged() {
    let world = play(task(), &UNREPORTED[..3]);
    let taken = |pod: Pod| pod.disrupted("DeletionByTaintManager", 5).deleted_at(5);
    let mut world = play_in(world, &[(Kubelet(taken), "Running 1/0/0 1R!")]);
    world.pass(SignedDuration::from_secs(320));
    world.reconcile();
    assert_eq!(last(&world), ("DeletionByTaintManager".into(), Some("disruption".into()), Action::Ignore));
    assert_eq!((world.status().retries, world.status().ignored), (0, 1));
}

#[test]
fn a_pod_deleted_by_force_is_given_up_after_30_seconds() {
    let mut world = play(task(), &UNREPORTED[..3]);
    take(&mut world, DeletePod);
    world.reconcile();
    assert!(looks_again_in(&world, 30_000), "{:?}", world.requeue);
    let mut world = play_in(world, &[(Pass(29_999), "Running 1/0/0 1R!")]);
    world.pass(SignedDuration::from_millis(1));
    world.reconcile();
    assert_eq!(last(&world), ("PodDeleted".into(), None, Action::Retry));
}

#[test]
fn an_attempt_that_was_stopped_on_a_lost_node_has_our_reason() {
    let mut world = play(
        timed(Some(10), None, None),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(12_000), "Running 1/0/0 1Rx"),
            (Pass(60_000), "Running 1/0/0 1Rx!"),
            (Pass(329_999), "Running 1/0/0 1Rx!"),
        ],
    );
    world.pass(SignedDuration::from_millis(1));
    world.reconcile();
    assert_eq!(last(&world), ("AttemptTimeout".into(), None, Action::Retry));
}

#[test]
fn the_wait_after_a_pod_that_was_given_up_counts_from_then() {
    let start = [(Look, "Running 1/0/0 [Reconciling] 1P"), (Run, "Running 1/0/0 [Reconciling] 1R")];
    let mut world = play(task().backoff(fixed(60)), &start);
    take(&mut world, Kubelet(|pod| pod.deleted_at(0)));
    world.reconcile();
    world.pass(SignedDuration::from_secs(330));
    world.reconcile();
    assert!(world.gist().starts_with("Waiting 1/1/0 due "), "{}", world.gist());
}
