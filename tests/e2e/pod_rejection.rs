//! Pods that the API server refuses: its message is shown, the creation is retried, and no attempt is counted.

use crate::faults::through;
use crate::support::manifest::IMAGE;
use crate::support::oracle::no_rule_is_broken;
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Scene, TIMEOUT, kubectl, sh, task};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use retryable_tasks::api::{Action, ConditionType, FallbackState, RetryableTask, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

fn is_stalled(status: &RetryableTaskStatus) -> bool {
    condition_list::is_true(&status.conditions, ConditionType::Stalled)
}

fn rejection(status: &RetryableTaskStatus) -> &str {
    let stalled = condition_list::find(&status.conditions, ConditionType::Stalled).unwrap();
    assert_eq!(stalled.reason, "PodRejected");
    assert_eq!((status.state, status.reason.as_deref()), (Some(State::Pending), Some("PodRejected")));
    assert_eq!(status.message.as_ref(), Some(&stalled.message));
    assert_eq!((status.attempts, status.retries, status.history.len()), (0, 0, 0), "a rejection is no attempt");
    assert!(!condition_list::is_true(&status.conditions, ConditionType::Reconciling));
    &stalled.message
}

/// Asserts that each stored time of the next creation was kept. Times within the first seconds are not stored.
fn assert_tries_kept(scene: &Scene, versions: &[RetryableTask]) {
    let tries: Vec<_> = scene
        .operators_requests(scene.audit)
        .into_iter()
        .filter(|request| request.kind() == "create pods")
        .map(|request| request.received)
        .collect();
    let mut planned: Vec<_> = versions
        .iter()
        .filter_map(|task| task.status.as_ref()?.current.as_ref()?.next_create_time.clone())
        .map(|MicroTime(at)| at)
        .collect();
    planned.dedup();
    let unsaid = tries.len().checked_sub(planned.len()).filter(|unsaid| *unsaid > 0);
    let unsaid = unsaid.unwrap_or_else(|| panic!("{} tries for {} times that were stored", tries.len(), planned.len()));
    assert!(unsaid <= 4, "at most one a second before anything is said: {tries:?}");
    for (stored, tried) in planned.iter().zip(&tries[unsaid..]) {
        assert!(tried >= stored, "tried again at {tried}, before {stored}");
    }
}

#[tokio::test]
async fn a_quota_holds_a_task_up_until_it_is_lifted() {
    let scene = Scene::new("quota").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}}});
    scene.apply(&quota);
    scene.kubectl(&["wait", "resourcequota/none", "--for=jsonpath={.status.hard.pods}=0", TIMEOUT]).ok();
    let record = Record::of(&scene, "poor").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("poor", "true", &json!({})));
    let rejected = |times: i32| {
        move |status: &RetryableTaskStatus| status.current.as_ref().is_some_and(|now| now.rejections >= times)
    };
    let status = scene.status("poor", "two rejections", rejected(2)).await;
    let message = rejection(&status).to_owned();
    assert!(message.contains("exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"), "{message}");
    assert_eq!(scene.event("poor", "PodRejected").await, message);
    scene.kubectl(&["delete", "resourcequota", "none"]).ok();
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 1, 0));
    assert!(condition_list::find(&status.conditions, ConditionType::Stalled).is_none(), "{:#?}", status.conditions);
    assert_tries_kept(&scene, &versions);
    let recorded = scene.events("poor").await;
    let recorded: Vec<_> = recorded.iter().filter(|event| event.reason.as_deref() == Some("PodRejected")).collect();
    assert!(matches!(recorded[..], [only] if only.series.is_none()), "the same words are told once: {recorded:#?}");
    no_rule_is_broken(&scene, &record, true).await;
}

