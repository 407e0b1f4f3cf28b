//! Validates an object by its schema: fields, types, lengths and enums.

use super::defaults::property;
use serde_json::Value;

/// One fault, in the API server's words.
pub(super) struct Fault {
    pub(super) message: String,
    /// Whether the API server then skips the CEL rules.
    pub(super) blocks: bool,
}

impl Fault {
    pub(super) fn blocking(message: String) -> Self {
        Self { message, blocks: true }
    }

    pub(super) fn non_blocking(message: String) -> Self {
        Self { message, blocks: false }
    }
}

/// Unknown fields. Strict field validation rejects them.
pub(super) fn unknown_fields(object: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_unknown(object, schema, "", &mut found);
    found
}

fn collect_unknown(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true || schema.get("type").is_none();
            for (key, value) in map {
                let path = join(path, key);
                match property(schema, key) {
                    Some(schema) => collect_unknown(value, schema, &path, found),
                    None if open => {}
                    None => found.push(format!("unknown field \"{path}\"")),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_unknown(item, &schema["items"], &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The object's faults by its schema. Fields come in the order of their names.
pub(super) fn faults(object: &Value, schema: &Value) -> Vec<Fault> {
    let mut found = Vec::new();
    collect(object, schema, "", &mut found);
    found
}

fn collect(value: &Value, schema: &Value, path: &str, found: &mut Vec<Fault>) {
    found.extend(type_fault(value, schema, path));
    found.extend(enum_fault(value, schema, path));
    found.extend(size_fault(value, schema, path));
    found.extend(range_fault(value, schema, path));
    match value {
        Value::Object(map) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut missing: Vec<&str> = required.filter(|field| !map.contains_key(*field)).collect();
            missing.sort_unstable();
            found.extend(
                missing.into_iter().map(|field| Fault::blocking(format!("{}: Required value", join(path, field)))),
            );
            for (key, value) in map {
                if let Some(schema) = property(schema, key) {
                    collect(value, schema, &join(path, key), found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &schema["items"], &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn type_fault(value: &Value, schema: &Value, path: &str) -> Option<Fault> {
    let wanted = match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => "integer,string",
        Some(wanted) => wanted,
        None => return None,
    };
    let is = type_name(value);
    let number_fits = wanted == "number" && is == "integer";
    let format = schema["format"].as_str().filter(|format| format.starts_with("int"));
    if wanted.split(',').any(|wanted| wanted == is) || number_fits {
        let small = value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
        let message =
            || format!("{path}: Invalid value: {value}: Checked value must be of type integer with format int32");
        return (wanted == "integer" && format == Some("int32") && !small).then(|| Fault::non_blocking(message()));
    }
    let (wanted, is) = match format {
        Some(format) if is == "number" => (format, "float64"),
        _ => (wanted, is),
    };
    Some(Fault::blocking(format!("{path}: Invalid value: \"{is}\": {path} in body must be of type {wanted}: \"{is}\"")))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn enum_fault(value: &Value, schema: &Value, path: &str) -> Option<Fault> {
    let values = schema["enum"].as_array()?;
    let supported: Vec<String> = values.iter().map(ToString::to_string).collect();
    let message = || format!("{path}: Unsupported value: {value}: supported values: {}", supported.join(", "));
    (!values.contains(value)).then(|| Fault::blocking(message()))
}

fn size_fault(value: &Value, schema: &Value, path: &str) -> Option<Fault> {
    let bound = |keyword: &str| schema[keyword].as_u64().and_then(|bound| usize::try_from(bound).ok());
    match value {
        Value::String(text) => {
            let length = text.chars().count();
            if let Some(most) = bound("maxLength").filter(|most| length > *most) {
                return Some(Fault::blocking(format!("{path}: Too long: may not be more than {most} bytes")));
            }
            let least = bound("minLength").filter(|least| length < *least)?;
            Some(Fault::non_blocking(format!(
                "{path}: Invalid value: {value}: {path} in body should be at least {least} chars long"
            )))
        }
        Value::Array(items) => {
            let count = items.len();
            if let Some(most) = bound("maxItems").filter(|most| count > *most) {
                return Some(Fault::blocking(format!("{path}: Too many: {count}: must have at most {most} items")));
            }
            let least = bound("minItems").filter(|least| count < *least)?;
            Some(Fault::non_blocking(format!(
                "{path}: Invalid value: {count}: {path} in body should have at least {least} items"
            )))
        }
        _ => None,
    }
}

fn range_fault(value: &Value, schema: &Value, path: &str) -> Option<Fault> {
    let number = value.as_f64()?;
    let bound = |keyword: &str| schema[keyword].as_f64();
    let (relation, bound) = match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if number < least => ("greater", least),
        (_, Some(most)) if number > most => ("less", most),
        _ => return None,
    };
    Some(Fault::non_blocking(format!(
        "{path}: Invalid value: {value}: {path} in body should be {relation} than or equal to {bound}"
    )))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
