//! The condition list of a status: one entry a type, written again only when it says something else.

use super::message::same_but_for_numbers;
use crate::api::{ConditionReason, ConditionType};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sets the condition. The transition time moves with `status` alone; a message that differs in its numbers only stays
/// as it is.
pub fn set(
    conditions: &mut Vec<Condition>,
    (type_, is): (ConditionType, bool),
    reason: ConditionReason,
    message: &str,
    (now, generation): (Timestamp, Option<i64>),
) {
    let new = Condition {
        type_: type_.as_str().into(),
        status: if is { "True" } else { "False" }.into(),
        reason: reason.as_str().into(),
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

/// Removes the condition: for kstatus, no `Reconciling` and no `Stalled` is how an object says that all is well.
pub fn remove(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|condition| condition.type_ != type_.as_str());
}

/// Whether the condition is there and true.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// The condition of that type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
