//! Malicious tenants: the tasks that they write, the objects that they forge, and the output of their containers.

mod container_output;
mod forged_pods_and_status;
mod templates;

use crate::support::kubectl::{Output, kubectl_with};
use crate::support::{Scene, kubectl};
use serde_json::{Value, json};

/// A user who may do in the scene's namespace what `edit` and the chart's own role for editors let them do.
struct Author(String);

impl Author {
    fn of(scene: &Scene) -> Self {
        let author = Self(format!("author-of-{}", scene.namespace));
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/retryable-tasks");
        let render = ["template", "retryable-tasks", chart, "--show-only=templates/roles-for-users.yaml"];
        let rendered = crate::support::kubectl::run(std::process::Command::new("helm").args(render), "").ok();
        let shown = rendered.split("\n---\n").map(|text| serde_yaml_ng::from_str::<Value>(text).unwrap());
        // A Role of the namespace: what the cluster's other users may do is not this test's to change.
        let mut editors: Vec<Value> =
            shown.filter(|role| role["metadata"]["name"].as_str().unwrap().ends_with("-edit")).collect();
        assert_eq!(editors.len(), 1);
        let granted = editors.remove(0)["rules"].take();
        let group = "rbac.authorization.k8s.io";
        let subjects = json!([{"apiGroup": group, "kind": "User", "name": author.0}]);
        scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "task-editor"}, "rules": granted},
            {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "task-editor"},
             "subjects": subjects, "roleRef": {"apiGroup": group, "kind": "Role", "name": "task-editor"}},
            {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "editor"},
             "subjects": subjects, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "edit"}},
        ]}));
        author
    }

    /// What the user types.
    fn kubectl(&self, scene: &Scene, args: &[&str], stdin: &str) -> Output {
        kubectl_with(&[&["--namespace", &scene.namespace, "--as", &self.0], args].concat(), stdin)
    }

    fn may(&self, scene: &Scene, verb: &str, resource: &str, subresource: &str) -> bool {
        let subresource = format!("--subresource={subresource}");
        let ask = ["auth", "can-i", verb, resource, &subresource, "--namespace", &scene.namespace, "--as", &self.0];
        kubectl(&ask).stdout.trim() == "yes"
    }
}

/// How often the operator has asked for a Pod whose name begins so.
fn creations(scene: &Scene, prefix: &str) -> Vec<(String, u64)> {
    let requests = scene.operators_requests(scene.audit).into_iter();
    let of_task = requests.filter(|request| request.kind() == "create pods" && request.name.starts_with(prefix));
    of_task.map(|request| (request.name, request.code)).collect()
}
