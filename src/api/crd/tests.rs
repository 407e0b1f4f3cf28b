mod admission;
mod queue;

use super::*;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Client-side `kubectl apply` can store 262,144 bytes in its annotation. Every API server holds the definition several times, in its
/// schemas and in OpenAPI.
const LARGEST: usize = 140_000;

pub(super) fn root() -> &'static Value {
    static ROOT: OnceLock<Value> = OnceLock::new();
    ROOT.get_or_init(|| {
        let crd = serde_json::to_value(crd()).unwrap();
        crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
    })
}

/// Calls `see` with every schema below `schema` and its path; `true` lets it go on below.
pub(super) fn walk<'a>(schema: &'a Value, path: &str, see: &mut impl FnMut(&'a Value, &str) -> bool) {
    if !see(schema, path) {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), see);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(keyword).filter(|inner| inner.is_object()) {
            walk(inner, &format!("{path}{suffix}"), see);
        }
    }
}

/// Whether the schema is Kubernetes' own, with descriptions of its own or none.
fn is_kubernetes_own(path: &str) -> bool {
    const OF_SPECS: [&str; 5] = [".template", ".env[]", ".envFrom[]", ".resources", ".tolerations[]"];
    let specs = [".spec", ".spec.onFailure", ".spec.overrides[]"];
    let inner = specs.iter().filter_map(|spec| path.strip_prefix(spec));
    let of_a_spec = inner.flat_map(|field| OF_SPECS.iter().map(move |own| field.starts_with(own))).any(|own| own);
    of_a_spec || [".status.conditions[]", ".metadata"].iter().any(|own| path.starts_with(own))
}

#[test]
fn it_stays_small() {
    let size = serde_json::to_string(&crd()).unwrap().len();
    assert!(size < LARGEST, "{size} bytes");
}

#[test]
fn nothing_is_nullable_and_nothing_is_unsigned_or_a_float() {
    walk(root(), "", &mut |schema, path| {
        assert_eq!(schema.get("nullable"), None, "{path}");
        assert_ne!(schema.get("default"), Some(&Value::Null), "{path}");
        true
    });
    walk(root(), "", &mut |schema, path| {
        let format = schema["format"].as_str().unwrap_or_default();
        assert!(!format.starts_with("uint") && schema["type"] != "number", "{path}: {schema}");
        !is_kubernetes_own(path)
    });
}

#[test]
fn kubectl_explain_explains_every_field_of_ours() {
    walk(root(), "", &mut |schema, path| {
        let is_item = path.ends_with("[]") || path.is_empty();
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(is_item || path == ".metadata" || text.len() > 10, "{path}: {text:?}");
        !is_kubernetes_own(path)
    });
}

