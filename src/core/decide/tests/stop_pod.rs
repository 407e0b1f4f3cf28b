//! How a Pod is stopped: by its own deadline, which keeps it and its log, or by its deletion.

use super::deadlines::{last, looks_again_in, timed};
use super::story::Step::{self, Ask, Blind, Exit, Kubelet, Look, Pass, Restart, Resume, Run, Say, Suspend};
use super::story::{play, play_in, take};
use super::world::World;
use crate::api::{Action, MAIN_CONTAINER, RetryableTask, State, StopReason};
use crate::core::decide::StopMethod;
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, running, task, waiting};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// A task with a long wait after each attempt, whose first attempt has run for 12 s.
fn running_for_12_seconds(task: RetryableTask) -> World {
    play(
        task.backoff(fixed(1000)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(12_000), "Running 1/0/0 1R"),
        ],
    )
}

/// Its Pods have a deadline of their own.
fn with_own_deadline(task: RetryableTask) -> RetryableTask {
    task.template(json!({"spec": {"activeDeadlineSeconds": 60}}))
}

/// The Pods that there are, each with what of it [`World::gist`] shows.
fn pods(world: &World) -> String {
    let gist = world.gist();
    let is_pod = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(['P', 'R', 'O', 'E']);
    gist.split(' ').filter(is_pod).collect()
}

#[test]
fn the_pod_of_a_stopped_attempt_stays_with_its_reason_and_its_words() {
    let stops: [(RetryableTask, Step, StopReason, Option<&str>); 4] = [
        (
            timed(Some(20), None, None),
            Pass(8000),
            StopReason::AttemptTimeout,
            Some("ran longer than attemptTimeoutSeconds"),
        ),
        (
            timed(None, Some(20), None),
            Pass(8000),
            StopReason::DeadlineExceeded,
            Some("the task took longer than activeDeadlineSeconds"),
        ),
        (task(), Ask("cancel", "1"), StopReason::Cancelled, Some("the task was cancelled")),
        (task(), Suspend, StopReason::Suspended, None),
    ];
    for (task, step, reason, words) in stops {
        for (end, said) in [(Exit(143), words), (Exit(0), words), (Say(7, "step 7 of 9"), Some("step 7 of 9"))] {
            let mut world = running_for_12_seconds(task.clone());
            take(&mut world, step);
            world.pass(jiff::SignedDuration::from_secs(2));
            world.reconcile();
            assert_eq!(pods(&world), "1Rx", "{reason:?}");
            assert_eq!(world.status().current.unwrap().stop_reason, Some(reason));
            world.restart();
            world.reconcile();
            take(&mut world, end);
            world.reconcile();
            let entry = world.status().history[0].clone();
            assert_eq!((entry.reason.as_str(), entry.message.as_deref()), (reason.as_str(), said), "{end:?}");
            world.pass(jiff::SignedDuration::from_secs(30));
            world.reconcile();
            assert_eq!(pods(&world), "1Ex-", "{reason:?}: it is kept, and held by nobody");
        }
    }
}

#[test]
fn it_stays_only_as_pod_retention_says() {
    let world = running_for_12_seconds(timed(Some(20), None, None).retention(0, 1));
    play_in(world, &[(Pass(10_000), "Running 1/0/0 1Rx"), (Exit(143), "Waiting 1/1/0 due 1022000 AttemptTimeout")]);
}

#[test]
fn a_pod_in_which_nothing_has_run_is_deleted() {
    let bound =
        |pod: Pod| pod.on_node("node-1").container(MAIN_CONTAINER, waiting("ImagePullBackOff", "no such image"));
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(bound), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Ask("cancel", "1"), "Pending 1/0/0 ImagePullBackOff 1P!"),
        ],
    );
}

