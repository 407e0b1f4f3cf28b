mod container_wait;
mod deadline;
mod messages;
mod outcome;

use super::*;
use crate::api::RetryableTask;
use crate::core::main_container::DEFAULT_CONTAINER;
use crate::core::testing::{
    BuildEnd, BuildPod, BuildTask, NAME, UID, at, end, pod_of, running, task, task_with, time, waiting,
};
use k8s_openapi::api::core::v1::ContainerState;
use serde_json::json;

fn pod() -> Pod {
    pod_of(&task(), 1)
}

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

fn progress_of(pod: &Pod) -> Progress {
    PodSnapshot::of(pod).unwrap().progress
}

#[track_caller]
fn outcome_of(pod: &Pod) -> Outcome {
    match progress_of(pod) {
        Progress::Ended(outcome) => outcome,
        other => panic!("{other:?} is not an end"),
    }
}

#[test]
fn the_main_container_is_found_by_annotation_name_or_place() {
    let exit = |spec, name: &str| {
        let pod = pod_of(&task_with(spec), 1).on_node("n").phase("Failed").container(name, end(9).into_state());
        outcome_of(&pod).exit_code
    };
    let two = |first: &str, second: &str| json!({"spec": {"containers": [{"name": first}, {"name": second}]}});
    assert_eq!(exit(json!({"template": two("first", "second")}), "first"), Some(9));
    assert_eq!(exit(json!({"template": two("first", "second")}), "second"), None);
    assert_eq!(exit(json!({"template": two("first", "task")}), "task"), Some(9));
    assert_eq!(exit(json!({"image": "i", "template": two("first", "second")}), "task"), Some(9));

    let annotate = |pod: Pod, name: &str| {
        pod.change(|pod| {
            pod.metadata.annotations.get_or_insert_default().insert(DEFAULT_CONTAINER.into(), name.into());
        })
    };
    let crowd = || crowded_pod().on_node("n").phase("Failed").container("proxy", end(6).into_state());
    assert_eq!(outcome_of(&annotate(crowd(), "proxy")).exit_code, Some(6));
    assert_eq!(outcome_of(&annotate(crowd(), "nobody")).exit_code, None, "an annotation that names nobody is void");
}

#[test]
fn the_progress_of_a_pod_that_has_not_ended() {
    let main_exited =
        |pod: Pod| matches!(progress_of(&pod), Progress::MainContainerExited(outcome) if outcome.exit_code == Some(3));
    let main_ended = || crowded_pod().running().container("task", end(3).into_state());
    assert_eq!(progress_of(&pod()), Progress::Pending(None));
    assert_eq!(progress_of(&pod().running()), Progress::Running);
    assert_eq!(
        progress_of(&pod().running().container("task", ContainerState::default())),
        Progress::Pending(None),
        "a state that says nothing is waiting, by the API's convention"
    );
    assert!(main_exited(main_ended().container("proxy", running())), "an ordinary container runs on");
    assert!(
        main_exited(main_ended().container("proxy", waiting("ImagePullBackOff", "no such image"))),
        "an ordinary container never started, and would hold the attempt for ever"
    );
    assert_eq!(
        progress_of(&main_ended().container("proxy", end(0).into_state()).init_container("mesh", running())),
        Progress::Running,
        "the kubelet stops a native sidecar by itself"
    );
    assert_eq!(
        progress_of(&crowded_pod().running().container("proxy", end(1).into_state())),
        Progress::Running,
        "another container's end is not the task's"
    );
}

#[test]
fn the_attempt_is_read_from_labels_owner_and_finalizer() {
    let snapshot = PodSnapshot::of(&pod().on_node("node-1").deleted_at(5)).unwrap();
    assert_eq!((snapshot.task_name.as_str(), snapshot.task_uid.as_str(), snapshot.number), (NAME, UID, 1));
    assert_eq!((snapshot.pod_uid.as_str(), snapshot.node_name.as_deref()), ("pod-1", Some("node-1")));
    assert!(snapshot.owned && snapshot.has_finalizer && snapshot.deleting);
    assert_eq!(snapshot.created, at(0));

    let loose = PodSnapshot::of(&pod().without_owner().without_finalizer()).unwrap();
    assert!(!loose.owned && !loose.has_finalizer && !loose.deleting);
    let others = |pod: Pod| pod.change(|pod| pod.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into());
    assert!(!PodSnapshot::of(&others(pod())).unwrap().owned, "owned by another task");
    let no_controller = pod().change(|pod| pod.metadata.owner_references.as_mut().unwrap()[0].controller = Some(false));
    assert!(!PodSnapshot::of(&no_controller).unwrap().owned, "an owner that is not a controller");
    let foreign_finalizer = pod().without_finalizer().change(|pod| pod.metadata.finalizers = Some(vec!["x/y".into()]));
    assert!(!PodSnapshot::of(&foreign_finalizer).unwrap().has_finalizer);
}

#[test]
fn a_pod_without_the_labels_is_not_an_attempt() {
    let label = |key: &str, value: Option<&str>| {
        pod().change(|pod| {
            let labels = pod.metadata.labels.as_mut().unwrap();
            labels.remove(key);
            labels.extend(value.map(|value| (key.to_owned(), value.to_owned())));
        })
    };
    for key in [LABEL_TASK_UID, LABEL_TASK_NAME, LABEL_ATTEMPT] {
        assert_eq!(PodSnapshot::of(&label(key, None)), None, "{key}");
    }
    for number in ["0", "-1", "x", "", "99999999999"] {
        assert_eq!(PodSnapshot::of(&label(LABEL_ATTEMPT, Some(number))), None, "{number}");
    }
    assert_eq!(PodSnapshot::of(&Pod::default()), None);
}
