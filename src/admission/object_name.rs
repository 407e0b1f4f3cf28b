//! Validates the name. The API server does so for every resource, whatever its definition.

use super::schema_check::Fault;
use serde_json::Value;

const MAX_LENGTH: usize = 253;
/// The API server cuts a longer `generateName` to this length.
const MAX_BASE_LENGTH: usize = 58;
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
    end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Stands for the five characters that the API server appends to `generateName`.
const GENERATED: &str = "xxxxx";

/// Gives an object with `generateName` and no name one of its possible names.
pub(super) fn generate(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let has_name = metadata.get("name").is_some_and(|name| name != "");
    let base = metadata.get("generateName").and_then(Value::as_str).filter(|base| !base.is_empty() && !has_name);
    if let Some(base) = base {
        let base: String = base.chars().take(MAX_BASE_LENGTH).collect();
        metadata.insert("name".into(), format!("{base}{GENERATED}").into());
    }
}

pub(super) fn faults(object: &Value) -> Vec<Fault> {
    let metadata = &object["metadata"];
    match metadata.get("name").unwrap_or(&Value::Null) {
        Value::String(name) if !name.is_empty() => of_name(name),
        Value::String(_) | Value::Null => {
            vec![Fault::blocking("metadata.name: Required value: name or generateName is required".into())]
        }
        _ => Vec::new(), // the schema check reports it
    }
}

fn of_name(name: &str) -> Vec<Fault> {
    let say = |what: String| Fault::non_blocking(format!("metadata.name: Invalid value: \"{name}\": {what}"));
    let mut faults = Vec::new();
    if name.len() > MAX_LENGTH {
        faults.push(say(format!("must be no more than {MAX_LENGTH} characters")));
    }
    if !name.split('.').all(is_label) {
        faults.push(say(SUBDOMAIN.into()));
    }
    faults
}

fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}
