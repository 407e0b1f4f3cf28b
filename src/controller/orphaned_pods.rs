//! Pods that our finalizer holds and whose task is gone: deleted while nobody watched, orphaned, or followed by a
//! namesake.

use super::TaskKey;
use super::context::Context;
use super::task_api::TaskApi;
use crate::core::decide::PodRef;
use futures::{FutureExt, StreamExt, stream};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How many tasks are looked after at a time.
const CONCURRENCY: usize = 16;
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks after the tasks that `named` names, side by side, until nobody can name any more. What fails is tried again a
/// little later.
pub async fn work(context: Arc<Context>, named: UnboundedReceiver<TaskKey>) {
    stream::unfold(named, |mut named| async move { named.recv().await.map(|key| (key, named)) })
        .for_each_concurrent(CONCURRENCY, |key| look_after(context.clone(), key))
        .await;
}

async fn look_after(context: Arc<Context>, key: TaskKey) {
    let before = held(&context, &key, None);
    let done = AssertUnwindSafe(free(&context, &key)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(namespace = key.namespace, name = key.name, "freeing Pods without a task panicked");
        false
    });
    if done {
        context.orphans_done(&key);
        // What the watch has shown meanwhile was not named again.
        if held(&context, &key, None).iter().any(|pod| !before.contains(pod)) {
            context.add_orphans(key);
        }
    } else {
        tokio::spawn(async move {
            tokio::time::sleep(AGAIN).await;
            context.orphans_done(&key);
            context.add_orphans(key);
        });
    }
}

/// Frees every Pod of `key` whose task is not there any more. The cache may be behind, so the API server is asked which
/// task is there. False if any could not be freed.
async fn free(context: &Context, key: &TaskKey) -> bool {
    context.pod_cache.synced().await;
    // A task that is created while the API server is being asked may have Pods by the time of the answer: they are not
    // meant.
    let before = held(context, key, None);
    if before.is_empty() {
        context.pod_cache.forget_gone(key, |_| false);
        return true;
    }
    let api = TaskApi::new(context, key);
    let live = match api.read_task_uid().await {
        Ok(live) => live,
        Err(error) => {
            tracing::warn!(namespace = key.namespace, name = key.name, %error, "could not find out whether the task of held Pods exists; trying again");
            return false;
        }
    };
    let mut all = true;
    for pod in held(context, key, live.as_deref()).into_iter().filter(|pod| before.contains(pod)) {
        tracing::info!(namespace = key.namespace, name = key.name, pod = pod.name, "freeing the Pod: its task is gone");
        if let Err(error) = api.release_pod(&pod).await {
            context.settings.telemetry.metrics.reconcile_failed("orphan");
            tracing::warn!(namespace = key.namespace, name = key.name, pod = pod.name, %error, "freeing the Pod failed; trying again");
            all = false;
        }
    }
    all
}

fn held(context: &Context, key: &TaskKey, live: Option<&str>) -> Vec<PodRef> {
    let tracked = context.pod_cache.of(key).into_iter().filter(|tracked| tracked.pod.has_finalizer && !tracked.deleted);
    tracked
        .filter(|tracked| live != Some(tracked.pod.task_uid.as_str()))
        .map(|tracked| PodRef { name: tracked.pod.pod_name, uid: tracked.pod.pod_uid })
        .collect()
}

#[cfg(test)]
mod tests;
