//! Time limits: of an attempt, of its start, of the task, and of waiting for a deleted Pod's end.

use crate::support::events::{classes, failed};
use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::record::Record;
use crate::support::{Scene, eventually, kubectl, kubectl_with, sh, task};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use retryable_tasks::api::{Action, HistoryEntry, RetryableTask, RetryableTaskStatus, State, StopReason};
use serde_json::{Value, json};

// The limits in these tests are long enough for a slow machine to do what comes before them.

/// Attempt, reason, rule and action of each entry of the history.
fn ends<'a>(status: &'a RetryableTaskStatus) -> Vec<(i32, &'a str, &'a str, Action)> {
    let rule = |entry: &'a HistoryEntry| entry.rule.as_deref().unwrap_or_default();
    status.history.iter().map(|entry| (entry.attempt, entry.reason.as_str(), rule(entry), entry.action)).collect()
}

fn took(entry: &HistoryEntry) -> SignedDuration {
    entry.finish_time.as_ref().unwrap().0.duration_since(entry.start_time.as_ref().unwrap().0)
}

fn at_once() -> Value {
    json!({"strategy": "Fixed", "initialDelaySeconds": 0})
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_stopped() {
    let scene = Scene::new("attempt-timeout").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "slow").await;
    // It exits with 0 on SIGTERM, which is not a success.
    let polite = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
    let spec = json!({"attemptTimeoutSeconds": 10, "maxRetries": 1, "backoff": at_once()});
    scene.apply(&sh("slow", polite, &spec));
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    let timed_out = |n, action| (n, "AttemptTimeout", "", action);
    assert_eq!(ends(status), [timed_out(1, Action::Retry), timed_out(2, Action::Fail)]);
    for entry in &status.history {
        assert_eq!(
            (entry.exit_code, entry.message.as_deref()),
            (Some(0), Some("ran longer than attemptTimeoutSeconds"))
        );
        assert!(took(entry) >= SignedDuration::from_secs(10), "{entry:#?}");
    }
    let (reason, message) = failed(status);
    assert_eq!(reason, "RetriesExhausted");
    assert!(message.contains("the last ended with AttemptTimeout"), "{message}");
    let intended = versions.iter().filter_map(|task| task.status.as_ref()?.current.as_ref()?.stop_reason);
    assert!(intended.clone().count() > 0 && intended.clone().all(|reason| reason == StopReason::AttemptTimeout));
}

#[tokio::test]
async fn a_timeout_has_a_reason_for_rules_and_no_exit_code() {
    let scene = Scene::new("timeout-rule").await;
    let _operator = scene.operator().await;
    let killed = json!({"name": "killed", "action": "Fail", "when": {"exitCodes": [137, 143]}});
    let slow = json!({"name": "slow", "action": "Ignore", "when": {"reasons": ["AttemptTimeout"]}, "maxRetries": 1});
    let grace = json!({"spec": {"terminationGracePeriodSeconds": 1}});
    let spec = json!({"attemptTimeoutSeconds": 40, "maxRetries": 0, "backoff": at_once(), "rules": [killed, slow],
        "template": grace});
    // Process 1 ignores SIGTERM without a handler, so the first attempt is killed. The second kills itself.
    scene.apply(&sh("deaf", "test $RETRYABLE_ATTEMPT = 2 && exit 137; sleep 1000; :", &spec));
    let status = scene.finished("deaf").await;
    assert_eq!(ends(&status), [(1, "AttemptTimeout", "slow", Action::Ignore), (2, "Error", "killed", Action::Fail)]);
    assert_eq!(status.history.iter().map(|entry| entry.exit_code).collect::<Vec<_>>(), [Some(137), Some(137)]);
    assert_eq!(classes(&status), [("slow", 1), ("killed", 1)]);
}

#[tokio::test]
async fn the_deadline_ends_a_running_attempt_and_the_task() {
    let scene = Scene::new("deadline-run").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("endless", UNTIL_STOPPED, &json!({"activeDeadlineSeconds": 30})));
    let status = scene.finished("endless").await;
    assert_eq!(ends(&status), [(1, "DeadlineExceeded", "", Action::Fail)]);
    let (reason, message) = failed(&status);
    assert_eq!(reason, "DeadlineExceeded");
    assert!(message.starts_with("activeDeadlineSeconds passed during attempt 1"), "{message}");
    assert_eq!(scene.event("endless", "DeadlineExceeded").await, message);
    let (began, ended) = (status.start_time.unwrap().0, status.completion_time.unwrap().0);
    assert!(ended.duration_since(began) >= SignedDuration::from_secs(29), "{began} to {ended}, in whole seconds");
    assert_eq!((status.attempts, status.retries), (1, 0));
}

