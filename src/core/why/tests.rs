//! The sentence for every state that a task can be in. The time is second 100.

mod attempts;
mod ends;
mod waits;

use super::*;

use crate::api::StopReason;
use crate::core::queue::view::QueueWaitReason;
use crate::core::testing::{BuildTask, at, task_with};
use serde_json::{Value, json};
use strum::IntoEnumIterator;

const POD: &str = "import-orders-6gtn8h-2";

struct Case {
    name: &'static str,
    spec: Value,
    status: Value,
    queue: Option<Value>,
    expected: String,
    hints: Vec<String>,
}

/// A case; the status gets what each has.
fn case(name: &'static str, spec: Value, status: Value, expected: impl Into<String>) -> Case {
    Case { name, spec, status, queue: None, expected: expected.into(), hints: Vec::new() }
}

impl Case {
    fn hint(mut self, hint: &str) -> Self {
        self.hints.push(hint.into());
        self
    }

    fn queue(mut self, status: Value) -> Self {
        self.queue = Some(status);
        self
    }

    fn run(&self) -> Why {
        let mut spec = json!({"image": "busybox", "maxRetries": 3});
        merge(&mut spec, &self.spec);
        let mut status = json!({"observedGeneration": 1});
        merge(&mut status, &self.status);
        let task = task_with(spec).status(serde_json::from_value(status).unwrap());
        let mut queue = TaskQueue::new("mail", serde_json::from_value(json!({})).unwrap());
        queue.status = serde_json::from_value(self.queue.clone().unwrap_or_default()).unwrap();
        let known = match &self.queue {
            Some(Value::Null) => KnownQueue::Missing,
            Some(_) => KnownQueue::Found { queue: &queue, place: Some(Place { nth: 4, of: 31 }) },
            None => KnownQueue::Unknown,
        };
        why(&task, &Known { queue: known, ..unknown() })
    }
}

fn unknown() -> Known<'static> {
    Known { now: at(100), queue: KnownQueue::Unknown, options: "" }
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
}

fn second(second: i64) -> Value {
    json!(at(second).to_string())
}

fn condition(type_: &str, is: bool, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": if is { "True" } else { "False" }, "reason": reason, "message": message,
        "lastTransitionTime": second(90), "observedGeneration": 1})
}

fn failure() -> Value {
    json!({"attempt": 1, "reason": "Error", "exitCode": 3, "message": "connection refused"})
}

fn attempt(more: &Value) -> Value {
    let mut current = json!({"number": 2, "podName": POD, "createTime": second(88)});
    merge(&mut current, more);
    current
}

fn ended(type_: &str, state: &str, reason: &str, message: &str) -> Value {
    json!({"state": state, "completionTime": second(40), "duration": "12s", "attempts": 4, "retries": 3,
        "conditions": [condition(type_, true, reason, message), condition("Finished", true, reason, message)]})
}

fn stalled(reason: &str, message: &str, more: &Value) -> Value {
    json!({"state": "Pending", "current": attempt(more), "conditions": [condition("Stalled", true, reason, message)]})
}

fn held_up(reason: &str, message: &str) -> Value {
    json!({"state": "Pending", "current": attempt(&json!({"holdUp": {"reason": reason, "message": message}}))})
}

fn stopping(reason: &str, more: &Value) -> Value {
    let mut current = json!({"stopReason": reason, "stopTime": second(95)});
    merge(&mut current, more);
    json!({"state": "Running", "current": attempt(&current)})
}

fn in_queue(more: &Value) -> Value {
    let mut status =
        json!({"state": "Queued", "current": {"number": 2, "dueTime": second(40)}, "lastFailure": failure()});
    merge(&mut status, more);
    status
}

fn mail() -> Value {
    json!({"queue": {"name": "mail"}})
}

const SKIP: &str = "To start it now: kubectl retryable retry-now import-orders -n default";
const NO_LIMIT: &str = "Without startupTimeoutSeconds it may wait for a node for ever.";
const DEFAULT_LIMIT: &str =
    "The attempt fails 600 s after its init containers have ended (without startupTimeoutSeconds).";
const REPLACE: &str = "To replace the Pod: kubectl retryable retry-now import-orders -n default";
const RESUME: &str = "To resume it: kubectl retryable resume import-orders -n default";

