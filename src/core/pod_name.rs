//! The name of an attempt's Pod.

use super::hash;
use super::slot::Slot;

/// Longest Pod name that is also a host name (RFC 1123).
const MAX_LENGTH: usize = 63;
const HASH_LENGTH: usize = 6;

/// The name of the Pod of an attempt or of the fallback. It follows from the task's name, its UID and the slot: when
/// two processes create the Pod of one attempt, the API server accepts one of them. The hash keeps it apart from the
/// Pods of an earlier task of the same name.
pub fn pod_name(task_name: &str, task_uid: &str, slot: impl Into<Slot>) -> String {
    let Slot { number, fallback } = slot.into();
    let fallback = if fallback { "-fallback" } else { "" };
    let suffix = format!("-{}-{number}{fallback}", hash::name(&format!("{task_name}\n{task_uid}"), HASH_LENGTH));
    let keep = MAX_LENGTH.saturating_sub(suffix.len());
    let cut: String = task_name.chars().take(keep).collect();
    // A dot or a dash before the dash of the suffix would make an invalid DNS name.
    format!("{}{suffix}", cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests;
