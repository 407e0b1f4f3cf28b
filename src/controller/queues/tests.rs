use super::work::Write;
use super::*;
use crate::api::TaskQueueSpec;
use crate::telemetry::metrics::Metrics;
use kube::api::ObjectMeta;
use serde_json::json;

fn queues() -> (Queues, Arc<WorkQueue>) {
    let work_queue = Arc::new(WorkQueue::new(8, &Metrics::default()));
    let clock: Clock = Arc::new(|| Timestamp::from_second(1_800_000_000).unwrap());
    (Queues::new(&clock, work_queue.clone()), work_queue)
}

fn key(name: &str) -> TaskKey {
    TaskKey { namespace: "ns".into(), name: name.into() }
}

fn task(name: &str, version: u64) -> RetryableTask {
    let spec = json!({"image": "x", "queue": {"name": "q"}});
    let mut task = RetryableTask::new(name, serde_json::from_value(spec).unwrap());
    task.metadata = ObjectMeta {
        uid: Some(name.into()),
        namespace: Some("ns".into()),
        resource_version: Some(version.to_string()),
        ..task.metadata
    };
    task
}

/// The task with the slot of its first attempt.
fn running(name: &str, version: u64) -> RetryableTask {
    let mut task = task(name, version);
    let current = json!({"number": 1, "podName": "pod", "queue": {"name": "q"}});
    task.status = Some(serde_json::from_value(json!({"current": current})).unwrap());
    task
}

#[allow(clippy::needless_pass_by_value)] // a literal at each call
fn object(spec: serde_json::Value, version: u64) -> QueueObject {
    serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": {"name": "q", "namespace": "ns", "uid": "queue", "resourceVersion": version.to_string()},
        "spec": spec,
    }))
    .unwrap()
}

