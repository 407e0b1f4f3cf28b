//! The metadata of an object: what its user wrote stays, what servers set goes.

use super::mapping;
use super::notes::Notes;
use crate::core::hash;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeMap;

/// Labels that the Job controller sets on a Job's Pods, and by defaults on its template.
const SET_LABELS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];
/// Annotations that controllers and kubectl set.
const SET_ANNOTATIONS: [&str; 5] = [
    "batch.kubernetes.io/cronjob-scheduled-timestamp",
    "batch.kubernetes.io/job-tracking",
    "cronjob.kubernetes.io/instantiate",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
];

/// By these, Helm and Argo CD run Jobs at certain times and wait for them.
const HOOKS: [&str; 2] = ["argocd.argoproj.io/hook", "helm.sh/hook"];
/// What Argo sets, and reads.
const ARGO: &str = "workflows.argoproj.io/";

/// Most characters of a schedule's name, by the rule of its definition.
const MAX_SCHEDULE_NAME: usize = 49;
/// Characters of the hash at the end of a name that was shortened.
const HASH_LENGTH: usize = 5;

/// The metadata for the task.
pub(super) fn convert(metadata: &ObjectMeta, notes: &mut Notes) -> Mapping {
    let ObjectMeta {
        annotations,
        creation_timestamp: _,
        deletion_grace_period_seconds: _,
        deletion_timestamp: _,
        finalizers,
        generate_name,
        generation: _,
        labels,
        managed_fields: _,
        name,
        namespace,
        owner_references,
        resource_version: _,
        self_link: _,
        uid: _,
    } = metadata;
    for finalizer in finalizers.iter().flatten().filter(|name| !is_kubernetes_own(name)) {
        notes.differs("metadata.finalizers", None, &format!("{finalizer} is left out: who sets it knows no tasks"));
    }
    for OwnerReference { kind, name, .. } in owner_references.iter().flatten() {
        let text = format!("it belongs to {kind} {name}, the task to nobody: convert the {kind} instead, or delete it");
        notes.differs("metadata.ownerReferences", None, &text);
    }
    for (key, _) in annotations.iter().flatten().filter(|(key, _)| HOOKS.contains(&key.as_str())) {
        let text = format!("{key} makes its tool wait for a Job's end; whether it waits for a task's is to be tried");
        notes.differs("metadata.annotations", None, &text);
    }
    let text =
        |value: &Option<String>| value.as_ref().filter(|text| !text.is_empty()).map(|text| Value::from(text.as_str()));
    let fields = [
        // A name that was generated has been given its end.
        ("name", text(name)),
        ("generateName", text(generate_name).filter(|_| name.is_none())),
        ("namespace", text(namespace)),
        ("labels", kept(labels.as_ref(), &SET_LABELS)),
        ("annotations", kept(annotations.as_ref(), &SET_ANNOTATIONS)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((Value::from(key), value?))).collect()
}

/// Makes the name of a schedule as short as it must be, and says so. It ends in a hash of the name: two that begin alike stay two.
pub(super) fn shorten(metadata: &mut Mapping, notes: &mut Notes) {
    let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|name| name.len() > MAX_SCHEDULE_NAME) else {
        return;
    };
    let kept: String = name.chars().take(MAX_SCHEDULE_NAME - HASH_LENGTH - 1).collect();
    let kept = kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let short = format!("{kept}-{}", hash::name(name, HASH_LENGTH));
    let text = format!(
        "a schedule's name has at most {MAX_SCHEDULE_NAME} characters, since the time follows it in the names of tasks; this one is \
         {short}, unless you choose another"
    );
    notes.differs("metadata.name", None, &text);
    metadata.insert("name".into(), short.into());
}

/// Labels and annotations of a Pod template. Others of its metadata have no meaning in a Job either.
pub(super) fn of_template(metadata: &ObjectMeta) -> Mapping {
    let labels = kept(metadata.labels.as_ref(), &SET_LABELS);
    let annotations = kept(metadata.annotations.as_ref(), &SET_ANNOTATIONS);
    let fields = [("labels", labels), ("annotations", annotations)];
    fields.into_iter().filter_map(|(key, value)| Some((Value::from(key), value?))).collect()
}

fn kept(all: Option<&BTreeMap<String, String>>, set: &[&str]) -> Option<Value> {
    let own = all?.iter().filter(|(key, _)| !set.contains(&key.as_str()) && !key.starts_with(ARGO));
    let own: Mapping = own.map(|(key, value)| (Value::from(key.as_str()), Value::from(value.as_str()))).collect();
    (!own.is_empty()).then(|| own.into())
}

fn is_kubernetes_own(finalizer: &str) -> bool {
    matches!(finalizer, "foregroundDeletion" | "orphan") || finalizer.starts_with("batch.kubernetes.io/")
}

/// The head of a manifest.
pub(super) fn manifest(kind: &str, metadata: Mapping, spec: Mapping) -> Mapping {
    mapping([
        ("apiVersion", "retryable.dev/v1alpha1".into()),
        ("kind", kind.into()),
        ("metadata", metadata.into()),
        ("spec", spec.into()),
    ])
}
