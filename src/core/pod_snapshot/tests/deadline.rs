//! What a Pod says that is, or can be, stopped by its deadline.

use super::super::*;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, pod_of, running, task, waiting};
use serde_json::json;

/// A Pod with the main container, an ordinary one, an init container and a native sidecar.
fn crowded_pod() -> Pod {
    let template = json!({"spec": {
        "containers": [{"name": "task"}, {"name": "proxy", "image": "proxy"}],
        "initContainers": [
            {"name": "setup", "image": "setup"},
            {"name": "mesh", "image": "mesh", "restartPolicy": "Always"},
        ],
    }});
    pod_of(&task().template(template), 1)
}

#[track_caller]
fn outcome_of(pod: &Pod) -> Outcome {
    match PodSnapshot::of(pod).unwrap().progress {
        Progress::Ended(outcome) => outcome,
        other => panic!("{other:?} is not an end"),
    }
}

#[test]
fn a_pod_past_its_deadline_also_has_its_containers_outcome() {
    let pod = crowded_pod().ended(end(0)).container("proxy", end(137).into_state()).past_its_deadline();
    let outcome = outcome_of(&pod.change(|pod| pod.spec.as_mut().unwrap().active_deadline_seconds = Some(7)));
    assert!(!outcome.succeeded, "{outcome:?}");
    let PastDeadline { seconds, outcome } = *outcome.past_deadline.unwrap();
    assert_eq!((seconds, outcome.succeeded, &*outcome.reason, outcome.message), (Some(7), true, "Completed", None));
    let evicted = pod_of(&task(), 1).ended(end(0)).phase("Failed").because("Evicted", "low on memory");
    assert_eq!(outcome_of(&evicted).past_deadline, None);
}

#[test]
fn a_container_that_still_runs_by_the_status_is_waited_for() {
    let progress = |pod: Pod| PodSnapshot::of(&pod).unwrap().progress;
    let failed = || pod_of(&task(), 1).running().past_its_deadline();
    assert_eq!(progress(failed()), Progress::Running, "its exit code is still to come");
    let evicted = pod_of(&task(), 1).running().phase("Failed").because("Evicted", "low on memory");
    assert_eq!(progress(evicted), Progress::Running, "so is the message of an evicted one");
    assert_eq!(outcome_of(&failed().container("task", end(3).into_state())).exit_code, Some(3));
    assert_eq!(outcome_of(&failed().deleted_at(10)).exit_code, None, "of a deleted one nothing is sure to come");
    let never_started = pod_of(&task(), 1).on_node("node-1").past_its_deadline();
    assert_eq!(outcome_of(&never_started).exit_code, None);
}

#[test]
fn the_texts_of_an_end_past_the_deadline_can_be_dropped() {
    let pod = pod_of(&task(), 1).ended(end(1).saying("out of stock")).past_its_deadline();
    let mut snapshot = PodSnapshot::of(&pod).unwrap();
    snapshot.forget_texts();
    let Progress::Ended(outcome) = snapshot.progress else { panic!("{:?}", snapshot.progress) };
    assert_eq!(outcome.texts(), [None; 3]);
    assert_eq!(outcome.past_deadline.unwrap().outcome.texts(), [None; 3]);
}

#[test]
fn there_may_be_a_log_once_any_container_has_started() {
    let has_run = |pod: Pod| PodSnapshot::of(&pod).unwrap().has_run;
    let waits = || crowded_pod().container("task", waiting("PodInitializing", ""));
    assert!(!has_run(crowded_pod()) && !has_run(waits()));
    assert!(!has_run(waits().init_container("setup", waiting("ErrImagePull", ""))));
    assert!(has_run(waits().init_container("setup", running())));
    assert!(has_run(waits().init_container("setup", end(0).into_state())));
    assert!(has_run(waits().init_container("mesh", running())));
    assert!(has_run(waits().container("proxy", running())));
    assert!(has_run(crowded_pod().running()));
}
