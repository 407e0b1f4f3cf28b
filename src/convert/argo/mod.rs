//! An Argo Workflow of one step becomes a task.
//!
//! There are no types of it to destructure, so its fields are taken one by one, and what is left is refused.

mod cron;
mod expression;
mod fields;
mod locks;
mod parameters;
mod pod_patch;
mod retry;

use super::notes::Notes;
use super::read::Source;
use super::{Options, Output, job, mapping, metadata};
pub(super) use cron::convert as convert_cron;
use fields::Fields;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parameters::Parameters;
use serde_yaml_ng::{Mapping, Value};

/// Fields of a workflow and of its template that a Pod has by the same name.
const POD_FIELDS: [&str; 12] = [
    "serviceAccountName",
    "automountServiceAccountToken",
    "nodeSelector",
    "tolerations",
    "affinity",
    "imagePullSecrets",
    "hostNetwork",
    "hostAliases",
    "dnsPolicy",
    "dnsConfig",
    "schedulerName",
    "securityContext",
];
/// What else a template can be.
const OTHER_KINDS: [&str; 8] = ["steps", "dag", "suspend", "resource", "http", "plugin", "data", "containerSet"];
/// Interpreters that take their program by an argument.
const INTERPRETERS: [(&str, &str); 8] = [
    ("sh", "-c"),
    ("bash", "-c"),
    ("ash", "-c"),
    ("python", "-c"),
    ("python3", "-c"),
    ("node", "-e"),
    ("perl", "-e"),
    ("ruby", "-e"),
];

/// The task.
pub(super) fn convert(source: &Source, options: Options) -> Vec<Output> {
    let mut notes = Notes::new("");
    let mut head = Fields::new(source.yaml.clone(), "");
    for known in ["apiVersion", "kind", "metadata"] {
        head.take(known);
    }
    if head.take("status").and_then(|status| status.get("finishedAt").cloned()).is_some_and(|at| !at.is_null()) {
        notes.remark("status", None, "the Workflow has finished: the task does the work again");
    }
    let object_meta: ObjectMeta = job::typed(&source.json["metadata"], "metadata", &mut notes);
    let metadata = metadata::convert(&object_meta, &mut notes);
    let spec = head.object("spec").map(|spec| task_spec(spec, options, &mut notes)).unwrap_or_default();
    head.refuse_rest(&mut notes);
    if notes.are_refusals() {
        return vec![Output::refused(notes)];
    }
    vec![Output { manifest: metadata::manifest("RetryableTask", metadata, spec), notes: vec![(&["spec"], notes)] }]
}

