//! Pods that others delete or evict, and foreign Pods with an attempt's name.

mod alone;

use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::Record;
use crate::support::{Scene, eventually, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, HistoryEntry, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::pod_name::pod_name;
use serde_json::{Value, json};

/// A task whose first attempt runs until it is stopped, and whose second succeeds.
fn stubborn(name: &str, more: &Value) -> Value {
    sh(name, &format!("test $RETRYABLE_ATTEMPT -ge 2 && exit 0; {UNTIL_STOPPED}"), more)
}

/// The first attempt, of two, of a task that then succeeded.
fn first_of_two(status: &RetryableTaskStatus) -> &HistoryEntry {
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 2), "{status:#?}");
    assert_eq!(status.history[1].action, Action::Complete);
    &status.history[0]
}

#[tokio::test]
async fn a_pod_deleted_by_a_user_is_a_failure_and_the_next_attempt_follows() {
    let scene = Scene::new("by-hand").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "stubborn").await;
    scene.apply(&stubborn("stubborn", &json!({})));
    let pod = scene.running("stubborn", 1).await;
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--wait=false"]).ok();
    let status = scene.finished("stubborn").await;
    let first = first_of_two(&status);
    assert_eq!((first.reason.as_str(), first.exit_code), ("PodDeleted", Some(143)));
    assert_eq!((first.action, status.retries, status.ignored), (Action::Retry, 1, 0));
    assert_eq!(first.pod_uid, pod.uid());
    no_rule_is_broken(&scene, &record, false).await;
}

#[tokio::test]
async fn a_pod_deleted_while_the_operator_is_down_is_not_lost() {
    let scene = Scene::new("by-hand-down").await;
    let operator = scene.operator().await;
    let record = Record::of(&scene, "stubborn").await;
    scene.apply(&stubborn("stubborn", &json!({})));
    let pod = scene.running("stubborn", 1).await;
    operator.kill_9();
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--wait=false"]).ok();
    // The kubelet is done with it: only the finalizer is left.
    let no_grace = |pod: Option<&Pod>| pod.and_then(|pod| pod.metadata.deletion_grace_period_seconds) == Some(0);
    scene.pod(&pod.name_any(), "its end", no_grace).await;
    let _operator = scene.operator().await;
    let status = scene.finished("stubborn").await;
    let first = first_of_two(&status);
    assert_eq!((first.reason.as_str(), first.exit_code), ("PodDeleted", Some(143)));
    assert_eq!(first.pod_uid, pod.uid());
    no_rule_is_broken(&scene, &record, false).await;
}

#[tokio::test]
async fn a_pod_deleted_by_force_keeps_its_outcome() {
    let scene = Scene::new("by-force").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "stubborn").await;
    scene.apply(&stubborn("stubborn", &json!({})));
    let pod = scene.running("stubborn", 1).await;
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--force", "--grace-period=0", "--wait=false"]).ok();
    let status = scene.finished("stubborn").await;
    let first = first_of_two(&status);
    assert_eq!((first.reason.as_str(), first.action), ("PodDeleted", Action::Retry));
    assert!(first.exit_code.is_some(), "{first:#?}");
    no_rule_is_broken(&scene, &record, false).await;
}

#[tokio::test]
async fn a_pod_garbage_collected_before_its_exit_was_seen_keeps_its_outcome() {
    let scene = Scene::new("collected").await;
    let operator = scene.operator().await;
    let record = Record::of(&scene, "brief").await;
    let script = "test $RETRYABLE_ATTEMPT -ge 2 && exit 0; \
                  until test -e /dev/shm/end; do sleep 0.1; done; echo words; exit 7";
    scene.apply(&sh("brief", script, &json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}})));
    let pod = scene.running("brief", 1).await;
    operator.kill_9();
    scene.kubectl(&["exec", &pod.name_any(), "--", "touch", "/dev/shm/end"]).ok();
    let ended = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Failed");
    scene.pod(&pod.name_any(), "its end", ended).await;
    // As the Pod garbage collector does it.
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--force", "--grace-period=0", "--wait=false"]).ok();
    let _operator = scene.operator().await;
    let status = scene.finished("brief").await;
    let first = first_of_two(&status);
    assert_eq!((first.reason.as_str(), first.exit_code, first.message.as_deref()), ("Error", Some(7), Some("words")));
    scene.pod(&pod.name_any(), "it to be gone", |pod| pod.is_none()).await;
    no_rule_is_broken(&scene, &record, false).await;
}

