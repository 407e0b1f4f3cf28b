//! The schema of the custom resource: prunes unknown fields, sets defaults, validates types and limits.

use super::{error::ApiError, resource::Resource, route::Call};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The schemas of the custom resources, without which everything is accepted.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The `openAPIV3Schema` of tasks.
    tasks: Option<Arc<Value>>,
    /// That of queues.
    queues: Option<Arc<Value>>,
    /// That of schedules.
    schedules: Option<Arc<Value>>,
    /// The fields by which tasks can be selected.
    selectable: Vec<String>,
}

impl Schema {
    /// The schema of tasks in this `CustomResourceDefinition`.
    pub fn of(definition: &Value) -> Self {
        let version = &definition["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        assert!(schema.is_object(), "the definition has no schema");
        let selectable = version["selectableFields"].as_array().into_iter().flatten();
        let paths = selectable.filter_map(|field| field["jsonPath"].as_str());
        let selectable = paths.map(|path| path.trim_start_matches('.').into()).collect();
        Self { tasks: Some(schema.clone().into()), queues: None, schedules: None, selectable }
    }

    /// The same, with the schema of queues in this `CustomResourceDefinition`.
    pub fn with_queues(self, definition: &Value) -> Self {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(schema.is_object(), "the definition has no schema");
        Self { queues: Some(schema.clone().into()), ..self }
    }

    /// The same, with the schema of schedules in this `CustomResourceDefinition`.
    pub fn with_schedules(self, definition: &Value) -> Self {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(schema.is_object(), "the definition has no schema");
        Self { schedules: Some(schema.clone().into()), ..self }
    }

    /// The same of an older API server, which selects by no field of the resource's own.
    pub fn without_selectable_fields(self) -> Self {
        Self { selectable: vec![], ..self }
    }

    /// Whether the call selects by fields that can be selected.
    pub fn check_selector(&self, call: &Call) -> Result<(), ApiError> {
        let is_known = |path: &&str| path.starts_with("metadata.") || self.selectable.iter().any(|known| known == path);
        match call.selector.fields().find(|path| !is_known(path)) {
            Some(unknown) if call.resource == Resource::Tasks => Err(ApiError::unknown_field(unknown)),
            Some(_) | None => Ok(()),
        }
    }

    /// Prunes, defaults and validates the object, or only its status if only that is written.
    pub fn admit(&self, resource: Resource, name: &str, object: &mut Value, status: bool) -> Result<(), ApiError> {
        let schema = match resource {
            Resource::Tasks => &self.tasks,
            Resource::Queues => &self.queues,
            Resource::Schedules => &self.schedules,
            _ => &None,
        };
        let Some(schema) = schema else { return Ok(()) };
        let whole = &schema["properties"]["status"];
        if let (false, Some(default)) = (object["status"].is_object(), whole.get("default")) {
            object["status"] = default.clone();
        }
        for field in if status { ["status"].as_slice() } else { &["spec"] } {
            let (Some(value), schema) = (object.get_mut(field), &schema["properties"][field]) else { continue };
            prune(value, schema);
            default(value, schema);
            if let Some(why) = fault(value, schema) {
                return Err(ApiError::invalid(resource, name, format!("{field}{why}")));
            }
        }
        Ok(())
    }
}

fn kept(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == json!(true)
}

fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema["properties"].get(key).or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()))
}

fn prune(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| property(schema, key).is_some() || kept(schema));
            for (key, value) in map {
                if let Some(schema) = property(schema, key) {
                    prune(value, schema);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"])),
        _ => {}
    }
}

fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
                let nullable = schema["nullable"] == json!(true);
                let missing = map.get(key).is_none_or(|v| v.is_null() && !nullable);
                if let (true, Some(value)) = (missing, schema.get("default")) {
                    map.insert(key.clone(), value.clone());
                }
            }
            for (key, value) in map {
                if let Some(schema) = property(schema, key) {
                    default(value, schema);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| default(item, &schema["items"])),
        _ => {}
    }
}

/// What is wrong with the value: the rest of the path to it, and why.
fn fault(value: &Value, schema: &Value) -> Option<String> {
    let say = |what: String| Some(format!(": {what}"));
    if value.is_null() {
        let fine = schema["nullable"] == json!(true) || (kept(schema) && schema.get("type").is_none());
        return if fine { None } else { say("Invalid value: \"null\"".into()) };
    }
    let int_or_string = schema["x-kubernetes-int-or-string"] == json!(true);
    let fits = match schema["type"].as_str() {
        _ if int_or_string => value.is_i64() || value.is_string(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        return say(format!("Invalid value: {value}: must be of type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        return say(format!("Unsupported value: {value}"));
    }
    limit(value, schema).and_then(say).or_else(|| match value {
        Value::Object(map) => fault_in_map(map, schema),
        Value::Array(items) => {
            let mut faults = items.iter().enumerate();
            faults.find_map(|(i, item)| Some(format!("[{i}]{}", fault(item, &schema["items"])?)))
        }
        _ => None,
    })
}

fn fault_in_map(map: &Map<String, Value>, schema: &Value) -> Option<String> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|field| !map.contains_key(*field)) {
        return Some(format!(".{missing}: Required value"));
    }
    map.iter().find_map(|(key, value)| Some(format!(".{key}{}", fault(value, property(schema, key)?)?)))
}

fn limit(value: &Value, schema: &Value) -> Option<String> {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    let (least, most) = match value {
        Value::String(_) => ("minLength", "maxLength"),
        Value::Array(_) => ("minItems", "maxItems"),
        _ => ("minProperties", "maxProperties"),
    };
    let bound = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
    if bound(most).is_some_and(|most| size > most) {
        return Some(format!("Too long: may not be more than {}", schema[most]));
    }
    if bound(least).is_some_and(|least| size < least) {
        return Some(format!("Too short: must be at least {}", schema[least]));
    }
    let number = value.as_f64()?;
    let below = schema["minimum"].as_f64().is_some_and(|minimum| number < minimum);
    let above = schema["maximum"].as_f64().is_some_and(|maximum| number > maximum);
    (below || above).then(|| format!("Invalid value: {value}: out of range"))
}
