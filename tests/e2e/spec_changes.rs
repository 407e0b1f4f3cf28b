//! A changed spec takes effect at once for an attempt that has not started, and for a task that waits.

use crate::support::events::failed;
use crate::support::manifest::IMAGE;
use crate::support::record::Record;
use crate::support::{Scene, sh, task};
use retryable_tasks::api::{Action, RetryableTaskStatus, State};
use serde_json::{Value, json};

/// Attempt, reason and action of each entry of the history.
fn ends(status: &RetryableTaskStatus) -> Vec<(i32, &str, Action)> {
    status.history.iter().map(|entry| (entry.attempt, entry.reason.as_str(), entry.action)).collect()
}

fn held_up_by(reasons: &'static [&'static str]) -> impl Fn(&RetryableTaskStatus) -> bool {
    move |status| {
        status.state == Some(State::Pending) && status.reason.as_deref().is_some_and(|reason| reasons.contains(&reason))
    }
}

fn waits(status: &RetryableTaskStatus) -> bool {
    status.state == Some(State::Waiting)
}

fn fixed(seconds: i32) -> Value {
    json!({"strategy": "Fixed", "initialDelaySeconds": seconds, "jitter": {"mode": "None"}})
}

#[tokio::test]
async fn an_unschedulable_attempt_follows_a_lowered_request() {
    let scene = Scene::new("corrected").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "large").await;
    let cpu = |cpu: &str| json!({"requests": {"cpu": cpu}});
    scene.apply(&sh("large", "true", &json!({"maxRetries": 0, "resources": cpu("1000")})));
    scene.status("large", "no node to fit", held_up_by(&["Unschedulable"])).await;
    scene.patch_spec("large", &json!({"resources": cpu("1m")}));
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!(ends(status), [(1, "SpecChanged", Action::Ignore), (2, "Completed", Action::Complete)]);
    assert_eq!((status.retries, status.ignored), (0, 1));
    let message = status.history[0].message.as_deref().unwrap();
    assert!(message.contains("Unschedulable") && message.contains("Insufficient cpu"), "{message}");
    assert!(scene.event("large", "SpecChanged").await.contains("attempt 1"));
}

#[tokio::test]
async fn retry_now_replaces_a_pod_whose_image_cannot_be_pulled() {
    let scene = Scene::new("another-pod").await;
    let _operator = scene.operator().await;
    scene.apply(&task("refused", &json!({"image": "127.0.0.1:9/refused:1", "maxRetries": 0})));
    let no_image = ["ErrImagePull", "ImagePullBackOff"].as_slice();
    scene.status("refused", "a pull that fails", held_up_by(no_image)).await;
    scene.ask("refused", "retry-now", "1");
    let replaced = |status: &RetryableTaskStatus| status.history.len() == 1 && status.attempts == 2;
    let status = scene.status("refused", "another Pod", replaced).await;
    assert_eq!(ends(&status), [(1, "RetryNow", Action::Ignore)]);
    assert!(status.acknowledged[0].effect.contains("attempt 1, held up by"), "{:?}", status.acknowledged);
    scene.status("refused", "its pull to fail too", held_up_by(no_image)).await;
    scene.patch_spec("refused", &json!({"image": IMAGE, "command": ["true"]}));
    let status = scene.finished("refused").await;
    let expected =
        [(1, "RetryNow", Action::Ignore), (2, "SpecChanged", Action::Ignore), (3, "Completed", Action::Complete)];
    assert_eq!(ends(&status), expected);
    assert_eq!((status.retries, status.ignored), (0, 2));
}

#[tokio::test]
async fn a_task_that_waits_follows_its_spec() {
    let scene = Scene::new("waits").await;
    let _operator = scene.operator().await;
    let patient = json!({"backoff": fixed(3600)});
    scene.apply(&sh("shortened", "test $RETRYABLE_ATTEMPT = 2", &patient));
    scene.apply(&sh("lowered", "echo no such table; exit 3", &patient));
    let before = scene.status("shortened", "the wait", waits).await.next_retry_time.unwrap();
    scene.patch_spec("shortened", &json!({"backoff": fixed(1800)}));
    let moved = |status: &RetryableTaskStatus| status.next_retry_time.as_ref().is_some_and(|due| due.0 < before.0);
    let status = scene.status("shortened", "a shorter wait", moved).await;
    let by = before.0.duration_since(status.next_retry_time.unwrap().0);
    assert_eq!((by.as_secs(), status.history[0].delay_milliseconds), (1800, Some(1_800_000)));
    scene.patch_spec("shortened", &json!({"backoff": fixed(1)}));
    let status = scene.finished("shortened").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 2));

    scene.status("lowered", "the wait", waits).await;
    scene.patch_spec("lowered", &json!({"maxRetries": 0}));
    let status = scene.finished("lowered").await;
    let (reason, message) = failed(&status);
    assert_eq!(reason, "RetriesExhausted");
    assert!(message.contains("maxRetries 0") && message.contains("no such table"), "{message}");
    assert_eq!((status.attempts, status.retries, status.history[0].action), (1, 0, Action::Fail));
}
