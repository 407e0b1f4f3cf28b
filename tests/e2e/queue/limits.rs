//! How many attempts run, in which order, and what a hold does.

use super::service::{Mode, Service};
use super::{is, patch_queue, queue, queue_status, until_queue};
use crate::support::manifest::UNTIL_STOPPED;
use crate::support::oracle::no_rule_of_queues_is_broken;
use crate::support::record::FleetRecord;
use crate::support::{Scene, eventually, sh};
use retryable_tasks::api::{Action, ConditionType, State};
use retryable_tasks::core::condition_list;
use serde_json::json;

#[tokio::test]
async fn no_more_attempts_call_the_service_than_may_whatever_becomes_of_operator_and_queue() {
    let scene = Scene::new("queue-slots").await;
    let record = FleetRecord::of(&scene).await;
    let service = Service::start(&scene).await;
    let operator = scene.operator().await;
    scene.apply(&queue("two", &json!({"maxConcurrent": 2})));
    scene.apply(&queue("held", &json!({"stopPolicy": "Hold"})));
    scene.apply(&service.task("elsewhere", &json!({"queue": {"name": "held"}})));
    scene.apply(&service.task("nowhere", &json!({"queue": {"name": "missing"}})));
    let names: Vec<String> = (0..7).map(|n| format!("caller-{n}")).collect();
    for name in &names {
        let priority = if name == "caller-6" { 5 } else { 0 };
        scene.apply(&service.task(name, &json!({"queue": {"name": "two", "priority": priority}})));
    }
    until_queue(&scene, "two", "a full queue", |status| status.running.as_deref() == Some("2/2")).await;
    // killed while some run and others wait
    operator.kill_9();
    let _operator = scene.operator().await;
    for name in &names {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded), "{name}");
    }
    assert!(service.most_at_a_time() <= 2, "{:#?}", service.requests());
    assert_eq!(service.callers().len(), names.len(), "{:?}", service.callers());
    assert!(
        service.callers().iter().position(|name| name == "caller-6").unwrap() < 6,
        "the higher priority is not last"
    );
    // the queues do not touch each other
    assert_eq!(scene.task("elsewhere").await.status.unwrap().attempts, 0);
    let stalled = |status: &retryable_tasks::api::RetryableTaskStatus| {
        condition_list::find(&status.conditions, ConditionType::Stalled).is_some_and(|it| it.reason == "QueueMissing")
    };
    scene.status("nowhere", "Stalled", stalled).await;
    scene.apply(&queue("missing", &json!({"maxConcurrent": 1})));
    assert_eq!(scene.finished("nowhere").await.state, Some(State::Succeeded));
    let held = scene.status("elsewhere", "why it waits", is(State::Queued)).await;
    assert_eq!(held.reason.as_deref(), Some("Held"));
    patch_queue(&scene, "held", &json!({"stopPolicy": "None"}));
    assert_eq!(scene.finished("elsewhere").await.state, Some(State::Succeeded));
    let last = until_queue(&scene, "two", "nobody in it", |status| status.running.as_deref() == Some("0/2")).await;
    assert_eq!((last.queued, last.waiting), (0, 0));
    let columns = scene.kubectl(&["get", "tq", "two", "--no-headers"]).ok();
    assert_eq!(columns.split_whitespace().take(4).collect::<Vec<_>>(), ["two", "0/2", "0", "0"]);
    service.set(Mode::Down);
    no_rule_of_queues_is_broken(&scene, &record).await;
}

#[tokio::test]
async fn a_drain_stops_what_runs_uncharged_and_who_waits_too_long_takes_the_fallback() {
    let scene = Scene::new("queue-drain").await;
    let record = FleetRecord::of(&scene).await;
    let operator = scene.operator().await;
    scene.apply(&queue("drained", &json!({"maxConcurrent": 1})));
    let script = format!("test $RETRYABLE_ATTEMPT = 2 && exit 0; {UNTIL_STOPPED}");
    scene.apply(&sh("long", &script, &json!({"maxRetries": 0, "queue": {"name": "drained"}})));
    scene.running("long", 1).await;
    let fallback = json!({"command": ["true"]});
    let impatient = json!({"onFailure": fallback, "queue": {"name": "drained", "maxWaitSeconds": 3}});
    scene.apply(&sh("impatient", "true", &impatient));
    let failed = scene.finished("impatient").await;
    let condition = condition_list::find(&failed.conditions, ConditionType::Failed).unwrap();
    assert_eq!((condition.reason.as_str(), failed.attempts), ("QueueTimeout", 0));
    assert_eq!(failed.fallback.unwrap().exit_code, Some(0));

    // a hold stops nobody who runs
    patch_queue(&scene, "drained", &json!({"stopPolicy": "Hold"}));
    until_queue(&scene, "drained", "a hold", |status| status.conditions.iter().any(|it| it.reason == "Held")).await;
    scene.apply(&sh("late", "true", &json!({"queue": {"name": "drained"}})));
    let late = scene.status("late", "its place in the line", is(State::Queued)).await;
    assert_eq!(late.reason.as_deref(), Some("Held"));
    assert!(scene.task("long").await.status.unwrap().history.is_empty());

    patch_queue(&scene, "drained", &json!({"stopPolicy": "HoldAndDrain"}));
    let drained = scene.status("long", "its place in the line", |status| !status.history.is_empty()).await;
    let [only] = drained.history.as_slice() else { panic!("{:#?}", drained.history) };
    assert_eq!((only.reason.as_str(), only.action, drained.retries), ("QueueDrained", Action::Ignore, 0));
    eventually("the Event of the drain", async || {
        let notes: Vec<_> = scene.events("drained").await.into_iter().filter_map(|event| event.note).collect();
        if notes.iter().any(|note| note.contains("HoldAndDrain")) { Ok(()) } else { Err(format!("{notes:?}")) }
    })
    .await;
    operator.kill_9();
    let _operator = scene.operator().await;
    scene.status("long", "its place in the line", is(State::Queued)).await;
    assert_eq!(queue_status(&scene, "drained").await.conditions[0].reason, "HeldAndDrained");
    patch_queue(&scene, "drained", &json!({"stopPolicy": "None"}));
    let status = scene.finished("long").await;
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 0));
    assert_eq!(scene.finished("late").await.attempts, 1);
    no_rule_of_queues_is_broken(&scene, &record).await;
}
