use super::*;
use crate::api::{ConditionReason, ConditionType};
use crate::controller::scripted_server::{context, key, refusal};
use crate::core::condition_list;
use crate::core::decide::{LATE_POST_BOUND, SETTLE};
use crate::core::testing::{BuildPod, BuildTask, at, fixed, pod_of, task, time, without_jitter};
use kube_runtime::watcher::Event;

#[tokio::test]
async fn cleanup_runs_only_with_its_own_priority() {
    let mut deleted = task();
    deleted.metadata.deletion_timestamp = Some(time(0));
    let pod = pod_of(&deleted, 1).uid("known").exit(1);
    let freed = pod.clone();
    let (context, requests) = context(Arc::new(move |_| (200, serde_json::json!(freed))));
    let context = Arc::new(context);
    context.pod_cache.apply(&Event::Apply(pod), at(0));
    let kept = known(serde_json::to_value(&deleted).unwrap());
    for priority in [Priority::New, Priority::Active, Priority::Due, Priority::Cleanup] {
        assert!(requests.lock().unwrap().is_empty(), "before {priority:?}");
        reconcile(&key(), &kept, priority, &context).await.unwrap();
    }
    let sent = requests.lock().unwrap().clone();
    assert!(matches!(&sent[..], [patch] if patch.starts_with("PATCH ")), "{sent:?}");
}

/// The task as the watch has shown it.
fn known(manifest: serde_json::Value) -> KnownTask {
    KnownTask::Whole(Arc::new(serde_json::from_value(manifest).unwrap()))
}

/// The task as it is once all is stored that is known of its Pods.
fn settled(mut task: RetryableTask, context: &Context) -> RetryableTask {
    let pods = context.pod_cache.of(&key());
    loop {
        let lookups = Lookups { task_is_live: true, ..Lookups::default() };
        let process = ProcessState::default();
        let situation = Situation { task: &task, pods: &pods, now: at(0), lookups: &lookups, process: &process };
        let Plan::WriteStatus(write) = decide(&situation) else { return task };
        task.status = Some(*write.status);
    }
}

#[tokio::test(start_paused = true)]
async fn cleanup_is_deferred_once_while_the_task_is_due_soon() {
    let second = Duration::from_secs(1);
    for (wait, first, again) in [(1, 0, Some(second)), (2, 1, None), (60, 1, None)] {
        let task = task().max_retries(1).backoff(without_jitter(fixed(wait)));
        let pod = pod_of(&task, 1).uid("known").exit(1);
        let freed = pod.clone();
        let (context, requests) = context(Arc::new(move |_| (200, serde_json::json!(freed))));
        let context = Arc::new(context);
        context.pod_cache.apply(&Event::Apply(pod), at(0));
        let task = settled(task, &context);
        tokio::time::advance(unsigned(LATE_POST_BOUND)).await;
        let kept = known(serde_json::to_value(&task).unwrap());
        let cleanup = async || {
            reconcile(&key(), &kept, Priority::Cleanup, &context).await.unwrap();
            (requests.lock().unwrap().len(), context.work_queue.delay(&key(), Priority::Cleanup))
        };
        assert_eq!(cleanup().await, (first, again), "{wait} s before");
        if first == 0 {
            assert_eq!(cleanup().await.0, 1, "{wait} s before, the second time");
        }
    }
}

#[tokio::test]
async fn progress_is_reported_when_the_work_queue_is_idle() {
    let task = task();
    let pod = pod_of(&task, 1).uid("known");
    let (context, requests) = context(Arc::new(move |_| refusal(503, "ServiceUnavailable")));
    let context = Arc::new(context);
    context.pod_cache.apply(&Event::Apply(pod.clone()), at(0));
    let task = settled(task, &context);
    let long_ago = -SETTLE.as_secs();
    context.pod_cache.apply(&Event::Apply(pod.created(long_ago).version(2)), at(0));
    let kept = known(serde_json::to_value(&task).unwrap());
    let others = ["one", "two"].map(|name| TaskKey { name: name.into(), ..key() });
    for priority in [Priority::Due, Priority::Active, Priority::New] {
        for other in &others {
            context.work_queue.add(other.clone(), priority);
        }
        reconcile(&key(), &kept, Priority::Cleanup, &context).await.unwrap();
        while let Some((other, _)) = context.work_queue.try_next() {
            context.work_queue.done(&other);
        }
        assert!(requests.lock().unwrap().is_empty(), "{priority:?}");
        let delay = context.work_queue.delay(&key(), Priority::Cleanup);
        assert!(delay.is_some_and(|delay| delay < LONGEST_REQUEUE), "{priority:?}: {delay:?}");
    }
    reconcile(&key(), &kept, Priority::Cleanup, &context).await.unwrap_err();
    let sent = requests.lock().unwrap().clone();
    let [list, put] = &sent[..] else { panic!("{sent:?}") };
    assert!(list.starts_with("GET ") && list.contains("/events"), "why it has not started: {list}");
    assert!(put.starts_with("PUT ") && put.ends_with("/status"), "{put}");
}

