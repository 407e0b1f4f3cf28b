//! How large a status gets.

use crate::api::{Action, CurrentAttempt, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::decide::history::most_bytes;
use crate::core::decide::{Lookups, Plan, ProcessState, Situation, TrackedPod, decide};
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, at, end, fixed, pod_of, task, time};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

/// The history is full after a hundred; the counters start where 9,880 failures have brought them, to save the time.
#[test]
fn the_status_stays_small_after_ten_thousand_failures() {
    let texts = ["x", "\"", "\u{1f980}", "\u{1}", "<"];
    for text in texts {
        let mut task = task().max_retries(i32::MAX).backoff(fixed(0)).history_limit(100);
        let current = CurrentAttempt { number: 9881, ..CurrentAttempt::default() };
        let dropped = 9880;
        let status = RetryableTaskStatus {
            attempts: dropped,
            retries: dropped,
            history_dropped: dropped,
            current: Some(current),
            ..RetryableTaskStatus::default()
        };
        task.status = Some(status);
        for number in 9881..=10_000 {
            let long = text.repeat(1300 / text.len());
            let word = json!({"errorType": long, "message": long, "result": long}).to_string();
            let message = if number % 2 == 0 { &word } else { &long };
            let ended = pod_of(&task, number)
                .uid(&format!("{number:036}"))
                .ended(end(255).saying(message).reason("ContainerStatusUnknown"))
                .on_node(&"n".repeat(253));
            let tracked = TrackedPod {
                pod: PodSnapshot::of(&ended).unwrap(),
                first_seen: at(0),
                known_since: SignedDuration::ZERO,
                deleting_since: None,
                stopping_since: None,
                ungated: None,
                end_seen: Some(at(4)),
                deleted: false,
            };
            let pods = [tracked];
            while let Plan::WriteStatus(write) = decided(&task, &pods) {
                task.status = Some(*write.status);
            }
        }
        let status = task.status.unwrap();
        assert_eq!((status.attempts, status.retries), (10_001, 10_000));
        assert_eq!(i32::try_from(status.history.len()).unwrap() + status.history_dropped, 10_000, "all are counted");
        assert_eq!(status.history.last().unwrap().attempt, 10_000);
        let size = go_json_len(&serde_json::to_string(&status).unwrap());
        assert!(size < 100 * 1024, "{size} bytes of {text:?}");
    }
}

/// The history's limit rests on it.
#[test]
fn an_entry_takes_no_more_bytes_than_are_reckoned_and_few_fewer() {
    let last = Time(Timestamp::MIN);
    for text in ["x", "\"", "\u{1f980}", "\u{1}", "<", "\u{2028}"] {
        let text = || Some(text.repeat(100));
        let (number, large) = (Some(i32::MIN), Some(i64::MIN));
        let entry = HistoryEntry {
            attempt: i32::MIN,
            pod_name: text().unwrap(),
            pod_uid: text(),
            node_name: text(),
            container: text(),
            start_time: Some(last.clone()),
            finish_time: Some(last.clone()),
            exit_code: number,
            signal: number,
            reason: text().unwrap(),
            error_type: text(),
            error_types: vec![text().unwrap(); 3],
            retry_after_seconds: large,
            message: text(),
            rule: text(),
            action: Action::Complete,
            delay_milliseconds: large,
            generation: large,
            memory: text(),
            avoided_nodes: vec![text().unwrap(); 7],
            override_from: number,
            run: number,
            queue: text(),
        };
        let usual =
            HistoryEntry { attempt: 7, pod_name: text().unwrap(), exit_code: Some(0), ..HistoryEntry::default() };
        for entry in [entry, usual, HistoryEntry::default()] {
            let takes = go_json_len(&serde_json::to_string(&entry).unwrap());
            let reckoned = most_bytes(&entry);
            assert!((takes..takes + 32).contains(&reckoned), "{reckoned} for {takes}");
        }
    }
}

fn decided(task: &RetryableTask, pods: &[TrackedPod]) -> Plan {
    let process = ProcessState { uptime: SignedDuration::from_secs(4), ..ProcessState::default() };
    decide(&Situation { task, pods, now: time(4).0, lookups: &Lookups::default(), process: &process })
}

/// As the API server stores it: Go's encoder writes some characters as six bytes.
fn go_json_len(text: &str) -> usize {
    text.chars().map(|c| if matches!(c, '<' | '>' | '&' | '\u{2028}') { 6 } else { c.len_utf8() }).sum()
}
