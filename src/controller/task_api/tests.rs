use super::api_error::message_of;
use super::{Created, TaskApi};
use crate::api::RetryableTaskStatus;
use crate::controller::Error;
use crate::controller::scripted_server::{context, key, metadata, refusal};
use crate::core::decide::{PodRef, StopMethod};
use crate::core::rejection::{Refusal, Rejection};
use crate::core::testing::{BuildPod, at, pod_of, task};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube_runtime::watcher::Event;
use std::sync::Arc;
use std::time::Duration;

/// Deletes, or frees, a Pod that the cache knows; the write is answered with 409, and a look shows a Pod with this UID,
/// or none. Tells whether it counts as done, whether the Pod counts as gone, and how many requests it took.
async fn on_conflict(delete: bool, live: Option<&'static str>) -> (bool, bool, usize) {
    let (context, requests) = context(Arc::new(move |line| match (line.split(' ').next(), live) {
        (Some("GET"), Some(uid)) => metadata(uid),
        (Some("GET"), None) => refusal(404, "NotFound"),
        _ => refusal(409, "Conflict"),
    }));
    let pod = pod_of(&task(), 1).uid("known").exit(1);
    context.pod_cache.apply(&Event::Apply(pod.clone()), at(0));
    let pod = PodRef { name: pod.name_any(), uid: "known".into() };
    let (delete, release) = if delete { (vec![pod], vec![]) } else { (vec![], vec![pod]) };
    let done = TaskApi::new(&context, &key()).cleanup(&delete, &release).await;
    let asked = requests.lock().unwrap().len();
    (done, context.pod_cache.of(&key())[0].deleted, asked)
}

#[tokio::test]
async fn a_conflict_means_a_deleted_pod_only_if_a_read_says_so() {
    for delete in [true, false] {
        assert_eq!(on_conflict(delete, Some("known")).await, (false, false, 2), "others write too: tried again later");
        assert_eq!(on_conflict(delete, Some("another")).await, (true, true, 2), "another Pod has the name");
        assert_eq!(on_conflict(delete, None).await, (true, true, 2), "it went in the meantime");
    }
}

#[tokio::test]
async fn a_pod_loses_its_finalizer_before_it_is_deleted() {
    let (context, requests) = context(Arc::new(|_: &str| (200_u16, serde_json::json!(pod_of(&task(), 1)))));
    let pod = PodRef { name: "p".into(), uid: "known".into() };
    assert!(TaskApi::new(&context, &key()).cleanup(std::slice::from_ref(&pod), std::slice::from_ref(&pod)).await);
    let verbs: Vec<String> =
        requests.lock().unwrap().iter().filter_map(|line| line.split(' ').next()).map(String::from).collect();
    assert_eq!(verbs, ["PATCH", "DELETE"]);
}

#[tokio::test]
async fn a_read_that_fails_does_not_mean_a_deleted_pod() {
    let (context, _) = context(Arc::new(|line| {
        if line.starts_with("GET") { refusal(500, "InternalError") } else { refusal(409, "Conflict") }
    }));
    let pod = pod_of(&task(), 1).uid("known").exit(1);
    context.pod_cache.apply(&Event::Apply(pod.clone()), at(0));
    let known = PodRef { name: pod.name_any(), uid: "known".into() };
    assert!(!TaskApi::new(&context, &key()).cleanup(&[], &[known]).await);
    assert!(!context.pod_cache.of(&key())[0].deleted);
}

#[tokio::test]
async fn a_process_that_does_not_lead_creates_and_stores_nothing() {
    let created = || Arc::new(|_: &str| (201_u16, serde_json::json!(pod_of(&task(), 1))));
    let (mut context, requests) = context(created());
    context.settings.may_write = Arc::new(|| false);
    let refused = TaskApi::new(&context, &key()).create_pod(&task(), 1.into()).await;
    assert!(matches!(refused, Err(Error::NotLeading(_))));
    let refused = TaskApi::new(&context, &key()).write_status(&task(), RetryableTaskStatus::default()).await;
    assert!(matches!(refused, Err(Error::NotLeading(_))));
    assert_eq!(requests.lock().unwrap().len(), 0);
    context.settings.may_write = Arc::new(|| true);
    assert!(matches!(TaskApi::new(&context, &key()).create_pod(&task(), 1.into()).await, Ok(Created::Done(_))));
}