#[tokio::test]
async fn a_wait_that_would_pass_the_deadline_is_not_begun() {
    let scene = Scene::new("deadline-wait").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "patient").await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 3600, "jitter": {"mode": "None"}});
    let spec = json!({"activeDeadlineSeconds": 3000, "backoff": backoff});
    scene.apply(&sh("patient", "echo no such table; exit 3", &spec));
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!(ends(status), [(1, "Error", "", Action::Fail)]);
    assert_eq!((status.attempts, status.history[0].delay_milliseconds), (1, None));
    let (reason, message) = failed(status);
    assert_eq!(reason, "DeadlineExceeded");
    assert!(message.starts_with("attempt 2 would be due at "), "{message}");
    assert!(message.ends_with("the last ended with Error, exit code 3: no such table"), "{message}");
    assert_eq!(scene.event("patient", "DeadlineExceeded").await, message);
    let waited = |task: &RetryableTask| task.status.as_ref().is_some_and(|status| status.state == Some(State::Waiting));
    assert!(!versions.iter().any(waited), "it never waited");
}

#[tokio::test]
async fn a_suspension_stops_the_clock_of_the_deadline() {
    let scene = Scene::new("deadline-held").await;
    let _operator = scene.operator().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 30, "jitter": {"mode": "None"}});
    let spec = json!({"activeDeadlineSeconds": 90, "backoff": backoff});
    scene.apply(&sh("held", "test $RETRYABLE_ATTEMPT -ge 2", &spec));
    scene.status("held", "its wait", |status| status.state == Some(State::Waiting)).await;
    scene.patch_spec("held", &json!({"suspend": true}));
    let suspended = scene.status("held", "its suspension", |status| status.state == Some(State::Suspended)).await;
    let since = suspended.suspended_time.clone().expect("it says since when").0;
    let over = suspended.start_time.unwrap().0 + SignedDuration::from_secs(91);
    eventually("the deadline to pass, had it not been suspended", async || {
        if Timestamp::now() > over { Ok(()) } else { Err("it is ahead") }
    })
    .await;
    scene.patch_spec("held", &json!({"suspend": false}));
    let status = scene.finished("held").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 2), "{status:#?}");
    assert_eq!(status.suspended_time, None);
    let least = i64::try_from(over.duration_since(since).as_millis()).unwrap();
    assert!(status.suspended_milliseconds >= least, "{} < {least}", status.suspended_milliseconds);
}

