use super::*;
use crate::core::termination_report::TerminationReport;
use jiff::Timestamp;
use serde_json::json;

fn rule(when: &serde_json::Value) -> FailureRule {
    serde_json::from_value(json!({"name": "r", "action": "Retry", "when": when})).unwrap()
}

fn outcome() -> Outcome {
    Outcome {
        succeeded: false,
        container: Some("task".into()),
        exit_code: Some(70),
        signal: None,
        reason: "Error".into(),
        cause: None,
        message: Some("Too Many Requests\nretry later".into()),
        raw_report: None,
        is_log: true,
        report: TerminationReport {
            error_types: vec!["RateLimit".into(), "HttpError".into()],
            ..TerminationReport::default()
        },
        started: None,
        finished: Timestamp::UNIX_EPOCH,
        disrupted: true,
        conditions: vec!["DisruptionTarget".into(), "PodScheduled".into()],
        never_started: false,
        stopped: false,
        past_deadline: None,
    }
}

#[test]
fn matchers_are_anded_and_their_values_ored() {
    let cases = [
        (json!({"exitCodes": [3, 70]}), true),
        (json!({"exitCodes": ["64-78"]}), true),
        (json!({"exitCodes": ["71-78"]}), false),
        (json!({"notExitCodes": [3, "1-69"]}), true),
        (json!({"notExitCodes": ["64-78"]}), false),
        (json!({"preset": "SysexitsPermanent"}), true),
        (json!({"preset": "SysexitsTransient"}), false),
        (json!({"reasons": ["OOMKilled", "Error"]}), true),
        (json!({"reasons": ["OOMKilled"]}), false),
        (json!({"errorTypes": ["RateLimit"]}), true),
        (json!({"errorTypes": ["Other", "HttpError"]}), true),
        (json!({"errorTypes": ["Other"]}), false),
        (json!({"podConditions": ["DisruptionTarget"]}), true),
        (json!({"podConditions": ["Ready"]}), false),
        (json!({"message": "(?i)too many requests"}), true),
        (json!({"message": "^retry"}), false),
        (json!({"signals": ["KILL"]}), false),
        (json!({"exitCodes": [70], "reasons": ["OOMKilled"]}), false),
        (json!({"exitCodes": [70], "message": "later$"}), true),
    ];
    for (when, expected) in cases {
        assert_eq!(matches(&rule(&when), &outcome()), expected, "{when}");
    }
}

