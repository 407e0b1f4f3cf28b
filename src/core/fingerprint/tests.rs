//! Which failures are one row.

use super::*;
use crate::api::{
    Action, ConditionReason, ConditionType, HistoryEntry, LastFailure, RetryableTask, RetryableTaskStatus,
};
use crate::core::condition_list;
use crate::core::testing::{BuildTask, NAME, NAMESPACE, at, task, time};
use proptest::prelude::*;
use std::cmp::Reverse;

#[test]
fn what_differs_from_failure_to_failure_is_left_out() {
    let cases = [
        ("connection to db-1:5432 refused", "connection to db-# refused"),
        ("connection to db-17:5433 refused", "connection to db-# refused"),
        ("dial tcp 10.96.0.1:443: i/o timeout", "dial tcp #: i/o timeout"),
        ("2026-11-30T10:00:00.123Z ERROR boom", "# ERROR boom"),
        ("2026-11-30 10:00:00,123 ERROR boom", "# ERROR boom"),
        ("order 9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10 is gone", "order # is gone"),
        ("order 9C1F1A52-5D0C-4A3B-8A55-0F8F2B3F6F10 is gone", "order # is gone"),
        ("commit deadbeefcafe not found", "commit # not found"),
        ("<Order object at 0x7f3c2a10>", "<Order object at #>"),
        ("KeyError: 'customer_7'", "KeyError: \"…\""),
        ("pods \"a-1\" is forbidden: exceeded quota", "pods \"…\" is forbidden: exceeded quota"),
        ("can't open it, won't try", "can't open it, won't try"),
        ("it's a 'bad' idea, isn't it", "it's a \"…\" idea, isn't it"),
        ("an open \"quote", "an open \"quote"),
        ("read /data/2026/11/30/part-00017.parquet: EOF", "read /data/#/part-#.parquet: EOF"),
        ("open /tmp/tmpabcxyz/out.json: no such file", "open /tmp/#/out.json: no such file"),
        ("open /home/alice/.config: denied", "open /home/#/.config: denied"),
        ("open /etc/app/config.yaml: denied", "open /etc/app/config.yaml: denied"),
        ("GET https://api.example.com/v1/orders/77?token=abc&x=1: 503", "GET https://api.example.com/v#/orders/#?…: #"),
        ("no mailbox alice.b+c@example.com here", "no mailbox # here"),
        ("timed out after 30s", "timed out after #"),
        ("timed out after 1m30.5s", "timed out after #"),
        ("offset -5 is below 0", "offset # is below #"),
        ("pod orders-7d4b9c6f5-x2x9z vanished", "pod orders-# vanished"),
        ("pod orders-bcdfg vanished", "pod orders-# vanished"),
        ("a well-known error", "a well-known error"),
        ("worker12 of shard_7 died", "worker# of shard_# died"),
        ("token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9 expired", "token # expired"),
        ("  many\t blanks ", "many blanks"),
        ("größe 5 ist ungültig", "größe # ist ungültig"),
        ("\u{1b}[31mred 5\u{1b}[0m", "red #"),
        ("", ""),
    ];
    for (message, expected) in cases {
        assert_eq!(pattern(message), expected, "{message}");
    }
}

#[test]
fn messages_that_are_cut_differently_are_one_pattern() {
    let long = |n: usize| format!("bad record: {}", "field is wrong; ".repeat(n));
    assert_eq!(pattern(&long(40)), pattern(&long(60)));
    assert!(pattern(&long(60)).len() <= 240, "{}", pattern(&long(60)));
}

proptest! {
    #[test]
    fn a_pattern_is_one_short_line_without_digits(message in "(\\PC|\\n|[0-9'\"@/.:-]){0,300}") {
        let pattern = pattern(&message);
        prop_assert!(!pattern.contains(|c: char| c.is_ascii_digit() || c == '\n') && pattern.len() <= 240, "{}", pattern);
    }

    #[test]
    fn numbers_and_ids_make_no_other_pattern(a: u32, b: u32, x: [u8; 16], y: [u8; 16]) {
        let id = |bytes: [u8; 16]| {
            let hex = format!("{:032x}", u128::from_be_bytes(bytes));
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        };
        let message = |n: u32, bytes| format!("row {n} of {} failed after {n}ms at /var/x/{n}.csv", id(bytes));
        prop_assert_eq!(pattern(&message(a, x)), pattern(&message(b, y)));
    }
}

