//! The spec of one attempt or of the fallback: overrides, raised memory and nodes to avoid are applied.

use super::main_container::{containers, main_container, main_container_name, name_of};
use super::memory_raise;
use super::slot::Slot;
use crate::api::{
    Action, AttemptOverride, HistoryEntry, OnFailure, RetryableTask, RetryableTaskSpec, RetryableTaskStatus, StopReason,
};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Most nodes that one Pod prefers to avoid.
const MAX_AVOIDED: usize = 5;
/// The weight against the node of the last failure. The node of the one before has half of it, and so on.
const WEIGHT: i32 = 100;

/// The spec that the Pod is made from.
pub fn spec_of(task: &RetryableTask, slot: Slot) -> RetryableTaskSpec {
    let mut spec = spec_anywhere(task, slot);
    let avoided = avoided(&task.spec, task.status.as_ref(), slot);
    if !avoided.is_empty() {
        avoid(pod_spec(&mut spec), &avoided);
    }
    spec
}

/// The same without the nodes to avoid: they depend on earlier attempts, and not on the spec.
pub fn spec_anywhere(task: &RetryableTask, slot: Slot) -> RetryableTaskSpec {
    let status = task.status.as_ref();
    let mut spec = with_overrides(&task.spec, status, slot);
    if slot.fallback {
        fall_back(&mut spec);
    }
    let raises = status.map_or(0, |status| status.memory_raises);
    if let (Some(policy), Some(resources)) = (&spec.on_out_of_memory, resources(&spec)) {
        spec.resources = Some(memory_raise::raised(resources, policy, raises));
    }
    spec
}

/// `fromAttempt` of the last override that applies to the attempt. `status` is the one that its Pod is built from.
pub fn override_from(spec: &RetryableTaskSpec, status: &RetryableTaskStatus, slot: Slot) -> Option<i32> {
    overrides(spec, Some(status), slot).map(|change| change.from_attempt).last()
}

/// The nodes that the Pod prefers to avoid, those with the highest weight first. `status` is the one that the Pod is
/// built from.
pub fn avoided_nodes(spec: &RetryableTaskSpec, status: &RetryableTaskStatus, slot: Slot) -> Vec<String> {
    avoided(spec, Some(status), slot).into_iter().map(|(node, _)| node).collect()
}

/// What is wrong with `onOutOfMemory`, for any attempt, as a message to the spec's author.
pub fn memory_problem(spec: &RetryableTaskSpec) -> Option<String> {
    let policy = spec.on_out_of_memory.as_ref()?;
    let overrides = spec.overrides.iter().flatten().filter_map(|change| change.resources.as_ref());
    let all: Vec<&Value> = resources(spec).into_iter().chain(overrides).collect();
    memory_raise::problem(policy, &all).map(|problem| format!("spec.onOutOfMemory: {problem}"))
}

/// Whether another raise would give the attempt more memory.
pub fn can_raise_memory(spec: &RetryableTaskSpec, status: &RetryableTaskStatus, slot: Slot) -> bool {
    let own = with_overrides(spec, Some(status), slot);
    let policy = own.on_out_of_memory.as_ref().zip(resources(&own));
    let admitted = status.admitted_memory_raises.is_none_or(|most| status.memory_raises < most);
    admitted
        && policy.is_some_and(|(policy, resources)| memory_raise::can_raise(resources, policy, status.memory_raises))
}

/// The number of raises that gives the Pod the next lower memory. None if no raise has given it more than the spec
/// does.
pub fn lower_raise(spec: &RetryableTaskSpec, status: &RetryableTaskStatus, slot: Slot) -> Option<LowerRaise> {
    let mut own = with_overrides(spec, Some(status), slot);
    if slot.fallback {
        fall_back(&mut own);
    }
    let (policy, base) = own.on_out_of_memory.as_ref().zip(resources(&own))?;
    let raised = |raises| memory_raise::raised(base, policy, raises);
    let refused = raised(status.memory_raises);
    // The fewest raises that give the refused amount. Beyond the maximum, more raises do not change it.
    let (mut fewest, mut most) = (0, status.memory_raises.max(0));
    while fewest < most {
        let middle = fewest + (most - fewest) / 2;
        if raised(middle) == refused {
            most = middle;
        } else {
            fewest = middle + 1;
        }
    }
    let lower = fewest.checked_sub(1).filter(|lower| *lower >= 0)?;
    let memory = memory_raise::memory_text(&raised(lower));
    Some(LowerRaise { raises: lower, memory, refused: memory_raise::memory_text(&refused) })
}

