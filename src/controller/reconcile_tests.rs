use super::*;
use crate::api::{ConditionReason, ConditionType, CurrentAttempt};
use crate::controller::scripted::{context, key, refusal};
use crate::core::conditions;
use crate::core::testing::{BuildPod, BuildTask, at, fixed, pod_of, task, time};
use kube_runtime::watcher::Event;

/// The reconcile is over, and the one that it may have asked for.
fn leave(context: &Context) {
    while context.lanes.line_of(&key()).is_some() {
        context.lanes.settled(&key());
    }
}

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
    for line in [Line::New, Line::Begun, Line::Due, Line::CanWait] {
        assert!(requests.lock().unwrap().is_empty(), "before {line:?}");
        context.lanes.touched(key(), line);
        reconcile(&kept, &context).await.unwrap();
        leave(&context);
    }
    let sent = requests.lock().unwrap().clone();
    assert!(matches!(&sent[..], [patch] if patch.starts_with("PATCH ")), "{sent:?}");
}

/// The status is written by the line that can wait, and by any once the end has waited for as long as it can.
#[tokio::test]
async fn an_end_before_a_wait_makes_way_for_those_in_a_hurry() {
    let mut begun = task().backoff(fixed(60));
    let pod = pod_of(&begun, 1).created(-20).exit(1);
    let current = CurrentAttempt { number: 1, pod_name: pod.metadata.name.clone(), ..CurrentAttempt::default() };
    begun.status = Some(RetryableTaskStatus { attempts: 1, current: Some(current), ..RetryableTaskStatus::default() });
    let kept: Kept = serde_json::from_value(serde_json::to_value(&begun).unwrap()).unwrap();
    for (line, since_the_end, is_written) in
        [(Line::Due, 0, false), (Line::Begun, 0, false), (Line::CanWait, 0, true), (Line::Begun, 10, true)]
    {
        let (context, requests) = context(Arc::new(|_| refusal(404, "NotFound")));
        let context = Arc::new(context);
        context.attempts.apply(&Event::Apply(pod.clone()), at(-since_the_end));
        context.lanes.touched(key(), line);
        reconcile(&kept, &context).await.unwrap();
        let sent = requests.lock().unwrap().clone();
        assert_eq!(sent.iter().any(|line| line.starts_with("PUT ")), is_written, "{line:?}: {sent:?}");
        context.lanes.settled(&key());
        let again = (!is_written).then_some(Line::CanWait);
        assert_eq!(context.lanes.line_of(&key()), again, "{line:?}");
    }
}

#[tokio::test]
async fn a_clean_up_that_fails_waits_longer_each_time() {
    let mut over = task();
    over.spec.ttl_seconds_after_finished = Some(0);
    let mut status =
        RetryableTaskStatus { observed_generation: over.metadata.generation, ..RetryableTaskStatus::default() };
    let finished = (ConditionType::Finished, true);
    conditions::set(&mut status.conditions, finished, ConditionReason::Succeeded, "", (at(0), None));
    status.completion_time = Some(time(0));
    over.status = Some(status);
    let (context, requests) = context(Arc::new(|line| match line.split(' ').next() {
        Some("DELETE") => refusal(403, "Forbidden"),
        _ => panic!("{line}"),
    }));
    let context = Arc::new(context);
    let kept: Kept = serde_json::from_value(serde_json::to_value(&over).unwrap()).unwrap();
    let mut waits = Vec::new();
    for _ in 0..3 {
        context.lanes.touched(key(), Line::CanWait);
        assert!(reconcile(&kept, &context).await.is_err());
        context.lanes.settled(&key());
        let uid = kept.uid().unwrap();
        waits.push(context.memory.with(&key(), &uid, Remembered::failed));
        context.lanes.touched(key(), Line::Begun);
        reconcile(&kept, &context).await.unwrap();
        leave(&context);
    }
    assert_eq!(requests.lock().unwrap().len(), 3);
    assert!(waits.is_sorted_by(|sooner, later| sooner < later), "{waits:?}");
}
