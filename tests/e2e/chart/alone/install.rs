//! Installed with nothing said but the image, on a cluster that does not know the resource.

use super::place;
use crate::chart::definition::{self, Undefined};
use crate::chart::release::{NAME, Release};
use crate::chart::rights::can;
use crate::chart::{gated, let_go, with_finalizer};
use crate::support::{Scene, TIMEOUT, eventually, kubectl};
use kube::ResourceExt;
use retryable_tasks::api::State;
use serde_json::json;

const TASKS: &str = "retryabletasks.retryable.dev";

#[tokio::test]
async fn with_its_defaults_it_serves_the_whole_cluster() {
    let release = Release::prepare(place("chart-defaults").await, &[]);
    let scene = &release.scene;
    let _undefined = Undefined::new();
    let refused = release.try_install(&["--set=replicaCount=1"]).await.refused();
    assert!(refused.contains("additional properties 'replicaCount' not allowed"), "{refused}");
    assert!(!definition::is_there(), "it installs nothing where it refuses");

    release.again().await;
    definition::served().await;
    let tested = release.helm(&["test", NAME, TIMEOUT]).await.ok();
    assert!(tested.lines().any(|line| line.starts_with("Phase:") && line.ends_with("Succeeded")), "{tested}");
    assert_eq!(release.operators().await.len(), 2);
    let operator = scene.operator_user();
    assert!(can(&operator, "create", "pods", "default") && !can(&operator, "get", "secrets", "default"));
    users_get_their_rights(scene).await;
    the_image_knows_the_time_zones(scene).await;

    // In a namespace that nobody named.
    scene.apply(&gated("runs"));
    let running = scene.running("runs", 1).await;
    scene.status("runs", "its attempt's run", |status| status.state == Some(State::Running)).await;
    assert_eq!(with_finalizer(scene).await.len(), 1);
    release.uninstall().await;
    assert_eq!(with_finalizer(scene).await, []);
    assert!(definition::is_there(), "uninstalling must not delete the tasks");
    let roles =
        kubectl(&["get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance=retryable-tasks"]);
    assert_eq!(roles.ok(), "", "of the whole cluster");

    // The definition that was kept is not in the way of the next one.
    release.again().await;
    let_go(scene, &running.name_any());
    let_go(scene, &scene.running("runs", 2).await.name_any());
    let status = scene.finished("runs").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 2), "{status:#?}");
    release.uninstall().await;
}

/// The image has no files but the program.
async fn the_image_knows_the_time_zones(scene: &Scene) {
    let zones = [
        ("America/Santiago", "-01-01T05:30:00Z"),
        ("Europe/Stockholm", "-01-01T01:30:00Z"),
        ("Asia/Kathmandu", "-12-31T20:45:00Z"),
        ("Australia/Lord_Howe", "-12-31T15:30:00Z"),
    ];
    for (number, (zone, start)) in zones.into_iter().enumerate() {
        let name = format!("zone-{number}");
        scene.apply(&json!({
            "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": name},
            "spec": {"schedule": "30 2 1 1 *", "timeZone": zone, "template": {"spec": {"image": "busybox:1"}}},
        }));
        eventually("the next start", async || {
            let next =
                scene.kubectl(&["get", "taskschedule", &name, "--output=jsonpath={.status.nextScheduleTime}"]).ok();
            if next.ends_with(start) { Ok(()) } else { Err(format!("{zone}: {next:?} is not {start}")) }
        })
        .await;
        scene.kubectl(&["delete", "taskschedule", &name]).ok();
    }
}

/// The cluster's own roles view, edit and admin come to hold what the chart adds to them.
async fn users_get_their_rights(scene: &Scene) {
    let status = format!("{TASKS}/status");
    for role in ["view", "edit", "admin"] {
        let (binding, user) = (format!("e2e-{role}"), format!("--user={role}er"));
        scene.kubectl(&["create", "rolebinding", &binding, "--clusterrole", role, &user]).ok();
        let user = &user["--user=".len()..];
        eventually("the role to be put together", async || {
            if can(user, "watch", TASKS, &scene.namespace) { Ok(()) } else { Err("it lacks tasks") }
        })
        .await;
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            assert_eq!(can(user, verb, TASKS, &scene.namespace), role != "view", "{role}: {verb}");
        }
        for verb in ["update", "patch"] {
            assert!(!can(user, verb, &status, &scene.namespace), "{role}: {verb} of the status");
        }
        assert!(!can(user, "get", TASKS, "default"), "{role}, elsewhere");
    }
}
