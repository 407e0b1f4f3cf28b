//! Containers' output in the status: its size is bounded, and it is safe to display.

use crate::support::{Scene, eventually, kubectl, sh};
use jiff::Timestamp;
use retryable_tasks::api::{LastFailure, RetryableTaskStatus, State};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The longest wait that a task can ask for.
const YEAR_MILLIS: i64 = 31_536_000_000;

/// What a container does before it fails, and what the history then says: beginning and end of the message.
const SPEAKERS: [(&str, &str, (&str, &str)); 12] = [
    ("colours", r"printf '\033[31mred\033[0m\033]0;owned\007 \r\b\033[2Jplain'", ("red plain", "plain")),
    ("c1", r"printf '\302\23331mred \302\235x\302\234y'", ("red", "y")),
    ("not-utf8", r"printf 'a\377\376\300\257z'", ("a", "z")),
    ("bidi", r"printf '\342\200\256live\342\201\246x'", ("livex", "livex")),
    ("nul", r"printf 'a\000b\177c'", ("abc", "abc")),
    (
        "forger",
        r"printf 'x\n2026-11-23T00:00:00.000000Z ERROR retryable_tasks::forged: all is lost\n'",
        ("x\n2026", "lost"),
    ),
    ("megabytes", "head -c 5000000 /dev/zero | tr '\\000' 'A'; echo; echo THE END", ("", "THE END")),
    ("megabyte-line", "head -c 5000000 /dev/zero | tr '\\000' 'A'; printf 'THE END'", ("AAA", "THE END")),
    ("quotes", r#"for i in $(seq 400); do printf '<&>"\\'; done"#, ("<&>\"\\<&>\"\\", "<&>\"\\")),
    (
        "nested",
        r#"{ printf '{"message":'; head -c 1500 /dev/zero | tr '\000' '['; } >/dev/termination-log"#,
        (r#"{"message":[[["#, "[[["),
    ),
    (
        "types",
        r#"printf '{"errorType":{"a":[1]},"message":7,"retryAfterSeconds":1e400,"doNotRetry":"yes","result":[]}' >/dev/termination-log"#,
        (r#"{"errorType""#, "}"),
    ),
    (
        "escapes",
        r#"printf '{"errorType":"\\u001b[31mBad\\n\\u202e","message":"\\u001b]0;x\\u0007said\\u0000","result":"\\u001b[2Jr"}' >/dev/termination-log"#,
        ("said", "said"),
    ),
];

/// Whether a terminal, or an eye, could take it for something else. Line ends are looked at elsewhere.
fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    let harmful: Vec<&str> = text.lines().filter(|line| line.contains(is_harmful)).collect();
    assert!(harmful.is_empty(), "{what}: {harmful:?}");
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| texts(value, found)),
        Value::Object(map) => map.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

fn last_failure(status: &RetryableTaskStatus) -> &LastFailure {
    status.last_failure.as_ref().unwrap()
}

#[track_caller]
fn assert_stored_well(name: &str, status: &RetryableTaskStatus, (begin, end): (&str, &str)) {
    let message = status.history[0].message.clone().unwrap_or_default();
    assert!(message.starts_with(begin) && message.ends_with(end), "{name}: {message:?}");
    let mut stored = Vec::new();
    texts(&serde_json::to_value(status).unwrap(), &mut stored);
    for text in stored {
        assert_harmless(name, &text);
        let bytes = serde_json::to_string(&text).unwrap().len() - 2;
        assert!(bytes <= 1024, "{name}: {bytes} bytes: {text}");
    }
}

#[tokio::test]
async fn any_container_output_is_stored_and_shown_safely() {
    let scene = Scene::new("words").await;
    let operator = scene.operator().await;
    for (name, script, _) in &SPEAKERS {
        // A small file, which is all that is left of a log that is larger: the kubelet's limits come before ours.
        scene.apply(&sh(name, &format!("{script}; exit 1"), &json!({"maxRetries": 0})));
    }
    for (name, _, recorded) in SPEAKERS {
        let status = scene.finished(name).await;
        assert_eq!((status.state, last_failure(&status).exit_code), (Some(State::Failed), Some(1)), "{name}");
        assert_stored_well(name, &status, recorded);
        scene.event(name, "RetriesExhausted").await;
    }
    let escapes = scene.task("escapes").await.status.unwrap();
    assert_eq!(escapes.history[0].error_type.as_deref(), Some("Bad"));

    for args in [
        &["get", "retryabletasks"][..],
        &["get", "retryabletasks", "-o", "wide"],
        &["get", "retryabletasks", "-o", "yaml"],
        &["describe", "retryabletasks"],
        &["get", "events.events.k8s.io"],
        &["get", "events", "-o", "wide"],
    ] {
        assert_harmless(&args.join(" "), &scene.kubectl(args).ok());
    }
    for args in
        [&["get", "retryabletasks", "--no-headers"][..], &["get", "retryabletasks", "-o", "wide", "--no-headers"]]
    {
        let table = scene.kubectl(args).ok();
        let names: BTreeSet<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, SPEAKERS.iter().map(|(name, ..)| *name).collect(), "one line a task:\n{table}");
        assert_eq!(table.lines().count(), SPEAKERS.len(), "one line a task:\n{table}");
    }
    let log = operator.log();
    assert_harmless("the log", &log);
    for line in log.lines() {
        let begin = line.split_whitespace().next().unwrap_or_default();
        assert!(begin.parse::<Timestamp>().is_ok(), "a line that is no record: {line}");
        assert!(!line.contains("ERROR retryable_tasks::forged: all is lost") || line.contains("said="), "{line}");
    }
    let metrics = operator.get("/metrics").1;
    assert_harmless("the metrics", &metrics);
    // Some series exist at 0 from the start.
    let counted = metrics.lines().filter(|line| !line.ends_with(" 0"));
    let reasons = counted.filter_map(|line| line.split_once("reason=\"")?.1.split_once('"'));
    let reasons: BTreeSet<&str> = reasons.map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["Error", "RetriesExhausted"].into(), "{metrics}");
}

