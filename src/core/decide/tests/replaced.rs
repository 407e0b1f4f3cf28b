//! A Pod whose main container has not started gives way to another one: when the spec is corrected, or when somebody asks.

use super::deadlines::{failed, last};
use super::story::Step::{Ask, Blind, DeletePod, Drain, Edit, Exit, Kubelet, Look, Pass, Restart, Run};
use super::story::{play, play_in};
use crate::api::{Action, ConditionType, OnFailure, RetryableTask};
use crate::core::condition_list;
use crate::core::testing::{BuildPod, BuildTask, fixed, running, task, waiting};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

fn unschedulable(pod: Pod) -> Pod {
    pod.condition("PodScheduled", false, "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.", 0)
}

fn not_pulled(pod: Pod) -> Pod {
    pod.on_node("node-1")
        .condition("PodScheduled", true, "", "", 0)
        .container("task", waiting("ImagePullBackOff", "no such image"))
}

/// The Pod collector, or the kubelet, ends a Pod that was deleted before its container started.
fn given_up(pod: Pod) -> Pod {
    pod.phase("Failed")
}

fn less_cpu(task: &mut RetryableTask) {
    task.spec.resources = Some(json!({"requests": {"cpu": "100m"}}));
}

fn other_image(task: &mut RetryableTask) {
    task.spec.image = Some("busybox:1.37".into());
}

/// The effect of the last request of that kind.
fn effect(world: &super::world::World) -> String {
    world.status().acknowledged.first().map(|heard| heard.effect.clone()).unwrap_or_default()
}

#[test]
fn an_attempt_that_cannot_be_scheduled_follows_a_corrected_spec() {
    let world = play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(unschedulable), "Pending 1/0/0 Unschedulable 1P"),
            (Edit(less_cpu), "Pending 1/0/0 Unschedulable 1E!"),
            (Restart, "Running 2/0/1 1E! 2P"),
            (Run, "Running 2/0/1 1E! 2R"),
            (Exit(0), "Succeeded 2/0/1 [Complete Finished] 1E! 2E"),
        ],
    );
    let status = world.status();
    let first = &status.history[0];
    assert_eq!((first.reason.as_str(), first.action, &first.rule), ("SpecChanged", Action::Ignore, &None));
    assert_eq!((first.exit_code, first.delay_milliseconds), (None, None));
    let message = first.message.as_deref().unwrap();
    assert!(message.contains("Unschedulable") && message.contains("Insufficient cpu"), "{message}");
    assert_eq!((status.last_failure, status.failure_counts.len()), (None, 0), "it is no failure");
}

#[test]
fn the_intent_is_stored_and_survives_the_process() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(not_pulled), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Edit(other_image), "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Restart, "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Kubelet(given_up), "Running 2/0/1 1E! 2P"),
        ],
    );
    assert_eq!(last(&world), ("SpecChanged".into(), None, Action::Ignore));
}

#[test]
fn what_does_not_change_the_pod_replaces_none() {
    fn others(task: &mut RetryableTask) {
        task.spec.max_retries = 7;
        task.spec.backoff = Some(fixed(9));
        task.spec.rules = Some(serde_json::from_value(json!([{"name": "all", "action": "Retry"}])).unwrap());
        task.spec.startup_timeout_seconds = Some(900);
        task.spec.on_failure = Some(OnFailure::default());
        task.spec.overrides =
            Some(serde_json::from_value(json!([{"fromAttempt": 2, "env": [{"name": "A", "value": "b"}]}])).unwrap());
        task.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    }
    fn and_back(task: &mut RetryableTask) {
        other_image(task);
        task.spec.image = Some("busybox".into());
    }
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(unschedulable), "Pending 1/0/0 Unschedulable 1P"),
            (Edit(others), "Pending 1/0/0 Unschedulable 1P"),
            (Edit(and_back), "Pending 1/0/0 Unschedulable 1P"),
        ],
    );
}

#[test]
fn nodes_that_are_avoided_and_memory_that_was_raised_are_not_the_specs() {
    let raised = |task: &mut RetryableTask| {
        task.spec.resources = Some(json!({"limits": {"memory": "64Mi"}}));
        task.spec.on_out_of_memory = Some(serde_json::from_value(json!({"memoryMultiplier": 2})).unwrap());
    };
    play(
        task().backoff(fixed(1)).change(raised),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(|pod| pod.on_node("node-1").exit(137).change_status(oom)), "Waiting 1/1/0 due 1000 OOMKilled 1E"),
            (Pass(1000), "Running 2/1/0 OOMKilled 1E 2P"),
            (Kubelet(unschedulable), "Pending 2/1/0 Unschedulable 1E 2P"),
            (Edit(|task| task.spec.max_retries = 9), "Pending 2/1/0 Unschedulable 1E 2P"),
        ],
    );
}

