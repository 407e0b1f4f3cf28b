use super::*;
use crate::api::{ConditionReason, Fallback, QueueRef, QueueSlot, RetryWait, Run};
use crate::core::testing::{at, task};
use crate::core::trace_context::traceparent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

fn second(second: i64) -> MicroTime {
    MicroTime(at(second))
}

fn with(status: RetryableTaskStatus) -> RetryableTask {
    let mut task = task();
    task.metadata.creation_timestamp = Some(Time(at(0)));
    task.spec.queue = Some(QueueRef { name: "payments".into(), ..QueueRef::default() });
    RetryableTask { status: Some(status), ..task }
}

fn ended(attempt: i32, action: Action) -> Transition {
    let entry = HistoryEntry {
        attempt,
        action,
        pod_name: "import-1".into(),
        reason: "Error".into(),
        error_type: Some("Timeout".into()),
        exit_code: Some(3),
        message: Some("no answer".into()),
        start_time: Some(Time(at(10))),
        finish_time: Some(Time(at(13))),
        ..HistoryEntry::default()
    };
    Transition::Ended { entry: Box::new(entry), wait: None, line: None }
}

fn has(span: &Span, key: &str, value: &str) -> bool {
    span.attributes.iter().any(|(other, found)| *other == key && *found == text(value))
}

#[test]
fn an_attempt_is_the_span_that_its_pod_knows() {
    let task = with(RetryableTaskStatus::default());
    let uid = task.metadata.uid.clone().unwrap();
    let [span] = &spans(&task, &task, &ended(2, Action::Retry))[..] else { panic!("one span was expected") };
    assert_eq!(format!("00-{}-{}-01", span.trace_id, span.span_id), traceparent(&uid, 2));
    assert_eq!((span.start, span.end, span.error.as_deref()), (at(10), at(13), Some("no answer")));
    assert_eq!(span.parent, Some(span_id(&uid, TaskSpan::Run(1))));
    assert!(has(span, "error.type", "Timeout") && has(span, "k8s.pod.name", "import-1"), "{span:?}");
    assert!(has(span, "retryable.queue", "payments") && has(span, "retryable.action", "Retry"), "{span:?}");
    assert_eq!(spans(&task, &task, &ended(2, Action::Retry)).first(), Some(span), "told again, it is the same");
    for action in [Action::Complete, Action::Ignore] {
        assert_eq!(spans(&task, &task, &ended(2, action))[0].error, None, "{action:?}");
    }
}

#[test]
fn waits_are_spans_when_they_are_over() {
    let wait =
        RetryWait { from: second(13), rule: None, action: Action::Retry, charged: true, retry_after_seconds: None };
    let waiting =
        CurrentAttempt { number: 2, due_time: Some(second(20)), wait: Some(wait), ..CurrentAttempt::default() };
    let slot = QueueSlot { name: "payments".into(), grant_time: Some(second(50)), probe: false };
    let started =
        CurrentAttempt { number: 2, create_time: Some(second(51)), queue: Some(slot), ..CurrentAttempt::default() };
    let status =
        |current: &CurrentAttempt| RetryableTaskStatus { current: Some(current.clone()), ..Default::default() };
    let (before, stored) = (with(status(&waiting)), with(status(&started)));
    let transition = Transition::Started { slot: 2.into() };
    let [back_off, queue] = &spans(&before, &stored, &transition)[..] else { panic!("two spans were expected") };
    assert_eq!((back_off.name.as_str(), back_off.start, back_off.end), ("back-off", at(13), at(20)));
    assert_eq!((queue.name.as_str(), queue.start, queue.end), ("queue", at(20), at(50)));
    assert_ne!(back_off.span_id, queue.span_id);

    let at_once = CurrentAttempt { queue: None, create_time: Some(second(15)), ..started };
    let [skipped] = &spans(&before, &with(status(&at_once)), &transition)[..] else { panic!("one span was expected") };
    assert_eq!(skipped.end, at(15), "the user has skipped the rest");
    let first = with(status(&CurrentAttempt { number: 1, ..CurrentAttempt::default() }));
    assert_eq!(spans(&first, &stored, &transition), [], "it has not waited");
    let at_once = CurrentAttempt { create_time: Some(second(21)), queue: None, ..waiting };
    let [short] = &spans(&first, &with(status(&at_once)), &transition)[..] else { panic!("one span was expected") };
    assert_eq!((short.start, short.end), (at(13), at(20)), "it was over when the end was seen");
}

#[test]
fn a_run_is_the_root_of_its_spans() {
    let mut status = RetryableTaskStatus {
        attempts: 2,
        start_time: Some(Time(at(5))),
        completion_time: Some(Time(at(60))),
        ..RetryableTaskStatus::default()
    };
    let reason = ConditionReason::RetriesExhausted;
    let failed = Transition::Finished { succeeded: false, reason, message: "maxRetries (1) exhausted".into() };
    let task = with(status.clone());
    let uid = task.metadata.uid.clone().unwrap();
    let [root] = &spans(&task, &task, &failed)[..] else { panic!("one span was expected") };
    assert_eq!((root.parent.as_deref(), root.start, root.end), (None, at(0), at(60)), "from its creation on");
    assert_eq!(root.error.as_deref(), Some("maxRetries (1) exhausted"));
    assert_eq!(root.span_id, span_id(&uid, TaskSpan::Run(1)));

    status.run = Some(Run { number: 2, first_attempt: 2 });
    status.fallback = Some(Fallback {
        state: FallbackState::Failed,
        start_time: Some(Time(at(40))),
        finish_time: Some(Time(at(59))),
        reason: Some("Error".into()),
        ..Fallback::default()
    });
    let task = with(status);
    let [root, fallback] = &spans(&task, &task, &failed)[..] else { panic!("two spans were expected") };
    assert_eq!((root.start, &root.span_id), (at(5), &span_id(&uid, TaskSpan::Run(2))));
    let slot = Slot { number: 2, fallback: true };
    assert_eq!(format!("00-{}-{}-01", fallback.trace_id, fallback.span_id), traceparent(&uid, slot));
    assert_eq!((fallback.parent.as_ref(), fallback.error.as_deref()), (Some(&root.span_id), Some("Error")));
}
