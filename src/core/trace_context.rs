//! The trace of a task: what its attempts get as `TRACEPARENT` (<https://www.w3.org/TR/trace-context/>), and the ids of all
//! its spans. They follow from the task's UID, so that whoever reports a span twice reports the same one.

use super::hash;
use super::slot::Slot;

/// The trace that all attempts of a task share: 32 hexadecimal digits, never all zero.
pub fn trace_id(task_uid: &str) -> String {
    let digits: String = task_uid.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() == 32 && digits.bytes().any(|b| b != b'0') {
        return digits;
    }
    // The UID is not a UUID.
    let [first, second] = hash::numbers(&format!("trace\n{task_uid}"));
    format!("{:016x}{second:016x}", first.max(1))
}

/// What a span of a task's trace is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskSpan {
    /// A run of the task, by its number from 1: the parent of all others.
    Run(i32),
    /// The Pod of an attempt or of the fallback.
    Slot(Slot),
    /// The wait before the attempt of that number.
    BackOff(i32),
    /// The time in its TaskQueue of the attempt of that number.
    Queue(i32),
}

/// The id of a span: 16 hexadecimal digits, never all zero.
pub fn span_id(task_uid: &str, span: TaskSpan) -> String {
    let what = match span {
        TaskSpan::Run(number) => format!("run {number}"),
        TaskSpan::Slot(Slot { number, fallback: false }) => number.to_string(),
        TaskSpan::Slot(Slot { number, fallback: true }) => format!("{number}-fallback"),
        TaskSpan::BackOff(number) => format!("back-off {number}"),
        TaskSpan::Queue(number) => format!("queue {number}"),
    };
    let [span, _] = hash::numbers(&format!("span\n{task_uid}\n{what}"));
    format!("{:016x}", span.max(1))
}

/// The W3C `traceparent` of an attempt: the task's trace, a span per attempt, sampled.
pub fn traceparent(task_uid: &str, slot: impl Into<Slot>) -> String {
    format!("00-{}-{}-01", trace_id(task_uid), span_id(task_uid, TaskSpan::Slot(slot.into())))
}

#[cfg(test)]
mod tests;
