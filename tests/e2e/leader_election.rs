//! Leader election with two replicas: the other one takes over, and no attempt runs twice.

use crate::support::oracle::{no_rule_is_broken, nothing_more_is_written};
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::{Record, assert_waits};
use crate::support::{Operator, Scene, eventually, sh};
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use retryable_tasks::api::{RetryableTaskStatus, State};
use serde_json::json;
use std::sync::{Arc, Mutex};

const LEASE: &str = "retryable-tasks";
const DURATION: SignedDuration = SignedDuration::from_secs(15);

/// Starts a replica, perhaps behind a proxy. The lease is as long as by default: a busy machine can renew it.
fn replica(scene: &Scene, identity: &str, proxy: Option<&Proxy>) -> Operator {
    let times = ["--lease-duration-seconds=15", "--renew-deadline-seconds=10", "--retry-period-seconds=1"];
    let place = ["--leader-elect", "--operator-namespace", &scene.home, "--identity", identity];
    let more = [&place[..], &times[..]].concat();
    Operator::spawn_with(&scene.operator_user(), &scene.namespace, &more, proxy.map(Proxy::kubeconfig))
}

async fn lease(scene: &Scene) -> Option<LeaseSpec> {
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), &scene.home);
    leases.get_opt(LEASE).await.unwrap().and_then(|lease| lease.spec)
}

async fn holder(scene: &Scene, identity: &str) -> LeaseSpec {
    eventually("the lease's holder", async || match lease(scene).await {
        Some(spec) if spec.holder_identity.as_deref() == Some(identity) => Ok(spec),
        other => Err(format!("{other:?} is not {identity}'s")),
    })
    .await
}

/// Two replicas of which `first`, perhaps behind a proxy, leads, and a task of three attempts that waits for its second.
async fn two(scene: &Scene, proxy: Option<&Proxy>) -> (Operator, Operator, Record) {
    let first = replica(scene, "first", proxy).at_work().await;
    holder(scene, "first").await;
    let second = replica(scene, "second", None);
    eventually("the other to stand by", async || {
        let (ready, metrics) = (second.get("/readyz").0, second.get("/metrics").1);
        let stands_by = ready == 200 && metrics.lines().any(|line| line == "retryabletask_leader 0");
        if stands_by { Ok(()) } else { Err(format!("{ready} {metrics}")) }
    })
    .await;
    assert!(first.get("/metrics").1.lines().any(|line| line == "retryabletask_leader 1"));
    let record = Record::of(scene, "handed-over").await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 4});
    scene.apply(&sh("handed-over", "test $RETRYABLE_ATTEMPT -ge 3", &json!({"backoff": backoff})));
    let waiting = |status: &RetryableTaskStatus| status.state == Some(State::Waiting);
    scene.status("handed-over", "its wait", waiting).await;
    assert_ne!(of_tasks(&first), Vec::<String>::new(), "the leader has them");
    assert_eq!(of_tasks(&second), Vec::<String>::new(), "absent, not 0: a sum over the replicas counts each task once");
    (first, second, record)
}

/// The series that say something of tasks. Only who leads knows it.
fn of_tasks(operator: &Operator) -> Vec<String> {
    let text = operator.get("/metrics").1;
    let names = ["tasks", "oldest_pending_seconds", "attempts_total", "finished_total"];
    let is_of_tasks = |line: &&str| names.iter().any(|name| line.starts_with(&format!("retryabletask_{name}{{")));
    text.lines().filter(is_of_tasks).map(str::to_owned).collect()
}

/// The task ends like one that was not disturbed.
async fn nothing_happened_twice(scene: &Scene, record: &Record) {
    let versions = record.until_finished().await;
    assert_waits(scene, &versions);
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 3, 2));
    let numbers: Vec<i32> = status.history.iter().map(|entry| entry.attempt).collect();
    assert_eq!(numbers, [1, 2, 3]);
    no_rule_is_broken(scene, record, false).await;
}

#[tokio::test]
async fn a_killed_leader_is_replaced_when_its_lease_expires() {
    let scene = Scene::with_home("leader-killed").await;
    let (first, second, record) = two(&scene, None).await;
    // The takeover must not happen before the test has checked it.
    second.signal("STOP");
    first.kill_9();
    let last = holder(&scene, "first").await;
    second.signal("CONT");
    let next = holder(&scene, "second").await;
    let renewed = last.renew_time.unwrap().0;
    let acquired = next.acquire_time.unwrap().0;
    eprintln!("the lease of {DURATION:?} was taken over {:?} after its last renewal", acquired.duration_since(renewed));
    assert!(acquired >= renewed + DURATION, "renewed at {renewed}, taken over too early, at {acquired}");
    assert_eq!(next.lease_transitions, Some(last.lease_transitions.unwrap_or(0) + 1));
    nothing_happened_twice(&scene, &record).await;
    assert!(second.get("/metrics").1.lines().any(|line| line == "retryabletask_leader 1"));
    assert_ne!(of_tasks(&second), Vec::<String>::new(), "who has taken over has them");
}

#[tokio::test]
async fn a_leader_that_shuts_down_releases_its_lease() {
    let scene = Scene::with_home("leader-ended").await;
    let (first, _second, record) = two(&scene, None).await;
    assert!(first.terminate().await.success());
    // It has released the Lease when it ends, so nobody waits for the Lease to expire.
    let after = lease(&scene).await.unwrap();
    assert_ne!(after.holder_identity.as_deref(), Some("first"), "{after:?}");
    holder(&scene, "second").await;
    nothing_happened_twice(&scene, &record).await;
}

#[tokio::test]
async fn a_leader_that_was_paused_past_its_lease_exits_without_writing() {
    let scene = Scene::with_home("leader-paused").await;
    let proxy = Proxy::start().await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = sent.clone();
    proxy.control(move |asked: &Asked| {
        if asked.method != "GET" && !asked.path.contains("/leases/") {
            noted.lock().unwrap().push(asked.clone());
        }
        Treatment::Pass
    });
    let (mut first, _second, record) = two(&scene, Some(&proxy)).await;
    first.signal("STOP");
    holder(&scene, "second").await;
    // By now the paused one has something to do.
    scene.pod_of("handed-over", 2).await;
    let before = std::mem::take(&mut *sent.lock().unwrap());
    first.signal("CONT");
    let status = first.ended().await;
    assert!(!status.success(), "{status}");
    assert!(first.log().contains("the lease was lost"), "the log does not say why");
    let after = sent.lock().unwrap().clone();
    let creates = |asked: &Asked| asked.method == "POST" && asked.path.contains("/pods?");
    assert!(before.iter().any(creates), "no test: it has created no Pod through the proxy: {before:#?}");
    let stores = |asked: &Asked| asked.method == "PUT" && asked.path.contains("/status");
    assert!(!after.iter().any(|asked| creates(asked) || stores(asked)), "it leads no more, and sent {after:#?}");
    nothing_happened_twice(&scene, &record).await;
    holder(&scene, "second").await;
    nothing_more_is_written(&scene).await;
}
