use super::*;

#[test]
fn the_hold_up_of_a_pod() {
    let hold_up = |pod: Pod| match progress_of(&pod) {
        Progress::Pending(hold_up) => hold_up.map(|h| (h.reason, h.message.unwrap_or_default())),
        other => panic!("{other:?}"),
    };
    let said = |reason: &str, message: &str| Some((reason.to_owned(), message.to_owned()));
    let bound = || crowded_pod().on_node("node-1");
    assert_eq!(hold_up(bound().container("task", waiting("ContainerCreating", ""))), None);
    assert_eq!(hold_up(bound().container("task", waiting("PodInitializing", ""))), None);
    assert_eq!(hold_up(bound().container("task", waiting("", ""))), None);
    assert_eq!(
        hold_up(bound().container("task", waiting("ImagePullBackOff", "no such image"))),
        said("ImagePullBackOff", "no such image")
    );
    assert_eq!(
        hold_up(
            bound()
                .container("task", waiting("PodInitializing", ""))
                .init_container("setup", waiting("ErrImagePull", "x"))
        ),
        said("ErrImagePull", "x"),
        "an init container"
    );
    assert_eq!(
        hold_up(
            bound()
                .container("task", waiting("ContainerCreating", ""))
                .container("proxy", waiting("CreateContainerConfigError", "no such secret"))
        ),
        said("CreateContainerConfigError", "no such secret"),
        "another container"
    );
    assert_eq!(
        hold_up(pod().condition("PodScheduled", false, "Unschedulable", "0/3 nodes are available", 0)),
        said("Unschedulable", "0/3 nodes are available")
    );
    assert_eq!(hold_up(pod().condition("PodScheduled", true, "", "", 0)), None);
}

#[test]
fn the_stage_of_a_pod_without_a_hold_up() {
    let initializing = |pod: Pod| pod.container("task", waiting("PodInitializing", ""));
    let started =
        |pod: Pod| pod.change_status(|status| status.init_container_statuses.as_mut().unwrap()[0].started = Some(true));
    let sidecar = task()
        .template(json!({"spec": {"initContainers": [{"name": "mesh", "image": "m", "restartPolicy": "Always"}]}}));
    let init = task().template(json!({"spec": {"initContainers": [{"name": "fetch", "image": "f"}]}}));
    let on_node = |task: &RetryableTask| pod_of(task, 1).on_node("node-1");
    let rows = [
        (pod_of(&task(), 1), Some(("Unscheduled", "no node", false))),
        (on_node(&task()), Some(("ContainerCreating", "has not reported on container task", false))),
        (
            on_node(&task()).container("task", waiting("ContainerCreating", "")),
            Some(("ContainerCreating", "node-1", false)),
        ),
        (on_node(&task()).container("task", waiting("ErrImagePull", "")), None),
        (on_node(&task()).running(), None),
        (
            initializing(on_node(&init)).init_container("fetch", waiting("PodInitializing", "")),
            Some(("PodInitializing", "init container fetch is being created", false)),
        ),
        (
            initializing(on_node(&init)).init_container("fetch", running()),
            Some(("PodInitializing", "init container fetch is running", true)),
        ),
        (
            initializing(on_node(&init)).init_container("fetch", end(0).into_state()),
            Some(("ContainerCreating", "container task", false)),
        ),
        (
            initializing(on_node(&sidecar)).init_container("mesh", running()),
            Some(("PodInitializing", "sidecar mesh runs, and its startup probe has not succeeded", false)),
        ),
        (
            started(initializing(on_node(&sidecar)).init_container("mesh", running())),
            Some(("ContainerCreating", "container task", false)),
        ),
    ];
    for (n, (pod, expected)) in rows.into_iter().enumerate() {
        let stage = PodSnapshot::of(&pod).unwrap().stage;
        let Some((reason, said, init_runs)) = expected else {
            assert_eq!(stage, None, "row {n}");
            continue;
        };
        let stage = stage.unwrap_or_else(|| panic!("row {n}"));
        assert_eq!((stage.hold_up.reason.as_str(), stage.init_runs), (reason, init_runs), "row {n}");
        assert!(stage.hold_up.message.as_deref().unwrap().contains(said), "row {n}: {stage:?}");
    }
}
