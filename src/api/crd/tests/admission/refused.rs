//! Tasks that admission refuses, by the rule that does.

use serde_json::{Value, json};

pub(super) fn task(spec: &Value) -> Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": {"name": "a"}, "spec": spec})
}

pub(super) fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({"image": "x"});
    spec[field] = value;
    task(&spec)
}

pub(super) fn backoff(value: Value) -> Value {
    with("backoff", value)
}

/// A task whose template has a container, `task`, with that field.
pub(super) fn container(list: &str, field: &str, value: Value) -> Value {
    let mut container = json!({"name": "task", "image": "x"});
    container[field] = value;
    with("template", json!({"spec": {list: [container]}}))
}

pub(super) fn restart_rules() -> Value {
    json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}])
}

/// Every rule of admission by words of its message, with tasks that it refuses.
fn refused() -> Vec<(&'static str, Vec<Value>)> {
    let template = |containers: Value| task(&json!({"template": {"spec": {"containers": containers}}}));
    let restart = |policy: &str| with("template", json!({"spec": {"restartPolicy": policy}}));
    let mut long_name = task(&json!({"image": "x"}));
    long_name["metadata"]["name"] = json!("n".repeat(64));
    let percent = |mode: &str| backoff(json!({"jitter": {"mode": mode, "percent": 5}}));
    let delays = |list: Value| backoff(json!({"strategy": "List", "delaysSeconds": list}));
    let multiplier = |value: Value| backoff(json!({"multiplier": value}));
    vec![
        ("use at most 63 characters", vec![long_name]),
        ("nothing to run", vec![task(&json!({})), task(&json!({"template": {}})), template(json!([]))]),
        ("remove the template's restartPolicy", vec![restart("Always"), restart("OnFailure"), restart("")]),
        (
            "give both or neither",
            vec![
                backoff(json!({"strategy": "List"})),
                backoff(json!({"delaysSeconds": [1]})),
                backoff(json!({"strategy": "Fixed", "delaysSeconds": [1]})),
            ],
        ),
        (
            "remove initialDelaySeconds",
            vec![backoff(json!({"strategy": "List", "delaysSeconds": [1], "initialDelaySeconds": 1}))],
        ),
        (
            "multiplier works with strategy Exponential only",
            vec![
                backoff(json!({"strategy": "Linear", "multiplier": 2})),
                backoff(json!({"strategy": "List", "delaysSeconds": [1], "multiplier": 2})),
            ],
        ),
        (
            "maxDelaySeconds caps the growing strategies",
            vec![
                backoff(json!({"strategy": "Fixed", "maxDelaySeconds": 5})),
                backoff(json!({"strategy": "List", "delaysSeconds": [1], "maxDelaySeconds": 5})),
            ],
        ),
        (
            "below the initial delay",
            vec![
                backoff(json!({"initialDelaySeconds": 9, "maxDelaySeconds": 8})),
                backoff(json!({"maxDelaySeconds": 0})),
            ],
        ),
        (
            "initialDelaySeconds goes",
            vec![backoff(json!({"initialDelaySeconds": -1})), backoff(json!({"initialDelaySeconds": 31_536_001}))],
        ),
        (
            "maxDelaySeconds goes",
            vec![backoff(json!({"maxDelaySeconds": -1})), backoff(json!({"maxDelaySeconds": 31_536_001}))],
        ),
        ("delaysSeconds go", vec![delays(json!([1, -1])), delays(json!([31_536_001]))]),
        (
            "multiplier is a number",
            [
                json!(0),
                json!(-2),
                json!(1001),
                json!("0.5"),
                json!("1000.5"),
                json!("a"),
                json!("1.23456"),
                json!(""),
                json!("1e2"),
            ]
            .map(multiplier)
            .to_vec(),
        ),
        ("percent works with mode Proportional only", ["None", "Full", "Equal"].map(percent).to_vec()),
        ("percent goes from 0", [-1, 101].map(|n| backoff(json!({"jitter": {"percent": n}}))).to_vec()),
        ("maxRetries counts the tries", vec![with("maxRetries", json!(-1))]),
        ("ttlSecondsAfterFinished counts", vec![with("ttlSecondsAfterFinished", json!(-1))]),
        ("podRetention.failed is", vec![with("podRetention", json!({"failed": -1}))]),
        ("podRetention.succeeded is", vec![with("podRetention", json!({"succeeded": -1}))]),
        ("queue.name is", ["", "A", "a_b", "-a", "a."].map(|name| with("queue", json!({"name": name}))).to_vec()),
        ("queue.priority goes", [-11, 11].map(|n| with("queue", json!({"name": "a", "priority": n}))).to_vec()),
        ("queue.fairnessKey is", vec![with("queue", json!({"name": "a", "fairnessKey": ""}))]),
        ("queue.maxWaitSeconds is", [0, -1].map(|n| with("queue", json!({"name": "a", "maxWaitSeconds": n}))).to_vec()),
        ("historyLimit goes", vec![with("historyLimit", json!(-1)), with("historyLimit", json!(101))]),
        ("activeDeadlineSeconds is", [0, -1].map(|n| with("activeDeadlineSeconds", json!(n))).to_vec()),
        ("attemptTimeoutSeconds is", [0, -1].map(|n| with("attemptTimeoutSeconds", json!(n))).to_vec()),
        ("startupTimeoutSeconds is", [0, -1].map(|n| with("startupTimeoutSeconds", json!(n))).to_vec()),
    ]
}

