//! Schemas of the parts whose types are Kubernetes' own. Their values stay raw JSON: a field that this version does not know reaches the
//! API server instead of being dropped.

use super::RetryableTask;
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, PodTemplateSpec, ResourceRequirements, Toleration};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

const DEFAULT_CONTAINER_RULE: &str = "!has(self.metadata) || !has(self.metadata.annotations) || !('kubectl.kubernetes.io/default-container' in self.metadata.annotations) || (has(self.spec) && has(self.spec.containers) && self.spec.containers.size() > 0 ? self.spec.containers.exists(c, c.name == self.metadata.annotations['kubectl.kubernetes.io/default-container']) && (self.metadata.annotations['kubectl.kubernetes.io/default-container'] == 'task' || !self.spec.containers.exists(c, c.name == 'task')) : self.metadata.annotations['kubectl.kubernetes.io/default-container'] == 'task')";
const DEFAULT_CONTAINER_MESSAGE: &str = "the annotation kubectl.kubernetes.io/default-container names the main container: it must be one of the template's containers (task where there are none), and no other may be named task";
const POD_RUNS_ONCE: &str =
    "a Pod runs once and the operator does the retrying: remove the template's restartPolicy or set it to Never";
const RUNS_ONCE: &str = "an attempt runs its containers once and the operator does the retrying: remove the container's restartPolicy or set it to Never";
const RUNS_ONCE_OR_AS_SIDECAR: &str = "an init container runs once, or as long as the Pod as a native sidecar: remove its restartPolicy or set it to Never, or to Always for a sidecar";
const NO_RESTART_RULES: &str =
    "an attempt runs its containers once and the operator does the retrying: remove the container's restartPolicyRules";

/// What few tasks have in a Pod, as paths below the template's spec. It is typed only when the API server gets the Pod: these parts are
/// two fifths of a Pod's schema, and the definition has that schema twice.
pub(super) const UNTYPED: [(&str, &[&str]); 6] = [
    (
        "volumes[]",
        &[
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "cinder",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "gitRepo",
            "glusterfs",
            "iscsi",
            "photonPersistentDisk",
            "portworxVolume",
            "quobyte",
            "rbd",
            "scaleIO",
            "storageos",
            "vsphereVolume",
        ],
    ),
    ("volumes[].ephemeral.volumeClaimTemplate", &["metadata"]),
    ("volumes[].projected.sources[]", &["clusterTrustBundle", "podCertificate"]),
    ("containers[]", &["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"]),
    ("initContainers[]", &["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"]),
    ("affinity", &["podAffinity", "podAntiAffinity"]),
];

pub(super) fn env(_: &mut SchemaGenerator) -> Schema {
    list_of(&inline::<EnvVar>(), 500, "Environment variables of the main container.")
}

/// As [`env`]. What is inside is explained once, in `spec.env`.
pub(super) fn more_env(_: &mut SchemaGenerator) -> Schema {
    list_of(&without_descriptions::<EnvVar>(), 500, "Environment variables of the main container.")
}

pub(super) fn env_from(_: &mut SchemaGenerator) -> Schema {
    list_of(&inline::<EnvFromSource>(), 100, "Sources of environment variables of the main container.")
}

pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    into_schema(inline::<ResourceRequirements>())
}

/// As [`resources`]. What is inside is explained once, in `spec.resources`.
pub(super) fn other_resources(_: &mut SchemaGenerator) -> Schema {
    into_schema(without_descriptions::<ResourceRequirements>())
}

pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    list_of(&without_descriptions::<Toleration>(), 100, "Taints that the Pod tolerates.")
}

pub(super) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    into_schema(json!({
        "type": "object",
        "description": "Labels that the Pod's node must have.",
        "maxProperties": 100,
        "additionalProperties": {"type": "string", "description": "The label's value."},
    }))
}

/// The Pod template: typed as far as this version knows Pods, but for [`UNTYPED`], and open to other fields. Descriptions are left out:
/// they are most of its size, and client-side `kubectl apply` accepts at most 262,144 bytes.
pub(super) fn template(_: &mut SchemaGenerator) -> Schema {
    let mut schema = without_descriptions::<PodTemplateSpec>();
    schema["properties"]["metadata"] = template_metadata();
    schema["x-kubernetes-validations"] =
        json!([{"rule": DEFAULT_CONTAINER_RULE, "message": DEFAULT_CONTAINER_MESSAGE}]);
    for (path, names) in UNTYPED {
        for name in names {
            if let Some(part) = below(&mut schema["properties"]["spec"], path).and_then(|parent| parent.get_mut(name)) {
                *part = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            }
        }
    }
    if let Some(spec) = schema["properties"]["spec"].as_object_mut() {
        spec.remove("required");
        if let Some(properties) = spec.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("ephemeralContainers");
            if let Some(containers) = properties.get_mut("containers") {
                bound_containers(containers, "self == 'Never'", RUNS_ONCE);
            }
            if let Some(containers) = properties.get_mut("initContainers") {
                bound_containers(containers, "self in ['Always', 'Never']", RUNS_ONCE_OR_AS_SIDECAR);
            }
            if let Some(restart_policy) = properties.get_mut("restartPolicy") {
                restart_policy["maxLength"] = json!(32);
                restart_policy["x-kubernetes-validations"] =
                    json!([{"rule": "self == 'Never'", "message": POD_RUNS_ONCE}]);
            }
        }
    }
    into_schema(schema)
}

