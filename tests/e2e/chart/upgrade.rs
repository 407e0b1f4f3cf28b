//! An upgrade, while one task waits and another runs.

use super::release::Release;
use super::{gated, is_waiting, let_go, waiting};
use crate::support::Scene;
use crate::support::record::{Record, assert_waits};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::State;

#[tokio::test]
async fn an_upgrade_loses_nothing_and_runs_nothing_twice() {
    let release = Release::install(Scene::with_home("chart-upgrade").await, &[]).await;
    let scene = &release.scene;
    let (runs, waits) = (Record::of(scene, "runs").await, Record::of(scene, "waits").await);
    scene.apply(&gated("runs"));
    scene.apply(&waiting("waits", 30));
    let running = scene.running("runs", 1).await;
    scene.status("waits", "its wait", is_waiting).await;
    let before: Vec<String> = release.operators().await.iter().map(ResourceExt::name_any).collect();

    release.upgrade(&["log.level=debug", "log.format=json"]).await;
    let after = release.operators().await;
    let replaced = |pod: &Pod| pod.metadata.deletion_timestamp.is_some() || !before.contains(&pod.name_any());
    assert!(after.iter().all(replaced), "{before:?} were not replaced");
    let leader = release.lease(&before).await.holder_identity.unwrap();
    let log = release.kubectl(&["logs", &leader]).ok();
    assert!(log.lines().any(|line| line.starts_with('{') && line.contains("DEBUG")), "the new settings rule:\n{log}");

    // The same Pod runs on, and is read by the new version.
    let still = scene.running("runs", 1).await;
    assert_eq!((still.uid(), &still.metadata.deletion_timestamp), (running.uid(), &None));
    let_go(scene, &still.name_any());
    let second = scene.running("runs", 2).await;
    let_go(scene, &second.name_any());
    for record in [runs, waits] {
        let versions = record.until_finished().await;
        assert_waits(scene, &versions);
        let status = versions.last().unwrap().status.as_ref().unwrap();
        assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 2, 1), "{status:#?}");
    }
}