/// As [`refused`], of what comes before the first attempt.
fn refused_starts() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("a task cannot wait for itself", vec![with("after", json!([{"task": "a"}]))]),
        ("add after, or remove afterTimeoutSeconds", vec![with("afterTimeoutSeconds", json!(5))]),
        ("afterTimeoutSeconds is a time", vec![task(&json!({"image": "x", "after": [], "afterTimeoutSeconds": 0}))]),
        ("after[].task is the name", ["B", "b_c", "b/c"].map(|name| with("after", json!([{"task": name}]))).to_vec()),
        (
            "two entries of after have the same task",
            vec![
                with("after", json!([{"task": "b"}, {"task": "b", "condition": "Failed"}])),
                with("after", json!([{"task": "b.c"}, {"task": "b-c"}])),
            ],
        ),
        (
            "startAt is a time as RFC 3339",
            [
                "tomorrow",
                "2026-12-01",
                "2026-12-01T06:00",
                "2026-12-01T06:00:00",
                "2026-12-01 06:00:00Z",
                "2026-13-01T06:00:00Z",
                "2026-12-01T24:00:00Z",
            ]
            .map(|text| with("startAt", json!(text)))
            .to_vec(),
        ),
    ]
}

/// As [`refused`], of the template's containers.
fn refused_containers() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        (
            "spec.image is for the container named task",
            vec![with("template", json!({"spec": {"containers": [{"name": "main"}, {"name": "other"}]}}))],
        ),
        (
            "names the main container",
            [json!([]), json!([{"name": "task"}]), json!([{"name": "a"}, {"name": "task"}])]
                .map(|containers| {
                    let annotations = json!({"kubectl.kubernetes.io/default-container": "a"});
                    with(
                        "template",
                        json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}}),
                    )
                })
                .to_vec(),
        ),
        (
            "remove the container's restartPolicy or",
            ["Always", "OnFailure", ""].map(|policy| container("containers", "restartPolicy", json!(policy))).to_vec(),
        ),
        ("a native sidecar", vec![container("initContainers", "restartPolicy", json!("OnFailure"))]),
        (
            "remove the container's restartPolicyRules",
            ["containers", "initContainers"]
                .map(|list| container(list, "restartPolicyRules", restart_rules()))
                .to_vec(),
        ),
    ]
}

pub(super) fn rules(rules: Value) -> Value {
    with("rules", rules)
}

pub(super) fn rule(when: &Value) -> Value {
    rules(json!([{"name": "a", "when": when, "action": "Retry"}]))
}

