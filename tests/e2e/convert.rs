//! What `convert` makes of a Job does as the Job does, on the same cluster.

use crate::support::cluster::program;
use crate::support::kubectl::run;
use crate::support::manifest::IMAGE;
use crate::support::{Scene, TIMEOUT, kubectl_with};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use retryable_tasks::api::State;
use serde_json::{Value, json};

/// The Pods of a Job that has ended: when each was created, and when its container ended, oldest first.
async fn pods_of_job(scene: &Scene, name: &str) -> Vec<(i64, i64)> {
    scene.kubectl(&["wait", "job", name, "--for=condition=Failed", TIMEOUT]).ok();
    let pods: Api<Pod> = scene.api();
    let selector = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
    let times = |pod: &Pod| {
        let created = pod.metadata.creation_timestamp.as_ref().unwrap().0.as_second();
        let statuses = pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap();
        let ended = statuses[0].state.as_ref().unwrap().terminated.as_ref().unwrap();
        (created, ended.finished_at.as_ref().unwrap().0.as_second())
    };
    let mut all: Vec<_> = pods.list(&selector).await.unwrap().items.iter().map(times).collect();
    all.sort_unstable();
    all
}

fn job(name: &str, script: &str, more: &Value) -> Value {
    let container = json!({"name": "main", "image": IMAGE, "command": ["sh", "-c", script]});
    let mut spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

/// Runs the Job, and its conversion out of what kubectl prints of it.
async fn both(scene: &Scene, job: &Value) -> Vec<(i64, i64)> {
    let name = job["metadata"]["name"].as_str().unwrap();
    scene.apply(job);
    let printed = scene.kubectl(&["get", "job", name, "-o", "yaml"]).ok();
    let converted = run(program().args(["convert", "-"]), &printed).ok();
    kubectl_with(&["apply", "-f", "-"], &converted).ok();
    pods_of_job(scene, name).await
}

#[tokio::test]
async fn a_job_and_its_conversion_make_the_same_attempts_at_the_same_delays() {
    let scene = Scene::new("convert").await;
    let _operator = scene.operator().await;
    let pods = both(&scene, &job("fails", "exit 3", &json!({"backoffLimit": 1}))).await;
    let status = scene.finished("fails").await;
    assert_eq!((pods.len(), status.history.len()), (2, 2));
    let of_the_job = pods[1].0 - pods[0].1;
    assert!(of_the_job >= 9, "the Job waits 10 s, which Kubernetes reports in whole seconds: {of_the_job}");
    assert_eq!(status.history[0].delay_milliseconds, Some(10_000));
}

#[tokio::test]
async fn a_job_and_its_conversion_fail_at_once_by_the_same_rule() {
    let scene = Scene::new("convert-rules").await;
    let _operator = scene.operator().await;
    let rule = json!({"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}});
    let more = json!({"backoffLimit": 5, "podFailurePolicy": {"rules": [rule]}});
    let pods = both(&scene, &job("bug", "exit 42", &more)).await;
    let status = scene.finished("bug").await;
    assert_eq!((pods.len(), status.history.len(), status.state), (1, 1, Some(State::Failed)));
    let jobs: Api<Job> = scene.api();
    let conditions = jobs.get("bug").await.unwrap().status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|condition| condition.reason.as_deref() == Some("PodFailurePolicy")));
    assert_eq!(status.history[0].rule.as_deref(), Some("rule-1"));
}
