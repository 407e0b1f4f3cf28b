#![allow(clippy::needless_pass_by_value)] // specs are written in place

use super::*;
use crate::core::testing::task_with;
use serde_json::{Value, json};

fn play(spec: Value, script: &str) -> Simulation {
    let mut with_image = json!({"image": "x"});
    with_image.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    simulate(&task_with(with_image), &Outcomes::parse(script).unwrap(), 20).unwrap()
}

/// The waits before the second and later attempts, in milliseconds.
fn waits(spec: Value) -> Vec<(i64, i64, i64)> {
    let attempts = play(spec, "[1]").attempts;
    let waits = attempts.iter().map(|a| (a.earliest_milliseconds, a.expected_milliseconds, a.latest_milliseconds));
    waits.skip(1).collect()
}

/// The attempts in one line each, and the end.
fn story(spec: Value, script: &str) -> Vec<String> {
    let Simulation { attempts, end, .. } = play(spec, script);
    let line = |attempt: &Attempt| {
        let code = attempt.exit_code.map(|code| format!(" {code}")).unwrap_or_default();
        let rule = attempt.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
        let budget = attempt.budget.as_ref().map(|b| format!(" {} {}/{}", b.name, b.used, b.limit)).unwrap_or_default();
        let start = attempt.start_milliseconds;
        format!("{start} {}{code}{rule}: {:?}{budget}", attempt.reason, attempt.action)
    };
    let mut lines: Vec<String> = attempts.iter().map(line).collect();
    lines.push(format!("{} {:?} {}", end.at_milliseconds, end.type_, end.reason.unwrap_or(end.message)));
    lines
}

fn exact(strategy: &Value) -> Value {
    let mut backoff = json!({"jitter": {"mode": "None"}});
    backoff.as_object_mut().unwrap().extend(strategy.as_object().unwrap().clone());
    json!({"maxRetries": 5, "backoff": backoff})
}

#[test]
fn the_waits_of_the_strategies() {
    let cases = [
        (json!({}), [1000, 2000, 4000, 8000, 16000]),
        (json!({"multiplier": "1.5"}), [1000, 1500, 2250, 3375, 5062]),
        (json!({"initialDelaySeconds": 20}), [20000, 40000, 60000, 60000, 60000]),
        (json!({"strategy": "Fixed", "initialDelaySeconds": 7}), [7000; 5]),
        (json!({"strategy": "Linear"}), [1000, 2000, 3000, 4000, 5000]),
        (json!({"strategy": "Fibonacci"}), [1000, 1000, 2000, 3000, 5000]),
        (json!({"strategy": "List", "delaysSeconds": [2, 5, 10]}), [2000, 5000, 10000, 10000, 10000]),
    ];
    for (strategy, expected) in cases {
        assert_eq!(waits(exact(&strategy)), expected.map(|wait| (wait, wait, wait)), "{strategy}");
    }
}

#[test]
fn the_waits_of_the_defaults_are_spread_by_a_quarter() {
    let expected = [(750, 1000, 1250), (1500, 2000, 2500), (3000, 4000, 5000)];
    assert_eq!(waits(json!({})), expected);
    let capped = waits(json!({"maxRetries": 8}));
    assert_eq!(capped[6..], [(45000, 60000, 75000), (45000, 60000, 75000)]);
}

#[test]
fn the_modes_of_jitter() {
    let of = |jitter: Value| waits(json!({"maxRetries": 1, "backoff": {"initialDelaySeconds": 8, "jitter": jitter}}));
    assert_eq!(of(json!({"percent": 50})), [(4000, 8000, 12000)]);
    assert_eq!(of(json!({"mode": "Full"})), [(0, 4000, 8000)]);
    assert_eq!(of(json!({"mode": "Equal"})), [(4000, 6000, 8000)]);
    assert_eq!(of(json!({"mode": "None"})), [(8000, 8000, 8000)]);
}

#[test]
fn failures_are_charged_until_no_retry_is_left() {
    let expected = [
        "0 Error 75: Retry maxRetries 1/2",
        "1000 Error 75: Retry maxRetries 2/2",
        "3000 Error 75: Fail maxRetries 2/2",
        "3000 Failed RetriesExhausted",
    ];
    assert_eq!(story(json!({"maxRetries": 2}), "[75]"), expected);
    assert_eq!(story(json!({"maxRetries": 0}), "[1]"), ["0 Error 1: Fail maxRetries 0/0", "0 Failed RetriesExhausted"]);
}

