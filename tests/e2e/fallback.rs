//! The fallback: a last Pod, once the task has failed.

use crate::support::audit::{Outcome, Request};
use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::Record;
use crate::support::{Scene, TIMEOUT, eventually, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{
    ConditionType, Fallback, FallbackState, LABEL_FALLBACK, RetryableTask, RetryableTaskStatus, State,
};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::pod_name::pod_name;
use retryable_tasks::core::slot::Slot;
use serde_json::{Value, json};

/// A script that runs until [`finish_work`] signals it, or until it is stopped.
const UNTIL_TOLD: &str = "trap 'echo told; exit 0' USR1; trap 'echo stopped; exit 143' TERM; : >/dev/shm/ready; while :; do sleep 1 & wait $!; done";

/// Signals the Pod's container until it has ended. The first signal can come before the shell has set its trap. The end
/// of the container can kill the `kubectl exec` that sent the signal.
async fn finish_work(scene: &Scene, pod: &str) {
    eventually("the container to hear", async || {
        let recorded = scene.kubectl(&["exec", pod, "--container=task", "--", "kill", "-USR1", "1"]).result();
        let phase = scene.pods().get(pod).await.unwrap().status.and_then(|status| status.phase);
        if phase.as_deref() == Some("Running") { Err(format!("it runs; {recorded:?}")) } else { Ok(()) }
    })
    .await;
}

fn script(text: &str) -> Value {
    json!({"command": ["sh", "-c", text]})
}

/// A task that fails at once, `retries` times again, and then falls back.
fn hopeless(name: &str, retries: i32, fallback: &Value) -> Value {
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    let more = json!({"maxRetries": retries, "backoff": backoff, "onFailure": fallback});
    sh(name, r#"echo 'the depot is "closed", $$(RETRYABLE_TASK_NAME), said' $RETRYABLE_ATTEMPT; exit 3"#, &more)
}

/// The name of the fallback's Pod after attempt `number`.
async fn fallback_pod(scene: &Scene, task: &str, number: i32) -> String {
    pod_name(task, &scene.task(task).await.uid().unwrap(), Slot { number, fallback: true })
}

/// Waits until the fallback's container runs. Returns its Pod.
async fn running(scene: &Scene, task: &str, number: i32) -> Pod {
    let name = fallback_pod(scene, task, number).await;
    let runs = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Running");
    scene.pod(&name, "the fallback to run", runs).await.unwrap()
}

/// Asserts that the operator created the Pod once. A request whose client was killed is in the audit log as timed out,
/// stored or not.
#[track_caller]
fn created_once(scene: &Scene, pod: &str) {
    let requests = scene.operators_requests(scene.audit);
    let of_pod = requests.iter().filter(|r| r.kind() == "create pods" && r.name == pod);
    let outcomes: Vec<_> = of_pod.map(Request::outcome).filter(|outcome| *outcome != Outcome::Refused).collect();
    let done = outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count();
    assert!(!outcomes.is_empty() && done <= 1, "{pod}: {outcomes:?}");
}

/// Reason and message with which the task failed, and what became of the fallback.
#[track_caller]
fn failed(status: &RetryableTaskStatus) -> (&str, &str, &Fallback) {
    assert_eq!(status.state, Some(State::Failed), "{status:#?}");
    assert!(!condition_list::is_true(&status.conditions, ConditionType::FailureTarget), "{status:#?}");
    let failed = condition_list::find(&status.conditions, ConditionType::Failed).unwrap();
    assert_eq!(failed.status, "True");
    (&failed.reason, &failed.message, status.fallback.as_ref().unwrap())
}

#[tokio::test]
async fn it_runs_once_after_the_last_attempt_and_knows_the_history() {
    let scene = Scene::new("fallback").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "hopeless").await;
    // In a command Kubernetes makes `$` of `$$`, and would put a variable's value in place of its name in `$(…)`.
    let script = format!(
        r#"
        set -ex
        in_history() {{ printf '%s' "$RETRYABLE_HISTORY" | grep -qF "$1"; }}
        in_history '"message":"the depot is \"closed\", $$(RETRYABLE_TASK_NAME), said 1"'
        in_history '"message":"the depot is \"closed\", $$(RETRYABLE_TASK_NAME), said 2"'
        test $(printf '%s' "$RETRYABLE_HISTORY" | grep -o '"exitCode":3' | wc -l) = 2
        test "$RETRYABLE_FALLBACK $RETRYABLE_ATTEMPT $RETRYABLE_LAST_EXIT_CODE" = 'true 2 3'
        test "$RETRYABLE_FAILURE_REASON" = RetriesExhausted
        printf '%s' "$RETRYABLE_FAILURE_MESSAGE" | grep -qF 'the last ended with Error, exit code 3'
        set +x
        {UNTIL_TOLD}"#
    );
    scene.apply(&hopeless("hopeless", 1, &self::script(&script)));
    scene.kubectl(&["wait", "rt/hopeless", "--for=condition=FailureTarget", TIMEOUT]).ok();
    let pod = running(&scene, "hopeless", 2).await;
    assert_eq!(pod.labels()[LABEL_FALLBACK], "true");
    assert_eq!(pod.spec.as_ref().unwrap().containers[0].image.as_deref(), Some(IMAGE), "the image of the attempts");
    let status = scene.task("hopeless").await.status.unwrap();
    assert_eq!(status.fallback.as_ref().unwrap().state, FallbackState::Running);
    assert!(condition_list::find(&status.conditions, ConditionType::Finished).is_none(), "not before it has ended");
    assert!(scene.event("hopeless", "FallbackStarted").await.contains("RetriesExhausted: maxRetries ("));
    finish_work(&scene, &pod.name_any()).await;

    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    let (reason, message, fallback) = failed(status);
    assert_eq!(reason, "RetriesExhausted");
    assert!(message.starts_with("maxRetries (1) exhausted after 2 attempts"), "{message}");
    assert!(message.ends_with("; the fallback succeeded"), "{message}");
    assert_eq!(
        (fallback.state, fallback.exit_code, fallback.reason.as_deref()),
        (FallbackState::Succeeded, Some(0), Some("Completed"))
    );
    assert_eq!((fallback.pod_uid.as_ref(), status.attempts, status.history.len()), (pod.metadata.uid.as_ref(), 2, 2));
    let last = status.last_failure.as_ref().unwrap();
    assert_eq!(
        (last.attempt, last.message.as_deref()),
        (2, Some(r#"the depot is "closed", $(RETRYABLE_TASK_NAME), said 2"#))
    );
    // The condition was there all the time from the last attempt's end to the task's, and nothing else ended it before.
    let target = |task: &RetryableTask| {
        let status = task.status.as_ref()?;
        Some((
            condition_list::is_true(&status.conditions, ConditionType::FailureTarget),
            condition_list::is_true(&status.conditions, ConditionType::Finished),
        ))
    };
    let mut stages: Vec<_> = versions.iter().filter_map(target).collect();
    stages.dedup();
    assert_eq!(stages, [(false, false), (true, false), (false, true)]);
}

#[tokio::test]
async fn its_failure_is_recorded_and_not_retried() {
    let scene = Scene::new("fallback-fails").await;
    let _operator = scene.operator().await;
    // An image of its own, by another name for the one that is there: the attempts' command does not go with it.
    let own = json!({"image": "busybox:1", "command": ["sh", "-c"], "args": ["echo no mail server; exit 9"],
        "env": [{"name": "WHO", "value": "fallback"}]});
    scene.apply(&hopeless("twice-unlucky", 0, &own));
    let slow = json!({"command": ["sh", "-c", UNTIL_STOPPED], "timeoutSeconds": 2});
    scene.apply(&hopeless("too-slow", 0, &slow));
    let status = scene.finished("twice-unlucky").await;
    let (reason, message, fallback) = failed(&status);
    assert_eq!(reason, "RetriesExhausted");
    assert!(
        message.contains("said 1") && message.ends_with("; the fallback ended with Error, exit code 9"),
        "{message}"
    );
    assert_eq!((fallback.state, fallback.exit_code), (FallbackState::Failed, Some(9)));
    assert_eq!((fallback.reason.as_deref(), fallback.message.as_deref()), (Some("Error"), Some("no mail server")));
    let name = fallback_pod(&scene, "twice-unlucky", 1).await;
    assert_eq!(fallback.pod_name, name);
    created_once(&scene, &name);
    let pod = scene.pods().get(&name).await.unwrap();
    let container = &pod.spec.unwrap().containers[0];
    assert_eq!(container.image.as_deref(), Some("busybox:1"));
    assert_eq!((status.attempts, status.history.len(), status.last_failure.unwrap().attempt), (1, 1, 1));

    let status = scene.finished("too-slow").await;
    let (_, message, fallback) = failed(&status);
    assert!(message.contains("; the fallback ended with AttemptTimeout"), "{message}");
    assert_eq!((fallback.state, fallback.reason.as_deref()), (FallbackState::Failed, Some("AttemptTimeout")));
    created_once(&scene, &fallback.pod_name);
}

#[tokio::test]
async fn the_operator_is_killed_while_it_runs() {
    let scene = Scene::new("fallback-kill").await;
    let operator = scene.operator().await;
    scene.apply(&hopeless("ends-meanwhile", 0, &script(UNTIL_TOLD)));
    scene.apply(&hopeless("ends-after", 0, &script(UNTIL_TOLD)));
    let meanwhile = running(&scene, "ends-meanwhile", 1).await;
    let after = running(&scene, "ends-after", 1).await;
    operator.kill_9();
    finish_work(&scene, &meanwhile.name_any()).await;
    let ended = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Succeeded");
    scene.pod(&meanwhile.name_any(), "its end", ended).await;
    let _operator = scene.operator().await;
    finish_work(&scene, &after.name_any()).await;
    for (task, pod) in [("ends-meanwhile", meanwhile), ("ends-after", after)] {
        let status = scene.finished(task).await;
        let (_, message, fallback) = failed(&status);
        assert!(message.ends_with("; the fallback succeeded"), "{message}");
        assert_eq!((fallback.state, &fallback.pod_uid), (FallbackState::Succeeded, &pod.uid()));
        assert_eq!(status.attempts, 1);
        created_once(&scene, &pod.name_any());
    }
}

#[tokio::test]
async fn the_operator_is_killed_when_it_is_about_to_start() {
    let scene = Scene::new("fallback-due").await;
    let operator = scene.operator().await;
    scene.apply(&hopeless("hopeless", 0, &script("echo sent a mail")));
    let target =
        |status: &RetryableTaskStatus| condition_list::find(&status.conditions, ConditionType::FailureTarget).is_some();
    let any = |status: &RetryableTaskStatus| target(status) || status.completion_time.is_some();
    scene.status("hopeless", "FailureTarget", any).await;
    operator.kill_9();
    let _operator = scene.operator().await;
    let status = scene.finished("hopeless").await;
    let (_, _, fallback) = failed(&status);
    assert_eq!(fallback.state, FallbackState::Succeeded);
    created_once(&scene, &fallback.pod_name);
}

#[tokio::test]
async fn it_runs_after_the_deadline_and_can_be_cancelled() {
    let scene = Scene::new("fallback-limits").await;
    let _operator = scene.operator().await;
    let endless = |fallback: &str| json!({"activeDeadlineSeconds": 30, "onFailure": script(fallback)});
    scene.apply(&sh("endless", UNTIL_STOPPED, &endless("test $RETRYABLE_FAILURE_REASON = DeadlineExceeded")));
    scene.apply(&hopeless("cancelled", 0, &script(UNTIL_TOLD)));
    let status = scene.finished("endless").await;
    let (reason, message, fallback) = failed(&status);
    assert_eq!((reason, fallback.state), ("DeadlineExceeded", FallbackState::Succeeded), "{message}");

    scene.ready(&running(&scene, "cancelled", 1).await.name_any()).await;
    scene.ask("cancelled", "cancel", "1");
    let status = scene.finished("cancelled").await;
    let (reason, message, fallback) = failed(&status);
    assert_eq!((fallback.state, fallback.reason.as_deref()), (FallbackState::Failed, Some("Cancelled")));
    assert_eq!((fallback.exit_code, fallback.message.as_deref()), (Some(143), Some("stopped")), "it had its grace");
    assert_eq!(reason, "RetriesExhausted", "what the task failed of stays");
    assert!(message.contains("said 1") && message.ends_with("; the fallback was cancelled by the user"), "{message}");
    assert_eq!(status.acknowledged[0].effect, "the fallback was cancelled; the task had failed");
}

#[tokio::test]
async fn one_whose_pod_is_never_admitted_ends_and_the_failure_stays() {
    let scene = Scene::new("fallback-refused").await;
    let record = Record::of(&scene, "unheard").await;
    let _operator = scene.operator().await;
    let template =
        json!({"spec": {"serviceAccountName": "not-there", "containers": [{"name": "task", "image": IMAGE}]}});
    let mut task = hopeless("unheard", 0, &json!({"template": template}));
    task["spec"]["startupTimeoutSeconds"] = json!(10);
    scene.apply(&task);
    let status = scene.finished("unheard").await;
    let (reason, message, fallback) = failed(&status);
    assert_eq!((reason, status.state), ("RetriesExhausted", Some(State::Failed)));
    assert_eq!((fallback.state, fallback.reason.as_deref()), (FallbackState::Failed, Some("PodRejected")));
    assert_eq!(fallback.pod_uid, None);
    assert!(fallback.message.as_ref().is_some_and(|message| message.contains("not-there")), "{fallback:?}");
    assert!(message.contains("said 1") && message.contains("; the fallback did not start: PodRejected: "), "{message}");
    no_rule_is_broken(&scene, &record, true).await;
}

#[tokio::test]
async fn deleting_a_task_deletes_its_fallback() {
    let scene = Scene::new("fallback-delete").await;
    let operator = scene.operator().await;
    scene.apply(&hopeless("unwanted", 0, &script(UNTIL_TOLD)));
    scene.apply(&hopeless("in-order", 0, &script(UNTIL_TOLD)));
    scene.apply(&hopeless("unwatched", 0, &script(UNTIL_TOLD)));
    for task in ["unwanted", "in-order", "unwatched"] {
        running(&scene, task, 1).await;
    }
    scene.kubectl(&["delete", "rt", "unwanted", "--wait=false"]).ok();
    scene.kubectl(&["delete", "rt", "in-order", "--cascade=foreground", "--wait=false"]).ok();
    scene.no_pods_of("unwanted").await;
    scene.no_pods_of("in-order").await;
    operator.kill_9();
    scene.kubectl(&["delete", "rt", "unwatched", "--wait=false"]).ok();
    let _operator = scene.operator().await;
    scene.no_pods_of("unwatched").await;
}

#[tokio::test]
async fn success_needs_no_fallback_and_another_run_has_its_own() {
    let scene = Scene::new("fallback-again").await;
    let _operator = scene.operator().await;
    let fallback = script("test $RETRYABLE_ATTEMPT = 1");
    scene.apply(&hopeless("again", 0, &fallback));
    scene.apply(&sh("fine", "true", &json!({"onFailure": fallback})));
    let first = scene.finished("again").await;
    assert_eq!(failed(&first).2.state, FallbackState::Succeeded);
    scene.ask("again", "run-again", "1");
    let ended = |status: &RetryableTaskStatus| status.run.is_some() && status.completion_time.is_some();
    let second = scene.status("again", "the end of the second run", ended).await;
    let (_, _, fallback) = failed(&second);
    assert_eq!((fallback.state, second.attempts), (FallbackState::Failed, 2));
    assert_ne!(fallback.pod_name, failed(&first).2.pod_name);
    assert_eq!(scene.finished("fine").await.fallback, None);
}

#[tokio::test]
async fn the_longest_history_fits_into_its_environment() {
    let scene = Scene::new("fallback-long").await;
    let _operator = scene.operator().await;
    let long = "echo ${#RETRYABLE_HISTORY}; test ${#RETRYABLE_HISTORY} -gt 40000 &&
        printf %s \"$RETRYABLE_HISTORY\" | grep -qF 'costs $5'";
    let mut task = hopeless("old", 0, &script(long));
    task["spec"]["suspend"] = true.into();
    task["spec"]["historyLimit"] = 100.into();
    scene.apply(&task);
    scene.status("old", "its suspension", |status| status.state == Some(State::Suspended)).await;
    // As if it had failed all day, with as much to say each time as is kept of it. The operator believes its status.
    let message = "costs $5 ".repeat(110);
    let entry =
        |n: i32| json!({"attempt": n, "podName": "gone", "reason": "Error", "action": "Retry", "message": message});
    let history: Vec<Value> = (1..=90).map(entry).collect();
    let patch = json!({"status": {"history": history, "attempts": 90, "current": {"number": 91}}}).to_string();
    scene.kubectl(&["patch", "rt", "old", "--subresource=status", "--type=merge", "--patch", &patch]).ok();
    scene.patch_spec("old", &json!({"suspend": false}));
    let status = scene.finished("old").await;
    let (_, message, fallback) = failed(&status);
    assert_eq!(fallback.state, FallbackState::Succeeded, "{message}: {:?}", fallback.message);
    assert!(status.history_dropped > 0 && status.history.len() > 30, "{}", status.history.len());
}
