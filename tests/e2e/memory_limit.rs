//! A memory limit that the tasks do not fit into: the operator says so before the kernel kills it.

use crate::support::memory_group::MemoryGroup;
use crate::support::{Operator, Scene, eventually, task};
use futures::StreamExt;
use kube::api::PostParams;
use retryable_tasks::api::RetryableTask;
use serde_json::json;
use std::os::unix::process::ExitStatusExt;

const TASKS: usize = 2500;
/// What each of them has in its annotations, of 256 KiB at most.
const BYTES: usize = 8_000;
/// How much of them the operator may hold.
const ROOM: u64 = 12_000_000;

/// A large task that never starts.
fn large(n: usize) -> RetryableTask {
    let mut manifest = task(&format!("large-{n}"), &json!({"image": "none", "suspend": true}));
    manifest["metadata"]["annotations"] = json!({"example.com/text": "x".repeat(BYTES)});
    serde_json::from_value(manifest).unwrap()
}

#[tokio::test]
async fn an_operator_says_that_its_tasks_do_not_fit_before_it_is_killed() {
    let scene = Scene::new("memory-limit").await;
    let group = MemoryGroup::new(&scene.namespace);
    let spawn = || Operator::spawn_in(&group, &scene.operator_user(), &scene.namespace, &[]);
    let empty = spawn().at_work().await;
    assert!(!empty.get("/metrics").1.contains("retryabletask_memory_"), "there is no limit");
    let taken = group.taken();
    drop(empty);

    let create = async |n| scene.tasks().create(&PostParams::default(), &large(n)).await.unwrap();
    futures::stream::iter(0..TASKS).map(create).buffer_unordered(8).collect::<Vec<_>>().await;
    group.limit(taken + ROOM);
    let mut killed = spawn();
    assert_eq!(killed.ended().await.signal(), Some(9), "{}", killed.log());
    let log = killed.log();
    let said = log.lines().rfind(|line| line.contains("the memory limit is nearly reached")).unwrap_or_default();
    for part in ["held=", "is_listing=true", "percent=", "resources.limits.memory"] {
        assert!(said.contains(part), "{part} is missing in:\n{log}");
    }

    let enough = 1 << 30;
    group.limit(enough);
    let works = spawn().at_work().await;
    eventually("the limit among the metrics", async || {
        let (_, metrics) = works.get("/metrics");
        let has = |line: &str| metrics.lines().any(|shown| shown.starts_with(line));
        let shown =
            has(&format!("retryabletask_memory_limit_bytes {enough}")) && has("retryabletask_memory_usage_ratio 0.");
        if shown { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert!(!works.log().contains("the memory limit is nearly reached"));
}
