//! The size of a task in the API server's store, however often it fails.

use crate::server::stamp;
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::RetryableTask,
    core::{
        build_pod::pod,
        decide::{Lookups, Plan, ProcessState, Situation, TrackedPod, decide, slot_of},
        pod_snapshot::PodSnapshot,
    },
};
use serde_json::{Value, json};

const FAILURES: i32 = 10_000;
/// "Far below 100 KiB": the history's 48 KiB, the conditions, and a spec of usual size.
const MOST_BYTES: usize = 60 * 1024;

/// The Pod of the current attempt. It has ended with a message of the kubelet's maximum size, full of escaped characters.
fn ended(task: &RetryableTask, at: Timestamp) -> TrackedPod {
    let current = task.status.as_ref().and_then(|status| status.current.as_ref()).expect("an attempt that runs");
    let mut body = pod(task, slot_of(current), true);
    let uid = format!("9c1f1a52-5d0c-4a3b-8a55-{:012}", current.number);
    body["metadata"]["uid"] = json!(uid);
    body["metadata"]["creationTimestamp"] = json!(stamp(at));
    let message: String =
        format!("attempt {} \"<&>\" \\ \u{1b}[31m\n", current.number).repeat(4096).chars().take(4096).collect();
    let end = json!({"exitCode": 1 + current.number % 255, "reason": "Error", "message": message, "startedAt": stamp(at), "finishedAt": stamp(at)});
    body["status"] = json!({"phase": "Failed", "containerStatuses": [{
        "name": "task", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": end},
    }]});
    body["spec"]["nodeName"] = json!(format!("node-{}.{}", current.number, "x".repeat(200)));
    let pod = PodSnapshot::of(&serde_json::from_value(body).unwrap()).expect("a Pod of ours");
    let known = SignedDuration::ZERO;
    TrackedPod {
        pod,
        first_seen: at,
        known_since: known,
        deleting_since: None,
        stopping_since: None,
        ungated: None,
        end_seen: Some(at),
        deleted: false,
    }
}

/// How many bytes this JSON takes in the API server's store: Go escapes some characters as six bytes.
fn in_store(json: &str) -> usize {
    json.chars().map(|c| if matches!(c, '<' | '>' | '&') { 6 } else { c.len_utf8() }).sum()
}

#[test]
fn ten_thousand_failures_stay_far_below_100_kib() {
    let spec = json!({
        "image": "registry.example/import:1.4", "maxRetries": FAILURES - 1, "historyLimit": 100,
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0},
        "rules": [{"name": "n".repeat(63), "when": {"exitCodes": ["1-200"]}, "action": "Retry"}],
    });
    let mut task: RetryableTask = serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "spec": spec,
        "metadata": {"name": "t".repeat(63), "namespace": "default", "uid": "9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10", "generation": 1},
    }))
    .unwrap();
    let mut now = Timestamp::new(1_767_225_600, 0).unwrap();
    let (mut pods, mut largest) = (vec![], 0);
    loop {
        let lookups = Lookups { task_is_live: true, ..Lookups::default() };
        let process = ProcessState { uptime: SignedDuration::from_hours(1), ..ProcessState::default() };
        let plan = decide(&Situation { task: &task, pods: &pods, now, lookups: &lookups, process: &process });
        now += SignedDuration::from_secs(1);
        match plan {
            Plan::WriteStatus(write) => {
                task.status = Some(*write.status);
                largest = largest.max(in_store(&serde_json::to_string(&task).unwrap()));
            }
            Plan::CreatePod(_) => pods = vec![ended(&task, now)],
            Plan::Settled(_) if task.status.as_ref().is_some_and(|status| status.completion_time.is_some()) => break,
            Plan::Settled(_)
            | Plan::LookUpPod(_)
            | Plan::LookUpTasks(_)
            | Plan::ReadWarnings(_)
            | Plan::RefreshTask => {}
        }
    }
    let status: Value = serde_json::to_value(task.status.unwrap()).unwrap();
    assert_eq!((&status["attempts"], &status["retries"]), (&json!(FAILURES), &json!(FAILURES - 1)));
    let kept = status["history"].as_array().map_or(0, Vec::len);
    assert_eq!(status["historyDropped"], json!(usize::try_from(FAILURES).unwrap() - kept), "{kept} are kept");
    assert!((1..=100).contains(&kept), "{kept}");
    assert_eq!(status["history"][kept - 1]["attempt"], FAILURES, "the newest are kept");
    assert!(largest < MOST_BYTES, "{largest} bytes");
}
