//! `startAt`: a first due time.

use crate::support::{Scene, sh};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::api::{RetryableTaskStatus, State};
use serde_json::json;

fn waits(status: &RetryableTaskStatus) -> bool {
    status.state == Some(State::Waiting)
}

/// So many seconds from now, as a user writes it.
fn in_seconds(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

#[tokio::test]
async fn the_first_attempt_waits_for_its_time_across_a_restart() {
    let scene = Scene::new("start-at").await;
    let operator = scene.operator().await;
    let start_at = in_seconds(12);
    scene.apply(&sh("later", "true", &json!({"startAt": start_at, "activeDeadlineSeconds": 8})));
    let waiting = scene.status("later", "its wait", waits).await;
    let due: Timestamp = start_at.parse().unwrap();
    assert_eq!((waiting.attempts, waiting.next_retry_time.map(|time| time.0)), (0, Some(due)));
    let columns = scene.kubectl(&["get", "retryabletask", "later", "--no-headers"]).ok();
    assert!(columns.contains("Waiting") && columns.contains(&start_at.replace('Z', "")), "{columns}");
    operator.kill_9();
    let _operator = scene.operator().await;
    let status = scene.finished("later").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 1));
    assert!(status.start_time.unwrap().0 >= due, "the deadline counts from the first attempt, which is not early");
}

#[tokio::test]
async fn a_user_changes_it_skips_it_and_writes_it_wrongly() {
    let scene = Scene::new("start-now").await;
    let _operator = scene.operator().await;
    for name in ["changed", "skipped"] {
        scene.apply(&sh(name, "true", &json!({"startAt": "2999-01-01T00:00:00+01:00"})));
        scene.status(name, "its wait", waits).await;
    }
    scene.patch_spec("changed", &json!({"startAt": "2020-01-01T00:00:00Z"}));
    scene.ask("skipped", "retry-now", "1");
    for name in ["changed", "skipped"] {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded), "{name}");
    }
    let refused = scene.try_apply(&sh("wrong", "true", &json!({"startAt": "tomorrow"})), &[]).refused();
    assert!(refused.contains("startAt is a time as RFC 3339 with a zone"), "{refused}");
    scene.apply(&sh("no-such-day", "true", &json!({"startAt": "2027-02-30T06:00:00Z"})));
    let stalled = scene.status("no-such-day", "its fault", |status| status.message.is_some()).await;
    assert_eq!(stalled.reason.as_deref(), Some("InvalidSpec"));
}
