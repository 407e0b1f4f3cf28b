//! The condition list of a status: one entry for each type, changed only if its meaning changes.

use super::message::same_but_for_numbers;
use crate::api::{ConditionReason, ConditionType};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sets the condition. The transition time changes only when `status` does. A message that differs only in its numbers
/// stays as it is, which spares writes of the status.
pub fn set(
    conditions: &mut Vec<Condition>,
    (type_, is): (ConditionType, bool),
    reason: ConditionReason,
    message: &str,
    at: (Timestamp, Option<i64>),
) {
    set_for(conditions, (type_, is), reason.as_str(), message, at);
}

/// The same for a reason that others have chosen. If the API's rules do not allow it in a condition, it becomes
/// `Other`.
pub fn set_for(
    conditions: &mut Vec<Condition>,
    (type_, is): (ConditionType, bool),
    reason: &str,
    message: &str,
    at: (Timestamp, Option<i64>),
) {
    set_named(conditions, (type_.as_str(), is), reason, message, at);
}

/// The same for a condition of any type.
pub fn set_named(
    conditions: &mut Vec<Condition>,
    (type_, is): (&str, bool),
    reason: &str,
    message: &str,
    (now, generation): (Timestamp, Option<i64>),
) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(is_word)
        && reason.chars().all(|c| is_word(c) || matches!(c, ',' | ':'));
    let reason = if fits { reason } else { "Other" };
    let new = Condition {
        type_: type_.into(),
        status: if is { "True" } else { "False" }.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: Time(now),
        observed_generation: generation,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == new.type_) {
        None => conditions.push(new),
        Some(old) => {
            let last_transition_time =
                if old.status == new.status { old.last_transition_time.clone() } else { new.last_transition_time };
            let same = old.reason == new.reason && same_but_for_numbers(&old.message, &new.message);
            let message = if same { old.message.clone() } else { new.message };
            *old = Condition { last_transition_time, message, ..new };
        }
    }
}

/// Removes the condition. For kstatus, an object without `Reconciling` and `Stalled` is healthy.
pub fn remove(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|condition| condition.type_ != type_.as_str());
}

/// Whether the condition exists and is true.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// The condition of that type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

#[cfg(test)]
mod tests;
