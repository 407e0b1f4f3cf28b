//! Rules that match failures, and their budgets.

use crate::support::events::{classes, failed};
use crate::support::manifest::UNTIL_STOPPED;
use crate::support::record::{Record, creations, due_times};
use crate::support::{Scene, kubectl_with, sh};
use jiff::SignedDuration;
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, RetryableTask, RetryableTaskStatus};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

/// Attempt, rule and action of each entry of the history.
fn ends(status: &RetryableTaskStatus) -> Vec<(i32, &str, Action)> {
    let history = status.history.iter();
    history.map(|entry| (entry.attempt, entry.rule.as_deref().unwrap_or_default(), entry.action)).collect()
}

fn fail(name: &str, when: &Value) -> Value {
    json!({"name": name, "when": when, "action": "Fail"})
}

#[tokio::test]
async fn an_exit_code_can_end_the_task() {
    let scene = Scene::new("rule-fail").await;
    let _operator = scene.operator().await;
    let rules =
        json!([fail("odd", &json!({"exitCodes": [1, 3, 5]})), fail("bad-input", &json!({"exitCodes": ["64-78"]}))]);
    scene.apply(&sh("permanent", "echo no such day; exit 65", &json!({"rules": rules})));
    let status = scene.finished("permanent").await;
    assert_eq!(ends(&status), [(1, "bad-input", Action::Fail)]);
    assert_eq!((status.attempts, status.retries, classes(&status)), (1, 0, vec![("bad-input", 1)]));
    let (reason, message) = failed(&status);
    assert_eq!(reason, "RuleFailed");
    assert!(message.ends_with("the last ended with Error, exit code 65: no such day"), "{message}");
    assert_eq!(scene.event("permanent", "RuleFailed").await, message);
    assert_eq!(status.exhausted_budget, None);
}

#[tokio::test]
async fn a_rule_has_a_budget_and_delays_of_its_own() {
    let scene = Scene::new("rule-budget").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "limited").await;
    let rule = json!({"name": "rate-limited", "when": {"message": "(?i)too many requests"}, "action": "Retry",
        "maxRetries": 2, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 3, "jitter": {"mode": "None"}}});
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1, "jitter": {"mode": "None"}});
    let script = "test $RETRYABLE_ATTEMPT = 2 || echo HTTP 429 Too Many Requests; exit 1";
    let spec = json!({"maxRetries": 1, "backoff": backoff, "rules": [rule]});
    scene.apply(&sh("limited", script, &spec));
    let versions = record.until_finished().await;
    let status = versions.last().unwrap().status.as_ref().unwrap();
    let limited = |n, action| (n, "rate-limited", action);
    let retry = Action::Retry;
    assert_eq!(ends(status), [limited(1, retry), (2, "", retry), limited(3, retry), limited(4, Action::Fail)]);
    let waits: Vec<_> = status.history.iter().map(|entry| entry.delay_milliseconds).collect();
    assert_eq!(waits, [Some(3000), Some(1000), Some(3000), None]);
    assert_waits_kept(&scene, &versions);
    assert_eq!((status.attempts, status.retries, classes(status)), (4, 1, vec![("rate-limited", 3)]));
    assert_eq!(status.exhausted_budget.as_deref(), Some("rate-limited"));
    let (reason, message) = failed(status);
    assert_eq!(reason, "BudgetExhausted");
    assert_eq!(
        message,
        "retry budget of rule rate-limited exhausted after 4 attempts; the last ended with Error, exit code 1: \
         HTTP 429 Too Many Requests"
    );
    assert_eq!(scene.event("limited", "BudgetExhausted").await, message);
}