fn oom(status: &mut k8s_openapi::api::core::v1::PodStatus) {
    for container in status.container_statuses.iter_mut().flatten() {
        let end = container.state.as_mut().and_then(|state| state.terminated.as_mut()).unwrap();
        end.reason = Some("OOMKilled".into());
    }
}

#[test]
fn an_attempt_that_has_started_is_left_alone() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Edit(other_image), "Running 1/0/0 [Reconciling] 1R"),
            (Ask("retry-now", "1"), "Running 1/0/0 [Reconciling] 1R"),
        ],
    );
}

#[test]
fn an_attempt_that_has_started_unseen_is_left_alone() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(not_pulled), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Blind(true), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Kubelet(|pod| pod.container("task", running())), "Pending 1/0/0 ImagePullBackOff 1R"),
            (Edit(other_image), "Running 1/0/0 1R"),
            (Blind(false), "Running 1/0/0 1R"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
    assert_eq!(last(&world).0, "Completed");
}

#[test]
fn a_pod_that_others_delete_is_not_ours() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(not_pulled), "Pending 1/0/0 ImagePullBackOff 1P"),
            (DeletePod, "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Edit(other_image), "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Kubelet(given_up), "Waiting 1/1/0 due 1000 PodDeleted 1E!"),
        ],
    );
}

/// It may have started in the meantime, and the operator's own deletion would then have failed.
#[test]
fn a_pod_that_is_evicted_before_it_is_replaced_was_disrupted() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(not_pulled), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Edit(other_image), "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Drain, "Waiting 1/0/1 due 1000 EvictionByEvictionAPI 1E!"),
        ],
    );
    assert_eq!(world.status().history[0].rule.as_deref(), Some("disruption"));
}

#[test]
fn a_corrected_spec_comes_before_the_end_of_an_attempt_that_can_never_start() {
    let world = play(
        task().max_retries(0).change(|task| task.spec.startup_timeout_seconds = Some(5)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(unschedulable), "Pending 1/0/0 Unschedulable 1P"),
            (Blind(true), "Pending 1/0/0 Unschedulable 1P"),
        ],
    );
    let mut world = world;
    world.pass(jiff::SignedDuration::from_secs(5));
    world.edit(less_cpu);
    world.blind = false;
    let world = play_in(world, &[(Look, "Pending 1/0/0 Unschedulable 1E!"), (Look, "Running 2/0/1 1E! 2P")]);
    assert_eq!(last(&world).0, "SpecChanged");
}

#[test]
fn retry_now_replaces_a_pod_that_is_held_up() {
    let world = play(
        task().max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(not_pulled), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Ask("retry-now", "1"), "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Ask("retry-now", "2"), "Pending 1/0/0 ImagePullBackOff 1P!"),
            (Kubelet(given_up), "Running 2/0/1 1E! 2P"),
            (Run, "Running 2/0/1 1E! 2R"),
            (Exit(1), "Failed 2/0/1 Error [Failed Finished Stalled] 1E! 2E"),
        ],
    );
    let first = world.status().history[0].clone();
    assert_eq!((first.reason.as_str(), first.action), ("RetryNow", Action::Ignore));
    assert!(first.message.as_deref().unwrap().contains("ImagePullBackOff: no such image"), "{first:?}");
    assert!(
        condition_list::is_true(&world.status().conditions, ConditionType::Failed)
            && failed(&world).0 == "RetriesExhausted"
    );
}

#[test]
fn retry_now_says_what_becomes_of_an_attempt_that_has_not_started() {
    let world = play(
        task(),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Ask("retry-now", "1"), "Running 1/0/0 [Reconciling] 1P")],
    );
    assert_eq!(effect(&world), "no effect: attempt 1 is starting");
    let world = play_in(
        world,
        &[
            (Kubelet(not_pulled), "Pending 1/0/0 ImagePullBackOff 1P"),
            (Ask("retry-now", "2"), "Pending 1/0/0 ImagePullBackOff 1P!"),
        ],
    );
    assert_eq!(effect(&world), "the Pod of attempt 1, held up by ImagePullBackOff, is replaced");
}