#[tokio::test]
async fn a_task_that_asks_for_absurd_waits_gets_them_within_bounds() {
    let scene = Scene::new("waits").await;
    let operator = scene.operator().await;
    let say = |number: &str| format!(r#"printf '{{"retryAfterSeconds":{number}}}' >/dev/termination-log; exit 1"#);
    let now = json!({"maxRetries": 1, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}});
    for (name, number) in [("negative", "-1"), ("words", "\"soon\""), ("beyond", "1e400")] {
        scene.apply(&sh(name, &say(number), &now));
    }
    for (name, number) in [("huge", "9223372036854775807"), ("long", "315360000")] {
        scene.apply(&sh(name, &say(number), &now));
        let status = scene.status(name, "its wait", |status| status.state == Some(State::Waiting)).await;
        let wait = status.history[0].delay_milliseconds.unwrap();
        // A year, and the default jitter of a quarter more at most.
        assert!((YEAR_MILLIS..=YEAR_MILLIS * 5 / 4).contains(&wait), "{status:#?}");
        assert!(status.next_retry_time.is_some(), "{status:#?}");
        eprintln!("retryAfterSeconds {number}: {wait} ms, until {:?}", status.next_retry_time);
    }
    for name in ["negative", "words", "beyond"] {
        let status = scene.finished(name).await;
        assert_eq!((status.attempts, status.history[0].delay_milliseconds), (2, Some(0)), "{name}");
    }
    eventually("a quiet operator", async || {
        let healthy = operator.get("/healthz");
        if healthy.0 == 200 { Ok(()) } else { Err(healthy.1) }
    })
    .await;
    let shown = kubectl(&["get", "retryabletasks", "--namespace", &scene.namespace]).ok();
    assert!(shown.lines().count() == 6, "{shown}");
}
