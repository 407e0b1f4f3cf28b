//! Builds the Pod of an attempt: the user's template, the main container and the operator's own metadata. They are
//! merged as JSON, so that a field that this version does not know reaches the API server.

use super::dependency::result_variable;
use super::main_container::{DEFAULT_CONTAINER, main_container_name, name_of};
use super::pod_name::pod_name;
use super::slot::Slot;
use super::trace_context::traceparent;
use super::{attempt_spec, condition_list, hash, kueue};
use crate::api::{
    ANNOTATION_COMPLETION, ANNOTATION_GENERATION, ANNOTATION_SCHEDULED_TIME, ANNOTATION_TEMPLATE_HASH, Completion,
    ConditionType, FINALIZER, GROUP, LABEL_ATTEMPT, LABEL_FALLBACK, LABEL_TASK_NAME, LABEL_TASK_UID, RetryableTask,
    RetryableTaskSpec,
};
use serde_json::{Map, Value, json};

const TEMPLATE_HASH_LENGTH: usize = 10;

/// The Pod of an attempt or of the fallback, as it is sent to the API server. The template cannot override the
/// operator's metadata and restart policy.
pub fn pod(task: &RetryableTask, slot: impl Into<Slot>, has_finalizer: bool) -> Value {
    let slot = slot.into();
    let of = &attempt_spec::spec_of(task, slot);
    let main = main_container_name(of);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(task, slot, has_finalizer, (of.template.as_ref(), &main)),
        "spec": pod_spec(of, &own_env(task, slot)),
    })
}

/// A hash of what the Pod is built from. It leaves out what depends on the status: nodes to avoid and the operator's
/// environment variables. So it changes only when the spec does.
pub fn template_hash(task: &RetryableTask, slot: Slot) -> String {
    let of = &attempt_spec::spec_anywhere(task, slot);
    let main = main_container_name(of);
    let (labels, annotations) = template_metadata(of.template.as_ref());
    let made_from = json!([main, of.completion, labels, annotations, pod_spec(of, &[])]);
    hash::name(&made_from.to_string(), TEMPLATE_HASH_LENGTH)
}

fn pod_spec(of: &RetryableTaskSpec, own_env: &[Value]) -> Map<String, Value> {
    let mut spec = object(of.template.as_ref().and_then(|template| template.get("spec")));
    let mut containers = array(spec.remove("containers").as_ref());
    place_main_container(&mut containers, &main_container_name(of), of);
    for container in &mut containers {
        add_env(container, own_env);
        match of.completion {
            Completion::MainContainer => {}
            Completion::AllContainers => default_message_policy(container),
        }
    }
    spec.insert("containers".into(), Value::Array(containers));
    if let Some(Value::Array(init_containers)) = spec.get_mut("initContainers") {
        for container in init_containers {
            add_env(container, own_env);
            default_message_policy(container);
        }
    }
    spec.insert("restartPolicy".into(), "Never".into());
    spec
}

/// The labels and annotations of the template, without those under the operator's group: only the operator sets these.
fn template_metadata(template: Option<&Value>) -> (Map<String, Value>, Map<String, Value>) {
    let metadata = template.and_then(|template| template.get("metadata"));
    let is_ours = |key: &str| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    let of = |field: &str| {
        let mut all = object(metadata.and_then(|metadata| metadata.get(field)));
        all.retain(|key, _| !is_ours(key));
        all
    };
    (of("labels"), of("annotations"))
}

