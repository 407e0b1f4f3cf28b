//! What admission refuses, with messages that say what to do; and `kubectl explain`.

use crate::support::manifest::IMAGE;
use crate::support::{Scene, eventually, kubectl, task};
use serde_json::{Value, json};

/// Asserts that tasks with these specs are refused with these messages.
async fn refused(name: &str, specs: &[Value], message: &str) {
    let scene = Scene::new(&format!("refused-{name}")).await;
    for spec in specs {
        assert_refused(&scene, &task(name, spec), message);
    }
}

#[track_caller]
fn assert_refused(scene: &Scene, manifest: &Value, message: &str) {
    let output = scene.try_apply(manifest, &[]).refused();
    assert!(output.contains(message), "it should say\n{message}\nand says\n{output}");
}

fn with_backoff(backoff: &Value) -> Value {
    json!({"image": IMAGE, "backoff": backoff})
}

#[tokio::test]
async fn neither_image_nor_container() {
    let message = "nothing to run: set spec.image, or give spec.template.spec.containers a container";
    let specs = [json!({}), json!({"template": {"spec": {}}}), json!({"template": {"spec": {"containers": []}}})];
    refused("nothing", &specs, message).await;
}

#[tokio::test]
async fn negative_max_retries() {
    let message = "maxRetries counts the tries after the first one: use 0 to run once, 3 for at most four attempts";
    refused("retries", &[json!({"image": IMAGE, "maxRetries": -1})], message).await;
}

const LIST: &str =
    "strategy List takes its delays from delaysSeconds, and no other strategy does: give both or neither";

#[tokio::test]
async fn list_without_delays() {
    refused("list", &[with_backoff(&json!({"strategy": "List"}))], LIST).await;
}

#[tokio::test]
async fn delays_with_another_strategy() {
    let specs = [json!({"strategy": "Fixed", "delaysSeconds": [1]}), json!({"delaysSeconds": [1]})];
    refused("delays", &specs.map(|backoff| with_backoff(&backoff)), LIST).await;
}

#[tokio::test]
async fn cap_below_the_initial_delay() {
    let message = "maxDelaySeconds is below the initial delay (initialDelaySeconds, 1 unless given): \
                 raise the cap or lower the initial delay";
    let specs = [json!({"initialDelaySeconds": 10, "maxDelaySeconds": 9}), json!({"maxDelaySeconds": 0})];
    refused("cap", &specs.map(|backoff| with_backoff(&backoff)), message).await;
}

#[tokio::test]
async fn multiplier_below_1() {
    let message =
        "multiplier is a number from 1 to 1000 with at most four decimals, in quotes when it has any: 2, \"1.5\"";
    let specs = [json!(0), json!("0.9"), json!("twice")].map(|multiplier| json!({"multiplier": multiplier}));
    refused("multiplier", &specs.map(|backoff| with_backoff(&backoff)), message).await;
}

#[tokio::test]
async fn percent_out_of_range() {
    let specs = [json!(101), json!(-1)].map(|percent| json!({"jitter": {"percent": percent}}));
    refused("percent", &specs.map(|backoff| with_backoff(&backoff)), "percent goes from 0 (no jitter) to 100").await;
}

#[tokio::test]
async fn restart_policy_of_the_template() {
    let message = "a Pod runs once and the operator does the retrying: \
                 remove the template's restartPolicy or set it to Never";
    let template = json!({"spec": {"restartPolicy": "OnFailure"}});
    refused("restart", &[json!({"image": IMAGE, "template": template})], message).await;
}

#[tokio::test]
async fn an_image_that_is_for_no_container_of_the_template() {
    let containers = json!({"spec": {"containers": [{"name": "main", "image": IMAGE}]}});
    let message = "spec.image is for the container named task, and spec.template.spec.containers has none: name the \
                 container that does the work task";
    refused("image", &[json!({"image": IMAGE, "template": containers})], message).await;
    let message = "onFailure.image is for the container named task, and onFailure.template.spec.containers has none";
    refused(
        "image-fallback",
        &[json!({"image": IMAGE, "onFailure": {"image": IMAGE, "template": containers}})],
        message,
    )
    .await;
    let mut annotated = containers.clone();
    annotated["metadata"] = json!({"annotations": {"kubectl.kubernetes.io/default-container": "nobody"}});
    let message = "the annotation kubectl.kubernetes.io/default-container names the main container";
    refused("annotation", &[json!({"image": IMAGE, "template": annotated})], message).await;
}

