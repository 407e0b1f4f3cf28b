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
