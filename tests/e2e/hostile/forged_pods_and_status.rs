//! Forged Pods and a forged status.

use super::{Author, creations};
use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::{Scene, eventually, sh, task};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::pod_name::pod_name;
use serde_json::{Value, json};

/// A foreign Pod.
fn forged(name: &str, metadata: &Value) -> Value {
    let container = json!({"name": "task", "image": IMAGE, "command": ["sh", "-c", UNTIL_STOPPED]});
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"restartPolicy": "Never", "containers": [container]}});
    pod["metadata"]["name"] = name.into();
    pod
}

fn untouched(before: &Pod, after: &Pod) {
    let of = |pod: &Pod| {
        let meta = pod.metadata.clone();
        (meta.uid, meta.labels, meta.finalizers, meta.owner_references, meta.deletion_timestamp)
    };
    assert_eq!(of(before), of(after));
}

#[tokio::test]
async fn forged_pods_are_neither_counted_nor_touched() {
    let scene = Scene::new("forged-pods").await;
    let author = Author::of(&scene);
    let _operator = scene.operator().await;
    let script = "test $RETRYABLE_ATTEMPT = 2 && exit 0; while ! test -e /tmp/go; do sleep 0.2; done; exit 3";
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    scene.apply(&sh("victim", script, &json!({"maxRetries": 1, "backoff": backoff})));
    let first = scene.running("victim", 1).await;
    let uid = scene.task("victim").await.uid().unwrap();
    let labels = |number: i32| {
        json!({"retryable.dev/task-name": "victim", "retryable.dev/task-uid": uid,
            "retryable.dev/attempt": number.to_string()})
    };
    let owner = json!([{"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "name": "victim", "uid": uid,
        "controller": true}]);
    let in_the_way = pod_name("victim", &uid, 2);
    let pods = [
        forged("labelled", &json!({"labels": labels(1)})),
        forged("labelled-next", &json!({"labels": labels(2), "finalizers": ["retryable.dev/attempt"]})),
        forged("owned", &json!({"labels": labels(2), "ownerReferences": owner})),
        forged(
            "owned-fallback",
            &json!({"labels": {"retryable.dev/task-name": "victim",
            "retryable.dev/task-uid": uid, "retryable.dev/attempt": "1", "retryable.dev/fallback": "true"},
            "ownerReferences": owner}),
        ),
        forged(
            "odd",
            &json!({"labels": {"retryable.dev/task-name": "victim", "retryable.dev/task-uid": uid,
            "retryable.dev/attempt": "x"}, "ownerReferences": owner}),
        ),
        forged(&in_the_way, &json!({"labels": labels(2)})),
    ];
    for pod in &pods {
        author.kubectl(&scene, &["create", "-f", "-"], &pod.to_string()).ok();
    }
    let mut before = Vec::new();
    for pod in &pods {
        before.push(scene.pods().get(pod["metadata"]["name"].as_str().unwrap()).await.unwrap());
    }
    scene.kubectl(&["exec", &first.name_any(), "--", "touch", "/tmp/go"]).ok();
    let stalled = |status: &RetryableTaskStatus| condition_list::is_true(&status.conditions, ConditionType::Stalled);
    let status = scene.status("victim", "Stalled", stalled).await;
    let recorded = condition_list::find(&status.conditions, ConditionType::Stalled).unwrap();
    assert_eq!(recorded.reason, "PodNameConflict");
    assert!(recorded.message.contains(&in_the_way), "{}", recorded.message);
    assert_eq!((status.attempts, status.retries, status.history.len()), (1, 1, 1));

    let [others @ .., last] = &before[..] else { unreachable!() };
    untouched(last, &scene.pods().get(&in_the_way).await.unwrap());
    scene.kubectl(&["delete", "pod", &in_the_way, "--force", "--grace-period=0"]).ok();
    let status = scene.finished("victim").await;
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 1));
    let recorded: Vec<_> = status.history.iter().map(|entry| (entry.pod_name.clone(), entry.exit_code)).collect();
    assert_eq!(recorded, [(first.name_any(), Some(3)), (in_the_way, Some(0))]);
    assert_eq!(status.history[0].pod_uid, first.uid());
    for pod in others {
        untouched(pod, &scene.pods().get(&pod.name_any()).await.unwrap());
    }
    // Nobody else would remove its finalizer.
    scene.kubectl(&["patch", "pod", "labelled-next", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).ok();
}

