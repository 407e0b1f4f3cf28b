use super::CachedTask;
use crate::api::{RetryableTask, RetryableTaskStatus, State};
use crate::core::decide::nothing_has_begun;
use kube::ResourceExt;
use kube::core::{ObjectList, WatchEvent};
use serde_json::{Value, json};

fn kept(manifest: &Value) -> CachedTask {
    serde_json::from_value(manifest.clone()).unwrap()
}

/// As a list has it, and as a watch does, with its type before the object and after it.
fn as_it_comes(manifest: &Value) -> [CachedTask; 3] {
    let list = format!(
        r#"{{"apiVersion": "retryable.dev/v1alpha1", "kind": "List", "metadata": {{}}, "items": [{manifest}]}}"#
    );
    let mut listed: ObjectList<CachedTask> = serde_json::from_str(&list).unwrap();
    let watched = [
        format!(r#"{{"type": "ADDED", "object": {manifest}}}"#),
        format!(r#"{{"object": {manifest}, "type": "ADDED"}}"#),
    ];
    let [type_first, type_last] = watched.map(|event| match serde_json::from_str(&event).unwrap() {
        WatchEvent::Added(kept) => kept,
        other => panic!("{other:?}"),
    });
    [listed.items.remove(0), type_first, type_last]
}

fn manifest() -> Value {
    json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask",
        "metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "generation": 2,
                     "annotations": {"retryable.dev/cancel": "now"}, "managedFields": [{"manager": "kubectl"}]},
        "spec": {"image": "busybox", "template": {"spec": {"nodeName": "n"}}},
    })
}

#[test]
fn a_task_is_kept_whole_without_its_managed_fields() {
    let mut manifest = manifest();
    manifest["status"] = json!({"attempts": 1, "state": "Waiting", "nextRetryTime": "2026-11-22T10:00:07.130001Z",
            "current": {"number": 2, "dueTime": "2026-11-22T10:00:07.130001Z"},
            "history": [{"attempt": 1, "podName": "a-x-1", "reason": "Error", "action": "Retry", "exitCode": 3}]});
    let mut before: RetryableTask = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(before.managed_fields().len(), 1);
    before.managed_fields_mut().clear();
    for kept in as_it_comes(&manifest) {
        let after = kept.task().unwrap();
        assert_eq!(after.metadata.managed_fields.iter().flatten().count(), 0);
        assert_eq!(after.annotations(), before.annotations());
        assert_eq!(after.metadata.generation, before.metadata.generation);
        assert_eq!(after.spec, before.spec);
        assert_eq!(after.status, before.status);
        let names = (kept.name_any(), kept.namespace(), kept.uid(), kept.resource_version());
        assert_eq!(names, ("a".into(), Some("b".into()), Some("c".into()), Some("7".into())));
    }
}

#[test]
fn a_task_is_new_as_long_as_nothing_of_it_has_begun() {
    assert!(kept(&manifest()).is_new());
    let with = |status: &Value| {
        let mut manifest = manifest();
        manifest["status"] = status.clone();
        kept(&manifest)
    };
    let begun = json!({"attempt": 1, "podName": "a-x-1", "reason": "Error", "action": "Retry"});
    for status in [
        json!({}),
        json!({"observedGeneration": -1}), // what the schema gives a task that nobody has seen
        json!({"history": []}),
        json!({"current": null, "startTime": null}),
        json!({"current": {"number": 1}}),
        json!({"startTime": "2026-11-22T10:00:07Z"}),
        json!({"history": [begun]}),
    ] {
        let read: RetryableTaskStatus = serde_json::from_value(status.clone()).unwrap();
        assert_eq!(with(&status).is_new(), nothing_has_begun(&read), "{status}");
    }
    assert!(with(&Value::Null).is_new());
    assert!(!with(&json!("odd")).is_new(), "whatever it is, it is not none");
}

#[test]
fn a_task_that_cannot_be_read_says_why() {
    let mut manifest = manifest();
    manifest["spec"] = json!({"maxRetries": "many"});
    let kept = kept(&manifest);
    assert!(kept.is_new());
    let invalid = kept.task().unwrap_err();
    assert!(invalid.error.contains("many"), "{}", invalid.error);
    assert_eq!(invalid.metadata.generation, Some(2), "all that is known of it");
}

#[test]
fn a_task_is_pending_since_its_attempt_could_have_run() {
    let place = |status: &Value| {
        let mut manifest = manifest();
        manifest["metadata"]["creationTimestamp"] = "2026-11-22T10:00:00Z".into();
        manifest["status"] = status.clone();
        let place = kept(&manifest).place();
        (place.state, place.pending_since.map(|since| since.to_string()))
    };
    let since = |time: &str| Some(time.to_owned());
    let due = json!({"number": 2, "dueTime": "2026-11-22T11:00:00.5Z"});
    let created = json!({"dueTime": "2026-11-22T11:00:00Z", "createTime": "2026-11-22T11:00:01Z"});
    assert_eq!(place(&Value::Null), (State::Pending, since("2026-11-22T10:00:00Z")));
    assert_eq!(place(&json!({"state": "Pending", "current": due})), (State::Pending, since("2026-11-22T11:00:00.5Z")));
    assert_eq!(
        place(&json!({"state": "Pending", "current": created})),
        (State::Pending, since("2026-11-22T11:00:01Z"))
    );
    let stalled = json!([{"type": "Stalled", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}]);
    assert_eq!(
        place(&json!({"state": "Pending", "current": {"number": 1}, "conditions": stalled})),
        (State::Pending, since("2026-11-22T12:00:00Z"))
    );
    assert_eq!(place(&json!({"state": "Waiting", "current": due})), (State::Waiting, None));
    assert_eq!(place(&json!({"state": "Failed"})), (State::Failed, None));
    assert_eq!(place(&json!({"state": "Later"})), (State::Unknown, None));
    assert_eq!(place(&json!("odd")), (State::Unknown, None));
}