#[test]
fn an_expression_is_searched_for_in_all_texts_of_the_end() {
    let reported = Outcome {
        cause: Some("low on disk".into()),
        raw_report: Some(r#"{"message": "Too Many Requests", "trace": "at row 7"}"#.into()),
        ..outcome()
    };
    for (pattern, expected) in [("^low on", true), ("^Too Many", true), ("at row 7", true), ("row 8", false)] {
        assert_eq!(matches(&rule(&json!({"message": pattern})), &reported), expected, "{pattern}");
    }
    let long = Outcome { message: Some(format!("{0}\nHTTP 429\n{0}", "x".repeat(1500))), ..outcome() };
    assert!(matches(&rule(&json!({"message": "429"})), &long), "in the middle of what is too long for the history");
    let silent = Outcome { message: None, ..outcome() };
    assert!(matches(&rule(&json!({"message": "^$"})), &silent));
    assert!(!matches(&rule(&json!({"message": "^$"})), &reported));
}

#[test]
fn signals_go_by_number_and_by_name() {
    let killed = Outcome { signal: Some(9), exit_code: Some(137), ..outcome() };
    for signal in [json!(9), json!("KILL"), json!("SIGKILL")] {
        assert!(matches(&rule(&json!({"signals": [signal]})), &killed));
    }
    assert!(!matches(&rule(&json!({"signals": ["TERM"]})), &killed));
    let stopped = Outcome { stopped: true, reason: "AttemptTimeout".into(), ..killed };
    assert!(!matches(&rule(&json!({"signals": ["KILL"]})), &stopped), "our own SIGKILL is not the task's");
    assert!(!matches(&rule(&json!({"exitCodes": [137]})), &stopped));
    assert!(matches(&rule(&json!({"reasons": ["AttemptTimeout"]})), &stopped));
}

#[test]
fn a_command_that_the_runtime_cannot_start_is_not_runnable() {
    let never_ran = Outcome { exit_code: Some(128), reason: "StartError".into(), ..outcome() };
    assert!(matches(&rule(&json!({"preset": "CommandNotRunnable"})), &never_ran));
    assert!(!matches(&rule(&json!({"preset": "SysexitsPermanent"})), &never_ran));
}

#[test]
fn angle_brackets_with_a_backslash_are_characters() {
    let said = |message: &str| Outcome { message: Some(message.into()), ..outcome() };
    let rule = rule(&json!({"message": r"\<title\>\\<"}));
    assert!(matches(&rule, &said(r"a <title>\< b")));
    assert!(!matches(&rule, &said("a title b")));
}

#[test]
fn a_failure_without_an_exit_code_matches_no_exit_code() {
    let rejected = Outcome { exit_code: None, ..outcome() };
    for when in [json!({"exitCodes": ["1-255"]}), json!({"notExitCodes": [1]}), json!({"preset": "SysexitsPermanent"})]
    {
        assert!(!matches(&rule(&when), &rejected));
    }
}

#[test]
fn the_problem_of_a_rule_quotes_it() {
    let rules = |value: serde_json::Value| serde_json::from_value::<Vec<FailureRule>>(value).unwrap();
    let catch_all = json!({"name": "rest", "action": "Fail"});
    let cases = [
        (json!([{"name": "a", "action": "Fail", "when": {"exitCodes": ["9-3"]}}]), "9-3"),
        (json!([{"name": "a", "action": "Fail", "when": {"notExitCodes": ["x-y"]}}]), "x-y"),
        (json!([{"name": "a", "action": "Fail", "when": {"signals": ["SIGNONE"]}}]), "SIGNONE"),
        (json!([{"name": "a", "action": "Fail", "when": {"message": "(unclosed"}}]), "(unclosed"),
        (json!([{"name": "a", "action": "Fail", "when": {"message": "a{1000}{1000}{1000}"}}]), "does not compile"),
        (json!([{"name": "rest", "action": "Fail", "when": {"exitCodes": [1]}}, catch_all]), "twice"),
        (json!([catch_all, {"name": "late", "action": "Fail", "when": {"exitCodes": [1]}}]), "never reached"),
        (json!([{"name": "a", "action": "Retry", "backoff": {"multiplier": "0.1"}}]), "multiplier"),
        (json!([{"name": "a", "action": "Fail", "when": {"exitCodes": [256]}}]), "256"),
        (json!([{"name": "a", "action": "Fail", "when": {"exitCodes": [1], "notExitCodes": [1]}}]), "at once"),
        (json!([{"name": "a", "action": "Fail", "when": {"exitCodes": [1], "signals": ["KILL"]}}]), "at once"),
        (json!([{"name": "a", "action": "Fail", "when": {"notExitCodes": ["1-255"]}}]), "at once"),
        (json!([{"name": "a", "action": "Fail", "when": {"reasons": ["Cancelled"]}}]), "comes to the rules"),
        (
            json!([{"name": "a", "action": "Fail", "when": {"reasons": ["AttemptTimeout"], "exitCodes": [143]}}]),
            "no exit code",
        ),
        (json!([{"name": "a", "action": "Fail", "when": {"reasons": ["Lost"], "signals": ["KILL"]}}]), "no exit code"),
        (
            json!([{"name": "a", "action": "Fail", "when": {"preset": "SysexitsTransient", "exitCodes": [1]}}]),
            "at once",
        ),
        (
            json!([
                {"name": "a", "action": "Fail", "when": {"reasons": ["x"]}},
                {"name": "b", "action": "Retry", "when": {"reasons": ["x"]}},
            ]),
            "\"a\" has the same",
        ),
    ];
    for (value, expected) in cases {
        let problem = problem(&rules(value.clone())).unwrap_or_default();
        assert!(problem.contains(expected) && problem.starts_with("spec.rules, rule \""), "{value}: {problem}");
    }
    let fine = json!([{"name": "a", "action": "Retry", "when": {"signals": ["SIGTERM", 9]}}, catch_all]);
    assert_eq!(problem(&rules(fine)), None);
}