#[tokio::test]
async fn every_error_of_a_creation_is_a_rejection_with_the_servers_message() {
    for code in [400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504] {
        for reason in ["", "AlreadyExists", "InternalError"] {
            let (context, _) = context(Arc::new(move |line| match line.split(' ').next() {
                Some("GET") => refusal(404, "NotFound"),
                _ => refusal(code, reason),
            }));
            let Ok(Created::Rejected(rejection)) = TaskApi::new(&context, &key()).create_pod(&task(), 1.into()).await
            else {
                panic!("{code} {reason}");
            };
            let expected = Rejection { answer: Refusal::Code(code), message: "as told".into() };
            assert_eq!(rejection, expected, "{code} {reason}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_answer_leaves_open_whether_the_pod_exists() {
    let nonsense = || Arc::new(|_: &str| (201_u16, serde_json::json!("nonsense")));
    let exists = || {
        Arc::new(|line: &str| if line.starts_with("GET") { refusal(500, "") } else { refusal(409, "AlreadyExists") })
    };
    for context in [context(nonsense()).0, context(exists()).0] {
        let Ok(Created::Rejected(rejection)) = TaskApi::new(&context, &key()).create_pod(&task(), 1.into()).await
        else {
            panic!()
        };
        assert!(rejection.may_be_stored() && !rejection.message.is_empty(), "{rejection:?}");
    }
    let (context, _) = context(Arc::new(|_: &str| (503_u16, serde_json::json!("busy"))));
    let Ok(Created::Rejected(rejection)) = TaskApi::new(&context, &key()).create_pod(&task(), 1.into()).await else {
        panic!()
    };
    assert!(rejection.answer == Refusal::Code(503) && rejection.message.contains("busy"), "{rejection:?}");
}

#[tokio::test]
async fn a_status_that_is_refused_as_if_the_task_were_deleted_is_not_stored() {
    let live = task();
    let (context, _) = context(Arc::new(move |line| match line.split(' ').next() {
        Some("GET") => (200, serde_json::json!(live)),
        _ => refusal(404, "NotFound"),
    }));
    let Err(error) = TaskApi::new(&context, &key()).write_status(&task(), RetryableTaskStatus::default()).await else {
        panic!()
    };
    assert!(matches!(error, Error::Request { .. }), "{error}");
    assert_eq!(message_of(&error), "as told");
}

/// What a webhook that denies a request makes the API server answer.
fn denial(code: u16, reason: &str) -> (u16, serde_json::Value) {
    let (code, mut answer) = refusal(code, reason);
    answer["message"] = "admission webhook \"w.example\" denied the request: no".into();
    (code, answer)
}

#[tokio::test]
async fn a_webhook_that_answers_as_if_a_pod_were_deleted_does_not_make_it_so() {
    for code in [404, 409] {
        let (context, _) = context(Arc::new(move |line| match line.split(' ').next() {
            Some("GET") => metadata("known"),
            _ => denial(code, "NotFound"),
        }));
        let pod = pod_of(&task(), 1).uid("known").exit(1);
        context.pod_cache.apply(&Event::Apply(pod.clone()), at(0));
        let known = PodRef { name: pod.name_any(), uid: "known".into() };
        assert!(!TaskApi::new(&context, &key()).cleanup(std::slice::from_ref(&known), &[]).await, "{code}");
        assert!(!TaskApi::new(&context, &key()).cleanup(&[], &[known]).await, "{code}");
        assert!(!context.pod_cache.of(&key())[0].deleted, "{code}");
        assert!(TaskApi::new(&context, &key()).delete_task(&task()).await.is_err(), "{code}");
    }
}

/// Has the kubelet end a Pod; the PATCH is answered so, and a DELETE goes through. Answers the requests that it took,
/// and whether it counts as done.
async fn on_stop(answer: (u16, serde_json::Value)) -> (Vec<String>, bool) {
    let pod = pod_of(&task(), 1).uid("known").running();
    let deleting = serde_json::json!(pod.clone().deleted_at(1));
    let (context, requests) = context(Arc::new(move |line| match line.split(' ').next() {
        Some("PATCH") => answer.clone(),
        Some("GET") => metadata("known"),
        _ => (200, deleting.clone()),
    }));
    context.pod_cache.apply(&Event::Apply(pod.clone()), at(0));
    let pod = PodRef { name: pod.name_any(), uid: "known".into() };
    let done = TaskApi::new(&context, &key()).stop_pod(&pod, StopMethod::Deadline).await.is_ok();
    let verbs = requests.lock().unwrap().iter().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    (verbs, done)
}

#[tokio::test]
async fn a_pod_whose_deadline_cannot_be_set_is_deleted_to_stop_it() {
    let stopping = pod_of(&task(), 1).uid("known").version(2).running();
    let stopping = stopping.change(|pod| pod.spec.get_or_insert_default().active_deadline_seconds = Some(1));
    assert_eq!(on_stop((200, serde_json::json!(stopping))).await, (vec!["PATCH".to_owned()], true));
    for (code, reason) in [(403, "Forbidden"), (422, "Invalid"), (400, "BadRequest"), (500, "InternalError")] {
        let deleted = ["PATCH", "DELETE"].map(ToOwned::to_owned).to_vec();
        assert_eq!(on_stop(refusal(code, reason)).await, (deleted, true), "{code}");
    }
    for (code, reason) in [(503, "ServiceUnavailable"), (429, "TooManyRequests"), (500, "Timeout")] {
        assert_eq!(
            on_stop(refusal(code, reason)).await,
            (vec!["PATCH".to_owned()], false),
            "{code}: tried again later"
        );
    }
    assert_eq!(on_stop(refusal(404, "NotFound")).await, (vec!["PATCH".to_owned()], true), "it is gone");
    for (code, reason) in
        [(401, "Unauthorized"), (404, "NotFound"), (409, "Conflict"), (429, "TooManyRequests"), (500, ""), (503, "")]
    {
        let deleted = ["PATCH", "DELETE"].map(ToOwned::to_owned).to_vec();
        assert_eq!(on_stop(denial(code, reason)).await, (deleted, true), "a webhook answers with {code}");
    }
    let looked = ["PATCH", "GET"].map(ToOwned::to_owned).to_vec();
    assert_eq!(on_stop(refusal(409, "Conflict")).await, (looked, false), "others write too: tried again later");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_not_deleted_before_its_schedule_has_recorded_it() {
    let deleted_after = async |seconds: u64, status: serde_json::Value, code: u16| {
        let schedule = serde_json::json!({
            "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule",
            "metadata": {"name": "nightly", "uid": "u"},
            "spec": {"schedule": "@daily", "timeZone": "Etc/UTC", "template": {"spec": {}}},
            "status": status,
        });
        let (context, requests) = context(Arc::new(move |line| match (line.starts_with("GET"), code) {
            (true, 200) => (200, schedule.clone()),
            (true, 404) => refusal(404, "NotFound"),
            (true, code) => refusal(code, "Forbidden"),
            (false, _) => {
                (200, serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
            }
        }));
        let mut task = task();
        task.metadata.owner_references = Some(vec![OwnerReference {
            kind: "TaskSchedule".into(),
            name: "nightly".into(),
            uid: "u".into(),
            controller: Some(true),
            ..OwnerReference::default()
        }]);
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let deleted = TaskApi::new(&context, &key()).delete_task(&task).await.unwrap();
        let sent = requests.lock().unwrap().iter().any(|line| line.starts_with("DELETE"));
        assert_eq!(deleted, sent);
        deleted
    };
    let deleted = async |status, code| deleted_after(20, status, code).await;
    let (name, uid) = (task().name_any(), task().uid().unwrap());
    assert!(!deleted_after(19, serde_json::json!({}), 200).await, "an earlier process may have requested its creation");
    assert!(!deleted(serde_json::json!({"creating": {"name": name}}), 200).await, "its creation may still come");
    assert!(!deleted(serde_json::json!({"runs": [{"name": name, "uid": uid}]}), 200).await, "its end is not recorded");
    assert!(deleted(serde_json::json!({}), 200).await);
    assert!(deleted(serde_json::json!({}), 404).await, "the schedule is deleted");
    assert!(deleted(serde_json::json!({}), 403).await, "an operator without the rights serves no schedules");
}
