use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
    fn objects(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn json_lines(level: &str, body: impl FnOnce()) -> Vec<Value> {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    tracing::subscriber::with_default(json(filter(level).unwrap(), move || writer.clone()), body);
    buffer.objects()
}

#[test]
fn a_json_line_carries_the_fields_of_all_its_spans() {
    let lines = json_lines("info", || {
        let _outer =
            tracing::info_span!("reconcile", namespace = "team-a", task = "import", trace_id = %"0af7").entered();
        let _inner = tracing::info_span!("apply", attempt = 2).entered();
        tracing::info!(delay_milliseconds = 130, reason = "Error", "attempt failed: \"quoted\"");
    });
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(line["namespace"], "team-a");
    assert_eq!(line["task"], "import");
    assert_eq!(line["trace_id"], "0af7");
    assert_eq!(line["attempt"], 2);
    assert_eq!(line["delay_milliseconds"], 130);
    assert_eq!(line["message"], "attempt failed: \"quoted\"");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], module_path!());
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
}

#[test]
fn fields_recorded_later_and_inner_ones_win() {
    let lines = json_lines("info", || {
        let outer = tracing::info_span!("outer", task = "a", state = tracing::field::Empty);
        outer.record("state", "Waiting");
        let _outer = outer.entered();
        let _inner = tracing::info_span!("inner", task = "b").entered();
        tracing::info!("one");
        tracing::info!(task = "c", "two");
    });
    assert_eq!(lines[0]["task"], "b");
    assert_eq!(lines[0]["state"], "Waiting");
    assert_eq!(lines[1]["task"], "c");
}

#[test]
fn directives_choose_by_module() {
    let lines = json_lines("warn,noisy=off", || {
        tracing::info!("dropped");
        tracing::warn!("kept");
        tracing::error!(target: "noisy", "dropped");
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message"], "kept");
}

#[test]
fn text_lines_carry_the_span_fields_without_colour() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    tracing::subscriber::with_default(text(filter("debug").unwrap(), false, move || writer.clone()), || {
        let _span = tracing::info_span!("reconcile", namespace = "team-a", task = "import").entered();
        tracing::debug!("decided");
    });
    let text = buffer.text();
    assert!(text.contains(r#"reconcile{namespace="team-a" task="import"}"#), "{text}");
    assert!(text.contains("decided") && !text.contains('\u{1b}'), "{text}");
}

/// What others say reaches the log in errors too, such as the words of an admission webhook.
#[test]
fn a_record_is_one_line_whatever_it_quotes() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let error = io::Error::other("denied:\n2026-11-23T00:00:00Z ERROR forged\r\u{1b}[31m");
    tracing::subscriber::with_default(text(filter("info").unwrap(), false, move || writer.clone()), || {
        tracing::warn!(%error, said = "one\ntwo", "the reconcile failed");
    });
    let text = buffer.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r"denied:\n2026") && text.contains("two") && text.ends_with('\n'), "{text}");
    assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
}

#[test]
fn a_json_record_has_no_characters_that_mislead() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let said = "one\ntwo \u{202e}drawkcab\u{2028}\u{9b}31m\ttab";
    tracing::subscriber::with_default(json(filter("info").unwrap(), move || writer.clone()), || {
        tracing::warn!(error = said, "the reconcile failed");
    });
    let text = buffer.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.trim_end().contains(misleads), "{text:?}");
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["error"], said, "a program reads what was said");
}

#[test]
fn an_invalid_filter_is_a_clear_error() {
    let message = |level: &str| filter(level).unwrap_err().to_string();
    assert!(message("inof").contains("unknown log level `inof`"));
    assert!(message(" ").contains("empty"));
    assert!(message("retryable_tasks=loud").contains("invalid log filter `retryable_tasks=loud`"));
    for good in ["info", "DEBUG", "off", "info,retryable_tasks=debug", "retryable_tasks::core=trace"] {
        assert!(filter(good).is_ok(), "{good}");
    }
}
