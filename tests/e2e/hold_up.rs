//! Why an attempt has not started, taken from the Pod's Events where only they say it.

use crate::support::events::failed;
use crate::support::manifest::IMAGE;
use crate::support::record::Record;
use crate::support::{Scene, sh};
use retryable_tasks::api::{Action, ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

/// A task whose Pod needs a volume that does not exist.
fn without_its_volume(name: &str, more: &Value) -> Value {
    let mut manifest = sh(name, "true", more);
    manifest["spec"]["template"] = json!({"spec": {
        "containers": [{"name": "task", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "configMap": {"name": "missing"}}]}});
    manifest
}

fn held_up_by(reason: &'static str) -> impl Fn(&RetryableTaskStatus) -> bool {
    move |status| status.state == Some(State::Pending) && status.reason.as_deref() == Some(reason)
}

#[tokio::test]
async fn a_missing_volume_is_shown_and_is_the_reason_of_the_failure() {
    let scene = Scene::new("no-volume").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "hanging").await;
    scene.apply(&without_its_volume("hanging", &json!({"maxRetries": 0, "startupTimeoutSeconds": 40})));
    let status = scene.status("hanging", "why it hangs", held_up_by("FailedMount")).await;
    let output = r#"configmap "missing" not found"#;
    assert!(status.message.as_deref().unwrap_or_default().contains(output), "{status:#?}");
    let condition = condition_list::find(&status.conditions, ConditionType::AttemptStarted).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "FailedMount"));
    assert!(scene.event("hanging", "AttemptNotStarting").await.contains(output));
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    let entry = &status.history[0];
    assert_eq!(
        (entry.reason.as_str(), entry.rule.as_deref(), entry.action),
        ("FailedMount", Some("startup"), Action::Fail)
    );
    assert!(entry.message.as_deref().unwrap_or_default().contains(output), "{entry:#?}");
    assert!(failed(status).1.contains(output), "{status:#?}");
    assert!(condition_list::find(&status.conditions, ConditionType::AttemptStarted).is_none());
    let recorded = scene.events("hanging").await;
    let recorded = recorded.iter().filter(|event| event.reason.as_deref() == Some("AttemptNotStarting"));
    assert_eq!(recorded.count(), 1);
}

#[tokio::test]
async fn a_hold_up_is_cleared_when_its_attempt_ends() {
    let scene = Scene::new("volume-comes").await;
    let _operator = scene.operator().await;
    scene.apply(&without_its_volume("hanging", &json!({})));
    scene.status("hanging", "why it hangs", held_up_by("FailedMount")).await;
    scene.kubectl(&["create", "configmap", "missing"]).ok();
    let status = scene.finished("hanging").await;
    assert_eq!((status.state, status.attempts, status.reason), (Some(State::Succeeded), 1, None));
    assert!(condition_list::find(&status.conditions, ConditionType::AttemptStarted).is_none());
}

#[tokio::test]
async fn the_init_container_or_sidecar_that_is_not_ready_is_named() {
    let scene = Scene::new("init-hangs").await;
    let _operator = scene.operator().await;
    let container = |name: &str| json!({"name": name, "image": IMAGE, "command": ["sleep", "infinity"]});
    let mut sidecar = container("proxy");
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"exec": {"command": ["false"]}, "periodSeconds": 2, "failureThreshold": 1000});
    let with =
        |init: Value| json!({"template": {"spec": {"terminationGracePeriodSeconds": 1, "initContainers": [init]}}});
    scene.apply(&sh("init", "true", &with(container("wait-for-it"))));
    scene.apply(&sh("sidecar", "true", &with(sidecar)));
    let init = scene.status("init", "what it waits for", held_up_by("PodInitializing")).await;
    assert_eq!(init.message.as_deref(), Some("init container wait-for-it is running"));
    let sidecar = scene.status("sidecar", "what it waits for", held_up_by("Unhealthy")).await;
    assert!(sidecar.message.as_deref().unwrap_or_default().contains("Startup probe failed"), "{sidecar:#?}");
}
