//! Stopped attempts keep their logs: the Pod's kubelet ends it, and it is deleted only when its retention is over.

use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::Record;
use crate::support::{Scene, eventually, kubectl_with, sh};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{Action, HistoryEntry, RetryableTaskStatus, State, StopReason};
use serde_json::{Value, json};

/// A script that takes some seconds to end on SIGTERM, and then prints a last line.
const TIDY: &str =
    "trap 'sleep 5; echo tidied up; exit 7' TERM; : >/dev/shm/ready; echo begun; while :; do sleep 1 & wait $!; done";

fn ends(status: &RetryableTaskStatus) -> Vec<(&str, Action)> {
    status.history.iter().map(|entry| (entry.reason.as_str(), entry.action)).collect()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Waits until no Pod of the task has the finalizer, and returns those that are left.
async fn left(scene: &Scene, task: &str) -> Vec<Pod> {
    eventually("the Pods to be free", async || {
        let pods = scene.pods_of(task).await;
        let with_finalizer: Vec<_> =
            pods.iter().filter(|pod| !pod.finalizers().is_empty()).map(ResourceExt::name_any).collect();
        if with_finalizer.is_empty() { Ok(pods) } else { Err(format!("{with_finalizer:?} are held")) }
    })
    .await
}

/// The writes of the operator to that Pod, its creation left out: the verb, and the deadline that it sets.
fn writes_to(scene: &Scene, pod: &str) -> Vec<(String, Option<i64>)> {
    let mut writes = scene.operators_requests(scene.audit);
    writes.retain(|request| request.resource == "pods" && request.is_write() && request.name == pod);
    writes.retain(|request| request.verb != "create");
    let deadline = |sent: Value| sent["spec"]["activeDeadlineSeconds"].as_i64();
    writes.into_iter().map(|request| (request.verb, request.sent.and_then(deadline))).collect()
}

/// Asserts that the Pod of that entry exists and has ended, and that `kubectl logs` shows its last line.
async fn log_stays(scene: &Scene, task: &str, entry: &HistoryEntry) {
    let pods = left(scene, task).await;
    let pod = pods.iter().find(|pod| pod.uid() == entry.pod_uid).unwrap_or_else(|| panic!("deleted: {entry:#?}"));
    assert_eq!((phase(pod), pod.metadata.deletion_timestamp.is_none()), ("Failed", true), "{pod:#?}");
    assert_eq!(scene.kubectl(&["logs", &pod.name_any()]).ok(), "begun\ntidied up\n");
    let once = [("patch".to_owned(), Some(1)), ("patch".to_owned(), None)];
    assert_eq!(writes_to(scene, &pod.name_any()), once, "{task}: one to stop it, and one to free it");
}

#[tokio::test]
async fn the_log_of_a_stopped_attempt_stays_with_its_grace_and_its_reason() {
    let scene = Scene::new("stopped-logs").await;
    let _operator = scene.operator().await;
    let cases = [
        ("timeout", json!({"attemptTimeoutSeconds": 15}), StopReason::AttemptTimeout, Action::Fail),
        ("deadline", json!({"activeDeadlineSeconds": 20}), StopReason::DeadlineExceeded, Action::Fail),
        ("cancel", json!({}), StopReason::Cancelled, Action::Fail),
        ("suspend", json!({}), StopReason::Suspended, Action::Ignore),
    ];
    let mut records = Vec::new();
    for (name, limit, ..) in &cases {
        records.push(Record::of(&scene, name).await);
        let mut spec = json!({"maxRetries": 0});
        spec.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        scene.apply(&sh(name, TIDY, &spec));
    }
    for name in ["cancel", "suspend"] {
        scene.ready(&scene.running(name, 1).await.name_any()).await;
    }
    scene.ask("cancel", "cancel", "1");
    scene.patch_spec("suspend", &json!({"suspend": true}));
    for ((name, _, reason, action), record) in cases.into_iter().zip(&records) {
        let status = scene.status(name, "its first attempt's end", |status| !status.history.is_empty()).await;
        assert_eq!(ends(&status), [(reason.as_str(), action)], "{name}");
        let entry = &status.history[0];
        assert_eq!((entry.exit_code, entry.message.as_deref()), (Some(7), Some("begun\ntidied up")), "{entry:#?}");
        log_stays(&scene, name, entry).await;
        if name != "suspend" {
            no_rule_is_broken(&scene, record, false).await;
        }
    }
    scene.patch_spec("suspend", &json!({"suspend": false, "command": ["true"]}));
    let status = scene.finished("suspend").await;
    assert_eq!((status.state, ends(&status)[1]), (Some(State::Succeeded), ("Completed", Action::Complete)));
    log_stays(&scene, "suspend", &status.history[0]).await;
}

#[tokio::test]
async fn a_stopped_pod_is_deleted_without_retention() {
    let scene = Scene::new("stopped-0").await;
    let _operator = scene.operator().await;
    let spec = json!({"attemptTimeoutSeconds": 2, "maxRetries": 0, "podRetention": {"failed": 0}});
    scene.apply(&sh("unwanted", UNTIL_STOPPED, &spec));
    let status = scene.finished("unwanted").await;
    assert_eq!(ends(&status), [("AttemptTimeout", Action::Fail)]);
    assert_eq!(status.history[0].message.as_deref(), Some("ran longer than attemptTimeoutSeconds"));
    scene.no_pods_of("unwanted").await;
}

#[tokio::test]
async fn a_pod_that_has_not_started_is_deleted() {
    let scene = Scene::new("stopped-new").await;
    let _operator = scene.operator().await;
    let nowhere = json!({"spec": {"nodeSelector": {"retryable.dev/none": "of-them"}}});
    scene.apply(&sh("nowhere", "true", &json!({"template": nowhere})));
    scene.apply(&sh("imageless", "true", &json!({"image": "registry.invalid/absent:1"})));
    for name in ["nowhere", "imageless"] {
        let held_up = |status: &RetryableTaskStatus| status.state == Some(State::Pending) && status.reason.is_some();
        scene.status(name, "what holds it up", held_up).await;
        let pod = scene.pod_of(name, 1).await.name_any();
        scene.ask(name, "cancel", "1");
        assert_eq!(ends(&scene.finished(name).await), [("Cancelled", Action::Fail)]);
        assert_eq!(writes_to(&scene, &pod)[0], ("delete".to_owned(), None));
        scene.no_pods_of(name).await;
    }
}

#[tokio::test]
async fn a_pods_own_deadline_is_not_the_operators() {
    let scene = Scene::new("own-deadline").await;
    let _operator = scene.operator().await;
    let own = |seconds: i32| json!({"spec": {"activeDeadlineSeconds": seconds}});
    // The first Pod is ended by its own deadline, the second by the operator's limit, which is shorter.
    let first = json!({"template": own(15), "attemptTimeoutSeconds": 600, "maxRetries": 0});
    scene.apply(&sh("own", UNTIL_STOPPED, &first));
    scene.apply(&sh("ours", TIDY, &json!({"template": own(600), "attemptTimeoutSeconds": 15, "maxRetries": 0})));
    let own = scene.finished("own").await;
    assert_eq!(ends(&own), [("PodDeadlineExceeded", Action::Fail)]);
    assert_eq!(own.history[0].exit_code, Some(143));
    assert!(writes_to(&scene, &own.history[0].pod_name).iter().all(|(_, deadline)| deadline.is_none()));
    let ours = scene.finished("ours").await;
    assert_eq!(ends(&ours), [("AttemptTimeout", Action::Fail)]);
    log_stays(&scene, "ours", &ours.history[0]).await;
}

#[tokio::test]
async fn the_main_container_decides_though_others_had_to_be_stopped() {
    let scene = Scene::new("stopped-others").await;
    let operator = scene.operator().await;
    let other = json!({"name": "mesh", "image": IMAGE, "command": ["sh", "-c", "sleep 1000; :"]});
    let template = json!({"spec": {"terminationGracePeriodSeconds": 5, "containers": [{"name": "task"}, other]}});
    let retention = json!({"failed": 0, "succeeded": 1});
    scene.apply(&sh("good", "echo done", &json!({"template": template, "podRetention": retention})));
    let stopped = |status: &RetryableTaskStatus| {
        status.current.as_ref().is_none_or(|now| now.stop_reason == Some(StopReason::TaskEnded))
    };
    scene.status("good", "the others' stop", stopped).await;
    operator.kill_9();
    let _operator = scene.operator().await;
    let status = scene.finished("good").await;
    assert_eq!((status.state, ends(&status)), (Some(State::Succeeded), vec![("Completed", Action::Complete)]));
    let pods = left(&scene, "good").await;
    assert_eq!(pods.iter().map(phase).collect::<Vec<_>>(), ["Failed"], "kept as a success all the same");
    assert_eq!(scene.kubectl(&["logs", &pods[0].name_any(), "--container=task"]).ok(), "done\n");
}

/// The operator's roles, with and without the rights to change Pods.
fn roles(scene: &Scene) -> (Value, Value) {
    let args = ["get", "roles", "--selector", "app.kubernetes.io/component=controller", "-o", "json"];
    let mut whole: Value = serde_json::from_str(&scene.kubectl(&args).ok()).unwrap();
    let mut lacking = whole.clone();
    for roles in [&mut whole, &mut lacking] {
        for role in roles["items"].as_array_mut().unwrap() {
            role["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        }
    }
    for role in lacking["items"].as_array_mut().unwrap() {
        for rule in role["rules"].as_array_mut().unwrap() {
            if rule["resources"].as_array().unwrap().contains(&json!("pods")) {
                rule["verbs"].as_array_mut().unwrap().retain(|verb| verb != "patch" && verb != "delete");
            }
        }
    }
    (whole, lacking)
}

#[tokio::test]
async fn killed_between_the_intent_and_the_stop() {
    let scene = Scene::new("stopped-kill").await;
    let operator = scene.operator().await;
    scene.apply(&sh("tidy", TIDY, &json!({"maxRetries": 0})));
    let pod = scene.running("tidy", 1).await.name_any();
    scene.ready(&pod).await;
    let (whole, lacking) = roles(&scene);
    assert_ne!(whole, lacking, "there are no rights on Pods to take away");
    kubectl_with(&["replace", "-f", "-"], &lacking.to_string()).ok();
    let verb = ["auth", "can-i", "patch", "pods", "--as", &scene.operator_user()];
    eventually("the right to be gone", async || match scene.kubectl(&verb).result() {
        Ok(_) => Err("it is there".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    scene.ask("tidy", "cancel", "1");
    let intended = |status: &RetryableTaskStatus| {
        status.current.as_ref().is_some_and(|now| now.stop_reason == Some(StopReason::Cancelled))
    };
    scene.status("tidy", "the intent", intended).await;
    operator.kill_9();
    let running = scene.pods().get(&pod).await.unwrap();
    let deadline = running.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    assert_eq!((phase(&running), deadline), ("Running", None));
    kubectl_with(&["replace", "-f", "-"], &whole.to_string()).ok();
    eventually("the right to be back", async || scene.kubectl(&verb).result()).await;
    let _operator = scene.operator().await;
    let status = scene.finished("tidy").await;
    assert_eq!(ends(&status), [("Cancelled", Action::Fail)]);
    let entry = &status.history[0];
    assert_eq!((entry.exit_code, entry.message.as_deref()), (Some(7), Some("begun\ntidied up")));
    let took = entry.finish_time.as_ref().unwrap().0.duration_since(entry.start_time.as_ref().unwrap().0);
    assert!(took >= SignedDuration::from_secs(5), "it had its grace: {entry:#?}");
    let kept = left(&scene, "tidy").await;
    assert_eq!(kept.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), [pod]);
}