#[test]
fn the_last_outcome_repeats_and_a_run_takes_its_time() {
    let expected = [
        "0 Error 1: Retry maxRetries 1/3",
        "11000 OOMKilled 137 by outOfMemory: Retry maxRetries 2/3",
        "13000 Error 143: Retry maxRetries 3/3",
        "17000 Completed 0: Complete",
        "17500 Complete Succeeded",
    ];
    let script = "[{runSeconds: 10}, OOMKilled, {signal: 15}, {exitCode: 0, runSeconds: 0.5}]";
    assert_eq!(story(json!({}), script), expected);
    let script = "[{exitCode: 7, times: 2}, 9]";
    let codes: Vec<_> = play(json!({}), script).attempts.iter().map(|attempt| attempt.exit_code.unwrap()).collect();
    assert_eq!(codes, [7, 7, 9, 9]);
}

#[test]
fn rules_decide_in_their_order_and_have_budgets_of_their_own() {
    let rules = json!({"maxRetries": 1, "rules": [
        {"name": "bad-input", "when": {"preset": "SysexitsPermanent"}, "action": "Fail"},
        {"name": "busy", "when": {"message": "(?i)too many"}, "action": "Retry", "maxRetries": 2,
         "backoff": {"strategy": "Fixed", "initialDelaySeconds": 30}},
        {"name": "known", "when": {"errorTypes": ["Flaky"]}, "action": "Ignore", "maxRetries": 1},
    ]});
    assert_eq!(story(rules.clone(), "[64]"), ["0 Error 64 by bad-input: Fail", "0 Failed RuleFailed"]);
    let busy = [
        "0 Error 1 by busy: Retry busy 1/2",
        "30000 Error 1 by busy: Retry busy 2/2",
        "60000 Error 1 by busy: Fail busy 2/2",
        "60000 Failed BudgetExhausted",
    ];
    assert_eq!(story(rules.clone(), "[{message: Too many requests}]"), busy);
    let known = [
        "0 Error 1 by known: Ignore known 1/1",
        "1000 Error 1 by known: Retry maxRetries 1/1",
        "2000 Error 1 by known: Fail maxRetries 1/1",
        "2000 Failed RetriesExhausted",
    ];
    assert_eq!(story(rules.clone(), "[{errorType: Flaky}]"), known);
    assert_eq!(story(rules, "[{errorTypes: [Reset, Flaky]}]"), known, "a rule matches any of them");
}

#[test]
fn the_budgets_beside_max_retries() {
    let spec = json!({"maxRetries": 1, "budgets": {"disruptions": 1, "outOfMemory": 1, "startup": 1}});
    let disrupted = [
        "0 EvictionByEvictionAPI 137 by disruption: Ignore disruption 1/1",
        "1000 EvictionByEvictionAPI 137 by disruption: Retry maxRetries 1/1",
        "2000 EvictionByEvictionAPI 137 by disruption: Fail maxRetries 1/1",
        "2000 Failed RetriesExhausted",
    ];
    assert_eq!(story(spec.clone(), "[{disrupted: true}]"), disrupted);
    let out_of_memory = [
        "0 OOMKilled 137 by outOfMemory: Retry outOfMemory 1/1",
        "1000 OOMKilled 137 by outOfMemory: Fail outOfMemory 1/1",
        "1000 Failed BudgetExhausted",
    ];
    assert_eq!(story(spec.clone(), "[OOMKilled]"), out_of_memory);
    let startup = [
        "0 ImagePullBackOff by startup: Retry startup 1/1",
        "601000 ImagePullBackOff by startup: Fail startup 1/1",
        "1201000 Failed BudgetExhausted",
    ];
    assert_eq!(story(spec, "[ImagePullBackOff]"), startup);
    let by_default = play(json!({"maxRetries": 0}), "[DeletionByTaintManager]").attempts;
    assert_eq!(by_default.len(), 11, "ten are free");
}

