use super::*;

/// What decides of an outcome, to be compared in one line: success, reason, exit code, signal, disruption.
#[derive(Debug, PartialEq)]
struct Gist(bool, String, Option<i32>, Option<i32>, bool);

fn gist(outcome: &Outcome) -> Gist {
    Gist(outcome.succeeded, outcome.reason.clone(), outcome.exit_code, outcome.signal, outcome.disrupted)
}

fn succeeded() -> Gist {
    Gist(true, "Completed".into(), Some(0), None, false)
}

fn failed(reason: &str, exit_code: Option<i32>, signal: Option<i32>) -> Gist {
    Gist(false, reason.into(), exit_code, signal, false)
}

fn disrupted(reason: &str, exit_code: Option<i32>, signal: Option<i32>) -> Gist {
    Gist(false, reason.into(), exit_code, signal, true)
}

#[test]
fn the_end_of_a_pod_is_read_from_code_signal_reasons_and_conditions() {
    let killed = || end(137).at(40);
    let cases: Vec<(&str, Pod, Gist)> = vec![
        ("exit 0", pod().exit(0), succeeded()),
        ("exit 3", pod().exit(3), failed("Error", Some(3), None)),
        ("OOM", pod().ended(killed().reason("OOMKilled")), failed("OOMKilled", Some(137), Some(9))),
        ("137 and no more is only a suspicion", pod().ended(killed()), failed("Error", Some(137), Some(9))),
        ("exit 143 is SIGTERM", pod().exit(143), failed("Error", Some(143), Some(15))),
        ("exit 192 is signal 64", pod().exit(192), failed("Error", Some(192), Some(64))),
        ("exit 128 is not a signal", pod().exit(128), failed("Error", Some(128), None)),
        ("exit 255 is not a signal", pod().exit(255), failed("Error", Some(255), None)),
        ("a negative exit code is not a signal", pod().exit(-1), failed("Error", Some(-1), None)),
        ("a Windows exception", pod().exit(i32::MIN + 3), failed("Error", Some(i32::MIN + 3), None)),
        ("the runtime's word on the signal", pod().ended(end(1).signal(11)), failed("Error", Some(1), Some(11))),
        ("signal 0 is none", pod().ended(end(1).signal(0)), failed("Error", Some(1), None)),
        ("the binary is not there", pod().ended(end(128).reason("StartError")), failed("StartError", Some(128), None)),
        (
            "drain",
            pod().ended(killed()).deleted_at(10).disrupted("EvictionByEvictionAPI", 10),
            disrupted("EvictionByEvictionAPI", Some(137), Some(9)),
        ),
        (
            "Kueue preempts",
            pod().ended(killed()).deleted_at(10).condition("TerminationTarget", true, "WorkloadEvicted", "", 10),
            disrupted("WorkloadEvicted", Some(137), Some(9)),
        ),
        (
            "Kueue was about to, and the work is done",
            pod().exit(0).deleted_at(1).condition("TerminationTarget", true, "WorkloadEvicted", "", 1),
            Gist(true, "Completed".into(), Some(0), None, true),
        ),
        (
            "a TerminationTarget that is not true says nothing",
            pod().exit(3).condition("TerminationTarget", false, "WorkloadEvicted", "", 1),
            failed("Error", Some(3), None),
        ),
        (
            "preemption",
            pod().ended(killed()).deleted_at(10).disrupted("PreemptionByScheduler", 10),
            disrupted("PreemptionByScheduler", Some(137), Some(9)),
        ),
        (
            "taint",
            pod().ended(end(143).at(12)).deleted_at(10).disrupted("DeletionByTaintManager", 10),
            disrupted("DeletionByTaintManager", Some(143), Some(15)),
        ),
        (
            "Pod GC: the node is gone, its container was last seen running",
            pod().running().phase("Failed").disrupted("DeletionByPodGC", 10),
            disrupted("DeletionByPodGC", None, None),
        ),
        (
            "node pressure",
            pod().ended(killed()).because("Evicted", "low on memory").disrupted("TerminationByKubelet", 10),
            disrupted("Evicted", Some(137), Some(9)),
        ),
        (
            "over its own ephemeral storage: its own fault",
            pod().ended(killed()).because("Evicted", "exceeds local storage"),
            failed("Evicted", Some(137), Some(9)),
        ),
        (
            "a DisruptionTarget that is not true says nothing",
            pod().exit(3).condition("DisruptionTarget", false, "PreemptionByScheduler", "", 1),
            failed("Error", Some(3), None),
        ),
        (
            "refused by the kubelet before there was a container",
            pod().on_node("node-1").phase("Failed").because("OutOfcpu", "not enough cpu"),
            failed("OutOfcpu", None, None),
        ),
        ("failed without a word", pod().on_node("node-1").phase("Failed"), failed("Error", None, None)),
        (
            "the Pod's own deadline, and SIGTERM answered with 0",
            pod().ended(end(0)).phase("Failed").because("DeadlineExceeded", "too long"),
            failed("PodDeadlineExceeded", Some(0), None),
        ),
        (
            "evicted, and SIGTERM answered with 0",
            pod().ended(end(0).at(11)).phase("Failed").because("Evicted", "").disrupted("TerminationByKubelet", 10),
            disrupted("Evicted", Some(0), None),
        ),
        (
            "done just before the eviction",
            pod().ended(end(0).at(9)).phase("Failed").because("Evicted", "").disrupted("TerminationByKubelet", 10),
            Gist(true, "Completed".into(), Some(0), None, true),
        ),
        (
            "a drain answered with 0 is success, as in a Job",
            pod().ended(end(0).at(12)).deleted_at(10).disrupted("EvictionByEvictionAPI", 10),
            Gist(true, "Completed".into(), Some(0), None, true),
        ),
    ];
    for (what, pod, expected) in cases {
        assert_eq!(gist(&outcome_of(&pod)), expected, "{what}");
    }
}

