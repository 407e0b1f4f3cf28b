//! A task whose spec or status this version cannot read.

use super::situation::is_finished;
use crate::api::{ConditionReason, ConditionType};
use crate::core::{condition_list, message};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

/// The status of a task whose spec or status cannot be read, with the reason; `None` if it says so already, or the task has
/// ended. Everything else in the status stays.
pub fn unreadable(before: &Value, message: &str, (now, generation): (Timestamp, Option<i64>)) -> Option<Value> {
    let list = before.get("conditions").cloned();
    let mut list: Vec<Condition> = list.and_then(|list| serde_json::from_value(list).ok()).unwrap_or_default();
    if is_finished(&list) {
        return None;
    }
    let message = message::short(message, message::MAX_MESSAGE_BYTES);
    let reason = ConditionReason::InvalidSpec;
    condition_list::set(&mut list, (ConditionType::Stalled, true), reason, &message, (now, generation));
    let mut after = before.as_object().cloned().unwrap_or_default();
    after.insert("observedGeneration".into(), json!(generation));
    after.insert("reason".into(), json!(reason.as_str()));
    after.insert("message".into(), json!(message));
    after.insert("conditions".into(), json!(list));
    Some(Value::Object(after)).filter(|after| after != before)
}
