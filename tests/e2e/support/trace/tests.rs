//! What the audit log tells of requests that the API server answered before it read them, and how they are judged.

use super::super::audit::{Outcome, Request, request};
use super::super::record::SeenVersion;
use super::build;
use crate::oracle::judge;
use retryable_tasks::api::FINALIZER;
use serde_json::{Value, json};

const NAMESPACE: &str = "e2e-refused";
const OPERATOR: &str = "system:serviceaccount:e2e-refused:retryable-tasks";
const UID: &str = "5c6ad4f9-6a35-4f7d-a6b1-7e1a0a2c8b11";
const BY_UID: &str = "a Pod is deleted by its UID";
const AFTER_INTENT: &str = "a Pod is stopped after the intent is stored";
const REFUSED: &str = "no write that the API server refuses";
const AGAIN: &str = "a refused request is not repeated at once";

/// A line of the log: at so many seconds the operator asked for this of a Pod, and was answered so. A body that was not
/// read is not in it, and without one neither is the name of a creation.
fn line(second: u32, verb: &str, name: &str, code: u16, sent: Option<Value>, answer: &Value) -> String {
    let mut reference = json!({"resource": "pods", "namespace": NAMESPACE, "apiVersion": "v1"});
    if !name.is_empty() {
        reference["name"] = json!(name);
    }
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "stage": "ResponseComplete",
        "verb": verb, "user": {"username": "admin"}, "impersonatedUser": {"username": OPERATOR}, "objectRef": reference,
        "responseStatus": {"metadata": {}, "code": code}, "responseObject": answer,
        "requestReceivedTimestamp": format!("2026-01-01T00:{:02}:{:02}.500000Z", second / 60, second % 60),
    });
    if let Some(sent) = sent {
        event["requestObject"] = sent;
    }
    event.to_string()
}

fn read(line: &str) -> Request {
    request(line, &["ResponseComplete", "Panic"], NAMESPACE).unwrap()
}

/// The DELETE of the Pod, at second 10, with this answer and body.
fn deletion(code: u16, sent: Option<Value>) -> Vec<Request> {
    vec![read(&line(10, "delete", "unlucky-1", code, sent, &json!({"kind": "Status", "metadata": {}})))]
}

fn pod(version: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
        "namespace": NAMESPACE, "name": "unlucky-1", "uid": UID, "resourceVersion": version.to_string(),
        "creationTimestamp": "2026-01-01T00:00:02Z", "finalizers": [FINALIZER],
        "labels": {"retryable.dev/task-uid": "t", "retryable.dev/attempt": "1"}},
        "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}})
}

fn task(version: u32, status: &Value) -> Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": {
        "namespace": NAMESPACE, "name": "unlucky", "uid": "t", "resourceVersion": version.to_string(),
        "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"image": "busybox:1"}, "status": status})
}

/// Which rules these requests break in the life of a task whose attempt 1 runs, and for which it has been asked to be
/// stopped if `meant`.
fn broken(requests: Vec<Request>, meant: bool, arranged: bool) -> Vec<&'static str> {
    let stop = if meant { json!("Suspended") } else { Value::Null };
    let current = json!({"number": 1, "podName": "unlucky-1", "podUID": UID, "stopReason": stop});
    let sights = [
        task(1, &json!({"current": {"number": 1, "podName": "unlucky-1"}})),
        pod(2),
        task(3, &json!({"current": current})),
    ];
    let sights: Vec<SeenVersion> = sights.map(|object| SeenVersion { deleted: false, object }).into();
    let created = read(&line(2, "create", "unlucky-1", 201, Some(pod(0)), &pod(2)));
    let rules = |requests: Vec<Request>| {
        let trace = build(sights.clone(), [vec![created.clone()], requests].concat(), OPERATOR, arranged);
        assert_eq!(trace.changes.iter().filter(|change| change.by_operator).count(), 1);
        judge(&trace).0.into_iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    let beside = rules(vec![]);
    let mut broken = rules(requests);
    broken.retain(|rule| !beside.contains(rule));
    broken
}

#[test]
fn of_a_deletion_that_was_not_read_nobody_knows_the_uid() {
    for code in [0, 400, 401, 403, 408, 413, 415, 429, 500, 503, 504] {
        assert_eq!(broken(deletion(code, None), true, true), [] as [&str; 0], "{code}");
    }
}

#[test]
fn a_deletion_that_was_read_had_its_uid_or_breaks_the_rule() {
    let by_uid = json!({"kind": "DeleteOptions", "preconditions": {"uid": UID}});
    let by_name = json!({"kind": "DeleteOptions", "propagationPolicy": "Background"});
    for code in [200, 404, 409] {
        assert_eq!(broken(deletion(code, Some(by_uid.clone())), true, true), [] as [&str; 0], "{code}");
        assert_eq!(broken(deletion(code, None), true, true), [BY_UID], "{code}, with nothing sent");
    }
    for code in [200, 403, 404, 409, 429, 504] {
        assert_eq!(broken(deletion(code, Some(by_name.clone())), true, true), [BY_UID], "{code}");
    }
}

#[test]
fn a_deletion_that_was_not_read_needs_an_intent_all_the_same() {
    assert_eq!(broken(deletion(403, None), false, true), [AFTER_INTENT]);
}

#[test]
fn a_refusal_that_the_test_did_not_arrange_is_told_whether_it_was_read_or_not() {
    let creation = |at: u32| read(&line(at, "create", "", 403, None, &json!({"kind": "Status", "metadata": {}})));
    for code in [401, 403, 413] {
        assert_eq!(broken(deletion(code, None), true, false), [REFUSED], "{code}");
    }
    assert_eq!(broken(vec![creation(5)], true, false), [REFUSED]);
    assert_eq!(broken(vec![creation(5)], true, true), [] as [&str; 0]);
    assert_eq!(broken((5..45).map(creation).collect(), true, true), [AGAIN]);
}

#[test]
fn what_was_never_answered_may_have_been_done() {
    let closed = json!({"stage": "ResponseComplete", "verb": "delete", "objectRef": {"namespace": NAMESPACE},
        "responseStatus": {"status": "Success", "message": "Connection closed early", "code": 200},
        "requestReceivedTimestamp": "2026-01-01T00:00:05Z"});
    let mut panicked = closed.clone();
    panicked["stage"] = json!("Panic");
    panicked["responseStatus"] = json!({"status": "Failure", "message": "APIServer panic'd: abort", "code": 500});
    for event in [closed, panicked] {
        assert_eq!(read(&event.to_string()).outcome(), Outcome::Unknown, "{event}");
    }
}