#[test]
fn the_reason_of_a_pod_that_was_deleted() {
    let cases = [
        ("died of the SIGKILL", pod().ended(end(137).at(40)).deleted_at(10), "PodDeleted"),
        ("died of the SIGTERM, in the same second", pod().ended(end(143).at(10)).deleted_at(10), "PodDeleted"),
        ("no time is known", pod().ended(end(143).without_times()).deleted_at(10), "PodDeleted"),
        ("had been killed before", pod().ended(end(137).at(9)).deleted_at(10), "Error"),
        ("its own exit code on SIGTERM", pod().ended(end(3).at(12)).deleted_at(10), "Error"),
        ("out of memory while it ended", pod().ended(end(137).at(12).reason("OOMKilled")).deleted_at(10), "OOMKilled"),
        ("its container was never seen to end", pod().running().phase("Failed").deleted_at(10), "PodDeleted"),
    ];
    for (what, pod, reason) in cases {
        assert_eq!(outcome_of(&pod).reason, reason, "{what}");
    }
}

#[test]
fn a_pod_deleted_before_it_has_a_node_has_ended() {
    let outcome = outcome_of(&pod().deleted_at(10));
    assert_eq!(gist(&outcome), failed("PodDeleted", None, None));
    assert_eq!(outcome.finished, at(10));
    let preempted = outcome_of(&pod().deleted_at(10).disrupted("PreemptionByScheduler", 10));
    assert_eq!(gist(&preempted), disrupted("PreemptionByScheduler", None, None));

    let bound = pod().deleted_at(10).on_node("node-1");
    assert_eq!(progress_of(&bound), Progress::Pending(None), "a kubelet will end it");
    let running = pod().running().deleted_at(10);
    assert_eq!(progress_of(&running), Progress::Running, "a terminating Pod has not failed");
}

#[test]
fn the_container_that_decides() {
    let started = || crowded_pod().init_container("setup", end(0).into_state()).init_container("mesh", running());
    let cases: Vec<(&str, Pod, Option<&str>, Option<i32>)> = vec![
        (
            "an init container failed",
            crowded_pod().on_node("n").phase("Failed").init_container("setup", end(7).into_state()),
            Some("setup"),
            Some(7),
        ),
        (
            "the init container before the main one",
            started().on_node("n").phase("Failed").container("task", end(4).into_state()),
            Some("task"),
            Some(4),
        ),
        (
            "another container's failure is not the task's",
            started().exit(0).phase("Failed").container("proxy", end(1).into_state()),
            Some("task"),
            Some(0),
        ),
        (
            "another container's success is not the task's",
            started().exit(5).container("proxy", end(0).into_state()),
            Some("task"),
            Some(5),
        ),
        (
            "a native sidecar killed at the end is not the task",
            started().exit(0).init_container("mesh", end(137).into_state()),
            Some("task"),
            Some(0),
        ),
        (
            "a native sidecar's crash does not speak for a main container that was never seen to end",
            started().running().phase("Failed").init_container("mesh", end(2).into_state()),
            None,
            None,
        ),
        (
            "nor does another ordinary container's",
            started().running().phase("Failed").container("proxy", end(2).into_state()),
            None,
            None,
        ),
    ];
    for (what, pod, container, code) in cases {
        let outcome = outcome_of(&pod);
        assert_eq!((outcome.container.as_deref(), outcome.exit_code), (container, code), "{what}");
        assert_eq!(outcome.succeeded, code == Some(0), "{what}");
    }
}

