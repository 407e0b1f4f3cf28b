//! Validates a manifest as the API server does, without a cluster: unknown fields, defaults, the schema, the CEL rules,
//! the name. Order and messages are those of the API server, but all faults are reported at once.

mod cel;
mod defaults;
mod object_name;
mod schema_check;

use crate::api::{self, RetryableTask, TaskQueue, TaskSchedule};
use crate::core::queue::settings::Settings;
use crate::core::{schedule, validate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use cel::Rules;

/// The API server's message when a fault keeps it from evaluating the CEL rules.
const NOT_ALL: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// The resource's schema and compiled rules.
pub struct Admission {
    schema: Value,
    rules: Rules,
}

/// The notation of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// JSON: the types of values are unambiguous.
    Json,
    /// YAML. Kubernetes reads version 1.1, in which `yes` is a boolean and `0444` an octal number. The library reads
    /// version 1.2.
    Yaml,
}

impl Admission {
    /// That of `RetryableTask`, by the definition that the `crd` subcommand prints.
    pub fn new() -> Self {
        Self::of(&api::crd())
    }

    /// That of `TaskSchedule`.
    pub fn of_schedules() -> Self {
        Self::of(&api::schedule_crd())
    }

    /// That of `TaskQueue`.
    pub fn of_queues() -> Self {
        Self::of(&api::queue_crd())
    }

    /// Of any definition.
    pub fn of(definition: &CustomResourceDefinition) -> Self {
        let mut schema = schema_of(definition);
        let rules = Rules::of(&schema);
        for field in ["apiVersion", "kind"] {
            schema["properties"][field] = json!({"type": "string"});
        }
        schema["properties"]["metadata"] = metadata_schema();
        Self { schema, rules }
    }

    /// The task as the API server would store it, with its defaults; or everything for which the API server would
    /// reject it or the operator would not run it.
    pub fn admit(&self, manifest: &Value, notation: Notation) -> Result<RetryableTask, Vec<String>> {
        readable("task", self.check(manifest, notation)?, |task: &RetryableTask| validate::problem(&task.spec))
    }

    /// The schedule as the API server would store it, with its defaults; or everything for which the API server would
    /// reject it or the operator would start nothing.
    pub fn admit_schedule(&self, manifest: &Value, notation: Notation) -> Result<TaskSchedule, Vec<String>> {
        readable("schedule", self.check(manifest, notation)?, schedule::problem)
    }

    /// The queue as the API server would store it, with its defaults; or everything for which the API server would reject it
    /// or the operator would start nothing.
    pub fn admit_queue(&self, manifest: &Value, notation: Notation) -> Result<TaskQueue, Vec<String>> {
        readable("queue", self.check(manifest, notation)?, |queue: &TaskQueue| Settings::of(&queue.spec).problem)
    }

    /// The object as the API server would store it, with its defaults; or everything for which the API server would reject
    /// it.
    pub fn check(&self, manifest: &Value, notation: Notation) -> Result<Value, Vec<String>> {
        let mut object = manifest.clone();
        if let Some(map) = object.as_object_mut() {
            // The API server ignores the status in a manifest.
            map.remove("status");
        }
        let mut refusals: Vec<String> = schema_check::unknown_fields(&object, &self.schema);
        defaults::complete(&mut object, &self.schema, notation);
        object_name::generate(&mut object);
        let mut faults = object_name::faults(&object);
        faults.extend(schema_check::faults(&object, &self.schema));
        let blocked = faults.iter().any(|fault| fault.blocks);
        refusals.extend(faults.into_iter().map(|fault| fault.message));
        if blocked {
            refusals.push(NOT_ALL.into());
        } else {
            refusals.extend(self.rules.refusals(&object));
        }
        if refusals.is_empty() { Ok(object) } else { Err(refusals) }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

/// The object, checked for what admission does not see but the operator refuses.
fn readable<K: DeserializeOwned>(
    what: &str,
    object: Value,
    problem: impl Fn(&K) -> Option<String>,
) -> Result<K, Vec<String>> {
    let object = serde_json::from_value(object)
        .map_err(|error| vec![format!("admitted, but the operator cannot read this {what}: {error}")])?;
    match problem(&object) {
        Some(problem) => Err(vec![format!("admitted, but the {what} would stall (InvalidSpec): {problem}")]),
        None => Ok(object),
    }
}

/// The `openAPIV3Schema` of `RetryableTask`.
pub fn schema_of_crd() -> Value {
    schema_of(&api::crd())
}

/// The `openAPIV3Schema` of a resource.
pub fn schema_of(definition: &CustomResourceDefinition) -> Value {
    let mut definition = serde_json::to_value(definition).unwrap_or_default();
    definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").map(Value::take).unwrap_or_default()
}

/// The schema of `metadata`. The definition does not have it: the API server has its own.
fn metadata_schema() -> Value {
    let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings
        .with_transform(kube::core::schema::StructuralSchemaRewriter)
        .into_generator()
        .into_root_schema_for::<ObjectMeta>()
        .to_value()
}

#[cfg(test)]
mod tests;
