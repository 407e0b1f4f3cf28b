//! The termination report: a JSON object that a task leaves as its termination message.
//!
//! The kubelet keeps the last 4,096 bytes of the file, so a longer report loses its beginning. All containers of a Pod
//! share 12 KiB equally. The kubelet cuts a longer message there, and keeps its beginning.

use super::message::{self, MAX_MESSAGE_BYTES, MAX_WORD_BYTES, short};
use serde_json::{Map, Value};
use std::fmt;

/// Bytes that the kubelet keeps of the file: its end.
const MAX_FILE_BYTES: usize = 4096;
/// Bytes that the termination messages of all containers of a Pod share. Each keeps its beginning.
const MAX_POD_BYTES: usize = 12 * 1024;
/// Most bytes of an invalid value that are quoted in a message.
const MAX_QUOTED_BYTES: usize = 64;
/// Most bytes of a checkpoint.
const MAX_CHECKPOINT_BYTES: usize = 1024;
/// Most of `errorTypes` that count.
const MAX_ERROR_TYPES: usize = 16;
/// The longest escape sequence at which a string can be cut: a pair of surrogates.
const LONGEST_ESCAPE: usize = "\\ud83d\\ude00".len();

/// What a task reports of its own failure or success, as a JSON object in its termination message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminationReport {
    /// What kinds of error it was, the most specific first: `errorType`, then `errorTypes`.
    pub error_types: Vec<String>,
    /// `message`: what happened, uncut.
    pub message: Option<String>,
    /// `retryAfterSeconds`: the shortest wait before the next attempt, in seconds.
    pub retry_after_seconds: Option<i64>,
    /// `doNotRetry`: a retry cannot help.
    pub do_not_retry: bool,
    /// `result`: the result of the work.
    pub result: Option<String>,
    /// `partial`: which part of the work failed, though the rest is done.
    pub partial: Option<Partial>,
    /// `checkpoint`: from where the next attempt can go on. Empty: from the start.
    pub checkpoint: Option<String>,
    /// Which parts could not be read, as a message for people.
    pub unread: Option<String>,
    /// Whether the text is a report, or a part of one, and not a log.
    pub is_report: bool,
}

/// A part of the work that failed, though the rest is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// How many items failed, from 0.
    pub failed: u64,
    /// Of how many, at least `failed`, if the task has said so.
    pub total: Option<u64>,
}

impl Partial {
    /// Whether anything failed.
    pub const fn has_failed(self) -> bool {
        self.failed > 0
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total} failed", self.failed),
            None => write!(f, "{} failed", self.failed),
        }
    }
}

impl TerminationReport {
    /// The most specific kind of error.
    pub fn error_type(&self) -> Option<&String> {
        self.error_types.first()
    }
}

/// Reads the termination message of a container. `containers` is how many containers the Pod has. A message that is not
/// a JSON object is plain text and gives an empty report. Of an object that was cut, the complete members count, and
/// the rest of its `message`.
pub fn termination_report(termination_message: &str, containers: usize) -> TerminationReport {
    let text = termination_message.trim();
    if let Some(object) = object(text) {
        return read(&object, None);
    }
    let limit = MAX_FILE_BYTES.min(MAX_POD_BYTES / containers.max(1));
    if termination_message.len() < limit {
        return TerminationReport::default();
    }
    let bytes = if limit < 1000 { limit.to_string() } else { format!("{},{:03}", limit / 1000, limit % 1000) };
    let shared =
        if limit < MAX_FILE_BYTES { format!(" ({containers} containers share 12 KiB)") } else { String::new() };
    if let Some(members) = cut_object(text) {
        let cut = format!("the termination report was cut at {bytes} bytes{shared}: the rest of it could not be read");
        return read(&members, Some(cut));
    }
    if limit < MAX_FILE_BYTES {
        let unread =
            format!("the termination message was cut at {bytes} bytes{shared}: a report in it could not be read");
        // Only a log has several lines.
        return TerminationReport {
            unread: Some(unread),
            is_report: !text.contains('\n'),
            ..TerminationReport::default()
        };
    }
    let last_line = text.lines().next_back().unwrap_or_default();
    if text.ends_with('}') && object(last_line.trim()).is_none() {
        let unread = format!(
            "the termination report was longer than {bytes} bytes: its beginning was cut off, and it could not be read"
        );
        return TerminationReport { unread: Some(unread), is_report: true, ..TerminationReport::default() };
    }
    TerminationReport::default()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}