/// The spec of the task, from that of a Workflow.
fn task_spec(mut workflow: Fields, options: Options, notes: &mut Notes) -> Mapping {
    let mut spec = Mapping::new();
    let parameters = Parameters::of_workflow(workflow.object("arguments"), notes);
    let mut templates: Vec<Value> = workflow.list("templates", notes);
    let entrypoint = workflow.text("entrypoint").unwrap_or_default();
    let on_exit = workflow.text("onExit");
    let workflow_template = workflow.take("workflowTemplateRef").is_some();
    let list = workflow.path("templates");
    let mut find = |name: &str, by: &str, notes: &mut Notes| {
        let (path, list) = (workflow.path(by), list.as_str());
        template((&mut templates, list), name, &parameters, &path, notes)
    };
    if workflow_template {
        notes.refuse(
            &workflow.path("workflowTemplateRef"),
            "the templates are elsewhere: put that WorkflowTemplate's spec here",
        );
        return spec;
    }
    let Some((mut step, patch)) = find(&entrypoint, "entrypoint", notes) else {
        return spec;
    };
    let on_exit = on_exit.and_then(|name| find(&name, "onExit", notes));
    let of_both = workflow.text("podSpecPatch").map(|patch| (workflow.path("podSpecPatch"), patch));
    let path_of_both = of_both.as_ref().map(|(path, _)| path.clone());
    let patches = [of_both, patch.map(|patch| (step.path("podSpecPatch"), patch))];
    for left in &templates {
        let name = left.get("name").and_then(Value::as_str).unwrap_or_default();
        notes.refuse(&list, &format!("a task has one step: convert {name:?} by itself, or remove it"));
    }
    retry::convert(step.object("retryStrategy"), &mut spec, options, notes);
    limits(&mut workflow, &mut step, &mut spec, notes);
    locks::convert([&mut workflow, &mut step], &mut spec, notes);
    let mut for_fallback = workflow.clone();
    let pod = pod(&mut workflow, &mut step, notes);
    let mut template = template_metadata(&mut workflow, &mut step);
    template.insert("spec".into(), pod.into());
    spec.insert("template".into(), template.into());
    match patches {
        [Some(_), Some((at, _))] => notes.refuse(&at, "the Workflow has one too: write both into one"),
        [Some((at, text)), None] | [None, Some((at, text))] => pod_patch::convert(&text, &at, &mut spec, notes),
        [None, None] => {}
    }
    if let Some((exit, patch)) = on_exit {
        if patch.is_some() {
            notes.refuse(&exit.path("podSpecPatch"), "the fallback runs once: write its resources into the container");
        }
        let text = "the exit handler runs after a success too, onFailure after a failure alone";
        notes.differs(&workflow.path("onExit"), Some("onFailure"), text);
        if let Some(path) = path_of_both {
            let text =
                "it holds for the exit handler too, and not for onFailure: write its resources into that container";
            notes.differs(&path, Some("onFailure"), text);
        }
        spec.insert("onFailure".into(), fallback(&mut for_fallback, exit, notes).into());
    }
    step.refuse_rest(notes);
    workflow.refuse_rest(notes);
    spec
}

/// Takes the template of that name, with its parameters filled in; and its podSpecPatch, whose expressions differ from retry to retry.
fn template(
    (templates, list): (&mut Vec<Value>, &str),
    name: &str,
    parameters: &Parameters,
    path: &str,
    notes: &mut Notes,
) -> Option<(Fields, Option<String>)> {
    let at = templates.iter().position(|template| template.get("name").and_then(Value::as_str) == Some(name));
    let Some(at) = at else {
        notes.refuse(path, &format!("there is no template {name:?} in {list}: give its name"));
        return None;
    };
    let mut fields = Fields::new(templates.remove(at), &format!("{list}[name={name}]"));
    fields.take("name");
    let pod_patch = fields.text("podSpecPatch");
    let given = parameters.with_inputs(fields.object("inputs"), notes);
    given.fill(&mut fields, notes);
    let other = OTHER_KINDS.iter().find(|kind| fields.take(kind).is_some());
    if let Some(kind) = other {
        let text = "a task runs one container: make a task of each; order, loops and data between them stay with Argo";
        notes.refuse(&fields.path(kind), text);
    }
    Some((fields, pod_patch))
}

/// Limits in time, and what becomes of what has ended.
fn limits(workflow: &mut Fields, step: &mut Fields, spec: &mut Mapping, notes: &mut Notes) {
    if let Some(seconds) = step.seconds("activeDeadlineSeconds", notes) {
        spec.insert("attemptTimeoutSeconds".into(), seconds.into());
    }
    if let Some(seconds) = workflow.seconds("activeDeadlineSeconds", notes) {
        let before = spec.get("activeDeadlineSeconds").and_then(Value::as_i64).unwrap_or(i64::MAX);
        spec.insert("activeDeadlineSeconds".into(), seconds.min(before).into());
    }
    if let Some(mut ttl) = workflow.object("ttlStrategy") {
        let seconds = ttl.seconds("secondsAfterCompletion", notes);
        if let Some(seconds) = seconds {
            spec.insert("ttlSecondsAfterFinished".into(), seconds.into());
        }
        ttl.refuse_rest(notes);
    }
    if let Some(mut gc) = workflow.object("podGC") {
        let retention = match gc.text("strategy").as_deref() {
            Some("OnPodCompletion" | "OnWorkflowCompletion") => Some((0, 0)),
            Some("OnPodSuccess" | "OnWorkflowSuccess") => Some((1, 0)),
            _ => None,
        };
        if let Some((failed, succeeded)) = retention {
            let kept = [("failed", failed.into()), ("succeeded", succeeded.into())];
            spec.insert("podRetention".into(), mapping(kept).into());
        }
        gc.refuse_rest(notes);
    }
    if workflow.take("suspend").is_some_and(|suspend| suspend == Value::Bool(true)) {
        spec.insert("suspend".into(), true.into());
    }
    for field in ["parallelism", "archiveLogs"] {
        if workflow.take(field).is_some() {
            notes.remark(
                &workflow.path(field),
                None,
                "means nothing for one step whose log the cluster keeps: left out",
            );
        }
    }
}

