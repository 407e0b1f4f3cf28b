//! `after`: a task waits for others.

use crate::support::{Scene, eventually, sh};
use kube::ResourceExt;
use retryable_tasks::api::{ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

fn blocked(status: &RetryableTaskStatus) -> bool {
    status.state == Some(State::Blocked)
}

fn after(list: &Value) -> Value {
    json!({"after": list, "maxRetries": 0})
}

/// Reason and message of the condition Failed.
fn failure(status: &RetryableTaskStatus) -> (String, String) {
    let failed = condition_list::find(&status.conditions, ConditionType::Failed).unwrap();
    (failed.reason.clone(), failed.message.clone())
}

#[tokio::test]
async fn a_diamond_runs_in_its_order_with_the_results_across_a_restart() {
    let scene = Scene::new("after").await;
    let operator = scene.operator().await;
    let both = json!([{"task": "left"}, {"task": "right.2", "condition": "Finished"}]);
    let script = "test \"$RETRYABLE_AFTER_LEFT_RESULT/${RETRYABLE_AFTER_RIGHT_2_RESULT-none}\" = 12/none";
    scene.apply(&sh("last", script, &after(&both)));
    let waiting = scene.status("last", "its wait", blocked).await;
    let message =
        "waits for left, which must succeed, and does not exist; right.2, which must finish, and does not exist";
    assert_eq!((waiting.attempts, waiting.message.as_deref()), (0, Some(message)));
    let columns = scene.kubectl(&["get", "retryabletask", "last", "--no-headers"]).ok();
    assert!(columns.contains("Blocked") && columns.contains("DependencyPending"), "{columns}");
    let first = json!([{"task": "first"}]);
    scene.apply(&sh("left", "echo '{\"result\": 12}' > /dev/termination-log", &after(&first)));
    scene.apply(&sh("right.2", "exit 1", &after(&first)));
    scene.status("right.2", "its wait", blocked).await;
    operator.kill_9();
    let _operator = scene.operator().await;
    scene.apply(&sh("first", "true", &json!({})));
    let last = scene.finished("last").await;
    assert_eq!(last.state, Some(State::Succeeded), "{last:#?}");
    let (first, left) = (scene.finished("first").await, scene.finished("left").await);
    assert!(first.completion_time <= left.start_time && left.completion_time <= last.start_time);
    assert_eq!(scene.finished("right.2").await.state, Some(State::Failed));
}

#[tokio::test]
async fn a_failure_goes_down_the_chain_at_once_and_names_its_first_cause() {
    let scene = Scene::new("after-failed").await;
    let _operator = scene.operator().await;
    let fallback = json!({"after": [{"task": "load"}], "onFailure": {"args": ["true"]}});
    scene.apply(&sh("report", "true", &after(&json!([{"task": "transform"}]))));
    scene.apply(&sh("transform", "true", &fallback));
    scene.apply(&sh("tidy", "true", &after(&json!([{"task": "load", "condition": "Failed"}]))));
    for name in ["report", "transform", "tidy"] {
        scene.status(name, "its wait", blocked).await;
    }
    let report = r#"echo '{"doNotRetry": true, "message": "no input"}' > /dev/termination-log; exit 1"#;
    scene.apply(&sh("load", report, &json!({})));
    let first = "load: DoNotRetry: attempt 1 returned doNotRetry; the last ended with Error, exit code 1: no input";
    for (name, on) in [("transform", "load"), ("report", "transform")] {
        let status = scene.finished(name).await;
        let message = format!("{on}, which must succeed, has failed; the first cause: {first}");
        assert_eq!(failure(&status), ("DependencyFailed".into(), message.clone()));
        assert_eq!((status.attempts, status.fallback), (0, None));
        assert_eq!(scene.event(name, "DependencyFailed").await, message);
        assert!(scene.pods_of(name).await.is_empty());
    }
    assert_eq!(scene.finished("tidy").await.state, Some(State::Succeeded));
    // Repaired and run again, one after the other.
    scene.patch_spec("load", &json!({"command": ["true"]}));
    scene.ask("load", "run-again", "1");
    scene.ask("transform", "run-again", "1");
    for name in ["load", "transform"] {
        scene.status(name, "its success", |status| status.state == Some(State::Succeeded)).await;
    }
}

#[tokio::test]
async fn gone_replaced_too_late_and_in_a_circle() {
    let scene = Scene::new("after-never").await;
    let _operator = scene.operator().await;
    let slow = || sh("slow", "sleep 3600", &json!({"template": {"spec": {"terminationGracePeriodSeconds": 1}}}));
    scene.apply(&slow());
    scene.apply(&sh("of-slow", "true", &after(&json!([{"task": "slow"}]))));
    scene
        .status("of-slow", "its sight of slow", |status| status.after.iter().any(|seen| seen.task_uid.is_some()))
        .await;
    let late = json!({"after": [{"task": "never"}], "afterTimeoutSeconds": 3});
    scene.apply(&sh("late", "true", &late));
    scene.kubectl(&["delete", "retryabletask", "slow"]).ok();
    let (reason, message) = failure(&scene.finished("of-slow").await);
    assert_eq!(reason, "DependencyFailed");
    assert_eq!(message, "slow, which must succeed, is gone; the first cause: slow was deleted");
    assert_eq!(failure(&scene.finished("late").await).0, "DependencyTimeout");

    scene.apply(&sh("egg", "true", &after(&json!([{"task": "hen"}]))));
    scene.status("egg", "its wait", blocked).await;
    scene.apply(&sh("hen", "true", &after(&json!([{"task": "egg"}]))));
    let stalled = scene.status("hen", "its stall", |status| status.reason.as_deref() == Some("DependencyCycle")).await;
    let message = "these tasks wait for one another: hen -> egg -> hen; change spec.after of one of them";
    assert_eq!(stalled.message.as_deref(), Some(message));
    scene.patch_spec("hen", &json!({"after": null}));
    assert_eq!(scene.finished("egg").await.state, Some(State::Succeeded));
}

#[tokio::test]
async fn a_finished_task_outlives_its_time_to_live_while_another_waits_for_it() {
    let scene = Scene::new("after-ttl").await;
    let _operator = scene.operator().await;
    let two = json!([{"task": "short-lived"}, {"task": "gate"}]);
    scene.apply(&sh("waits", "true", &after(&two)));
    scene.status("waits", "its wait", blocked).await;
    scene.apply(&sh("short-lived", "true", &json!({"ttlSecondsAfterFinished": 0})));
    scene.status("waits", "the end of short-lived", |status| status.after.iter().any(|seen| seen.met)).await;
    assert_eq!(scene.task("short-lived").await.name_any(), "short-lived", "it is still there");
    scene.apply(&sh("gate", "true", &json!({})));
    assert_eq!(scene.finished("waits").await.state, Some(State::Succeeded));
    eventually("short-lived to be deleted", async || match scene.tasks().get_opt("short-lived").await.unwrap() {
        None => Ok(()),
        Some(task) => Err(format!("{:?}", task.status)),
    })
    .await;
}
