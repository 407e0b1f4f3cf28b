//! The words are those that an API server (1.37) had for the same manifests, `<nil>: Invalid value: null:` before the
//! last line apart.

#![allow(clippy::needless_pass_by_value)] // specs are written in place

use super::*;
use serde_json::json;
use std::sync::LazyLock;

fn task(spec: Value) -> Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": {"name": "a"}, "spec": spec})
}

static ADMISSION: LazyLock<Admission> = LazyLock::new(Admission::new);

fn admit(manifest: &Value, notation: Notation) -> Result<RetryableTask, Vec<String>> {
    ADMISSION.admit(manifest, notation)
}

fn said(manifest: &Value) -> Vec<String> {
    admit(manifest, Notation::Json).err().unwrap_or_default()
}

fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({"image": "x"});
    spec[field] = value;
    task(spec)
}

fn rule(field: &str, value: Value) -> Value {
    let mut rule = json!({"name": "a", "action": "Retry"});
    rule[field] = value;
    with("rules", json!([rule]))
}

#[test]
fn all_unknown_fields_are_reported() {
    let mut task = task(json!({
        "image": "x", "maxRetrys": 3, "backoff": {"initial": 3}, "rules": [{"name": "a", "action": "Fail", "if": 1}],
        "template": {"metadata": {"labls": {}}, "spec": {"fieldOfTomorrow": 1}},
    }));
    task["metadata"]["foo"] = json!(1);
    task["foo"] = json!(1);
    let unknown = ["foo", "metadata.foo", "spec.backoff.initial", "spec.maxRetrys", "spec.rules[0].if"];
    let unknown = unknown.into_iter().chain(["spec.template.metadata.labls"]).map(|f| format!("unknown field \"{f}\""));
    assert_eq!(said(&task), unknown.collect::<Vec<_>>());
}

#[test]
fn types_enums_and_sizes() {
    let of_type = |path: &str, wanted: &str, is: &str| {
        format!("{path}: Invalid value: \"{is}\": {path} in body must be of type {wanted}: \"{is}\"")
    };
    let long = "x".repeat(1025);
    let blocking = [
        (with("maxRetries", json!("a")), of_type("spec.maxRetries", "integer", "string")),
        (with("maxRetries", json!(1.5)), of_type("spec.maxRetries", "int32", "float64")),
        (with("image", json!(5)), of_type("spec.image", "string", "integer")),
        (with("suspend", json!("yes")), of_type("spec.suspend", "boolean", "string")),
        (with("backoff", json!(5)), of_type("spec.backoff", "object", "integer")),
        (with("args", json!("a")), of_type("spec.args", "array", "string")),
        (with("args", json!(["a", 5])), of_type("spec.args[1]", "string", "integer")),
        (with("args", json!([null])), of_type("spec.args[0]", "string", "null")),
        (task(json!([])), of_type("spec", "object", "array")),
        (with("backoff", json!({"multiplier": 1.5})), of_type("spec.backoff.multiplier", "integer,string", "number")),
        (
            with("template", json!({"metadata": {"labels": {"a": 5}}})),
            of_type("spec.template.metadata.labels.a", "string", "integer"),
        ),
        (
            with("backoff", json!({"strategy": "Quadratic"})),
            "spec.backoff.strategy: Unsupported value: \"Quadratic\": supported values: \"Exponential\", \"Fixed\", \
             \"Linear\", \"Fibonacci\", \"List\""
                .into(),
        ),
        (with("env", json!([{"value": "x"}])), "spec.env[0].name: Required value".into()),
        (with("image", json!(long)), "spec.image: Too long: may not be more than 1024 bytes".into()),
        (
            with("backoff", json!({"strategy": "List", "delaysSeconds": vec![1; 101]})),
            "spec.backoff.delaysSeconds: Too many: 101: must have at most 100 items".into(),
        ),
    ];
    for (manifest, words) in blocking {
        assert_eq!(said(&manifest), [words, NOT_ALL.into()]);
    }
}

#[test]
fn numbers_out_of_range_are_reported_together() {
    let schedule = |missed: Value| {
        json!({
            "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": "nightly"},
            "spec": {"schedule": "@daily", "missed": missed, "template": {"spec": {"image": "busybox"}}},
        })
    };
    let admission = Admission::of(&crate::api::schedule_crd());
    let said = |missed| admission.check(&schedule(missed), Notation::Yaml).err().unwrap_or_default();
    assert_eq!(said(json!({"withinSeconds": 60, "limit": 100})), Vec::<String>::new());
    assert_eq!(
        said(json!({"withinSeconds": 59, "limit": 101})),
        [
            "spec.missed.limit: Invalid value: 101: spec.missed.limit in body should be less than or equal to 100",
            "spec.missed.withinSeconds: Invalid value: 59: spec.missed.withinSeconds in body should be greater than or \
             equal to 60",
        ]
    );
}