/// The Pod of an attempt.
fn pod(workflow: &mut Fields, step: &mut Fields, notes: &mut Notes) -> Mapping {
    let mut pod = Mapping::new();
    for field in POD_FIELDS {
        let (outer, inner) = (workflow.take(field), step.take(field));
        if let Some(value) = inner.or(outer) {
            pod.insert(field.into(), value);
        }
    }
    let class = (workflow.take("podPriorityClassName"), step.take("priorityClassName"));
    if let Some(class) = class.1.or(class.0) {
        pod.insert("priorityClassName".into(), class);
    }
    let volumes: Vec<Value> = workflow.list("volumes", notes).into_iter().chain(step.list("volumes", notes)).collect();
    if !volumes.is_empty() {
        pod.insert("volumes".into(), volumes.into());
    }
    let mut init = step.list("initContainers", notes);
    for mut sidecar in step.list("sidecars", notes) {
        if let Some(sidecar) = sidecar.as_mapping_mut() {
            sidecar.remove("mirrorVolumeMounts");
            sidecar.insert("restartPolicy".into(), "Always".into());
        }
        init.push(sidecar);
    }
    if !init.is_empty() {
        pod.insert("initContainers".into(), init.into());
    }
    pod.insert("containers".into(), vec![Value::from(container(step, notes))].into());
    pod
}

/// The container of a template, which Argo names `main`.
fn container(step: &mut Fields, notes: &mut Notes) -> Mapping {
    let mut main = mapping([("name", "main".into())]);
    let (container, script) = (step.take("container"), step.object("script"));
    match (container, script) {
        (Some(Value::Mapping(container)), None) => {
            main.extend(container.into_iter().filter(|(key, _)| key.as_str() != Some("name")));
        }
        (None, Some(mut script)) => {
            let source = script.take("source").unwrap_or_else(|| "".into());
            let mut command: Vec<Value> = script.list("command", notes);
            let program = command.first().and_then(Value::as_str).and_then(|first| first.rsplit('/').next());
            match INTERPRETERS.iter().find(|(name, _)| Some(*name) == program) {
                Some((_, option)) => command.push((*option).into()),
                None => notes.refuse(&script.path("command"), "put the script into a ConfigMap, and run it from there"),
            }
            main.insert("command".into(), command.into());
            main.insert("args".into(), vec![source].into());
            script.take("name");
            main.extend(script.into_map());
        }
        _ => notes.refuse(&step.path("container"), "a task runs one container: give container or script"),
    }
    main
}

/// Labels and annotations of the Pod.
fn template_metadata(workflow: &mut Fields, step: &mut Fields) -> Mapping {
    let mut merged = Mapping::new();
    for mut from in [workflow.object("podMetadata"), step.object("metadata")].into_iter().flatten() {
        for kind in ["labels", "annotations"] {
            if let Some(Value::Mapping(new)) = from.take(kind) {
                let all = merged.entry(Value::from(kind)).or_insert_with(|| Mapping::new().into());
                if let Some(all) = all.as_mapping_mut() {
                    all.extend(new);
                }
            }
        }
    }
    if merged.is_empty() { Mapping::new() } else { mapping([("metadata", merged.into())]) }
}

/// The exit handler as a fallback.
fn fallback(workflow: &mut Fields, mut exit: Fields, notes: &mut Notes) -> Mapping {
    let mut template = template_metadata(workflow, &mut exit);
    template.insert("spec".into(), pod(workflow, &mut exit, notes).into());
    exit.refuse_rest(notes);
    mapping([("template", template.into())])
}