/// As [`refused`], of rules and budgets.
fn refused_rules() -> Vec<(&'static str, Vec<Value>)> {
    let named = |name: &str| rules(json!([{"name": name, "action": "Retry"}]));
    let of = |field: &str, values: &[Value]| values.iter().map(|v| rule(&json!({field: [v]}))).collect::<Vec<_>>();
    let budget = |field: &str| vec![with("budgets", json!({field: -1}))];
    let codes = [json!(0), json!(-1), json!("5"), json!("9-3"), json!("a-b"), json!("-5"), json!("1-9999999999")];
    let fatal = |field: &str, value: Value| {
        let mut rule = json!({"name": "a", "action": "Fail"});
        rule[field] = value;
        rules(json!([rule]))
    };
    let when = json!({"reasons": ["Error"]});
    vec![
        (
            "two rules have the same name",
            vec![rules(json!([
                {"name": "a", "when": when, "action": "Retry"}, {"name": "a", "when": when, "action": "Fail"},
            ]))],
        ),
        (
            "move it to the end",
            vec![
                rules(json!([{"name": "a", "action": "Retry"}, {"name": "b", "when": when, "action": "Fail"}])),
                rules(json!([{"name": "a", "action": "Retry"}, {"name": "b", "action": "Fail"}])),
            ],
        ),
        ("remove maxRetries or change the action", vec![fatal("maxRetries", json!(1))]),
        ("remove backoff or change the action", vec![fatal("backoff", json!({}))]),
        ("a rule's maxRetries counts", vec![rules(json!([{"name": "a", "action": "Retry", "maxRetries": -1}]))]),
        ("a rule's name consists", ["", "-a", "a-", "a b", "ä"].map(named).to_vec()),
        (
            "are built in",
            ["disruption", "outOfMemory", "startup", "circuit", "doNotRetry", "maxRetries"].map(named).to_vec(),
        ),
        ("an empty when", vec![rule(&json!({}))]),
        ("exitCodes are", of("exitCodes", &codes)),
        ("notExitCodes are", of("notExitCodes", &codes)),
        ("signals are", of("signals", &[json!(0), json!(65), json!("SIGNONE"), json!("kill"), json!("9")])),
        (
            "never comes to the rules",
            ["Completed", "Suspended", "Cancelled", "DeadlineExceeded", "SpecChanged", "RetryNow"]
                .map(|reason| rule(&json!({"reasons": ["Evicted", reason]})))
                .to_vec(),
        ),
        ("is not a regular expression", ["(", "a{2,1}", "(?=x)"].map(|text| rule(&json!({"message": text}))).to_vec()),
        ("budgets.disruptions is", budget("disruptions")),
        ("budgets.outOfMemory is", budget("outOfMemory")),
        ("budgets.startup is", budget("startup")),
    ]
}

/// As [`refused`], of what differs from attempt to attempt, and of the fallback.
fn refused_changes() -> Vec<(&'static str, Vec<Value>)> {
    let memory = |value: Value| with("onOutOfMemory", value);
    let multipliers = [json!(1), json!(0), json!(1001), json!("1"), json!("0.5"), json!("1.0"), json!("x")];
    let amounts = [json!(0), json!(-1), json!("lots"), json!("4GiB"), json!("-4Gi"), json!("100m")];
    let fallback = |value: Value| with("onFailure", value);
    let restart = json!({"spec": {"restartPolicy": "OnFailure"}});
    vec![
        ("memoryMultiplier is", multipliers.map(|value| memory(json!({"memoryMultiplier": value}))).to_vec()),
        ("maxMemory is an amount", amounts.map(|value| memory(json!({"maxMemory": value}))).to_vec()),
        (
            "fromAttempt is 2 or more",
            [1, 0].map(|n| with("overrides", json!([{"fromAttempt": n, "env": []}]))).to_vec(),
        ),
        ("an override changes something", vec![with("overrides", json!([{"fromAttempt": 2}]))]),
        (
            "two overrides have the same fromAttempt",
            vec![with("overrides", json!([{"fromAttempt": 2, "env": []}, {"fromAttempt": 2, "nodeSelector": {}}]))],
        ),
        ("onFailure says what to run", vec![fallback(json!({})), fallback(json!({"timeoutSeconds": 5}))]),
        (
            "onFailure.image is for the container named task",
            vec![fallback(json!({"image": "y", "template": {"spec": {"containers": [{"name": "notify"}]}}}))],
        ),
        ("remove the template's restartPolicy", vec![fallback(json!({"template": restart}))]),
        ("onFailure.timeoutSeconds is", vec![fallback(json!({"image": "x", "timeoutSeconds": 0}))]),
    ]
}

pub(super) fn all_refused() -> impl Iterator<Item = (&'static str, Vec<Value>)> {
    refused()
        .into_iter()
        .chain(refused_starts())
        .chain(refused_containers())
        .chain(refused_rules())
        .chain(refused_changes())
}
