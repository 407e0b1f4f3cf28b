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

fn released(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(|pod| format!("PATCH /api/v1/namespaces/{}/pods/{}", key().namespace, pod.name_any())).collect()
}

/// The requests that remove finalizers when the cache has these Pods and the live task has this UID.
async fn released_with(known: &[Pod], live: Option<&'static str>) -> (bool, Vec<String>) {
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
    let done = remove_finalizers(&context, &key()).await;
    let requests = requests.lock().unwrap().iter().filter(|line| line.starts_with("PATCH")).cloned().collect();
    (done, requests)
}

#[tokio::test]
async fn pods_of_a_task_that_was_deleted_and_created_again_lose_the_finalizer_and_the_new_ones_keep_it() {
    let (old, new) = ([pod("old", 1), pod("old", 2)], [pod(UID, 1)]);
    let all: Vec<Pod> = old.iter().chain(&new).cloned().collect();
    assert_eq!(released_with(&all, Some(UID)).await, (true, released(&old)));
    assert_eq!(released_with(&new, Some(UID)).await, (true, vec![]));
    let (done, deleted) = released_with(&all, None).await;
    assert!(done && deleted.len() == 3, "without a task all lose it: {deleted:?}");
}

#[tokio::test]
async fn pods_without_their_owner_reference_lose_the_finalizer_too() {
    let orphan = pod("old", 1).without_owner();
    assert_eq!(released_with(std::slice::from_ref(&orphan), Some(UID)).await, (true, released(&[orphan])));
}

#[tokio::test]
async fn a_pod_that_a_new_task_creates_during_the_request_keeps_its_finalizer() {
    // The answer that there is no task is older than the Pod that the watch shows before the answer arrives.
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
    assert!(remove_finalizers(context, &key()).await);
    let patches: Vec<String> =
        requests.lock().unwrap().iter().filter(|line| line.starts_with("PATCH")).cloned().collect();
    assert_eq!(patches, released(&[pod("old", 1)]));
}
