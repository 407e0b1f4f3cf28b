//! Tasks with a history, as the operator leaves them: decided by its own core, on Pods whose ends are given.

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::RetryableTask;
use retryable_tasks::core::build_pod::pod;
use retryable_tasks::core::decide::{Lookups, Plan, ProcessState, Situation, TrackedPod, decide};
use retryable_tasks::core::pod_snapshot::PodSnapshot;
use serde_json::{Value, json};

/// Attempts in the history of a finished task: as many as it keeps unless its spec says otherwise.
const HISTORY: i32 = 20;
/// How long each attempt takes, and how long after the one before it begins, in seconds.
const RUN: i64 = 2;
const EVERY: i64 = 10;

/// A task whose attempts have all failed. Its time to live is a year.
pub fn finished() -> Result<RetryableTask> {
    let spec = json!({
        "image": "registry.example/import:1.4", "maxRetries": HISTORY - 1, "ttlSecondsAfterFinished": 31_536_000,
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": 5, "jitter": {"mode": "None"}},
    });
    let task = failed(spec, HISTORY)?.0;
    ensure!(task.status.as_ref().is_some_and(|status| status.completion_time.is_some()), "the task has not ended");
    Ok(task)
}

/// A task whose first attempt has just failed and that waits for an hour, and the Pod that it keeps.
pub fn waiting() -> Result<(RetryableTask, Pod)> {
    let spec = json!({
        "image": "registry.example/import:1.4", "maxRetries": 3,
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": 3600, "jitter": {"mode": "None"}},
    });
    failed(spec, 1)
}

/// The task after so many failures, the last of them just now, and the Pod of the last.
fn failed(spec: Value, failures: i32) -> Result<(RetryableTask, Pod)> {
    let mut task = RetryableTask::new("sample", serde_json::from_value(spec)?);
    task.metadata.namespace = Some("work".into());
    task.metadata.uid = Some("9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10".into());
    task.metadata.generation = Some(1);
    task.metadata.resource_version = Some("1".into());
    let begin = Timestamp::now() - SignedDuration::from_secs(EVERY * i64::from(failures));
    task.metadata.creation_timestamp = serde_json::from_value(json!(begin))?;
    let mut last = None;
    for number in 1..=failures {
        let start = begin + SignedDuration::from_secs(EVERY * i64::from(number - 1));
        let end = start + SignedDuration::from_secs(RUN);
        settle(&mut task, &[], start)?;
        let pod = failed_pod(&task, number, (start, end))?;
        let snapshot = PodSnapshot::of(&pod).context("no attempt's Pod")?;
        settle(&mut task, &[TrackedPod::update(None, snapshot, (end, SignedDuration::ZERO))], end)?;
        last = Some(pod);
    }
    Ok((task, last.context("no attempt")?))
}

/// Stores what is decided until nothing is left to be stored.
fn settle(task: &mut RetryableTask, pods: &[TrackedPod], now: Timestamp) -> Result<()> {
    let lookups = Lookups { task_is_live: true, ..Lookups::default() };
    let process = ProcessState { uptime: SignedDuration::from_hours(1), ..ProcessState::default() };
    for _ in 0..10 {
        match decide(&Situation { task, pods, now, lookups: &lookups, process: &process }) {
            Plan::WriteStatus(write) => task.status = Some(*write.status),
            Plan::CreatePod(_) | Plan::Settled(_) => return Ok(()),
            plan => anyhow::bail!("the sample needs {plan:?}"),
        }
    }
    anyhow::bail!("the sample does not converge")
}

/// The Pod of an attempt that failed, without the finalizer.
fn failed_pod(task: &RetryableTask, number: i32, (start, end): (Timestamp, Timestamp)) -> Result<Pod> {
    let mut failed: Pod = serde_json::from_value(pod(task, number, true))?;
    failed.metadata.namespace = task.namespace();
    failed.metadata.uid = Some(format!("{number:08}-5d0c-4a3b-8a55-0f8f2b3f6f10"));
    failed.metadata.creation_timestamp = serde_json::from_value(json!(start))?;
    failed.metadata.resource_version = Some("1".into());
    failed.metadata.finalizers = None;
    failed.spec.get_or_insert_default().node_name = Some("node-1".into());
    let message = "connection to orders.example refused";
    let end = json!({"exitCode": 1, "reason": "Error", "message": message, "startedAt": start, "finishedAt": end});
    let container = json!({"name": "task", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                           "state": {"terminated": end}});
    let status = json!({"phase": "Failed", "startTime": start, "containerStatuses": [container]});
    failed.status = Some(serde_json::from_value(status)?);
    Ok(failed)
}
