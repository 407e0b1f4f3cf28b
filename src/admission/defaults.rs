//! What the API server does to an object before it judges it: nulls go, defaults come.

use super::Notation;
use serde_json::{Map, Value};

/// Completes the object as the API server does.
pub(super) fn complete(value: &mut Value, schema: &Value, notation: Notation) {
    if notation == Notation::Yaml {
        read_as_yaml_1_1(value, schema);
    }
    match value {
        Value::Object(map) => complete_map(map, schema, notation),
        Value::Array(items) => items.iter_mut().for_each(|item| complete(item, &schema["items"], notation)),
        Value::Number(number) if schema["type"] == "integer" => {
            // 3.0 is an integer
            let whole = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() < 9e15);
            if let Some(n) = whole.and_then(|n| format!("{n:.0}").parse::<i64>().ok()) {
                *value = n.into();
            }
        }
        _ => {}
    }
}

fn complete_map(map: &mut Map<String, Value>, schema: &Value, notation: Notation) {
    // Nothing in the definition is nullable: a field that is known and null is as good as absent.
    map.retain(|key, value| !value.is_null() || property(schema, key).is_none());
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(default) = property.get("default").filter(|_| !map.contains_key(key)) {
            map.insert(key.clone(), default.clone());
        }
    }
    for (key, value) in map {
        if let Some(schema) = property(schema, key) {
            complete(value, schema, notation);
        }
    }
}

/// The schema of a field or of a map's value, if there is one.
pub(super) fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let known = schema.get("properties").and_then(|properties| properties.get(key));
    known.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
}

/// A plain word that YAML 1.1 takes for a truth value or a number in base eight, where the schema wants one.
fn read_as_yaml_1_1(value: &mut Value, schema: &Value) {
    let Some(word) = value.as_str() else { return };
    let read: Option<Value> = match schema["type"].as_str() {
        Some("boolean") => match word.to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" => Some(true.into()),
            "n" | "no" | "off" => Some(false.into()),
            _ => None,
        },
        Some("integer") => word
            .strip_prefix('0')
            .and_then(|digits| i64::from_str_radix(digits.strip_prefix('o').unwrap_or(digits), 8).ok())
            .map(Value::from),
        _ => None,
    };
    if let Some(read) = read {
        *value = read;
    }
}
