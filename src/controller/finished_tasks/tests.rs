use super::*;
use crate::controller::reconcile::reconcile;
use crate::controller::scripted_server::{context, key, refusal};
use crate::controller::task_cache::{Cached, FinishedTask, KnownTask};
use crate::controller::watch::Tasks;
use crate::core::testing::{BuildPod, BuildTask, UID, at, pod_of, task};
use k8s_openapi::api::core::v1::Pod;
use kube_runtime::watcher::Event;
use serde_json::json;
use std::sync::Mutex;

/// The Pod of the attempt that ended the task, as it stays.
fn kept_pod() -> Pod {
    pod_of(&task(), 1).uid("one").exit(0).without_finalizer()
}

/// The task after its first attempt has succeeded, and all is stored.
fn finished(mut task: RetryableTask) -> RetryableTask {
    let (context, _) = context(Arc::new(|line| panic!("{line}")));
    context.pod_cache.apply(&Event::Apply(pod_of(&task, 1).uid("one").exit(0)), at(0));
    let (pods, lookups, process) = (context.pod_cache.of(&key()), Lookups::default(), ProcessState::default());
    loop {
        let situation = Situation { task: &task, pods: &pods, now: at(0), lookups: &lookups, process: &process };
        let Plan::WriteStatus(write) = decide(&situation) else { return task };
        task.status = Some(*write.status);
    }
}

fn cached(task: &RetryableTask) -> CachedTask {
    serde_json::from_value(json!(task)).unwrap()
}

/// A context whose first list of Pods is complete and has these.
fn context_with(pods: &[Pod], live: Option<RetryableTask>) -> (Arc<Context>, Arc<Mutex<Vec<String>>>) {
    let (context, requests) = context(Arc::new(move |line| match (line.split(' ').next(), &live) {
        (Some("GET"), Some(live)) => (200, json!(live)),
        _ => refusal(404, "NotFound"),
    }));
    context.pod_cache.apply(&Event::Init, at(0));
    for pod in pods {
        context.pod_cache.apply(&Event::InitApply(pod.clone()), at(0));
    }
    context.pod_cache.apply(&Event::InitDone, at(0));
    (Arc::new(context), requests)
}

#[tokio::test]
async fn a_finished_task_rests_only_if_nothing_of_it_is_left_to_do() {
    const FOR_EVER: Option<AtRest> = Some(AtRest { expires: None });
    let until = |seconds| Some(AtRest { expires: Some(at(seconds)) });
    let over = || finished(task());
    let edited = over().change(|task| task.metadata.generation = Some(2));
    let late = pod_of(&task(), 2).uid("two").running();
    let of_an_earlier_task = pod_of(&task().named(&key().name, "earlier"), 1).uid("earlier-one").exit(0);
    assert!(finished(task()).status.unwrap().completion_time.is_some());
    let cases = [
        ("without Pods", over(), vec![], FOR_EVER),
        ("with the Pod that is kept", over(), vec![kept_pod()], FOR_EVER),
        ("with a time to live", finished(task().ttl(60)), vec![kept_pod()], until(60)),
        ("with one that is over", finished(task().ttl(0)), vec![], until(0)),
        ("before its end", task(), vec![], None),
        ("its Pod has the finalizer", over(), vec![pod_of(&task(), 1).uid("one").exit(0)], None),
        ("a Pod came late", over(), vec![kept_pod(), late], None),
        ("its Pod is not to be kept", finished(task().retention(0, 0)), vec![kept_pod()], None),
        ("to run again", over().asked("run-again", "1"), vec![], None),
        ("cancelled too late", over().asked("cancel", "1"), vec![], None),
        ("with an unknown request", over().asked("rerun", "1"), vec![], None),
        ("its spec has changed", edited, vec![], None),
    ];
    for (name, task, pods, expected) in cases {
        let (context, _) = context_with(&pods, None);
        assert_eq!(rests(&context, &key(), &cached(&task)), expected, "{name}");
    }
    let (context, _) = context_with(&[of_an_earlier_task], None);
    assert_eq!(rests(&context, &key(), &cached(&over())), None, "a Pod of an earlier task of that name");
}

#[tokio::test]
async fn a_task_of_which_a_reconcile_knows_more_does_not_rest() {
    let over = finished(task());
    let (unsynced, _) = context(Arc::new(|line| panic!("{line}")));
    assert_eq!(rests(&unsynced, &key(), &cached(&over)), None, "its Pods are not known");
    let (context, _) = context_with(&[], None);
    context.process_states.with(&key(), UID, |_| ());
    assert_eq!(rests(&context, &key(), &cached(&over)), None);
    context.process_states.forget(&key());
    assert!(rests(&context, &key(), &cached(&over)).is_some());
}

#[tokio::test]
async fn a_reconcile_that_ends_at_rest_leaves_little() {
    let over = finished(task().ttl(60));
    let (context, requests) = context_with(&[kept_pod()], None);
    context.process_states.with(&key(), UID, |_| ());
    Tasks::new(context.clone(), None).apply(Event::Apply(cached(&over)));
    let Cached::Known(known) = context.task_cache.get(&key()) else { panic!("it is not known") };
    assert!(matches!(known, KnownTask::Whole(_)));
    let (queued, priority) = context.work_queue.try_next().unwrap();
    reconcile(&queued, &known, priority, &context).await.unwrap();
    context.work_queue.done(&queued);
    let Cached::Known(KnownTask::AtRest(FinishedTask { expires, .. })) = context.task_cache.get(&key()) else {
        panic!("all of it is still held")
    };
    assert_eq!(expires, Some(at(60)));
    assert!(!context.process_states.has(&key()));
    for priority in Priority::ALL {
        assert_eq!(context.work_queue.delay(&key(), priority), None, "{priority:?}");
    }
    assert!(goes_on_resting(&context, &key(), expires));
    assert_eq!(requests.lock().unwrap().len(), 0);
}

