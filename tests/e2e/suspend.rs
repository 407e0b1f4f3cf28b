//! Suspended and resumed.

use crate::support::manifest::UNTIL_STOPPED;
use crate::support::record::{Record, due_times};
use crate::support::{Scene, eventually, sh};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::json;

fn is(state: State) -> impl Fn(&RetryableTaskStatus) -> bool {
    move |status| status.state == Some(state)
}

fn suspension(status: &RetryableTaskStatus) -> (&str, &str) {
    let condition = condition_list::find(&status.conditions, ConditionType::Suspended).unwrap();
    (&condition.status, &condition.reason)
}

#[tokio::test]
async fn suspended_from_the_start_nothing_runs_until_resumed() {
    let scene = Scene::new("suspend-0").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("held", "true", &json!({"suspend": true})));
    let suspended = scene.status("held", "its suspension", is(State::Suspended)).await;
    assert_eq!((suspension(&suspended), suspended.attempts), (("True", "Suspended"), 0));
    assert!(scene.pods_of("held").await.is_empty());
    scene.patch_spec("held", &json!({"suspend": false}));
    let status = scene.finished("held").await;
    assert_eq!((status.state, suspension(&status)), (Some(State::Succeeded), ("False", "Resumed")));
    assert_eq!((status.attempts, status.ignored, status.history.len()), (1, 0, 1));
}

#[tokio::test]
async fn suspended_while_it_runs_the_attempt_is_stopped_and_not_charged() {
    let scene = Scene::new("suspend-1").await;
    let _operator = scene.operator().await;
    let script = format!("test $RETRYABLE_ATTEMPT = 2 && exit 0; {UNTIL_STOPPED}");
    scene.apply(&sh("stopped", &script, &json!({"maxRetries": 0})));
    scene.running("stopped", 1).await;
    scene.patch_spec("stopped", &json!({"suspend": true}));
    let suspended = scene.status("stopped", "its suspension", is(State::Suspended)).await;
    assert_eq!(suspension(&suspended), ("True", "Suspended"));
    let [only] = suspended.history.as_slice() else { panic!("{:#?}", suspended.history) };
    assert_eq!((only.reason.as_str(), only.action, only.delay_milliseconds), ("Suspended", Action::Ignore, None));
    assert_eq!((suspended.retries, suspended.ignored, suspended.attempts), (0, 1, 1));
    scene.patch_spec("stopped", &json!({"suspend": false}));
    let status = scene.finished("stopped").await;
    assert_eq!((status.state, status.retries, status.ignored), (Some(State::Succeeded), 0, 1));
    assert_eq!(status.history[1].attempt, 2);
}

#[tokio::test]
async fn suspended_while_it_waits_the_wait_is_kept() {
    let scene = Scene::new("suspend-2").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "waits").await;
    let backoff = json!({"strategy": "List", "delaysSeconds": [90], "jitter": {"mode": "None"}});
    scene.apply(&sh("waits", "test $RETRYABLE_ATTEMPT -ge 2", &json!({"backoff": backoff})));
    let waiting = scene.status("waits", "its wait", is(State::Waiting)).await;
    let Some(MicroTime(due)) = waiting.next_retry_time.clone() else { panic!("{waiting:#?}") };

    scene.patch_spec("waits", &json!({"suspend": true}));
    let suspended = scene.status("waits", "its suspension", is(State::Suspended)).await;
    assert_eq!(suspended.next_retry_time, None, "nothing is due while it is suspended");
    scene.patch_spec("waits", &json!({"suspend": false}));
    let resumed = scene.status("waits", "its wait again", |s| suspension(s).0 == "False").await;
    assert_eq!((resumed.state, resumed.next_retry_time), (Some(State::Waiting), Some(MicroTime(due))));

    scene.patch_spec("waits", &json!({"suspend": true}));
    scene.status("waits", "its suspension", is(State::Suspended)).await;
    eventually("the due time to pass", async || if Timestamp::now() > due { Ok(()) } else { Err("it is ahead") }).await;
    let pods: Vec<String> = scene.pods_of("waits").await.iter().map(ResourceExt::name_any).collect();
    assert_eq!(pods.len(), 1, "suspended, and yet there is another Pod: {pods:?}");
    scene.patch_spec("waits", &json!({"suspend": false}));
    let versions = record.until_finished().await;
    assert_eq!(due_times(&versions)[&2], due);
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.retries, status.ignored), (Some(State::Succeeded), 1, 0));
}
