//! Deletion of tasks: nothing is left behind, with every propagation policy, with and without a running operator.

use crate::support::manifest::UNTIL_STOPPED;
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::Record;
use crate::support::{Operator, Scene, eventually, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{FINALIZER, State};
use serde_json::json;

const TASK: &str = "doomed";

/// A task with a failed attempt whose Pod is kept, and a second that runs.
async fn half_done(scene: &Scene) -> (Operator, Record, Pod) {
    let record = Record::of(scene, TASK).await;
    let operator = scene.operator().await;
    let script = format!("test $RETRYABLE_ATTEMPT = 1 && exit 1; {UNTIL_STOPPED}");
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    scene.apply(&sh(TASK, &script, &json!({"backoff": backoff, "podRetention": {"failed": 5}})));
    let running = scene.running(TASK, 2).await;
    assert!(running.finalizers().iter().any(|finalizer| finalizer == FINALIZER), "{running:#?}");
    (operator, record, running)
}

fn delete(scene: &Scene, mode: &str) {
    scene.kubectl(&["delete", "retryabletask", TASK, &format!("--cascade={mode}"), "--wait=false"]).ok();
}

async fn task_is_gone(scene: &Scene) {
    eventually("the task to be gone", async || {
        scene.tasks().get_opt(TASK).await.unwrap().map_or(Ok(()), |task| Err(format!("{:#?}", task.metadata)))
    })
    .await;
}

/// Deleted with its Pods. This needs the operator, which removes their finalizer.
async fn with_pods(mode: &str, up: bool) {
    let scene = Scene::new(&format!("del-{mode}-{}", if up { "up" } else { "down" })).await;
    let (mut operator, record, _) = half_done(&scene).await;
    if up {
        delete(&scene, mode);
    } else {
        operator.kill_9();
        delete(&scene, mode);
        eventually("the Pods to be deleted", async || {
            let pods = scene.pods_of(TASK).await;
            let all = pods.len() == 2 && pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_some());
            if all { Ok(()) } else { Err(format!("{pods:#?}")) }
        })
        .await;
        operator = scene.operator().await;
    }
    scene.no_pods_of(TASK).await;
    task_is_gone(&scene).await;
    no_rule_is_broken(&scene, &record, false).await;
    drop(operator);
}

/// Deleted without its Pods: they stay, without the finalizer.
async fn without_pods(up: bool) {
    let scene = Scene::new(&format!("del-orphan-{}", if up { "up" } else { "down" })).await;
    let (mut operator, record, running) = half_done(&scene).await;
    if up {
        delete(&scene, "orphan");
        task_is_gone(&scene).await;
    } else {
        operator.kill_9();
        delete(&scene, "orphan");
        task_is_gone(&scene).await;
        operator = scene.operator().await;
    }
    eventually("the Pods to be free", async || {
        let pods = scene.pods_of(TASK).await;
        let free = |pod: &Pod| pod.finalizers().is_empty() && pod.owner_references().is_empty();
        if pods.len() == 2 && pods.iter().all(free) { Ok(()) } else { Err(format!("{pods:#?}")) }
    })
    .await;
    let left = scene.pods().get(&running.name_any()).await.unwrap();
    assert_eq!((left.uid(), left.metadata.deletion_timestamp), (running.uid(), None));
    assert_eq!(left.status.unwrap().phase.as_deref(), Some("Running"));
    no_rule_is_broken(&scene, &record, false).await;
    drop(operator);
}

#[tokio::test]
async fn in_the_background_with_the_operator_up() {
    with_pods("background", true).await;
}

#[tokio::test]
async fn in_the_background_with_the_operator_down() {
    with_pods("background", false).await;
}

#[tokio::test]
async fn in_the_foreground_with_the_operator_up() {
    with_pods("foreground", true).await;
}

#[tokio::test]
async fn in_the_foreground_with_the_operator_down() {
    with_pods("foreground", false).await;
}

#[tokio::test]
async fn orphaning_its_pods_with_the_operator_up() {
    without_pods(true).await;
}

#[tokio::test]
async fn orphaning_its_pods_with_the_operator_down() {
    without_pods(false).await;
}

#[tokio::test]
async fn a_recreated_task_starts_anew() {
    let scene = Scene::new("namesake").await;
    let (_operator, record, old) = half_done(&scene).await;
    let old_uid = scene.task(TASK).await.uid();
    scene.kubectl(&["delete", "retryabletask", TASK]).ok();
    scene.apply(&sh(TASK, "echo new", &json!({"maxRetries": 0})));
    let status = scene.finished(TASK).await;
    assert_ne!(scene.task(TASK).await.uid(), old_uid);
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 1, 0));
    assert_eq!(status.history.len(), 1);
    assert_ne!(status.history[0].pod_name, old.name_any());
    scene.pod(&old.name_any(), "the old task's Pod to be gone", |pod| pod.is_none()).await;
    no_rule_is_broken(&scene, &record, false).await;
}

#[tokio::test]
async fn a_task_recreated_while_the_operator_is_down_starts_anew() {
    let scene = Scene::new("namesake-down").await;
    let (operator, record, old) = half_done(&scene).await;
    operator.kill_9();
    // No operator runs that could remove the finalizers, so only the task is deleted at once.
    delete(&scene, "background");
    task_is_gone(&scene).await;
    scene.apply(&sh(TASK, "echo new", &json!({"maxRetries": 0})));
    let _operator = scene.operator().await;
    let status = scene.finished(TASK).await;
    assert_eq!((status.state, status.attempts, status.history.len()), (Some(State::Succeeded), 1, 1));
    scene.pod(&old.name_any(), "the old one's Pod to be gone", |pod| pod.is_none()).await;
    no_rule_is_broken(&scene, &record, false).await;
}