#[test]
fn the_log_of_an_init_container_is_worth_keeping_too() {
    let held_up = |pod: Pod| {
        let pod = pod.on_node("node-1").condition("PodScheduled", true, "", "", 0);
        pod.init_container("setup", end(0).into_state())
            .container(MAIN_CONTAINER, waiting("ErrImagePull", "no such image"))
    };
    // As the kubelet leaves it: what it never started has an end without times.
    let ended = |pod: Pod| {
        let never = end(137).without_times().change(|end| end.started_at = None).reason("ContainerStatusUnknown");
        pod.past_its_deadline().container(MAIN_CONTAINER, never.into_state())
    };
    let world = play(
        timed(None, None, Some(10)).backoff(fixed(1000)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(held_up), "Pending 1/0/0 ErrImagePull 1P"),
            (Pass(10_000), "Pending 1/0/0 ErrImagePull 1Px"),
            (Kubelet(ended), "Waiting 1/1/0 due 1005000 ErrImagePull 1Ex"),
        ],
    );
    assert_eq!(last(&world), ("ErrImagePull".into(), Some("startup".into()), Action::Retry));
    assert_eq!(world.status().history[0].message.as_deref(), Some("no such image"));
}

#[test]
fn a_pod_that_was_waiting_when_it_was_stopped_has_not_ended_by_itself() {
    let held_up = |pod: Pod| {
        pod.on_node("node-1")
            .init_container("first", end(0).at(3).into_state())
            .init_container("second", waiting("ErrImagePull", "no such image"))
            .container(MAIN_CONTAINER, waiting("PodInitializing", ""))
    };
    let mut world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(held_up), "Pending 1/0/0 ErrImagePull 1P"),
            (Pass(12_000), "Pending 1/0/0 ErrImagePull 1P"),
            (Suspend, "Pending 1/0/0 ErrImagePull [Suspended] 1Px"),
        ],
    );
    take(&mut world, Kubelet(BuildPod::past_its_deadline));
    world.reconcile();
    assert_eq!(last(&world), ("Suspended".into(), None, Action::Ignore));
}

#[test]
fn a_pod_that_no_kubelet_ends_is_deleted_30_s_after_its_grace() {
    let graceful = timed(Some(20), None, None).template(json!({"spec": {"terminationGracePeriodSeconds": 100}}));
    let world = running_for_12_seconds(graceful);
    let mut world = play_in(world, &[(Pass(10_000), "Running 1/0/0 1Rx")]);
    world.reconcile();
    assert!(looks_again_in(&world, 130_000), "{:?}", world.requeue);
    let world = play_in(
        world,
        &[
            (Step::Jump(3_600_000), "Running 1/0/0 1Rx"),
            (Pass(129_999), "Running 1/0/0 1Rx"),
            (Pass(1), "Running 1/0/0 1Rx!"),
            (Exit(137), "Waiting 1/1/0 due 4752000 AttemptTimeout"),
        ],
    );
    assert_eq!(last(&world), ("AttemptTimeout".into(), None, Action::Retry));
}

#[test]
fn a_pod_that_does_not_get_the_deadline_is_deleted_30_s_after_its_grace() {
    let refused = |pod: Pod| pod.change(|pod| pod.spec.get_or_insert_default().active_deadline_seconds = None);
    let stopping = |millis| {
        let world = running_for_12_seconds(timed(Some(20), None, None));
        let mut world = play_in(world, &[(Pass(10_000), "Running 1/0/0 1Rx")]);
        take(&mut world, Kubelet(refused));
        take(&mut world, Pass(millis));
        world.watch();
        world
    };
    let mut world = stopping(59_999);
    assert_eq!(world.settled().stop.map(|(_, method)| method), Some(StopMethod::Deadline));
    let mut world = stopping(60_000);
    assert_eq!(world.settled().stop.map(|(_, method)| method), Some(StopMethod::Deletion));
    world.restart();
    world.watch();
    let plan = world.settled();
    assert_eq!(plan.stop.map(|(_, method)| method), Some(StopMethod::Deadline), "a new process tries first");
    assert_eq!(plan.requeue.for_attempt, Some(jiff::SignedDuration::from_secs(60)));
}

#[test]
fn a_pods_own_deadline_is_its_own() {
    let world = running_for_12_seconds(with_own_deadline(task()));
    let over = |pod: Pod| pod.ended(end(143).at(13)).past_its_deadline();
    let world = play_in(world, &[(Kubelet(over), &*world_waits_for("PodDeadlineExceeded", 1_012_000, "1E"))]);
    assert_eq!(last(&world).2, Action::Retry);
}

/// The line of a task that waits after its first attempt, by what the Pod says of itself.
fn world_waits_for(reason: &str, due: i64, pods: &str) -> String {
    format!("Waiting 1/1/0 due {due} {reason} {pods}")
}

