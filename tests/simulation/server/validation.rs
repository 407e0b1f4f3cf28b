//! Validation of objects and of their changes.

use super::{error::ApiError, resource::Resource, route::Call};
use serde_json::{Map, Value, json};

/// The map at this field of the object (the object itself for an empty name), made if need be.
pub fn object<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let value = if field.is_empty() { value } else { &mut value[field] };
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made an object"),
    }
}

/// Sets or removes a field.
pub fn set(map: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(field.into(), value)),
        None => drop(map.remove(field)),
    }
}

/// Checks that the body is an object of the resource that the path names.
pub fn well_formed(call: &Call, body: &Value) -> Result<(), ApiError> {
    let resource = call.resource;
    let mismatch = |field: &str, expected: &str| body[field].as_str().is_some_and(|given| given != expected);
    if !body.is_object() || mismatch("kind", resource.kind()) || mismatch("apiVersion", &resource.api_version()) {
        let why = format!("the object provided is not a {} of {}", resource.kind(), resource.api_version());
        return Err(ApiError::bad_request(why));
    }
    let given = |field: &str| body["metadata"][field].as_str().filter(|v| !v.is_empty());
    if given("namespace").is_some_and(|ns| call.namespace.as_deref() != Some(ns)) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(why));
    }
    if call.name.as_deref().is_some_and(|name| given("name") != Some(name)) {
        return Err(ApiError::bad_request("the name of the object does not match the name on the URL"));
    }
    Ok(())
}

/// Strict field validation: no field that the type does not know.
pub fn strict(resource: Resource, object: &Value) -> Result<(), ApiError> {
    if resource != Resource::Pods {
        return Ok(());
    }
    let typed: k8s_openapi::api::core::v1::Pod = serde_json::from_value(object.clone())
        .map_err(|e| ApiError::bad_request(format!("Pod in version \"v1\" cannot be handled as a Pod: {e}")))?;
    let known = serde_json::to_value(typed).map_err(|e| ApiError::bad_request(e.to_string()))?;
    match unknown_field(object, &known, "") {
        Some(field) => Err(ApiError::bad_request(format!("strict decoding error: unknown field \"{field}\""))),
        None => Ok(()),
    }
}

fn unknown_field(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), known) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let empty = matches!(value, Value::Null) || value.as_array().is_some_and(Vec::is_empty);
            match known.get(key) {
                Some(known) => unknown_field(value, known, &path),
                None if empty || value.as_object().is_some_and(Map::is_empty) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).enumerate().find_map(|(i, (g, k))| unknown_field(g, k, &format!("{path}[{i}]")))
        }
        _ => None,
    }
}

/// Sets the defaults of a new Pod, as far as anybody reads them.
pub fn pod_defaults(pod: &mut Value) {
    let spec = object(pod, "spec");
    spec.entry("restartPolicy").or_insert(json!("Always"));
    spec.entry("terminationGracePeriodSeconds").or_insert(json!(30));
    spec.entry("dnsPolicy").or_insert(json!("ClusterFirst"));
    spec.entry("schedulerName").or_insert(json!("default-scheduler"));
    spec.entry("serviceAccountName").or_insert(json!("default"));
    spec.entry("securityContext").or_insert(json!({}));
    spec.entry("enableServiceLinks").or_insert(json!(true));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let container = object(container, "");
            container.entry("terminationMessagePath").or_insert(json!("/dev/termination-log"));
            container.entry("terminationMessagePolicy").or_insert(json!("File"));
            container.entry("imagePullPolicy").or_insert(json!("Always"));
            container.entry("resources").or_insert(json!({}));
        }
    }
    pod["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
}

