//! Retention, the finalizer, the time to live, and the history's limit.

use super::story::Step::{Ask, DeletePod, Exit, Look, Pass, Restart};
use super::story::{play, play_in, take};
use super::world::World;
use crate::api::RetryableTask;
use crate::core::decide::{LATE_POST_BOUND, Requeue};
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, at, end, fixed, task};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Attempts that end with these codes, 100 s apart, and the Pods that are left long after.
fn left_after(task: RetryableTask, codes: &[i32]) -> Vec<i32> {
    let mut world = World::new(task.max_retries(100).backoff(fixed(0)));
    for code in codes {
        world.reconcile();
        take(&mut world, Exit(*code));
        world.pass(SignedDuration::from_secs(100));
    }
    world.reconcile();
    take(&mut world, Exit(0));
    world.reconcile();
    world.pass(SignedDuration::from_secs(100));
    world.reconcile();
    let mut left: Vec<_> = world.pods.values().filter_map(PodSnapshot::of).map(|pod| pod.number).collect();
    left.sort_unstable();
    assert!(world.pods.values().filter_map(PodSnapshot::of).all(|pod| !pod.has_finalizer), "nothing is held for ever");
    left
}

#[test]
fn the_newest_finished_pods_are_kept() {
    assert_eq!(left_after(task(), &[1, 1, 1]), [3, 4]);
    assert_eq!(left_after(task().retention(2, 0), &[1, 1, 1]), [2, 3]);
    assert_eq!(left_after(task().retention(0, 1), &[1, 1, 1]), [4]);
    assert_eq!(left_after(task().retention(0, 0), &[1, 1, 1]), [0; 0]);
    assert_eq!(left_after(task().retention(9, 9), &[1, 1, 1]), [1, 2, 3, 4]);
}

#[test]
fn a_pod_that_is_going_takes_no_place_of_one_that_stays() {
    let mut world = play(
        task().backoff(fixed(1)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Exit(1), "Waiting 2/2/0 due 2000 Error 1E 2E"),
            (DeletePod, "Waiting 2/2/0 due 2000 Error 1E 2E!"),
        ],
    );
    world.pass(SignedDuration::from_secs(30));
    world.reconcile();
    assert!(world.gist().contains(" 1E-"), "{}", world.gist());
}

#[test]
fn the_finalizer_stays_as_long_as_a_creation_can_be_on_its_way() {
    play(
        task().backoff(fixed(100)).retention(0, 0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 100000 Error 1E"),
            (Pass(19_999), "Waiting 1/1/0 due 100000 Error 1E"),
            (Pass(1), "Waiting 1/1/0 due 100000 Error"),
        ],
    );
}

