//! The API server out of reach, out of date, or slow.

use super::{ends_as_expected, through, unlucky};
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Operator, Scene, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How far the watch of Pods lags behind.
const LAG: Duration = Duration::from_secs(30);
/// How much later than asked every request arrives: more than the operator's writes take apart.
const LATENCY: Duration = Duration::from_millis(400);
/// How long a watch may be silent, in seconds. (The API server says something about once a minute, and the default is
/// far above.)
const STALLED: &str = "20";

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
    let seen = jiff::Timestamp::now() + LAG;
    eventually("the watch to lag far enough", async || {
        let left = seen.duration_since(jiff::Timestamp::now());
        if left.is_negative() { Ok(()) } else { Err(format!("{left} to go")) }
    })
    .await;
    assert_eq!(scene.task("unlucky").await.status.unwrap().history, []);
    open.send(true).unwrap();
    ends_as_expected(&scene, &record, 2).await;
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
    ends_as_expected(&scene, &record, 2).await;
    drop(operator);
}

#[tokio::test]
async fn requests_without_an_answer_time_out() {
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
    ends_as_expected(&scene, &record, 2).await;
    eventually("all four to hang", async || {
        let hung = hung.load(Ordering::SeqCst);
        if hung == 4 { Ok(()) } else { Err(format!("{hung} hung")) }
    })
    .await;
}

#[tokio::test]
async fn requests_that_arrive_late_delay_and_lose_nothing() {
    let scene = Scene::new("late").await;
    let proxy = Proxy::start().await;
    proxy.control(|_| Treatment::Delay(LATENCY));
    let record = Record::of(&scene, "unlucky").await;
    let _operator = through(&proxy, &scene);
    scene.apply(&unlucky("unlucky", 2, 0));
    ends_as_expected(&scene, &record, 2).await;
}

#[tokio::test]
async fn a_watch_that_hangs_ends_the_process_and_the_next_one_goes_on() {
    let scene = Scene::new("blackhole").await;
    let proxy = Proxy::start().await;
    let (_shut, gate) = watch::channel(false);
    proxy.control(
        move |asked: &Asked| {
            if asked.is_watch_of("pods") { Treatment::Gate(gate.clone()) } else { Treatment::Pass }
        },
    );
    let record = Record::of(&scene, "unlucky").await;
    let more = ["--watch-stall-seconds", STALLED];
    let operator = Operator::spawn_with(&scene.operator_user(), &scene.namespace, &more, Some(proxy.kubeconfig()));
    scene.apply(&unlucky("unlucky", 2, 1));
    let pod = scene.pod_of("unlucky", 1).await.name_any();
    let ended = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Failed");
    scene.pod(&pod, "its end", ended).await;
    // What the kubelet asks, and what it does then.
    eventually("the liveness probe to fail", async || {
        let (code, body) = operator.get("/healthz");
        if code == 503 && body.contains("/pods has had no answer") { Ok(()) } else { Err(format!("{code}: {body}")) }
    })
    .await;
    assert_eq!(scene.task("unlucky").await.status.unwrap().history, []);
    operator.kill_9();
    proxy.control(|_| Treatment::Pass);
    let _operator = through(&proxy, &scene);
    ends_as_expected(&scene, &record, 2).await;
}
