//! Reads a file: YAML or JSON, several documents, and lists, as kubectl prints them.

use super::ConvertError;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_yaml_ng::Value;

/// An object of the file.
pub(super) struct Source {
    /// `apiVersion`.
    pub(super) version: String,
    /// `kind`.
    pub(super) kind: String,
    /// All of it, in its own order.
    pub(super) yaml: Value,
    /// The same for typed reading.
    pub(super) json: Json,
}

impl Source {
    /// The API group; empty for the core group.
    pub(super) fn group(&self) -> &str {
        self.version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Kind and name.
    pub(super) fn title(&self) -> String {
        let metadata = &self.json["metadata"];
        let name = metadata["name"].as_str().or_else(|| metadata["generateName"].as_str());
        let namespace = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        name.map_or_else(
            || format!("{} without a name", self.kind),
            |name| format!("{} \"{namespace}{name}\"", self.kind),
        )
    }
}

/// The objects in their order, those of lists included.
pub(super) fn objects(text: &str) -> Result<Vec<Source>, ConvertError> {
    let mut found = vec![];
    for (index, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let mut document = Value::deserialize(document)?;
        document.apply_merge()?;
        if !document.is_null() {
            add(document, index + 1, &mut found)?;
        }
    }
    Ok(found)
}

fn add(mut yaml: Value, number: usize, found: &mut Vec<Source>) -> Result<(), ConvertError> {
    let word = |key: &str| yaml.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (word("apiVersion"), word("kind"));
    if kind.is_empty() {
        return Err(ConvertError::NoObject(number));
    }
    if kind.ends_with("List") && yaml.get("items").is_some_and(Value::is_sequence) {
        for item in yaml.get_mut("items").and_then(Value::as_sequence_mut).into_iter().flatten() {
            // The items of a JobList have no kind of their own.
            if let (Some(item), Some(of)) =
                (item.as_mapping_mut(), kind.strip_suffix("List").filter(|of| !of.is_empty()))
            {
                item.entry("apiVersion".into()).or_insert(version.clone().into());
                item.entry("kind".into()).or_insert(of.into());
            }
            add(std::mem::take(item), number, found)?;
        }
        return Ok(());
    }
    octal_modes(&mut yaml);
    let json = serde_json::to_value(&yaml).map_err(serde::de::Error::custom).map_err(ConvertError::Syntax)?;
    found.push(Source { version, kind, yaml, json });
    Ok(())
}

/// kubectl reads YAML 1.1, in which `0644` is an octal number. Here it is a text, which a field of a number does not take.
fn octal_modes(value: &mut Value) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                let is_mode = matches!(key.as_str(), Some("mode" | "defaultMode"));
                let octal = value.as_str().filter(|_| is_mode).and_then(|text| text.strip_prefix('0'));
                match octal.and_then(|digits| i64::from_str_radix(digits.strip_prefix('o').unwrap_or(digits), 8).ok()) {
                    Some(mode) => *value = mode.into(),
                    None => octal_modes(value),
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(octal_modes),
        _ => {}
    }
}
