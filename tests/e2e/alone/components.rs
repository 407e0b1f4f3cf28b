//! Parts of the cluster killed with SIGKILL while attempts start, run, end and wait.

use super::InFlight;
use crate::support::gates::Gates;
use crate::support::machine::{self, Killed};
use crate::support::oracle::{Life, agrees_with_pods, is_free};
use crate::support::record::{Evidence, Record, assert_waits_by};
use crate::support::{Scene, eventually};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use retryable_tasks::api::{RetryableTaskStatus, State};

/// How long the API server is away.
const AWAY: SignedDuration = SignedDuration::from_secs(60);

fn interrupted(failures: i32) -> Life {
    Life::of(failures).interrupted()
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
    eventually("the API server to have been away", async || {
        let now = Timestamp::now();
        if now > from + AWAY && now > tasks.due { Ok(()) } else { Err("not for so long") }
    })
    .await;
    killed.repair();
    let told = tasks.are_told(interrupted).await;
    told[..2].iter().for_each(|status| ended_within(status, from, to));
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
    let told = tasks.are_told(interrupted).await;
    told[..2].iter().for_each(|status| ended_within(status, from, to));
}

#[tokio::test]
async fn the_kubelet_is_killed() {
    a_part_of_the_node_is_killed("kubelet", Life::of).await;
}

/// Containers outlive their runtime; what they write to their log meanwhile does not.
#[tokio::test]
async fn the_container_runtime_is_killed() {
    a_part_of_the_node_is_killed("containerd", |failures| Life::of(failures).perhaps_unheard()).await;
}

async fn a_part_of_the_node_is_killed(component: &str, life: impl Fn(i32) -> Life) {
    let scene = Scene::alone(&format!("no-{component}")).await;
    let tasks = InFlight::new(&scene).await;
    let killed = Killed::with_9(component);
    let from = Timestamp::now();
    tasks.end_some().await;
    let to = Timestamp::now();
    // The next attempt of this one is made, and nobody starts it.
    scene.pod_of("waits", 2).await;
    killed.repair();
    let told = tasks.are_told(life).await;
    told[..2].iter().for_each(|status| ended_within(status, from, to));
}

/// What becomes of such containers is the runtime's to say; the books say what the Pod says.
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
    is_free(&scene, "struck").await;
}