fn demand() -> QueueDemand {
    QueueDemand {
        queue: "q".into(),
        attempt: 1,
        is_retry: false,
        retries_left: 3,
        priority: 0,
        fairness_key: None,
        since: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

/// All is listed: a queue with one slot, and those tasks.
fn serving(tasks: Vec<RetryableTask>) -> (Queues, Arc<WorkQueue>) {
    let (queues, work_queue) = queues();
    queues.apply(object(json!({"maxConcurrent": 1}), 1));
    let facts = tasks.into_iter().filter_map(|task| queues.facts(&task));
    queues.tasks_listed(facts.map(|facts| ("ns".to_owned(), facts)));
    queues.pods_listed();
    queues.queues_listed(&[key("q")].into());
    while work_queue.try_next().is_some() {}
    (queues, work_queue)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_before_tasks_pods_and_queues_are_listed() {
    let (queues, work_queue) = queues();
    let one = task("a", 1);
    queues.apply(object(json!({"maxConcurrent": 1}), 1));
    queues.tasks_listed(queues.facts(&one).map(|facts| ("ns".to_owned(), facts)).into_iter());
    assert_eq!(queues.view(&key("a"), &one), None);
    assert!(!queues.demand(&key("a"), &one, Some(&demand())));
    queues.pods_listed();
    assert!(!queues.demand(&key("a"), &one, Some(&demand())));
    queues.queues_listed(&[key("q")].into());
    assert_eq!(work_queue.try_next(), Some((key("a"), Priority::Active)), "it is asked again what it wants");
    assert!(queues.demand(&key("a"), &one, Some(&demand())));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_list_queues_a_task_is_told_so() {
    let (queues, _) = queues();
    queues.cannot_list("taskqueues is forbidden".into());
    let view = queues.view(&key("a"), &task("a", 1)).unwrap();
    let Admission::Waits { message, .. } = view.admission else { panic!("{view:?}") };
    assert_eq!(message, "the operator cannot list TaskQueues: taskqueues is forbidden");
    let without = RetryableTask::new("b", serde_json::from_value(json!({"image": "x"})).unwrap());
    assert_eq!(queues.view(&key("b"), &without), None);
}

#[tokio::test(start_paused = true)]
async fn a_freed_slot_wakes_the_next_task_and_no_other() {
    let (queues, work_queue) = serving(vec![running("a", 1)]);
    for name in ["b", "c"] {
        assert!(!queues.demand(&key(name), &task(name, 2), Some(&demand())));
    }
    queues.observe("ns", &task("a", 3));
    assert_eq!(work_queue.try_next(), Some((key("b"), Priority::Due)));
    assert_eq!(work_queue.try_next(), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_deletion_holds_no_slot_and_an_old_version_changes_nothing() {
    let (queues, work_queue) = serving(vec![running("a", 5)]);
    assert!(!queues.demand(&key("b"), &task("b", 6), Some(&demand())));
    queues.observe("ns", &task("a", 4));
    assert_eq!(work_queue.try_next(), None, "the cache is behind");
    queues.remove("a");
    assert_eq!(work_queue.try_next(), Some((key("b"), Priority::Due)));
    queues.observe("ns", &running("a", 7));
    let counts = queues.lock().queues[&key("q")].ledger.counts();
    assert_eq!(counts.running, 1, "the grant of b");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_read_hides_no_others_and_stays_as_it_was() {
    let (queues, _) = serving(vec![]);
    queues.apply(object(json!({"stopPolicy": "OfAnotherVersion"}), 2));
    assert!(queues.demand(&key("a"), &task("a", 3), Some(&demand())));
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_a_queue_that_is_gone_changes_nothing() {
    let (queues, _) = serving(vec![running("a", 1)]);
    let old = object(json!({"maxConcurrent": 1}), 2).queue().unwrap();
    let uid = || queues.lock().queues[&key("q")].object.as_ref().and_then(|known| known.object.metadata.uid.clone());
    queues.remove_queue(&key("q"), Some("queue"));
    queues.answered(&key("q"), old.clone());
    assert_eq!(uid(), None);
    let mut later = old.clone();
    later.metadata.uid = Some("later".into());
    later.metadata.resource_version = Some("4".into());
    queues.set(&key("q"), later);
    queues.answered(&key("q"), old);
    assert_eq!(uid().as_deref(), Some("later"), "it would be taken for the stored one until the next change");
}

#[tokio::test(start_paused = true)]
async fn counts_are_written_at_most_every_ten_seconds_and_what_changes_the_queue_at_once() {
    let (queues, _) = serving(vec![running("a", 1)]);
    let (writes, _) = queues.turn(false);
    let [Write { status, object: before, .. }] = writes.as_slice() else { panic!("{} writes", writes.len()) };
    assert_eq!((status.running.as_deref(), status.conditions.len()), (Some("1/1"), 1));
    assert!(queues.turn(false).0.is_empty(), "one write at a time");
    let stored = |spec: TaskQueueSpec, version: u64, status: &crate::api::TaskQueueStatus| {
        let mut stored = TaskQueue { spec, status: Some(status.clone()), ..(**before).clone() };
        stored.metadata.resource_version = Some(version.to_string());
        stored
    };
    let after = stored(before.spec.clone(), 2, status);
    {
        let mut inner = queues.lock();
        let queue = inner.queues.get_mut(&key("q")).unwrap();
        (queue.is_being_written, queue.written) = (false, Some(Instant::now()));
    }
    queues.set(&key("q"), after.clone());
    assert!(queues.turn(false).0.is_empty());
    queues.remove("a");
    let (writes, sleep) = queues.turn(false);
    assert!(writes.is_empty() && sleep <= Duration::from_secs(10), "{sleep:?}");
    let held = TaskQueueSpec { stop_policy: crate::api::StopPolicy::Hold, ..before.spec.clone() };
    queues.set(&key("q"), stored(held, 3, status));
    let (writes, _) = queues.turn(false);
    assert_eq!(writes[0].status.running.as_deref(), Some("0/1"));
    let active = &writes[0].status.conditions[0];
    assert_eq!((active.status.as_str(), active.reason.as_str()), ("False", "Held"));
}
