//! Pods that our finalizer holds and whose task is gone: deleted while nobody watched, orphaned, or followed by a namesake.

use super::TaskKey;
use super::apply::free_pod;
use super::reconcile::Context;
use crate::api::RetryableTask;
use crate::core::decide::PodRef;
use futures::{FutureExt, StreamExt, stream};
use kube::{Api, ResourceExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How many tasks are looked after at a time; one that failed counts while it waits.
const CONCURRENCY: usize = 256;
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks after the tasks that `named` names, side by side, until nobody can name any more.
pub async fn work(context: Arc<Context>, named: UnboundedReceiver<TaskKey>) {
    stream::unfold(named, |mut named| async move { named.recv().await.map(|key| (key, named)) })
        .for_each_concurrent(CONCURRENCY, |key| {
            let context = context.clone();
            async move {
                let named = key.clone();
                if AssertUnwindSafe(free(&context, key)).catch_unwind().await.is_err() {
                    tracing::error!(key = %named, "freeing Pods without a task panicked");
                }
            }
        })
        .await;
}

/// Frees every Pod of `key` whose task is not there any more. The cache may be behind, so the API server is asked which task is there.
/// What fails is tried again.
async fn free(context: &Context, key: TaskKey) {
    context.attempts.synced().await;
    if held(context, &key, None).is_empty() {
        context.attempts.forget_gone(&key, |_| false);
        return;
    }
    let tasks: Api<RetryableTask> = Api::namespaced(context.settings.client.clone(), &key.namespace);
    let live = match tasks.get_metadata_opt(&key.name).await {
        Ok(live) => live.and_then(|task| task.uid()),
        Err(error) => {
            tracing::warn!(%key, %error, "could not find out whether the task of held Pods exists; trying again");
            return again(context, key).await;
        }
    };
    let mut all = true;
    for pod in held(context, &key, live.as_deref()) {
        tracing::info!(%key, pod = pod.name, "freeing the Pod: its task is gone");
        if let Err(error) = free_pod(context, &key, &pod).await {
            context.settings.telemetry.metrics.reconcile_failed("orphan");
            tracing::warn!(%key, pod = pod.name, %error, "freeing the Pod failed; trying again");
            all = false;
        }
    }
    if !all {
        again(context, key).await;
    }
}

fn held(context: &Context, key: &TaskKey, live: Option<&str>) -> Vec<PodRef> {
    let seen = context.attempts.of(key).into_iter().filter(|seen| seen.pod.held && !seen.gone);
    seen.filter(|seen| live != Some(seen.pod.task_uid.as_str()))
        .map(|seen| PodRef { name: seen.pod.pod_name, uid: seen.pod.pod_uid })
        .collect()
}

async fn again(context: &Context, key: TaskKey) {
    tokio::time::sleep(AGAIN).await;
    context.orphaned(key);
}
