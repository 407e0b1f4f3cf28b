//! Prepares an object as the API server does before validation: nulls are dropped, defaults are set.

use super::Notation;
use serde_json::{Map, Value};

/// Drops nulls and sets defaults.
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
    // Nothing in the definition is nullable, so the API server drops a known field that is null.
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

/// The schema of a field or of a map's value. None if it is unknown.
pub(super) fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let known = schema.get("properties").and_then(|properties| properties.get(key));
    known.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
}

/// Converts a plain text that YAML 1.1 reads as a boolean or an octal number, if the schema requires that type.
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
