//! Parts of the cluster killed with SIGKILL while attempts start, run, end and wait.

use super::InFlight;
use crate::kubectl_plugin::{kubectl, said};
use crate::support::gates::Gates;
use crate::support::machine::{self, Killed};
use crate::support::manifest::IMAGE;
use crate::support::oracle::{ExpectedRun, agrees_with_pods, ended_unknown, has_no_finalizer, no_rule_is_broken};
use crate::support::record::{Evidence, Record, assert_waits_by};
use crate::support::{Scene, eventually};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{Action, RetryableTaskStatus, State};
use serde_json::json;

/// How long the API server is away.
const AWAY: SignedDuration = SignedDuration::from_secs(60);

fn interrupted(failures: i32) -> ExpectedRun {
    ExpectedRun::of(failures).interrupted()
}

/// That the first attempt ended between the two times; finish times are whole seconds.
fn ended_within(status: &RetryableTaskStatus, from: Timestamp, to: Timestamp) {
    let ended = status.history[0].finish_time.as_ref().unwrap().0;
    let from = from - SignedDuration::from_secs(1);
    assert!(ended >= from && ended <= to, "it ended at {ended}, not from {from} to {to}: no test");
}

#[tokio::test]
async fn the_api_server_is_down_for_a_minute() {
    let scene = Scene::alone("no-apiserver").await;
    let tasks = InFlight::new(&scene).await;
    let killed = Killed::with_9("apiserver");
    let from = Timestamp::now();
    tasks.end_some().await;
    let to = Timestamp::now();
    // Who submits work meanwhile gets it once, in the end.
    let mut create = kubectl(&scene, &["create", "submitted", "--image", IMAGE, "--wait", "--command", "--", "true"]);
    let submission = tokio::task::spawn_blocking(move || said(&mut create));
    eventually("the API server to have been away", async || {
        let now = Timestamp::now();
        if now > from + AWAY && now > tasks.due { Ok(()) } else { Err("not for so long") }
    })
    .await;
    killed.repair();
    let submitted = submission.await.unwrap();
    let expected = "retryabletask.retryable.dev/submitted created\nsubmitted: Succeeded: attempt 1 succeeded\n";
    assert_eq!((submitted.code, &*submitted.out), (Some(0), expected), "{}", submitted.err);
    assert_eq!(submitted.err.lines().count(), 1, "it says once that it tries again: {}", submitted.err);
    has_no_finalizer(&scene, "submitted").await;
    let recorded = tasks.are_recorded(interrupted).await;
    recorded[..2].iter().for_each(|status| ended_within(status, from, to));
}

/// Shows that all recovers with a store that was killed, not that the store lost nothing that it had promised: it runs
/// without fsync here, and the kernel keeps what a killed process has written.
#[tokio::test]
async fn the_store_is_killed() {
    let scene = Scene::alone("no-etcd").await;
    let tasks = InFlight::new(&scene).await;
    let killed = Killed::with_9("etcd");
    let from = Timestamp::now();
    tasks.end_some().await;
    let to = Timestamp::now();
    killed.repair();
    let recorded = tasks.are_recorded(interrupted).await;
    recorded[..2].iter().for_each(|status| ended_within(status, from, to));
}

#[tokio::test]
async fn the_kubelet_is_killed() {
    a_part_of_the_node_is_killed("kubelet", ExpectedRun::of).await;
}

/// Containers outlive their runtime; what they write to their log meanwhile does not, nor how they end.
#[tokio::test]
async fn the_container_runtime_is_killed() {
    a_part_of_the_node_is_killed("containerd", |failures| ExpectedRun::of(failures).perhaps_unknown()).await;
}

async fn a_part_of_the_node_is_killed(component: &str, life: impl Fn(i32) -> ExpectedRun) {
    let scene = Scene::alone(&format!("no-{component}")).await;
    let tasks = InFlight::new(&scene).await;
    let killed = Killed::with_9(component);
    let from = Timestamp::now();
    tasks.end_some().await;
    let to = Timestamp::now();
    // The next attempt of this one is made, and nobody starts it.
    scene.pod_of("waits", 2).await;
    // Should its first one be taken for a failure.
    tasks.gates.open("ends-well", 2);
    killed.repair();
    let recorded = tasks.are_recorded(life).await;
    let (ended_meanwhile, others) = recorded.split_at(2);
    for status in ended_meanwhile {
        // That its end is unknown says itself that it ended meanwhile.
        if !ended_unknown(status) {
            ended_within(status, from, to);
        }
    }
    assert!(!others.iter().any(ended_unknown), "{others:#?}");
}