#[test]
fn a_sidecars_report_is_ignored() {
    let crash = end(2).saying(r#"{"doNotRetry": true}"#).into_state();
    let pod = crowded_pod().running().phase("Failed").init_container("mesh", crash);
    assert!(!outcome_of(&pod).report.do_not_retry);
}

#[test]
fn where_all_containers_decide_each_must_start_end_and_succeed() {
    let template = json!({"spec": {
        "containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}, {"name": "c", "image": "c"}],
        "initContainers": [{"name": "mesh", "image": "mesh", "restartPolicy": "Always"}],
    }});
    let of = |completion: &str| {
        let spec = json!({"template": template, "completion": completion});
        pod_of(&task_with(spec), 1).on_node("n").phase("Running").init_container("mesh", running())
    };
    let all = || of("AllContainers");
    let states = |pod: Pod, states: [ContainerState; 3]| {
        ["a", "b", "c"].iter().zip(states).fold(pod, |pod, (name, state)| pod.container(name, state))
    };
    let ended = |code: i32, at: i64| end(code).at(at).into_state();
    let went = |pod: Pod| outcome_of(&pod.phase("Failed"));

    let a_runs = || states(all(), [running(), waiting("ImagePullBackOff", "no such image"), running()]);
    assert!(matches!(progress_of(&a_runs()), Progress::Pending(Some(_))), "one has not started");
    let b_runs = || states(all(), [ended(0, 4), running(), ended(7, 5)]);
    assert_eq!(progress_of(&b_runs()), Progress::Running, "none is stopped because another has ended");
    assert_eq!(PodSnapshot::of(&b_runs()).unwrap().still_running, [""; 0]);

    let outcome = outcome_of(&states(all(), [ended(0, 4), ended(0, 6), ended(0, 5)]).phase("Succeeded"));
    assert_eq!((gist(&outcome), outcome.container.as_deref()), (succeeded(), Some("a")));
    let outcome = went(states(all(), [ended(0, 4), ended(9, 8), ended(7, 6)]));
    assert_eq!(
        (gist(&outcome), outcome.container.as_deref()),
        (failed("Error", Some(7), None), Some("c")),
        "the first"
    );
    let outcome = went(states(all(), [ended(3, 9), ended(9, 9), ended(0, 4)]));
    assert_eq!(outcome.container.as_deref(), Some("a"), "at the same time: the main one");
    let waits = || waiting("ContainerCreating", "");
    let outcome = went(states(all(), [ended(0, 4), ended(0, 4), waits()]).because("Evicted", "low on memory"));
    assert_eq!((outcome.succeeded, &*outcome.reason), (false, "Evicted"), "one of them did not come to its end");
    let outcome = went(states(all(), [ended(0, 4), running(), ended(7, 5)]).because("Evicted", "low on memory"));
    assert_eq!(outcome.exit_code, Some(7), "the failure of one is enough");

    let main_alone = || states(of("MainContainer"), [ended(0, 4), running(), ended(7, 5)]);
    assert!(matches!(progress_of(&main_alone()), Progress::MainContainerExited(outcome) if outcome.succeeded));
    assert_eq!(PodSnapshot::of(&main_alone()).unwrap().still_running, ["b"]);
}

#[test]
fn the_finish_time_of_a_pod() {
    let unready = |pod: Pod| pod.condition("Ready", false, "PodFailed", "", 21);
    let lost = || pod().created(1).on_node("node-1").phase("Failed");
    let cases = [
        ("the main container's end", pod().exit(3), 4),
        ("the latest container", unready(pod().exit(3).container("proxy", end(0).at(17).into_state())), 17),
        ("an init container", pod().on_node("n").phase("Failed").init_container("setup", end(1).at(6).into_state()), 6),
        ("no container's: unready", unready(lost()), 21),
        ("a Pod that was never ready, and deleted later", unready(lost()).deleted_at(30), 30),
        (
            "a Pod that is ready to this day does not count",
            lost().condition("Ready", true, "", "", 21).deleted_at(30),
            30,
        ),
        ("no more than a deletion: when it began", lost().deleted_at(30), 30),
        ("nothing: its creation", lost(), 1),
    ];
    for (what, pod, finished) in cases {
        assert_eq!(outcome_of(&pod).finished, at(finished), "{what}");
    }
}

#[test]
fn times_are_those_of_the_container_that_decides() {
    let outcome = outcome_of(&pod().exit(3));
    assert_eq!((outcome.started, outcome.finished), (Some(time(2).0), at(4)));
    assert_eq!(outcome_of(&pod().on_node("n").phase("Failed")).started, None);
}
