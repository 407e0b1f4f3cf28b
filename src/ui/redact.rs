//! An object as YAML, without what is nobody's business: values of environment variables, and copies of the object.

use serde_json::{Map, Value};

/// What stands for a value that is not shown.
pub const HIDDEN: &str = "(not shown)";

/// Annotations that have a copy of the whole object.
const COPIES: [&str; 1] = ["kubectl.kubernetes.io/last-applied-configuration"];

/// The object as YAML, without values of environment variables, `managedFields`, and annotations with a copy of it.
pub fn yaml(mut object: Value) -> String {
    redact(&mut object);
    serde_yaml_ng::to_string(&object).unwrap_or_else(|error| format!("# it cannot be shown: {error}\n"))
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => redact_fields(fields),
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn redact_fields(fields: &mut Map<String, Value>) {
    fields.remove("managedFields");
    for copy in COPIES {
        fields.remove(copy);
    }
    for (name, value) in fields {
        match value {
            Value::Array(variables) if name == "env" => variables.iter_mut().for_each(hide_value),
            _ => redact(value),
        }
    }
}

fn hide_value(variable: &mut Value) {
    match variable.get_mut("value") {
        Some(value) => *value = HIDDEN.into(),
        None => redact(variable),
    }
}

#[cfg(test)]
mod tests;