#[tokio::test]
async fn an_attempt_that_does_not_start_in_time_fails_with_the_kubelets_reason() {
    let scene = Scene::new("startup").await;
    let _operator = scene.operator().await;
    let spec = |more: Value| {
        let mut spec = json!({"image": IMAGE, "command": ["true"], "startupTimeoutSeconds": 60, "maxRetries": 0});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let never = json!({"spec": {"containers": [{"name": "task", "imagePullPolicy": "Never"}]}});
    let nowhere = json!({"spec": {"nodeSelector": {"retryable.dev/none": "of-them"}}});
    let config = json!([{"configMapRef": {"name": "missing"}}]);
    let cases = [
        (
            "image",
            spec(json!({"image": "registry.invalid/absent:1", "template": never})),
            "ErrImageNeverPull",
            "registry.invalid/absent:1",
        ),
        ("config", spec(json!({"envFrom": config})), "CreateContainerConfigError", r#"configmap "missing" not found"#),
        ("no-node", spec(json!({"template": nowhere})), "Unschedulable", "didn't match Pod's node affinity/selector"),
    ];
    for (name, spec, ..) in &cases {
        scene.apply(&task(name, spec));
    }
    for (name, _, reason, output) in &cases {
        let status = scene.finished(name).await;
        assert_eq!(ends(&status), [(1, *reason, "startup", Action::Fail)], "{name}: {status:#?}");
        let entry = &status.history[0];
        assert!(entry.message.as_deref().unwrap_or_default().contains(output), "{name}: {entry:#?}");
        assert_eq!((entry.exit_code, entry.signal), (None, None), "{name}: {entry:#?}");
        assert_eq!((status.retries, classes(&status)), (0, vec![("startup", 1)]), "{name}");
        let (end, message) = failed(&status);
        assert_eq!(end, "RetriesExhausted");
        assert!(message.contains(reason) && message.contains(output), "{message}");
    }
}

#[tokio::test]
async fn startup_failures_have_their_own_budget_and_end_when_the_cause_is_fixed() {
    let scene = Scene::new("startup-budget").await;
    let _operator = scene.operator().await;
    let config = |name: &str| json!([{"configMapRef": {"name": name}}]);
    let spec = |name: &str, times: i32| {
        json!({"envFrom": config(name), "startupTimeoutSeconds": 60, "maxRetries": 0, "budgets": {"startup": times},
            "backoff": at_once()})
    };
    scene.apply(&sh("hopeless", "true", &spec("never", 1)));
    scene.apply(&sh("mended", "test \"$word\" = yes", &spec("later", 20)));
    let status = scene.finished("hopeless").await;
    let unstarted = |n, action| (n, "CreateContainerConfigError", "startup", action);
    assert_eq!(ends(&status), [unstarted(1, Action::Retry), unstarted(2, Action::Fail)]);
    assert_eq!(failed(&status).0, "BudgetExhausted");
    assert_eq!(status.exhausted_budget.as_deref(), Some("startup"));
    scene.status("mended", "a start that failed", |status| !status.history.is_empty()).await;
    scene.kubectl(&["create", "configmap", "later", "--from-literal=word=yes"]).ok();
    let status = scene.finished("mended").await;
    assert_eq!((status.state, status.retries), (Some(State::Succeeded), 0), "{status:#?}");
}

#[tokio::test]
async fn an_invalid_image_name_fails_at_once() {
    let scene = Scene::new("image-name").await;
    let _operator = scene.operator().await;
    scene.apply(&task("misnamed", &json!({"image": "Not:An:Image", "maxRetries": 0})));
    let status = scene.finished("misnamed").await;
    assert_eq!(ends(&status), [(1, "InvalidImageName", "startup", Action::Fail)]);
    assert!(status.history[0].message.as_deref().unwrap_or_default().contains("Not:An:Image"), "{status:#?}");
}

#[tokio::test]
async fn a_running_attempt_that_is_deleted_by_force_ends_and_rules_match_it() {
    let scene = Scene::new("forced").await;
    let _operator = scene.operator().await;
    let rule = json!({"name": "taken-away", "action": "Ignore", "when": {"reasons": ["PodDeleted"]}});
    let spec = json!({"maxRetries": 0, "rules": [rule], "backoff": at_once()});
    scene.apply(&sh("taken", "test $RETRYABLE_ATTEMPT = 2 && exit 0; sleep 1000; :", &spec));
    let pod = scene.running("taken", 1).await;
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--force", "--grace-period=0", "--wait=false"]).ok();
    let status = scene.finished("taken").await;
    assert_eq!(
        ends(&status),
        [(1, "PodDeleted", "taken-away", Action::Ignore), (2, "Completed", "", Action::Complete)]
    );
    assert_eq!(status.history[0].pod_uid, pod.uid());
}

/// A node without a kubelet.
struct DeadNode(String);

impl DeadNode {
    fn new(scene: &Scene) -> Self {
        let name = format!("dead-{}", scene.namespace);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        kubectl_with(&["apply", "-f", "-"], &node.to_string()).ok();
        Self(name)
    }
}

impl Drop for DeadNode {
    fn drop(&mut self) {
        kubectl(&["delete", "node", &self.0, "--wait=false"]);
    }
}

#[tokio::test]
async fn a_pod_deleted_by_force_from_a_dead_node_is_abandoned() {
    let scene = Scene::new("dead-node").await;
    let _operator = scene.operator().await;
    let node = DeadNode::new(&scene);
    let bound = json!({"spec": {"nodeName": node.0, "tolerations": [{"operator": "Exists"}]}});
    scene.apply(&sh("stranded", "true", &json!({"maxRetries": 0, "template": bound})));
    let pod = scene.pod_of("stranded", 1).await.name_any();
    scene.kubectl(&["delete", "pod", &pod, "--force", "--grace-period=0", "--wait=false"]).ok();
    let deleted = scene.pods().get(&pod).await.unwrap().metadata.deletion_timestamp.unwrap().0;
    let status = scene.finished("stranded").await;
    assert_eq!(ends(&status), [(1, "PodDeleted", "", Action::Fail)]);
    let entry = &status.history[0];
    assert_eq!((entry.node_name.as_ref(), entry.exit_code), (Some(&node.0), None));
    assert!(entry.message.as_deref().unwrap_or_default().contains("has not reported its end"), "{entry:#?}");
    let ended = entry.finish_time.as_ref().unwrap().0;
    assert_eq!(ended.duration_since(deleted), SignedDuration::from_secs(30), "the time that such a Pod is given");
    scene.pod(&pod, "it to be gone, with nobody left to hold it", |pod| pod.is_none()).await;
}
