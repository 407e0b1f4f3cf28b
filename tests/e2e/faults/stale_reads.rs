//! The operator reads an old state, or misses some versions.

use super::{ends_as_expected, through, unlucky};
use crate::support::audit::{Audit, Request};
use crate::support::oracle::has_no_finalizer;
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Operator, Scene, eventually, kubectl};
use kube::ResourceExt;
use retryable_tasks::api::{Action, RetryableTaskStatus, State};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::watch;

/// The list of the namespace's objects of a plural, as it is now.
fn list_of(scene: &Scene, plural: &str) -> String {
    let root = if plural == "pods" { "/api/v1" } else { "/apis/retryable.dev/v1alpha1" };
    kubectl(&["get", "--raw", &format!("{root}/namespaces/{}/{plural}", scene.namespace)]).ok()
}

/// Lets an operator run the task up to its write `at`, and kills it before that write is sent.
async fn up_to_write(scene: &Scene, proxy: &Proxy, at: usize) {
    let reached = Arc::new(AtomicBool::new(false));
    let mark = reached.clone();
    proxy.control(move |asked: &Asked| {
        if asked.write.is_some_and(|write| write >= at) {
            mark.store(true, Ordering::SeqCst);
            return Treatment::Hang;
        }
        Treatment::Pass
    });
    let operator = through(proxy, scene);
    eventually("the write", async || if reached.load(Ordering::SeqCst) { Ok(()) } else { Err("it is ahead") }).await;
    operator.kill_9();
}

/// Starts an operator that is told `lists` of an earlier time and sees nothing newer by its watches, and waits until it
/// has decided on that. Answers it, and what opens its watches.
async fn behind(scene: &Scene, proxy: &Proxy, lists: [String; 2]) -> (Operator, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let [tasks, pods] = lists;
    proxy.control(move |asked: &Asked| {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let (is_tasks, is_pods) = (path.ends_with("/retryabletasks"), path.ends_with("/pods"));
        match (asked.method.as_str(), query.contains("watch=")) {
            ("GET", true) if is_tasks || is_pods => Treatment::Gate(gate.clone()),
            ("GET", false) if is_tasks => Treatment::Answer(tasks.clone()),
            ("GET", false) if is_pods => Treatment::Answer(pods.clone()),
            _ => Treatment::Pass,
        }
    });
    let operator = through(proxy, scene).at_work().await;
    eventually(
        "it to decide",
        async || {
            if operator.log().contains(": decided") { Ok(()) } else { Err(operator.log()) }
        },
    )
    .await;
    (operator, open)
}

/// The writes of the second attempt: its status is the third of the task, its Pod follows. (1 runs, Pod 1, 1 ended and 2
/// runs, Pod 2.)
const SECOND_POD: usize = 3;

