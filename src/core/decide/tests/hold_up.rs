//! Why an attempt has not started: what people see of it, and what is asked for it.

use super::deadlines::{failed, last, timed};
use super::story::Step::{Ask, Edit, Exit, Kubelet, Look, Pass, Restart, Run};
use super::story::{play, play_in};
use super::world::World;
use crate::api::{Action, ConditionType, HoldUp, RetryableTask};
use crate::core::condition_list;
use crate::core::decide::Transition;
use crate::core::pod_warning::PodWarning;
use crate::core::testing::{BuildPod, BuildTask, at, fixed, running, task, waiting};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// The Pod has had its node since second 1, and its kubelet has begun.
fn creating(pod: Pod) -> Pod {
    let pod = pod.on_node("node-1").condition("PodScheduled", true, "", "", 1);
    pod.container("task", waiting("ContainerCreating", ""))
}

fn failed_mount(message: &str, seconds: i64) -> PodWarning {
    let hold_up = HoldUp { reason: "FailedMount".into(), message: Some(message.into()) };
    PodWarning { hold_up, last_seen: Some(at(seconds)) }
}

/// A world whose Pod cannot be given its volume, ten seconds on.
fn without_a_volume(task: RetryableTask) -> World {
    let mut world = World::new(task);
    world.warning = Some(failed_mount("configmap \"nope\" not found", 9));
    play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(creating), "Running 1/0/0 [Reconciling] 1P"),
            (Pass(11_000), "Pending 1/0/0 FailedMount 1P"),
        ],
    )
}

/// The reports that an attempt does not start: the reason, and whether it only says how far the Pod is.
fn reports(world: &World) -> Vec<(&str, bool)> {
    let held_up = world.told.iter().filter_map(|told| match told {
        Transition::HeldUp { hold_up, is_stage, .. } => Some((hold_up.reason.as_str(), *is_stage)),
        _ => None,
    });
    held_up.collect()
}

#[test]
fn the_newest_warning_says_why_a_silent_pod_does_not_start() {
    let world = without_a_volume(task());
    let status = world.status();
    assert_eq!(status.message.as_deref(), Some("configmap \"nope\" not found"));
    let condition = condition_list::find(&status.conditions, ConditionType::AttemptStarted).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "FailedMount"));
    assert_eq!(condition.message, "configmap \"nope\" not found");
    assert_eq!((world.writes, world.questions, reports(&world)), (2, 1, vec![("FailedMount", false)]));

    let world = play_in(world, &[(Run, "Running 1/0/0 1R"), (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E")]);
    let status = world.status();
    assert_eq!(status.message, None);
    assert!(condition_list::find(&status.conditions, ConditionType::AttemptStarted).is_none());
}

#[test]
fn it_is_asked_for_again_once_a_minute_and_told_when_it_says_something_else() {
    let mut world = without_a_volume(task());
    world.warning = Some(failed_mount("configmap \"nope\" not found", 60));
    let mut world = play_in(world, &[(Pass(59_999), "Pending 1/0/0 FailedMount 1P")]);
    assert_eq!((world.writes, world.questions), (2, 1));
    world = play_in(world, &[(Pass(1), "Pending 1/0/0 FailedMount 1P"), (Restart, "Pending 1/0/0 FailedMount 1P")]);
    assert_eq!((world.writes, world.questions), (2, 3), "another process knows nothing, and writes nothing");
    world.warning = Some(failed_mount("secret \"key\" not found", 130));
    let world = play_in(world, &[(Pass(60_000), "Pending 1/0/0 FailedMount 1P")]);
    assert_eq!(world.status().message.as_deref(), Some("secret \"key\" not found"));
    assert_eq!((world.writes, reports(&world)), (3, vec![("FailedMount", false)]), "it is reported once");
}

#[test]
fn what_was_told_stays_while_the_events_cannot_be_read() {
    let mut world = without_a_volume(task());
    (world.events_are_readable, world.warning) = (false, None);
    let mut world = play_in(world, &[(Restart, "Pending 1/0/0 FailedMount 1P")]);
    assert_eq!((world.writes, reports(&world)), (2, vec![("FailedMount", false)]));
    world = play_in(world, &[(Pass(60_000), "Pending 1/0/0 FailedMount 1P")]);
    world.events_are_readable = true;
    play_in(world, &[(Restart, "Pending 1/0/0 ContainerCreating 1P")]);
}

#[test]
fn it_is_why_an_attempt_failed_that_did_not_start_in_time() {
    let world = play_in(
        without_a_volume(timed(None, None, Some(30)).max_retries(0)),
        &[
            (Pass(19_000), "Pending 1/0/0 FailedMount 1P!"),
            (Kubelet(|pod| pod.phase("Failed")), "Failed 1/0/0 FailedMount [Failed Finished Stalled]"),
        ],
    );
    assert_eq!(last(&world), ("FailedMount".into(), Some("startup".into()), Action::Fail));
    assert!(failed(&world).1.contains("configmap \"nope\" not found"), "{:?}", failed(&world));
}

#[test]
fn a_startup_timeout_has_the_newest_reason() {
    let mut world = without_a_volume(timed(None, None, Some(200)));
    world.warning = Some(failed_mount("secret \"key\" not found", 120));
    // Nothing looked at the task for three minutes: what was read is old.
    let world = play_in(
        world,
        &[
            (Pass(189_000), "Pending 1/0/0 FailedMount 1P!"),
            (Kubelet(|pod| pod.phase("Failed")), "Waiting 1/1/0 due 201000 FailedMount"),
        ],
    );
    let message = world.status().history[0].message.clone().unwrap();
    assert!(message.contains("secret \"key\" not found"), "{message}");
}

#[test]
fn a_limit_below_ten_seconds_has_its_reason_too() {
    let mut world = World::new(timed(None, None, Some(5)));
    world.warning = Some(failed_mount("no such disk", 3));
    let world = play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(creating), "Running 1/0/0 [Reconciling] 1P"),
            (Pass(5000), "Pending 1/0/0 FailedMount 1P!"),
            (Kubelet(|pod| pod.phase("Failed")), "Waiting 1/1/0 due 6000 FailedMount 1E!"),
        ],
    );
    assert_eq!(world.status().history[0].message.as_deref(), Some("no such disk"));
}

