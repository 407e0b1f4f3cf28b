use super::*;
use crate::api::{IntOrText, Preset};
use crate::core::queue::facts::End;
use crate::core::queue::votes::Verdict;
use std::sync::Arc;

fn entry(reason: &str, action: Action) -> HistoryEntry {
    HistoryEntry { attempt: 1, reason: reason.into(), action, ..HistoryEntry::default() }
}

fn end(entry: HistoryEntry) -> End {
    End { entry: Arc::new(entry), exhausted: false }
}

#[test]
fn matchers_match_what_the_history_keeps() {
    let unavailable = ServiceFailures { error_types: Some(vec!["Unavailable".into()]), ..ServiceFailures::default() };
    let code =
        ServiceFailures { exit_codes: Some(vec![IntOrText::Text("70-79".into())]), ..ServiceFailures::default() };
    let timeout = ServiceFailures { reasons: Some(vec!["AttemptTimeout".into()]), ..ServiceFailures::default() };
    let text = ServiceFailures { message: Some("(?i)too many requests".into()), ..ServiceFailures::default() };
    let preset = ServiceFailures { preset: Some(Preset::SysexitsTransient), ..ServiceFailures::default() };
    let error = || entry("Error", Action::Retry);
    let reported = HistoryEntry { error_type: Some("Unavailable".into()), ..error() };
    let kinds = ["ShopDown", "Unavailable", "Exception"].map(String::from);
    let general = HistoryEntry { error_type: Some(kinds[0].clone()), error_types: kinds.to_vec(), ..error() };
    let exited = HistoryEntry { exit_code: Some(75), ..error() };
    let said = HistoryEntry { message: Some("429 Too Many Requests".into()), ..error() };
    let stopped = HistoryEntry { exit_code: Some(75), ..entry("AttemptTimeout", Action::Retry) };
    let cases = [
        (&unavailable, &reported, true),
        (&unavailable, &general, true),
        (&unavailable, &exited, false),
        (&code, &exited, true),
        (&preset, &exited, true),
        (&code, &stopped, false),
        (&timeout, &stopped, true),
        (&text, &said, true),
        (&text, &exited, false),
    ];
    for (failures, entry, expected) in cases {
        assert_eq!(matches_entry(failures, entry), expected, "{failures:?} {entry:?}");
    }
}

#[test]
fn ends_that_say_nothing_of_the_service_are_neutral() {
    let failed = |cause: &str| Verdict::Failure(cause.into());
    let any = ServiceFailures { reasons: Some(vec!["Suspended".into(), "Error".into()]), ..ServiceFailures::default() };
    let rule = |name: &str, entry: HistoryEntry| HistoryEntry { rule: Some(name.into()), ..entry };
    let error = |action| HistoryEntry { exit_code: Some(3), ..entry("Error", action) };
    let cases = [
        (entry("Completed", Action::Complete), Verdict::Success, Verdict::Success),
        (error(Action::Retry), failed("Error, exit code 3"), failed("Error, exit code 3")),
        (rule("rate-limited", error(Action::Retry)), failed("Error, exit code 3"), failed("Error, exit code 3")),
        (rule("ignored", error(Action::Ignore)), Verdict::Neutral, failed("Error, exit code 3")),
        (rule("bad-input", error(Action::Fail)), Verdict::Neutral, failed("Error, exit code 3")),
        (rule("outOfMemory", entry("OOMKilled", Action::Retry)), Verdict::Neutral, Verdict::Neutral),
        (rule("startup", entry("ImagePullBackOff", Action::Retry)), Verdict::Neutral, Verdict::Neutral),
        (rule("disruption", entry("Evicted", Action::Ignore)), Verdict::Neutral, Verdict::Neutral),
        (entry("Suspended", Action::Ignore), Verdict::Neutral, Verdict::Neutral),
        (entry("QueueDrained", Action::Ignore), Verdict::Neutral, Verdict::Neutral),
        (rule(CIRCUIT, error(Action::Ignore)), failed("Error, exit code 3"), failed("Error, exit code 3")),
    ];
    for (entry, by_default, by_matchers) in cases {
        let end = end(entry);
        assert_eq!(end.verdict(None), by_default, "{end:?}");
        assert_eq!(end.verdict(Some(&any)), by_matchers, "{end:?}");
    }
}

#[test]
fn the_last_failure_of_a_task_counts_too() {
    let last = End { exhausted: true, ..end(entry("Error", Action::Fail)) };
    assert_eq!(last.verdict(None), Verdict::Failure("Error".into()));
}