#[test]
fn within_the_template_descriptions_are_stripped_but_not_properties_of_that_name() {
    let mut seen = 0;
    walk(root(), "", &mut |schema, path| {
        if path.starts_with(".spec.template.") {
            assert!(!schema["description"].is_string(), "{path}");
            seen += 1;
        }
        true
    });
    assert!(seen > 300, "{seen}");
    let template = root().pointer("/properties/spec/properties/template").unwrap().clone();
    let metadata: BTreeSet<&str> =
        template["properties"]["metadata"]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(metadata.is_superset(&BTreeSet::from(["annotations", "creationTimestamp", "labels", "name"])));
    assert!(
        !metadata.contains("finalizers"),
        "a Job takes them over from its template, and here they would be dropped"
    );
    assert_eq!(template["properties"]["metadata"].get("x-kubernetes-preserve-unknown-fields"), None, "misspelt ones");
    let spec = &template["properties"]["spec"];
    assert_eq!(spec["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!((spec.get("required"), spec["properties"].get("ephemeralContainers")), (None, None));
    assert_eq!(spec["properties"]["containers"]["items"]["x-kubernetes-preserve-unknown-fields"], true);
}

#[test]
fn the_untyped_parts_of_a_pod_are_still_named() {
    for field in ["", "/onFailure/properties"] {
        let spec =
            root().pointer(&format!("/properties/spec/properties{field}/template/properties/spec")).map(|spec| {
                spec.to_string().matches(r#"{"type":"object","x-kubernetes-preserve-unknown-fields":true}"#).count()
            });
        let named: usize = schema::UNTYPED.iter().map(|(_, names)| names.len()).sum();
        assert_eq!(spec, Some(named), "{field}: a path leads nowhere, or Kubernetes has a free-form object of its own");
    }
}

#[test]
fn quantities_are_not_explained_again_and_again() {
    walk(root(), "", &mut |schema, path| {
        let is_quantity = path.ends_with("{}") && schema["x-kubernetes-int-or-string"] == true;
        assert!(!is_quantity || schema.get("description").is_none(), "{path}");
        true
    });
}

#[test]
fn lists_of_the_spec_are_bounded() {
    walk(root(), "", &mut |schema, path| {
        let is_ours = path.starts_with(".spec") && !is_kubernetes_own(path);
        assert!(!is_ours || schema["type"] != "array" || schema["maxItems"].is_u64(), "{path}");
        is_ours || path.is_empty()
    });
}

#[test]
fn defaults_are_those_that_are_documented() {
    let mut defaults = Vec::new();
    walk(root(), "", &mut |schema, path| {
        defaults.extend(schema.get("default").map(|value| format!("{path} {value}")));
        !is_kubernetes_own(path)
    });
    let expected = [
        r#".spec.after[].condition "Succeeded""#,
        ".spec.avoidFailedNodes true",
        r#".spec.completion "MainContainer""#,
        ".spec.historyLimit 20",
        ".spec.maxRetries 3",
        r#".spec.podRetention {"failed":1,"succeeded":1}"#,
        ".spec.podRetention.failed 1",
        ".spec.podRetention.succeeded 1",
        ".spec.queue.priority 0",
        ".spec.suspend false",
        r#".status {"observedGeneration":-1}"#,
    ];
    assert_eq!(defaults, expected);
}

#[test]
fn each_resource_has_its_definition() {
    let plurals: Vec<String> = crds().into_iter().map(|crd| crd.spec.names.plural).collect();
    assert_eq!(plurals, RESOURCES);
}

#[test]
fn the_names_and_columns() {
    let crd = crd();
    let names = &crd.spec.names;
    assert_eq!(crd.metadata.name.as_deref(), Some("retryabletasks.retryable.dev"));
    assert_eq!((names.kind.as_str(), names.plural.as_str()), ("RetryableTask", "retryabletasks"));
    assert_eq!(
        (names.short_names.as_deref(), names.categories.as_deref()),
        (Some(&["rt".into()][..]), Some(&["all".into()][..]))
    );
    let [version] = crd.spec.versions.as_slice() else { panic!("one version") };
    assert!(version.subresources.as_ref().unwrap().status.is_some());
    let selectable: Vec<_> = version.selectable_fields.iter().flatten().map(|field| field.json_path.as_str()).collect();
    assert_eq!(selectable, [".status.state", ".spec.queue.name"]);
    let columns: Vec<_> = version.additional_printer_columns.iter().flatten().collect();
    let line: Vec<_> =
        columns.iter().map(|c| format!("{} {} {} {}", c.name, c.type_, c.json_path, c.priority.unwrap_or(0))).collect();
    let expected = [
        "State string .status.state 0",
        "Attempts integer .status.attempts 0",
        "Last-Reason string .status.reason 0",
        r#"Failed string .status.conditions[?(@.type=="Failed")].reason 0"#,
        "Next-Retry string .status.nextRetryTime 0", // a date column prints a future time as <invalid>
        "Age date .metadata.creationTimestamp 0",
        "Duration string .status.duration 1",
        "Exit-Code integer .status.lastFailure.exitCode 1",
        "Message string .status.message 1",
        "Image string .spec.image 1",
    ];
    assert_eq!(line, expected);
    for column in columns {
        let pointer = column.json_path.replace('.', "/properties/");
        let pointer = pointer.split("[?").next().unwrap_or_default();
        let is_metadata = column.json_path.starts_with(".metadata");
        assert!(is_metadata || root().pointer(pointer).is_some(), "{}", column.json_path);
    }
}

#[test]
fn the_status_has_no_enums_that_a_rollback_would_break() {
    for path in ["/state", "/current/properties/stopReason", "/history/items/properties/action"] {
        let schema = root().pointer(&format!("/properties/status/properties{path}")).unwrap().clone();
        assert_eq!((&schema["type"], schema.get("enum")), (&json!("string"), None), "{path}");
    }
}

#[test]
fn the_status_has_one_owner() {
    assert_eq!(root().pointer("/properties/status/x-kubernetes-map-type"), Some(&json!("atomic")));
}

#[test]
fn visiting_reaches_every_schema() {
    let mut crd = crd();
    let root = crd.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
    let (mut visited, mut walked) = (0, 0);
    let value = serde_json::to_value(&*root).unwrap();
    schema::visit(root, &mut |_: &mut JSONSchemaProps| visited += 1);
    walk(&value, "", &mut |_, _| {
        walked += 1;
        true
    });
    assert_eq!(visited, walked);
}