/// The raise that remains after the API server has refused a Pod with more memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerRaise {
    /// How many raises remain.
    pub raises: i32,
    /// The memory that the Pod then gets, such as `2Gi`.
    pub memory: String,
    /// The memory that was refused.
    pub refused: String,
}

/// The number of an attempt within its run.
pub fn number_in_run(status: Option<&RetryableTaskStatus>, number: i32) -> i32 {
    let first = status.and_then(|status| status.run).map_or(1, |run| run.first_attempt);
    number.saturating_sub(first).saturating_add(1)
}

fn overrides<'a>(
    spec: &'a RetryableTaskSpec,
    status: Option<&RetryableTaskStatus>,
    slot: Slot,
) -> impl Iterator<Item = &'a AttemptOverride> + use<'a> {
    let number = number_in_run(status, slot.number);
    let mut all: Vec<&AttemptOverride> = spec.overrides.iter().flatten().collect();
    all.sort_by_key(|change| change.from_attempt);
    all.into_iter().filter(move |change| !slot.fallback && change.from_attempt <= number)
}

fn with_overrides(spec: &RetryableTaskSpec, status: Option<&RetryableTaskStatus>, slot: Slot) -> RetryableTaskSpec {
    let mut own = spec.clone();
    for change in overrides(spec, status, slot) {
        override_with(&mut own, change);
    }
    own
}

fn override_with(spec: &mut RetryableTaskSpec, change: &AttemptOverride) {
    let AttemptOverride { from_attempt: _, resources, node_selector, tolerations, env } = change;
    if let Some(resources) = resources {
        spec.resources = Some(resources.clone());
    }
    if let Some(node_selector) = node_selector {
        pod_spec(spec)["nodeSelector"] = node_selector.clone();
    }
    if let Some(tolerations) = tolerations {
        pod_spec(spec)["tolerations"] = tolerations.clone().into();
    }
    if let Some(env) = env {
        spec.env = Some(merged(spec.env.take().unwrap_or_default(), env));
    }
}

fn fall_back(spec: &mut RetryableTaskSpec) {
    let given = spec.on_failure.clone().unwrap_or_default();
    let OnFailure { image, command, args, env, env_from, resources, template, timeout_seconds: _ } = given;
    let attempts = if containers(template.as_ref()).is_empty() { Main::of(spec) } else { Main::default() };
    // The attempts' command and arguments were written for their own image: another image does not get them. The
    // arguments also do not go with another command.
    let own_image = image.is_some();
    let own_command = own_image || command.is_some();
    spec.command = command.or(attempts.command.filter(|_| !own_image)).or_else(|| own_image.then(Vec::new));
    spec.args = args.or(attempts.args.filter(|_| !own_command)).or_else(|| own_command.then(Vec::new));
    spec.env = env.map(|env| merged(spec.env.take().unwrap_or_default(), &env)).or_else(|| spec.env.take());
    if let Some(own) = env_from {
        spec.env_from.get_or_insert_default().extend(own);
    }
    spec.resources = resources.or(attempts.resources);
    let image = image.or(attempts.image);
    if template.is_none() && spec.image.is_none() {
        // The image goes into the template's main container, which may have another name than `task`.
        if let (Some(main), Some(image)) = (main_container_mut(spec), image) {
            main["image"] = image.into();
        }
    } else {
        spec.image = image;
        spec.template = template.or_else(|| spec.template.take());
    }
}

/// The fields of the attempts' main container that a fallback inherits.
#[derive(Default)]
struct Main {
    image: Option<String>,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    resources: Option<Value>,
}

