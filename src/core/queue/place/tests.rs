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

#[test]
fn the_place_of_one_task_is_that_among_all() {
    let keys = ["a", "b", "c"];
    let mut tasks: Vec<RetryableTask> = (0..30)
        .map(|n| waits(&format!("t-{n}"), i64::from(n * 7 % 90), n % 3 - 1, keys[usize::try_from(n % 3).unwrap()]))
        .collect();
    tasks.extend([holds("runs", "a"), waits("later", 200, 0, "a")]);
    let in_line: Vec<InLine> = tasks.iter().filter_map(InLine::of).collect();
    for (now, waiting) in [(at(100), 30), (at(300), 31)] {
        let all = places("mail", &tasks, now);
        assert_eq!(all.len(), waiting);
        for task in &tasks {
            let uid = task.metadata.uid.as_deref().unwrap();
            assert_eq!(place("mail", uid, &in_line, now), all.get(uid).copied(), "{uid}");
        }
    }
}

#[test]
fn who_has_nothing_to_do_with_a_queue_is_not_in_a_line() {
    let done = json!({"observedGeneration": 1, "conditions": [{"type": "Complete", "status": "True", "reason": "R", "message": "",
        "lastTransitionTime": at(0).to_string()}]});
    let ended = waits("ended", 10, 0, "a").status(serde_json::from_value(done).unwrap());
    assert_eq!([InLine::of(&ended), InLine::of(&task_with(json!({"image": "busybox"})))], [None, None]);
}