#[tokio::test]
async fn what_is_known_of_the_start_of_an_attempt_is_dropped_after_its_end() {
    let waiting = {
        let (context, _) = context(Arc::new(|line| panic!("{line}")));
        context.pod_cache.apply(&Event::Apply(pod_of(&task(), 1).uid("known").exit(1)), at(0));
        settled(task().backoff(without_jitter(fixed(60))), &context)
    };
    let finished = {
        let (context, _) = context(Arc::new(|line| panic!("{line}")));
        context.pod_cache.apply(&Event::Apply(pod_of(&task(), 1).uid("known").exit(0)), at(0));
        settled(task(), &context)
    };
    for task in [waiting, finished] {
        let (context, _) = context(Arc::new(|line| panic!("{line}")));
        let context = Arc::new(context);
        let rejection = Rejection { answer: crate::core::rejection::Refusal::Code(503), message: "no".into() };
        context.process_states.with(&key(), &task.uid().unwrap(), |state| {
            state.warned("known".into(), None);
            state.not_created(1.into(), &rejection, Instant::now());
        });
        let kept = known(serde_json::to_value(&task).unwrap());
        reconcile(&key(), &kept, Priority::Due, &context).await.unwrap();
        let left = context.process_states.with(&key(), &task.uid().unwrap(), |state| {
            (state.warnings().is_some(), state.failing(1.into()).is_some())
        });
        assert_eq!(left, (false, false));
    }
}

#[tokio::test]
async fn a_cleanup_that_fails_waits_longer_each_time() {
    let mut over = task();
    over.spec.ttl_seconds_after_finished = Some(0);
    let mut status =
        RetryableTaskStatus { observed_generation: over.metadata.generation, ..RetryableTaskStatus::default() };
    let finished = (ConditionType::Finished, true);
    condition_list::set(&mut status.conditions, finished, ConditionReason::Succeeded, "", (at(0), None));
    status.completion_time = Some(time(0));
    over.status = Some(status);
    let (context, requests) = context(Arc::new(|line| match line.split(' ').next() {
        Some("DELETE") => refusal(403, "Forbidden"),
        _ => panic!("{line}"),
    }));
    let context = Arc::new(context);
    let kept = known(serde_json::to_value(&over).unwrap());
    let mut waits = Vec::new();
    for _ in 0..3 {
        assert!(reconcile(&key(), &kept, Priority::Cleanup, &context).await.is_err());
        let uid = kept.uid();
        waits.push(context.process_states.with(&key(), &uid, TaskState::failed));
        reconcile(&key(), &kept, Priority::Active, &context).await.unwrap();
    }
    assert_eq!(requests.lock().unwrap().len(), 3);
    assert!(waits.is_sorted_by(|sooner, later| sooner < later), "{waits:?}");
}

#[tokio::test]
async fn a_task_that_cannot_be_marked_as_unreadable_is_counted() {
    let mut manifest = serde_json::to_value(task()).unwrap();
    manifest["spec"]["maxRetries"] = "many".into();
    let live = manifest.clone();
    let (context, requests) = context(Arc::new(move |line| match line.split(' ').next() {
        Some("GET") => (200, live.clone()),
        _ => refusal(500, "InternalError"),
    }));
    let context = Arc::new(context);
    let kept = known(manifest);
    reconcile(&key(), &kept, Priority::Active, &context).await.unwrap_err();
    assert_eq!(requests.lock().unwrap().len(), 2, "a look, and a write that fails");
    let metrics = context.settings.telemetry.metrics.encode().unwrap();
    assert!(metrics.contains("status_update_failures_total 1"), "{metrics}");
}

#[test]
fn the_last_delay_of_a_run_limits_no_wait_of_the_next() {
    let history = serde_json::json!([{"attempt": 3, "podName": "p", "reason": "Error", "action": "Retry",
                                      "delayMilliseconds": 5000}]);
    let of = |first_attempt| {
        let status = serde_json::json!({"history": history, "current": {"number": 4},
                                        "run": {"number": 2, "firstAttempt": first_attempt}});
        last_delay(&serde_json::from_value(status).unwrap())
    };
    assert_eq!(of(2), Some(SignedDuration::from_millis(5001)));
    assert_eq!(of(4), None, "it waits for startAt");
}