/// The API server's clock is an hour behind ours, or ahead of it.
#[test]
fn the_finalizer_stays_so_long_whatever_the_servers_clock_says() {
    for skew in [-3600, 3600] {
        let mut world = play(task().backoff(fixed(100)), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
        let created = Some(Time(at(skew)));
        world.restart();
        world.change_pod(1, |pod| pod.change(|pod| pod.metadata.creation_timestamp = created));
        world.reconcile();
        world.change_pod(1, |pod| pod.ended(end(1).at(0)));
        world.reconcile();
        assert!(PodSnapshot::of(world.pods.values().next().unwrap()).unwrap().has_finalizer, "skew {skew}: too early");
        world.pass(SignedDuration::from_secs(20));
        world.reconcile();
        assert!(!PodSnapshot::of(world.pods.values().next().unwrap()).unwrap().has_finalizer, "skew {skew}: too late");
    }
}

#[test]
fn a_cleanup_can_wait_and_what_is_due_cannot() {
    let mut world = play(
        task().backoff(fixed(60)),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/1/0 due 60000 Error 1E")],
    );
    let Requeue { for_attempt, deferrable, expiry: _ } = world.settled().requeue;
    assert_eq!((for_attempt, deferrable), (Some(SignedDuration::from_secs(60)), Some(LATE_POST_BOUND)));
}

#[test]
fn a_finished_task_is_deleted_after_its_ttl() {
    let end = |world: &mut World, code| {
        world.reconcile();
        take(world, Exit(code));
        world.reconcile();
    };
    for code in [0, 1] {
        let mut world = World::new(task().max_retries(0).ttl(60));
        end(&mut world, code);
        assert!(!world.task_is_deleted);
        world.pass(SignedDuration::from_millis(59_999));
        world.restart();
        world.reconcile();
        assert!(!world.task_is_deleted);
        assert_eq!(world.requeue, Some(SignedDuration::from_millis(1)));
        world.pass(SignedDuration::from_millis(1));
        world.reconcile();
        assert!(world.task_is_deleted);
    }
    let mut at_once = World::new(task().ttl(0));
    end(&mut at_once, 0);
    assert!(at_once.task_is_deleted);
    let mut kept = World::new(task());
    end(&mut kept, 0);
    kept.pass(SignedDuration::from_hours(100_000));
    kept.reconcile();
    assert!(!kept.task_is_deleted);
}

/// A world whose operator has this default.
fn with_default(task: RetryableTask, seconds: i32) -> World {
    let mut world = World::new(task);
    world.default_ttl_seconds = Some(seconds);
    world
}

fn finish(world: &mut World) {
    world.reconcile();
    take(world, Exit(0));
    world.reconcile();
}

/// Whether the task is still there, after so many seconds and a look.
fn is_kept_for(world: &mut World, seconds: i64) -> bool {
    world.pass(SignedDuration::from_secs(seconds));
    world.reconcile();
    !world.task_is_deleted
}

#[test]
fn a_new_task_without_ttl_has_the_operators_default_and_shows_it() {
    let mut world = with_default(task(), 60);
    finish(&mut world);
    assert_eq!(world.status().default_ttl_seconds_after_finished, Some(60));
    assert!(is_kept_for(&mut world, 59));
    assert!(!is_kept_for(&mut world, 1));
    let mut at_once = with_default(task(), 0);
    finish(&mut at_once);
    assert!(at_once.task_is_deleted);
}

#[test]
fn a_ttl_in_the_spec_wins_over_the_default_as_long_as_it_is_there() {
    for explicit in [600, 0] {
        let mut world = with_default(task().ttl(explicit), 60);
        finish(&mut world);
        assert_eq!(is_kept_for(&mut world, 599), explicit == 600, "{explicit}");
    }
    let mut world = with_default(task().ttl(600), 60);
    finish(&mut world);
    assert!(is_kept_for(&mut world, 100));
    world.edit(|task| task.spec.ttl_seconds_after_finished = None);
    assert!(!is_kept_for(&mut world, 0), "without it the default holds, from the same end");
}

#[test]
fn a_default_that_changes_leaves_the_tasks_that_were_seen_as_they_are() {
    for (old, new) in [(None, Some(0)), (Some(100), Some(0)), (Some(100), None)] {
        let mut world = World::new(task().backoff(fixed(100)));
        world.default_ttl_seconds = old;
        world.reconcile();
        world.default_ttl_seconds = new;
        world.restart();
        finish(&mut world);
        assert_eq!(world.status().default_ttl_seconds_after_finished, old);
        assert!(is_kept_for(&mut world, 99), "{old:?} {new:?}");
        assert_eq!(is_kept_for(&mut world, 1), old.is_none(), "{old:?} {new:?}");
    }
}

#[test]
fn a_suspended_task_has_been_seen_and_a_run_again_keeps_its_default() {
    let mut suspended = World::new(task().change(|task| task.spec.suspend = true));
    suspended.reconcile();
    suspended.default_ttl_seconds = Some(0);
    suspended.edit(|task| task.spec.suspend = false);
    finish(&mut suspended);
    assert!(!suspended.task_is_deleted);
    let mut again = with_default(task(), 60);
    finish(&mut again);
    take(&mut again, Ask("run-again", "1"));
    again.default_ttl_seconds = None;
    finish(&mut again);
    assert_eq!((again.status().run.map(|run| run.number), is_kept_for(&mut again, 59)), (Some(2), true));
    assert!(!is_kept_for(&mut again, 1));
}

#[test]
fn a_task_that_waits_does_not_go() {
    let mut world = World::new(task().ttl(0).backoff(fixed(100)));
    world.reconcile();
    take(&mut world, Exit(1));
    world.reconcile();
    world.pass(SignedDuration::from_secs(50));
    world.reconcile();
    assert!(!world.task_is_deleted);
}

#[test]
fn the_history_keeps_the_newest_and_counts_the_rest() {
    let mut world = World::new(task().max_retries(100).backoff(fixed(0)).history_limit(3));
    for _ in 0..5 {
        world.reconcile();
        take(&mut world, Exit(1));
        world.reconcile();
    }
    let numbers = |world: &World| world.status().history.iter().map(|entry| entry.attempt).collect::<Vec<_>>();
    assert_eq!((numbers(&world), world.status().history_dropped), (vec![3, 4, 5], 2));
    world.edit(|task| task.spec.history_limit = 0);
    take(&mut world, Exit(1));
    world.reconcile();
    assert_eq!((numbers(&world), world.status().history_dropped), (vec![], 6));
    assert_eq!(world.status().last_failure.unwrap().attempt, 6, "the last failure is shown without a history");
}

#[test]
fn a_restart_forgets_nothing_that_matters() {
    play_in(
        play(
            task(),
            &[
                (Look, "Running 1/0/0 [Reconciling] 1P"),
                (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
                (Restart, "Waiting 1/1/0 due 1000 Error 1E"),
                (Pass(1000), "Running 2/1/0 Error 1E 2P"),
                (Restart, "Running 2/1/0 Error 1E 2P"),
            ],
        ),
        &[(Exit(0), "Succeeded 2/1/0 Error [Complete Finished] 1E 2E")],
    );
}
