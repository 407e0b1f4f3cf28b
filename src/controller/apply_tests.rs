use super::*;
use crate::controller::scripted::{context, key, metadata, refusal};
use crate::core::testing::{BuildPod, at, pod_of, task};
use kube_runtime::watcher::Event;
use std::sync::Arc;

/// Deletes, or frees, a Pod that the cache knows; the write is answered with 409, and a look shows a Pod with this UID,
/// or none. Tells whether it counts as done, whether the Pod counts as gone, and how many requests it took.
async fn on_conflict(delete: bool, live: Option<&'static str>) -> (bool, bool, usize) {
    let (context, requests) = context(Arc::new(move |line| match (line.split(' ').next(), live) {
        (Some("GET"), Some(uid)) => metadata(uid),
        (Some("GET"), None) => refusal(404, "NotFound"),
        _ => refusal(409, "Conflict"),
    }));
    let pod = pod_of(&task(), 1).uid("known").exit(1);
    context.attempts.apply(&Event::Apply(pod.clone()), at(0));
    let pod = PodRef { name: pod.name_any(), uid: "known".into() };
    let (delete, release) = if delete { (vec![pod], vec![]) } else { (vec![], vec![pod]) };
    let done = clean_up(&context, &key(), &delete, &release).await;
    let asked = requests.lock().unwrap().len();
    (done, context.attempts.of(&key())[0].gone, asked)
}

#[tokio::test]
async fn a_conflict_means_a_pod_that_is_gone_only_if_a_look_says_so() {
    for delete in [true, false] {
        assert_eq!(on_conflict(delete, Some("known")).await, (false, false, 2), "others write too: tried again later");
        assert_eq!(on_conflict(delete, Some("another")).await, (true, true, 2), "another Pod has the name");
        assert_eq!(on_conflict(delete, None).await, (true, true, 2), "it went in the meantime");
    }
}

#[tokio::test]
async fn a_look_that_fails_says_nothing_of_the_pod() {
    let (context, _) = context(Arc::new(|line| {
        if line.starts_with("GET") { refusal(500, "InternalError") } else { refusal(409, "Conflict") }
    }));
    let pod = pod_of(&task(), 1).uid("known").exit(1);
    context.attempts.apply(&Event::Apply(pod.clone()), at(0));
    let known = PodRef { name: pod.name_any(), uid: "known".into() };
    assert!(!clean_up(&context, &key(), &[], &[known]).await);
    assert!(!context.attempts.of(&key())[0].gone);
}

#[tokio::test]
async fn a_process_that_does_not_lead_creates_and_stores_nothing() {
    let created = || Arc::new(|_: &str| (201_u16, serde_json::json!(pod_of(&task(), 1))));
    let (mut context, requests) = context(created());
    context.settings.may_write = Arc::new(|| false);
    let refused = create(&context, &key(), &task(), 1.into()).await;
    assert!(matches!(refused, Err(Error::NotLeading(_))));
    let refused = store(&context, &key(), &task(), RetryableTaskStatus::default()).await;
    assert!(matches!(refused, Err(Error::NotLeading(_))));
    assert_eq!(requests.lock().unwrap().len(), 0);
    context.settings.may_write = Arc::new(|| true);
    assert!(matches!(create(&context, &key(), &task(), 1.into()).await, Ok(Created::Done(_))));
}