fn cases() -> Vec<Case> {
    [
        waits::waiting_cases(),
        waits::queue_cases(),
        attempts::standstill_cases(),
        attempts::running_cases(),
        attempts::fallback_cases(),
        ends::ended_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_state_has_its_sentence() {
    for case in cases() {
        let Why { sentence, hints } = case.run();
        assert_eq!((&sentence, &hints), (&case.expected, &case.hints), "{}", case.name);
    }
}

/// Whoever adds a state or a reason is led here by the compiler.
#[test]
fn no_state_and_no_reason_is_left_out() {
    let of_state = |state: State| match state {
        State::Pending => "Unschedulable",
        State::Blocked => "Blocked",
        State::Running => "Running",
        State::Waiting => "Waiting",
        State::Queued => "Queued",
        State::Suspended => "Suspended",
        State::Succeeded => "Succeeded",
        State::Failed => "RetriesExhausted",
        State::Cancelled => "Cancelled",
        State::Unknown => "Unknown",
    };
    let of_stop = |reason: StopReason| match reason {
        StopReason::Suspended => "Suspended (stopping)",
        StopReason::Cancelled => "Cancelled (stopping)",
        StopReason::Unknown => "stopped by another version",
        StopReason::TaskEnded
        | StopReason::AttemptTimeout
        | StopReason::StartupTimeout
        | StopReason::DeadlineExceeded
        | StopReason::SpecChanged
        | StopReason::RetryNow
        | StopReason::QueueDrained => reason.as_str(),
    };
    let of_reason = |reason: ConditionReason| match reason {
        ConditionReason::CreatingPod => Some("Running"),
        ConditionReason::Suspended => Some("Suspended"),
        ConditionReason::DependencyPending => Some("Blocked"),
        // Of a condition that is False, and of schedules.
        ConditionReason::Resumed
        | ConditionReason::TooManyFailures
        | ConditionReason::RunActive
        | ConditionReason::TaskRejected => None,
        ConditionReason::Succeeded
        | ConditionReason::PartiallySucceeded
        | ConditionReason::RetriesExhausted
        | ConditionReason::BudgetExhausted
        | ConditionReason::RuleFailed
        | ConditionReason::DoNotRetry
        | ConditionReason::DeadlineExceeded
        | ConditionReason::Cancelled
        | ConditionReason::PodRejected
        | ConditionReason::FailedCreate
        | ConditionReason::PodNameConflict
        | ConditionReason::QueueMissing
        | ConditionReason::QueueTimeout
        | ConditionReason::DependencyFailed
        | ConditionReason::DependencyTimeout
        | ConditionReason::DependencyCycle
        | ConditionReason::InvalidSpec => Some(reason.as_str()),
    };
    let names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    let wanted = State::iter()
        .map(of_state)
        .chain(StopReason::iter().map(of_stop))
        .chain(ConditionReason::iter().filter_map(of_reason));
    for name in wanted {
        assert!(names.contains(&name), "{name} has no case");
    }
}

#[test]
fn nothing_that_a_queue_lets_wait_for_is_left_out() {
    let of_queue = |reason: QueueWaitReason| match reason {
        QueueWaitReason::Full => "Queued",
        QueueWaitReason::RetriesFull => "Queued, all retries run",
        QueueWaitReason::RateLimited => "Queued, rate",
        QueueWaitReason::CircuitOpen => "Queued, circuit open",
        QueueWaitReason::Recovering => "Queued, the slots grow again",
        QueueWaitReason::Held => "Queued, held",
    };
    let names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    for name in QueueWaitReason::iter().map(of_queue) {
        assert!(names.contains(&name), "{name} has no case");
    }
}

#[test]
fn a_task_that_nobody_has_seen_says_so() {
    let known = |now| Known { now: at(now), ..unknown() };
    let new = task_with(json!({"image": "busybox"}));
    assert_eq!(why(&new, &known(5)), Why::of("It was created 5s ago, and no operator has seen it yet"));
    let late = why(&new, &known(120));
    assert_eq!(late.sentence, "It was created 2m0s ago, and no operator has seen it yet");
    assert_eq!(late.hints, ["Check that the operator runs, and that it watches namespace default."]);
    // The API server's default.
    let defaulted = new.status(serde_json::from_value(json!({"observedGeneration": -1})).unwrap());
    assert_eq!(why(&defaulted, &known(5)).sentence, "It was created 5s ago, and no operator has seen it yet");
}

#[test]
fn a_deleted_task_says_what_keeps_it() {
    let known = unknown();
    let status = || serde_json::from_value(json!({"observedGeneration": 1})).unwrap();
    let deleted = || task_with(json!({"image": "busybox"})).status(status()).deleted(90);
    assert_eq!(why(&deleted(), &known).sentence, "It was deleted 10s ago, and is about to be gone");
    let kept = deleted().change(|task| task.metadata.finalizers = Some(vec!["foregroundDeletion".into()]));
    let expected = "It was deleted 10s ago, and is gone once these finalizers are removed: foregroundDeletion";
    assert_eq!(why(&kept, &known).sentence, expected);
}

#[test]
fn what_is_not_acknowledged_yet_is_said() {
    let known = unknown();
    let status = json!({"observedGeneration": 1, "state": "Running", "current": attempt(&json!({}))});
    let task = task_with(json!({"image": "busybox"})).status(serde_json::from_value(status).unwrap());
    let asked = task.asked("run-again", "a").asked("cancel", "b").change(|task| task.metadata.generation = Some(2));
    assert_eq!(
        why(&asked, &known).hints,
        [
            "The operator has not seen the last change of the spec yet (generation 2).",
            "A request to run again once it has ended (retryable.dev/run-again) is not acknowledged yet.",
            "A request to cancel it (retryable.dev/cancel) is not acknowledged yet.",
        ]
    );
}

#[test]
fn a_command_to_copy_means_the_same_cluster() {
    let status = json!({"observedGeneration": 1, "state": "Suspended", "current": {"number": 2}});
    let task = task_with(json!({"image": "busybox"})).status(serde_json::from_value(status).unwrap());
    let known = Known { options: "--context prod", ..unknown() };
    assert_eq!(why(&task, &known).hints, [format!("{RESUME} --context prod")]);
}

#[test]
fn a_sentence_is_one_line_and_not_too_long() {
    let long = "x \n".repeat(2000);
    let status = json!({"observedGeneration": 1, "state": "Pending", "current": attempt(&json!({})),
        "conditions": [condition("Stalled", true, "PodRejected", &long)]});
    let task = task_with(json!({"image": "busybox"})).status(serde_json::from_value(status).unwrap());
    let sentence = why(&task, &unknown()).sentence;
    assert!(!sentence.contains('\n') && sentence.len() < 700, "{sentence}");
}

#[test]
fn a_sentence_has_one_full_stop_whatever_it_quotes() {
    let quotes = |end: &str| Why::of(format!("no node takes it: preemption is not helpful for scheduling{end}")).text();
    assert_eq!(quotes("."), "no node takes it: preemption is not helpful for scheduling.");
    assert_eq!(quotes(""), quotes("."));
}
