//! What is refused, in the words that come: each row of the page is a piece of a spec, and this asks what is said of it.

use crate::page::{code, table as markdown};
use retryable_tasks::admission::{Admission, Notation};
use retryable_tasks::api::{queue_crd, schedule_crd};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// To compile the rules takes longer than to ask them all.
static ADMISSION: LazyLock<Admission> = LazyLock::new(Admission::new);
static QUEUE: LazyLock<Admission> = LazyLock::new(|| Admission::of(&queue_crd()));
static SCHEDULE: LazyLock<Admission> = LazyLock::new(|| Admission::of(&schedule_crd()));

/// What is said of a task that the API server admits and the operator does not take up.
const STALLED: &str = "admitted, but the task would stall (InvalidSpec): ";
/// Follows other refusals, and says nothing of its own.
const NOT_ALL: &str = "some validation rules were not checked";

/// The table of what the API server refuses. `body` is the one before: its first column stays, the words follow.
pub fn refused(kind: &str, body: &str) -> String {
    table(kind, body, "Answer", |piece, said| {
        assert!(!said.starts_with(STALLED), "{piece} is admitted");
        said.to_owned()
    })
}

/// The table of what is admitted and then stalls the task.
pub fn stalled(body: &str) -> String {
    table("RetryableTask", body, "Message of `Stalled`", |piece, said| {
        said.strip_prefix(STALLED).unwrap_or_else(|| panic!("{piece} does not stall a task: {said}")).to_owned()
    })
}

fn table(kind: &str, body: &str, title: &str, words: impl Fn(&str, &str) -> String) -> String {
    let rows: Vec<Vec<String>> = pieces(body)
        .map(|piece| {
            let said = refusals(kind, piece);
            let words: Vec<String> = said.iter().map(|said| code(&words(piece, said))).collect();
            assert!(!words.is_empty(), "nothing is wrong with {piece}");
            vec![code(piece), words.join("<br>")]
        })
        .collect();
    assert!(!rows.is_empty());
    markdown(&["Refused", title], &rows)
}

/// The first column.
fn pieces(body: &str) -> impl Iterator<Item = &str> {
    body.lines().skip(2).filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(piece, _)| piece))
}

fn refusals(kind: &str, piece: &str) -> Vec<String> {
    let mut given: Map<String, Value> = serde_yaml_ng::from_str(&format!("{{{piece}}}")).unwrap();
    let metadata = given.remove("metadata").unwrap_or_else(|| json!({"name": "shown"}));
    let task = json!({"image": "registry.example/shown:1"});
    let mut spec = match kind {
        "RetryableTask" => task,
        "TaskSchedule" => json!({"template": {"spec": task}}),
        _ => json!({}),
    };
    for (field, value) in given {
        spec[field] = value;
    }
    let manifest = json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    });
    let said = match kind {
        "RetryableTask" => ADMISSION.admit(&manifest, Notation::Yaml).err(),
        "TaskSchedule" => SCHEDULE.check(&manifest, Notation::Yaml).err(),
        _ => QUEUE.check(&manifest, Notation::Yaml).err(),
    };
    let said = said.unwrap_or_default();
    said.into_iter().filter(|said| !said.starts_with(NOT_ALL)).collect()
}

/// The messages of the CEL rules anywhere in the definition.
pub fn messages(schema: &Value) -> Vec<String> {
    let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut found: Vec<String> = own.filter_map(|rule| rule["message"].as_str().map(Into::into)).collect();
    match schema {
        Value::Object(map) => found.extend(map.values().flat_map(messages)),
        Value::Array(list) => found.extend(list.iter().flat_map(messages)),
        _ => {}
    }
    found.sort();
    found.dedup();
    found
}
