//! Uninstalled while tasks run, and installed again.

use super::release::{NAME, Release};
use super::{gated, is_waiting, let_go, namespace_ends, waiting, with_finalizer};
use crate::support::manifest::UNTIL_STOPPED;
use crate::support::record::{Record, assert_waits};
use crate::support::{Scene, eventually, kubectl, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{RetryableTaskStatus, State};
use serde_json::json;

fn failed(pod: Option<&Pod>) -> bool {
    pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Failed")
}

fn has_pod_on_record(status: &RetryableTaskStatus) -> bool {
    status.current.as_ref().is_some_and(|current| current.pod_uid.is_some())
}

/// Waits until none of the release's own objects is left. The lease is the operator's, and the hook's Pod ends after
/// it.
async fn nothing_left(release: &Release) {
    eventually("the release's objects to be gone", async || {
        let all = "all,serviceaccounts,secrets,roles,rolebindings,poddisruptionbudgets";
        let left = release.kubectl(&["get", all, "-o", "name"]).ok();
        let left: Vec<String> = left.lines().filter(|line| line.contains(NAME)).map(Into::into).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn uninstalled_with_tasks_running_and_installed_again() {
    let release = Release::install(Scene::with_home("chart-again").await, &[]).await;
    let scene = &release.scene;
    let tasks = ["ends-meanwhile", "runs-on", "waits"];
    let mut records = Vec::new();
    for task in tasks {
        records.push(Record::of(scene, task).await);
    }
    scene.apply(&gated("ends-meanwhile"));
    scene.apply(&gated("runs-on"));
    scene.apply(&gated("deleted-meanwhile"));
    scene.apply(&waiting("waits", 20));
    let ends = scene.running("ends-meanwhile", 1).await;
    let runs_on = scene.running("runs-on", 1).await;
    let deleted = scene.running("deleted-meanwhile", 1).await;
    for task in ["ends-meanwhile", "runs-on", "deleted-meanwhile"] {
        // With the UID recorded, the outcome is `Lost` if the Pod vanishes while no operator runs.
        scene.status(task, "its Pod to be on record", has_pod_on_record).await;
    }
    scene.status("waits", "its wait", is_waiting).await;
    assert!(with_finalizer(scene).await.len() >= 3, "the operator holds the Pods of attempts that run");
    let before: Vec<_> = records.iter().map(|record| record.latest().unwrap().status).collect();

    release.uninstall().await;
    assert_eq!(with_finalizer(scene).await, []);
    assert_eq!(release.operators().await.len(), 0);
    nothing_left(&release).await;
    // What runs goes on, and what the operator knew is kept.
    for pod in [&ends, &runs_on, &deleted] {
        let now = scene.pods().get(&pod.name_any()).await.unwrap();
        let phase = now.status.as_ref().and_then(|status| status.phase.as_deref());
        assert_eq!((now.uid(), phase, &now.metadata.deletion_timestamp), (pod.uid(), Some("Running"), &None));
    }
    for (task, before) in tasks.iter().zip(before) {
        let now = scene.task(task).await.status;
        // The one that waits may have been due before the operator was stopped.
        let history = |status: Option<RetryableTaskStatus>| status.unwrap().history;
        if *task == "waits" {
            assert_eq!(history(now)[0], history(before)[0]);
        } else {
            assert_eq!(now, before);
        }
    }

    let_go(scene, &ends.name_any());
    scene.pod(&ends.name_any(), "its end", failed).await;
    // No operator runs, and none is needed.
    scene.kubectl(&["delete", "pod", &deleted.name_any(), "--grace-period=1", "--wait=false"]).ok();
    scene.pod(&deleted.name_any(), "its end", |pod| pod.is_none()).await;

    release.again().await;
    let_go(scene, &runs_on.name_any());
    for task in ["ends-meanwhile", "runs-on", "deleted-meanwhile"] {
        let second = scene.running(task, 2).await;
        let_go(scene, &second.name_any());
    }
    for record in &records {
        let versions = record.until_finished().await;
        assert_waits(scene, &versions);
        let status = versions.last().unwrap().status.as_ref().unwrap();
        assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 1), "{status:#?}");
        assert_eq!(status.history[0].exit_code, Some(1), "{status:#?}");
    }
    let status = scene.finished("deleted-meanwhile").await;
    assert_eq!((status.state, status.attempts, &*status.history[0].reason), (Some(State::Succeeded), 2, "Lost"));
    assert_eq!(status.history[0].pod_uid, deleted.uid());
}

#[tokio::test]
async fn after_uninstalling_no_namespace_is_stuck() {
    let release = Release::install(Scene::with_home("chart-gone").await, &[]).await;
    let scene = &release.scene;
    let more = json!({"podRetention": {"failed": 3}, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}});
    scene.apply(&sh("ended", "exit 1", &more));
    scene.apply(&sh("runs", UNTIL_STOPPED, &json!({})));
    scene.running("runs", 1).await;
    scene.finished("ended").await;
    release.uninstall().await;
    assert_eq!(with_finalizer(scene).await, []);
    kubectl(&["get", "customresourcedefinition", "retryabletasks.retryable.dev"]).ok();
    namespace_ends(&scene.namespace).await;
    namespace_ends(&scene.home).await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_while_the_operator_runs_ends_with_its_tasks() {
    let release = Release::install(Scene::with_home("chart-namespace").await, &[]).await;
    let scene = &release.scene;
    scene.apply(&sh("runs", UNTIL_STOPPED, &json!({})));
    scene.running("runs", 1).await;
    namespace_ends(&scene.namespace).await;
}
