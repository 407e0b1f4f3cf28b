//! Removes the finalizer from Pods whose task is deleted: while no operator ran, with `--cascade=orphan`, or to be created
//! again under the same name.

use super::TaskKey;
use super::context::Context;
use super::task_api::TaskApi;
use crate::core::decide::PodRef;
use futures::{FutureExt, StreamExt, stream};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How many tasks are handled at a time.
const CONCURRENCY: usize = 16;
/// How long to wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Handles the tasks of the queue, several at a time, until the queue closes. A failure is retried a little later.
pub async fn work(context: Arc<Context>, queue: UnboundedReceiver<TaskKey>) {
    stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|key| (key, queue)) })
        .for_each_concurrent(CONCURRENCY, |key| handle(context.clone(), key))
        .await;
}

async fn handle(context: Arc<Context>, key: TaskKey) {
    let before = pods_with_finalizer(&context, &key, None);
    let done = AssertUnwindSafe(remove_finalizers(&context, &key)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(
            namespace = key.namespace,
            name = key.name,
            "removing the finalizer from Pods without a task panicked"
        );
        false
    });
    if done {
        context.orphans_done(&key);
        // Pods that the watch showed meanwhile did not add the task again.
        if pods_with_finalizer(&context, &key, None).iter().any(|pod| !before.contains(pod)) {
            context.add_orphans(key);
        }
    } else {
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_DELAY).await;
            context.orphans_done(&key);
            context.add_orphans(key);
        });
    }
}

/// Removes the finalizer from every Pod of that name whose task is deleted. The cache may be behind, so the API server
/// says which task exists. False if any request failed.
async fn remove_finalizers(context: &Context, key: &TaskKey) -> bool {
    context.pod_cache.synced().await;
    // A task that is created during the request may have Pods by the time of the answer. They keep the finalizer.
    let before = pods_with_finalizer(context, key, None);
    if before.is_empty() {
        context.pod_cache.forget_deleted(key, |_| false);
        return true;
    }
    let api = TaskApi::new(context, key);
    let live = match api.read_task_uid().await {
        Ok(live) => live,
        Err(error) => {
            tracing::warn!(namespace = key.namespace, name = key.name, %error, "cannot read whether the task of Pods with the finalizer exists; trying again");
            return false;
        }
    };
    let mut all = true;
    for pod in pods_with_finalizer(context, key, live.as_deref()).into_iter().filter(|pod| before.contains(pod)) {
        tracing::info!(
            namespace = key.namespace,
            name = key.name,
            pod = pod.name,
            "removing the finalizer from the Pod: its task is deleted"
        );
        if let Err(error) = api.remove_finalizer(&pod).await {
            context.settings.telemetry.metrics.reconcile_failed("orphan");
            tracing::warn!(namespace = key.namespace, name = key.name, pod = pod.name, %error, "cannot remove the finalizer from the Pod; trying again");
            all = false;
        }
    }
    all
}

fn pods_with_finalizer(context: &Context, key: &TaskKey, live: Option<&str>) -> Vec<PodRef> {
    let tracked = context.pod_cache.of(key).into_iter().filter(|tracked| tracked.pod.has_finalizer && !tracked.deleted);
    tracked
        .filter(|tracked| live != Some(tracked.pod.task_uid.as_str()))
        .map(|tracked| PodRef { name: tracked.pod.pod_name, uid: tracked.pod.pod_uid })
        .collect()
}

#[cfg(test)]
mod tests;
