//! The Flux health check that a page shows, as Flux evaluates it: an older generation is in progress, then `failed` is asked, then `current`;
//! what has an error is neither, and is told as an error.

use cel::{Context, Program, Value};
use serde_json::json;
use std::fs;

/// The two expressions on the page: `current` and `failed`.
fn on_the_page() -> [Program; 2] {
    let page = fs::read_to_string(super::root().join("docs/operations/gitops.md")).unwrap();
    let blocks = super::between(&page, "```yaml\n", "```").map(|block| serde_yaml_ng::from_str(block).unwrap());
    let kustomization: serde_json::Value =
        blocks.into_iter().find(|block: &serde_json::Value| block["kind"] == "Kustomization").unwrap();
    let checks = &kustomization["spec"]["healthCheckExprs"];
    assert_eq!((checks.as_array().unwrap().len(), &checks[0]["kind"]), (1, &json!("RetryableTask")));
    ["current", "failed"].map(|name| Program::compile(checks[0][name].as_str().unwrap()).unwrap())
}

fn health(status: &serde_json::Value) -> &'static str {
    let [current, failed] = on_the_page();
    let mut context = Context::default();
    context.add_variable("status", status).unwrap();
    let holds = |program: &Program| program.execute(&context).unwrap() == Value::Bool(true);
    if status["observedGeneration"] != 2 {
        "InProgress"
    } else if holds(&failed) {
        "Failed"
    } else if holds(&current) {
        "Current"
    } else {
        "InProgress"
    }
}

#[test]
fn flux_waits_for_the_end_of_a_task() {
    let with = |conditions: &[(&str, &str)]| {
        let conditions: Vec<_> =
            conditions.iter().map(|(type_, status)| json!({"type": type_, "status": status})).collect();
        json!({"observedGeneration": 2, "conditions": conditions})
    };
    let cases = [
        ("no operator has seen it", json!({"observedGeneration": -1}), "InProgress"),
        (
            "changed since",
            json!({"observedGeneration": 1, "conditions": [{"type": "Complete", "status": "True"}]}),
            "InProgress",
        ),
        ("waits for a retry", json!({"observedGeneration": 2, "state": "Waiting"}), "InProgress"),
        ("starts", with(&[("Reconciling", "True")]), "InProgress"),
        ("runs", with(&[("AttemptStarted", "True")]), "InProgress"),
        ("queued", with(&[("Queued", "True")]), "InProgress"),
        ("blocked", with(&[("Blocked", "True")]), "InProgress"),
        ("suspended", with(&[("Suspended", "True")]), "InProgress"),
        ("its fallback runs", with(&[("FailureTarget", "True")]), "InProgress"),
        ("cannot go on", with(&[("Stalled", "True")]), "Failed"),
        ("goes on", with(&[("Stalled", "False"), ("Reconciling", "True")]), "InProgress"),
        ("succeeded", with(&[("Complete", "True"), ("Finished", "True")]), "Current"),
        ("failed", with(&[("Failed", "True"), ("Finished", "True"), ("Stalled", "True")]), "Failed"),
        ("runs again", with(&[("Reconciling", "True"), ("Failed", "False")]), "InProgress"),
    ];
    for (name, status, expected) in cases {
        assert_eq!(health(&status), expected, "{name}");
    }
}
