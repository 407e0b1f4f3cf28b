//! The name, which the API server judges without the definition.

use super::schema_check::Fault;
use serde_json::Value;

const LONGEST: usize = 253;
/// What the API server keeps of a longer `generateName`.
const LONGEST_BASE: usize = 58;
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
    end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Stands for the five characters that the API server puts behind `generateName`.
const GENERATED: &str = "xxxxx";

/// Gives an object that has `generateName` and no name one of those that it may get.
pub(super) fn generate(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let has_name = metadata.get("name").is_some_and(|name| name != "");
    let base = metadata.get("generateName").and_then(Value::as_str).filter(|base| !base.is_empty() && !has_name);
    if let Some(base) = base {
        let base: String = base.chars().take(LONGEST_BASE).collect();
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
        _ => Vec::new(), // told as a matter of structure
    }
}

fn of_name(name: &str) -> Vec<Fault> {
    let say = |what: String| Fault::mild(format!("metadata.name: Invalid value: \"{name}\": {what}"));
    let mut faults = Vec::new();
    if name.len() > LONGEST {
        faults.push(say(format!("must be no more than {LONGEST} characters")));
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