#[test]
fn the_termination_report_decides() {
    assert_eq!(story(json!({}), "[{doNotRetry: true}]"), ["0 Error 1 by doNotRetry: Fail", "0 Failed DoNotRetry"]);
    let raw = r#"[{"message": "{\"doNotRetry\": true, \"errorType\": \"NoInput\"}"}]"#;
    let simulation = play(json!({}), raw);
    assert_eq!(simulation.end.reason.as_deref(), Some("DoNotRetry"));
    assert_eq!(simulation.attempts[0].error_type.as_deref(), Some("NoInput"));
    let later = play(json!({"maxRetries": 1}), "[{retryAfterSeconds: 100, message: slow down}]").attempts;
    let wait = |a: &Attempt| (a.earliest_milliseconds, a.expected_milliseconds, a.latest_milliseconds);
    assert_eq!((wait(&later[1]), later[0].message.as_deref()), ((100_000, 112_500, 125_000), Some("slow down")));
}

#[test]
fn a_task_can_succeed_in_part() {
    let report = "[{exitCode: 0, partial: {failed: 3, total: 100}}]";
    assert_eq!(story(json!({}), report), ["0 Completed 0: Complete", "0 Complete PartiallySucceeded"]);
    assert_eq!(play(json!({}), report).end.message, "attempt 1 succeeded in part: 3 of 100 failed");
    let rules = json!({"rules": [{"name": "some-rows", "when": {"exitCodes": [3]}, "action": "Complete"}]});
    let ends =
        ["0 Error 1: Retry maxRetries 1/3", "1000 Error 3 by some-rows: Complete", "1000 Complete PartiallySucceeded"];
    assert_eq!(story(rules, "[1, 3]"), ends);
}

