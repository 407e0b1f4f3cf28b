use super::*;
use crate::ui::testing::{failed, in_state, task, time};
use serde_json::json;

#[test]
fn causes_and_names_are_kept_once() {
    let mut shared = Shared::default();
    let records: Vec<TaskRecord> = (0..100)
        .map(|number| {
            let message = format!("connection {number} to 10.0.0.{number} refused");
            TaskRecord::of(&task("shop", &format!("task-{number}"), &failed(20, &message)), &mut shared)
        })
        .collect();
    assert_eq!(records.iter().map(|record| record.failures.len()).sum::<usize>(), 2000);
    assert_eq!(shared.causes.len(), 1);
    assert_eq!(records[7].failures[0].message(), "connection 7 to 10.0.0.7 refused");
}

#[test]
fn what_keeps_a_task_from_going_on_says_more_than_its_last_failure() {
    let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason, "message": format!("{reason} it is"), "lastTransitionTime": time(0)});
    for (state, conditions, reason) in [
        ("Queued", json!([condition("Queued", "True", "CircuitOpen")]), "CircuitOpen"),
        ("Blocked", json!([condition("Blocked", "True", "DependencyPending")]), "DependencyPending"),
        ("Pending", json!([condition("AttemptStarted", "False", "Unschedulable")]), "Unschedulable"),
        ("Pending", json!([condition("Stalled", "True", "PodRejected")]), "PodRejected"),
        ("Waiting", json!([]), "Error"),
        ("Running", json!([condition("Stalled", "False", "Resumed")]), "Error"),
    ] {
        let mut status = in_state(state);
        status["reason"] = "Error".into();
        status["conditions"] = conditions;
        let record = TaskRecord::of(&task("shop", "t", &status), &mut Shared::default());
        assert_eq!(record.reason.as_deref(), Some(reason), "{state}");
    }
}

#[test]
fn a_record_is_small_whatever_the_task_says() {
    let mut shared = Shared::default();
    let record = TaskRecord::of(&task("shop", "t", &failed(1, &"x y ".repeat(250))), &mut shared);
    assert!(record.message.as_ref().unwrap().len() <= MAX_MESSAGE_BYTES);
    assert!(record.failures[0].message.as_ref().is_none_or(|message| message.len() <= MAX_MESSAGE_BYTES));
    assert!(size_of::<TaskRecord>() <= 256 && size_of::<FailureRecord>() <= 64, "{}", size_of::<TaskRecord>());
}
