//! The cluster's only node is drained.

use super::first_of_two;
use crate::support::manifest::UNTIL_STOPPED;
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::Record;
use crate::support::{Scene, TIMEOUT, kubectl, sh};
use kube::ResourceExt;
use retryable_tasks::api::{Action, RetryableTaskStatus, State};
use serde_json::json;

/// Uncordons a node when it is dropped, also if the test fails.
struct Cordoned(String);

impl Drop for Cordoned {
    fn drop(&mut self) {
        kubectl(&["uncordon", &self.0]);
    }
}

#[tokio::test]
async fn a_drained_node_is_not_charged() {
    let scene = Scene::alone("drain").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "drained").await;
    // The second attempt fails unless it gets what the first one reported before the drain.
    let script = format!(
        "echo '{{\"checkpoint\": \"page 7\"}}' > /dev/termination-log; \
         test $RETRYABLE_ATTEMPT -ge 2 && {{ test \"$RETRYABLE_CHECKPOINT\" = 'page 7'; exit; }}; {UNTIL_STOPPED}"
    );
    scene.apply(&sh("drained", &script, &json!({"maxRetries": 0})));
    let pod = scene.running("drained", 1).await;
    let node = pod.spec.unwrap().node_name.unwrap();
    let cordoned = Cordoned(node.clone());
    let ours = "--pod-selector=retryable.dev/task-name=drained";
    let options = [ours, "--force", "--ignore-daemonsets", "--delete-emptydir-data", TIMEOUT];
    kubectl(&[&["drain", node.as_str()], &options[..]].concat()).ok();
    let unschedulable = |status: &RetryableTaskStatus| {
        status.state == Some(State::Pending) && status.reason.as_deref() == Some("Unschedulable")
    };
    let pending = scene.status("drained", "the next attempt to want a node", unschedulable).await;
    let disrupted = &pending.history[0];
    assert_eq!((disrupted.action, disrupted.rule.as_deref()), (Action::Ignore, Some("disruption")));
    assert_eq!(disrupted.reason, "EvictionByEvictionAPI");
    assert_eq!((pending.retries, pending.ignored), (0, 1));
    assert_eq!(pending.checkpoint.as_deref(), Some("page 7"));
    assert_eq!(
        pending.failure_counts.iter().map(|c| (c.name.as_str(), c.count)).collect::<Vec<_>>(),
        [("disruption", 1)]
    );
    drop(cordoned);
    let status = scene.finished("drained").await;
    first_of_two(&status);
    assert_eq!((status.retries, status.ignored), (0, 1));
    let left = scene.pods_of("drained").await;
    assert!(left.iter().all(|pod| pod.uid() != disrupted.pod_uid), "drain ended before the Pod was deleted: {left:#?}");
    no_rule_is_broken(&scene, &record, false).await;
}
