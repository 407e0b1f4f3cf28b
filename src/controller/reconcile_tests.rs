use super::*;
use crate::controller::scripted::{context, key};
use crate::core::testing::{BuildPod, at, pod_of, task, time};
use kube_runtime::watcher::Event;

#[tokio::test]
async fn a_clean_up_takes_no_place_of_what_is_more_urgent() {
    let mut deleted = task();
    deleted.metadata.deletion_timestamp = Some(time(0));
    let pod = pod_of(&deleted, 1).uid("known").exit(1);
    let freed = pod.clone();
    let (context, requests) = context(Arc::new(move |_| (200, serde_json::json!(freed))));
    let context = Arc::new(context);
    context.attempts.apply(&Event::Apply(pod), at(0));
    let kept: Kept = serde_json::from_value(serde_json::to_value(&deleted).unwrap()).unwrap();
    let kept = Arc::new(kept);
    for line in [Line::New, Line::Begun, Line::Due, Line::CleanUp] {
        assert!(requests.lock().unwrap().is_empty(), "before {line:?}");
        context.lanes.touched(key(), line);
        reconcile(kept.clone(), context.clone()).await.unwrap();
        context.lanes.settled(&key());
    }
    let sent = requests.lock().unwrap().clone();
    assert!(matches!(&sent[..], [patch] if patch.starts_with("PATCH ")), "{sent:?}");
}