/// Asserts, by the audit log, that no attempt started before the recorded delay was over.
fn assert_waits_kept(scene: &Scene, versions: &[RetryableTask]) {
    let task = versions.last().unwrap();
    let status = task.status.as_ref().unwrap();
    let due = due_times(versions);
    let created = creations(scene, &task.name_any(), &task.uid().unwrap(), status);
    for pair in status.history.windows(2) {
        let [ended, next] = pair else { unreachable!("windows of two") };
        let wait = SignedDuration::from_millis(ended.delay_milliseconds.unwrap());
        let due = due[&next.attempt];
        assert!(due >= ended.finish_time.as_ref().unwrap().0 + wait, "{ended:#?} due {due}");
        assert!(created[&next.attempt] >= due, "attempt {} started before {due}", next.attempt);
    }
}

#[tokio::test]
async fn ignored_failures_beyond_the_rules_cap_are_charged() {
    let scene = Scene::new("rule-ignore").await;
    let _operator = scene.operator().await;
    let rule = json!({"name": "flaky", "when": {"notExitCodes": ["1-8"]}, "action": "Ignore", "maxRetries": 2});
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    let spec = json!({"maxRetries": 0, "backoff": backoff, "rules": [rule]});
    scene.apply(&sh("in-time", "test $RETRYABLE_ATTEMPT -ge 3 || exit 9", &spec));
    scene.apply(&sh("too-often", "exit 9", &spec));
    scene.apply(&sh("another", "exit 8", &spec));
    let status = scene.finished("in-time").await;
    let ignored = |n| (n, "flaky", Action::Ignore);
    assert_eq!(ends(&status), [ignored(1), ignored(2), (3, "", Action::Complete)]);
    assert_eq!((status.retries, status.ignored, classes(&status)), (0, 2, vec![("flaky", 2)]));
    let status = scene.finished("too-often").await;
    assert_eq!(ends(&status), [ignored(1), ignored(2), (3, "flaky", Action::Fail)]);
    assert_eq!(failed(&status).0, "RetriesExhausted");
    assert_eq!(status.exhausted_budget.as_deref(), Some("maxRetries"));
    assert_eq!(ends(&scene.finished("another").await), [(1, "", Action::Fail)]);
}

#[tokio::test]
async fn every_matcher_finds_its_failure() {
    let scene = Scene::new("matchers").await;
    let _operator = scene.operator().await;
    let word = r#"printf '{"errorType": "BadInput", "message": "day 31"}' >/dev/termination-log; exit 1"#;
    let words = r#"printf '{"errorTypes": ["BadInput", "ValueError"]}' >/dev/termination-log; exit 1"#;
    let log = "echo connecting; echo 'FATAL: disk full'; exit 1";
    // A shell that is process 1 cannot kill itself; in the Pod's process namespace it is another. Kubernetes makes `$$`
    // of `$$$$`.
    let shared = json!({"spec": {"shareProcessNamespace": true}});
    let cases = [
        ("exit-code", "exit 42", json!({"exitCodes": [41, 42]})),
        ("other-code", "exit 42", json!({"notExitCodes": [1, "2-41"]})),
        ("by-name", "kill -9 $$$$", json!({"signals": ["SIGKILL"]})),
        ("by-number", "kill -15 $$$$", json!({"signals": [9, 15]})),
        ("of-a-child", "sh -c 'kill -9 $$$$; :'; exit $?", json!({"signals": ["KILL"], "exitCodes": [137]})),
        ("error-type", word, json!({"errorTypes": ["Other", "BadInput"]})),
        ("error-types", words, json!({"errorTypes": ["Other", "ValueError"]})),
        ("said", word, json!({"message": "^day [0-9]+$"})),
        ("logged", log, json!({"message": "(?m)^fatal: .*full$|(?m)^FATAL: disk"})),
        ("permanent", "exit 64", json!({"preset": "SysexitsPermanent"})),
        ("transient", "exit 75", json!({"preset": "SysexitsTransient"})),
        ("not-found", "there-is-no-such-command", json!({"preset": "CommandNotRunnable"})),
        ("reason", "exit 1", json!({"reasons": ["OOMKilled", "Error"]})),
        ("all-of-it", log, json!({"exitCodes": [1], "reasons": ["Error"], "message": "disk full"})),
    ];
    let near_misses = [
        json!({"exitCodes": ["200-255"]}),
        json!({"signals": ["HUP"]}),
        json!({"errorTypes": ["badinput"]}),
        json!({"message": "fatal: disk"}),
        json!({"podConditions": ["DisruptionTarget"]}),
        json!({"exitCodes": ["1-255"], "reasons": ["Evicted"]}),
    ];
    for (name, script, when) in &cases {
        let misses = near_misses.iter().enumerate().map(|(n, when)| fail(&format!("miss-{n}"), when));
        let rules: Vec<Value> = misses.chain([fail(name, when)]).collect();
        scene.apply(&sh(name, script, &json!({"rules": rules, "template": shared})));
    }
    for (name, ..) in &cases {
        let status = scene.finished(name).await;
        assert_eq!(ends(&status), [(1, *name, Action::Fail)], "{status:#?}");
    }
}