/// A task at rest, as the API server has it now, with these Pods.
async fn reconcile_resting(live: Option<RetryableTask>, news: Option<Pod>) -> (Arc<Context>, Vec<String>) {
    let (context, requests) = context_with(&[kept_pod()], live);
    let tasks = Tasks::new(context.clone(), None);
    tasks.apply(Event::Init);
    tasks.apply(Event::InitApply(cached(&finished(task()))));
    tasks.apply(Event::InitDone);
    assert!(context.work_queue.try_next().is_none(), "it needs no reconcile");
    if let Some(pod) = news {
        context.pod_cache.apply(&Event::Apply(pod), at(0));
    }
    let Cached::Known(known) = context.task_cache.get(&key()) else { panic!("it is not known") };
    let KnownTask::AtRest(FinishedTask { expires, .. }) = &known else { panic!("{known:?}") };
    if !goes_on_resting(&context, &key(), *expires) {
        let _ = reconcile(&key(), &known, Priority::Active, &context).await;
    }
    let sent = requests.lock().unwrap().clone();
    (context, sent)
}

#[tokio::test]
async fn a_task_at_rest_is_read_before_anything_is_done_for_it() {
    let late = pod_of(&task(), 2).uid("two").version(9).running();
    let (_, sent) = Box::pin(reconcile_resting(Some(finished(task())), Some(late))).await;
    let [read, delete, ..] = &sent[..] else { panic!("{sent:?}") };
    assert!(read.starts_with("GET ") && read.ends_with(&format!("retryabletasks/{}", key().name)), "{sent:?}");
    assert!(delete.starts_with("DELETE ") && delete.contains("/pods/"), "{sent:?}");

    let again = finished(task()).asked("run-again", "1");
    let (_, sent) = Box::pin(reconcile_resting(Some(again), Some(kept_pod().version(9).on_node("other")))).await;
    assert!(sent[1].starts_with("PUT "), "the watch has yet to show the request: {sent:?}");
}

#[tokio::test]
async fn a_task_at_rest_is_not_read_for_pods_of_which_nothing_is_left_to_do() {
    let (context, sent) = Box::pin(reconcile_resting(Some(finished(task())), None)).await;
    assert_eq!(sent, Vec::<String>::new());
    context.pod_cache.apply(&Event::Apply(kept_pod()), at(0));
    assert!(goes_on_resting(&context, &key(), None), "a list shows the Pod once more");
    context.pod_cache.apply(&Event::Delete(kept_pod().version(9)), at(0));
    assert!(goes_on_resting(&context, &key(), None));
    assert_eq!(context.pod_cache.of(&key()), [], "a deleted Pod is forgotten");
}

#[tokio::test]
async fn a_task_at_rest_that_the_server_no_longer_has_is_forgotten() {
    let (context, sent) = Box::pin(reconcile_resting(None, Some(kept_pod().version(9)))).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(matches!(context.task_cache.get(&key()), Cached::Absent));
    assert_eq!(context.work_queue.try_next(), Some((key(), Priority::Active)), "its Pods may have the finalizer");
}

#[tokio::test]
async fn the_watch_shows_changes_of_a_task_at_rest() {
    let (context, _) = context_with(&[], None);
    let tasks = Tasks::new(context.clone(), None);
    let over = finished(task());
    let version = |version: &str, task: RetryableTask| {
        Event::Apply(cached(&task.change(|task| task.metadata.resource_version = Some(version.into()))))
    };
    let annotated = |task: RetryableTask| {
        task.change(|task| {
            task.metadata.annotations.get_or_insert_default().insert("example.com/seen".into(), "1".into());
        })
    };
    tasks.apply(version("1", over.clone()));
    tasks.apply(version("2", annotated(over.clone())));
    assert_eq!(context.work_queue.try_next(), None, "others' annotations");
    tasks.apply(version("3", over.asked("run-again", "1")));
    assert_eq!(context.work_queue.try_next(), Some((key(), Priority::Active)));
    assert!(matches!(context.task_cache.get(&key()), Cached::Known(KnownTask::Whole(_))));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_dispatched_when_its_time_to_live_is_over() {
    let begun = tokio::time::Instant::now();
    let (scripted, _) = context_with(&[], None);
    let mut context = Arc::into_inner(scripted).unwrap();
    context.settings.clock = Arc::new(move || at(i64::try_from(begun.elapsed().as_secs()).unwrap()));
    let context = Arc::new(context);
    let expiring = tokio::spawn(expire(context.clone()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    Tasks::new(context.clone(), None).apply(Event::Apply(cached(&finished(task().ttl(8000)))));
    assert_eq!(context.work_queue.next().await, (key(), Priority::Cleanup));
    assert_eq!(begun.elapsed().as_secs(), 8000);
    expiring.abort();
}
