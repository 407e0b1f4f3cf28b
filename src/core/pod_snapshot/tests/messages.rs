use super::super::*;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, at, end, pod_of, task, waiting};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

fn pod() -> Pod {
    pod_of(&task(), 1)
}

fn outcome_of(pod: &Pod) -> Outcome {
    let Progress::Ended(outcome) = PodSnapshot::of(pod).unwrap().progress else { panic!("{pod:?} has not ended") };
    outcome
}

/// The API server takes any text for most of them.
#[test]
fn the_texts_of_a_pods_status_are_sanitized_and_cut() {
    let nasty = format!("\u{1b}[31mX{}", "y".repeat(5000));
    let is_plain = |text: &str| text.starts_with("Xy") && text.len() <= 128;
    let held_up =
        [pod().condition("PodScheduled", false, &nasty, &nasty, 1), pod().container("task", waiting(&nasty, ""))];
    for pod in held_up {
        let Progress::Pending(Some(HoldUp { reason, .. })) = PodSnapshot::of(&pod).unwrap().progress else {
            panic!("{pod:?}")
        };
        assert!(is_plain(&reason), "{reason:?}");
    }
    let ended =
        [pod().ended(end(1).reason(&nasty)), pod().exit(1).because(&nasty, ""), pod().exit(1).disrupted(&nasty, 1)];
    for pod in ended {
        let reason = outcome_of(&pod).reason;
        assert!(is_plain(&reason), "{reason:?}");
    }
    let unnamed = pod().condition("PodScheduled", false, "\u{1b}[2J", "", 1);
    let Progress::Pending(Some(HoldUp { reason, .. })) = PodSnapshot::of(&unnamed).unwrap().progress else {
        panic!("{unnamed:?}")
    };
    assert_eq!(reason, "Unschedulable");
}