fn read(object: &Map<String, Value>, cut: Option<String>) -> TerminationReport {
    let mut members = Members { object, unread: cut.into_iter().collect() };
    let error_type = members.take("errorType", "a string", text);
    let error_types = members.take("errorTypes", "a list of strings", texts);
    let message = members.take("message", "a string", text);
    let retry_after_seconds = members.take("retryAfterSeconds", "a number of seconds from 0 on", seconds);
    let do_not_retry = members.take("doNotRetry", "true or false", boolean);
    let partial = members.take("partial", "{\"failed\": a number, \"total\": a number that is no smaller}", partial);
    let checkpoint = members.checkpoint();
    let result = object.get("result").filter(|value| !value.is_null()).map(|value| match value {
        Value::String(s) => short(s, MAX_MESSAGE_BYTES),
        other => short(&other.to_string(), MAX_MESSAGE_BYTES),
    });
    let error_types = members.first_error_types(error_type.into_iter().chain(error_types.unwrap_or_default()));
    let unread = members.unread;
    TerminationReport {
        error_types,
        message: message.as_deref().and_then(message::full),
        retry_after_seconds,
        do_not_retry: do_not_retry.unwrap_or(false),
        result,
        partial,
        checkpoint,
        unread: (!unread.is_empty()).then(|| unread.join("; ")),
        is_report: true,
    }
}

/// The members of a report, and messages about the invalid ones.
struct Members<'a> {
    object: &'a Map<String, Value>,
    unread: Vec<String>,
}

impl Members<'_> {
    fn take<T>(&mut self, key: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.object.get(key).filter(|value| !value.is_null())?;
        let known = read(value);
        if known.is_none() {
            let quoted = short(&value.to_string(), MAX_QUOTED_BYTES);
            self.unread.push(format!("{key} {quoted} is not {expected}: ignored"));
        }
        known
    }

    /// A text as it is, other JSON as text. It goes into an environment variable, whole or not at all.
    fn checkpoint(&mut self) -> Option<String> {
        let value = self.object.get("checkpoint").filter(|value| !value.is_null())?;
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let problem = if text.len() > MAX_CHECKPOINT_BYTES {
            format!("is {} bytes long, and more than {MAX_CHECKPOINT_BYTES}", text.len())
        } else if text.contains('\0') {
            "has a NUL character, which no variable can have".into()
        } else {
            return Some(text);
        };
        self.unread.push(format!("checkpoint {problem}: ignored, an earlier one stays"));
        None
    }

    /// Each once, the first of them alone if there are too many.
    fn first_error_types(&mut self, all: impl Iterator<Item = String>) -> Vec<String> {
        let mut types: Vec<String> = Vec::new();
        for type_ in all.map(|type_| short(&type_, MAX_WORD_BYTES)).filter(|type_| !type_.is_empty()) {
            if types.contains(&type_) {
                continue;
            }
            if types.len() == MAX_ERROR_TYPES {
                self.unread
                    .push(format!("errorTypes has more than {MAX_ERROR_TYPES}: the first {MAX_ERROR_TYPES} count"));
                break;
            }
            types.push(type_);
        }
        types
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

/// Whole seconds, rounded up, so that the wait is never shorter than requested. Some programs write numbers as text.
fn seconds(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return (whole >= 0).then_some(whole);
    }
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let up = number.map(f64::ceil).filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    #[allow(clippy::cast_possible_truncation)] // a number beyond the range becomes its end
    Some(up as i64)
}

fn partial(value: &Value) -> Option<Partial> {
    let members = value.as_object()?;
    let failed = count(members.get("failed")?)?;
    let total = members.get("total").filter(|total| !total.is_null()).map(count);
    match total {
        None => Some(Partial { failed, total: None }),
        Some(total) => total.filter(|total| *total >= failed).map(|total| Partial { failed, total: Some(total) }),
    }
}

/// A whole number from 0. Some programs write numbers as text.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn boolean(value: &Value) -> Option<bool> {
    let text = || value.as_str().and_then(|text| text.trim().to_ascii_lowercase().parse().ok());
    value.as_bool().or_else(text)
}

/// The members that can be read of an object that was cut.
fn cut_object(text: &str) -> Option<Map<String, Value>> {
    let rest = text.strip_prefix('{')?;
    let (mut depth, mut in_string, mut escaped, mut complete) = (0_usize, false, false, 0);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return None, // the object was not cut: it is invalid in another way
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => complete = at,
            _ => {}
        }
    }
    let (whole, last) = (rest.get(..complete)?, rest.get(complete..)?);
    let mut members = object(&format!("{{{whole}}}"))?;
    members.extend(cut_member(last.trim_start_matches(',')).unwrap_or_default());
    Some(members)
}

/// The last member before the cut, if it is complete, or the part of a `message` that is left. A number does not count:
/// its last digits may be missing.
fn cut_member(text: &str) -> Option<Map<String, Value>> {
    if let Some(member) = object(&format!("{{{text}}}")) {
        return Some(member).filter(|member| !member.values().any(Value::is_number));
    }
    let shortest = text.len().saturating_sub(LONGEST_ESCAPE);
    let mut parts = (shortest..=text.len()).rev().filter_map(|end| text.get(..end));
    let mut part = parts.find_map(|part| object(&format!("{{{part}\"}}")))?;
    part.retain(|key, _| key == "message");
    for text in part.values_mut() {
        *text = text.as_str().map(|text| text.trim_end_matches('\u{fffd}').into()).unwrap_or_default();
    }
    Some(part)
}

#[cfg(test)]
mod tests;
