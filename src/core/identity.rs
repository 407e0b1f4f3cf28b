//! Names and numbers that follow from a task's UID: the same on every look, in every process.

use sha2::{Digest, Sha256};

/// Longest Pod name that is also a host name (RFC 1123).
const MAX_POD_NAME: usize = 63;
const HASH_LENGTH: usize = 6;
const TEMPLATE_HASH_LENGTH: usize = 10;

/// Which of a task's Pods: that of an attempt, or of the fallback that follows it. In the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The attempt's number, from 1; 0 for the fallback of a task that failed before its first.
    pub number: i32,
    /// Whether it is the fallback.
    pub fallback: bool,
}

impl From<i32> for Slot {
    fn from(number: i32) -> Self {
        Self { number, fallback: false }
    }
}

/// The name of the Pod of an attempt: a function of the task's name and UID and of the number, so that two creations of
/// one attempt meet at the API server. Cut to 63 characters; the hash keeps the names of a task's namesakes apart.
pub fn pod_name(task_name: &str, task_uid: &str, slot: impl Into<Slot>) -> String {
    let Slot { number, fallback } = slot.into();
    let fallback = if fallback { "-fallback" } else { "" };
    let suffix = format!("-{}-{number}{fallback}", hash_text(&format!("{task_name}\n{task_uid}"), HASH_LENGTH));
    let keep = MAX_POD_NAME.saturating_sub(suffix.len());
    let cut: String = task_name.chars().take(keep).collect();
    // A dot or a dash before the dash of the suffix would not be a DNS name.
    format!("{}{suffix}", cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
}

/// 64 bits that look random and depend on the task and the attempt alone: a restart, or another replica, throws the same dice.
pub fn jitter_seed(task_uid: &str, number: i32) -> u64 {
    first_u64(&Sha256::digest(format!("jitter\n{task_uid}\n{number}")))
}

/// The trace that all attempts of a task share: 32 hexadecimal digits, never all zero.
pub fn trace_id(task_uid: &str) -> String {
    let digits: String = task_uid.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() == 32 && digits.bytes().any(|b| b != b'0') {
        return digits;
    }
    // A UID that is no UUID.
    let digest = Sha256::digest(format!("trace\n{task_uid}"));
    let half = |from| first_u64(digest.get(from..).unwrap_or_default());
    format!("{:016x}{:016x}", half(0).max(1), half(8))
}

/// The W3C `traceparent` of an attempt (<https://www.w3.org/TR/trace-context/>): the task's trace, a span per attempt,
/// sampled.
pub fn traceparent(task_uid: &str, slot: impl Into<Slot>) -> String {
    let Slot { number, fallback } = slot.into();
    let fallback = if fallback { "-fallback" } else { "" };
    let span = first_u64(&Sha256::digest(format!("span\n{task_uid}\n{number}{fallback}"))).max(1);
    format!("00-{}-{span:016x}-01", trace_id(task_uid))
}

/// A short hash of what Pods are made from.
pub fn template_hash(template: &str) -> String {
    hash_text(template, TEMPLATE_HASH_LENGTH)
}

fn hash_text(input: &str, length: usize) -> String {
    // Without vowels and without characters that look alike, as in names that Kubernetes generates.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(input);
    digest.iter().take(length).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

fn first_u64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
