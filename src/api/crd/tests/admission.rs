//! Every rule of admission, evaluated here without a cluster.

mod refused;

use super::{root, walk};
use crate::admission::Rules;
use crate::api::RetryableTask;
use refused::{all_refused, backoff, container, rules, task, with};
use serde_json::{Value, json};

/// The rules of the schema, compiled.
fn compiled() -> Rules {
    Rules::of(root())
}

/// What admission says of a task.
fn refusals(rules: &Rules, task: &Value) -> Vec<String> {
    rules.refusals(task)
}

#[test]
fn admission_says_what_to_do() {
    let schema = compiled();
    for (message, tasks) in all_refused() {
        for task in tasks {
            let said = refusals(&schema, &task);
            assert!(said.iter().any(|said| said.contains(message)), "{message}: {said:?} of {}", task["spec"]);
        }
    }
}

#[test]
fn every_rule_of_admission_is_tried() {
    let mut rules = Vec::new();
    walk(root(), "", &mut |schema, path| {
        let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.extend(own.map(|rule| (path.to_owned(), rule["message"].as_str().unwrap_or_default().to_owned())));
        true
    });
    let tried: Vec<_> = all_refused().collect();
    for (path, message) in &rules {
        assert!(tried.iter().any(|(words, _)| message.contains(words)), "{path}: {message}");
    }
    for (words, _) in &tried {
        assert!(rules.iter().any(|(_, message)| message.contains(words)), "{words} is said by none");
    }
}

#[test]
fn admission_accepts_valid_specs() {
    let schema = compiled();
    let mut longest_name = task(&json!({"image": "x"}));
    longest_name["metadata"]["name"] = json!("n".repeat(63));
    let good = [
        longest_name,
        task(&json!({"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}})),
        with("template", json!({"spec": {"restartPolicy": "Never"}})),
        with("template", json!({"metadata": {"labels": {"a": "b"}}})),
        with(
            "template",
            json!({"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "b"}},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
        ),
        with("template", json!({"spec": {"containers": [{"name": "a"}, {"name": "task"}]}})),
        container("containers", "restartPolicy", json!("Never")),
        container("containers", "restartPolicyRules", json!([])),
        container("initContainers", "restartPolicy", json!("Always")),
        with("completion", json!("AllContainers")),
        with("onFailure", json!({"template": {"spec": {"containers": [{"name": "notify", "image": "y"}]}}})),
        backoff(json!({})),
        backoff(json!({"strategy": "List", "delaysSeconds": [0, 31_536_000]})),
        backoff(json!({"strategy": "Fixed", "initialDelaySeconds": 0})),
        backoff(json!({"strategy": "Linear", "initialDelaySeconds": 5, "maxDelaySeconds": 5})),
        backoff(json!({"strategy": "Fibonacci", "maxDelaySeconds": 31_536_000})),
        backoff(json!({"multiplier": 1})),
        backoff(json!({"strategy": "Exponential", "multiplier": "1.5"})),
        backoff(json!({"multiplier": "1000"})),
        backoff(json!({"initialDelaySeconds": 300})),
        backoff(json!({"jitter": {"percent": 100}})),
        backoff(json!({"jitter": {"mode": "Proportional", "percent": 0}})),
        backoff(json!({"jitter": {"mode": "Full"}})),
        with("startAt", json!("2026-12-01T06:00:00Z")),
        task(
            &json!({"image": "x", "after": [{"task": "b"}, {"task": "b.c", "condition": "Finished"}], "afterTimeoutSeconds": 1}),
        ),
        with("startAt", json!("2026-12-01T06:00:00.123456789-03:30")),
        with("maxRetries", json!(0)),
        with("historyLimit", json!(0)),
        with("historyLimit", json!(100)),
        with("ttlSecondsAfterFinished", json!(0)),
        with("podRetention", json!({"failed": 0, "succeeded": 0})),
        with("activeDeadlineSeconds", json!(1)),
        with("queue", json!({"name": "payments.api-1"})),
        with("queue", json!({"name": "a", "priority": -10, "fairnessKey": "team a/b", "maxWaitSeconds": 1})),
        with("budgets", json!({"disruptions": 0, "outOfMemory": 0, "startup": 0})),
        with("onOutOfMemory", json!({})),
        with("onOutOfMemory", json!({"memoryMultiplier": "1.5", "maxMemory": "4Gi"})),
        with("onOutOfMemory", json!({"memoryMultiplier": 2, "maxMemory": 4_000_000})),
        with("overrides", json!([{"fromAttempt": 2, "nodeSelector": {}}, {"fromAttempt": 3, "tolerations": []}])),
        with("onFailure", json!({"args": ["--degraded"]})),
        with("onFailure", json!({"template": {"spec": {"restartPolicy": "Never"}}, "timeoutSeconds": 1})),
        rules(json!([])),
        rules(json!([
            {"name": "a.b_c-D", "when": {"exitCodes": [1, "64-78", "5-5"]}, "action": "Fail"},
            {"name": "b", "when": {"notExitCodes": ["1-2"], "message": "(?i)too many"}, "action": "Ignore", "maxRetries": 0},
            {"name": "c", "when": {"signals": [9, 64, "KILL", "SIGTERM"], "reasons": ["OOMKilled"]}, "action": "Retry"},
            {"name": "d", "action": "Retry", "maxRetries": 5, "backoff": {"strategy": "Fixed"}},
        ])),
    ];
    for task in good {
        assert_eq!(refusals(&schema, &task), [""; 0], "{}", task["spec"]);
    }
}

/// A value that admission has let pass can be read: types and schema agree.
#[test]
fn what_admission_accepts_can_be_read() {
    let full = json!({
        "image": "x", "command": ["a"], "args": ["b"], "env": [{"name": "A", "value": "b"}],
        "envFrom": [{"secretRef": {"name": "s"}}], "resources": {"limits": {"cpu": "1"}}, "template": {"spec": {}},
        "completion": "AllContainers", "startAt": "2026-12-01T06:00:00Z",
        "queue": {"name": "q", "priority": 1, "fairnessKey": "a", "maxWaitSeconds": 5}, "maxRetries": 5,
        "after": [{"task": "b", "condition": "Failed"}], "afterTimeoutSeconds": 9, "suspend": true, "ttlSecondsAfterFinished": 5, "historyLimit": 5,
        "podRetention": {"failed": 2}, "avoidFailedNodes": false,
        "onOutOfMemory": {"memoryMultiplier": "1.5", "maxMemory": "4Gi"},
        "overrides": [{"fromAttempt": 2, "resources": {"limits": {"cpu": "2"}}, "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "a"}], "env": [{"name": "A"}]}],
        "onFailure": {"image": "y", "command": ["c"], "args": ["d"], "env": [], "envFrom": [], "resources": {},
            "template": {}, "timeoutSeconds": 9},
        "backoff": {"strategy": "Exponential", "initialDelaySeconds": 1, "multiplier": "1.5", "maxDelaySeconds": 9,
            "jitter": {"mode": "Proportional", "percent": 10}},
    });
    let read: RetryableTask = serde_json::from_value(task(&full)).unwrap();
    let written = serde_json::to_value(&read.spec).unwrap();
    for (field, value) in full.as_object().unwrap() {
        let value = if field == "podRetention" { &json!({"failed": 2, "succeeded": 1}) } else { value };
        assert_eq!(&written[field], value, "{field}");
    }
    let bare: RetryableTask = serde_json::from_value(task(&json!({"image": "x"}))).unwrap();
    assert_eq!((bare.spec.max_retries, bare.spec.history_limit, bare.spec.suspend), (3, 20, false));
}
