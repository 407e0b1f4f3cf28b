//! The modes of the circuit breaker, and what orders and limits the starts besides the number of slots.

use super::{is, patch_queue, queue, queue_status, until_queue};
use crate::support::manifest::UNTIL_STOPPED;
use crate::support::oracle::no_rule_of_queues_is_broken;
use crate::support::record::FleetRecord;
use crate::support::{Scene, sh};
use jiff::Timestamp;
use retryable_tasks::api::{CircuitState, RetryableTask, RetryableTaskStatus, State, TaskQueueStatus};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn has_circuit(state: CircuitState) -> impl Fn(&TaskQueueStatus) -> bool {
    move |status| status.circuit.as_ref().is_some_and(|circuit| circuit.state == state)
}

/// A task that reports the class of its exception and those above it, as the Python package does.
fn failing(name: &str, queue: &str) -> Value {
    let report = r#"{"errorTypes": ["shop.ShopDown", "Unavailable", "Exception"]}"#;
    let script = format!("echo '{report}' >/dev/termination-log; exit 1");
    sh(name, &script, &json!({"maxRetries": 0, "queue": {"name": queue}}))
}

fn waits_for(reason: &str) -> impl Fn(&RetryableTaskStatus) -> bool {
    move |status| status.state == Some(State::Queued) && status.reason.as_deref() == Some(reason)
}

#[tokio::test]
async fn a_breaker_observes_then_is_forced_and_its_probe_passes_while_it_runs() {
    let scene = Scene::new("queue-modes").await;
    let record = FleetRecord::of(&scene).await;
    let _operator = scene.operator().await;
    let breaker = |mode: &str| {
        json!({"circuitBreaker": {
            "mode": mode, "failures": {"errorTypes": ["Unavailable"]}, "openAfter": {"tasks": 2},
            "openSeconds": 1, "probes": {"successes": 1, "passAfterSeconds": 3}, "recoverySeconds": 0,
        }})
    };
    scene.apply(&queue("api", &breaker("Observe")));
    for name in ["first", "second"] {
        scene.apply(&failing(name, "api"));
    }
    let observed = until_queue(&scene, "api", "what it would do", has_circuit(CircuitState::WouldOpen)).await;
    let cause = observed.circuit.unwrap().cause.unwrap();
    assert_eq!(cause, "2 of 2 tasks failed: shop.ShopDown (2)");
    let note = scene.event("api", "CircuitWouldOpen").await;
    assert!(note.contains("with mode Enforce no attempt would start now"), "{note}");
    scene.apply(&sh("goes-on", "true", &json!({"queue": {"name": "api"}})));
    assert_eq!(scene.finished("goes-on").await.state, Some(State::Succeeded));

    patch_queue(&scene, "api", &breaker("ForceOpen"));
    until_queue(&scene, "api", "an open circuit", has_circuit(CircuitState::Open)).await;
    let columns = scene.kubectl(&["get", "taskqueue", "api", "--no-headers"]).ok();
    assert!(columns.contains(" Open "), "{columns}");
    scene.apply(&sh("stopped", "true", &json!({"queue": {"name": "api"}})));
    scene.status("stopped", "the circuit", waits_for("CircuitOpen")).await;

    patch_queue(&scene, "api", &breaker("ForceClosed"));
    assert_eq!(scene.finished("stopped").await.state, Some(State::Succeeded));
    for name in ["third", "fourth"] {
        scene.apply(&failing(name, "api"));
        scene.finished(name).await;
    }
    assert!(has_circuit(CircuitState::Closed)(&queue_status(&scene, "api").await));

    // what has failed meanwhile counts
    patch_queue(&scene, "api", &breaker("Enforce"));
    until_queue(&scene, "api", "a circuit that opens", has_circuit(CircuitState::Open)).await;
    scene.apply(&sh("long", UNTIL_STOPPED, &json!({"queue": {"name": "api"}})));
    until_queue(&scene, "api", "a closed circuit", has_circuit(CircuitState::Closed)).await;
    let long = scene.task("long").await.status.unwrap();
    assert_eq!((long.state, long.attempts), (Some(State::Running), 1), "{long:#?}");
    cancel(&scene, &["long"]).await;
    no_rule_of_queues_is_broken(&scene, &record).await;
}