/// Twelve causes; what differs from failure to failure is drawn from `n`.
fn failure_of(cause: usize, n: usize) -> Failure {
    let (reason, exit_code, message) = match cause {
        0 => ("Error", Some(1), format!("connection to db-{n}:5432 refused")),
        1 => ("Error", Some(1), format!("order 9c1f1a52-5d0c-4a3b-8a55-{n:012x} is gone")),
        2 => ("Error", Some(2), format!("connection to db-{n}:5432 refused")),
        3 => ("OOMKilled", Some(137), String::new()),
        4 => ("Error", Some(1), format!("KeyError: 'customer{n}'")),
        5 => ("Evicted", None, format!("The node was low on resource: memory. Threshold quantity: {n}Ki")),
        6 => ("AttemptTimeout", Some(137), "working".into()),
        7 => ("ImagePullBackOff", None, format!("Back-off pulling image \"registry/app:{n}\"")),
        8 => ("Error", Some(1), format!("open /tmp/tmp{n}/x: no such file or directory")),
        9 => ("Error", Some(1), format!("{n}: HTTP 503 from https://api.example.com/v1/orders/{n}?page={n}")),
        10 => ("Lost", None, String::new()),
        _ => ("Error", Some(1), format!("deadlock detected; process {n} waits for {}", n + 1)),
    };
    Failure {
        task: TaskId { namespace: NAMESPACE.into(), name: format!("task-{}", n % 100) },
        attempt: Some(1),
        reason: reason.into(),
        exit_code,
        error_type: None,
        message,
        time: Some(at(i64::try_from(n).unwrap())),
    }
}

#[test]
fn a_thousand_failures_of_twelve_causes_are_twelve_rows() {
    // Cause 0 is the most frequent one.
    let causes: Vec<usize> = (0..1000).map(|n: usize| if n.is_multiple_of(5) { 0 } else { n % 12 }).collect();
    let failures: Vec<Failure> = causes.iter().enumerate().map(|(n, cause)| failure_of(*cause, n)).collect();
    let rows = group(failures.clone());
    assert_eq!(rows.len(), 12, "{:#?}", rows.iter().map(|row| &row.fingerprint).collect::<Vec<_>>());
    assert_eq!(rows.iter().map(|row| row.count).sum::<usize>(), 1000);
    assert!(rows.is_sorted_by_key(|row| Reverse(row.count)));
    let names: BTreeSet<String> = rows.iter().map(|row| row.fingerprint.name()).collect();
    assert_eq!(names.len(), 12, "{names:?}");
    assert_eq!(rows, group(failures.into_iter().rev()), "whatever the order in which they come");
}

#[test]
fn a_row_has_the_first_the_last_and_the_tasks() {
    let rows = group([failure_of(0, 7), failure_of(0, 3), failure_of(0, 103), failure_of(3, 50)]);
    let [row, memory] = &*rows else { panic!("{rows:?}") };
    assert_eq!((row.count, row.first, row.last), (3, Some(at(3)), Some(at(103))));
    assert_eq!(row.message, "connection to db-103:5432 refused");
    assert_eq!(row.tasks.iter().map(|task| &*task.name).collect::<Vec<_>>(), ["task-3", "task-7"]);
    assert_eq!((memory.count, &*memory.fingerprint.reason, &*memory.fingerprint.pattern), (1, "OOMKilled", ""));
}

fn entry(attempt: i32, reason: &str, action: Action) -> HistoryEntry {
    let exit_code = (reason == "Error").then_some(1);
    HistoryEntry {
        attempt,
        reason: reason.into(),
        action,
        exit_code,
        finish_time: Some(time(10)),
        ..HistoryEntry::default()
    }
}

fn with(history: Vec<HistoryEntry>, change: impl FnOnce(&mut RetryableTaskStatus)) -> RetryableTask {
    let mut status = RetryableTaskStatus {
        history: history.into_iter().map(Into::into).collect(),
        ..RetryableTaskStatus::default()
    };
    change(&mut status);
    task().status(status)
}