#[tokio::test]
async fn pod_security_holds_a_task_up_until_it_is_relaxed() {
    const LEVEL: &str = "pod-security.kubernetes.io/enforce";
    let scene = Scene::new("pod-security").await;
    kubectl(&["label", "namespace", &scene.namespace, &format!("{LEVEL}=restricted")]).ok();
    let record = Record::of(&scene, "unfit").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("unfit", "true", &json!({})));
    let rejected = |times: i32| {
        move |status: &RetryableTaskStatus| status.current.as_ref().is_some_and(|now| now.rejections >= times)
    };
    let status = scene.status("unfit", "two rejections", rejected(2)).await;
    let message = rejection(&status).to_owned();
    assert!(message.contains(r#"violates PodSecurity "restricted:latest""#), "{message}");
    assert!(message.contains("runAsNonRoot != true"), "{message}");
    assert_eq!(scene.event("unfit", "PodRejected").await, message);
    kubectl(&["label", "namespace", &scene.namespace, &format!("{LEVEL}-")]).ok();
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 1, 0));
    assert!(condition_list::find(&status.conditions, ConditionType::Stalled).is_none(), "{:#?}", status.conditions);
    assert_tries_kept(&scene, &versions);
    no_rule_is_broken(&scene, &record, true).await;
}

#[tokio::test]
async fn a_misspelt_field_of_the_template_is_named_and_fixed_by_an_edit() {
    let scene = Scene::new("typo").await;
    let record = Record::of(&scene, "misspelt").await;
    let _operator = scene.operator().await;
    let template = json!({"spec": {"hostNetwrok": true}});
    scene.apply(&sh("misspelt", "true", &json!({"template": template})));
    let status = scene.status("misspelt", "Stalled", is_stalled).await;
    assert!(rejection(&status).contains(r#"unknown field "spec.hostNetwrok""#), "{}", rejection(&status));
    assert_eq!(scene.event("misspelt", "PodRejected").await, rejection(&status));
    scene.patch_spec("misspelt", &json!({"template": {"spec": {"hostNetwrok": null, "hostNetwork": false}}}));
    let status = scene.finished("misspelt").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 1));
    no_rule_is_broken(&scene, &record, true).await;
}