#[test]
fn a_checkpoint_goes_to_the_next_attempt() {
    let attempts = play(json!({}), "[{checkpoint: {row: 7}}, 1, 0]").attempts;
    let checkpoints: Vec<_> = attempts.iter().map(|attempt| attempt.checkpoint.as_deref()).collect();
    assert_eq!(checkpoints, [Some(r#"{"row":7}"#), Some(r#"{"row":7}"#), None]);
}

#[test]
fn the_limits_in_time() {
    let spec = json!({"maxRetries": 1, "attemptTimeoutSeconds": 5, "startupTimeoutSeconds": 60});
    let timeout = [
        "0 AttemptTimeout 143: Retry maxRetries 1/1",
        "6000 AttemptTimeout 143: Fail maxRetries 1/1",
        "11000 Failed RetriesExhausted",
    ];
    assert_eq!(story(spec.clone(), "[{runSeconds: 5.001}]"), timeout);
    assert_eq!(story(spec.clone(), "[AttemptTimeout]"), timeout);
    assert_eq!(story(spec.clone(), "[{exitCode: 0, runSeconds: 5}]")[0], "0 Completed 0: Complete");
    assert_eq!(story(spec, "[Unschedulable]")[1], "61000 Unschedulable by startup: Fail maxRetries 1/1");
    let invalid = story(json!({"maxRetries": 1}), "[InvalidImageName]");
    assert_eq!(invalid[1], "1000 InvalidImageName by startup: Fail maxRetries 1/1", "it fails without a wait");
    let deadline = play(json!({"backoff": {"jitter": {"mode": "None"}}, "activeDeadlineSeconds": 7}), "[1]");
    assert_eq!((deadline.attempts.len(), deadline.end.reason.as_deref()), (3, Some("DeadlineExceeded")));
    let message = &deadline.end.message;
    assert!(message.starts_with("attempt 4 would be due at 2000-01-01T00:00:07.000Z"), "{message}");
    let during = story(json!({"activeDeadlineSeconds": 7}), "[{runSeconds: 100}]");
    assert_eq!(during, ["0 DeadlineExceeded 143: Fail", "7000 Failed DeadlineExceeded"]);
}

#[test]
fn the_fallback_runs_when_no_retry_is_left() {
    let spec = json!({"maxRetries": 0, "onFailure": {"args": ["--degraded"]}});
    let simulation = play(spec.clone(), "[{exitCode: 4, runSeconds: 2}, {fallback: true, exitCode: 5, runSeconds: 3}]");
    let Fallback { start_milliseconds, run_milliseconds, reason, exit_code, .. } = simulation.fallback.unwrap();
    assert_eq!((start_milliseconds, run_milliseconds, reason.as_str(), exit_code), (2000, 3000, "Error", Some(5)));
    assert_eq!((simulation.attempts.len(), simulation.end.at_milliseconds), (1, 5000));
    assert_eq!(simulation.end.reason.as_deref(), Some("RetriesExhausted"));
    let message = simulation.end.message;
    assert!(message.ends_with("exit code 4; the fallback ended with Error, exit code 5"), "{message}");
    let by_default = play(spec.clone(), "[1]").fallback.unwrap();
    assert_eq!((by_default.reason.as_str(), by_default.exit_code), ("Completed", Some(0)));
    assert_eq!(play(spec.clone(), "[0]").fallback, None);
    let hangs = play(spec, "[1, {fallback: true, reason: AttemptTimeout}]").end;
    assert!(hangs.message.starts_with("the fallback runs on and on"), "{}", hangs.message);
    let at_the_limit = play(json!({"maxRetries": 19, "onFailure": {"args": []}}), "[1]");
    assert_eq!((at_the_limit.attempts.len(), at_the_limit.end.type_), (20, EndType::Failed));
}

#[test]
fn memory_is_raised_and_overrides_apply() {
    let spec = json!({
        "maxRetries": 3, "resources": {"limits": {"memory": "1Gi"}}, "onOutOfMemory": {"maxMemory": "3Gi"},
        "overrides": [{"fromAttempt": 3, "env": [{"name": "A", "value": "b"}]}],
    });
    let attempts = play(spec, "[OOMKilled]").attempts;
    let memory: Vec<_> = attempts.iter().map(|attempt| attempt.memory.clone().unwrap_or_default()).collect();
    assert_eq!(memory, ["1Gi", "2Gi", "3Gi", "3Gi"]);
    let overrides: Vec<_> = attempts.iter().map(|attempt| attempt.override_from).collect();
    assert_eq!(overrides, [None, None, Some(3), Some(3)]);
}

#[test]
fn a_note_says_where_the_jitter_decides() {
    let simulation = play(json!({"activeDeadlineSeconds": 7}), "[1]");
    assert_eq!(simulation.notes, ["with the shortest waits it ends after 4 attempts: RetriesExhausted"]);
}

#[test]
fn pods_that_are_lost_or_deleted() {
    let first = |script: &str| play(json!({"maxRetries": 0}), script).attempts.remove(0);
    let reasons = ["Evicted", "PodDeleted", "Lost", "NodeLost", "OutOfcpu", "Terminated", "StartError"];
    for reason in reasons {
        let script = format!("[{reason}]");
        assert_eq!(first(&script).reason, reason);
    }
    assert_eq!(first("[NodeLost]").run_milliseconds, 330_000, "the grace, and the time after it");
    assert_eq!(first("[Evicted]").rule, None, "a Pod over its own limit is the task's doing");
    assert_eq!(first("[{reason: Evicted, disrupted: true}]").rule.as_deref(), Some("disruption"));
    let rules = json!({"rules": [{"name": "quota", "when": {"podConditions": ["Full"]}, "action": "Fail"}]});
    assert_eq!(story(rules, "[{podConditions: [Full]}]")[1], "0 Failed RuleFailed");
}

#[test]
fn an_endless_task_is_not_simulated_for_ever() {
    let endless = play(json!({"maxRetries": 100}), "[1]").end;
    assert_eq!((endless.type_, endless.message.as_str()), (EndType::NotFollowed, "not followed beyond 20 attempts"));
    let hangs = play(json!({}), "[1, AttemptTimeout]");
    assert_eq!((hangs.attempts.len(), hangs.end.type_), (1, EndType::NeverEnds));
    assert!(hangs.end.message.contains("attempt 2 runs on and on") && hangs.end.message.contains("attemptTimeout"));
    let waits = play(json!({}), "[Unschedulable]").end;
    assert!(waits.message.contains("attempt 1 never starts") && waits.message.contains("startupTimeoutSeconds"));
}

#[test]
fn a_suspended_task_is_shown_as_if_it_went_on() {
    let simulation = play(json!({"suspend": true}), "[1]");
    assert_eq!(simulation.attempts.len(), 4);
    assert!(simulation.notes[0].starts_with("spec.suspend is true"), "{:?}", simulation.notes);
}

#[test]
fn times_count_from_the_first_attempt_whenever_it_starts() {
    let simulation = play(json!({"startAt": "2100-01-01T00:00:00Z", "activeDeadlineSeconds": 60}), "[0]");
    assert_eq!((simulation.attempts[0].start_milliseconds, simulation.end.type_), (0, EndType::Complete));
    let after = play(json!({"after": [{"task": "a"}, {"task": "b"}]}), "[0]");
    assert!(after.notes[0].starts_with("spec.after names a, b: "), "{:?}", after.notes);
    assert_eq!(after.end.type_, EndType::Complete);
    assert!(simulation.notes[0].starts_with("spec.startAt is 2100-01-01T00:00:00Z"), "{:?}", simulation.notes);
}

#[test]
fn a_pod_with_sidecars_and_numbers_as_quantities_can_be_read() {
    let container = json!({"name": "main", "image": "y", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}});
    let sidecar = json!({"name": "side", "image": "z"});
    let spec = json!({"image": null, "template": {"spec": {"containers": [container, sidecar]}}});
    assert_eq!(play(spec, "[3]").attempts[0].exit_code, Some(3));
}

#[test]
fn all_containers_decide_where_the_spec_says_so() {
    let containers = json!([{"name": "a", "image": "y"}, {"name": "b", "image": "z"}]);
    let spec = |completion: &str| json!({"image": null, "completion": completion, "maxRetries": 1, "template": {"spec": {"containers": containers}}});
    for completion in ["MainContainer", "AllContainers"] {
        let simulation = play(spec(completion), "[3, 0]");
        let ends: Vec<_> = simulation.attempts.iter().map(|attempt| attempt.exit_code).collect();
        assert_eq!(ends, [Some(3), Some(0)], "{completion}");
        assert!(simulation.notes[0].starts_with("the main container is a"), "{:?}", simulation.notes);
    }
}

#[test]
fn unknown_reasons_of_rules_are_noted() {
    let rule = |name: &str, reason: &str| json!({"name": name, "when": {"reasons": [reason]}, "action": "Ignore"});
    let rules =
        [rule("a", "OOMkilled"), rule("b", "MyDevicePlugin"), rule("c", "Evicted"), rule("d", "PodDeadlineExceeded")];
    let notes = play(json!({"rules": rules}), "[0]").notes;
    assert_eq!(
        notes,
        [
            "rule a matches the unknown reason OOMkilled; did you mean OOMKilled?",
            "rule b matches the unknown reason MyDevicePlugin",
        ]
    );
}

#[test]
fn reasons_of_pods_that_do_not_start_have_no_exit_code() {
    for reason in [
        "FailedMount",
        "FailedAttachVolume",
        "FailedCreatePodSandBox",
        "PodRejected",
        "FailedCreate",
        "PodNameConflict",
        "Unhealthy",
        "RunContainerError",
        "ImagePullBackOff",
        "Unschedulable",
    ] {
        let spec = json!({"maxRetries": 0, "startupTimeoutSeconds": 30});
        let attempt = play(spec, &format!("[{reason}]")).attempts.remove(0);
        let said = (attempt.reason.as_str(), attempt.exit_code, attempt.rule.as_deref());
        assert_eq!(said, (reason, None, Some("startup")));
    }
}

#[test]
fn invalid_outcomes_are_reported() {
    let cases = [
        ("5", "not a list of outcomes"),
        ("[[1]]", "not a list of outcomes"),
        ("[1, {exitcode: 1}]", "outcome 2: unknown field `exitcode`"),
        ("[{exitCode: one}]", "outcome 1: invalid type"),
        ("[256]", "outcome 1: invalid exit code 256: use 0 to 255"),
        ("[{signal: 65}]", "outcome 1: unknown signal 65: use 1 to 64"),
        ("[{runSeconds: -1}]", "outcome 1: runSeconds -1 is not a time"),
        ("[{reason: ''}]", "outcome 1: the reason is empty"),
        ("[OOMkilled]", "outcome 1: unknown reason OOMkilled: did you mean OOMKilled?"),
        ("[ContainerCreating]", "outcome 1: ContainerCreating is a stage of a Pod's start"),
        ("[PodInitializing]", "outcome 1: PodInitializing is a stage of a Pod's start"),
        ("[{reason: FailedMount, exitCode: 1}]", "outcome 1: with FailedMount no container ends"),
        ("[Cancelled]", "outcome 1: Cancelled is the reason of an attempt that the operator stopped"),
        ("[{reason: Lost, exitCode: 1}]", "outcome 1: with Lost no container ends: remove exitCode and signal"),
        ("[]", "the list of outcomes is empty"),
        ("[{times: 0}]", "outcome 1: times 0 is not a number from 1"),
        ("[{times: 9999999999}]", "outcome 1: times 9999999999 is not a number from 1"),
        ("[", "did not find expected"),
    ];
    for (script, words) in cases {
        let said = Outcomes::parse(script).unwrap_err().to_string();
        assert!(said.contains(words), "{script}: {said}");
    }
}