/// Removes empty metadata, which the server does not store, and the managed fields, which the server itself notes.
pub fn tidy(value: &mut Value) {
    let metadata = object(value, "metadata");
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    metadata.retain(|_, v| match v {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

/// Notes when this manager wrote the object, or its status. The real server also says which fields.
pub fn note_manager(object: &mut Value, manager: &str, is_status: bool, time: &str) {
    let subresource = if is_status { json!("status") } else { Value::Null };
    let mut entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.retain(|entry| entry["manager"] != manager || entry["subresource"] != subresource);
    let mut entry = json!({"manager": manager, "operation": "Update", "time": time});
    if is_status {
        entry["subresource"] = subresource;
    }
    entries.push(entry);
    object["metadata"]["managedFields"] = Value::Array(entries);
}

/// The fields whose changes increment the generation.
pub fn spec(value: &Value) -> Vec<(&String, &Value)> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status" | "kind" | "apiVersion")).collect()
}

/// Whether this update removes the last finalizer of an object that is being deleted.
pub fn gone_without_finalizers(new: &Value, old: &Value) -> bool {
    let deleted = old["metadata"]["deletionTimestamp"].is_string();
    let grace = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    deleted && grace == 0 && !new["metadata"]["finalizers"].is_array()
}

/// Metadata that says which object this is cannot change.
pub fn same_identity(resource: Resource, name: &str, new: &Value, old: &Value) -> Result<(), ApiError> {
    for field in ["uid", "name", "namespace"] {
        let given = new["metadata"][field].as_str().filter(|v| !v.is_empty());
        if let Some(given) = given
            && old["metadata"][field] != given
        {
            let why = format!("metadata.{field}: Invalid value: \"{given}\": field is immutable");
            return Err(ApiError::invalid(resource, name, why));
        }
    }
    Ok(())
}

/// Checks a new object.
pub fn valid(resource: Resource, name: &str, object: &Value) -> Result<(), ApiError> {
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() || name.len() > 253 || !name.chars().all(dns) || !name.starts_with(edge) || !name.ends_with(edge)
    {
        let why = format!("metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain");
        return Err(ApiError::invalid(resource, name, why));
    }
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or("\n");
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if value.len() > 63 || !value.chars().all(letter) {
            return Err(ApiError::invalid(resource, name, format!("metadata.labels: Invalid value: {key}={value}")));
        }
    }
    match resource {
        Resource::Pods => valid_pod(name, object),
        Resource::Events => valid_event(name, object),
        Resource::Schedules => valid_schedule(name),
        Resource::Tasks | Resource::Queues | Resource::Leases | Resource::ClusterEvents | Resource::Nodes => Ok(()),
    }
}

/// The rule of the definition on a schedule's name, which goes into those of its tasks.
fn valid_schedule(name: &str) -> Result<(), ApiError> {
    if name.len() <= 49 { Ok(()) } else { Err(ApiError::invalid(Resource::Schedules, name, "at most 49 characters")) }
}

fn valid_pod(name: &str, pod: &Value) -> Result<(), ApiError> {
    let invalid = |why: String| Err(ApiError::invalid(Resource::Pods, name, why));
    let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
    if containers.is_empty() {
        return invalid("spec.containers: Required value".into());
    }
    let init = pod["spec"]["initContainers"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names = std::collections::BTreeSet::new();
    for (i, container) in containers.iter().chain(init).enumerate() {
        let container_name = container["name"].as_str().unwrap_or("");
        if container_name.is_empty() || !names.insert(container_name) {
            return invalid(format!("spec.containers[{i}].name: Duplicate or missing value: \"{container_name}\""));
        }
        if container["image"].as_str().is_none_or(str::is_empty) {
            return invalid(format!("spec.containers[{i}].image: Required value"));
        }
    }
    Ok(())
}

fn valid_event(name: &str, event: &Value) -> Result<(), ApiError> {
    let length = |field: &str| event[field].as_str().map_or(0, str::len);
    let required = ["reportingController", "reportingInstance", "action", "reason", "eventTime", "type"];
    if let Some(field) = required.into_iter().find(|field| length(field) == 0) {
        return Err(ApiError::invalid(Resource::Events, name, format!("{field}: Required value")));
    }
    let limits = [("note", 1024), ("reason", 128), ("action", 128), ("reportingInstance", 128)];
    if let Some((field, limit)) = limits.into_iter().find(|(field, limit)| length(field) > *limit) {
        return Err(ApiError::invalid(Resource::Events, name, format!("{field}: can have at most {limit} characters")));
    }
    Ok(())
}

/// Checks a change of an object.
pub fn valid_update(resource: Resource, name: &str, new: &Value, old: &Value) -> Result<(), ApiError> {
    let list = |v: &Value| v["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let (after, before) = (list(new), list(old));
    if old["metadata"]["deletionTimestamp"].is_string() && after.iter().any(|f| !before.contains(f)) {
        let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
        return Err(ApiError::invalid(resource, name, why));
    }
    if resource == Resource::Pods {
        valid_pod_update(name, new, old)?;
    }
    valid(resource, name, new)
}

/// A Pod's deadline may be set and lowered; the rest of its spec stays once it has a node.
fn valid_pod_update(name: &str, new: &Value, old: &Value) -> Result<(), ApiError> {
    let deadline = |pod: &Value| pod["spec"]["activeDeadlineSeconds"].as_i64();
    let why = match (deadline(old), deadline(new)) {
        (Some(before), Some(after)) if after > before => "must be less than or equal to previous value",
        (Some(_), None) => "must not update from a positive integer to nil value",
        (_, Some(..1)) => "must be between 1 and 2147483647, inclusive",
        _ => "",
    };
    if !why.is_empty() {
        return Err(ApiError::invalid(
            Resource::Pods,
            name,
            format!("spec.activeDeadlineSeconds: Invalid value: {why}"),
        ));
    }
    let rest = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        spec.as_object_mut().map(|spec| spec.remove("activeDeadlineSeconds"));
        spec
    };
    if old["spec"]["nodeName"].is_string() && rest(new) != rest(old) {
        let why = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`, ...";
        return Err(ApiError::invalid(Resource::Pods, name, why));
    }
    Ok(())
}
