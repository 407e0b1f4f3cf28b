use super::*;
use crate::controller::scripted_server::{context, key, metadata, refusal};
use crate::core::testing::{BuildPod, BuildTask, NAME, UID, at, pod_of, task};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube_runtime::watcher::Event;
use std::sync::OnceLock;

fn pod(task_uid: &str, number: i32) -> Pod {
    pod_of(&task().named(NAME, task_uid), number).uid(&format!("{task_uid}-{number}"))
}

fn freed(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(|pod| format!("PATCH /api/v1/namespaces/{}/pods/{}", key().namespace, pod.name_any())).collect()
}

/// The Pods that are freed when the cache knows these and the task that is there has this UID.
async fn freed_with(known: &[Pod], live: Option<&'static str>) -> (bool, Vec<String>) {
    let (context, requests) = context(Arc::new(move |line| match (line.starts_with("GET"), live) {
        (true, Some(uid)) => metadata(uid),
        (true, None) => refusal(404, "NotFound"),
        (false, _) => (200, serde_json::json!(pod_of(&task(), 1).without_finalizer())),
    }));
    context.pod_cache.apply(&Event::Init, at(0));
    for pod in known {
        context.pod_cache.apply(&Event::InitApply(pod.clone()), at(0));
    }
    context.pod_cache.apply(&Event::InitDone, at(0));
    let done = free(&context, &key()).await;
    let requests = requests.lock().unwrap().iter().filter(|line| line.starts_with("PATCH")).cloned().collect();
    (done, requests)
}

#[tokio::test]
async fn pods_of_a_task_that_was_deleted_and_made_again_are_freed_and_the_new_ones_are_not() {
    let (old, new) = ([pod("old", 1), pod("old", 2)], [pod(UID, 1)]);
    let all: Vec<Pod> = old.iter().chain(&new).cloned().collect();
    assert_eq!(freed_with(&all, Some(UID)).await, (true, freed(&old)));
    assert_eq!(freed_with(&new, Some(UID)).await, (true, vec![]));
    let (done, deleted) = freed_with(&all, None).await;
    assert!(done && deleted.len() == 3, "without a task all are freed: {deleted:?}");
}

#[tokio::test]
async fn pods_without_their_owner_reference_are_freed_too() {
    let orphan = pod("old", 1).without_owner();
    assert_eq!(freed_with(std::slice::from_ref(&orphan), Some(UID)).await, (true, freed(&[orphan])));
}

#[tokio::test]
async fn a_pod_that_a_new_task_makes_while_the_server_is_asked_is_not_freed() {
    // The answer that there is no task is older than the Pod that the watch shows by the time it comes.
    let context = Arc::new(OnceLock::<Context>::new());
    let there = context.clone();
    let (made, requests) = self::context(Arc::new(move |line| {
        if !line.starts_with("GET") {
            return (200, serde_json::json!(pod("old", 1).without_finalizer()));
        }
        there.get().unwrap().pod_cache.apply(&Event::Apply(pod(UID, 1)), at(1));
        refusal(404, "NotFound")
    }));
    let context = context.get_or_init(|| made);
    context.pod_cache.apply(&Event::InitApply(pod("old", 1)), at(0));
    context.pod_cache.apply(&Event::InitDone, at(0));
    assert!(free(context, &key()).await);
    let patches: Vec<String> =
        requests.lock().unwrap().iter().filter(|line| line.starts_with("PATCH")).cloned().collect();
    assert_eq!(patches, freed(&[pod("old", 1)]));
}
