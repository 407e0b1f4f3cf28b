//! A hundred failures with messages of the kubelet's maximum size: the object stays small.

use crate::support::manifest::simulated;
use crate::support::record::Record;
use crate::support::{Scene, kubectl, machine};
use retryable_tasks::api::State;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FAILURES: i32 = 100;
/// What a kubelet passes on of a termination message, in bytes.
const MESSAGE: usize = 4096;
/// As the API server shows the object, which is as it stores it.
const MAX_OBJECT: usize = 100 * 1024;

#[tokio::test]
async fn a_hundred_failures_with_long_messages_keep_the_object_small() {
    let scene = Scene::new("verbose").await;
    machine::simulate_nodes();
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "verbose").await;
    // All that grows when it is written as JSON.
    let message = "\"\\\n<\u{1f980}".repeat(MESSAGE / 8);
    assert_eq!(message.len(), MESSAGE);
    let annotations = json!({"simulate.retryable.dev/duration": "1ms", "simulate.retryable.dev/message": message});
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    let more = json!({"maxRetries": FAILURES, "historyLimit": 100, "backoff": backoff});
    scene.apply(&simulated("verbose", FAILURES, &annotations, &more));
    let versions = record.until_finished().await;
    assert_eq!(
        ended_with(&record, &message),
        usize::try_from(FAILURES).unwrap(),
        "no test: the Pods did not say it all"
    );
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), FAILURES + 1, FAILURES));
    let recorded = i32::try_from(status.history.len()).unwrap();
    assert_eq!(recorded + status.history_dropped, FAILURES + 1, "what is not told is counted");
    let numbers: Vec<i32> = status.history.iter().map(|entry| entry.attempt).collect();
    assert!(numbers.iter().copied().eq(status.history_dropped + 1..=FAILURES + 1), "the newest are told: {numbers:?}");
    let output = status.history[0].message.as_deref().unwrap_or_default();
    assert!(output.len() > 100, "no test: an attempt said {output:?}");

    let path = format!("/apis/retryable.dev/v1alpha1/namespaces/{}/retryabletasks/verbose", scene.namespace);
    let size = kubectl(&["get", "--raw", &path]).ok().len();
    eprintln!("after {FAILURES} failures with {} bytes each, {recorded} of them told: {size} bytes", message.len());
    assert!(size < MAX_OBJECT, "{size} bytes");
}

/// How many Pods have ended with exactly this termination message.
fn ended_with(record: &Record, message: &str) -> usize {
    let sights = record.sights();
    let output = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == message;
    let names =
        sights.iter().filter(|sight| output(&sight.object)).map(|sight| sight.object["metadata"]["name"].as_str());
    names.collect::<BTreeSet<_>>().len()
}
