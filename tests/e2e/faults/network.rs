//! The API server out of reach, out of date, or slow.

use super::{through, told_as_it_was, unlucky};
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Scene, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

#[tokio::test]
async fn a_watch_of_pods_that_lags_behind_delays_and_loses_nothing() {
    let scene = Scene::new("pods-lag").await;
    let proxy = Proxy::start().await;
    let (open, gate) = watch::channel(false);
    proxy.control(
        move |request: &Asked| {
            if request.is_watch_of("pods") { Treatment::Gate(gate.clone()) } else { Treatment::Pass }
        },
    );
    let record = Record::of(&scene, "unlucky").await;
    let _operator = through(&proxy, &scene);
    scene.apply(&unlucky("unlucky", 2, 1));
    let pod = scene.pod_of("unlucky", 1).await.name_any();
    let ended = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Failed");
    let pod = scene.pod(&pod, "its end", ended).await.unwrap();
    // Deleted while the operator is blind: the finalizer keeps it until it has been seen.
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--wait=false"]).ok();
    assert_eq!(scene.task("unlucky").await.status.unwrap().history, []);
    open.send(true).unwrap();
    told_as_it_was(&scene, &record, 2).await;
}

#[tokio::test]
async fn an_api_server_out_of_reach_over_a_due_time_delays_and_loses_nothing() {
    let scene = Scene::new("out-of-reach").await;
    let proxy = Proxy::start().await;
    let record = Record::of(&scene, "unlucky").await;
    let operator = through(&proxy, &scene).at_work().await;
    scene.apply(&unlucky("unlucky", 2, 10));
    let waits = |status: &retryable_tasks::api::RetryableTaskStatus| status.state == Some(State::Waiting);
    let due = scene.status("unlucky", "its wait", waits).await.next_retry_time.unwrap().0;
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = refused.clone();
    proxy.control(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Treatment::Refuse(503)
    });
    eventually("requests to fail after the due time", async || {
        let failed = refused.load(Ordering::SeqCst);
        if jiff::Timestamp::now() > due && failed > 2 { Ok(()) } else { Err(format!("{failed} failed")) }
    })
    .await;
    proxy.control(|_| Treatment::Pass);
    told_as_it_was(&scene, &record, 2).await;
    drop(operator);
}

#[tokio::test]
async fn answers_that_never_come_are_given_up() {
    let scene = Scene::new("hang").await;
    let proxy = Proxy::start().await;
    let hung = Arc::new(AtomicUsize::new(0));
    let counted = hung.clone();
    // One list, one status, one Pod, and the removal of one finalizer.
    proxy.control(move |asked: &Asked| {
        let n = counted.load(Ordering::SeqCst);
        let kinds: [&dyn Fn(&Asked) -> bool; 4] = [
            &|asked| asked.method == "GET" && asked.path.contains("/pods?") && !asked.path.contains("watch="),
            &|asked| asked.method == "PUT",
            &|asked| asked.method == "POST" && asked.path.contains("/pods"),
            &|asked| asked.method == "PATCH",
        ];
        if kinds.get(n).is_some_and(|is_next| is_next(asked)) {
            counted.fetch_add(1, Ordering::SeqCst);
            return if n.is_multiple_of(2) { Treatment::Hang } else { Treatment::PassAndHang };
        }
        Treatment::Pass
    });
    let record = Record::of(&scene, "unlucky").await;
    let _operator = through(&proxy, &scene);
    scene.apply(&unlucky("unlucky", 2, 0));
    told_as_it_was(&scene, &record, 2).await;
    eventually("all four to hang", async || {
        let hung = hung.load(Ordering::SeqCst);
        if hung == 4 { Ok(()) } else { Err(format!("{hung} hung")) }
    })
    .await;
}
