//! Spans as the JSON of OTLP: ids in hexadecimal, 64-bit numbers as text.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A span of a task's trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The id of its parent; none for a root.
    pub parent: Option<String>,
    /// What it is, without names of objects.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended. Not before it began.
    pub end: Timestamp,
    /// More about it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// What went wrong, if it did.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// The body of a request.
pub(super) fn request(spans: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [text("service.name", env!("CARGO_PKG_NAME")), text("service.version", version)];
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let scope = json!({"name": env!("CARGO_PKG_NAME"), "version": version});
    json!({"resourceSpans": [{
        "resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": spans}],
    }]})
}

fn span(span: &Span) -> Value {
    /// Done by the operator itself, not at the request of another program.
    const INTERNAL: u32 = 1;
    const ERROR: u32 = 2;
    let Span { trace_id, span_id, parent, name, start, end, attributes, error } = span;
    let attributes: Vec<Value> = attributes.iter().map(attribute).collect();
    let mut shown = json!({
        "traceId": trace_id, "spanId": span_id, "name": name, "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(*start), "endTimeUnixNano": nanoseconds(*end.max(start)),
        "attributes": attributes, "status": {},
    });
    if let Some(parent) = parent {
        shown["parentSpanId"] = parent.as_str().into();
    }
    if let Some(message) = error {
        shown["status"] = json!({"code": ERROR, "message": message});
    }
    shown
}

fn attribute((key, value): &(&'static str, Attribute)) -> Value {
    match value {
        Attribute::Text(value) => text(key, value),
        Attribute::Number(value) => json!({"key": key, "value": {"intValue": value.to_string()}}),
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn nanoseconds(time: Timestamp) -> String {
    time.as_nanosecond().max(0).to_string()
}
