use super::*;

const UID: &str = "9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10";

#[test]
fn a_trace_is_the_tasks_and_a_span_the_attempts() {
    assert_eq!(trace_id(UID), "9c1f1a525d0c4a3b8a550f8f2b3f6f10");
    assert_eq!(trace_id("odd").len(), 32);
    let (first, second) = (traceparent(UID, 1), traceparent(UID, 2));
    assert_eq!(first.len(), 55);
    assert_eq!(first.split('-').nth(1), second.split('-').nth(1));
    assert_ne!(first.split('-').nth(2), second.split('-').nth(2));
}

#[test]
fn each_span_of_a_task_has_an_id_of_its_own() {
    let fallback = TaskSpan::Slot(Slot { number: 1, fallback: true });
    let spans = [TaskSpan::Run(1), TaskSpan::Slot(1.into()), fallback, TaskSpan::BackOff(1), TaskSpan::Queue(1)];
    let ids: std::collections::HashSet<String> = spans.iter().map(|span| span_id(UID, *span)).collect();
    assert_eq!(ids.len(), spans.len());
    assert!(ids.iter().all(|id| id.len() == 16));
    assert_eq!(traceparent(UID, 1).split('-').nth(2), Some(span_id(UID, TaskSpan::Slot(1.into())).as_str()));
}
