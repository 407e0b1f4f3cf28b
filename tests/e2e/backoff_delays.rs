//! The delays between attempts.

use crate::support::record::{Record, assert_waits};
use crate::support::{Scene, sh};
use serde_json::{Value, json};

/// The delays in the history of `scripts`, in milliseconds. The audit log shows that each was kept.
async fn waits_of(scene: &Scene, name: &str, record: Record) -> Vec<i64> {
    let versions = record.until_finished().await;
    assert_waits(scene, &versions);
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!(status.attempts, 3, "{name}: {status:#?}");
    status.history.iter().filter_map(|entry| entry.delay_milliseconds).collect()
}

/// Fails twice in three attempts, with each of the given backoffs at the same time.
async fn run_all(scene: &Scene, backoffs: &[(&str, Value)]) -> Vec<Vec<i64>> {
    let mut records = Vec::new();
    for (name, backoff) in backoffs {
        records.push((name, Record::of(scene, name).await));
        scene.apply(&sh(name, "test $RETRYABLE_ATTEMPT -ge 3", &json!({"backoff": backoff})));
    }
    let mut waits = Vec::new();
    for (name, record) in records {
        waits.push(waits_of(scene, name, record).await);
    }
    waits
}

#[tokio::test]
async fn every_strategy_waits_as_documented() {
    let scene = Scene::new("strategies").await;
    let _operator = scene.operator().await;
    let exact = json!({"mode": "None"});
    let backoffs = [
        ("fixed", json!({"strategy": "Fixed", "initialDelaySeconds": 2, "jitter": exact})),
        ("linear", json!({"strategy": "Linear", "initialDelaySeconds": 2, "jitter": exact})),
        ("doubling", json!({"jitter": exact})),
        ("exponential", json!({"strategy": "Exponential", "multiplier": "2.5", "maxDelaySeconds": 2, "jitter": exact})),
        ("fibonacci", json!({"strategy": "Fibonacci", "initialDelaySeconds": 2, "jitter": exact})),
        ("listed", json!({"strategy": "List", "delaysSeconds": [3, 1], "jitter": exact})),
        ("repeated", json!({"strategy": "List", "delaysSeconds": [2], "jitter": exact})),
        ("at-once", json!({"strategy": "Fixed", "initialDelaySeconds": 0})),
    ];
    let expected =
        [[2000, 2000], [2000, 4000], [1000, 2000], [1000, 2000], [2000, 2000], [3000, 1000], [2000, 2000], [0, 0]];
    assert_eq!(run_all(&scene, &backoffs).await, expected);
}

#[tokio::test]
async fn every_jitter_mode_stays_in_its_range() {
    let scene = Scene::new("jitter").await;
    let _operator = scene.operator().await;
    let with = |jitter: Value| json!({"strategy": "Fixed", "initialDelaySeconds": 4, "jitter": jitter});
    let backoffs = [
        ("default", json!({"strategy": "Fixed", "initialDelaySeconds": 4})),
        ("proportional", with(json!({"mode": "Proportional", "percent": 10}))),
        ("full", with(json!({"mode": "Full"}))),
        ("equal", with(json!({"mode": "Equal"}))),
    ];
    let ranges = [3000..=5000, 3600..=4400, 0..=4000, 2000..=4000];
    for ((waits, range), (name, _)) in run_all(&scene, &backoffs).await.iter().zip(ranges).zip(&backoffs) {
        assert!(waits.iter().all(|wait| range.contains(wait)), "{name}: {waits:?} are not within {range:?}");
        assert_ne!(waits[0], waits[1], "{name}: two different jitter seeds");
    }
}