#[tokio::test]
async fn a_user_who_can_edit_tasks_cannot_write_their_status() {
    let scene = Scene::new("authors").await;
    let author = Author::of(&scene);
    let resource = "retryabletasks.retryable.dev";
    eventually(
        "the author's rights",
        async || {
            if author.may(&scene, "create", resource, "") { Ok(()) } else { Err("none") }
        },
    )
    .await;
    for verb in ["get", "update", "patch"] {
        assert!(!author.may(&scene, verb, resource, "status"), "{verb} {resource}/status");
    }
    assert!(!author.may(&scene, "update", "pods", "status"));
    let mut manifest = task("mine", &json!({"image": IMAGE, "suspend": true}));
    manifest["status"] = json!({"attempts": 7, "state": "Succeeded", "conditions": [{"type": "Finished",
        "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"}]});
    author.kubectl(&scene, &["create", "--validate=ignore", "-f", "-"], &manifest.to_string()).ok();
    let status = json!({"status": {"attempts": 7}}).to_string();
    let patch = ["patch", "retryabletask", "mine", "--type=merge", "--patch", &status];
    // Without the subresource the status is not written, whatever is asked for.
    author.kubectl(&scene, &patch, "").ok();
    let output = author.kubectl(&scene, &[&patch[..], &["--subresource=status"]].concat(), "").refused();
    assert!(output.contains(r#"resource "retryabletasks/status""#), "{output}");
    let status = scene.task("mine").await.status.unwrap();
    assert_eq!((status.attempts, status.state, status.conditions.len()), (0, None, 0), "{status:#?}");
}

/// Status that nobody but an administrator can write, and that makes no sense.
fn nonsense() -> Vec<(&'static str, Value)> {
    let far = "9999-12-30T22:00:00.000000Z";
    let early = "0001-01-01T00:00:00.000000Z";
    let entry = |attempt: i32| {
        json!({"attempt": attempt, "podName": "\u{1b}[31m", "reason": "", "action": "Dance",
            "delayMilliseconds": i64::MIN, "startTime": "9999-12-30T22:00:00Z"})
    };
    vec![
        (
            "negative",
            json!({"attempts": -5, "retries": i32::MIN, "ignored": -1, "historyDropped": i32::MIN,
            "memoryRaises": i32::MIN, "failureCounts": [{"name": "disruption", "count": i32::MIN}],
            "current": {"number": -7, "rejections": i32::MIN}}),
        ),
        (
            "huge",
            json!({"attempts": i32::MAX, "ignored": i32::MAX, "historyDropped": i32::MAX,
            "memoryRaises": i32::MAX, "suspendedMilliseconds": i64::MAX, "observedGeneration": i64::MAX,
            "current": {"number": i32::MAX, "rejections": i32::MAX}}),
        ),
        (
            "past",
            json!({"startTime": "0001-01-01T00:00:00Z", "nextRetryTime": early, "suspendedTime": early,
            "current": {"number": 1, "dueTime": early, "nextCreateTime": early, "stopTime": early,
                "stopReason": "Suspended"}}),
        ),
        ("unmade", json!({"attempts": 3, "current": {"number": 3, "podName": "never-was", "podUID": "nobody"}})),
        (
            "history",
            json!({"history": [entry(i32::MIN), entry(9), entry(9), entry(i32::MAX)],
            "lastFailure": {"attempt": -1, "reason": "", "message": "\u{1b}]0;owned\u{7}"}}),
        ),
        (
            "words",
            json!({"state": "Dancing", "reason": "\u{202e}", "run": {"number": -1, "firstAttempt": i32::MIN},
            "acknowledged": [{"annotation": "x", "value": "", "time": "9999-12-30T22:00:00Z", "effect": ""}],
            "conditions": [{"type": "Finished", "status": "Unknown", "reason": "X", "message": "",
                "lastTransitionTime": "9999-12-30T22:00:00Z"}]}),
        ),
        (
            "future",
            json!({"startTime": "9999-12-30T22:00:00Z", "nextRetryTime": far, "current": {"number": 1,
            "dueTime": far}}),
        ),
    ]
}

#[tokio::test]
async fn a_forged_status_breaks_nothing_and_gains_no_more_pods() {
    let scene = Scene::new("forged-status").await;
    let forged = nonsense();
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    for (name, status) in &forged {
        scene.apply(&sh(name, "exit 1", &json!({"maxRetries": 1, "backoff": backoff, "podRetention": {"failed": 9}})));
        let status = json!({"status": status}).to_string();
        let patch = ["patch", "retryabletask", name, "--subresource=status", "--type=merge", "--patch", &status];
        scene.kubectl(&patch).ok();
    }
    let operator = scene.operator().await;
    for (name, _) in &forged {
        if *name == "future" {
            let waits = |status: &RetryableTaskStatus| status.state == Some(State::Waiting);
            scene.status(name, "its wait", waits).await;
            continue;
        }
        let status = scene.finished(name).await;
        assert_eq!(status.state, Some(State::Failed), "{name}: {status:#?}");
    }
    for (name, _) in &forged {
        let made = creations(&scene, &format!("{name}-"));
        let most = match *name {
            "future" => 0,
            // An intent to stop for a suspension, and so not to charge, stops the one Pod that it is written of.
            "past" => 3,
            _ => 2,
        };
        let fine = |(_, code): &(String, u64)| [201, 409].contains(code);
        assert!(made.iter().filter(|(_, code)| *code == 201).count() <= most, "{name}: {made:?}");
        assert!(made.iter().all(fine), "{name}: {made:?}");
    }
    let metrics = operator.get("/metrics").1;
    for kind in ["panic", "no-convergence", "timeout"] {
        let none = format!(r#"retryabletask_reconcile_errors_total{{kind="{kind}"}} 0"#);
        assert!(metrics.lines().any(|line| line == none), "{metrics}");
    }
    assert_eq!(operator.get("/healthz").0, 200);
}
