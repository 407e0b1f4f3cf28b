//! The Pod of an attempt: the user's template, the main container, and what is ours. All merged as JSON, so that a field that this program does
//! not know reaches the API server.

use super::backoff;
use super::identity::{pod_name, traceparent};
use super::observe::DEFAULT_CONTAINER;
use super::rules;
use crate::api::{
    FINALIZER, GROUP, LABEL_ATTEMPT, LABEL_TASK_NAME, LABEL_TASK_UID, MAIN_CONTAINER, RetryableTask, RetryableTaskSpec,
};
use serde_json::{Map, Value, json};

/// What is wrong with the spec, in words for its author: what admission cannot see, or an older version of it let through.
pub fn problem(spec: &RetryableTaskSpec) -> Option<String> {
    if spec.image.is_none() && template_containers(spec).is_none_or(Vec::is_empty) {
        return Some("nothing to run: set spec.image, or give spec.template.spec.containers a container".into());
    }
    let backoff = spec.backoff.as_ref().and_then(backoff::problem).map(|problem| format!("spec.backoff: {problem}"));
    backoff.or_else(|| rules::problem(spec.rules.as_deref().unwrap_or_default()))
}

/// The Pod of attempt `number`, ready to be sent. Our own metadata and restart policy cannot be overridden by the template.
pub fn pod(task: &RetryableTask, number: i32, held: bool) -> Value {
    let template = task.spec.template.as_ref();
    let mut spec = object(template.and_then(|template| template.get("spec")));
    let main = main_container_name(&task.spec);
    let mut containers = array(spec.remove("containers").as_ref());
    place_main_container(&mut containers, &main, &task.spec);
    let env = own_env(task, number);
    for container in &mut containers {
        add_env(container, &env);
    }
    spec.insert("containers".into(), Value::Array(containers));
    if let Some(Value::Array(init_containers)) = spec.get_mut("initContainers") {
        for container in init_containers {
            add_env(container, &env);
        }
    }
    spec.insert("restartPolicy".into(), "Never".into());
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(task, number, held, &main),
        "spec": spec,
    })
}

fn metadata(task: &RetryableTask, number: i32, held: bool, main: &str) -> Value {
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let template = task.spec.template.as_ref().and_then(|template| template.get("metadata"));
    let mut labels = object(template.and_then(|metadata| metadata.get("labels")));
    // A label or annotation under our group is our word.
    let is_ours = |key: &str| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    labels.retain(|key, _| !is_ours(key));
    labels.insert(LABEL_TASK_NAME.into(), name.into());
    labels.insert(LABEL_TASK_UID.into(), uid.into());
    labels.insert(LABEL_ATTEMPT.into(), number.to_string().into());
    let mut annotations = object(template.and_then(|metadata| metadata.get("annotations")));
    annotations.retain(|key, _| !is_ours(key));
    annotations.insert(DEFAULT_CONTAINER.into(), main.into());
    let mut metadata = json!({
        "name": pod_name(name, uid, number),
        "namespace": task.metadata.namespace,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [{
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "RetryableTask",
            "name": name,
            "uid": uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    if held {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    metadata
}

fn template_containers(spec: &RetryableTaskSpec) -> Option<&Vec<Value>> {
    spec.template.as_ref()?.get("spec")?.get("containers")?.as_array()
}

fn name_of(container: &Value) -> Option<&str> {
    container.get("name").and_then(Value::as_str)
}

/// The container named `task`; without one, `task` is added if the spec has an image, else the first container is the main one.
fn main_container_name(spec: &RetryableTaskSpec) -> String {
    let containers = template_containers(spec).map(Vec::as_slice).unwrap_or_default();
    let has_task = containers.iter().any(|container| name_of(container) == Some(MAIN_CONTAINER));
    let first = containers.first().and_then(name_of).filter(|_| !has_task && spec.image.is_none());
    first.unwrap_or(MAIN_CONTAINER).to_owned()
}

fn place_main_container(containers: &mut Vec<Value>, main: &str, spec: &RetryableTaskSpec) {
    let position = containers.iter().position(|container| name_of(container) == Some(main));
    let index = position.unwrap_or_else(|| {
        containers.insert(0, json!({"name": main}));
        0
    });
    let Some(Value::Object(container)) = containers.get_mut(index) else { return };
    container.entry("terminationMessagePolicy").or_insert_with(|| "FallbackToLogsOnError".into());
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            container.insert(key.into(), value);
        }
    };
    set("image", spec.image.clone().map(Value::String));
    set("command", spec.command.clone().map(Value::from));
    set("args", spec.args.clone().map(Value::from));
    set("resources", spec.resources.clone());
    if let Some(env_from) = &spec.env_from {
        let template = array(container.get("envFrom"));
        container.insert("envFrom".into(), template.into_iter().chain(env_from.iter().cloned()).collect());
    }
    if let Some(env) = &spec.env {
        let merged = merged_env(&array(container.get("env")), env);
        container.insert("env".into(), Value::Array(merged));
    }
}

/// What a Pod is told of itself.
fn own_env(task: &RetryableTask, number: i32) -> Vec<Value> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let last = task.status.as_ref().and_then(|status| status.last_failure.as_ref());
    let mut env = vec![
        json!({"name": "RETRYABLE_TASK_NAME", "value": task.metadata.name}),
        json!({"name": "RETRYABLE_TASK_UID", "value": uid}),
        json!({"name": "RETRYABLE_ATTEMPT", "value": number.to_string()}),
        json!({"name": "RETRYABLE_MAX_RETRIES", "value": task.spec.max_retries.to_string()}),
        json!({"name": "TRACEPARENT", "value": traceparent(uid, number)}),
    ];
    if let Some(last) = last {
        env.push(json!({"name": "RETRYABLE_LAST_REASON", "value": last.reason}));
        env.extend(last.exit_code.map(|code| json!({"name": "RETRYABLE_LAST_EXIT_CODE", "value": code.to_string()})));
    }
    env
}

fn add_env(container: &mut Value, own: &[Value]) {
    if let Some(container) = container.as_object_mut() {
        let env = array(container.get("env"));
        // Ours first: the container's own variables may refer to them as $(RETRYABLE_ATTEMPT).
        let others = env.into_iter().filter(|variable| !own.iter().any(|ours| name_of(ours) == name_of(variable)));
        container.insert("env".into(), own.iter().cloned().chain(others).collect());
    }
}

/// `over` on top of `under`: a name that both have is taken from `over`, in its place there.
fn merged_env(under: &[Value], over: &[Value]) -> Vec<Value> {
    let is_over = |variable: &Value| over.iter().any(|o| name_of(o) == name_of(variable));
    under.iter().filter(|variable| !is_over(variable)).chain(over).cloned().collect()
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn array(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