fn metadata(task: &RetryableTask, slot: Slot, has_finalizer: bool, (template, main): (Option<&Value>, &str)) -> Value {
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let (mut labels, mut annotations) = template_metadata(template);
    kueue::copy_labels(task, &mut labels);
    labels.insert(LABEL_TASK_NAME.into(), name.into());
    labels.insert(LABEL_TASK_UID.into(), uid.into());
    labels.insert(LABEL_ATTEMPT.into(), slot.number.to_string().into());
    if slot.fallback {
        labels.insert(LABEL_FALLBACK.into(), "true".into());
    }
    annotations.insert(DEFAULT_CONTAINER.into(), main.into());
    let generation =
        task.metadata.generation.map(|generation| (ANNOTATION_GENERATION.into(), generation.to_string().into()));
    annotations.extend(generation);
    annotations.insert(ANNOTATION_TEMPLATE_HASH.into(), template_hash(task, slot).into());
    match task.spec.completion {
        Completion::MainContainer => {}
        all @ Completion::AllContainers => {
            annotations.insert(ANNOTATION_COMPLETION.into(), all.as_str().into());
        }
    }
    let mut metadata = json!({
        "name": pod_name(name, uid, slot),
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
    if has_finalizer {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    metadata
}

fn place_main_container(containers: &mut Vec<Value>, main: &str, spec: &RetryableTaskSpec) {
    let position = containers.iter().position(|container| name_of(container) == Some(main));
    let index = position.unwrap_or_else(|| {
        containers.insert(0, json!({"name": main}));
        0
    });
    let Some(container) = containers.get_mut(index) else { return };
    default_message_policy(container);
    let Some(container) = container.as_object_mut() else { return };
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
        let merged = attempt_spec::merged(array(container.get("env")), env);
        container.insert("env".into(), Value::Array(merged));
    }
}

/// The environment of an attempt: variables that every container gets.
fn own_env(task: &RetryableTask, slot: Slot) -> Vec<Value> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let mut env = vec![
        json!({"name": "RETRYABLE_TASK_NAME", "value": task.metadata.name}),
        json!({"name": "RETRYABLE_TASK_UID", "value": uid}),
        json!({"name": "RETRYABLE_ATTEMPT", "value": slot.number.to_string()}),
        json!({"name": "RETRYABLE_MAX_RETRIES", "value": task.spec.max_retries.to_string()}),
        json!({"name": "TRACEPARENT", "value": traceparent(uid, slot)}),
    ];
    let scheduled = task.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_SCHEDULED_TIME));
    env.extend(scheduled.map(|time| variable("RETRYABLE_SCHEDULED_TIME", time)));
    let Some(status) = &task.status else { return env };
    if let Some(last) = &status.last_failure {
        env.push(variable("RETRYABLE_LAST_REASON", &last.reason));
        env.extend(last.exit_code.map(|code| variable("RETRYABLE_LAST_EXIT_CODE", &code.to_string())));
    }
    for seen in &status.after {
        env.extend(seen.result.as_deref().map(|result| variable(&result_variable(&seen.task), result)));
    }
    env.extend(status.checkpoint.as_deref().map(|checkpoint| variable("RETRYABLE_CHECKPOINT", checkpoint)));
    if slot.fallback {
        env.push(variable("RETRYABLE_FALLBACK", "true"));
        if let Some(failure) = condition_list::find(&status.conditions, ConditionType::FailureTarget) {
            env.push(variable("RETRYABLE_FAILURE_REASON", &failure.reason));
            let last = status.history.last().filter(|entry| entry.run == status.run.map(|run| run.number));
            let text = last.and_then(|entry| entry.message.as_deref());
            // The condition's message has at most one line of the text, so a longer text is appended.
            let more = text.filter(|text| !failure.message.contains(text)).map(|text| format!("\n\n{text}"));
            let message = format!("{}{}", failure.message, more.unwrap_or_default());
            env.push(variable("RETRYABLE_FAILURE_MESSAGE", &message));
        }
        let run = status.run.map(|run| run.number);
        let entries: Vec<_> = status.history.iter().filter(|entry| entry.run == run).collect();
        env.push(variable("RETRYABLE_HISTORY", &serde_json::to_string(&entries).unwrap_or_default()));
    }
    env
}

/// A variable with exactly that value. The kubelet would replace `$(NAME)` in it, and reads `$$` as `$`.
fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value.replace('$', "$$")})
}

/// If a failed container leaves no termination message, the kubelet takes the end of its log. The user may set another
/// policy.
fn default_message_policy(container: &mut Value) {
    if let Some(container) = container.as_object_mut() {
        container.entry("terminationMessagePolicy").or_insert_with(|| "FallbackToLogsOnError".into());
    }
}

fn add_env(container: &mut Value, own: &[Value]) {
    if let Some(container) = container.as_object_mut() {
        let env = array(container.get("env"));
        // The operator's come first, so that the container's own variables can refer to them as $(RETRYABLE_ATTEMPT).
        let others = env.into_iter().filter(|variable| !own.iter().any(|ours| name_of(ours) == name_of(variable)));
        container.insert("env".into(), own.iter().cloned().chain(others).collect());
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn array(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
