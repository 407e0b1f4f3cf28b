//! Argo's podSpecPatch: what it gives the main container by the number of retries becomes overrides.

use super::super::mapping;
use super::super::notes::Notes;
use super::expression;
use serde_yaml_ng::{Mapping, Value};

/// Most attempts for which the patch is worked out: as many as there can be overrides, and the first.
const MAX_ATTEMPTS: i64 = 16;

/// Works the patch out for each attempt. `spec` has the retries and the Pod.
pub(super) fn convert(pod_patch: &str, path: &str, spec: &mut Mapping, notes: &mut Notes) {
    let retries = spec.get("maxRetries").and_then(Value::as_i64).unwrap_or(0);
    let last = retries.min(MAX_ATTEMPTS - 1);
    let Some(container) = main_container(spec) else { return };
    let base = container.get("resources").cloned().unwrap_or_default();
    let all: Result<Vec<Value>, String> =
        (0..=last).map(|retries| resources(pod_patch, retries).map(|patch| merged(&base, &patch))).collect();
    let all = match all {
        Ok(all) => all,
        Err(why) => return notes.refuse(path, &why),
    };
    if let Some(first) = all.first() {
        container.insert("resources".into(), first.clone());
    }
    let mut overrides: Vec<Value> = Vec::new();
    for (attempt, pair) in (2..).zip(all.windows(2)) {
        if let [before, after] = pair
            && before != after
        {
            let change = [("fromAttempt", Value::from(attempt)), ("resources", after.clone())];
            overrides.push(mapping(change).into());
        }
    }
    if overrides.is_empty() {
        return;
    }
    if retries > last {
        let text = format!("is worked out for {MAX_ATTEMPTS} attempts: later ones have what the last of these has");
        notes.differs(path, Some("overrides"), &text);
    }
    spec.insert("overrides".into(), overrides.into());
}

fn main_container(spec: &mut Mapping) -> Option<&mut Mapping> {
    spec.get_mut("template")?.get_mut("spec")?.get_mut("containers")?.get_mut(0)?.as_mapping_mut()
}

/// What the patch gives the container `main` at that number of retries.
fn resources(patch: &str, retries: i64) -> Result<Value, String> {
    const BY_HAND: &str =
        "only resources of the container main can be converted: write all else into overrides by hand";
    let filled = filled(patch, retries)?;
    let read: Value =
        serde_yaml_ng::from_str(&filled).map_err(|error| format!("invalid YAML after substitution: {error}"))?;
    let Some(map) = read.as_mapping() else { return Err(BY_HAND.into()) };
    let containers = map.get("containers").and_then(Value::as_sequence).filter(|_| map.len() == 1);
    let [container] = containers.map(Vec::as_slice).unwrap_or_default() else { return Err(BY_HAND.into()) };
    let fields = container.as_mapping().filter(|fields| fields.len() == 2);
    let is_main = container.get("name").and_then(Value::as_str) == Some("main");
    match fields.filter(|_| is_main).and_then(|fields| fields.get("resources")) {
        Some(resources) => Ok(resources.clone()),
        None => Err(BY_HAND.into()),
    }
}

/// The patch with the values of its expressions.
fn filled(patch: &str, retries: i64) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = patch;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, behind)) = after.split_once("}}") else { break };
        filled.push_str(before);
        let expression = inside.trim().trim_start_matches('=');
        let value = expression::value(expression, retries).ok_or_else(|| {
            format!(
                "{{{{{inside}}}}}: only numbers, retries, + - * / % ** and parentheses can be converted: write overrides by hand"
            )
        })?;
        filled.push_str(&value);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The amounts of the patch over those of the container.
fn merged(base: &Value, patch: &Value) -> Value {
    let (Some(base), Some(patch)) = (base.as_mapping(), patch.as_mapping()) else { return patch.clone() };
    let mut all = base.clone();
    for (key, value) in patch {
        let value = merged(all.get(key).unwrap_or(&Value::Null), value);
        all.insert(key.clone(), value);
    }
    all.into()
}
