//! On which node an attempt runs: it avoids the nodes of failed attempts, and follows `overrides`.

mod alone;

use crate::support::manifest::{IMAGE, sh};
use crate::support::{Scene, eventually, kubectl, kubectl_with};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::State;
use serde_json::{Value, json};

/// The label by which a task selects the nodes of its test.
const POOL: &str = "e2e.retryable.dev/pool";
const WHICH: &str = "e2e.retryable.dev/which";

/// Nodes without a kubelet: the real scheduler places Pods there, of this test only, and the test says how they end.
struct Nodes<'a> {
    scene: &'a Scene,
    which: &'static [&'static str],
}

impl<'a> Nodes<'a> {
    /// Creates the nodes and waits until the scheduler knows them.
    async fn new(scene: &'a Scene, which: &'static [&'static str]) -> Self {
        let nodes = Self { scene, which };
        let amounts = json!({"cpu": "8", "memory": "8Gi", "pods": "100"});
        for which in nodes.which {
            let labels = json!({POOL: scene.namespace, WHICH: which});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": nodes.name(which), "labels": labels},
                "spec": {"taints": [{"key": POOL, "effect": "NoSchedule"}]},
                "status": {"capacity": amounts, "allocatable": amounts}});
            kubectl_with(&["create", "-f", "-"], &node.to_string()).ok();
        }
        for which in nodes.which {
            nodes.wait_for_scheduler(which, true).await;
        }
        nodes
    }

    fn name(&self, which: &str) -> String {
        format!("{}-{which}", self.scene.namespace)
    }

    /// The template's part that lets a Pod run on these nodes only.
    fn template(&self) -> Value {
        // No kubelet reports that they are ready.
        let taints = [POOL, "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
        let tolerations = taints.map(|key| json!({"key": key, "operator": "Exists"}));
        json!({"nodeSelector": {POOL: self.scene.namespace}, "tolerations": tolerations})
    }

    /// Cordons or uncordons the node, and waits until the scheduler knows.
    async fn cordon(&self, which: &str, out: bool) {
        kubectl(&[if out { "cordon" } else { "uncordon" }, &self.name(which)]).ok();
        self.wait_for_scheduler(which, !out).await;
    }

    /// The scheduler's view is its own: a Pod that can go nowhere else shows it.
    async fn wait_for_scheduler(&self, which: &str, accepts: bool) {
        let name = format!("probe-{which}");
        let mut spec = self.template();
        spec["nodeSelector"][WHICH] = which.into();
        spec["containers"] = json!([{"name": "probe", "image": IMAGE}]);
        let probe = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        eventually("the scheduler to know the node", async || {
            self.scene.apply(&probe);
            let pod = self.scene.pod(&name, "the scheduler's word", |pod| pod.is_some_and(is_judged)).await.unwrap();
            self.scene.kubectl(&["delete", "pod", &name, "--force", "--grace-period=0"]).ok();
            if node_of(&pod).is_some() == accepts { Ok(()) } else { Err(format!("{:?}", pod.status)) }
        })
        .await;
    }

    /// Waits until the attempt's Pod has a node. Returns the Pod, and the end of the node's name.
    async fn placed(&self, task: &str, attempt: i32) -> (Pod, String) {
        let name = self.scene.pod_of(task, attempt).await.name_any();
        let pod = self.scene.pod(&name, "a node", |pod| pod.and_then(node_of).is_some()).await.unwrap();
        let which = node_of(&pod).unwrap().trim_start_matches(&self.name("")).to_owned();
        (pod, which)
    }

    /// Plays the kubelet of the Pod's node: the main container has ended with `code`.
    fn end(&self, pod: &Pod, code: i32) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (phase, reason) = if code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
        let end = json!({"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now});
        let container = json!({"name": "task", "image": IMAGE, "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": end}});
        let patch = json!({"status": {"phase": phase, "containerStatuses": [container]}}).to_string();
        let name = pod.name_any();
        self.scene.kubectl(&["patch", "pod", &name, "--subresource=status", "--type=merge", "--patch", &patch]).ok();
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        for which in self.which {
            kubectl(&["delete", "node", &self.name(which), "--wait=false"]);
        }
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Whether the scheduler has bound it, or reported it as unschedulable.
fn is_judged(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    node_of(pod).is_some() || conditions.iter().any(|c| c.type_ == "PodScheduled" && c.status == "False")
}

/// A task for these nodes that prefers the node `a`, with less weight than a failure has against it. So the node of an
/// attempt after no failure is certain.
fn prefers_a(nodes: &Nodes, name: &str, more: &Value) -> Value {
    let on_a = json!({"matchExpressions": [{"key": WHICH, "operator": "In", "values": ["a"]}]});
    let mut template = nodes.template();
    template["affinity"] = json!({"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 60, "preference": on_a}]}});
    let mut fields =
        json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}, "template": {"spec": template}});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sh(name, "the test says how it ends", &fields)
}

/// What the Pod prefers: weight, operator and value of each.
fn preferences(pod: &Pod) -> Vec<(i32, String, String)> {
    let affinity = pod.spec.as_ref().unwrap().affinity.as_ref().and_then(|all| all.node_affinity.as_ref()).unwrap();
    assert!(affinity.required_during_scheduling_ignored_during_execution.is_none());
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    let of = |term: &k8s_openapi::api::core::v1::PreferredSchedulingTerm| {
        let fields = term.preference.match_fields.iter().flatten();
        let one = fields.chain(term.preference.match_expressions.iter().flatten()).next().unwrap().clone();
        (term.weight, one.operator, one.values.unwrap().remove(0))
    };
    preferred.map(of).collect()
}

#[tokio::test]
async fn an_attempt_prefers_another_node_than_the_last_failure() {
    let scene = Scene::new("avoid").await;
    let nodes = Nodes::new(&scene, &["a", "b"]).await;
    let _operator = scene.operator().await;
    nodes.cordon("b", true).await;
    scene.apply(&prefers_a(&nodes, "avoids", &json!({"maxRetries": 5})));
    let (first, on) = nodes.placed("avoids", 1).await;
    assert_eq!(on, "a");
    nodes.end(&first, 1);
    // It is only a preference: with the other node cordoned it runs there again.
    let (second, on) = nodes.placed("avoids", 2).await;
    assert_eq!(on, "a", "{:?}", preferences(&second));
    nodes.cordon("b", false).await;
    nodes.end(&second, 1);
    let (third, on) = nodes.placed("avoids", 3).await;
    assert_eq!(on, "b", "{:?}", preferences(&third));
    nodes.end(&third, 1);
    // The older failure weighs less than the newer one.
    let (fourth, on) = nodes.placed("avoids", 4).await;
    assert_eq!(on, "a", "{:?}", preferences(&fourth));
    let [name_a, name_b] = ["a", "b"].map(|which| nodes.name(which));
    let against = |weight: i32, node: &str| (weight, "NotIn".to_owned(), node.to_owned());
    let users = (60, "In".to_owned(), "a".to_owned());
    assert_eq!(preferences(&fourth), [users.clone(), against(100, &name_b), against(50, &name_a)]);
    assert_eq!(preferences(&third), [users, against(100, &name_a)]);
    nodes.end(&fourth, 0);
    let status = scene.finished("avoids").await;
    assert_eq!(status.state, Some(State::Succeeded));
    let recorded: Vec<_> =
        status.history.iter().map(|entry| (entry.node_name.clone().unwrap(), &entry.avoided_nodes)).collect();
    let [a, b] = [name_a, name_b];
    let expected = [
        (a.clone(), &vec![]),
        (a.clone(), &vec![a.clone()]),
        (b.clone(), &vec![a.clone()]),
        (a.clone(), &vec![b.clone(), a.clone()]),
    ];
    assert_eq!(recorded, expected);
}

#[tokio::test]
async fn a_task_can_stay_on_failed_nodes() {
    let scene = Scene::new("stay").await;
    let nodes = Nodes::new(&scene, &["a", "b"]).await;
    let _operator = scene.operator().await;
    scene.apply(&prefers_a(&nodes, "stays", &json!({"avoidFailedNodes": false})));
    for code in [1, 1, 0] {
        let attempt = scene.task("stays").await.status.map_or(0, |status| status.history.len()) + 1;
        let (pod, on) = nodes.placed("stays", i32::try_from(attempt).unwrap()).await;
        assert_eq!((on.as_str(), preferences(&pod).len()), ("a", 1), "{:?}", preferences(&pod));
        nodes.end(&pod, code);
        scene.status("stays", "the end of the attempt", |status| status.history.len() == attempt).await;
    }
    let status = scene.finished("stays").await;
    assert!(status.history.iter().all(|entry| entry.avoided_nodes.is_empty()), "{status:#?}");
}
