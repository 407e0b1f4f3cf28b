//! Scheduling gates, as Kueue sets them: their time is no time to start in.

use super::story::Step::{Ask, Edit, Kubelet, Look, Pass, Restart, Resume, Run, Suspend};
use super::story::{Step, play, play_in, take};
use super::world::World;
use crate::api::RetryableTask;
use crate::core::testing::{BuildPod, BuildTask, task};
use k8s_openapi::api::core::v1::PodSchedulingGate;

fn limited(seconds: i32) -> RetryableTask {
    task().change(|task| task.spec.startup_timeout_seconds = Some(seconds))
}

const GATE: Step = Kubelet(|pod| {
    let gate = PodSchedulingGate { name: "kueue.x-k8s.io/admission".into() };
    pod.change(|pod| pod.spec.get_or_insert_default().scheduling_gates = Some(vec![gate]))
});
const UNGATE: Step = Kubelet(|pod| pod.change(|pod| pod.spec.get_or_insert_default().scheduling_gates = None));

fn gated(task: RetryableTask) -> World {
    play(task, &[(Look, "Running 1/0/0 [Reconciling] 1P"), (GATE, "Running 1/0/0 [Reconciling] 1P")])
}

#[test]
fn a_startup_timeout_begins_when_the_gates_are_gone() {
    let world = play_in(
        gated(limited(60)),
        &[
            (Pass(9_999), "Running 1/0/0 [Reconciling] 1P"),
            (Pass(1), "Pending 1/0/0 SchedulingGated 1P"),
            (Pass(3_600_000), "Pending 1/0/0 SchedulingGated 1P"),
        ],
    );
    assert_eq!(
        world.status().message.as_deref(),
        Some("the Pod waits for its scheduling gates to be removed: kueue.x-k8s.io/admission")
    );
    let mut world = play_in(world, &[(UNGATE, "Pending 1/0/0 Unscheduled 1P")]);
    assert!(world.status().current.unwrap().ungated_time.is_some(), "in the write that says that they are gone");
    world =
        play_in(world, &[(Restart, "Pending 1/0/0 Unscheduled 1P"), (Pass(59_999), "Pending 1/0/0 Unscheduled 1P")]);
    play_in(world, &[(Pass(1), "Pending 1/0/0 Unscheduled 1E!")]);
}

#[test]
fn gates_that_go_soon_cost_no_write() {
    let world = gated(limited(5));
    let writes = world.writes;
    let world = play_in(
        world,
        &[
            (Pass(8_000), "Running 1/0/0 [Reconciling] 1P"),
            (UNGATE, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
        ],
    );
    assert_eq!(world.writes, writes);
}

#[test]
fn gates_that_went_while_no_operator_ran_leave_the_whole_time() {
    play_in(
        gated(limited(60)),
        &[
            (Pass(10_000), "Pending 1/0/0 SchedulingGated 1P"),
            (Step::Blind(true), "Pending 1/0/0 SchedulingGated 1P"),
            (Pass(600_000), "Pending 1/0/0 SchedulingGated 1P"),
            (UNGATE, "Pending 1/0/0 SchedulingGated 1P"),
            (Restart, "Pending 1/0/0 Unscheduled 1P"),
            (Step::Blind(false), "Pending 1/0/0 Unscheduled 1P"),
            (Pass(59_999), "Pending 1/0/0 Unscheduled 1P"),
        ],
    );
}

#[test]
fn a_gated_task_can_be_suspended_cancelled_and_corrected() {
    let settle = |world: &mut World, step| {
        take(world, step);
        // The Pod is deleted, and then its end is recorded.
        world.reconcile();
        world.reconcile();
        world.gist()
    };
    let starts_with = |gist: String, start: &str| assert!(gist.starts_with(start), "{gist}");
    starts_with(settle(&mut gated(task()), Ask("cancel", "")), "Cancelled 1/0/0");
    let mut world = gated(task());
    starts_with(settle(&mut world, Suspend), "Suspended 1/0/1");
    starts_with(settle(&mut world, Resume), "Running 2/0/1");
    starts_with(settle(&mut gated(task()), Edit(|task| task.spec.image = Some("other".into()))), "Running 2/0/1");
}
