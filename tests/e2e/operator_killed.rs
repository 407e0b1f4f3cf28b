//! The operator is killed with SIGKILL and restarted: the task's history is as if it had not been.

use crate::support::gates::Gates;
use crate::support::oracle::{no_rule_is_broken, nothing_more_is_written};
use crate::support::record::{Record, assert_waits, due_times};
use crate::support::{Scene, eventually, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{RetryableTask, RetryableTaskStatus, State};
use serde_json::{Value, json};

/// The history without times.
fn story(versions: &[RetryableTask]) -> Value {
    let status = versions.last().unwrap().status.as_ref().unwrap();
    let recorded: Vec<Value> = status
        .history
        .iter()
        .map(|e| json!([e.attempt, e.exit_code, e.signal, e.reason, e.message, e.action, e.delay_milliseconds]))
        .collect();
    json!([recorded, status.attempts, status.retries, status.ignored, status.state])
}

/// Fails twice and then succeeds, with waits of `delay` seconds.
fn unlucky(name: &str, delay: i32) -> Value {
    let script = "echo attempt $RETRYABLE_ATTEMPT; test $RETRYABLE_ATTEMPT -ge 3";
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": delay, "jitter": {"mode": "None"}});
    sh(name, script, &json!({"backoff": backoff}))
}

#[tokio::test]
async fn killed_while_an_attempt_runs() {
    let scene = Scene::new("kill-running").await;
    let operator = scene.operator().await;
    let gates = Gates::new(&scene);
    let undisturbed = Record::of(&scene, "undisturbed").await;
    (1..=3).for_each(|attempt| gates.open("undisturbed", attempt));
    scene.apply(&gates.task("undisturbed", 2, 1));
    let twin = undisturbed.until_finished().await;

    let record = Record::of(&scene, "disturbed").await;
    (2..=3).for_each(|attempt| gates.open("disturbed", attempt));
    scene.apply(&gates.task("disturbed", 2, 1));
    let pod = scene.running("disturbed", 1).await;
    operator.kill_9();
    gates.open("disturbed", 1);
    let ended = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Failed");
    scene.pod(&pod.name_any(), "its end", ended).await;
    let _operator = scene.operator().await;
    let versions = record.until_finished().await;
    assert_waits(&scene, &versions);
    assert_eq!(story(&versions), story(&twin));
    assert_eq!(versions.last().unwrap().status.as_ref().unwrap().history[0].pod_uid, pod.uid());
    no_rule_is_broken(&scene, &record, false).await;
    no_rule_is_broken(&scene, &undisturbed, false).await;
}

#[tokio::test]
async fn killed_while_a_task_waits() {
    let scene = Scene::new("kill-waiting").await;
    let operator = scene.operator().await;
    let (short, long) = (Record::of(&scene, "short").await, Record::of(&scene, "long").await);
    let is_waiting = |status: &RetryableTaskStatus| status.state == Some(State::Waiting);
    scene.apply(&unlucky("long", 60));
    let later = scene.status("long", "its wait", is_waiting).await.next_retry_time.unwrap().0;
    // The one that waits last: nothing else happens before it is due.
    scene.apply(&unlucky("short", 10));
    let due = scene.status("short", "its wait", is_waiting).await.next_retry_time.unwrap().0;
    operator.kill_9();
    // One is due while no operator runs, the other later.
    let passed = |at| move || async move { if jiff::Timestamp::now() > at { Ok(()) } else { Err("it is ahead") } };
    eventually("the due time to pass", async || passed(due)().await).await;
    assert_eq!(scene.pods_of("short").await.len(), 1);
    let _operator = scene.operator().await;
    for (record, due) in [(short, due), (long, later)] {
        let versions = record.until_finished().await;
        assert_waits(&scene, &versions);
        assert_eq!(due_times(&versions)[&2], due);
        no_rule_is_broken(&scene, &record, false).await;
    }
}

#[tokio::test]
async fn killed_again_and_again() {
    let scene = Scene::new("kill-often").await;
    let record = Record::of(&scene, "disturbed").await;
    scene.apply(&unlucky("disturbed", 1));
    let mut kills = 0;
    loop {
        // Killed as soon as it has written anything.
        let operator = scene.operator_with(&[]);
        let before = record.count();
        let done = eventually("the operator to write", async || {
            let done = record.latest().and_then(|task| task.status?.state) == Some(State::Succeeded);
            if done || record.count() > before { Ok(done) } else { Err(format!("{:#?}", record.latest())) }
        })
        .await;
        operator.kill_9();
        if done {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 3, "only {kills} kills: there are three writes before the last");
    let versions = record.until_finished().await;
    assert_waits(&scene, &versions);
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.attempts, status.retries, status.ignored), (3, 2, 0));
    // The last operator may have had no time to remove the finalizers.
    let _operator = scene.operator().await;
    no_rule_is_broken(&scene, &record, false).await;
    let recorded: Vec<&str> = status.history.iter().filter_map(|entry| entry.message.as_deref()).collect();
    assert_eq!(recorded[..2], ["attempt 1", "attempt 2"]);
    nothing_more_is_written(&scene).await;
}
