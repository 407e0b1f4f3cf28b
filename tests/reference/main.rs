//! `docs/reference.md` and the program: what is generated is compared, what is written by hand names all there is.
//!
//! A generated part stands between `<!-- generated: KIND ARGUMENT -->` and `<!-- end -->`. `make generate` sets
//! `WRITE_REFERENCE` and so writes these parts; the text around them stays as it is.

#![allow(clippy::unwrap_used, clippy::panic)]

mod admission;
mod fields;
mod flags;
mod metrics;
mod page;
mod reasons;

use page::{Page, Part};
use retryable_tasks::admission::{schema_of, schema_of_crd};
use retryable_tasks::api::{queue_crd, schedule_crd};
use serde_json::Value;
use std::sync::LazyLock;

const PAGE: &str = "docs/reference.md";
static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of_crd);
static QUEUE: LazyLock<Value> = LazyLock::new(|| schema_of(&queue_crd()));
static SCHEDULE: LazyLock<Value> = LazyLock::new(|| schema_of(&schedule_crd()));

fn path() -> String {
    format!("{}/{PAGE}", env!("CARGO_MANIFEST_DIR"))
}

fn page() -> Page {
    Page::read(&std::fs::read_to_string(path()).unwrap())
}

/// The schema of a kind.
fn schema(kind: &str) -> &'static Value {
    match kind {
        "RetryableTask" => &SCHEMA,
        "TaskQueue" => &QUEUE,
        "TaskSchedule" => &SCHEDULE,
        other => panic!("{PAGE}: nothing defines {other:?}"),
    }
}

/// What is to stand in that part.
fn generated(page: &Page, part: &Part) -> String {
    let Part { kind, argument, body } = part;
    match kind.as_str() {
        "fields" => fields::table(schema(fields::kind(argument)), argument, page),
        "flags" => flags::table(argument),
        "metrics" => metrics::table(),
        "refused" => admission::refused(fields::kind(argument), body),
        "stalled" => admission::stalled(body),
        _ => panic!("{PAGE}: nothing is generated for {kind:?}"),
    }
}

#[test]
fn the_generated_parts_are_as_the_program_is() {
    let page = page();
    let fresh = page.with(|part| generated(&page, part));
    let (text, expected) = (page.text(), fresh.text());
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(path(), expected).unwrap();
        return;
    }
    let stale: Vec<_> = text.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
    let missing: Vec<_> = expected.lines().filter(|line| !text.lines().any(|other| other == *line)).collect();
    assert!(
        text == expected,
        "{PAGE} is stale: run `make generate`\n--- it says\n{}\n--- the program says\n{}",
        stale.join("\n"),
        missing.join("\n")
    );
}

#[test]
fn nothing_is_left_out() {
    let page = page();
    let has = |kind: &str, argument: &str| page.parts().any(|part| part.kind == kind && part.argument == argument);
    for object in ["spec", "status", "TaskQueue/spec", "TaskQueue/status", "TaskSchedule/spec", "TaskSchedule/status"] {
        assert!(has("fields", object), "{PAGE} has no `<!-- generated: fields {object} -->`");
    }
    assert!(has("metrics", ""));
    assert!(has("flags", ""), "the flags of all commands");
    for command in flags::commands() {
        assert!(has("flags", &command), "{PAGE} has no `<!-- generated: flags {command} -->`");
    }
    let rows: String = page.parts().filter(|part| part.kind == "refused").map(|part| part.body.as_str()).collect();
    for message in [&*SCHEMA, &*QUEUE, &*SCHEDULE].into_iter().flat_map(admission::messages) {
        assert!(rows.contains(&message), "{PAGE}: no row shows what is refused with {message:?}");
    }
}
