//! Installed with nothing said but the image, on a cluster that does not know the resource.

use super::place;
use crate::chart::definition::{self, Undefined};
use crate::chart::release::{NAME, Release};
use crate::chart::rights::can;
use crate::chart::{gated, let_go, with_finalizer};
use crate::support::{Scene, TIMEOUT, eventually, kubectl, kubectl_with};
use kube::ResourceExt;
use retryable_tasks::api::State;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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

/// The cluster's own roles view, edit and admin come to hold what the chart adds to them, and no more: a status is its
/// operator's.
async fn users_get_their_rights(scene: &Scene) {
    const READ: &[&str] = &["get", "list", "watch"];
    const WRITE: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    for (role, verbs) in [("view", READ), ("edit", WRITE), ("admin", WRITE)] {
        let (binding, user) = (format!("e2e-{role}"), format!("{role}er"));
        scene.kubectl(&["create", "rolebinding", &binding, "--clusterrole", role, "--user", &user]).ok();
        let all = ["retryabletasks", "taskqueues", "taskschedules"];
        let expected: BTreeSet<String> =
            all.iter().flat_map(|kind| verbs.iter().map(move |verb| format!("{verb} {kind}"))).collect();
        eventually("the role to be put together", async || {
            let rights = rights_of(&user, &scene.namespace);
            let more: Vec<_> = rights.difference(&expected).collect();
            assert!(more.is_empty(), "{user} may {more:?}");
            if rights == expected { Ok(()) } else { Err(format!("{user} may {rights:?}")) }
        })
        .await;
        assert_eq!(rights_of(&user, "default"), BTreeSet::new(), "{user}, elsewhere");
    }
}

/// What a user may do with our resources in a namespace.
fn rights_of(user: &str, namespace: &str) -> BTreeSet<String> {
    let spec = json!({"namespace": namespace});
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": spec});
    let answer =
        kubectl_with(&["create", "--validate=false", "-f", "-", "-o", "json", "--as", user], &review.to_string()).ok();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let rules = answer["status"]["resourceRules"].as_array().unwrap();
    let ours = rules
        .iter()
        .filter(|rule| texts(rule, "apiGroups").iter().any(|group| group == "retryable.dev" || group == "*"));
    let of_rule = |rule: &Value| {
        let (kinds, verbs) = (texts(rule, "resources"), texts(rule, "verbs"));
        kinds.into_iter().flat_map(move |kind| verbs.clone().into_iter().map(move |verb| format!("{verb} {kind}")))
    };
    ours.flat_map(of_rule).collect()
}