#[tokio::test]
async fn a_pod_that_vanished_unseen_is_lost_and_the_next_attempt_follows() {
    let scene = Scene::new("vanished").await;
    let operator = scene.operator().await;
    scene.apply(&stubborn("stubborn", &json!({})));
    let pod = scene.running("stubborn", 1).await;
    scene.kubectl(&["patch", "pod", &pod.name_any(), "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).ok();
    // Without the finalizer only the recorded UID shows that it existed.
    let recorded = |status: &RetryableTaskStatus| status.current.as_ref().is_some_and(|now| now.pod_uid == pod.uid());
    scene.status("stubborn", "the Pod's UID on record", recorded).await;
    operator.kill_9();
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--force", "--grace-period=0"]).ok();
    scene.pod(&pod.name_any(), "it to be gone", |pod| pod.is_none()).await;
    let _operator = scene.operator().await;
    let status = scene.finished("stubborn").await;
    let first = first_of_two(&status);
    assert_eq!((first.reason.as_str(), first.action, first.exit_code), ("Lost", Action::Retry, None));
    assert_eq!(first.pod_uid, pod.uid());
}

#[tokio::test]
async fn a_foreign_pod_with_the_attempts_name_is_left_alone() {
    let scene = Scene::new("foreign").await;
    scene.apply(&sh("taken", "true", &json!({})));
    let uid = scene.task("taken").await.uid().unwrap();
    let name = pod_name("taken", &uid, 1);
    let foreign = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "containers": [{"name": "other", "image": IMAGE, "command": ["sh", "-c", UNTIL_STOPPED]}]}});
    scene.apply(&foreign);
    let before = scene.pods().get(&name).await.unwrap();
    let _operator = scene.operator().await;
    let stalled = |status: &RetryableTaskStatus| condition_list::is_true(&status.conditions, ConditionType::Stalled);
    let status = scene.status("taken", "Stalled", stalled).await;
    let condition = condition_list::find(&status.conditions, ConditionType::Stalled).unwrap();
    assert_eq!(condition.reason, "PodNameConflict");
    assert!(condition.message.contains(&name) && condition.message.contains("delete it"), "{}", condition.message);
    assert_eq!((status.state, status.reason.as_deref()), (Some(State::Pending), Some("PodNameConflict")));
    assert_eq!((status.attempts, status.history.len()), (0, 0));
    assert!(scene.event("taken", "PodNameConflict").await.contains(&name));

    // It is asked for more than once, and never more than that.
    eventually("a second try", async || {
        let requests = scene.operators_requests(scene.audit);
        let writes: Vec<_> = requests.iter().filter(|r| r.resource == "pods" && r.is_write()).collect();
        assert!(writes.iter().all(|r| r.verb == "create" && r.code == 409), "{writes:#?}");
        if writes.len() > 1 { Ok(()) } else { Err(format!("{writes:?}")) }
    })
    .await;
    let after = scene.pods().get(&name).await.unwrap();
    assert_eq!((after.uid(), after.finalizers(), after.labels()), (before.uid(), before.finalizers(), before.labels()));
    assert_eq!(after.metadata.deletion_timestamp, None);

    scene.kubectl(&["delete", "pod", &name]).ok();
    let status = scene.finished("taken").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 1));
    assert!(condition_list::find(&status.conditions, ConditionType::Stalled).is_none(), "{status:#?}");
}

/// Evicted for what the attempt itself uses, and not for pressure on its node: that is charged to the task.
#[tokio::test]
async fn an_eviction_for_too_much_storage_is_charged() {
    let scene = Scene::new("evicted").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "greedy").await;
    let script = format!(
        "test \"$RETRYABLE_LAST_REASON\" = Evicted && exit 0; dd if=/dev/zero of=/much bs=1M count=8 2>/dev/null; \
         {UNTIL_STOPPED}"
    );
    scene.apply(&sh("greedy", &script, &json!({"resources": {"limits": {"ephemeral-storage": "1Mi"}}})));
    let status = scene.finished("greedy").await;
    let first = first_of_two(&status);
    assert_eq!((first.reason.as_str(), first.action, first.rule.as_deref()), ("Evicted", Action::Retry, None));
    assert_eq!((status.retries, status.ignored), (1, 0));
    let output = first.message.as_deref().unwrap_or_default();
    assert!(output.contains("ephemeral") && output.contains("limit"), "not the kubelet's words: {output:?}");
    no_rule_is_broken(&scene, &record, false).await;
}
