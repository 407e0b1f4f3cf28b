//! Two replicas in Pods, and the leader lost.

use super::container_process::Process;
use super::release::Release;
use super::{gated, is_waiting, let_go, waiting};
use crate::support::record::{Record, assert_waits};
use crate::support::{Scene, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::State;

const LEASE: [&str; 3] = [
    "leaderElection.leaseDurationSeconds=15",
    "leaderElection.renewDeadlineSeconds=10",
    "leaderElection.retryPeriodSeconds=1",
];

struct TaskRecord {
    release: Release,
    running: Pod,
    records: [Record; 2],
}

impl TaskRecord {
    /// Two replicas, with one task that runs and one that waits.
    async fn begin(name: &str) -> Self {
        let release = Release::install(Scene::with_home(name).await, &LEASE).await;
        let scene = &release.scene;
        assert_eq!(release.operators().await.len(), 2);
        let records = [Record::of(scene, "runs").await, Record::of(scene, "waits").await];
        scene.apply(&gated("runs"));
        scene.apply(&waiting("waits", 10));
        let running = scene.running("runs", 1).await;
        scene.status("waits", "its wait", is_waiting).await;
        Self { release, running, records }
    }

    async fn leader(&self) -> Pod {
        let name = self.release.leader().await;
        self.release.operators().await.into_iter().find(|pod| pod.name_any() == name).expect("the leader is a Pod")
    }

    /// The tasks go on, and end as if nothing had been.
    async fn end(self) {
        let scene = &self.release.scene;
        let_go(scene, &self.running.name_any());
        let second = scene.running("runs", 2).await;
        let_go(scene, &second.name_any());
        for record in &self.records {
            let versions = record.until_finished().await;
            assert_waits(scene, &versions);
            let status = versions.last().unwrap().status.as_ref().unwrap();
            assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 1), "{status:#?}");
        }
    }
}

#[tokio::test]
async fn a_leader_whose_pod_is_deleted_by_force_is_replaced() {
    let story = TaskRecord::begin("chart-forced").await;
    let leader = story.leader().await.name_any();
    story.release.kubectl(&["delete", "pod", &leader, "--grace-period=0", "--force"]).ok();
    story.release.lease(&[leader]).await;
    story.end().await;
}

/// As where the node is lost: the Pod is given up, and its process does not know.
#[tokio::test]
async fn a_leader_that_hangs_is_replaced_when_its_lease_expires() {
    let story = TaskRecord::begin("chart-hangs").await;
    let leader = story.leader().await;
    Process::of(&leader).await.signal("STOP");
    let last = story.release.lease(&[]).await;
    assert_eq!(last.holder_identity, Some(leader.name_any()));
    story.release.kubectl(&["delete", "pod", &leader.name_any(), "--grace-period=0", "--force"]).ok();
    let next = story.release.lease(&[leader.name_any()]).await;
    let (renewed, acquired) = (last.renew_time.unwrap().0, next.acquire_time.unwrap().0);
    eprintln!("the lease of 15 s was taken over {:?} after its last renewal", acquired.duration_since(renewed));
    assert!(acquired >= renewed + jiff::SignedDuration::from_secs(15), "renewed {renewed}, taken over {acquired}");
    story.end().await;
}

#[tokio::test]
async fn a_leader_whose_process_is_killed_restarts_or_is_replaced() {
    let story = TaskRecord::begin("chart-killed").await;
    let leader = story.leader().await;
    Process::of(&leader).await.signal("KILL");
    eventually("the kubelet to start it again", async || {
        let pods = story.release.operators().await;
        let pod = pods.iter().find(|pod| pod.name_any() == leader.name_any());
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        let again = statuses.is_some_and(|all| all.iter().any(|one| one.restart_count > 0 && one.ready));
        if again { Ok(()) } else { Err(format!("{statuses:#?}")) }
    })
    .await;
    story.end().await;
}
