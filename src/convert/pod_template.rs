//! A Pod template: what is left out of it, and what a task cannot have.

use super::notes::Notes;
use super::{Options, mapping, metadata};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde_yaml_ng::{Mapping, Value};

/// A Pod template with what the conversion asks of it.
pub(super) struct PodTemplate<'a> {
    typed: &'a PodTemplateSpec,
}

/// What a Pod's containers do when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    Never,
    OnFailure,
}

impl<'a> PodTemplate<'a> {
    pub(super) fn new(typed: &'a PodTemplateSpec) -> Self {
        Self { typed }
    }

    fn containers(&self) -> &'a [Container] {
        self.typed.spec.as_ref().map_or(&[], |spec| spec.containers.as_slice())
    }

    fn init_containers(&self) -> &'a [Container] {
        let spec = self.typed.spec.as_ref();
        spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
    }

    /// Whether several ordinary containers decide.
    pub(super) fn has_several(&self) -> bool {
        self.containers().len() > 1
    }

    /// The main container of a task with this template.
    pub(super) fn main(&self) -> Option<&'a str> {
        let annotations = self.typed.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        let named = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container")).map(String::as_str);
        let all = || self.containers().iter().map(|container| container.name.as_str());
        named.or_else(|| all().find(|name| *name == "task")).or_else(|| all().next())
    }

    pub(super) fn restart_policy(&self, notes: &mut Notes) -> RestartPolicy {
        let policy = self.typed.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        match policy {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            other => {
                let text = format!(
                    "a Job's is Never or OnFailure, and this is {}: set one of them",
                    other.unwrap_or("not given")
                );
                notes.refuse("spec.template.spec.restartPolicy", &text);
                RestartPolicy::Never
            }
        }
    }

    /// The template for the task, from the source's own YAML, so that its order and its newer fields stay.
    pub(super) fn convert(&self, source: &Value, options: Options, notes: &mut Notes) -> Mapping {
        self.check(notes);
        let mut spec = source.get("spec").and_then(Value::as_mapping).cloned().unwrap_or_default();
        spec.shift_remove("restartPolicy");
        let mut logs = false;
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_sequence_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_mapping_mut) {
                if container.get("restartPolicy").and_then(Value::as_str) == Some("Never") {
                    container.shift_remove("restartPolicy");
                }
                // The default, which the API server writes into every container.
                if container.get("terminationMessagePolicy").and_then(Value::as_str) == Some("File") {
                    container.shift_remove("terminationMessagePolicy");
                    logs = true;
                }
            }
        }
        if logs {
            let text =
                "terminationMessagePolicy File is left out, so that the end of the log is the message of a failure";
            notes.remark("spec.template.spec.containers", None, text);
        }
        references_to_the_job(source, "spec.template", options, notes);
        let metadata = self.typed.metadata.as_ref().map(metadata::of_template).unwrap_or_default();
        let mut template = Mapping::new();
        if !metadata.is_empty() {
            template.insert("metadata".into(), metadata.into());
        }
        template.extend(mapping([("spec", spec.into())]));
        template
    }

    fn check(&self, notes: &mut Notes) {
        for (list, containers) in [("containers", self.containers()), ("initContainers", self.init_containers())] {
            for (index, container) in containers.iter().enumerate() {
                let path = format!("spec.template.spec.{list}[{index}]");
                let is_sidecar = list == "initContainers" && container.restart_policy.as_deref() == Some("Always");
                if container.restart_policy.as_deref().is_some_and(|policy| policy != "Never") && !is_sidecar {
                    let text = "an attempt runs its containers once, and the operator does the retrying: remove it";
                    notes.refuse(&format!("{path}.restartPolicy"), text);
                }
                if container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty()) {
                    let text = "an attempt runs its containers once: remove them, and let the task's rules decide by exit code";
                    notes.refuse(&format!("{path}.restartPolicyRules"), text);
                }
            }
        }
    }
}

/// Finds variables that are taken from what the Job controller writes on a Pod, which nobody writes on a task's.
fn references_to_the_job(value: &Value, path: &str, options: Options, notes: &mut Notes) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                let key = key.as_str().unwrap_or_default();
                let path = format!("{path}.{key}");
                match value.as_str().filter(|_| key == "fieldPath").and_then(of_the_job) {
                    // --expand sets the variable by itself.
                    Some("batch.kubernetes.io/job-completion-index") if options.expand => {}
                    Some(name) => {
                        let text = format!("nobody sets {name} on a task's Pod: {}", instead_of(name));
                        notes.differs(&path, None, &text);
                    }
                    None => references_to_the_job(value, &path, options, notes),
                }
            }
        }
        Value::Sequence(items) => {
            let paths = items.iter().enumerate().map(|(index, item)| (item, format!("{path}[{index}]")));
            paths.for_each(|(item, path)| references_to_the_job(item, &path, options, notes));
        }
        _ => {}
    }
}

/// The label or annotation that a field path names, if it is one of the Job controller's.
fn of_the_job(field_path: &str) -> Option<&str> {
    let (_, rest) = field_path.split_once("['")?;
    let name = rest.strip_suffix("']")?;
    (name.starts_with("batch.kubernetes.io/") || matches!(name, "job-name" | "controller-uid")).then_some(name)
}

fn instead_of(name: &str) -> &'static str {
    match name {
        "job-name" | "batch.kubernetes.io/job-name" => "use the variable RETRYABLE_TASK_NAME",
        "controller-uid" | "batch.kubernetes.io/controller-uid" => "use the variable RETRYABLE_TASK_UID",
        _ => "set the variable to a value",
    }
}
