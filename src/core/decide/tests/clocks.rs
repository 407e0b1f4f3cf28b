//! Waits on the wall clock and on the monotonic one; clocks that jump or are apart.

use super::story::Step::{Blind, Exit, Jump, Kubelet, Look, Pass, Restart, Run, Suspend};
use super::story::{play, play_in, take};
use crate::core::testing::{BuildPod, BuildTask, at, at_millis, fixed, task, time};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

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
            (Jump(3_600_000), "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(59_999), "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(1), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
    // Backward: nor does it start late.
    play_in(
        waiting(),
        &[(Jump(-3_600_000), "Waiting 1/1/0 due 60000 Error 1E"), (Pass(60_000), "Running 2/1/0 Error 1E- 2P")],
    );
    // A new process has the wall clock alone.
    play_in(waiting(), &[(Jump(60_000), "Waiting 1/1/0 due 60000 Error 1E"), (Restart, "Running 2/1/0 Error 1E 2P")]);
    play_in(
        waiting(),
        &[
            (Restart, "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(59_999), "Waiting 1/1/0 due 60000 Error 1E-"),
            (Pass(1), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
}

/// A kubelet that is alive needs its time, whatever our clock says.
#[test]
fn a_clock_that_jumps_gives_up_no_pod_early() {
    let deleting = || {
        play(
            task(),
            &[
                (Look, "Running 1/0/0 [Reconciling] 1P"),
                (Run, "Running 1/0/0 [Reconciling] 1R"),
                (Pass(15_000), "Running 1/0/0 1R"),
                (Kubelet(|pod| pod.deleted_at(15)), "Running 1/0/0 1R!"),
            ],
        )
    };
    play_in(
        deleting(),
        &[
            (Jump(3_600_000), "Running 1/0/0 1R!"),
            (Pass(299_999), "Running 1/0/0 1R!"),
            (Pass(1), "Running 2/1/0 NodeLost 1R!- 2P"),
        ],
    );
    // Nor late, by more than the grace.
    play_in(
        deleting(),
        &[
            (Jump(-3_600_000), "Running 1/0/0 1R!"),
            (Pass(329_999), "Running 1/0/0 1R!"),
            (Pass(1), "Waiting 1/1/0 due 1000 NodeLost 1R!-"),
        ],
    );
}

#[test]
fn a_clock_that_jumps_frees_no_pod_while_a_creation_can_be_on_its_way() {
    play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Jump(3_600_000), "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(19_999), "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(1), "Waiting 1/1/0 due 60000 Error 1E-"),
        ],
    );
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
            end.started_at = Some(time(-3610));
            end.finished_at = Some(time(-3600));
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
        pod.exit(143).past_its_deadline().change_status(|status| {
            let state = status.container_statuses.as_mut().unwrap()[0].state.as_mut().unwrap();
            state.terminated.as_mut().unwrap().finished_at = Some(time(-5));
        })
    };
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1Rx"),
            (Kubelet(killed), "Suspended 1/0/1 [Suspended] 1Ex"),
        ],
    );
}
