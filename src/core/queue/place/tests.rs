//! Where tasks are in the line.

use super::*;
use crate::core::testing::{BuildTask, at, task_with};
use serde_json::json;

fn waits(name: &str, since: i64, priority: i32, key: &str) -> RetryableTask {
    let spec = json!({"image": "busybox", "queue": {"name": "mail", "priority": priority, "fairnessKey": key}});
    let status = json!({"observedGeneration": 1, "current": {"number": 2, "dueTime": at(since).to_string()}});
    task_with(spec).named(name, name).status(serde_json::from_value(status).unwrap())
}

fn holds(name: &str, key: &str) -> RetryableTask {
    let slot = json!({"number": 1, "podName": name, "queue": {"name": "mail"}});
    let status = serde_json::from_value(json!({"observedGeneration": 1, "current": slot})).unwrap();
    waits(name, 0, 0, key).status(status)
}

fn order(tasks: &[RetryableTask]) -> Vec<String> {
    let places = places("mail", tasks, at(100));
    let mut order: Vec<_> = places.iter().map(|(uid, place)| (place.nth, uid.to_string(), place.of)).collect();
    order.sort();
    assert!(order.iter().all(|(_, _, of)| *of == places.len()));
    order.into_iter().map(|(_, uid, _)| uid).collect()
}

#[test]
fn the_order_is_that_of_the_line() {
    let tasks = [
        waits("late", 50, 0, "a"),
        waits("early", 10, 0, "a"),
        waits("urgent", 60, 5, "a"),
        waits("other", 55, 0, "b"),
        holds("runs", "a"),
    ];
    assert_eq!(order(&tasks), ["urgent", "other", "early", "late"]);
}

#[test]
fn only_those_count_that_are_due_and_wait_for_this_queue() {
    let mut elsewhere = waits("elsewhere", 10, 0, "a");
    elsewhere.spec.queue.as_mut().unwrap().name = "other".into();
    let mut blocked = waits("blocked", 10, 0, "a");
    blocked.status.as_mut().unwrap().current.as_mut().unwrap().blocked_time =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(at(5)));
    let tasks = [
        waits("due", 10, 0, "a"),
        waits("later", 200, 0, "a"),
        waits("suspended", 10, 0, "a").suspended(),
        waits("deleted", 10, 0, "a").deleted(50),
        elsewhere,
        blocked,
    ];
    assert_eq!(order(&tasks), ["due"]);
    assert!(places("nobody", &tasks, at(100)).is_empty());
}
