//! Attempts that cannot start, run, or are being stopped; fallbacks.

use super::*;

pub(super) fn standstill_cases() -> Vec<Case> {
    let tries = json!({"rejections": 3, "nextCreateTime": second(120)});
    let again = format!("3 tries so far, the next is at {:.0}, in 20s", at(120));
    let pod = format!("Attempt 2 has not started: Pod {POD}, created 12s ago, waits, because");
    vec![
        case(
            "PodRejected",
            json!({}),
            stalled("PodRejected", "pods \"x\" is forbidden:\nexceeded quota", &tries),
            format!("Attempt 2 cannot start, because the API server rejects its Pod: pods \"x\" is forbidden: exceeded quota; {again}"),
        )
        .hint("It goes on by itself once that is over: change what it objects to."),
        case(
            "PodRejected, with a limit",
            json!({"startupTimeoutSeconds": 60}),
            stalled("PodRejected", "exceeded quota", &tries),
            format!("Attempt 2 cannot start, because the API server rejects its Pod: exceeded quota; {again}"),
        )
        .hint("It goes on by itself once that is over: change what it objects to.")
        .hint("The attempt fails if it has not started within 60 s (startupTimeoutSeconds)."),
        case(
            "stalled by another version",
            json!({}),
            stalled("Melted", "too hot", &json!({})),
            "Attempt 2 cannot start: Melted: too hot",
        ),
        case(
            "FailedCreate",
            json!({}),
            stalled("FailedCreate", "no answer", &json!({"rejections": 1, "nextCreateTime": second(99)})),
            "Attempt 2 cannot start, because its Pod cannot be created now: no answer; 1 try so far, the next is due",
        )
        .hint("It goes on by itself once that is over: wait, or look at the API server."),
        case(
            "PodNameConflict",
            json!({}),
            stalled("PodNameConflict", "Pod x belongs to others", &tries),
            format!("Attempt 2 cannot start, because the name of its Pod is taken: Pod x belongs to others; {again}"),
        )
        .hint("It goes on by itself once that is over: delete the other Pod."),
        case(
            "InvalidSpec",
            json!({}),
            stalled("InvalidSpec", "spec.rules: unknown signal FOO", &json!({"podName": null})),
            "Attempt 2 cannot start, because the spec is not valid: spec.rules: unknown signal FOO",
        )
        .hint("Change the spec; the task then goes on by itself."),
        case(
            "QueueMissing",
            mail(),
            stalled("QueueMissing", "there is no TaskQueue mail in namespace default", &json!({"podName": null})),
            "Attempt 2 cannot start: there is no TaskQueue mail in namespace default",
        ),
        case(
            "DependencyCycle",
            json!({}),
            stalled("DependencyCycle", "these tasks wait for one another: a -> b -> a", &json!({"podName": null})),
            "Attempt 2 cannot start: these tasks wait for one another: a -> b -> a",
        ),
        case("Unschedulable", json!({}), held_up("Unschedulable", "0/3 nodes are available"), format!("{pod} no node takes it: 0/3 nodes are available")).hint(NO_LIMIT).hint(REPLACE),
        case("Unscheduled", json!({}), held_up("Unscheduled", "no node has been assigned to the Pod"), format!("{pod} no node has been assigned yet")).hint(NO_LIMIT).hint(REPLACE),
        case("SchedulingGated", json!({}), held_up("SchedulingGated", "the Pod waits for its scheduling gates to be removed: g"), format!("{pod} the Pod waits for its scheduling gates to be removed: g")).hint(REPLACE),
        case("ContainerCreating", json!({}), held_up("ContainerCreating", "container task is being created on node n"), format!("{pod} container task is being created on node n")).hint(DEFAULT_LIMIT).hint(REPLACE),
        case("PodInitializing", json!({}), held_up("PodInitializing", "init container i is running"), format!("{pod} init container i is running")).hint(DEFAULT_LIMIT).hint(REPLACE),
        case("ImagePullBackOff", json!({"startupTimeoutSeconds": 60}), held_up("ImagePullBackOff", "Back-off pulling image"), format!("{pod} its image cannot be pulled (ImagePullBackOff): Back-off pulling image"))
            .hint("The attempt fails if it has not started within 60 s (startupTimeoutSeconds).")
            .hint(REPLACE),
        case("FailedMount", json!({}), held_up("FailedMount", "no such volume"), format!("{pod} FailedMount: no such volume")).hint(DEFAULT_LIMIT).hint(REPLACE),
    ]
}

