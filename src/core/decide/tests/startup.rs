//! The limit in time of an attempt's start.

use super::deadlines::{failed, failure_counts, last, looks_again_in, timed, unschedulable};
use super::story::Step::{Api, Edit, Exit, Kubelet, Look, Pass, Restart, Run};
use super::story::{play, play_in, take};
use super::world::{Server, World};
use crate::api::{Action, Completion, MAIN_CONTAINER, RetryableTask, StopReason};
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, task, waiting};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// The Pod has had its node since second 3, and this keeps its container from starting.
fn held_up(pod: Pod, reason: &str) -> Pod {
    let state = waiting(reason, "no such image");
    pod.on_node("node-1").condition("PodScheduled", true, "", "", 3).container(MAIN_CONTAINER, state)
}

/// The kubelet's last word on a Pod that never started.
fn given_up(pod: Pod) -> Pod {
    pod.phase("Failed")
}

#[test]
fn a_pod_that_has_a_node_has_600_seconds_to_start() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Pass(13_000), "Pending 1/0/0 Unscheduled 1P"),
            (Kubelet(|pod| held_up(pod, "ImagePullBackOff")), "Pending 1/0/0 ImagePullBackOff 1P"),
        ],
    );
    assert!(looks_again_in(&world, 590_000), "from second 3, when it got its node");
    let world = play_in(
        world,
        &[
            (Pass(589_999), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Pass(1), "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Restart, "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Kubelet(given_up), "Waiting 1/1/0 due 604000 ImagePullBackOff 1E!"),
        ],
    );
    let entry = &world.status().history[0];
    assert_eq!((entry.message.as_deref(), entry.exit_code), (Some("no such image"), None));
    assert_eq!(last(&world), ("ImagePullBackOff".into(), Some("startup".into()), Action::Retry));
    assert_eq!(failure_counts(&world), [("startup".into(), 1)]);
}

#[test]
fn where_all_containers_decide_the_time_runs_from_the_first_start() {
    let template = json!({"spec": {"containers": [{"name": MAIN_CONTAINER}, {"name": "upload", "image": "upload"}]}});
    let task = timed(Some(20), None, None).template(template);
    let one_runs = |pod: Pod| pod.running().container("upload", waiting("ImagePullBackOff", "no such image"));
    let mut world = play(
        task.change(|task| task.spec.completion = Completion::AllContainers),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(one_runs), "Pending 1/0/0 ImagePullBackOff 1P"), // one since second 2
            (Pass(21_999), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Pass(1), "Pending 1/0/0 ImagePullBackOff 1Px"),
        ],
    );
    assert_eq!(world.status().current.unwrap().stop_reason, Some(StopReason::AttemptTimeout));
    take(&mut world, Kubelet(|pod| pod.past_its_deadline().container(MAIN_CONTAINER, end(143).at(22).into_state())));
    world.reconcile();
    assert_eq!(last(&world).0, "AttemptTimeout");
}

#[test]
fn a_pod_that_starts_in_time_is_left_alone() {
    play(
        timed(None, None, Some(10)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(|pod| held_up(pod, "ErrImagePull")), "Pending 1/0/0 ErrImagePull 1P"),
            (Pass(9999), "Pending 1/0/0 ErrImagePull 1P"),
            (Run, "Running 1/0/0 1R"),
            (Pass(1_000_000), "Running 1/0/0 1R"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E-"),
        ],
    );
}

#[test]
fn waiting_for_a_node_has_no_limit_by_default() {
    let started =
        [(Look, "Running 1/0/0 [Reconciling] 1P"), (Kubelet(unschedulable), "Pending 1/0/0 Unschedulable 1P")];
    let world = play(task(), &started);
    let world = play_in(world, &[(Pass(1_000_000), "Pending 1/0/0 Unschedulable 1P")]);
    assert_eq!(world.requeue, None);

    let world = play(timed(None, None, Some(10)), &started);
    let world = play_in(
        world,
        &[
            (Pass(9999), "Pending 1/0/0 Unschedulable 1P"),
            (Pass(1), "Pending 1/0/0 Unschedulable 1E!"),
            (Look, "Waiting 1/1/0 due 11000 Unschedulable 1E!"),
        ],
    );
    assert_eq!(last(&world), ("Unschedulable".into(), Some("startup".into()), Action::Retry));
    assert_eq!(world.status().history[0].message.as_deref(), Some("0/3 nodes are available"));
}

#[test]
fn an_explicit_startup_limit_counts_from_the_pods_creation() {
    let world = play(
        timed(None, None, Some(10)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(|pod| held_up(pod, "CreateContainerConfigError")), "Pending 1/0/0 CreateContainerConfigError 1P"),
            (Pass(9000), "Pending 1/0/0 CreateContainerConfigError 1P"),
        ],
    );
    assert!(looks_again_in(&world, 1000));
    play_in(world, &[(Pass(1000), "Pending 1/0/0 CreateContainerConfigError 1P!")]);
}

#[test]
fn a_pod_that_gives_no_reason_is_stopped_as_well() {
    let world = play(
        timed(None, None, Some(10)).max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Pass(10_000), "Pending 1/0/0 Unscheduled 1E!"),
            (Look, "Failed 1/0/0 StartupTimeout [Failed Finished Stalled] 1E!"),
        ],
    );
    let said = "the Pod did not start in time: no node has been assigned to the Pod";
    assert_eq!(world.status().message.as_deref(), Some(said));
}

#[test]
fn an_invalid_image_name_fails_at_once() {
    let budget = |task: &mut RetryableTask| {
        task.spec.budgets = Some(serde_json::from_value(json!({"startup": 1})).unwrap());
    };
    let world = play(
        task().change(budget).max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(|pod| held_up(pod, "InvalidImageName")), "Pending 1/0/0 InvalidImageName 1P!"),
            (Kubelet(given_up), "Waiting 1/0/0 due 1000 InvalidImageName 1E!"),
            (Pass(1000), "Running 2/0/0 InvalidImageName 1E! 2P"),
            (Kubelet(|pod| held_up(pod, "InvalidImageName")), "Pending 2/0/0 InvalidImageName 1E! 2P!"),
            (Kubelet(given_up), "Failed 2/0/0 InvalidImageName [Failed Finished Stalled] 1E! 2E!"),
        ],
    );
    let (reason, message) = failed(&world);
    assert_eq!(reason, "BudgetExhausted");
    for part in ["startup", "InvalidImageName", "no such image"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.status().exhausted_budget.as_deref(), Some("startup"));
    assert_eq!(failure_counts(&world), [("startup".into(), 2)]);
}

#[test]
fn a_pod_has_as_long_to_start_as_it_had_to_be_created() {
    let mut world = World::new(timed(None, None, Some(10)));
    world.server = Server::Rejects("exceeded quota");
    play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling]"),
            (Pass(9000), "Pending 0/0/0 PodRejected [Stalled]"),
            (Api(Server::Accepts), "Pending 0/0/0 PodRejected [Stalled]"),
            (Edit(|task| task.spec.image = Some("other".into())), "Pending 1/0/0 PodRejected 1P"),
            (Pass(9999), "Pending 1/0/0 PodRejected 1P"),
            (Pass(1), "Pending 1/0/0 Unscheduled 1E!"),
        ],
    );
}
