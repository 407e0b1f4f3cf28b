//! The CustomResourceDefinitions, as the `crd` subcommand prints them.

use super::{RetryableTask, TaskQueue, TaskSchedule, schema};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::json;

/// The plurals of all resources.
pub const RESOURCES: [&str; 3] = ["retryabletasks", "taskqueues", "taskschedules"];

/// The CustomResourceDefinitions of [`RESOURCES`].
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![crd(), queue_crd(), schedule_crd()]
}

/// The CustomResourceDefinition of `RetryableTask`.
pub fn crd() -> CustomResourceDefinition {
    refined(RetryableTask::crd())
}

/// The CustomResourceDefinition of `TaskQueue`.
pub fn queue_crd() -> CustomResourceDefinition {
    refined(TaskQueue::crd())
}

/// The CustomResourceDefinition of `TaskSchedule`.
pub fn schedule_crd() -> CustomResourceDefinition {
    refined(TaskSchedule::crd())
}

fn refined(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            refine(root);
        }
    }
    crd
}

fn refine(root: &mut JSONSchemaProps) {
    // An empty `backoff:` is null in YAML. Without `nullable` the API server drops it; with it, CEL's has() finds a null.
    schema::visit(root, &mut |s| s.nullable = None);
    let Some(properties) = root.properties.as_mut() else { return };
    if let Some(spec) = properties.get_mut("spec") {
        schema::visit(spec, &mut |s| {
            if s.default.as_ref().is_some_and(|d| d.0.is_null()) {
                s.default = None;
            }
        });
    }
    if let Some(status) = properties.get_mut("status") {
        schema::visit(status, &mut |s| s.default = None);
        // kstatus: a task that no operator has seen yet is in progress, not current.
        status.default = Some(JSON(json!({"observedGeneration": -1})));
    }
}

#[cfg(test)]
mod tests;