/// What a Pod template's metadata may have. As in a Job, only labels and annotations count. The other fields are allowed because tools
/// and exported templates have them.
fn template_metadata() -> Value {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let number = json!({"type": "integer", "format": "int64"});
    let objects = json!({"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "type": "object",
        "properties": {
            "labels": texts, "annotations": texts,
            "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text, "resourceVersion": text,
            "generation": number, "creationTimestamp": text, "deletionTimestamp": text, "deletionGracePeriodSeconds": number,
            "ownerReferences": objects, "managedFields": objects,
        },
    })
}

/// Limits the list of containers, so that its rules stay within the API server's cost limit, and adds the rules on restarts.
fn bound_containers(containers: &mut Value, restart_policy_rule: &str, message: &str) {
    containers["maxItems"] = json!(100);
    let Some(properties) = containers["items"]["properties"].as_object_mut() else { return };
    if let Some(name) = properties.get_mut("name") {
        name["maxLength"] = json!(63);
    }
    if let Some(restart_policy) = properties.get_mut("restartPolicy") {
        restart_policy["maxLength"] = json!(32);
        restart_policy["x-kubernetes-validations"] = json!([{"rule": restart_policy_rule, "message": message}]);
    }
    if let Some(rules) = properties.get_mut("restartPolicyRules") {
        rules["x-kubernetes-validations"] = json!([{"rule": "self.size() == 0", "message": NO_RESTART_RULES}]);
    }
}

/// The properties of the schema at `path`, such as `volumes[].projected`.
fn below<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let found = path.split('.').try_fold(schema, |schema, segment| {
        let property = schema.get_mut("properties")?.get_mut(segment.trim_end_matches("[]"))?;
        if segment.ends_with("[]") { property.get_mut("items") } else { Some(property) }
    });
    found?.get_mut("properties")
}

/// The spec of a `RetryableTask`, with its rules. Descriptions are left out: they are in the definition of that kind.
pub(super) fn task_spec(_: &mut SchemaGenerator) -> Schema {
    let definition = serde_json::to_value(RetryableTask::crd()).unwrap_or_default();
    let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    let mut spec = spec.cloned().unwrap_or_default();
    strip_descriptions(&mut spec);
    spec["description"] =
        json!("The task's spec. It has the same fields and rules: kubectl explain retryabletask.spec");
    into_schema(spec)
}

fn list_of(items: &Value, max_items: u32, description: &str) -> Schema {
    into_schema(json!({"type": "array", "description": description, "maxItems": max_items, "items": items}))
}

/// The type's schema with every reference resolved in place, as a CustomResourceDefinition requires it.
fn inline<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::openapi3().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let mut schema = settings
        .with_transform(kube::core::schema::StructuralSchemaRewriter)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    if let Some(root) = schema.as_object_mut() {
        root.remove("title");
        root.remove("$schema");
    }
    keep_unknown_fields(&mut schema);
    strip_quantities(&mut schema);
    schema
}

fn without_descriptions<T: JsonSchema>() -> Value {
    let mut schema = inline::<T>();
    strip_descriptions(&mut schema);
    schema
}

fn into_schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

/// Without this the API server drops the fields that the schema does not know, at every depth.
fn keep_unknown_fields(schema: &mut Value) {
    if schema.get("properties").is_some() {
        schema["x-kubernetes-preserve-unknown-fields"] = Value::Bool(true);
    }
    let Some(map) = schema.as_object_mut() else { return };
    for (keyword, value) in map.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(keep_unknown_fields),
            ("items" | "additionalProperties", value) => keep_unknown_fields(value),
            _ => {}
        }
    }
}

/// Removes what explains a quantity from maps of them, which have a description themselves: 2.4 kB for each.
fn strip_quantities(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    for (keyword, value) in map.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(strip_quantities),
            ("additionalProperties", value) if value.get("x-kubernetes-int-or-string").is_some() => {
                strip_descriptions(value);
            }
            ("items" | "additionalProperties", value) => strip_quantities(value),
            _ => {}
        }
    }
}

/// Removes the keyword `description`, but keeps a property of that name.
fn strip_descriptions(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    map.remove("description");
    for (keyword, value) in map.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(strip_descriptions),
            ("items" | "additionalProperties" | "not", value) => strip_descriptions(value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => list.iter_mut().for_each(strip_descriptions),
            _ => {}
        }
    }
}

/// Calls `change` on the schema and on every schema inside it.
pub(super) fn visit(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for inner in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        visit(inner, change);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(inner)) => visit(inner, change),
        Some(JSONSchemaPropsOrArray::Schemas(list)) => list.iter_mut().for_each(|inner| visit(inner, change)),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &mut schema.additional_properties {
        visit(inner, change);
    }
}
