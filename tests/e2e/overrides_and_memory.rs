//! Attempts that differ from earlier ones: `onOutOfMemory` raises the memory, `overrides` change the Pod.

use crate::support::manifest::UNTIL_STOPPED;
use crate::support::{Scene, kubectl_with, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

/// A command that needs so many mebibytes.
fn needs(mebibytes: i32) -> String {
    format!("dd if=/dev/zero of=/dev/null bs={mebibytes}M count=1")
}

/// A task with `script` that retries at once and keeps all Pods, with memory for attempts that `resources` give.
fn hungry(name: &str, script: &str, resources: &Value, more: &Value) -> Value {
    let mut fields = json!({
        "resources": resources,
        "maxRetries": 5,
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0},
        "podRetention": {"failed": 10},
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sh(name, script, &fields)
}

/// Attempt, reason, and the memory of it, of each entry of the history.
fn memory(status: &RetryableTaskStatus) -> Vec<(i32, &str, &str)> {
    let entries = status.history.iter();
    entries.map(|e| (e.attempt, e.reason.as_str(), e.memory.as_deref().unwrap_or_default())).collect()
}

/// Requests and limits of memory, of the Pod's main container.
fn given(pod: &Pod) -> (Option<&str>, Option<&str>) {
    let resources = pod.spec.as_ref().unwrap().containers[0].resources.as_ref().unwrap();
    let requests = resources.requests.as_ref().and_then(|amounts| amounts.get("memory"));
    let limits = resources.limits.as_ref().and_then(|amounts| amounts.get("memory"));
    (requests.map(|amount| amount.0.as_str()), limits.map(|amount| amount.0.as_str()))
}

fn stalled(status: &RetryableTaskStatus) -> bool {
    condition_list::is_true(&status.conditions, ConditionType::Stalled)
}

#[tokio::test]
async fn memory_is_raised_after_an_oom_kill() {
    let scene = Scene::new("more-memory").await;
    let _operator = scene.operator().await;
    let resources = json!({"requests": {"memory": "8Mi", "cpu": "10m"}, "limits": {"memory": "16Mi"}});
    let policy = json!({"onOutOfMemory": {"memoryMultiplier": 2, "maxMemory": "128Mi"}});
    scene.apply(&hungry("grows", &format!("exec {}", needs(40)), &resources, &policy));
    let status = scene.finished("grows").await;
    assert_eq!(memory(&status), [(1, "OOMKilled", "16Mi"), (2, "OOMKilled", "32Mi"), (3, "Completed", "64Mi")]);
    assert_eq!((status.state, status.memory_raises, status.retries), (Some(State::Succeeded), 2, 2));
    let pods = scene.pods_of("grows").await;
    let given: Vec<_> = pods.iter().map(given).collect();
    let amounts = |requests, limits| (Some(requests), Some(limits));
    assert_eq!(given, [amounts("8Mi", "16Mi"), amounts("16Mi", "32Mi"), amounts("32Mi", "64Mi")]);
    let cpu = pods[2].spec.as_ref().unwrap().containers[0].resources.as_ref().unwrap().requests.as_ref().unwrap();
    assert_eq!(cpu["cpu"].0, "10m", "nothing but the memory changes");
}

#[tokio::test]
async fn memory_is_raised_no_further_than_its_limit() {
    let scene = Scene::new("max-memory").await;
    let _operator = scene.operator().await;
    let resources = json!({"limits": {"memory": "16Mi"}});
    let more = json!({"maxRetries": 3, "onOutOfMemory": {"memoryMultiplier": "1.5", "maxMemory": "30Mi"}});
    scene.apply(&hungry("insatiable", &format!("exec {}", needs(200)), &resources, &more));
    let status = scene.finished("insatiable").await;
    let killed = |attempt, memory| (attempt, "OOMKilled", memory);
    assert_eq!(memory(&status), [killed(1, "16Mi"), killed(2, "24Mi"), killed(3, "30Mi"), killed(4, "30Mi")]);
    assert_eq!((status.state, status.memory_raises), (Some(State::Failed), 2));
}

#[tokio::test]
async fn raised_memory_is_kept_for_later_attempts() {
    let scene = Scene::new("keep-memory").await;
    let _operator = scene.operator().await;
    // Out of memory, evicted, failed, done; and another run.
    let script = format!(
        "case $RETRYABLE_ATTEMPT in 1) exec {};; 2) {UNTIL_STOPPED};; 3) exit 5;; *) {};; esac",
        needs(200),
        needs(20)
    );
    let policy = json!({"onOutOfMemory": {}});
    scene.apply(&hungry("keeps", &script, &json!({"limits": {"memory": "16Mi"}}), &policy));
    let pod = scene.running("keeps", 2).await.name_any();
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": scene.namespace}});
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", scene.namespace);
    kubectl_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string()).ok();
    let status = scene.finished("keeps").await;
    let story = [
        (1, "OOMKilled", "16Mi"),
        (2, "EvictionByEvictionAPI", "32Mi"),
        (3, "Error", "32Mi"),
        (4, "Completed", "32Mi"),
    ];
    assert_eq!(memory(&status), story);
    assert_eq!((status.memory_raises, status.ignored), (1, 1));
    scene.ask("keeps", "run-again", "1");
    let again = |status: &RetryableTaskStatus| status.run.is_some() && status.completion_time.is_some();
    let status = scene.status("keeps", "the end of its second run", again).await;
    assert_eq!(memory(&status)[4..], [(5, "Completed", "32Mi")]);
}

#[tokio::test]
async fn a_policy_on_memory_that_cannot_work_stalls_the_task_before_any_pod() {
    let scene = Scene::new("no-memory").await;
    let _operator = scene.operator().await;
    let cases = [
        ("nothing", json!({}), json!({}), "give the main container a memory limit or request"),
        ("too-low", json!({"limits": {"memory": "64Mi"}}), json!({"maxMemory": "32Mi"}), "below the memory limit"),
    ];
    for (name, resources, policy, _) in &cases {
        scene.apply(&hungry(name, "true", resources, &json!({"onOutOfMemory": policy})));
    }
    for (name, .., output) in &cases {
        let status = scene.status(name, "Stalled", stalled).await;
        let condition = condition_list::find(&status.conditions, ConditionType::Stalled).unwrap();
        assert_eq!((condition.reason.as_str(), status.attempts), ("InvalidSpec", 0));
        assert!(condition.message.contains("onOutOfMemory") && condition.message.contains(output), "{condition:?}");
        assert!(scene.pods_of(name).await.is_empty());
    }
    scene.patch_spec("nothing", &json!({"resources": {"limits": {"memory": "16Mi"}}}));
    assert_eq!(scene.finished("nothing").await.state, Some(State::Succeeded));
}

#[tokio::test]
async fn overrides_apply_from_their_attempt_on_and_accumulate() {
    let scene = Scene::new("overrides").await;
    let _operator = scene.operator().await;
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    // Each attempt says what it was given.
    let script = "echo $MODE $STEP $KEPT; test $RETRYABLE_ATTEMPT -ge 4";
    let overrides = json!([
        {"fromAttempt": 2, "env": [env("MODE", "careful")], "resources": {"limits": {"memory": "32Mi"}}},
        {"fromAttempt": 4, "nodeSelector": {}, "env": [env("STEP", "last")]},
    ]);
    let more = json!({"env": [env("MODE", "fast"), env("KEPT", "kept")], "overrides": overrides});
    scene.apply(&hungry("careful", script, &json!({"limits": {"memory": "16Mi"}}), &more));
    let status = scene.finished("careful").await;
    let recorded: Vec<_> = status.history.iter().map(|entry| (entry.message.as_deref(), entry.override_from)).collect();
    let [fast, careful] = [Some("fast kept"), Some("careful kept")];
    assert_eq!(recorded[..3], [(fast, None), (careful, Some(2)), (careful, Some(2))]);
    assert_eq!(status.history[3].override_from, Some(4));
    assert_eq!(status.history[3].action, Action::Complete);
    let pods = scene.pods_of("careful").await;
    let limits: Vec<_> = pods.iter().map(|pod| given(pod).1).collect();
    assert_eq!(limits, [Some("16Mi"), Some("32Mi"), Some("32Mi"), Some("32Mi")]);
    let last = pods[3].spec.as_ref().unwrap().containers[0].env.as_ref().unwrap();
    let value = |name: &str| last.iter().find(|variable| variable.name == name).and_then(|v| v.value.as_deref());
    assert_eq!([value("MODE"), value("STEP"), value("KEPT")], [Some("careful"), Some("last"), Some("kept")]);
}
