//! Others in the cluster interfere: another writer, an admission policy, rights taken away.

use super::{ends_as_expected, through, unlucky};
use crate::support::audit::{Outcome, Request};
use crate::support::oracle::{ExpectedRun, nothing_more_is_written};
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Scene, eventually, kubectl, kubectl_with};
use crate::write_count::{by_kind, reports};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use retryable_tasks::api::State;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;

/// How often the foreign writer writes.
const EVERY: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_foreign_writer_costs_nothing_but_conflicts() {
    let scene = Scene::new("foreign-writer").await;
    let proxy = Proxy::start().await;
    let (written, count) = watch::channel(0);
    // A foreign write overtakes every second status of the operator.
    let mut slow = false;
    proxy.control(move |asked: &Asked| {
        slow ^= asked.method == "PUT";
        if slow && asked.method == "PUT" { Treatment::Overtaken(count.clone()) } else { Treatment::Pass }
    });
    let _operator = through(&proxy, &scene).at_work().await;
    let record = Record::of(&scene, "unlucky").await;
    scene.apply(&unlucky("unlucky", 3, 1));
    let tasks = scene.tasks();
    let (recorded, done) = watch::channel(false);
    let writing = tokio::spawn(async move {
        while !*done.borrow() {
            let patch = json!({"metadata": {"annotations": {"example.com/n": written.borrow().to_string()}}});
            tasks.patch_metadata("unlucky", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            written.send_modify(|writes| *writes += 1);
            tokio::time::sleep(EVERY).await;
        }
    });
    ends_as_expected(&scene, &record, 3).await;
    recorded.send(true).unwrap();
    writing.await.unwrap();
    cost_nothing_but_conflicts(&scene, &record).await;
}

/// For three failures and the success the operator has done no more than it does undisturbed, and was refused nothing
/// but statuses that a foreign write had overtaken.
async fn cost_nothing_but_conflicts(scene: &Scene, record: &Record) {
    let requests = scene.operators_requests(scene.audit);
    let of_task = |r: &&Request| r.is_write() && r.resource != "events" && r.name.starts_with("unlucky");
    let (done, refused): (Vec<_>, Vec<_>) =
        requests.iter().filter(of_task).partition(|request| request.outcome() == Outcome::Done);
    assert!(!refused.is_empty(), "no write of the operator met a foreign one: no test");
    let is_conflict = |r: &&Request| r.code == 409 && r.resource == "retryabletasks/status";
    assert!(refused.iter().all(is_conflict), "{refused:#?}");
    let mut kinds = by_kind(done);
    let mut versions = record.until_finished().await;
    versions.dedup_by(|later, earlier| later.status == earlier.status);
    // An attempt that is due when the last one's end is stored begins in the same write.
    let statuses = kinds.remove("update retryabletasks/status").unwrap();
    assert!(statuses <= 4 * 2 + reports(&versions), "{statuses} statuses of four attempts: {versions:#?}");
    let of_pods = [("create pods", 4), ("delete pods", 3), ("patch pods", 4)];
    assert_eq!(kinds, of_pods.map(|(kind, count)| (kind.to_owned(), count)).into());
}

#[tokio::test]
async fn a_policy_that_denies_changes_of_pods_delays_no_attempt() {
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
    record.until_finished().await;
    eventually("the refusal to be told", async || {
        if operator.log().contains("hands off") { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    let with_finalizer: Vec<_> = scene.pods_of("unlucky").await.iter().map(|pod| pod.finalizers().len()).collect();
    assert_eq!(with_finalizer, [1, 1, 1], "held, since nobody may free them");
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        kubectl(&["delete", kind, &name]).ok();
    }
    ExpectedRun::of(2).refused().is_recorded(&scene, &record).await;
    nothing_more_is_written(&scene).await;
}

#[tokio::test]
async fn rights_on_pods_taken_away_and_given_back() {
    let scene = Scene::new("no-rights").await;
    let operator = scene.operator().await;
    let record = Record::of(&scene, "unlucky").await;
    let args = ["get", "roles", "--selector", "app.kubernetes.io/component=controller", "-o", "json"];
    let mut whole: Value = serde_json::from_str(&scene.kubectl(&args).ok()).unwrap();
    for role in whole["items"].as_array_mut().unwrap() {
        role["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    }
    let mut lacking = whole.clone();
    for role in lacking["items"].as_array_mut().unwrap() {
        let about_pods = |rule: &Value| rule["resources"].as_array().unwrap().contains(&json!("pods"));
        role["rules"].as_array_mut().unwrap().retain(|rule| !about_pods(rule));
    }
    assert_ne!(whole, lacking, "there are no rights on Pods to take away");
    scene.apply(&unlucky("unlucky", 2, 10));
    scene.status("unlucky", "its wait", |status| status.state == Some(State::Waiting)).await;
    kubectl_with(&["replace", "-f", "-"], &lacking.to_string()).ok();
    eventually("a Pod to be refused", async || {
        let requests = scene.operators_requests(scene.audit);
        let refused = requests.iter().any(|request| request.kind() == "create pods" && request.code == 403);
        if refused && operator.log().contains("forbidden") { Ok(()) } else { Err("it has not noticed") }
    })
    .await;
    kubectl_with(&["replace", "-f", "-"], &whole.to_string()).ok();
    ExpectedRun::of(2).refused().is_recorded(&scene, &record).await;
    nothing_more_is_written(&scene).await;
}