impl Main {
    fn of(spec: &RetryableTaskSpec) -> Self {
        let field = |name: &str| main_container(spec).and_then(|main| main.get(name)).cloned();
        let texts = |name: &str| field(name).and_then(|value| serde_json::from_value(value).ok());
        Self {
            image: spec.image.clone().or_else(|| Some(field("image")?.as_str()?.to_owned())),
            command: spec.command.clone().or_else(|| texts("command")),
            args: spec.args.clone().or_else(|| texts("args")),
            resources: spec.resources.clone().or_else(|| field("resources")),
        }
    }
}

fn main_container_mut(spec: &mut RetryableTaskSpec) -> Option<&mut Value> {
    let name = main_container_name(spec);
    let containers = spec.template.as_mut()?.pointer_mut("/spec/containers")?.as_array_mut()?;
    containers.iter_mut().find(|container| name_of(container) == Some(&name))
}

/// The resources of the main container, before any raise.
fn resources(spec: &RetryableTaskSpec) -> Option<&Value> {
    spec.resources.as_ref().or_else(|| main_container(spec)?.get("resources"))
}

/// The Pod's spec within the template. It is added if there is none.
fn pod_spec(spec: &mut RetryableTaskSpec) -> &mut Value {
    let template = spec.template.get_or_insert_with(|| json!({}));
    if !template.is_object() {
        *template = json!({});
    }
    if !template["spec"].is_object() {
        template["spec"] = json!({});
    }
    &mut template["spec"]
}

/// Nodes on which attempts of this run failed, with their weights, the highest first.
fn avoided(spec: &RetryableTaskSpec, status: Option<&RetryableTaskStatus>, slot: Slot) -> Vec<(String, i32)> {
    let Some(status) = status.filter(|_| spec.avoid_failed_nodes) else { return Vec::new() };
    let run = status.run.map(|run| run.number);
    let mut weights = BTreeMap::new();
    for entry in status.history.iter().filter(|entry| entry.run == run && counts_against_node(entry)) {
        let ago = slot.number.saturating_add(i32::from(slot.fallback)).saturating_sub(entry.attempt).max(1);
        let weight = WEIGHT.checked_shr(ago.unsigned_abs() - 1).unwrap_or(0);
        if let Some(node) = entry.node_name.as_ref().filter(|_| weight > 0) {
            let heaviest = weights.entry(node.clone()).or_insert(weight);
            *heaviest = weight.max(*heaviest);
        }
    }
    let mut weights: Vec<(String, i32)> = weights.into_iter().collect();
    weights.sort_by_key(|(_, weight)| Reverse(*weight));
    weights.truncate(MAX_AVOIDED);
    weights
}

/// Whether the end is a reason to avoid its node. A stop that the user requested is not.
fn counts_against_node(entry: &HistoryEntry) -> bool {
    let requests = [StopReason::Suspended, StopReason::Cancelled, StopReason::SpecChanged, StopReason::RetryNow]
        .iter()
        .any(|stop| stop.as_str() == entry.reason);
    match entry.action {
        Action::Retry | Action::Ignore | Action::Fail => !requests,
        Action::Complete | Action::Unknown => false,
    }
}

/// Adds to the node affinity that the user prefers. What the user requires stays as it is.
fn avoid(pod_spec: &mut Value, nodes: &[(String, i32)]) {
    let preferences = nodes.iter().map(|(node, weight)| {
        let not_there = json!({"key": "metadata.name", "operator": "NotIn", "values": [node]});
        json!({"weight": weight, "preference": {"matchFields": [not_there]}})
    });
    let mut at = pod_spec;
    for key in ["affinity", "nodeAffinity"] {
        if !at[key].is_object() {
            at[key] = json!({});
        }
        at = &mut at[key];
    }
    let preferred = &mut at["preferredDuringSchedulingIgnoredDuringExecution"];
    let users = preferred.as_array().cloned().unwrap_or_default();
    *preferred = users.into_iter().chain(preferences).collect();
}

/// The variables of `under` and then those of `over`. A name that both have is taken from `over`.
pub fn merged(under: Vec<Value>, over: &[Value]) -> Vec<Value> {
    let name = |variable: &Value| variable.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
    let is_over = |variable: &Value| over.iter().any(|other| name(other) == name(variable));
    under.into_iter().filter(|variable| !is_over(variable)).chain(over.iter().cloned()).collect()
}

#[cfg(test)]
mod tests;