#[test]
fn the_message_is_the_reports_the_logs_or_the_pods() {
    let evicted = |message: &str| pod().ended(end(1).saying(message)).because("Evicted", "low on disk");
    let said = |pod: &Pod| {
        let Outcome { cause, message, .. } = outcome_of(pod);
        (cause, message)
    };
    let both = |message: &str| (Some("low on disk".to_owned()), Some(message.to_owned()));
    let cases = [
        (evicted("log line\n"), both("log line")),
        (evicted(r#"{"message": "slow down", "errorType": "RateLimit"}"#), both("slow down")),
        (evicted(r#"{"errorType": "RateLimit"}"#), both(r#"{"errorType": "RateLimit"}"#)),
        (evicted(" \n"), (Some("low on disk".into()), None)),
        (pod().exit(1).disrupted("PreemptionByScheduler", 1), (Some("the cluster says so".into()), None)),
        (pod().exit(0).disrupted("PreemptionByScheduler", 1), (None, Some("the cluster says so".into()))),
        (pod().exit(1).because("", "words without a reason"), (None, Some("words without a reason".into()))),
        (pod().exit(1), (None, None)),
    ];
    for (pod, expected) in cases {
        assert_eq!(said(&pod), expected);
    }
    let word =
        outcome_of(&evicted(r#"{"errorType": "RateLimit", "retryAfterSeconds": 30, "doNotRetry": true}"#)).report;
    assert_eq!(
        (word.error_type().map(String::as_str), word.retry_after_seconds, word.do_not_retry),
        (Some("RateLimit"), Some(30), true)
    );
    let result = outcome_of(&pod().ended(end(0).saying(r#"{"result": 5}"#))).report.result;
    assert_eq!(result.as_deref(), Some("5"));
}

#[test]
fn unreadable_parts_of_a_report_are_reported() {
    let message = |text: &str| outcome_of(&pod().ended(end(1).saying(text))).message.unwrap();
    let late = message(r#"{"message": "row 7", "retryAfterSeconds": "soon"}"#);
    assert_eq!(late, "row 7\nretryAfterSeconds \"soon\" is not a number of seconds from 0 on: ignored");
    let lost = message(&format!("0{}\"}}", "0".repeat(4094)));
    let words =
        "the termination report was longer than 4,096 bytes: its beginning was cut off, and it could not be read\n";
    assert!(lost.starts_with(words), "{lost}");
    let four = task().template(json!({"spec": {"containers": [{"name": "b"}, {"name": "c"}, {"name": "d"}]}}));
    let report = format!(r#"{{"doNotRetry": true, "message": "row 7", "trace": "{}"#, "0".repeat(4096));
    let four = outcome_of(&pod_of(&four, 1).ended(end(1).saying(&report[..3072])));
    assert!(four.report.do_not_retry, "the members that are there count");
    assert!(four.message.unwrap().starts_with("row 7\nthe termination report was cut at 3,072 bytes"));
}

/// The runtime has 1970 as the start of a container that could not be started; a node's clock may be behind.
#[test]
fn times_are_not_before_the_pods_creation() {
    let started_in_1970 = |code| {
        let end = end(code).reason("StartError").at(9);
        BuildEnd::change(end, |end| end.started_at = Some(Time(Timestamp::UNIX_EPOCH)))
    };
    let main = pod().created(5).ended(started_in_1970(128));
    let snapshot = PodSnapshot::of(&main).unwrap();
    assert_eq!(
        (snapshot.started, outcome_of(&main).started, outcome_of(&main).finished),
        (Some(at(5)), Some(at(5)), at(9))
    );
    let setup = task().template(json!({"spec": {"initContainers": [{"name": "setup"}]}}));
    let init = pod_of(&setup, 1).created(5).on_node("n").phase("Failed");
    let init = outcome_of(&init.init_container("setup", started_in_1970(128).into_state()));
    assert_eq!((init.container.as_deref(), init.started, init.finished), (Some("setup"), Some(at(5)), at(9)));
    let behind = outcome_of(&pod().created(8).exit(3));
    assert_eq!((behind.started, behind.finished), (Some(at(8)), at(8)));
}

#[test]
fn a_pod_that_failed_before_any_container_ran_never_started() {
    let setup = || {
        let template = json!({"spec": {"initContainers": [{"name": "setup"}]}});
        pod_of(&task().template(template), 1).on_node("n").phase("Failed")
    };
    let rejected = || pod().on_node("n").phase("Failed").because("OutOfcpu", "Pod was rejected");
    let not_found = || end(137).reason("ContainerStatusUnknown").without_times().into_state();
    let with_id = |pod: Pod| {
        pod.change_status(|status| {
            status.container_statuses.as_mut().unwrap()[0].container_id = Some("containerd://1".into());
        })
    };
    let lost_sight_of = |pod: Pod| {
        pod.container("task", not_found()).change_status(|status| {
            status.container_statuses.as_mut().unwrap()[0].last_state = Some(not_found());
        })
    };
    let cases = [
        ("turned away", rejected(), true),
        ("evicted while it ran, and not found any more", lost_sight_of(rejected()), false),
        ("turned away, and later deleted", rejected().deleted_at(9), true),
        ("never seen to wait", rejected().container("task", waiting("ContainerCreating", "")), true),
        ("given up, with an end that the kubelet invented", rejected().container("task", not_found()), true),
        ("given up before it was found", with_id(rejected().container("task", not_found())), false),
        ("the command could not be run", pod().ended(end(128).reason("StartError")), false),
        ("ran", pod().exit(3), false),
        ("an init container failed", setup().init_container("setup", end(1).into_state()), false),
        ("its own deadline passed before", setup().because("DeadlineExceeded", "too long"), true),
        ("deleted before anything ran", pod().on_node("n").phase("Failed").deleted_at(9), false),
    ];
    for (what, pod, expected) in cases {
        assert_eq!(outcome_of(&pod).never_started, expected, "{what}");
    }
    let given_up = outcome_of(&rejected().container("task", not_found()));
    assert_eq!((given_up.exit_code, given_up.signal, given_up.container), (None, None, None), "nothing ran");
    assert_eq!(given_up.reason, "OutOfcpu");
}

#[test]
fn a_success_during_which_a_process_ran_out_of_memory_says_so() {
    let outcome = outcome_of(&pod().ended(end(0).reason("OOMKilled")));
    assert!(outcome.succeeded);
    assert_eq!((outcome.reason.as_str(), outcome.exit_code), ("OOMKilled", Some(0)));
    assert_eq!(outcome_of(&pod().ended(end(0).reason("Error"))).reason, "Completed", "other reasons change nothing");
}

#[test]
fn the_texts_of_an_end_can_be_dropped() {
    let report = r#"{"message": "row 7", "result": 5, "errorType": "Bad"}"#;
    let mut snapshot =
        PodSnapshot::of(&pod().ended(end(1).saying(report)).because("Evicted", "low").deleted_at(9)).unwrap();
    let deletion_deadline = snapshot.deletion_deadline.clone().unwrap().outcome;
    assert_eq!(deletion_deadline.texts(), [Some("low"), Some("row 7"), Some(report)]);
    snapshot.forget_texts();
    let Progress::Ended(ended) = snapshot.progress else { panic!("{snapshot:?}") };
    for outcome in [ended, snapshot.deletion_deadline.unwrap().outcome] {
        assert_eq!((outcome.texts(), &outcome.report), ([None; 3], &TerminationReport::default()));
    }
}
