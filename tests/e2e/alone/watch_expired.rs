//! 410 Gone: the revision that a watch resumes from has been compacted.

use crate::faults::through;
use crate::support::gates::Gates;
use crate::support::machine::{self, Killed};
use crate::support::oracle::{ExpectedRun, has_no_finalizer};
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Scene, eventually};
use kube::ResourceExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

const WATCHES: [&str; 4] = ["retryabletasks", "pods", "taskqueues", "taskschedules"];

#[tokio::test]
async fn a_watch_of_compacted_revisions_restarts_from_a_list() {
    let scene = Scene::alone("expired").await;
    let proxy = Proxy::start().await;
    let (cut, gate) = watch::channel(false);
    let is_watch = |asked: &Asked| WATCHES.iter().any(|plural| asked.is_watch_of(plural));
    proxy.control(
        move |asked: &Asked| if is_watch(asked) { Treatment::BreakOff(gate.clone()) } else { Treatment::Pass },
    );
    let gates = Gates::new(&scene);
    let record = Record::of(&scene, "unlucky").await;
    let operator = through(&proxy, &scene).at_work().await;
    scene.apply(&gates.task("unlucky", 2, 1));
    let pod = scene.running("unlucky", 1).await;

    // The watches end and do not come back; what happens meanwhile is forgotten, by the store and by its cache.
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = refused.clone();
    proxy.control(move |asked: &Asked| {
        if !is_watch(asked) {
            return Treatment::Pass;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Treatment::Refuse(503)
    });
    cut.send(true).unwrap();
    gates.passed("unlucky", 1).await;
    gates.open("unlucky", 2);
    gates.open("unlucky", 3);
    scene.pod(&pod.name_any(), "its end", |pod| phase(pod) == Some("Failed")).await;
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--wait=false"]).ok();
    scene.kubectl(&["annotate", "retryabletask", "unlucky", "example.com/touched=unseen"]).ok();
    machine::forget_revisions().await;
    Killed::with_9("apiserver").repair();
    eventually("all watches to be refused", async || {
        let refused = refused.load(Ordering::SeqCst);
        if refused >= WATCHES.len() { Ok(()) } else { Err(format!("{refused} refused")) }
    })
    .await;
    assert_eq!(scene.task("unlucky").await.status.unwrap().history, [], "the operator is not blind: no test");
    assert_eq!(proxy.expired(), 0, "a watch was answered with 410 before any was to be: no test");

    let watches = Arc::new(AtomicUsize::new(0));
    let counted = watches.clone();
    proxy.control(move |asked: &Asked| {
        counted.fetch_add(usize::from(is_watch(asked)), Ordering::SeqCst);
        Treatment::Pass
    });
    ExpectedRun::of(2).interrupted().is_recorded(&scene, &record).await;
    let (expired, watches) = (proxy.expired(), watches.load(Ordering::SeqCst));
    assert!(expired >= WATCHES.len(), "of {watches} watches {expired} were answered with 410: no test");
    has_no_finalizer(&scene, "unlucky").await;
    drop(operator);
}

fn phase(pod: Option<&k8s_openapi::api::core::v1::Pod>) -> Option<&str> {
    pod?.status.as_ref()?.phase.as_deref()
}
