//! The containers of a Pod template: which one is the main container, and which templates are invalid.

use crate::api::{MAIN_CONTAINER, RetryableTaskSpec};
use serde_json::Value;

/// The annotation by which kubectl and this operator know a Pod's main container.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The template's ordinary containers.
pub fn containers(template: Option<&Value>) -> &[Value] {
    list(template, "containers")
}

/// A container's name.
pub fn name_of(container: &Value) -> Option<&str> {
    container.get("name").and_then(Value::as_str)
}

/// The name of the main container: the one in kubectl's annotation on the template, else `task` if there is such a
/// container or the spec has an image, else the name of the first container.
pub fn main_container_name(spec: &RetryableTaskSpec) -> String {
    let containers = containers(spec.template.as_ref());
    let has = |name: &str| containers.iter().any(|container| name_of(container) == Some(name));
    let annotated = default_container(spec.template.as_ref()).filter(|name| has(name));
    let first = || containers.first().and_then(name_of).filter(|_| spec.image.is_none());
    let named = annotated.or_else(|| has(MAIN_CONTAINER).then_some(MAIN_CONTAINER)).or_else(first);
    named.unwrap_or(MAIN_CONTAINER).to_owned()
}

/// The main container in the template. None if the template does not have it.
pub fn main_container(spec: &RetryableTaskSpec) -> Option<&Value> {
    let name = main_container_name(spec);
    containers(spec.template.as_ref()).iter().find(|container| name_of(container) == Some(&name))
}

/// What is wrong with the templates, as a message to their author. Admission rejects the same.
pub fn problem(spec: &RetryableTaskSpec) -> Option<String> {
    let RetryableTaskSpec { image, template, on_failure, .. } = spec;
    if image.is_none() && containers(template.as_ref()).is_empty() {
        return Some("nothing to run: set spec.image, or give spec.template.spec.containers a container".into());
    }
    let attempts = problem_of(template.as_ref(), image.is_some(), "spec");
    attempts.or_else(|| {
        let fallback = on_failure.as_ref()?;
        problem_of(fallback.template.as_ref(), fallback.image.is_some(), "spec.onFailure")
    })
}

fn problem_of(template: Option<&Value>, has_image: bool, of: &str) -> Option<String> {
    let containers = containers(template);
    let has = |name: &str| containers.iter().any(|container| name_of(container) == Some(name));
    let annotated = default_container(template);
    if let Some(name) = annotated {
        let is_task = name == MAIN_CONTAINER;
        let is_clear = if containers.is_empty() { is_task } else { has(name) && (is_task || !has(MAIN_CONTAINER)) };
        if !is_clear {
            return Some(format!(
                "{of}.template: the annotation {DEFAULT_CONTAINER} names the main container: it must be one of the \
                 template's containers (task where there are none), and no other may be named task"
            ));
        }
    }
    if has_image && !containers.is_empty() && !has(MAIN_CONTAINER) && annotated.is_none() {
        return Some(format!(
            "{of}.image is for the container named task, and {of}.template.spec.containers has none: name the container \
             that does the work task, or move the image into it, or add one named task if all of them run beside it"
        ));
    }
    let init_containers = list(template, "initContainers");
    let ordinary = containers.iter().find_map(|container| restart_problem(container, &["Never"]));
    let init = || init_containers.iter().find_map(|container| restart_problem(container, &["Always", "Never"]));
    ordinary.or_else(init).map(|problem| format!("{of}.template: {problem}"))
}

/// What would restart the container within the attempt. An attempt runs its containers once.
fn restart_problem(container: &Value, policies: &[&str]) -> Option<String> {
    let name = name_of(container).unwrap_or_default();
    let policy = container.get("restartPolicy").filter(|policy| !policy.is_null());
    if policy.is_some_and(|policy| !policy.as_str().is_some_and(|policy| policies.contains(&policy))) {
        return Some(format!(
            "container {name} would be run again within the attempt: restartPolicy is {} or left out",
            policies.join(" or ")
        ));
    }
    let rules = container.get("restartPolicyRules").and_then(Value::as_array);
    rules
        .is_some_and(|rules| !rules.is_empty())
        .then(|| format!("container {name} would be run again within the attempt: remove restartPolicyRules"))
}

fn default_container(template: Option<&Value>) -> Option<&str> {
    template?.get("metadata")?.get("annotations")?.get(DEFAULT_CONTAINER)?.as_str()
}

fn list<'a>(template: Option<&'a Value>, field: &str) -> &'a [Value] {
    let list = template.and_then(|template| template.get("spec")?.get(field)?.as_array());
    list.map(Vec::as_slice).unwrap_or_default()
}