fn condition(status: &mut RetryableTaskStatus, type_: ConditionType, reason: ConditionReason, message: &str) {
    condition_list::set(&mut status.conditions, (type_, true), reason, message, (at(20), None));
}

/// The failures in short.
fn gist(task: &RetryableTask) -> Vec<String> {
    let gist = |failure: Failure| {
        let Failure { task, attempt, reason, exit_code: _, error_type, message, time: _ } = failure;
        assert_eq!((&*task.namespace, &*task.name), (NAMESPACE, NAME));
        format!("{attempt:?} {reason} {error_type:?} {message}")
    };
    failures(task).into_iter().map(gist).collect()
}

#[test]
fn the_status_tells_of_failures() {
    let log = "starting\nfatal: no route to host\nbye";
    let mut of_log = entry(1, "Error", Action::Retry);
    of_log.message = Some(log.into());
    let mut reported = entry(2, "Error", Action::Retry);
    (reported.error_type, reported.message) = (Some("Timeout".into()), Some("first\nsecond".into()));
    let mut evicted = entry(3, "Evicted", Action::Ignore);
    (evicted.rule, evicted.message) = (Some("disruption".into()), Some("low on memory\nstarting".into()));
    let stopped = [
        entry(4, "Suspended", Action::Ignore),
        entry(5, "SpecChanged", Action::Ignore),
        entry(6, "Cancelled", Action::Fail),
        entry(7, "Completed", Action::Complete),
    ];
    let all = [vec![of_log, reported, evicted], stopped.to_vec()].concat();
    assert_eq!(
        gist(&with(all, |_| ())),
        [
            "Some(1) Error None fatal: no route to host",
            "Some(2) Error Some(\"Timeout\") first",
            "Some(3) Evicted None low on memory",
        ]
    );
}

#[test]
fn a_failure_that_the_history_has_dropped_counts_once() {
    let last = LastFailure { attempt: 9, reason: "Error".into(), exit_code: Some(1), message: Some("boom".into()) };
    let dropped = with(Vec::new(), |status| status.last_failure = Some(last.clone()));
    assert_eq!(gist(&dropped), ["Some(9) Error None boom"]);
    let kept = with(vec![entry(9, "Error", Action::Fail)], |status| status.last_failure = Some(last));
    assert_eq!(gist(&kept), ["Some(9) Error None "]);
}

#[test]
fn a_task_that_cannot_start_has_a_failure() {
    let rejected = with(Vec::new(), |status| {
        condition(status, ConditionType::Stalled, ConditionReason::PodRejected, "exceeded quota");
    });
    assert_eq!(gist(&rejected), ["None PodRejected None exceeded quota"]);
    let dependency = with(Vec::new(), |status| {
        for type_ in [ConditionType::Failed, ConditionType::Finished, ConditionType::Stalled] {
            condition(status, type_, ConditionReason::DependencyFailed, "extract has failed");
        }
    });
    assert_eq!(gist(&dependency), ["None DependencyFailed None extract has failed"]);
    let exhausted = with(vec![entry(1, "Error", Action::Fail)], |status| {
        for type_ in [ConditionType::Failed, ConditionType::Finished, ConditionType::Stalled] {
            condition(status, type_, ConditionReason::RetriesExhausted, "maxRetries (0) exhausted");
        }
    });
    assert_eq!(gist(&exhausted), ["Some(1) Error None "], "the attempt is the failure");
}

#[test]
fn a_task_that_has_succeeded_stands_at_no_failure() {
    let history = || vec![entry(1, "Error", Action::Retry), entry(2, "Completed", Action::Complete)];
    let waits = with(vec![entry(1, "Error", Action::Retry)], |_| ());
    assert_eq!(last_failure(&waits).and_then(|failure| failure.attempt), Some(1));
    let succeeded =
        with(history(), |status| condition(status, ConditionType::Complete, ConditionReason::Succeeded, ""));
    assert_eq!((last_failure(&succeeded), failures(&succeeded).len()), (None, 1));
}
