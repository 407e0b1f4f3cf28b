//! Pods that are lost, late, copied, or not shown by the watch.

use super::story::Step::{Api, Ask, Exit, Kubelet, Land, Look, Pass, Restart, Resume, Run, Suspend, Vanish};
use super::story::{play, play_in};
use super::world::{Server, World};
use crate::api::RetryableTaskStatus;
use crate::core::decide::{LATE_POST_BOUND, Plan};
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, at, end, pod_of, running, task};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

#[test]
fn a_lost_pod_is_asked_for_and_charged() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(10_000), "Running 1/0/0 1R"),
            (Vanish, "Waiting 1/1/0 due 11000 Lost"),
            (Pass(1000), "Running 2/1/0 Lost 2P"),
        ],
    );
    let entry = &world.status().history[0];
    assert!(entry.pod_uid.is_some());
    assert_eq!(entry.node_name.as_deref(), Some("node-1"), "what was seen of it is kept");
    assert_eq!(entry.start_time.as_ref().unwrap().0, at(0), "its creation");
}

#[test]
fn a_pod_that_the_watch_lost_but_the_server_has_goes_on() {
    let mut world = play(task(), &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Run, "Running 1/0/0 [Reconciling] 1R")]);
    world.restart();
    world.blind = true;
    world.reconcile();
    assert_eq!(world.gist(), "Running 1/0/0 [Reconciling] 1R", "the second creation meets the first");
}

#[test]
fn a_pod_without_finalizer_that_is_gone_is_lost_by_its_uid_on_record() {
    let mut world = World::new(task());
    world.holds_pods = false;
    let mut world =
        play_in(world, &[(Look, "Running 1/0/0 [Reconciling] 1P-"), (Restart, "Running 1/0/0 [Reconciling] 1P-")]);
    assert!(world.status().current.unwrap().pod_uid.is_some(), "on record as soon as it is seen");
    world.restart();
    play_in(world, &[(Vanish, "Waiting 1/1/0 due 1000 Lost"), (Pass(1000), "Running 2/1/0 Lost 2P-")]);
}

#[test]
fn a_pod_without_uid_on_record_is_created_again() {
    play(task(), &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Restart, "Running 1/0/0 [Reconciling] 1P")]);
    let mut world = play(task(), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(world.status().current.unwrap().pod_uid, None, "the finalizer makes it needless");
    world.restart();
    play_in(world, &[(Vanish, "Running 1/0/0 [Reconciling] 1P")]);
}

#[test]
fn a_created_pod_that_the_watch_does_not_show_is_asked_for() {
    let mut world = World::new(task());
    world.blind = true;
    let mut world = play_in(world, &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(world.requeue, Some(SignedDuration::from_secs(10)));
    world.pass(SignedDuration::from_secs(9));
    world.reconcile();
    assert_eq!(world.requeue, Some(SignedDuration::from_secs(1)));
    play_in(
        world,
        &[(Exit(0), "Running 1/0/0 [Reconciling] 1E"), (Pass(1000), "Succeeded 1/0/0 [Complete Finished] 1E")],
    );
    let mut world = World::new(task());
    world.blind = true;
    play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Vanish, "Running 1/0/0 [Reconciling]"),
            (Pass(10_000), "Waiting 1/1/0 due 11000 Lost"),
        ],
    );
}

