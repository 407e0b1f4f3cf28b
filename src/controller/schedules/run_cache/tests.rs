#![allow(clippy::needless_pass_by_value)] // json! makes values

use super::*;
use crate::core::testing::at;
use serde_json::json;

fn task(name: &str, owner: &str, status: serde_json::Value) -> WatchedTask {
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": format!("uid of {name}"),
            "labels": {"retryable.dev/schedule-name": "nightly", "retryable.dev/schedule-uid": "u"},
            "annotations": {"retryable.dev/scheduled-time": "2026-11-22T11:00:00+01:00"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "TaskSchedule", "name": "nightly", "uid": owner, "controller": true}],
        },
        "status": status,
    }))
    .unwrap()
}

#[test]
fn it_has_the_tasks_of_a_schedule_and_how_they_ended() {
    let cache = RunCache::default();
    let condition = |type_: &str, reason: &str| json!({"conditions": [{"type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-11-22T10:00:05Z"}]});
    let key = TaskKey { namespace: "default".into(), name: "nightly".into() };
    for (name, status) in [
        ("a", json!({})),
        ("b", condition("Complete", "Succeeded")),
        ("c", condition("Failed", "RetriesExhausted")),
        ("d", condition("Failed", "Cancelled")),
    ] {
        assert_eq!(cache.apply(Event::Apply(task(name, "u", status))), BTreeSet::from([key.clone()]));
    }
    cache.apply(Event::Apply(task("copy", "other", json!({}))));
    let ends: Vec<_> = cache.of("u").into_iter().map(|run| run.end.map(|end| (end.result, end.time))).collect();
    let ended = |result| Some((result, at(5)));
    assert_eq!(ends, [None, ended(RunResult::Succeeded), ended(RunResult::Failed), ended(RunResult::Cancelled)]);
    assert_eq!(cache.of("u")[0].scheduled_time, Some(at(0)));
    assert!(cache.of("other").is_empty(), "the label names another owner");
    cache.apply(Event::Delete(task("a", "u", json!({}))));
    assert_eq!(cache.of("u").len(), 3);
}

#[test]
fn its_work_ended_with_its_last_pod() {
    let cache = RunCache::default();
    let work_until = |more: serde_json::Value| {
        let complete = json!({"type": "Complete", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2026-11-22T10:00:09Z"});
        let mut status = json!({"completionTime": "2026-11-22T10:00:09Z", "conditions": [complete]});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cache.apply(Event::Apply(task("a", "u", status)));
        cache.of("u")[0].end.map(|end| end.work_until)
    };
    let finished = |seconds: u8| json!({"number": 1, "finishTime": format!("2026-11-22T10:00:{seconds:02}Z")});
    assert_eq!(work_until(json!({})), Some(at(9)));
    assert_eq!(work_until(json!({"history": [finished(2), finished(4)]})), Some(at(4)));
    assert_eq!(work_until(json!({"history": [finished(2)], "fallback": finished(6)})), Some(at(6)));
    assert_eq!(work_until(json!({"history": [finished(30)]})), Some(at(9)), "the node's clock is ahead");
}

#[test]
fn a_request_to_cancel_that_was_carried_out_is_none() {
    let cache = RunCache::default();
    let is_cancelled = |value: &str, status| {
        let mut task = task("a", "u", status);
        task.metadata.annotations.get_or_insert_default().insert(ANNOTATION_CANCEL.into(), value.into());
        cache.apply(Event::Apply(task));
        cache.of("u")[0].is_cancelled
    };
    let acknowledged = json!({"acknowledged": [{"annotation": ANNOTATION_CANCEL, "value": "1", "time": "2026-11-22T10:00:05Z", "effect": ""}]});
    assert!(is_cancelled("1", json!({})));
    assert!(!is_cancelled("1", acknowledged.clone()), "a run that is run again keeps the annotation");
    assert!(is_cancelled("2", acknowledged));
}

#[test]
fn it_has_the_version_and_the_run_of_a_task() {
    let cache = RunCache::default();
    let known = |version: &str, status| {
        let mut task = task("a", "u", status);
        task.metadata.resource_version = Some(version.into());
        cache.apply(Event::Apply(task));
        let run = cache.of("u").remove(0);
        (run.resource_version, run.number)
    };
    assert_eq!(known("7", json!({})), ("7".into(), 1));
    assert_eq!(known("8", json!({"run": {"number": 2, "firstAttempt": 1}})), ("8".into(), 2));
}

#[test]
fn a_new_list_replaces_what_was_known() {
    let cache = RunCache::default();
    cache.apply(Event::Apply(task("a", "u", json!({}))));
    cache.apply(Event::Init);
    cache.apply(Event::InitApply(task("b", "u", json!({}))));
    assert_eq!(cache.of("u")[0].name, "a", "until it is complete");
    assert_eq!(cache.apply(Event::InitDone).len(), 1);
    let names: Vec<String> = cache.of("u").into_iter().map(|run| run.name).collect();
    assert_eq!(names, ["b"]);
}
