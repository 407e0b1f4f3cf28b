//! Every right that the chart grants is used.

use super::{Right, granted};
use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::record::Record;
use crate::support::{Scene, eventually, sh};
use kube::ResourceExt;
use retryable_tasks::api::{ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::pod_name::pod_name;
use serde_json::json;
use std::collections::BTreeSet;

/// Whether no Pod is left, or none of them has the finalizer.
async fn until_free(scene: &Scene, task: &str) {
    eventually("the Pods to be free", async || {
        let pods = scene.pods_of(task).await;
        let with_finalizer: Vec<_> =
            pods.iter().filter(|pod| !pod.finalizers().is_empty()).map(ResourceExt::name_any).collect();
        if with_finalizer.is_empty() { Ok(()) } else { Err(format!("{with_finalizer:?} are held")) }
    })
    .await;
}

/// All that can become of tasks, as far as it takes a right of its own.
async fn all_of_it(scene: &Scene) {
    let volume = json!({"name": "data", "configMap": {"name": "missing"}});
    let mounting = json!({"name": "task", "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let soon = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    let until_stopped =
        json!({"spec": {"image": IMAGE, "command": ["sh", "-c", UNTIL_STOPPED], "ttlSecondsAfterFinished": 0}});
    let schedule = json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule",
        "metadata": {"name": "yearly", "annotations": {"retryable.dev/trigger": "1"}},
        "spec": {"schedule": "0 0 1 1 *", "overlap": "Replace", "template": until_stopped}});
    scene.apply(&schedule);
    scene.event("yearly", "RunStarted").await;
    // The first run is cancelled for the second, and then goes by its time to live.
    scene.kubectl(&["annotate", "taskschedule", "yearly", "--overwrite", "retryable.dev/trigger=2"]).ok();
    scene.apply(&sh("stopped", UNTIL_STOPPED, &json!({})));
    scene.apply(&sh("orphaned", UNTIL_STOPPED, &json!({})));
    let queue = json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "narrow"}, "spec": {}});
    scene.apply(&queue);
    eventually("the queue's status", async || {
        let said = scene.kubectl(&["get", "taskqueue", "narrow", "-o", "jsonpath={.status.running}"]).result()?;
        if said.is_empty() { Err("it has none".to_owned()) } else { Ok(()) }
    })
    .await;
    let more = json!({"backoff": soon, "podRetention": {"failed": 0}, "ttlSecondsAfterFinished": 30});
    // Seen by its record: on a slow machine it may be gone before anybody looks at it.
    let retried = Record::of(scene, "retried").await;
    scene.apply(&sh("retried", "test $RETRYABLE_ATTEMPT = 2", &more));
    scene.running("stopped", 1).await;
    scene.patch_spec("stopped", &json!({"suspend": true}));
    let suspended = |status: &RetryableTaskStatus| status.state == Some(State::Suspended) && status.history.len() == 1;
    scene.status("stopped", "its suspension", suspended).await;
    scene.running("orphaned", 1).await;
    scene.kubectl(&["delete", "retryabletask", "orphaned", "--cascade=orphan"]).ok();
    until_free(scene, "orphaned").await;
    scene.apply(&sh(
        "hanging",
        "true",
        &json!({"template": {"spec": {"containers": [mounting], "volumes": [volume]}}}),
    ));
    let recorded = |status: &RetryableTaskStatus| status.reason.as_deref() == Some("FailedMount");
    scene.status("hanging", "why it hangs", recorded).await;
    scene.kubectl(&["delete", "retryabletask", "hanging"]).ok();
    let versions = retried.until_finished().await;
    assert_eq!(versions.last().unwrap().status.as_ref().unwrap().attempts, 2);
    assert!(scene.event("retried", "AttemptFailed").await.contains("attempt 1"));
    eventually("the finished task to go", async || {
        scene.tasks().get_opt("retried").await.unwrap().map_or(Ok(()), |task| Err(format!("{:#?}", task.metadata)))
    })
    .await;
    scene.no_pods_of("retried").await;
}

/// Before there is an operator: a Pod that has the name of the task's first.
async fn in_the_way(scene: &Scene) -> String {
    scene.apply(&sh("taken", "true", &json!({})));
    let uid = scene.task("taken").await.uid().unwrap();
    let name = pod_name("taken", &uid, 1);
    scene.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "containers": [{"name": "other", "image": IMAGE, "command": ["sh", "-c", UNTIL_STOPPED]}]}}));
    name
}

#[tokio::test]
async fn every_granted_right_is_used_and_no_other_is_needed() {
    let scene = Scene::with_home("used").await;
    let name = in_the_way(&scene).await;
    let elect = ["--leader-elect", "--identity=only", "--retry-period-seconds=1", "--operator-namespace", &scene.home];
    let operator = scene.operator_with(&elect).at_work().await;
    let stalled = |status: &RetryableTaskStatus| condition_list::is_true(&status.conditions, ConditionType::Stalled);
    scene.status("taken", "Stalled", stalled).await;
    scene.kubectl(&["delete", "pod", &name, "--wait=false"]).ok();
    all_of_it(&scene).await;
    assert_eq!(scene.finished("taken").await.attempts, 1);
    // The log tells of a watch when it ends.
    assert!(operator.terminate().await.success());

    let mut rights: BTreeSet<Right> = granted(&scene).into_iter().collect();
    // Asked for by the admission of an object that blocks its owner's deletion, not by a request: see `each`.
    rights.retain(|right| !right.resource.ends_with("/finalizers"));
    eventually("the rights that are used to be those that are granted", async || {
        let mut requests = scene.operators_requests(scene.audit);
        requests.extend(scene.audit.of(&scene.home).into_iter().filter(|r| r.user == scene.operator_user()));
        let denied: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
        assert!(denied.is_empty(), "{denied:#?}");
        let used: BTreeSet<Right> = requests.iter().map(Right::used_by).collect();
        let beside: Vec<_> = used.difference(&rights).map(ToString::to_string).collect();
        assert!(beside.is_empty(), "not granted, and yet allowed: {beside:?}");
        let idle: Vec<_> = rights.difference(&used).map(ToString::to_string).collect();
        if idle.is_empty() { Ok(()) } else { Err(format!("granted and never used: {idle:?}")) }
    })
    .await;
}
