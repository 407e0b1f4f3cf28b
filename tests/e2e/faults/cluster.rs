//! Others in the cluster that get in the way: writers, policies, rights taken away.

use super::{told_as_it_was, unlucky};
use crate::support::record::Record;
use crate::support::{Scene, eventually, kubectl, kubectl_with};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use retryable_tasks::api::State;
use serde_json::json;
use std::time::Duration;

/// How often the foreign writer writes.
const EVERY: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_foreign_writer_costs_nothing_but_conflicts() {
    let scene = Scene::new("foreign-writer").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "unlucky").await;
    scene.apply(&unlucky("unlucky", 3, 1));
    let tasks = scene.tasks();
    let writing = tokio::spawn(async move {
        for n in 0.. {
            let patch = json!({"metadata": {"annotations": {"example.com/n": n.to_string()}}});
            tasks.patch_metadata("unlucky", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            tokio::time::sleep(EVERY).await;
        }
    });
    told_as_it_was(&scene, &record, 3).await;
    writing.abort();
}

#[tokio::test]
async fn a_policy_that_denies_our_changes_of_pods_holds_up_no_attempt() {
    let scene = Scene::new("deny-free").await;
    let name = scene.namespace.clone();
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"]}]},
            "matchConditions": [{"name": "ours", "expression": format!("request.userInfo.username == '{}'", scene.operator_user())}],
            "validations": [{"expression": "false", "message": "hands off"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    for object in [&policy, &binding] {
        kubectl_with(&["apply", "-f", "-"], &object.to_string()).ok();
    }
    // It holds once it refuses.
    scene.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "a", "image": "none"}], "schedulingGates": [{"name": "example.com/held"}]}}));
    let mut tries = 0;
    eventually("the policy to hold", async || {
        tries += 1;
        let args = ["label", "pod", "probe", &format!("try={tries}"), "--overwrite", "--as", &scene.operator_user()];
        let answer = scene.kubectl(&args);
        if answer.stderr.contains("hands off") { Ok(()) } else { Err(answer.stderr) }
    })
    .await;
    let operator = scene.operator().await;
    let record = Record::of(&scene, "unlucky").await;
    scene.apply(&unlucky("unlucky", 2, 1));
    told_as_it_was(&scene, &record, 2).await;
    eventually("the refusal to be told", async || {
        if operator.log().contains("hands off") { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    let held: Vec<_> = scene.pods_of("unlucky").await.iter().map(|pod| pod.finalizers().len()).collect();
    assert_eq!(held, [1, 1, 1], "held, since nobody may free them");
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        kubectl(&["delete", kind, &name]).ok();
    }
    eventually("the Pods to be free", async || {
        let held = scene.pods_of("unlucky").await.iter().filter(|pod| !pod.finalizers().is_empty()).count();
        if held == 0 { Ok(()) } else { Err(format!("{held} are held")) }
    })
    .await;
}

#[tokio::test]
async fn rights_taken_away_and_given_back() {
    let scene = Scene::new("no-rights").await;
    let operator = scene.operator().await;
    let record = Record::of(&scene, "unlucky").await;
    let bindings = scene.kubectl(&["get", "rolebindings", "-o", "json"]).ok();
    let mut bindings: serde_json::Value = serde_json::from_str(&bindings).unwrap();
    for item in bindings["items"].as_array_mut().unwrap() {
        item["metadata"]
            .as_object_mut()
            .unwrap()
            .retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels"));
    }
    scene.apply(&unlucky("unlucky", 2, 10));
    scene.status("unlucky", "its wait", |status| status.state == Some(State::Waiting)).await;
    scene.kubectl(&["delete", "rolebindings", "--all"]).ok();
    eventually("the refusal to be told", async || {
        if operator.log().contains("forbidden") { Ok(()) } else { Err("it has not noticed") }
    })
    .await;
    scene.apply(&bindings);
    told_as_it_was(&scene, &record, 2).await;
}
