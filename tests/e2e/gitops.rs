//! What a GitOps tool sees of what it has applied.

use crate::kubectl_plugin::say;
use crate::support::manifest::IMAGE;
use crate::support::{Scene, kubectl_with};
use serde_json::{Value, json};

/// As they stand in Git: with quantities and lists as people write them, and without defaults.
fn manifests(scene: &Scene) -> Value {
    let object = |kind: &str, name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": scene.namespace});
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    let template = json!({"metadata": {"labels": {"team": "shop"}}, "spec": {"terminationGracePeriodSeconds": 5,
        "containers": [{"name": "task", "ports": [{"containerPort": 80}]}]}});
    let task = json!({"image": IMAGE, "command": ["true"], "env": [{"name": "A", "value": "1"}], "queue": {"name": "mail"},
        "resources": {"requests": {"memory": "32768Ki", "cpu": "0.01"}, "limits": {"memory": "64Mi"}},
        "rules": [{"name": "busy", "action": "Retry", "when": {"exitCodes": [3]}}], "template": template});
    let queue = json!({"maxConcurrent": 2, "circuitBreaker": {"failures": {"exitCodes": [3]}}});
    let schedule = json!({"schedule": "0 0 1 1 *", "template": {"spec": {"image": IMAGE, "command": ["true"]}}});
    let items = [
        object("RetryableTask", "import", task),
        object("TaskQueue", "mail", queue),
        object("TaskSchedule", "yearly", schedule),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

#[tokio::test]
async fn a_server_side_apply_leaves_no_difference_whatever_has_happened_since() {
    let scene = Scene::new("gitops").await;
    let _operator = scene.operator().await;
    let manifests = manifests(&scene).to_string();
    let is_the_same = |when: &str| {
        for side in ["--server-side=true", "--server-side=false"] {
            let diff = kubectl_with(&["diff", side, "-f", "-"], &manifests).result();
            assert_eq!(diff.as_deref(), Ok(""), "{when}, {side}");
        }
    };
    kubectl_with(&["apply", "--server-side", "-f", "-"], &manifests).ok();
    is_the_same("applied");
    scene.finished("import").await;
    is_the_same("ended");
    // What people ask for in between is not in Git.
    for verb in [
        &["run-again", "import"][..],
        &["wait", "import"],
        &["queue", "hold", "mail"],
        &["schedule", "trigger", "yearly"],
        &["run-again", "import"],
        &["suspend", "import"],
    ] {
        let said = say(&scene, verb).await;
        assert_eq!(said.code, Some(0), "{verb:?}: {}{}", said.out, said.err);
        is_the_same(&verb.join(" "));
    }
    kubectl_with(&["apply", "--server-side", "-f", "-"], &manifests).ok();
    is_the_same("applied again");
    assert_eq!(scene.kubectl(&["get", "taskqueue", "mail", "-o", "jsonpath={.spec.stopPolicy}"]).ok(), "Hold");
}