/// What becomes of such containers is the runtime's to say; the history says what the Pod says.
#[tokio::test]
async fn the_container_runtime_is_killed_with_a_running_attempt() {
    let scene = Scene::alone("no-containers").await;
    let _operator = scene.operator().await;
    let gates = Gates::new(&scene);
    let record = Record::of(&scene, "struck").await;
    gates.open("struck", 2);
    scene.apply(&gates.task("struck", 0, 1));
    let pod = scene.running("struck", 1).await;
    let killed = Killed::with_9("containerd");
    machine::kill_containers_of(&pod.uid().unwrap());
    killed.repair();
    let versions = record.until_finished().await;
    assert_waits_by(Evidence::Whole, &scene, &versions);
    let task = versions.last().unwrap();
    let status = task.status.clone().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 1), "{status:#?}");
    assert_eq!(status.history[0].pod_uid, pod.uid());
    eprintln!("the attempt that was struck ended with {:?}, {}", status.history[0].exit_code, status.history[0].reason);
    assert!(status.history[0].exit_code.is_some_and(|code| code != 0), "{status:#?}");
    agrees_with_pods(&scene, task).await;
    has_no_finalizer(&scene, "struck").await;
}

/// The cluster deletes the Pods of a node that does not report, and nobody reports their end. A user who knows that the
/// node is down deletes them by force, and the operator accepts that.
#[tokio::test]
async fn the_node_is_lost_with_a_running_attempt() {
    // A cluster all of whose nodes are silent takes itself for cut off, and deletes nothing.
    machine::simulate_nodes();
    let scene = Scene::alone("no-node").await;
    let _operator = scene.operator().await;
    let gates = Gates::new(&scene);
    let record = Record::of(&scene, "stranded").await;
    gates.open("stranded", 2);
    let mut task = gates.task("stranded", 0, 1);
    task["spec"]["maxRetries"] = 0.into();
    task["spec"]["template"]["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable",
        "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
    // A node that is back takes Pods up to five seconds before it loses the taint that evicts them.
    task["spec"]["overrides"] = json!([{"fromAttempt": 2, "tolerations": []}]);
    scene.apply(&task);
    let pod = scene.running("stranded", 1).await;
    let (name, uid) = (pod.name_any(), pod.uid().unwrap());
    let killed = Killed::with_9("kubelet");
    let deleted = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    scene.pod(&name, "the cluster to delete it", deleted).await;
    assert_eq!(scene.task("stranded").await.status.unwrap().history, [], "its node may still report");
    scene.kubectl(&["delete", "pod", &name, "--force", "--grace-period=0", "--wait=false"]).ok();
    let unschedulable =
        |status: &RetryableTaskStatus| status.history.len() == 1 && status.reason.as_deref() == Some("Unschedulable");
    let status = scene.status("stranded", "the next attempt to want a node", unschedulable).await;
    let lost = &status.history[0];
    assert_eq!((lost.reason.as_str(), lost.exit_code), ("DeletionByTaintManager", None));
    assert_eq!((lost.action, lost.rule.as_deref()), (Action::Ignore, Some("disruption")));
    assert_eq!(lost.pod_uid.as_ref(), Some(&uid));
    scene.pod(&name, "it to be let go", |pod| pod.is_none()).await;
    assert!(
        !machine::processes_of(&uid).is_empty(),
        "no test: its container has ended, and somebody could have seen it"
    );

    killed.repair();
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    let counts = (status.attempts, status.retries, status.ignored);
    assert_eq!((status.state, counts), (Some(State::Succeeded), (2, 0, 1)), "{status:#?}");
    eventually("the node to end the attempt that was given up", async || {
        let left = machine::processes_of(&uid);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} live on")) }
    })
    .await;
    no_rule_is_broken(&scene, &record, false).await;
}
