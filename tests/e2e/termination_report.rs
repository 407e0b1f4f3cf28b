//! The environment of an attempt, and the termination report that it writes.

use crate::support::{Scene, kubectl_with, sh};
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, State};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::trace_context::traceparent;
use serde_json::json;

/// Ends with `code` and `message` as the termination message.
fn says(message: &str, code: i32) -> String {
    format!("echo '{message}' > /dev/termination-log; exit {code}")
}

#[tokio::test]
async fn a_pods_environment_has_its_attempt_and_the_last_failure() {
    let scene = Scene::new("told").await;
    let _operator = scene.operator().await;
    let script = "echo $RETRYABLE_TASK_NAME $RETRYABLE_TASK_UID $RETRYABLE_ATTEMPT of $RETRYABLE_MAX_RETRIES \
                  after ${RETRYABLE_LAST_EXIT_CODE-none} ${RETRYABLE_LAST_REASON-none} $TRACEPARENT $GREETING; exit 4";
    let greeting = json!([{"name": "GREETING", "value": "hello $(RETRYABLE_TASK_NAME)"}]);
    let spec = json!({"maxRetries": 1, "env": greeting, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}});
    scene.apply(&sh("told", script, &spec));
    let status = scene.finished("told").await;
    let uid = scene.task("told").await.metadata.uid.unwrap();
    let recorded: Vec<&str> = status.history.iter().filter_map(|entry| entry.message.as_deref()).collect();
    let expected = |n: i32, last: &str| format!("told {uid} {n} of 1 after {last} {} hello told", traceparent(&uid, n));
    assert_eq!(recorded, [expected(1, "none none"), expected(2, "4 Error")]);
}

#[tokio::test]
async fn a_task_can_return_do_not_retry() {
    let scene = Scene::new("no-retry").await;
    let _operator = scene.operator().await;
    let message = r#"{"doNotRetry": true, "errorType": "BadInput", "message": "line 7 is no order"}"#;
    scene.apply(&sh("bad-input", &says(message, 65), &json!({})));
    let status = scene.finished("bad-input").await;
    let [only] = status.history.as_slice() else { panic!("{:#?}", status.history) };
    assert_eq!((only.action, only.rule.as_deref()), (Action::Fail, Some("doNotRetry")));
    assert_eq!(only.error_type.as_deref(), Some("BadInput"));
    assert_eq!(only.message.as_deref(), Some("line 7 is no order"));
    let failed = condition_list::find(&status.conditions, ConditionType::Failed).unwrap();
    assert_eq!(failed.reason, "DoNotRetry");
    let end = "attempt 1 returned doNotRetry; the last ended with Error, exit code 65: line 7 is no order";
    assert_eq!(failed.message, end);
    assert_eq!(scene.event("bad-input", "DoNotRetry").await, end);
}