#[test]
fn what_ended_by_itself_before_the_deadline_took_effect_keeps_its_own_end() {
    for (code, ends) in [(0, (State::Succeeded, "Completed")), (3, (State::Waiting, "Error"))] {
        let mut world = running_for_12_seconds(timed(Some(20), None, None));
        world.blind = true;
        take(&mut world, Exit(code));
        world.pass(jiff::SignedDuration::from_secs(10));
        world.reconcile();
        // The kubelet had not reported it, and then says that the deadline was over.
        take(&mut world, Kubelet(BuildPod::past_its_deadline));
        world.blind = false;
        world.reconcile();
        let status = world.status();
        assert_eq!((status.state.unwrap(), status.history[0].reason.as_str()), ends);
        assert_eq!(pods(&world), "1Ex-");
    }
}

#[test]
fn a_pod_that_its_own_deadline_had_ended_when_the_stop_was_stored_is_no_success() {
    let mut world = running_for_12_seconds(with_own_deadline(timed(Some(20), None, None)));
    world.blind = true;
    take(&mut world, Exit(0));
    take(&mut world, Kubelet(BuildPod::past_its_deadline));
    world.pass(jiff::SignedDuration::from_secs(10));
    world.reconcile();
    let world = play_in(world, &[(Blind(false), &*world_waits_for("PodDeadlineExceeded", 1_013_000, "1Ex-"))]);
    assert_eq!(last(&world).2, Action::Retry);
}

#[test]
fn a_deadline_that_is_longer_than_ours_is_the_pods_own_whatever_is_stored() {
    let mut world = running_for_12_seconds(with_own_deadline(timed(Some(20), None, None)));
    world.pass(jiff::SignedDuration::from_secs(10));
    world.reconcile();
    take(&mut world, Exit(143));
    take(&mut world, Kubelet(|pod| pod.change(|pod| pod.spec.as_mut().unwrap().active_deadline_seconds = Some(60))));
    world.reconcile();
    assert_ne!(last(&world).0, "AttemptTimeout");
}

/// The main container has ended with that code, and an ordinary one runs on.
fn outlived(code: i32) -> impl Fn(Pod) -> Pod {
    move |pod| pod.running().container(MAIN_CONTAINER, end(code).into_state()).container("proxy", running())
}

#[test]
fn the_main_container_decides_when_others_had_to_be_stopped() {
    let proxy = json!({"spec": {"containers": [{"name": MAIN_CONTAINER}, {"name": "proxy", "image": "proxy"}]}});
    for (code, ends) in [(0, (State::Succeeded, "Completed")), (3, (State::Waiting, "Error"))] {
        let mut world = World::new(task().template(proxy.clone()).backoff(fixed(1000)).retention(0, 0));
        world.edit(
            |task| if code == 0 { task.spec.pod_retention.succeeded = 1 } else { task.spec.pod_retention.failed = 1 },
        );
        world.reconcile();
        world.change_pod(1, outlived(code));
        world.reconcile();
        world.pass(jiff::SignedDuration::from_secs(3));
        world.reconcile();
        assert_eq!(pods(&world), "1Ox");
        world.restart();
        world.change_pod(1, |pod| {
            outlived(code)(pod).past_its_deadline().container("proxy", end(137).at(8).into_state())
        });
        world.reconcile();
        let status = world.status();
        assert_eq!((status.state.unwrap(), status.history[0].reason.as_str()), ends);
        world.pass(jiff::SignedDuration::from_secs(30));
        world.restart();
        world.reconcile();
        world.pass(jiff::SignedDuration::from_secs(30));
        world.reconcile();
        assert_eq!(pods(&world), "1Ex-", "kept as what it is in the history: a {:?}", status.state);
    }
}

#[test]
fn a_kept_pod_is_in_the_way_of_nobody() {
    let world = running_for_12_seconds(task());
    let world = play_in(
        world,
        &[
            (Suspend, "Running 1/0/0 [Suspended] 1Rx"),
            (Restart, "Running 1/0/0 [Suspended] 1Rx"),
            (Exit(143), "Suspended 1/0/1 [Suspended] 1Ex"),
            (Resume, "Running 2/0/1 1Ex 2P"),
            (Exit(0), "Succeeded 2/0/1 [Complete Finished] 1Ex 2E"),
        ],
    );
    assert_eq!(world.pods.values().filter_map(PodSnapshot::of).filter(|pod| !pod.deleting).count(), 2);
}
