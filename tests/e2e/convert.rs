//! What `convert` makes of a Job does as the Job does, on the same cluster.

use crate::queue::queue;
use crate::support::cluster::program;
use crate::support::kubectl::run;
use crate::support::manifest::IMAGE;
use crate::support::{Scene, TIMEOUT, eventually, kubectl_with};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
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
    let pods = both(&scene, &job("fails", "exit 3", &json!({"backoffLimit": 2}))).await;
    let status = scene.finished("fails").await;
    assert_eq!((pods.len(), status.history.len()), (3, 3));
    let delays: Vec<_> = status.history.iter().map(|entry| entry.delay_milliseconds).collect();
    assert_eq!(delays, [Some(10_000), Some(20_000), None]);
    // A Job waits so long at least, and Kubernetes reports whole seconds.
    let of_the_job: Vec<i64> = pods.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    assert!(of_the_job[0] >= 9 && of_the_job[1] >= 19, "the Job waits 10 s and 20 s: {of_the_job:?}");
}

#[tokio::test]
async fn a_cron_job_and_its_conversion_start_work_that_makes_the_same_attempts() {
    let scene = Scene::new("convert-cron").await;
    let _operator = scene.operator().await;
    let template = json!({"spec": job("", "exit 3", &json!({"backoffLimit": 1}))["spec"]});
    let spec = json!({"schedule": "0 0 1 1 *", "timeZone": "Etc/UTC", "jobTemplate": template});
    scene.apply(&json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "yearly"}, "spec": spec}));
    let printed = scene.kubectl(&["get", "cronjob", "yearly", "-o", "yaml"]).ok();
    let converted = run(program().args(["convert", "-"]), &printed).ok();
    kubectl_with(&["apply", "-f", "-"], &converted).ok();
    // The year is not waited for.
    scene.kubectl(&["create", "job", "by-hand", "--from=cronjob/yearly"]).ok();
    scene.kubectl(&["annotate", "taskschedule", "yearly", "retryable.dev/trigger=by-hand"]).ok();
    let pods = pods_of_job(&scene, "by-hand").await;
    let run = eventually("its run", async || {
        let runs = ListParams::default().labels("retryable.dev/schedule-name=yearly");
        scene.tasks().list(&runs).await.unwrap().items.first().map(ResourceExt::name_any).ok_or("none")
    })
    .await;
    let status = scene.finished(&run).await;
    assert_eq!((pods.len(), status.history.len()), (2, 2));
    let of_the_job = pods[1].0 - pods[0].1;
    assert!(of_the_job >= 9, "the Job waits 10 s, which Kubernetes reports in whole seconds: {of_the_job}");
    assert_eq!(status.history[0].delay_milliseconds, Some(10_000));
}

/// There is no Argo here: its delays are those of its own documents.
#[tokio::test]
async fn a_workflow_becomes_a_task_with_its_delays_its_lock_and_its_growing_memory() {
    let scene = Scene::new("convert-argo").await;
    let _operator = scene.operator().await;
    let memory = "containers: [{name: main, resources: {limits: {memory: \"{{=(sprig.int(retries) + 1) * 32}}Mi\"}}}]";
    let limit =
        json!({"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}});
    let step = json!({"name": "work", "podSpecPatch": memory,
        "retryStrategy": {"limit": "2", "backoff": {"duration": "1", "factor": "2"}},
        "container": {"image": IMAGE, "command": ["sh", "-c", "echo $MEMORY; exit 3"], "env": [limit]}});
    let spec = json!({"entrypoint": "work", "synchronization": {"mutex": {"name": "depot"}}, "templates": [step]});
    let metadata = json!({"name": "grows", "namespace": scene.namespace});
    let workflow =
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec});
    // Its exit code says that something differs: what holds the lock, and when.
    let converted = run(program().args(["convert", "-"]), &workflow.to_string()).stdout;
    kubectl_with(&["apply", "-f", "-"], &converted).ok();
    scene.apply(&queue("depot", &json!({"maxConcurrent": 1})));
    let status = scene.finished("grows").await;
    let attempts: Vec<_> = status.history.iter().map(|it| (it.message.as_deref(), it.delay_milliseconds)).collect();
    assert_eq!(attempts, [(Some("32"), Some(1000)), (Some("64"), Some(2000)), (Some("96"), None)]);
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
