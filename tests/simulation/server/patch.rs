//! The two ways to patch.

use serde_json::{Map, Value};

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let target = as_object(target);
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Applies a strategic merge patch, as far as the lists below go: those merge, every other list is replaced.
pub fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let target = as_object(target);
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        target.clear();
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            delete_from_list(target, field, value);
        } else if value.is_null() {
            target.remove(key);
        } else if !key.starts_with('$') {
            let old = target.entry(key.clone()).or_insert(Value::Null);
            match (merge_key(key), value) {
                (Some(by), Value::Array(items)) => merge_list(old, by, items),
                _ => strategic(old, value),
            }
        }
    }
}

/// The field that tells the items of a list apart; empty for a set of plain values.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "finalizers" => Some(""),
        "ownerReferences" => Some("uid"),
        "conditions" => Some("type"),
        "containers" | "initContainers" | "env" | "volumes" => Some("name"),
        _ => None,
    }
}

fn merge_list(old: &mut Value, by: &str, items: &[Value]) {
    if !old.is_array() {
        *old = Value::Array(vec![]);
    }
    let Some(old) = old.as_array_mut() else { return };
    for item in items {
        let same = |other: &Value| if by.is_empty() { other == item } else { other[by] == item[by] };
        let delete = item.get("$patch").and_then(Value::as_str) == Some("delete");
        match old.iter().position(same) {
            Some(at) if delete => drop(old.remove(at)),
            Some(at) => strategic(&mut old[at], item),
            None if delete => {}
            None => old.push(item.clone()),
        }
    }
}

fn delete_from_list(target: &mut Map<String, Value>, field: &str, values: &Value) {
    let values = values.as_array().map_or(&[][..], Vec::as_slice);
    if let Some(list) = target.get_mut(field).and_then(Value::as_array_mut) {
        list.retain(|item| !values.contains(item));
    }
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made an object"),
    }
}