/// As after a fail-over to an API server that is behind: the lists are of the moment when attempt 2 was decided on and
/// had no Pod; since then it has run and ended, its Pod is deleted, and attempt 3 is due much later.
#[tokio::test]
async fn an_operator_that_reads_an_old_status_and_no_pod_runs_no_attempt_twice() {
    let scene = Scene::new("stale").await;
    let proxy = Proxy::start().await;
    let record = Record::of(&scene, "unlucky").await;
    let mut task = unlucky("unlucky", 2, 0);
    task["spec"]["backoff"] = json!({"strategy": "List", "delaysSeconds": [0, 45], "jitter": {"mode": "None"}});
    scene.apply(&task);
    up_to_write(&scene, &proxy, SECOND_POD).await;
    let lists = ["retryabletasks", "pods"].map(|plural| list_of(&scene, plural));
    let named = scene.task("unlucky").await.status.unwrap().current.unwrap();
    assert_eq!((named.number, named.pod_name.is_some()), (2, true), "no test: {named:#?}");
    assert!(!lists[1].contains(&named.pod_name.unwrap()), "no test: it has a Pod");

    let operator = scene.operator().await;
    let waits = |status: &RetryableTaskStatus| status.state == Some(State::Waiting) && status.history.len() == 2;
    scene.status("unlucky", "its second wait", waits).await;
    scene.no_pods_of("unlucky").await;
    operator.kill_9();

    let audit = Audit::from_now();
    let (operator, open) = behind(&scene, &proxy, lists).await;
    eventually("it to ask what is true", async || {
        let asked = scene.operators_requests(audit);
        let read = asked.iter().any(|request| request.kind() == "get retryabletasks" && request.name == "unlucky");
        if read { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    open.send(true).unwrap();
    ends_as_expected(&scene, &record, 2).await;
    let created = scene.operators_requests(audit);
    let is_creation = |request: &&Request| request.kind() == "create pods" && request.name.starts_with("unlucky");
    let created: Vec<_> = created.iter().filter(is_creation).collect();
    assert!(matches!(created[..], [_]), "the Pod of attempt 3, and no other: {created:#?}");
    has_no_finalizer(&scene, "unlucky").await;
}

/// The lists are of the moment when attempt 1 ran; since then it has ended, and attempt 2 too.
#[tokio::test]
async fn an_operator_that_still_reads_an_ended_attempt_as_running_changes_nothing() {
    let scene = Scene::new("stale-running").await;
    let proxy = Proxy::start().await;
    let record = Record::of(&scene, "unlucky").await;
    let mut task = unlucky("unlucky", 2, 0);
    task["spec"]["backoff"] = json!({"strategy": "List", "delaysSeconds": [0, 45], "jitter": {"mode": "None"}});
    scene.apply(&task);
    // The end of attempt 1 is the third write.
    up_to_write(&scene, &proxy, 2).await;
    let lists = ["retryabletasks", "pods"].map(|plural| list_of(&scene, plural));
    let operator = scene.operator().await;
    let waits = |status: &RetryableTaskStatus| status.state == Some(State::Waiting) && status.history.len() == 2;
    let before = scene.status("unlucky", "its second wait", waits).await;
    scene.no_pods_of("unlucky").await;
    operator.kill_9();

    let (_operator, open) = behind(&scene, &proxy, lists).await;
    open.send(true).unwrap();
    let status = ends_as_expected(&scene, &record, 2).await;
    assert_eq!(status.history[..2], before.history[..]);
    has_no_finalizer(&scene, "unlucky").await;
}

/// The watch of Pods shows nothing of attempt 1: it was created, lost its finalizer to somebody, and was deleted, before
/// the first list that would have it.
#[tokio::test]
async fn a_pod_created_and_deleted_between_lists_is_recorded_as_lost() {
    let scene = Scene::new("between").await;
    let proxy = Proxy::start().await;
    let blind = Arc::new(AtomicBool::new(true));
    let (still, refused) = (blind.clone(), Arc::new(AtomicUsize::new(0)));
    let (cut, gate) = watch::channel(false);
    let counted = refused.clone();
    proxy.control(move |asked: &Asked| match (asked.is_watch_of("pods"), still.load(Ordering::SeqCst)) {
        (true, true) if *gate.borrow() => {
            counted.fetch_add(1, Ordering::SeqCst);
            Treatment::Refuse(410)
        }
        (true, true) => Treatment::BreakOff(gate.clone()),
        _ => Treatment::Pass,
    });
    let record = Record::of(&scene, "unlucky").await;
    let _operator = through(&proxy, &scene).at_work().await;
    cut.send(true).unwrap();
    eventually(
        "the watch to be refused",
        async || {
            if refused.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err("it is not") }
        },
    )
    .await;
    scene.apply(&unlucky("unlucky", 0, 1));
    let pod = scene.pod_of("unlucky", 1).await;
    let (name, uid) = (pod.name_any(), pod.uid());
    scene.kubectl(&["patch", "pod", &name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).ok();
    scene.kubectl(&["delete", "pod", &name, "--force", "--grace-period=0"]).ok();
    scene.pod(&name, "it to be gone", |pod| pod.is_none()).await;
    blind.store(false, Ordering::SeqCst);
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.clone().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 1), "{status:#?}");
    let first = &status.history[0];
    assert_eq!((first.reason.as_str(), first.action, first.exit_code), ("Lost", Action::Retry, None));
    assert_eq!(first.pod_uid, uid);
    has_no_finalizer(&scene, "unlucky").await;
}
