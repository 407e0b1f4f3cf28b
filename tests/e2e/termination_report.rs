//! The environment of an attempt, and the termination report that it writes.

use crate::support::{Scene, sh};
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