#[test]
fn nothing_is_asked_and_nothing_more_is_written_of_an_attempt_that_starts() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(creating), "Running 1/0/0 [Reconciling] 1P"),
            (Pass(9_000), "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(9_000), "Running 1/0/0 1R"),
        ],
    );
    assert_eq!((world.writes, world.questions), (2, 0));
}

#[test]
fn without_an_event_it_is_told_how_far_the_pod_is() {
    let init = |pod: Pod| {
        let pod = creating(pod).init_container("fetch", running());
        pod.container("task", waiting("PodInitializing", ""))
    };
    let world = play(
        task().backoff(fixed(0)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Running 2/1/0 Error 1E 2P"),
            (Kubelet(creating), "Running 2/1/0 Error 1E 2P"),
            (Pass(11_000), "Pending 2/1/0 ContainerCreating 1E 2P"),
        ],
    );
    assert_eq!(world.status().message.as_deref(), Some("container task is being created on node node-1"));
    assert_eq!(reports(&world), [("ContainerCreating", true)]);
    let world = play_in(world, &[(Kubelet(init), "Pending 2/1/0 PodInitializing 1E 2P")]);
    assert_eq!(world.status().message.as_deref(), Some("init container fetch is running"));
    let world = play_in(world, &[(Run, "Running 2/1/0 Error 1E 2R")]);
    assert_eq!(world.questions, 1, "an init container that runs needs no event to explain it");
}

#[test]
fn what_a_pod_has_left_behind_does_not_hold_it_up() {
    let scheduling = HoldUp { reason: "FailedScheduling".into(), message: Some("0/3 nodes are available".into()) };
    let stale = PodWarning { hold_up: scheduling, last_seen: Some(at(9)) };
    for warning in [stale, failed_mount("of long ago", -5)] {
        let mut world = World::new(task());
        world.warning = Some(warning);
        play_in(
            world,
            &[
                (Look, "Running 1/0/0 [Reconciling] 1P"),
                (Kubelet(creating), "Running 1/0/0 [Reconciling] 1P"),
                (Pass(11_000), "Pending 1/0/0 ContainerCreating 1P"),
            ],
        );
    }
}

#[test]
fn a_pod_that_got_its_node_late_has_its_time_to_start() {
    let unschedulable = |pod: Pod| pod.condition("PodScheduled", false, "Unschedulable", "0/3 nodes are available", 0);
    let scheduled = |pod: Pod| creating(pod).condition("PodScheduled", true, "", "", 100);
    let mut world = World::new(task());
    world.warning = Some(failed_mount("no such disk", 109));
    let mut world = play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(unschedulable), "Pending 1/0/0 Unschedulable 1P"),
            (Pass(100_000), "Pending 1/0/0 Unschedulable 1P"),
            (Kubelet(scheduled), "Pending 1/0/0 ContainerCreating 1P"),
        ],
    );
    assert_eq!(world.questions, 0);
    world = play_in(world, &[(Pass(10_000), "Pending 1/0/0 FailedMount 1P")]);
    assert_eq!(reports(&world), [("Unschedulable", false), ("ContainerCreating", true), ("FailedMount", false)]);
}

#[test]
fn an_attempt_that_hangs_can_be_replaced() {
    let world = play_in(without_a_volume(task()), &[(Ask("retry-now", "1"), "Pending 1/0/0 FailedMount 1P!")]);
    assert_eq!(world.status().acknowledged[0].effect, "the Pod of attempt 1, held up by FailedMount, is replaced");
    let world = play_in(
        without_a_volume(task()),
        &[
            (Edit(|task| task.spec.template = Some(json!({"spec": {"volumes": []}}))), "Pending 1/0/0 FailedMount 1P!"),
            (Kubelet(|pod| pod.phase("Failed")), "Running 2/0/1 1E! 2P"),
        ],
    );
    let first = world.status().history[0].clone();
    assert_eq!(first.reason, "SpecChanged");
    assert!(first.message.as_deref().unwrap().contains("FailedMount: configmap"), "{first:?}");
}