#[test]
fn what_is_too_short_or_breaks_a_rule_is_reported_together() {
    let cases = [
        (
            json!({"image": "", "maxRetries": -1}),
            vec![
                "spec.image: Invalid value: \"\": spec.image in body should be at least 1 chars long",
                "spec.maxRetries: Invalid value: -1: maxRetries counts the tries after the first one: use 0 to run once, \
                 3 for at most four attempts",
            ],
        ),
        (
            json!({"image": "x", "historyLimit": 101, "backoff": {"strategy": "List"}}),
            vec![
                "spec.backoff: Invalid value: strategy List takes its delays from delaysSeconds, and no other strategy \
                 does: give both or neither",
                "spec.historyLimit: Invalid value: 101: historyLimit goes from 0 to 100",
            ],
        ),
        (
            json!({"image": "x", "backoff": {"strategy": "List", "delaysSeconds": []}}),
            vec![
                "spec.backoff.delaysSeconds: Invalid value: 0: spec.backoff.delaysSeconds in body should have at least 1 \
                 items",
            ],
        ),
        (
            json!({"image": "x", "maxRetries": 5_000_000_000_i64}),
            vec!["spec.maxRetries: Invalid value: 5000000000: Checked value must be of type integer with format int32"],
        ),
        (
            json!({}),
            vec![
                "spec: Invalid value: nothing to run: set spec.image, or give spec.template.spec.containers a container",
            ],
        ),
    ];
    for (spec, words) in cases {
        assert_eq!(said(&task(spec)), words);
    }
}

#[test]
fn an_invalid_regular_expression_is_reported_with_the_reason() {
    let words = "spec.rules[0].when.message: Invalid value: \"(\": message is not a regular expression (RE2 syntax): \
                 unclosed group";
    assert_eq!(said(&rule("when", json!({"message": "("}))), [words]);
}

#[test]
fn the_name() {
    let named = |name: Value| {
        let mut task = task(json!({"image": "x"}));
        task["metadata"] = name;
        said(&task)
    };
    let required = "metadata.name: Required value: name or generateName is required";
    assert_eq!(named(json!({})), [required, NOT_ALL]);
    assert_eq!(named(json!({"name": ""})), [required, NOT_ALL]);
    for name in ["Bad", "a_b", "a..b", "-a", "a-", "a.-b", "ä"] {
        let words = named(json!({"name": name}));
        let begins =
            format!("metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of");
        assert!(words.len() == 1 && words[0].starts_with(&begins), "{words:?}");
    }
    let long = "n".repeat(64);
    let words = format!(
        "metadata.name: Invalid value: \"{long}\": the task's name goes into its Pods' names and labels: use at most 63 \
         characters"
    );
    assert_eq!(named(json!({"name": long})), [words]);
    for good in [json!({"name": "a.b-1"}), json!({"name": "n".repeat(63)}), json!({"generateName": "a-"})] {
        assert_eq!(named(good), [""; 0]);
    }
}

#[test]
fn the_operators_own_validation_comes_last() {
    // Rust's regular expressions know no bound on repetitions below this program's limit of memory.
    let words = said(&rule("when", json!({"message": "(?:a{1000}){50}"})));
    assert_eq!(words.len(), 1, "{words:?}");
    let begins = "admitted, but the task would stall (InvalidSpec): spec.rules, rule \"a\": message";
    assert!(words[0].starts_with(begins), "{words:?}");
}

#[test]
fn the_task_has_the_defaults_of_the_schema() {
    let spec = json!({"image": "x", "maxRetries": null, "backoff": null, "podRetention": {"failed": 2.0}});
    let admitted = admit(&task(spec), Notation::Json).unwrap();
    assert_eq!((admitted.spec.max_retries, admitted.spec.history_limit, admitted.spec.suspend), (3, 20, false));
    assert_eq!((admitted.spec.pod_retention.failed, admitted.spec.pod_retention.succeeded), (2, 1));
    assert_eq!(admitted.spec.backoff, None);
}

#[test]
fn a_template_from_tools_is_admitted() {
    let metadata = json!({"name": "a", "namespace": null, "creationTimestamp": null, "labels": {"a": "b"}, "uid": "u",
        "generation": 3, "resourceVersion": "7", "ownerReferences": [{"kind": "Job", "name": "a"}], "annotations": null});
    let container = json!({"name": "a", "image": "x", "resources": {}, "restartPolicy": null});
    let template = json!({"metadata": metadata, "spec": {"containers": [container], "restartPolicy": "Never"}});
    let spec = json!({"template": template, "onFailure": {"template": template}});
    assert_eq!(said(&task(spec)), [""; 0]);
}

#[test]
fn a_status_in_a_manifest_is_ignored() {
    let mut manifest = task(json!({"image": "x"}));
    manifest["status"] = json!({"attempts": "many", "foo": 1});
    assert_eq!(admit(&manifest, Notation::Json).unwrap().status.unwrap_or_default().attempts, 0);
}

#[test]
fn plain_texts_are_read_as_yaml_1_1_in_yaml_only() {
    let volume = json!({"name": "v", "secret": {"secretName": "s", "defaultMode": "0444"}});
    let template = json!({"spec": {"volumes": [volume]}});
    let manifest = task(json!({"image": "x", "suspend": "yes", "maxRetries": "010", "template": template}));
    let admitted = admit(&manifest, Notation::Yaml).unwrap();
    assert_eq!((admitted.spec.suspend, admitted.spec.max_retries), (true, 8));
    let template = admitted.spec.template.unwrap();
    assert_eq!(template.pointer("/spec/volumes/0/secret/defaultMode"), Some(&json!(292)));
    assert_eq!(said(&manifest).len(), 4, "three of the wrong type, and a last line");
}
