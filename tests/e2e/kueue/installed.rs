//! Kueue itself, by its chart, with the quota for one Pod. Its image is loaded into the node before.
//!
//! No kube-proxy runs on the cluster, so the Service of Kueue's webhooks is a name for the address of its Pod. The webhooks for
//! Pods see the test's namespace alone.

use super::URGENT;
use crate::support::kubectl::run;
use crate::support::{Scene, eventually, kubectl, kubectl_with};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::Command;

const HOME: &str = "kueue-system";
const API: &str = "kueue.x-k8s.io/v1beta2";
/// The port of the webhooks in the Pod.
const WEBHOOK_PORT: u16 = 9443;
const NO_FINALIZERS: &str = r#"{"metadata": {"finalizers": null}}"#;

/// It is uninstalled with this value.
pub struct Installed {
    namespace: String,
    objects: String,
}

impl Installed {
    /// For the Pods of the scene.
    pub async fn install(scene: &Scene, chart: &str) -> Self {
        kubectl(&["create", "namespace", HOME]).ok();
        let rendered = rendered(chart);
        let objects: Vec<Value> = rendered.into_iter().filter_map(|object| adapted(object, &scene.namespace)).collect();
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let installed = Self { namespace: scene.namespace.clone(), objects };
        kubectl_with(&["apply", "--server-side", "-f", "-"], &installed.objects).ok();
        let address = eventually("Kueue's Pod", async || said_of_pod("{.status.podIP}")).await;
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kueue-webhook-service", "namespace": HOME},
            "spec": {"type": "ExternalName", "externalName": address}});
        kubectl_with(&["apply", "-f", "-"], &service.to_string()).ok();
        eventually("Kueue to be ready", async || {
            // The kubelet looks for the certificate when the Pod changes, else a minute later.
            let now = jiff::Timestamp::now().to_string();
            kubectl(&["annotate", "pods", "--all", "--overwrite", "--namespace", HOME, &format!("at={now}")]).ok();
            let ready = said_of_pod("{.status.containerStatuses[0].ready}")?;
            if ready == "true" { Ok(()) } else { Err(ready) }
        })
        .await;
        let queues = quota(scene).to_string();
        eventually("Kueue's webhooks", async || kubectl_with(&["apply", "-f", "-"], &queues).result()).await;
        installed
    }

    /// The Workloads that there are.
    pub fn workloads(&self) -> String {
        kubectl(&["get", "workloads.kueue.x-k8s.io", "--namespace", &self.namespace, "--output=name"]).ok()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // While its webhooks are there and it is not, nothing of it can be deleted.
        for kind in ["mutating", "validating"] {
            let webhooks = [format!("{kind}webhookconfigurations"), format!("kueue-{kind}-webhook-configuration")];
            let _ = kubectl(&["delete".to_owned()].into_iter().chain(webhooks).collect::<Vec<_>>());
        }
        let delete = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
        let _ = kubectl_with(&delete, &self.objects);
        let _ = kubectl(&["delete", "namespace", HOME, "--wait=false"]);
        // Nobody is left to take its finalizers away.
        let of_namespace = format!("--namespace={}", self.namespace);
        for kind in ["workloads", "localqueues", "clusterqueues", "resourceflavors"] {
            let kind = format!("{kind}.kueue.x-k8s.io");
            let left = kubectl(&["get", &kind, &of_namespace, "--output=name"]).result().unwrap_or_default();
            for name in left.lines() {
                let _ = kubectl(&["patch", name, &of_namespace, "--type=merge", "--patch", NO_FINALIZERS]);
            }
        }
    }
}

fn said_of_pod(path: &str) -> Result<String, String> {
    let output = format!("--output=jsonpath={{range .items[*]}}{path}{{end}}");
    let said = kubectl(&["get", "pods", "--namespace", HOME, &output]).result()?;
    if said.is_empty() { Err("it says nothing yet".into()) } else { Ok(said) }
}

fn rendered(chart: &str) -> Vec<Value> {
    let image = "controllerManager.manager.image";
    let gate = "controllerManager.featureGates[0]";
    let settings = [
        format!("{image}.repository=localhost/kueue,{image}.tag=built,{image}.pullPolicy=IfNotPresent"),
        format!("{gate}.name=VisibilityOnDemand,{gate}.enabled=false"),
    ];
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let render = ["template", "kueue", chart, "--namespace", HOME];
    let text = run(Command::new("helm").args(render).args(set), "").ok();
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

/// The object as this cluster needs it, if it does.
fn adapted(mut object: Value, namespace: &str) -> Option<Value> {
    match object["kind"].as_str().unwrap() {
        // Its queues can be asked over an API of their own, which nobody uses here.
        "APIService" | "Service" => return None,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            let webhooks = object["webhooks"].as_array_mut().unwrap();
            webhooks.retain(|webhook| is_for(webhook, "pods") || !is_for(webhook, ""));
            for webhook in webhooks {
                webhook["clientConfig"]["service"]["port"] = WEBHOOK_PORT.into();
                if is_for(webhook, "pods") {
                    webhook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
                }
            }
        }
        "CustomResourceDefinition" => {
            let client = object["spec"].pointer_mut("/conversion/webhook/clientConfig/service");
            if let Some(service) = client {
                service["port"] = WEBHOOK_PORT.into();
            }
        }
        "ConfigMap" => {
            let text = &mut object["data"]["controller_manager_config.yaml"];
            let mut settings: Value = serde_yaml_ng::from_str(text.as_str().unwrap()).unwrap();
            settings["integrations"]["frameworks"] = json!(["pod"]);
            *text = settings.to_string().into();
        }
        _ => {}
    }
    Some(object)
}

/// Whether the webhook is for that resource; "": for others than Kueue's own.
fn is_for(webhook: &Value, resource: &str) -> bool {
    let rules = webhook["rules"].as_array().unwrap();
    let has = |rule: &Value, field: &str, what: &str| rule[field].as_array().unwrap().iter().any(|it| it == what);
    rules.iter().any(|rule| {
        if resource.is_empty() { !has(rule, "apiGroups", "kueue.x-k8s.io") } else { has(rule, "resources", resource) }
    })
}

/// A quota for one Pod, and a priority that preempts.
fn quota(scene: &Scene) -> Value {
    let name = &scene.namespace;
    let object = |kind: &str, name: &str| json!({"apiVersion": API, "kind": kind, "metadata": {"name": name}});
    let mut flavor = object("ResourceFlavor", name);
    flavor["spec"] = json!({});
    let mut cluster_queue = object("ClusterQueue", name);
    let cpu = json!({"name": "cpu", "nominalQuota": "10m"});
    let memory = json!({"name": "memory", "nominalQuota": "1Gi"});
    cluster_queue["spec"] = json!({
        "namespaceSelector": {},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": ["cpu", "memory"],
            "flavors": [{"name": name, "resources": [cpu, memory]}]}],
    });
    let mut local_queue = object("LocalQueue", "team-a");
    local_queue["metadata"]["namespace"] = name.as_str().into();
    local_queue["spec"] = json!({"clusterQueue": name});
    let mut urgent = object("WorkloadPriorityClass", URGENT);
    urgent["value"] = 100.into();
    json!({"apiVersion": "v1", "kind": "List", "items": [flavor, cluster_queue, local_queue, urgent]})
}
