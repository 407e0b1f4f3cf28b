use super::*;
use crate::core::testing::{BuildEnd, BuildPod, end, pod_of, task, waiting};

fn pod() -> Pod {
    pod_of(&task(), 1)
}

fn outcome_of(pod: &Pod) -> Outcome {
    let Progress::Ended(outcome) = observe(pod).unwrap().progress else { panic!("{pod:?} has not ended") };
    outcome
}

/// The API server takes any text for most of them.
#[test]
fn the_words_of_a_pods_status_are_made_harmless_and_short() {
    let nasty = format!("\u{1b}[31mX{}", "y".repeat(5000));
    let is_plain = |text: &str| text.starts_with("Xy") && text.len() <= 128;
    let held_up =
        [pod().condition("PodScheduled", false, &nasty, &nasty, 1), pod().container("task", waiting(&nasty, ""))];
    for pod in held_up {
        let Progress::Pending(Some(HoldUp { reason, .. })) = observe(&pod).unwrap().progress else { panic!("{pod:?}") };
        assert!(is_plain(&reason), "{reason:?}");
    }
    let ended =
        [pod().ended(end(1).reason(&nasty)), pod().exit(1).because(&nasty, ""), pod().exit(1).disrupted(&nasty, 1)];
    for pod in ended {
        let reason = outcome_of(&pod).reason;
        assert!(is_plain(&reason), "{reason:?}");
    }
    let unnamed = pod().condition("PodScheduled", false, "\u{1b}[2J", "", 1);
    let Progress::Pending(Some(HoldUp { reason, .. })) = observe(&unnamed).unwrap().progress else {
        panic!("{unnamed:?}")
    };
    assert_eq!(reason, "Unschedulable");
}

#[test]
fn the_message_is_the_tasks_word_its_log_or_the_pods() {
    let evicted = |message: &str| pod().ended(end(1).saying(message)).because("Evicted", "low on disk");
    let cases = [
        (evicted("log line\n"), Some("log line")),
        (evicted(r#"{"message": "slow down", "errorType": "RateLimit"}"#), Some("slow down")),
        (evicted(r#"{"errorType": "RateLimit"}"#), Some(r#"{"errorType": "RateLimit"}"#)),
        (evicted(" \n"), Some("low on disk")),
        (pod().exit(1).disrupted("PreemptionByScheduler", 1), Some("the cluster says so")),
        (pod().exit(1), None),
    ];
    for (pod, message) in cases {
        assert_eq!(outcome_of(&pod).message.as_deref(), message);
    }
    let word = outcome_of(&evicted(r#"{"errorType": "RateLimit", "retryAfterSeconds": 30, "doNotRetry": true}"#)).word;
    assert_eq!(
        (word.error_type.as_deref(), word.retry_after_seconds, word.do_not_retry),
        (Some("RateLimit"), Some(30), true)
    );
    let result = outcome_of(&pod().ended(end(0).saying(r#"{"result": 5}"#))).word.result;
    assert_eq!(result.as_deref(), Some("5"));
}