pub(super) fn running_cases() -> Vec<Case> {
    let limits = || json!({"attemptTimeoutSeconds": 10, "activeDeadlineSeconds": 60});
    let stop =
        |because: &str| format!("Attempt 2 has been stopping for 5s, because {because}: its Pod {POD} has yet to end");
    let none = json!({});
    vec![
        case(
            "Running",
            json!({"attemptTimeoutSeconds": 60}),
            json!({"state": "Running", "current": attempt(&none)}),
            format!("Attempt 2 runs in Pod {POD}, created 12s ago"),
        )
        .hint("It is stopped once its main container has run 60 s (attemptTimeoutSeconds)."),
        case(
            "Running after a failure",
            json!({}),
            json!({"state": "Running", "current": attempt(&none), "retries": 1, "lastFailure": failure()}),
            format!(
                "Attempt 2 runs in Pod {POD}, created 12s ago; attempt 1 ended with Error, exit code 3: connection refused, and 1 of 3 retries are charged"
            ),
        ),
        case("Suspended (stopping)", json!({}), stopping("Suspended", &none), stop("the task was suspended")),
        case(
            "TaskEnded",
            json!({}),
            stopping("TaskEnded", &none),
            stop("its main container has ended and others still run"),
        ),
        case(
            "AttemptTimeout",
            limits(),
            stopping("AttemptTimeout", &none),
            stop("it ran longer than attemptTimeoutSeconds (10 s)"),
        ),
        case(
            "StartupTimeout",
            json!({}),
            stopping("StartupTimeout", &json!({"stopCause": "ErrImagePull", "stopMessage": "not found"})),
            stop("it did not start in time (ErrImagePull): not found"),
        ),
        case(
            "DeadlineExceeded",
            limits(),
            stopping("DeadlineExceeded", &none),
            stop("the task took longer than activeDeadlineSeconds (60 s)"),
        ),
        case("Cancelled (stopping)", json!({}), stopping("Cancelled", &none), stop("the task was cancelled")),
        case(
            "SpecChanged",
            json!({}),
            stopping("SpecChanged", &none),
            stop("its Pod had not started and no longer matches the spec"),
        ),
        case(
            "RetryNow",
            json!({}),
            stopping("RetryNow", &none),
            stop("its Pod had not started, and a retry was requested"),
        ),
        case(
            "QueueDrained",
            mail(),
            stopping("QueueDrained", &json!({"queue": {"name": "mail"}})),
            stop("stopPolicy of TaskQueue mail is HoldAndDrain"),
        ),
        case(
            "stopped by another version",
            json!({}),
            stopping("Melted", &none),
            stop("another version of the operator says so"),
        ),
        case(
            "Unknown",
            json!({}),
            json!({"state": "Dreaming", "current": attempt(&none)}),
            format!("Attempt 2 runs in Pod {POD}, created 12s ago"),
        ),
    ]
}

const FALLBACK_LIMIT: &str = "The fallback fails if it has not started within 600 s (startupTimeoutSeconds).";

pub(super) fn fallback_cases() -> Vec<Case> {
    let target =
        || json!([condition("FailureTarget", true, "RetriesExhausted", "maxRetries (3) exhausted after 4 attempts")]);
    let fallback = |more: Value| {
        json!({"fallback": true, "number": 4, "podName": more.get("podName").cloned().unwrap_or(Value::Null),
        "createTime": second(88), "holdUp": more.get("holdUp").cloned().unwrap_or(Value::Null)})
    };
    let failed = "the task has failed: RetriesExhausted: maxRetries (3) exhausted after 4 attempts";
    vec![
        case(
            "the fallback runs",
            mail(),
            json!({"state": "Running", "conditions": target(), "current": fallback(json!({"podName": "f"})), "lastFailure": failure()}),
            format!("The fallback runs in Pod f, created 12s ago; {failed}"),
        ),
        case(
            "the fallback is held up",
            json!({}),
            json!({"state": "Pending", "conditions": target(), "current": fallback(json!({"podName": "f", "holdUp": {"reason": "Unschedulable"}}))}),
            format!("The fallback has not started: Pod f, created 12s ago, waits, because no node takes it; {failed}"),
        )
        .hint(FALLBACK_LIMIT),
        case(
            "the fallback is rejected",
            json!({}),
            json!({"state": "Pending", "conditions": [target()[0], condition("Stalled", true, "PodRejected", "exceeded quota")],
                "current": {"fallback": true, "number": 4, "podName": "f", "rejections": 2, "nextCreateTime": second(120)}}),
            format!("The fallback cannot start, because the API server rejects its Pod: exceeded quota; 2 tries so far, the next is at {:.0}, in 20s", at(120)),
        )
        .hint("It goes on by itself once that is over: change what it objects to.")
        .hint(FALLBACK_LIMIT),
        case(
            "the fallback is stopped",
            json!({"attemptTimeoutSeconds": 10}),
            json!({"state": "Running", "conditions": target(),
                "current": {"fallback": true, "number": 4, "podName": "f", "stopReason": "Cancelled", "stopTime": second(95)}}),
            "The fallback has been stopping for 5s, because the task was cancelled: its Pod f has yet to end",
        ),
        case(
            "the fallback is due",
            mail(),
            json!({"state": "Pending", "conditions": target(), "current": fallback(json!({}))}),
            "The fallback is due, and about to start",
        ),
        case(
            "the fallback is suspended",
            json!({"suspend": true}),
            json!({"state": "Suspended", "conditions": target(), "current": fallback(json!({}))}),
            format!("It has been suspended, and the fallback starts once it is resumed; {failed}"),
        )
        .hint(RESUME),
    ]
}
