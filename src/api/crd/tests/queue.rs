//! The definition of `TaskQueue`.

use super::walk;
use crate::admission::{Admission, Notation, schema_of};
use crate::api::{TaskQueue, queue_crd};
use serde_json::{Value, json};
use std::sync::LazyLock;

static ADMISSION: LazyLock<Admission> = LazyLock::new(|| Admission::of(&queue_crd()));

fn queue(spec: &Value) -> Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "q"}, "spec": spec})
}

fn refusals(spec: &Value) -> Vec<String> {
    ADMISSION.check(&queue(spec), Notation::Json).err().unwrap_or_default()
}

#[allow(clippy::needless_pass_by_value)] // a literal at each call
fn breaker(field: &str, value: Value) -> Value {
    json!({"circuitBreaker": {field: value}})
}

/// Every rule by words of its message, with specs that it refuses.
fn refused() -> Vec<(&'static str, Vec<Value>)> {
    let numbers = |fields: &[&str], bad: [i64; 2]| -> Vec<Value> {
        let spec = |number: i64| fields.iter().rev().fold(json!(number), |inner, field| json!({*field: inner}));
        bad.into_iter().map(spec).collect()
    };
    let failures = |field: &str, value: Value| breaker("failures", json!({field: [value]}));
    let rate = |field: &str, number: i64| {
        let mut rate = json!({"starts": 1});
        rate[field] = json!(number);
        json!({"startRate": rate})
    };
    let circuit = |field: &'static str, bad| numbers(&["circuitBreaker", field], bad);
    let probes = |field: &'static str, bad| numbers(&["circuitBreaker", "probes", field], bad);
    let open_after = |field: &'static str, bad| numbers(&["circuitBreaker", "openAfter", field], bad);
    let share = |percent: i64| json!({"maxConcurrent": 5, "retries": {"maxPercent": percent}});
    vec![
        ("maxConcurrent goes", numbers(&["maxConcurrent"], [0, 100_001])),
        ("give maxConcurrent too", vec![json!({"retries": {"maxPercent": 25}})]),
        ("retries.maxPercent goes", vec![share(0), share(101)]),
        ("startRate.starts goes", vec![rate("starts", 0), rate("starts", 100_001)]),
        ("startRate.perSeconds goes", vec![rate("perSeconds", 0), rate("perSeconds", 86_401)]),
        ("startRate.burst goes", vec![rate("burst", 0), rate("burst", 100_001)]),
        (
            "maxOpenSeconds is below openSeconds",
            vec![
                json!({"circuitBreaker": {"openSeconds": 100, "maxOpenSeconds": 99}}),
                json!({"circuitBreaker": {"maxOpenSeconds": 59}}),
            ],
        ),
        ("openSeconds goes", circuit("openSeconds", [0, 86_401])),
        ("maxOpenSeconds goes", circuit("maxOpenSeconds", [0, 86_401])),
        ("recoverySeconds goes", circuit("recoverySeconds", [-1, 86_401])),
        ("empty failures match nothing", vec![breaker("failures", json!({}))]),
        ("exitCodes are", vec![failures("exitCodes", json!(0)), failures("exitCodes", json!("9-3"))]),
        ("notExitCodes are", vec![failures("notExitCodes", json!(256))]),
        ("signals are", vec![failures("signals", json!("SIGNONE"))]),
        (
            "is no failure of the service",
            ["Completed", "Suspended", "QueueDrained"].map(|reason| failures("reasons", json!(reason))).to_vec(),
        ),
        ("is not a regular expression", vec![breaker("failures", json!({"message": "("}))]),
        ("openAfter.tasks goes", open_after("tasks", [0, 10_001])),
        ("openAfter.percent goes", open_after("percent", [0, 101])),
        ("openAfter.withinSeconds goes", open_after("withinSeconds", [0, 86_401])),
        ("probes.atATime goes", probes("atATime", [0, 101])),
        ("probes.successes goes", probes("successes", [0, 101])),
        ("probes.passAfterSeconds goes", probes("passAfterSeconds", [0, 86_401])),
    ]
}

#[test]
fn admission_says_what_to_do() {
    for (message, specs) in refused() {
        for spec in specs {
            let said = refusals(&spec);
            assert!(said.iter().any(|said| said.contains(message)), "{message}: {said:?} of {spec}");
        }
    }
    let mut named = queue(&json!({}));
    named["metadata"]["name"] = json!("q".repeat(64));
    let said = ADMISSION.check(&named, Notation::Json).unwrap_err();
    assert!(said[0].contains("use at most 63 characters"), "{said:?}");
}

#[test]
fn every_rule_is_tried() {
    let schema = schema_of(&queue_crd());
    let tried = refused();
    walk(&schema, "", &mut |schema, path| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            let is_tried = path.is_empty() || tried.iter().any(|(words, _)| message.contains(words));
            assert!(is_tried, "{path}: {message}");
        }
        true
    });
}

#[test]
fn what_is_accepted_can_be_read_and_written() {
    let full = json!({
        "maxConcurrent": 20, "retries": {"maxPercent": 25}, "startRate": {"starts": 30, "perSeconds": 60, "burst": 5},
        "stopPolicy": "HoldAndDrain",
        "circuitBreaker": {
            "mode": "Observe",
            "failures": {"errorTypes": ["Unavailable"], "reasons": ["AttemptTimeout"], "exitCodes": [75, "64-70"],
                "notExitCodes": [1], "signals": ["KILL"], "message": "(?i)too many", "preset": "SysexitsTransient"},
            "openAfter": {"tasks": 5, "percent": 50, "withinSeconds": 300}, "openSeconds": 60, "maxOpenSeconds": 1800,
            "probes": {"atATime": 1, "successes": 2, "passAfterSeconds": 300}, "recoverySeconds": 0, "honorRetryAfter": false,
        },
    });
    for spec in [full, json!({}), json!({"circuitBreaker": {}}), json!({"circuitBreaker": {"openSeconds": 3600}})] {
        let stored = ADMISSION.check(&queue(&spec), Notation::Json).unwrap();
        let read: TaskQueue = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read.spec).unwrap(), stored["spec"]);
    }
}

#[test]
fn the_columns_and_the_descriptions() {
    let definition = queue_crd();
    let columns = definition.spec.versions[0].additional_printer_columns.clone().unwrap();
    let shown: Vec<_> =
        columns.iter().map(|column| format!("{} {} {}", column.name, column.type_, column.json_path)).collect();
    let expected = [
        "Running string .status.running",
        "Queued integer .status.queued",
        "Waiting integer .status.waiting",
        "Circuit string .status.circuit.state",
        "Until string .status.circuit.until",
        "Age date .metadata.creationTimestamp",
        "Cause string .status.circuit.cause",
    ];
    assert_eq!(shown, expected);
    let names = &definition.spec.names;
    assert_eq!(
        (names.short_names.clone(), names.categories.clone()),
        (Some(vec!["tq".into()]), Some(vec!["all".into()]))
    );
    let schema = schema_of(&definition);
    walk(&schema, "", &mut |schema, path| {
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(path.is_empty() || path == ".metadata" || path.ends_with("[]") || text.len() > 10, "{path}: {text:?}");
        assert!(schema.get("nullable").is_none() && schema["type"] != "number", "{path}");
        let is_list = path.starts_with(".spec") && schema["type"] == "array";
        assert!(!is_list || schema["maxItems"].is_u64(), "{path} has no bound");
        !path.starts_with(".status.conditions[]")
    });
}