#[test]
fn a_creation_without_answer_is_repeated_and_meets_the_first() {
    play(
        task(),
        &[
            (Api(Server::IsSlow), "Running 1/0/0 [Reconciling]"),
            (Look, "Running 1/0/0 [Reconciling]"),
            (Land, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
}

#[test]
fn suspended_while_a_creation_is_on_its_way() {
    play(
        task(),
        &[
            (Api(Server::IsSlow), "Running 1/0/0 [Reconciling]"),
            (Suspend, "Running 1/0/0 [Reconciling]"),
            (Pass(19_999), "Running 1/0/0 [Reconciling]"),
            (Land, "Running 1/0/0 [Reconciling Suspended] 1E!"),
            (Look, "Suspended 1/0/1 [Suspended] 1E!"),
            (Api(Server::Accepts), "Suspended 1/0/1 [Suspended] 1E!"),
            (Resume, "Running 2/0/1 1E! 2P"),
        ],
    );
    play(
        task(),
        &[
            (Api(Server::IsSlow), "Running 1/0/0 [Reconciling]"),
            (Suspend, "Running 1/0/0 [Reconciling]"),
            (Pass(20_000), "Suspended 0/0/0 [Suspended]"),
            (Api(Server::Accepts), "Suspended 0/0/0 [Suspended]"),
            (Resume, "Running 1/0/0 [Reconciling] 1P"),
            (Land, "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

/// Found by the simulation: the creation landed after the task was said to have been cancelled before its first
/// attempt.
#[test]
fn nothing_is_over_while_a_creation_can_be_on_its_way() {
    play(
        task(),
        &[
            (Api(Server::IsSlow), "Running 1/0/0 [Reconciling]"),
            (Ask("cancel", "1"), "Running 1/0/0 [Reconciling]"),
            (Land, "Running 1/0/0 [Reconciling] 1E!"),
        ],
    );
    // An earlier process may have sent one just before it died.
    let world = play(task(), &[(Api(Server::IsSlow), "Running 1/0/0 [Reconciling]")]);
    let mut world = play_in(world, &[(Pass(30_000), "Pending 0/0/0 FailedCreate [Stalled]")]);
    world.restart();
    play_in(
        world,
        &[
            (Ask("cancel", "1"), "Pending 0/0/0 FailedCreate [Stalled]"),
            (Pass(19_999), "Pending 0/0/0 FailedCreate [Stalled]"),
            (Pass(1), "Cancelled 0/0/0 [Stalled Failed Finished]"),
        ],
    );
}

/// Found by the simulation: a new leader began with an old list, in which the attempt had not ended.
#[test]
fn a_process_that_may_be_behind_reads_the_task_before_it_creates() {
    let mut world = play(task(), &[(Api(Server::IsSlow), "Running 1/0/0 [Reconciling]")]);
    world.restart();
    world.stale = true;
    assert_eq!(world.plan(), Plan::RefreshTask);
    world.stale = false;
    assert_eq!(world.plan(), Plan::CreatePod(1.into()));
}

/// Found by the simulation: the Pod of a second run was taken for one that came late in the first, and deleted.
#[test]
fn an_old_status_of_a_finished_run_stops_no_attempt_of_the_next() {
    let mut world =
        play(task(), &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E")]);
    let before = world.task.clone();
    world = play_in(world, &[(Ask("run-again", "1"), "Running 2/0/0 [Reconciling] 1E 2P")]);
    let now = std::mem::replace(&mut world.task, before);
    world.stale = true;
    assert_eq!(world.plan(), Plan::RefreshTask);
    (world.task, world.stale) = (now, false);
    play_in(world, &[(Look, "Running 2/0/0 [Reconciling] 1E 2P")]);
}

/// A leader that was paused between its two writes, or a request that was delayed without bound: its Pod belongs to an
/// attempt that others have closed meanwhile.
#[test]
fn a_late_pod_of_a_closed_attempt_is_removed_and_never_counted() {
    let late = |world: &mut World| {
        let name = world.pods.keys().next().cloned();
        let pod = pod_of(&world.task, 1).uid("late");
        let key = pod.metadata.name.clone().unwrap();
        assert!(name.as_ref() != Some(&key), "the name is free");
        world.pods.insert(key, pod);
    };
    let mut world = play(
        task().retention(0, 0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(20_000), "Running 2/1/0 Error 2P"),
        ],
    );
    late(&mut world);
    let world = play_in(
        world,
        &[
            (Look, "Running 2/1/0 Error 1E! 2P"),
            (Exit(0), "Succeeded 2/1/0 Error [Complete Finished] 1E! 2E"),
            (Pass(30_000), "Succeeded 2/1/0 Error [Complete Finished]"),
        ],
    );
    let mut world = world;
    late(&mut world);
    world.change_pod(1, BuildPod::running);
    let mut world = play_in(world, &[(Look, "Succeeded 2/1/0 Error [Complete Finished] 1R!")]);
    world.change_pod(1, |pod| pod.exit(137));
    play_in(
        world,
        &[
            (Look, "Succeeded 2/1/0 Error [Complete Finished] 1E!"),
            (Pass(20_000), "Succeeded 2/1/0 Error [Complete Finished]"),
        ],
    );
}

/// A new process whose watch is behind sees the attempt's own Pod so. A creation of it that is on its way must meet it.
#[test]
fn a_pod_of_a_closed_attempt_that_seems_to_run_is_freed_no_sooner_than_any() {
    let mut world =
        play(task(), &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/1/0 due 1000 Error 1E")]);
    let before = pod_of(&world.task, 1).uid("its own").running();
    world.change_pod(1, |_| before);
    world.restart();
    let mut world = play_in(world, &[(Look, "Waiting 1/1/0 due 1000 Error 1R!")]);
    assert_eq!(world.settled().requeue.deferrable, Some(LATE_POST_BOUND));
}

#[test]
fn a_copy_of_the_pod_under_another_name_is_not_the_attempts() {
    let mut world = World::new(task());
    let copy = pod_of(&world.task, 1).uid("copy");
    let copy = copy.change(|pod| pod.metadata.name = Some("a-copy".into()));
    world.pods.insert("a-copy".into(), copy);
    world.server = Server::IsSlow;
    world.reconcile();
    let asked = world.status().current.unwrap();
    assert!(asked.pod_name.is_some());
    world.pods.remove("a-copy").unwrap();
    world.land();
    assert_eq!(world.pods.len(), 1, "the attempt's Pod was created beside it");
}

#[test]
fn an_outlived_pod_that_is_gone_has_the_outcome_that_was_seen() {
    let template = json!({"spec": {"containers": [{"name": "task"}, {"name": "proxy", "image": "proxy"}]}});
    let ended = |pod: Pod| pod.running().container("task", end(0).into_state()).container("proxy", running());
    let mut world = World::new(task().template(template));
    world.holds_pods = false;
    play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P-"),
            (Kubelet(ended), "Running 1/0/0 [Reconciling] 1O-"),
            (Vanish, "Succeeded 1/0/0 [Complete Finished]"),
        ],
    );
}

#[test]
fn a_status_that_lost_its_current_attempt_repeats_none() {
    let status = RetryableTaskStatus { attempts: 4, retries: 1, ..RetryableTaskStatus::default() };
    let mut world = World::new(task().status(status));
    world.task.status.as_mut().unwrap().history_dropped = 4;
    world.reconcile();
    assert_eq!(world.newest(), 5.into());
}
