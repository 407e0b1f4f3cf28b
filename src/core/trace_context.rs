//! The trace of a task: what its attempts get as `TRACEPARENT` (<https://www.w3.org/TR/trace-context/>).

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

/// The W3C `traceparent` of an attempt: the task's trace, a span per attempt, sampled.
pub fn traceparent(task_uid: &str, slot: impl Into<Slot>) -> String {
    let Slot { number, fallback } = slot.into();
    let fallback = if fallback { "-fallback" } else { "" };
    let [span, _] = hash::numbers(&format!("span\n{task_uid}\n{number}{fallback}"));
    format!("00-{}-{:016x}-01", trace_id(task_uid), span.max(1))
}

#[cfg(test)]
mod tests;