#[tokio::test]
async fn containers_that_would_restart_within_an_attempt() {
    let with = |list: &str, fields: &Value| {
        let mut container = json!({"name": "task", "image": IMAGE});
        container.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap_or_default());
        let mut spec = json!({list: [container]});
        if list == "initContainers" {
            spec["containers"] = json!([{"name": "main", "image": IMAGE}]);
        }
        json!({"template": {"spec": spec}})
    };
    let policy = |policy: &str| json!({"restartPolicy": policy});
    let message = "remove the container's restartPolicy or set it to Never";
    refused("policy", &["Always", "OnFailure"].map(|p| with("containers", &policy(p))), message).await;
    let message = "an init container runs once, or as long as the Pod as a native sidecar";
    refused("init", &[with("initContainers", &policy("OnFailure"))], message).await;
    let rules = json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]});
    let message = "remove the container's restartPolicyRules";
    refused("rules", &["containers", "initContainers"].map(|list| with(list, &rules)), message).await;
}

#[tokio::test]
async fn reasons_that_rules_never_see() {
    let specs = ["Completed", "Suspended", "Cancelled", "DeadlineExceeded", "SpecChanged", "RetryNow"].map(
        |reason| json!({"image": IMAGE, "rules": [{"name": "a", "when": {"reasons": [reason]}, "action": "Retry"}]}),
    );
    refused("reasons", &specs, "never comes to the rules: remove that reason").await;
}