#[tokio::test]
async fn an_invalid_template_shows_the_servers_message() {
    let scene = Scene::new("invalid").await;
    let record = Record::of(&scene, "invalid").await;
    let _operator = scene.operator().await;
    let mount = json!([{"name": "task", "volumeMounts": [{"name": "nowhere", "mountPath": "/data"}]}]);
    scene.apply(&task(
        "invalid",
        &json!({"image": IMAGE, "command": ["true"],
        "template": {"spec": {"containers": mount}}}),
    ));
    let status = scene.status("invalid", "Stalled", is_stalled).await;
    let message = rejection(&status);
    assert!(message.contains(r#"spec.containers[0].volumeMounts[0].name: Not found: "nowhere""#), "{message}");
    scene.patch_spec("invalid", &json!({"template": {"spec": {"volumes": [{"name": "nowhere", "emptyDir": {}}]}}}));
    assert_eq!(scene.finished("invalid").await.state, Some(State::Succeeded));
    no_rule_is_broken(&scene, &record, true).await;
}

#[tokio::test]
async fn a_field_of_a_container_that_is_unknown_to_the_definition_reaches_the_api_server() {
    let scene = Scene::new("newer").await;
    let _operator = scene.operator().await;
    let container = json!([{"name": "task", "fieldOfTomorrow": "value"}]);
    scene.apply(&sh("newer", "true", &json!({"template": {"spec": {"containers": container}}})));
    let status = scene.status("newer", "Stalled", is_stalled).await;
    let message = rejection(&status);
    assert!(message.contains(r#"unknown field "spec.containers[0].fieldOfTomorrow""#), "{message}");
}

fn creates_a_pod(asked: &Asked) -> bool {
    asked.method == "POST" && asked.path.contains("/pods?")
}

#[tokio::test]
async fn any_error_code_of_a_creation_is_shown_and_ends_the_attempt() {
    let scene = Scene::new("codes").await;
    let proxy = Proxy::start().await;
    let code = Arc::new(AtomicU16::new(0));
    let answer = code.clone();
    proxy.control(move |asked: &Asked| {
        if creates_a_pod(asked) { Treatment::Refuse(answer.load(Ordering::SeqCst)) } else { Treatment::Pass }
    });
    let _operator = through(&proxy, &scene).at_work().await;
    for (refused, reason) in [(401, "PodRejected"), (404, "PodRejected"), (500, "FailedCreate")] {
        code.store(refused, Ordering::SeqCst);
        let name = format!("code-{refused}");
        scene.apply(&sh(&name, "true", &json!({"maxRetries": 0, "startupTimeoutSeconds": 8})));
        let status = scene.status(&name, "Stalled", is_stalled).await;
        let stalled = condition_list::find(&status.conditions, ConditionType::Stalled).unwrap();
        assert_eq!((stalled.reason.as_str(), status.reason.as_deref()), (reason, Some(reason)), "{refused}");
        assert_eq!(scene.event(&name, reason).await, stalled.message, "{refused}");
        let status = scene.finished(&name).await;
        assert_eq!((status.state, status.attempts), (Some(State::Failed), 1), "{refused}");
        let entry = &status.history[0];
        assert_eq!((entry.reason.as_str(), &entry.pod_uid, entry.action), (reason, &None, Action::Fail), "{refused}");
    }
}

#[tokio::test]
async fn a_rejection_of_a_few_seconds_is_not_shown() {
    let scene = Scene::new("no-news").await;
    let proxy = Proxy::start().await;
    let mut refusals = 0;
    proxy.control(move |asked: &Asked| {
        let refused = creates_a_pod(asked) && refusals < 2;
        refusals += i32::from(refused);
        if refused { Treatment::Refuse(403) } else { Treatment::Pass }
    });
    let record = Record::of(&scene, "early").await;
    let _operator = through(&proxy, &scene).at_work().await;
    scene.apply(&sh("early", "true", &json!({})));
    let versions = record.until_finished().await;
    let stalled = |task: &&RetryableTask| task.status.as_ref().is_some_and(is_stalled);
    assert_eq!(versions.iter().filter(stalled).count(), 0, "{versions:#?}");
    assert_eq!(versions.last().unwrap().status.as_ref().unwrap().state, Some(State::Succeeded));
}

#[tokio::test]
async fn raised_memory_that_a_limit_range_refuses_is_lowered_again() {
    let scene = Scene::new("limit-range").await;
    let record = Record::of(&scene, "hungry").await;
    let _operator = scene.operator().await;
    scene.apply(&json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "40Mi"}}]}}));
    scene.apply(&sh(
        "hungry",
        "exec tail /dev/zero",
        &json!({
            "resources": {"limits": {"memory": "24Mi"}},
            "onOutOfMemory": {"memoryMultiplier": 2},
            "maxRetries": 1,
            "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0},
            "onFailure": {"command": ["true"]},
        }),
    ));
    let status = scene.finished("hungry").await;
    let memory: Vec<_> = status.history.iter().map(|e| (e.reason.as_str(), e.memory.as_deref())).collect();
    assert_eq!(memory, [("OOMKilled", Some("24Mi")), ("OOMKilled", Some("24Mi"))]);
    assert_eq!((status.memory_raises, status.admitted_memory_raises), (0, Some(0)));
    let recorded = scene.event("hungry", "MemoryRaiseRejected").await;
    assert!(recorded.starts_with("attempt 2 runs with 24Mi of memory, since 48Mi is not admitted: "), "{recorded}");
    assert!(recorded.contains("maximum memory usage per Container is 40Mi"), "{recorded}");
    assert_eq!(status.fallback.unwrap().state, FallbackState::Succeeded);
    no_rule_is_broken(&scene, &record, true).await;
}

#[tokio::test]
async fn a_kept_pod_makes_room_under_a_quota_on_pods() {
    let scene = Scene::new("count-pods").await;
    let record = Record::of(&scene, "one-pod").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"},
        "spec": {"hard": {"count/pods": "1"}}});
    scene.apply(&quota);
    scene.kubectl(&["wait", "resourcequota/one", "--for=jsonpath={.status.hard.count/pods}=1", "--timeout=120s"]).ok();
    let _operator = scene.operator().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    scene.apply(&sh("one-pod", "false", &json!({"maxRetries": 2, "backoff": backoff})));
    let status = scene.finished("one-pod").await;
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Failed), 3, 2));
    assert!(scene.event("one-pod", "PodRejected").await.contains("count/pods"));
    no_rule_is_broken(&scene, &record, true).await;
}