#[tokio::test]
async fn a_rule_matches_an_eviction_before_the_built_in_rule() {
    let scene = Scene::new("rule-evict").await;
    let _operator = scene.operator().await;
    let rule = fail("evicted", &json!({"podConditions": ["DisruptionTarget"]}));
    scene.apply(&sh("precious", UNTIL_STOPPED, &json!({"rules": [rule]})));
    let pod = scene.running("precious", 1).await.name_any();
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": scene.namespace}});
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", scene.namespace);
    kubectl_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string()).ok();
    let status = scene.finished("precious").await;
    assert_eq!(ends(&status), [(1, "evicted", Action::Fail)]);
    assert_eq!(status.history[0].reason, "EvictionByEvictionAPI");
    assert_eq!(failed(&status).0, "RuleFailed");
}

#[tokio::test]
async fn running_out_of_memory_has_a_budget_of_its_own() {
    let scene = Scene::new("oom-budget").await;
    let _operator = scene.operator().await;
    let spec = json!({"maxRetries": 0, "budgets": {"outOfMemory": 1}, "resources": {"limits": {"memory": "16Mi"}},
        "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}});
    let hungry = "exec dd if=/dev/zero of=/dev/null bs=200M count=1";
    scene.apply(&sh("hungry", hungry, &spec));
    scene.apply(&sh("then-broken", &format!("test $RETRYABLE_ATTEMPT = 2 && exit 4; {hungry}"), &spec));
    let status = scene.finished("hungry").await;
    assert_eq!(ends(&status), [(1, "outOfMemory", Action::Retry), (2, "outOfMemory", Action::Fail)]);
    assert!(status.history.iter().all(|entry| entry.reason == "OOMKilled"), "{:#?}", status.history);
    assert_eq!((status.retries, classes(&status)), (0, vec![("outOfMemory", 2)]));
    let (reason, message) = failed(&status);
    assert_eq!((reason, status.exhausted_budget.as_deref()), ("BudgetExhausted", Some("outOfMemory")));
    assert!(message.contains("outOfMemory") && message.contains("OOMKilled, exit code 137"), "{message}");
    let status = scene.finished("then-broken").await;
    assert_eq!(ends(&status), [(1, "outOfMemory", Action::Retry), (2, "", Action::Fail)]);
    assert_eq!(status.exhausted_budget.as_deref(), Some("maxRetries"));
}

#[tokio::test]
async fn a_rule_that_cannot_work_is_refused_with_a_helpful_message() {
    let scene = Scene::new("bad-rules").await;
    let fixed = json!({"strategy": "Fixed"});
    let named = |name: &str| json!({"name": name, "action": "Ignore", "when": {"exitCodes": [1]}});
    let when = |when: Value| json!([{"name": "r", "action": "Retry", "when": when}]);
    let rest = |name: &str| json!({"name": name, "action": "Retry"});
    let cases = [
        (
            when(json!({"exitCodes": ["9-3"]})),
            r#"exitCodes are numbers from 1 to 255, or ranges in quotes from low to high: 3, "64-78""#,
        ),
        (when(json!({"exitCodes": [0]})), "exitCodes are numbers from 1 to 255"),
        (when(json!({"exitCodes": ["64"]})), "exitCodes are numbers from 1 to 255, or ranges"),
        (when(json!({"notExitCodes": ["a-b"]})), "notExitCodes are numbers from 1 to 255, or ranges"),
        (when(json!({"exitCodes": []})), "should have at least 1 items"),
        (when(json!({"signals": ["SIGNONE"]})), "signals are numbers from 1 to 64 or names such as SIGKILL or TERM"),
        (when(json!({"signals": [65]})), "signals are numbers from 1 to 64"),
        (when(json!({"message": "(unclosed"})), "message is not a regular expression (RE2 syntax)"),
        (when(json!({"preset": "Everything"})), "supported values: \"SysexitsPermanent\", \"SysexitsTransient\""),
        (when(json!({})), "an empty when matches nothing: give a matcher, or leave when out"),
        (when(json!({"exitCode": [1]})), "unknown field \"spec.rules[0].when.exitCode\""),
        (json!([named("a"), named("a")]), "two rules have the same name"),
        (json!([named("-a")]), "a rule's name consists of letters, digits"),
        (
            json!([named("disruption")]),
            "disruption, outOfMemory, startup, circuit, doNotRetry and maxRetries are built in",
        ),
        (
            json!([rest("all"), named("late")]),
            "a rule without `when` matches every failure, so those after it are never reached",
        ),
        (json!([rest("all"), rest("all-again")]), "a rule without `when` matches every failure"),
        (
            json!([{"name": "r", "action": "Fail", "maxRetries": 1}]),
            "actions Fail and Complete end the task: remove maxRetries",
        ),
        (
            json!([{"name": "r", "action": "Fail", "backoff": fixed}]),
            "actions Fail and Complete end the task, there is nothing to wait for",
        ),
        (
            json!([{"name": "r", "action": "Retry", "maxRetries": -1}]),
            "a rule's maxRetries counts tries: use 0 or more",
        ),
        (json!([{"name": "r", "action": "Restart"}]), "supported values: \"Retry\", \"Ignore\", \"Fail\""),
    ];
    for (rules, expected) in cases {
        let refused = scene.try_apply(&sh("bad", "true", &json!({"rules": rules})), &["--dry-run=server"]).refused();
        assert!(refused.contains(expected), "{rules}\nexpected: {expected}\nanswered: {refused}");
    }
    let budget = json!({"budgets": {"startup": -1}});
    let refused = scene.try_apply(&sh("bad", "true", &budget), &["--dry-run=server"]).refused();
    assert!(refused.contains("budgets.startup is a number of retries"), "{refused}");
}

#[tokio::test]
async fn a_fault_that_admission_cannot_see_stalls_the_task_before_any_pod() {
    let scene = Scene::new("stalled-rule").await;
    let _operator = scene.operator().await;
    // RE2 has this way of quoting, and the operator's expressions do not.
    let rule = |pattern: &str| json!([{"name": "quoted", "action": "Fail", "when": {"message": pattern}}]);
    scene.apply(&sh("quoting", "echo a.b; exit 1", &json!({"rules": rule(r"\Qa.b\E")})));
    let stalled = |status: &RetryableTaskStatus| condition_list::is_true(&status.conditions, ConditionType::Stalled);
    let status = scene.status("quoting", "Stalled", stalled).await;
    let condition = condition_list::find(&status.conditions, ConditionType::Stalled).unwrap();
    assert_eq!((condition.reason.as_str(), status.attempts), ("InvalidSpec", 0));
    for part in ["spec.rules", r#"rule "quoted""#, r"\Qa.b\E", "does not compile"] {
        assert!(condition.message.contains(part), "{part} is not in {}", condition.message);
    }
    assert!(scene.pods_of("quoting").await.is_empty());
    scene.patch_spec("quoting", &json!({"rules": rule(r"a\.b")}));
    assert_eq!(ends(&scene.finished("quoting").await), [(1, "quoted", Action::Fail)]);
}