#[tokio::test]
async fn retries_keep_to_their_share_tenants_take_turns_and_starts_to_their_rate() {
    let scene = Scene::new("queue-order").await;
    let record = FleetRecord::of(&scene).await;
    let _operator = scene.operator().await;

    // half of two slots: the second retry waits, and a first attempt does not
    scene.apply(&queue("half", &json!({"maxConcurrent": 2, "retries": {"maxPercent": 50}})));
    let script = format!("test $RETRYABLE_ATTEMPT = 1 && exit 1; {UNTIL_STOPPED}");
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    let of_half = json!({"backoff": backoff, "queue": {"name": "half"}});
    scene.apply(&sh("retry-1", &script, &of_half));
    scene.running("retry-1", 2).await;
    scene.apply(&sh("retry-2", &script, &of_half));
    scene.status("retry-2", "a slot for retries", waits_for("RetriesFull")).await;
    scene.apply(&sh("fresh", "true", &of_half));
    assert_eq!(scene.finished("fresh").await.state, Some(State::Succeeded));
    scene.ask("retry-1", "cancel", "now");
    scene.running("retry-2", 2).await;

    // two slots, one of which tenant a has: the other one is for b, though a came first
    scene.apply(&queue("fair", &json!({"maxConcurrent": 2})));
    let of_tenant = |tenant: &str| json!({"queue": {"name": "fair", "fairnessKey": tenant}});
    for name in ["a-1", "a-2"] {
        scene.apply(&sh(name, UNTIL_STOPPED, &of_tenant("a")));
        scene.running(name, 1).await;
    }
    scene.apply(&sh("a-3", UNTIL_STOPPED, &of_tenant("a")));
    scene.status("a-3", "a slot", waits_for("QueueFull")).await;
    scene.apply(&sh("b-1", UNTIL_STOPPED, &of_tenant("b")));
    scene.status("b-1", "a slot", waits_for("QueueFull")).await;
    scene.ask("a-1", "cancel", "now");
    scene.running("b-1", 1).await;
    assert!(is(State::Queued)(&scene.task("a-3").await.status.unwrap()));

    // one start in two seconds
    scene.apply(&queue("slow", &json!({"startRate": {"starts": 1, "perSeconds": 2}})));
    let names = ["r-1", "r-2", "r-3", "r-4"];
    for name in names {
        scene.apply(&sh(name, "true", &json!({"queue": {"name": "slow"}})));
    }
    for name in names {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded));
    }
    let mut grants = grants(&record, "slow");
    grants.sort_unstable();
    assert_eq!(grants.len(), names.len());
    for pair in grants.windows(2) {
        assert!(pair[1].duration_since(pair[0]).as_millis() >= 1999, "{grants:?}");
    }
    cancel(&scene, &["retry-2", "a-2", "a-3", "b-1"]).await;
    no_rule_of_queues_is_broken(&scene, &record).await;
}

async fn cancel(scene: &Scene, names: &[&str]) {
    for name in names {
        scene.ask(name, "cancel", "now");
    }
    for name in names {
        scene.finished(name).await;
    }
}

/// When the queue let each attempt start, as the status said while it ran.
fn grants(record: &FleetRecord, queue: &str) -> Vec<Timestamp> {
    let grant = |task: RetryableTask| {
        let slot = task.status?.current?.queue.filter(|slot| slot.name == queue)?;
        Some((task.metadata.uid?, slot.grant_time?.0))
    };
    let tasks = record.sights().into_iter().filter_map(|sight| serde_json::from_value(sight.object).ok());
    tasks.filter_map(grant).collect::<BTreeMap<_, _>>().into_values().collect()
}