#[tokio::test]
async fn a_task_can_return_a_delay_and_a_result() {
    let scene = Scene::new("later").await;
    let _operator = scene.operator().await;
    let slow_down = says(r#"{"retryAfterSeconds": 4, "errorType": "RateLimit"}"#, 1);
    let done = says(r#"{"result": {"orders": 12}}"#, 0);
    let script = format!("if test $RETRYABLE_ATTEMPT = 1; then {slow_down}; else {done}; fi");
    scene.apply(&sh("later", &script, &json!({})));
    let status = scene.finished("later").await;
    assert_eq!(status.state, Some(State::Succeeded));
    assert_eq!(status.result.as_deref(), Some(r#"{"orders":12}"#));
    let wait = status.history[0].delay_milliseconds.unwrap();
    assert!((4000..=5000).contains(&wait), "asked for 4 s, which are spread upwards by a quarter: {wait} ms");
    assert_eq!(status.history[0].error_type.as_deref(), Some("RateLimit"));
}

#[tokio::test]
async fn a_task_can_succeed_in_part_by_its_report_or_by_a_rule() {
    let scene = Scene::new("in-part").await;
    let _operator = scene.operator().await;
    let report = r#"{"partial": {"failed": 3, "total": 100}, "result": 97}"#;
    let rule = json!({"rules": [{"name": "some-rows", "when": {"exitCodes": [3]}, "action": "Complete"}],
        "onFailure": {"args": ["false"]}});
    scene.apply(&sh("by-report", &says(report, 0), &json!({})));
    scene.apply(&sh("by-rule", &says(report, 3), &rule));
    let ends = [
        ("by-report", "attempt 1 succeeded in part: 3 of 100 failed".to_owned()),
        (
            "by-rule",
            format!(
                "attempt 1 matched rule some-rows, whose action is Complete: 3 of 100 failed; the last ended with Error, \
                 exit code 3: {report}"
            ),
        ),
    ];
    for (name, message) in ends {
        let status = scene.finished(name).await;
        assert_eq!((status.state, status.result.as_deref()), (Some(State::Succeeded), Some("97")), "{name}");
        let complete = condition_list::find(&status.conditions, ConditionType::Complete).unwrap();
        assert_eq!((complete.reason.as_str(), complete.message.as_str()), ("PartiallySucceeded", message.as_str()));
        assert_eq!((status.fallback, status.last_failure), (None, None), "{name}: it is no failure");
        assert_eq!(scene.event(name, "PartiallySucceeded").await, message);
    }
}

#[tokio::test]
async fn a_checkpoint_survives_failure_suspension_restart_and_another_run() {
    let scene = Scene::new("checkpoint").await;
    let operator = scene.operator().await;
    let script = r#"
        say() { printf '{"checkpoint": {"row": %s}, "message": "got %s"}' "$1" "$(echo "${RETRYABLE_CHECKPOINT-nothing}" | tr -d '"{}')" > /dev/termination-log; }
        case $RETRYABLE_ATTEMPT in
            1) say 1; exit 1 ;;
            2) trap 'say 2; exit 143' TERM; touch /dev/shm/ready; while :; do sleep 0.1; done ;;
            3) printf '{"message": "got %s"}' "$(echo $RETRYABLE_CHECKPOINT | tr -d '"{}')" > /dev/termination-log; exit 1 ;;
            *) test -z "$RETRYABLE_CHECKPOINT" ;;
        esac"#;
    let spec = json!({"maxRetries": 1, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}});
    scene.apply(&sh("rows", script, &spec));
    let pod = scene.running("rows", 2).await;
    scene.ready(&pod.name_any()).await;
    scene.patch_spec("rows", &json!({"suspend": true}));
    let suspended = scene.status("rows", "its suspension", |status| status.state == Some(State::Suspended)).await;
    assert_eq!(suspended.checkpoint.as_deref(), Some(r#"{"row":2}"#));
    operator.kill_9();
    let _operator = scene.operator().await;
    scene.patch_spec("rows", &json!({"suspend": false}));
    let status = scene.finished("rows").await;
    let said: Vec<&str> = status.history.iter().filter_map(|entry| entry.message.as_deref()).collect();
    assert_eq!(said, ["got nothing", "got row:1", "got row:2"]);
    assert_eq!((status.state, status.checkpoint.as_deref()), (Some(State::Failed), Some(r#"{"row":2}"#)));
    scene.ask("rows", "run-again", "1 from-start");
    let again = scene.status("rows", "its success", |status| status.state == Some(State::Succeeded)).await;
    assert_eq!((again.attempts, again.checkpoint), (4, None));
}

/// As `kubectl drain` asks for it.
fn evict(scene: &Scene, pod: &str) {
    let metadata = json!({"name": pod, "namespace": scene.namespace});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", scene.namespace);
    kubectl_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string()).ok();
}

#[tokio::test]
async fn a_checkpoint_survives_a_raise_of_memory_and_evictions() {
    let scene = Scene::new("checkpoint-evicted").await;
    let _operator = scene.operator().await;
    // Out of memory; evicted, and it hears of that; evicted, and killed when its grace is over; done.
    let script = r#"
        got=$(echo "${RETRYABLE_CHECKPOINT-nothing}" | tr -d '"{}')
        say() { printf '{"checkpoint": {"row": %s}, "message": "got %s"}' "$1" "$got" > /dev/termination-log; }
        case $RETRYABLE_ATTEMPT in
            1) say 1; exec dd if=/dev/zero of=/dev/null bs=200M count=1 ;;
            2) trap 'say 2; exit 143' TERM; touch /dev/shm/ready; while :; do sleep 0.1; done ;;
            3) trap '' TERM; say 3; touch /dev/shm/ready; while :; do sleep 0.1; done ;;
            *) printf '{"message": "got %s"}' "$got" > /dev/termination-log; exit 3 ;;
        esac"#;
    let spec = json!({
        "maxRetries": 1, "rules": [{"name": "done", "when": {"exitCodes": [3]}, "action": "Fail"}],
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0},
        "resources": {"limits": {"memory": "16Mi"}}, "onOutOfMemory": {"memoryMultiplier": 2},
        "template": {"spec": {"terminationGracePeriodSeconds": 15}},
    });
    scene.apply(&sh("rows", script, &spec));
    for attempt in [2, 3] {
        let pod = scene.running("rows", attempt).await.name_any();
        scene.ready(&pod).await;
        evict(&scene, &pod);
    }
    let status = scene.finished("rows").await;
    let story: Vec<_> = status
        .history
        .iter()
        .map(|entry| (entry.reason.as_str(), entry.memory.as_deref(), entry.message.as_deref()))
        .collect();
    let expected = [
        ("OOMKilled", "16Mi", "got nothing"),
        ("EvictionByEvictionAPI", "32Mi", "Eviction API: evicting\ngot row:1"),
        ("EvictionByEvictionAPI", "32Mi", "Eviction API: evicting\ngot row:2"),
        ("Error", "32Mi", "got row:3"),
    ];
    assert_eq!(story, expected.map(|(reason, memory, message)| (reason, Some(memory), Some(message))));
    assert_eq!((status.retries, status.ignored, status.checkpoint.as_deref()), (1, 2, Some(r#"{"row":3}"#)));
}
