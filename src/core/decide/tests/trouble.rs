//! Rejections, lost Pods, late creations, clocks that jump, and specs that change on the way.

use super::stories::Step::{
    Api, Blind, Edit, Exit, Jump, Kubelet, Land, Look, Pass, Restart, Resume, Run, Suspend, Vanish,
};
use super::stories::{play, play_in, take};
use super::world::{Server, World};
use crate::api::{Multiplier, RetryableTask, RetryableTaskStatus};
use crate::core::decide::Happening;
use crate::core::testing::{BuildPod, BuildTask, at, at_millis, fixed, task, task_with};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

const QUOTA: &str = "exceeded quota: pods=3";

#[test]
fn a_rejected_pod_is_no_attempt_and_is_tried_again_ever_later() {
    let mut world = play(task(), &[(Api(Server::Rejects(QUOTA)), "Pending 0/0/0 PodRejected [Stalled]")]);
    let mut waits = Vec::new();
    for _ in 0..10 {
        let wait = world.look_again.unwrap();
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
    let rejected = |happening: &&Happening| matches!(happening, Happening::Rejected { .. });
    assert_eq!(world.told.iter().filter(rejected).count(), 1, "told once");
    let stalled = world.status().conditions.into_iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert_eq!((stalled.message.as_str(), stalled.last_transition_time.0), (QUOTA, at(0)));

    take(&mut world, Api(Server::Rejects("exceeded quota: pods=12")));
    world.pass(SignedDuration::from_secs(100));
    world.reconcile();
    assert_eq!(world.status().message.as_deref(), Some(QUOTA), "other numbers are no other message");
    assert_eq!(world.told.iter().filter(rejected).count(), 1);

    take(&mut world, Api(Server::Rejects("forbidden: no such service account")));
    world.pass(SignedDuration::from_secs(100));
    world.reconcile();
    assert_eq!(world.told.iter().filter(rejected).count(), 2, "a new reason is told");
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
    let mut world = World::new(task());
    take(&mut world, Api(Server::Rejects(QUOTA)));
    world.reconcile();
    for _ in 0..5 {
        world.pass(world.look_again.unwrap());
        world.reconcile();
    }
    let wait = world.look_again.unwrap();
    let world = play_in(world, &[(Edit(edit), "Pending 0/0/0 PodRejected [Stalled]")]);
    assert!(world.look_again.unwrap() >= wait, "rejected again, the back-off goes on");
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
            (Pass(1000), "Pending 1/1/0 PodRejected [Stalled] 1E"),
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
    play(
        task(),
        &[
            (Api(Server::Rejects(QUOTA)), "Pending 0/0/0 PodRejected [Stalled]"),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Api(Server::Accepts), "Suspended 0/0/0 [Suspended]"),
            (Resume, "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

#[test]
fn a_foreign_pod_of_the_same_name_stalls_the_task() {
    play(
        task(),
        &[
            (Api(Server::HasForeignPod), "Pending 0/0/0 PodNameTaken [Stalled]"),
            (Pass(1500), "Pending 0/0/0 PodNameTaken [Stalled]"),
            (Api(Server::Accepts), "Pending 0/0/0 PodNameTaken [Stalled]"),
            (Pass(3000), "Pending 1/0/0 PodNameTaken 1P"),
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
    assert_eq!(world.look_again, Some(SignedDuration::from_secs(10)));
    world.pass(SignedDuration::from_secs(9));
    world.reconcile();
    assert_eq!(world.look_again, Some(SignedDuration::from_secs(1)));
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
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Land, "Suspended 1/0/0 [Suspended] 1E!"),
            (Look, "Suspended 1/0/1 [Suspended] 1E!"),
            (Api(Server::Accepts), "Suspended 1/0/1 [Suspended] 1E!"),
            (Resume, "Running 2/0/1 1E! 2P"),
        ],
    );
    play(
        task(),
        &[
            (Api(Server::IsSlow), "Running 1/0/0 [Reconciling]"),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Api(Server::Accepts), "Suspended 0/0/0 [Suspended]"),
            (Resume, "Running 1/0/0 [Reconciling] 1P"),
            (Land, "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

/// A leader that was paused between its two writes, or a request that was delayed without bound: its Pod belongs to an attempt that others
/// have closed meanwhile.
#[test]
fn a_late_pod_of_a_closed_attempt_is_removed_and_never_counted() {
    let late = |world: &mut World| {
        let name = world.pods.keys().next().cloned();
        let pod = crate::core::testing::pod_of(&world.task, 1).uid("late");
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
            (Look, "Running 2/1/0 Error 2P"),
            (Exit(0), "Succeeded 2/1/0 Error [Complete Finished] 2E"),
            (Pass(30_000), "Succeeded 2/1/0 Error [Complete Finished]"),
        ],
    );
    let mut world = world;
    late(&mut world);
    world.change_pod(1, BuildPod::running);
    let mut world = play_in(world, &[(Look, "Succeeded 2/1/0 Error [Complete Finished] 1R!-")]);
    world.change_pod(1, |pod| pod.exit(137));
    play_in(world, &[(Look, "Succeeded 2/1/0 Error [Complete Finished]")]);
}

#[test]
fn a_copy_of_the_pod_under_another_name_is_not_the_attempts() {
    let mut world = World::new(task());
    let copy = crate::core::testing::pod_of(&world.task, 1).uid("copy");
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
fn raised_and_lowered_retries() {
    let raise = |task: &mut RetryableTask| task.spec.max_retries = 2;
    let lower = |task: &mut RetryableTask| task.spec.max_retries = 0;
    play(
        task().max_retries(1),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Edit(raise), "Running 2/1/0 Error 1E 2P"),
            (Exit(1), "Waiting 2/2/0 due 3000 Error 1E 2E"),
            (Pass(2000), "Running 3/2/0 Error 1E 2E 3P"),
            (Edit(lower), "Running 3/2/0 Error 1E 2E 3P"),
            (Exit(1), "Failed 3/2/0 Error [Failed Finished Stalled] 1E 2E 3E"),
            (Edit(raise), "Failed 3/2/0 Error [Failed Finished Stalled] 1E 2E 3E"),
        ],
    );
}

#[test]
fn the_wait_is_measured_on_both_clocks() {
    let waiting = || {
        play(
            task().backoff(fixed(60)),
            &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/1/0 due 60000 Error 1E")],
        )
    };
    // Forward: a process that saw the wait begin does not start early.
    play_in(
        waiting(),
        &[
            (Jump(3_600_000), "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(59_999), "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(1), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
    // Backward: nor does it start late.
    play_in(
        waiting(),
        &[(Jump(-3_600_000), "Waiting 1/1/0 due 60000 Error 1E"), (Pass(60_000), "Running 2/1/0 Error 1E 2P")],
    );
    // A new process has the wall clock alone.
    play_in(waiting(), &[(Jump(60_000), "Waiting 1/1/0 due 60000 Error 1E-"), (Restart, "Running 2/1/0 Error 1E- 2P")]);
    play_in(
        waiting(),
        &[
            (Restart, "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(59_999), "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(1), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
}

#[test]
fn a_jump_while_suspended_does_not_start_early_either() {
    play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Jump(3_600_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(60_000), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
}

#[test]
fn what_fell_due_while_suspended_starts_on_resuming_and_is_not_late() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Pass(3_600_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Running 2/1/0 Error 1E- 2P"),
        ],
    );
    assert_eq!(world.status().current.unwrap().due_time, None);
}

#[test]
fn the_delay_counts_from_the_end_not_from_when_it_was_noticed() {
    let mut world = play(
        task().backoff(fixed(60)),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Blind(true), "Running 1/0/0 [Reconciling] 1P")],
    );
    world.pass(SignedDuration::from_millis(1500));
    take(&mut world, Exit(1)); // at 1.5 s, which Kubernetes cuts to 1 s
    world.pass(SignedDuration::from_secs(30));
    world.restart();
    take(&mut world, Blind(false));
    world.reconcile();
    assert_eq!(world.status().next_retry_time.unwrap().0, at_millis(62_000));

    let mut world = play(task().backoff(fixed(60)), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    world.pass(SignedDuration::from_millis(1500));
    play_in(world, &[(Exit(1), "Waiting 1/1/0 due 61500 Error 1E")]);
}

#[test]
fn a_node_whose_clock_is_behind_does_not_cost_the_delay() {
    let an_hour_ago = |pod: Pod| {
        pod.exit(1).change_status(|status| {
            let state = status.container_statuses.as_mut().unwrap()[0].state.as_mut().unwrap();
            let end = state.terminated.as_mut().unwrap();
            end.started_at = Some(crate::core::testing::time(-3610));
            end.finished_at = Some(crate::core::testing::time(-3600));
        })
    };
    let mut world = play(task().backoff(fixed(60)), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    world.pass(SignedDuration::from_secs(10));
    world.change_pod(1, an_hour_ago);
    world.reconcile();
    let due = world.status().next_retry_time.expect("it waits").0;
    assert!(due >= at(60), "at least the delay after its Pod was created");
}

#[test]
fn our_own_kill_is_never_charged_even_if_the_nodes_clock_is_behind() {
    let killed = |pod: Pod| {
        pod.exit(143).change_status(|status| {
            let state = status.container_statuses.as_mut().unwrap()[0].state.as_mut().unwrap();
            state.terminated.as_mut().unwrap().finished_at = Some(crate::core::testing::time(-5));
        })
    };
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1R!"),
            (Kubelet(killed), "Suspended 1/0/1 [Suspended] 1E!"),
        ],
    );
}

#[test]
fn an_outlived_pod_that_is_gone_has_the_outcome_that_was_seen() {
    let template = json!({"spec": {"containers": [{"name": "proxy", "image": "proxy"}]}});
    let ended = |pod: Pod| {
        use crate::core::testing::{BuildEnd, end, running};
        pod.running().container("task", end(0).into_state()).container("proxy", running())
    };
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
    let mut world = World::new(task_with(json!({"image": "busybox"})).status(status));
    world.task.status.as_mut().unwrap().history_dropped = 4;
    world.reconcile();
    assert_eq!(world.newest(), 5);
}
