use super::*;
use crate::api::{ConditionReason, ConditionType, Run};
use crate::core::build_pod::pod;
use crate::core::condition_list;
use crate::core::testing::{BuildTask, at, task, task_with};
use std::sync::Arc;

fn main(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

fn variable<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    main(pod)["env"].as_array()?.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

fn with_status(spec: Value, change: impl FnOnce(&mut RetryableTaskStatus)) -> RetryableTask {
    let mut status = RetryableTaskStatus::default();
    change(&mut status);
    task_with(spec).status(status)
}

fn failed_on(attempt: i32, node: &str, action: Action, reason: &str) -> Arc<HistoryEntry> {
    let node_name = Some(node.into());
    HistoryEntry { attempt, node_name, action, reason: reason.into(), ..HistoryEntry::default() }.into()
}

#[test]
fn overrides_apply_from_their_attempt_on_and_on_top_of_each_other() {
    let task = task_with(json!({
        "image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
        "resources": {"limits": {"cpu": "1"}},
        "template": {"spec": {"nodeSelector": {"spot": "true"}, "tolerations": [{"key": "spot"}]}},
        "overrides": [
            {"fromAttempt": 3, "nodeSelector": {"onDemand": "true"}, "tolerations": []},
            {"fromAttempt": 2, "env": [{"name": "B", "value": "2"}, {"name": "C", "value": "2"}]},
            {"fromAttempt": 4, "resources": {"limits": {"cpu": "4"}}, "nodeSelector": {}, "env": [{"name": "C", "value": "4"}]},
        ],
    }));
    let seen = |number: i32| {
        let pod = pod(&task, number, true);
        let env = ["A", "B", "C"].map(|name| variable(&pod, name).unwrap_or("-").to_owned()).join("");
        let (selector, tolerations) = (&pod["spec"]["nodeSelector"], &pod["spec"]["tolerations"]);
        let cpu = &main(&pod)["resources"]["limits"]["cpu"];
        format!(
            "{env} {selector} {tolerations} {cpu} {:?}",
            override_from(&task.spec, &RetryableTaskStatus::default(), number.into())
        )
    };
    assert_eq!(seen(1), r#"11- {"spot":"true"} [{"key":"spot"}] "1" None"#);
    assert_eq!(seen(2), r#"122 {"spot":"true"} [{"key":"spot"}] "1" Some(2)"#);
    assert_eq!(seen(3), r#"122 {"onDemand":"true"} [] "1" Some(3)"#);
    assert_eq!(seen(4), r#"124 {} [] "4" Some(4)"#);
    assert_eq!(seen(9), seen(4).replace("Some(9)", "Some(4)"));
}

#[test]
fn a_new_run_counts_the_overrides_from_its_own_first_attempt() {
    let spec = json!({"image": "x", "overrides": [{"fromAttempt": 2, "env": [{"name": "A", "value": "late"}]}]});
    let task = with_status(spec, |status| status.run = Some(Run { number: 2, first_attempt: 5 }));
    assert_eq!(variable(&pod(&task, 5, true), "A"), None);
    assert_eq!(variable(&pod(&task, 6, true), "A"), Some("late"));
}

#[test]
fn memory_is_raised_wherever_it_is_given_and_on_top_of_overrides() {
    let policy = json!({"memoryMultiplier": 2, "maxMemory": "1Gi"});
    let limits = |memory: &str| json!({"requests": {"memory": memory}, "limits": {"memory": memory}});
    let in_template = json!({"onOutOfMemory": policy,
        "template": {"spec": {"containers": [{"name": "main", "image": "x", "resources": limits("64Mi")}]}}});
    let in_spec = json!({"image": "x", "onOutOfMemory": policy, "resources": limits("64Mi")});
    for spec in [in_template, in_spec] {
        let task = with_status(spec, |status| status.memory_raises = 2);
        assert_eq!(main(&pod(&task, 3, true))["resources"], limits("256Mi"));
        assert!(can_raise_memory(&task.spec, task.status.as_ref().unwrap(), 3.into()));
    }
    let overridden = json!({"image": "x", "onOutOfMemory": policy, "resources": limits("64Mi"),
        "overrides": [{"fromAttempt": 2, "resources": limits("512Mi")}]});
    let task = with_status(overridden, |status| status.memory_raises = 1);
    assert_eq!(main(&pod(&task, 1, true))["resources"], limits("128Mi"));
    assert_eq!(main(&pod(&task, 2, true))["resources"], limits("1Gi"));
    assert!(!can_raise_memory(&task.spec, task.status.as_ref().unwrap(), 2.into()), "the limit is reached");
}

#[test]
fn older_failures_count_less_against_their_nodes() {
    let task = with_status(json!({"image": "x"}), |status| {
        status.history = vec![
            failed_on(1, "old", Action::Retry, "Error"),
            failed_on(2, "twice", Action::Retry, "Error"),
            failed_on(3, "drained", Action::Ignore, "EvictionByEvictionAPI"),
            failed_on(4, "suspended", Action::Ignore, "Suspended"),
            failed_on(5, "twice", Action::Retry, "OOMKilled"),
        ];
    });
    let pod = pod(&task, 6, true);
    let preferred = &pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    let weights: Vec<(i64, &str)> = preferred
        .as_array()
        .unwrap()
        .iter()
        .map(|term| {
            let field = &term["preference"]["matchFields"][0];
            assert_eq!((&field["key"], &field["operator"]), (&json!("metadata.name"), &json!("NotIn")));
            (term["weight"].as_i64().unwrap(), field["values"][0].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        weights,
        [(100, "twice"), (25, "drained"), (6, "old"), (3, "old")][..3],
        "halved from attempt to attempt"
    );
    assert_eq!(avoided_nodes(&task.spec, task.status.as_ref().unwrap(), 6.into()), ["twice", "drained", "old"]);
    assert_eq!(
        avoided_nodes(&task.spec, task.status.as_ref().unwrap(), 9.into()),
        ["twice", "drained"],
        "forgotten in the end"
    );
}

#[test]
fn nodes_are_not_avoided_if_switched_off_or_in_a_new_run() {
    let history = || vec![failed_on(1, "bad", Action::Retry, "Error")];
    let off = with_status(json!({"image": "x", "avoidFailedNodes": false}), |status| status.history = history());
    assert_eq!(pod(&off, 2, true)["spec"].get("affinity"), None);
    let again = with_status(json!({"image": "x"}), |status| {
        status.history = history();
        status.run = Some(Run { number: 2, first_attempt: 2 });
    });
    assert_eq!(pod(&again, 2, true)["spec"].get("affinity"), None);
}

#[test]
fn what_the_user_prefers_and_requires_stays() {
    let own = json!({"weight": 5, "preference": {"matchExpressions": [{"key": "ssd", "operator": "Exists"}]}});
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]});
    let affinity = json!({"podAffinity": {}, "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": required,
        "preferredDuringSchedulingIgnoredDuringExecution": [own],
    }});
    let spec = json!({"image": "x", "template": {"spec": {"affinity": affinity}}});
    let task = with_status(spec, |status| status.history = vec![failed_on(1, "bad", Action::Retry, "Error")]);
    let pod = pod(&task, 2, true);
    let node_affinity = &pod["spec"]["affinity"]["nodeAffinity"];
    assert_eq!(node_affinity["requiredDuringSchedulingIgnoredDuringExecution"], required);
    let preferred = node_affinity["preferredDuringSchedulingIgnoredDuringExecution"].as_array().unwrap();
    assert_eq!((preferred.len(), &preferred[0]), (2, &own));
    assert_eq!(pod["spec"]["affinity"]["podAffinity"], json!({}));
}

const FALLBACK: Slot = Slot { number: 2, fallback: true };

#[test]
fn a_fallback_inherits_fields_that_belong_together() {
    let attempt =
        json!({"image": "main", "command": ["import"], "args": ["--all"], "resources": {"limits": {"cpu": "1"}}});
    let cases = [
        (json!({"image": "other"}), r#""other" [] [] "1""#),
        (json!({"image": "other", "args": ["x"]}), r#""other" [] ["x"] "1""#),
        (json!({"command": ["notify"]}), r#""main" ["notify"] [] "1""#),
        (json!({"args": ["--degraded"]}), r#""main" ["import"] ["--degraded"] "1""#),
        (json!({"env": [{"name": "A", "value": "1"}]}), r#""main" ["import"] ["--all"] "1""#),
        (json!({"image": "other", "resources": {}}), r#""other" [] [] null"#),
    ];
    for (given, expected) in cases {
        for in_template in [false, true] {
            let mut spec = json!({"onFailure": given});
            if in_template {
                let mut container = attempt.clone();
                container["name"] = json!("main");
                spec["template"] = json!({"spec": {"containers": [container]}});
            } else {
                spec.as_object_mut().unwrap().extend(attempt.as_object().unwrap().clone());
            }
            let pod = pod(&task_with(spec), FALLBACK, true);
            let main = main(&pod);
            let text = format!(
                "{} {} {} {}",
                main["image"], main["command"], main["args"], main["resources"]["limits"]["cpu"]
            );
            assert_eq!(text, expected, "{given}, in the template: {in_template}");
        }
    }
}

#[test]
fn a_fallback_with_containers_of_its_own_has_those() {
    let own = json!({"spec": {"containers": [{"name": "notify", "image": "y"}], "serviceAccountName": "b"}});
    let spec = json!({"image": "x", "command": ["import"], "template": {"spec": {"hostNetwork": true}},
        "onFailure": {"template": own, "args": ["--now"]}});
    let pod = pod(&task_with(spec), FALLBACK, true);
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), &containers[0]["name"], &containers[0]["image"]), (1, &json!("notify"), &json!("y")));
    assert_eq!((&containers[0]["command"], &containers[0]["args"]), (&Value::Null, &json!(["--now"])));
    assert_eq!((&pod["spec"]["serviceAccountName"], pod["spec"].get("hostNetwork")), (&json!("b"), None));
}

#[test]
fn a_fallback_knows_why_it_runs() {
    let spec =
        json!({"image": "x", "onFailure": {"image": "y"}, "overrides": [{"fromAttempt": 2, "env": [{"name": "A"}]}]});
    let task = with_status(spec, |status| {
        let failure = (ConditionType::FailureTarget, true);
        let message = "no retry is left; the last said: costs $(PRICE)";
        condition_list::set(&mut status.conditions, failure, ConditionReason::RetriesExhausted, message, (at(0), None));
        status.history = vec![failed_on(1, "n", Action::Retry, "Error"), failed_on(2, "n", Action::Fail, "OOMKilled")];
    });
    let pod = pod(&task, FALLBACK, true);
    assert_eq!(pod["metadata"]["labels"]["retryable.dev/fallback"], "true");
    assert!(pod["metadata"]["name"].as_str().unwrap().ends_with("-2-fallback"));
    assert_eq!(variable(&pod, "RETRYABLE_FALLBACK"), Some("true"));
    assert_eq!(variable(&pod, "RETRYABLE_FAILURE_REASON"), Some("RetriesExhausted"));
    let said = variable(&pod, "RETRYABLE_FAILURE_MESSAGE").unwrap();
    assert!(said.ends_with("costs $$(PRICE)"), "not a reference for the kubelet: {said}");
    let history: Vec<Arc<HistoryEntry>> = serde_json::from_str(variable(&pod, "RETRYABLE_HISTORY").unwrap()).unwrap();
    assert_eq!(history, task.status.as_ref().unwrap().history);
    assert_eq!(variable(&pod, "A"), None, "overrides are for attempts");
}

#[test]
fn an_attempt_is_not_a_fallback() {
    let pod = pod(&task(), 1, true);
    assert_eq!(pod["metadata"]["labels"].get("retryable.dev/fallback"), None);
    assert_eq!(variable(&pod, "RETRYABLE_FALLBACK"), None);
}
