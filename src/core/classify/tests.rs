use super::*;
use crate::api::{FailureCount, IntOrText, When};
use crate::core::termination_report::TerminationReport;
use jiff::Timestamp;
use serde_json::json;

fn failed() -> Outcome {
    Outcome {
        succeeded: false,
        container: None,
        exit_code: Some(1),
        signal: None,
        reason: "Error".into(),
        cause: None,
        message: None,
        raw_report: None,
        is_log: false,
        report: TerminationReport::default(),
        started: None,
        finished: Timestamp::UNIX_EPOCH,
        disrupted: false,
        conditions: Vec::new(),
        never_started: false,
        stopped: false,
        past_deadline: None,
    }
}

fn spec(value: serde_json::Value) -> RetryableTaskSpec {
    serde_json::from_value(value).unwrap()
}

fn counted(retries: i32, failure_counts: &[(&str, i32)]) -> RetryableTaskStatus {
    let failure_counts =
        failure_counts.iter().map(|(name, count)| FailureCount { name: (*name).into(), count: *count }).collect();
    RetryableTaskStatus { retries, failure_counts, ..RetryableTaskStatus::default() }
}

#[test]
fn the_first_check_that_applies_decides() {
    let success = Outcome { succeeded: true, ..failed() };
    let disrupted = Outcome { disrupted: true, ..failed() };
    let hopeless = Outcome {
        report: TerminationReport { do_not_retry: true, ..TerminationReport::default() },
        ..disrupted.clone()
    };
    let suspend = Some(StopReason::Suspended);
    let exhausted = Some(ConditionReason::RetriesExhausted);
    let disruptions = |n| [(DISRUPTION, n)];
    let cases = [
        (&success, None, counted(3, &[]), Action::Complete, Some(ConditionReason::Succeeded)),
        (&success, suspend, counted(3, &[]), Action::Ignore, None),
        (&failed(), suspend, counted(3, &[]), Action::Ignore, None),
        (
            &failed(),
            Some(StopReason::DeadlineExceeded),
            counted(0, &[]),
            Action::Fail,
            Some(ConditionReason::DeadlineExceeded),
        ),
        (&hopeless, None, counted(0, &[]), Action::Fail, Some(ConditionReason::DoNotRetry)),
        (&disrupted, None, counted(3, &disruptions(9)), Action::Ignore, None),
        (&disrupted, None, counted(2, &disruptions(10)), Action::Retry, None),
        (&disrupted, None, counted(3, &disruptions(10)), Action::Fail, exhausted),
        (&failed(), None, counted(2, &[]), Action::Retry, None),
        (&failed(), None, counted(3, &[]), Action::Fail, exhausted),
        (&failed(), Some(StopReason::TaskEnded), counted(2, &[]), Action::Retry, None),
        (&failed(), Some(StopReason::AttemptTimeout), counted(2, &[]), Action::Retry, None),
    ];
    for (outcome, stop, status, action, end) in cases {
        let verdict = classify(outcome, stop, &spec(json!({"image": "x"})), &status);
        assert_eq!((verdict.action, verdict.end), (action, end), "{outcome:?} {stop:?} {status:?}");
    }
}

#[test]
fn without_retries_the_first_failure_is_the_last() {
    let verdict = classify(&failed(), None, &spec(json!({"image": "x", "maxRetries": 0})), &counted(0, &[]));
    assert_eq!((verdict.action, verdict.exhausted.as_deref()), (Action::Fail, Some(MAX_RETRIES)));
}

#[test]
fn a_rule_with_a_budget_is_charged_alone() {
    let spec = spec(json!({"image": "x", "rules": [
        {"name": "bad-input", "when": {"exitCodes": ["64-78"]}, "action": "Fail"},
        {"name": "rate-limited", "when": {"message": "(?i)too many requests"}, "action": "Retry", "maxRetries": 2,
         "backoff": {"strategy": "Fixed", "initialDelaySeconds": 30}},
        {"name": "flaky", "when": {"exitCodes": [9]}, "action": "Ignore", "maxRetries": 1},
        {"name": "known", "when": {"exitCodes": [8]}, "action": "Retry"},
    ]}));
    let with_code = |code| Outcome { exit_code: Some(code), ..failed() };
    let limited = Outcome { message: Some("HTTP 429 Too Many Requests".into()), ..failed() };
    let cases = [
        (with_code(64), counted(0, &[]), (Action::Fail, false, Some(ConditionReason::RuleFailed), None)),
        (limited.clone(), counted(3, &[("rate-limited", 1)]), (Action::Retry, false, None, None)),
        (
            limited,
            counted(0, &[("rate-limited", 2)]),
            (Action::Fail, false, Some(ConditionReason::BudgetExhausted), Some("rate-limited")),
        ),
        (with_code(9), counted(3, &[]), (Action::Ignore, false, None, None)),
        (with_code(9), counted(2, &[("flaky", 1)]), (Action::Retry, true, None, None)),
        (with_code(8), counted(2, &[("known", 50)]), (Action::Retry, true, None, None)),
        (
            with_code(8),
            counted(3, &[]),
            (Action::Fail, false, Some(ConditionReason::RetriesExhausted), Some(MAX_RETRIES)),
        ),
    ];
    for (outcome, status, (action, charged, end, exhausted)) in cases {
        let verdict = classify(&outcome, None, &spec, &status);
        assert_eq!((verdict.action, verdict.charged, verdict.end), (action, charged, end), "{outcome:?}");
        assert_eq!(verdict.exhausted.as_deref(), exhausted, "{outcome:?}");
        assert!(verdict.counted && verdict.rule.is_some());
    }
}

#[test]
fn the_built_in_budgets_are_apart_and_a_users_rule_comes_first() {
    let out_of_memory = Outcome { reason: "OOMKilled".into(), exit_code: Some(137), ..failed() };
    let unstarted = Outcome { reason: "ImagePullBackOff".into(), exit_code: None, never_started: true, ..failed() };
    let plain = spec(json!({"image": "x"}));
    let own = spec(json!({"image": "x", "budgets": {"disruptions": 0, "outOfMemory": 1, "startup": 1}}));
    for (outcome, class) in [(&out_of_memory, OUT_OF_MEMORY), (&unstarted, STARTUP)] {
        let verdict = classify(outcome, None, &plain, &counted(0, &[]));
        assert_eq!((verdict.rule.as_deref(), verdict.charged, verdict.counted), (Some(class), true, true));
        let verdict = classify(outcome, None, &own, &counted(3, &[]));
        assert_eq!((verdict.action, verdict.charged), (Action::Retry, false));
        let verdict = classify(outcome, None, &own, &counted(0, &[(class, 1)]));
        assert_eq!((verdict.end, verdict.exhausted.as_deref()), (Some(ConditionReason::BudgetExhausted), Some(class)));
    }
    let disrupted = Outcome { disrupted: true, ..failed() };
    assert!(classify(&disrupted, None, &own, &counted(0, &[])).charged);
    let rule = FailureRule {
        name: "oom".into(),
        when: Some(When { exit_codes: Some(vec![IntOrText::Int(137)]), ..When::default() }),
        action: RuleAction::Fail,
        max_retries: None,
        backoff: None,
    };
    let first = RetryableTaskSpec { rules: Some(vec![rule]), ..own };
    assert_eq!(classify(&out_of_memory, None, &first, &counted(0, &[])).rule.as_deref(), Some("oom"));
}