#[tokio::test]
async fn a_template_as_tools_write_it_is_admitted_and_a_misspelt_field_is_not() {
    let scene = Scene::new("template-metadata").await;
    let metadata =
        json!({"name": "a", "namespace": "elsewhere", "creationTimestamp": null, "uid": "u", "generation": 1});
    let with = |metadata: &Value| {
        let containers = json!([{"name": "a", "image": IMAGE, "command": ["true"], "resources": {}}]);
        json!({"suspend": true, "template": {"metadata": metadata, "spec": {"containers": containers}}})
    };
    scene.apply(&task("exported", &with(&metadata)));
    let misspelt = task("misspelt", &with(&json!({"labls": {"a": "b"}})));
    assert_refused(&scene, &misspelt, r#"unknown field "spec.template.metadata.labls""#);
}

#[tokio::test]
async fn name_that_is_too_long_for_labels() {
    let message = "the task's name goes into its Pods' names and labels: use at most 63 characters";
    let scene = Scene::new("refused-name").await;
    assert_refused(&scene, &task(&"x".repeat(64), &json!({"image": IMAGE})), message);
    scene.apply(&task(&"x".repeat(63), &json!({"image": IMAGE, "suspend": true})));
}

#[tokio::test]
async fn fields_that_go_with_another_strategy_or_mode() {
    let cases = [
        (json!({"strategy": "Fixed", "multiplier": 2}), "multiplier works with strategy Exponential only"),
        (json!({"strategy": "Fixed", "maxDelaySeconds": 9}), "maxDelaySeconds caps the growing strategies"),
        (
            json!({"strategy": "List", "delaysSeconds": [1], "initialDelaySeconds": 1}),
            "strategy List starts with the first of delaysSeconds: remove initialDelaySeconds",
        ),
        (json!({"jitter": {"mode": "Full", "percent": 5}}), "percent works with mode Proportional only"),
        (json!({"initialDelaySeconds": -1}), "initialDelaySeconds goes from 0 (no wait) to 31536000 (a year)"),
        (json!({"strategy": "List", "delaysSeconds": [1, -1]}), "delaysSeconds go from 0 (no wait)"),
    ];
    let scene = Scene::new("refused-union").await;
    for (backoff, message) in cases {
        assert_refused(&scene, &task("union", &with_backoff(&backoff)), message);
    }
}

#[tokio::test]
async fn numbers_out_of_range() {
    let cases = [
        (json!({"image": IMAGE, "ttlSecondsAfterFinished": -1}), "use 0 to delete the task at once"),
        (json!({"image": IMAGE, "historyLimit": 101}), "historyLimit goes from 0 to 100"),
        (
            json!({"image": IMAGE, "podRetention": {"failed": -1}}),
            "podRetention.failed is a number of Pods: 0 keeps none",
        ),
        (
            json!({"image": IMAGE, "podRetention": {"succeeded": -1}}),
            "podRetention.succeeded is a number of Pods: 0 keeps none",
        ),
    ];
    let scene = Scene::new("refused-range").await;
    for (spec, message) in cases {
        assert_refused(&scene, &task("range", &spec), message);
    }
}

#[tokio::test]
async fn an_unknown_field() {
    let scene = Scene::new("refused-field").await;
    let misspelt = task("field", &json!({"image": IMAGE, "maxRetry": 1}));
    assert_refused(&scene, &misspelt, r#"unknown field "spec.maxRetry""#);
}

/// The schemas of our own fields by their paths; what is inside the template and other parts of Kubernetes is not ours.
fn ours(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    // What Kubernetes has documented itself, without descriptions here.
    const THEIRS: [&str; 5] = [".template", ".env[]", ".envFrom[]", ".resources", ".tolerations[]"];
    if THEIRS.iter().any(|theirs| path.ends_with(theirs)) || path == ".metadata" {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push((path.clone(), property.clone()));
        ours(&path, property, found);
    }
    if schema["items"].is_object() {
        ours(&format!("{path}[]"), &schema["items"], found);
    }
}

/// What the API server has of one of our definitions.
fn fields_of(resource: &str) -> Vec<(String, Value)> {
    let document = kubectl(&["get", "crd", &format!("{resource}.retryable.dev"), "-o", "json"]).ok();
    let definition: Value = serde_json::from_str(&document).unwrap();
    let mut fields = Vec::new();
    ours("", &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut fields);
    fields
}

#[tokio::test]
async fn explain_describes_every_field() {
    let _scene = Scene::new("explain").await;
    for (resource, at_least) in [("retryabletasks", 60), ("taskqueues", 30), ("taskschedules", 30)] {
        let fields = fields_of(resource);
        assert!(fields.len() > at_least, "{} fields of {resource} cannot be all", fields.len());
        let silent: Vec<&String> = fields
            .iter()
            .filter(|(_, schema)| schema["description"].as_str().is_none_or(|message| message.len() < 12))
            .map(|(path, _)| path)
            .collect();
        assert!(silent.is_empty(), "{resource} without a description: {silent:?}");
    }
    // The schema reaches kubectl by way of the published OpenAPI document, a moment later.
    for (path, message) in [
        ("retryabletasks.spec", "0 means one attempt"),
        ("retryabletasks.spec.backoff", "How long to wait before the next attempt"),
        ("retryabletasks.spec.backoff.strategy", "Exponential (initial"),
        ("retryabletasks.spec.completion", "still run 3 s after its end are stopped"),
        ("retryabletasks.spec.backoff.jitter.mode", "Default Proportional"),
        ("retryabletasks.spec.podRetention.failed", "Default 1"),
        ("retryabletasks.status.history.delayMilliseconds", "jitter included"),
        ("retryabletasks.status.conditions", "Reconciling and Stalled"),
        ("taskqueues.spec", "how fast they may start"),
        ("tq.spec.circuitBreaker.mode", "Observe: nothing waits"),
        ("taskqueues.status.circuit", "Absent without spec.circuitBreaker"),
        ("taskschedules.spec.overlap", "Replace"),
        ("tsch.spec.timeZone", "The IANA name of the time zone"),
    ] {
        eventually("kubectl explain", async || {
            let recorded = kubectl(&["explain", path]).result()?;
            let recorded = recorded.split_whitespace().collect::<Vec<_>>().join(" ");
            if recorded.contains(message) {
                Ok(())
            } else {
                Err(format!("{path} does not say `{message}`: {recorded}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn queues_that_cannot_be_meant() {
    let scene = Scene::new("refused-queue").await;
    let long = "q".repeat(64);
    let cases = [
        (&*long, json!({}), "use at most 63 characters"),
        ("q", json!({"maxConcurrent": 0}), "to let nothing start, use stopPolicy Hold"),
        ("q", json!({"retries": {"maxPercent": 20}}), "give maxConcurrent too, or remove retries"),
        ("q", json!({"startRate": {"starts": 0}}), "startRate.starts goes from 1 to 100000"),
        ("q", json!({"stopPolicy": "Pause"}), "supported values"),
        ("q", json!({"circuitBreaker": {"failures": {}}}), "circuitBreaker.failures"),
        ("q", json!({"circuitBreaker": {"failures": {"message": "("}}}), "message is not a regular expression"),
        ("q", json!({"circuitBreaker": {"failures": {"reasons": ["Completed"]}}}), "is no failure of the service"),
        ("q", json!({"circuitBreaker": {"failures": {"exitCodes": [0]}}}), "circuitBreaker.failures.exitCodes"),
        (
            "q",
            json!({"circuitBreaker": {"openSeconds": 90, "maxOpenSeconds": 60}}),
            "maxOpenSeconds is below openSeconds",
        ),
        ("q", json!({"circuitBreaker": {"maxOpenSeconds": 59}}), "maxOpenSeconds is below openSeconds"),
        ("q", json!({"circuitBreaker": {"openAfter": {"percent": 0}}}), "openAfter.percent goes from 1 to 100"),
        ("q", json!({"maxConcurent": 1}), r#"unknown field "spec.maxConcurent""#),
    ];
    for (name, spec, message) in cases {
        let queue = json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}, "spec": spec});
        assert_refused(&scene, &queue, message);
    }
}
