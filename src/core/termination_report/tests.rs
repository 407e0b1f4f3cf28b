use super::*;
use serde_json::json;

fn of(text: &str) -> TerminationReport {
    termination_report(text, 1)
}

fn report() -> TerminationReport {
    TerminationReport { is_report: true, ..TerminationReport::default() }
}

#[test]
fn a_report_is_read_from_a_json_object() {
    let said = of(
        r#" {"errorType":"RateLimit","message":"slow down","retryAfterSeconds":30,"doNotRetry":true,"result":{"rows":3}} "#,
    );
    let expected = TerminationReport {
        error_types: vec!["RateLimit".into()],
        message: Some("slow down".into()),
        retry_after_seconds: Some(30),
        do_not_retry: true,
        result: Some(r#"{"rows":3}"#.into()),
        ..report()
    };
    assert_eq!(said, expected);
    assert_eq!(of("{\"errorType\": \"\\u0000\", \"message\": \"\\u001b[2J\"}"), report());
}

#[test]
fn an_invalid_report_is_plain_text() {
    for text in ["", "oops", "[1]", "{\"doNotRetry\":true", "\"doNotRetry\"", "{} trailing"] {
        assert_eq!(of(text), TerminationReport::default(), "{text}");
    }
}

#[test]
fn seconds_are_read_in_every_common_notation_and_rounded_up() {
    let cases = [
        ("30", Some(30)),
        ("30.0", Some(30)),
        ("0.2", Some(1)),
        ("3e1", Some(30)),
        ("\"30\"", Some(30)),
        ("\" 12.5 \"", Some(13)),
        ("1e300", Some(i64::MAX)),
        ("0", Some(0)),
        ("null", None),
    ];
    for (text, seconds) in cases {
        let said = of(&format!(r#"{{"retryAfterSeconds": {text}}}"#));
        assert_eq!((said.retry_after_seconds, said.unread), (seconds, None), "{text}");
    }
}

#[test]
fn do_not_retry_may_be_written_as_text() {
    for (text, said) in [("true", true), ("\"true\"", true), ("\"True\"", true), ("\"false\"", false), ("null", false)]
    {
        let word = of(&format!(r#"{{"doNotRetry": {text}}}"#));
        assert_eq!((word.do_not_retry, word.unread), (said, None), "{text}");
    }
}

#[test]
fn a_member_of_the_wrong_type_is_ignored_and_reported() {
    let cases = [
        (
            r#"{"retryAfterSeconds": "soon"}"#,
            "retryAfterSeconds \"soon\" is not a number of seconds from 0 on: ignored",
        ),
        (r#"{"retryAfterSeconds": -1}"#, "retryAfterSeconds -1 is not"),
        (r#"{"retryAfterSeconds": "NaN"}"#, "retryAfterSeconds \"NaN\" is not"),
        (r#"{"retryAfterSeconds": "inf"}"#, "retryAfterSeconds \"inf\" is not"),
        (r#"{"doNotRetry": "yes"}"#, "doNotRetry \"yes\" is not true or false: ignored"),
        (r#"{"doNotRetry": 1}"#, "doNotRetry 1 is not"),
        (r#"{"errorType": 5}"#, "errorType 5 is not a string: ignored"),
        (r#"{"errorTypes": "Busy"}"#, "errorTypes \"Busy\" is not a list of strings: ignored"),
        (r#"{"errorTypes": ["Busy", 5]}"#, "errorTypes [\"Busy\",5] is not a list of strings: ignored"),
        (r#"{"message": []}"#, "message [] is not a string: ignored"),
    ];
    for (text, words) in cases {
        let said = of(text);
        let unread = said.unread.as_deref().unwrap_or_default();
        assert!(unread.starts_with(words), "{text}: {unread}");
        assert_eq!(TerminationReport { unread: None, ..said }, report(), "{text}");
    }
}

#[test]
fn kinds_of_errors_go_from_the_most_specific_to_the_least() {
    let cases = [
        (r#"{"errorTypes": ["Reset", "Connection", "OS"]}"#, "Reset Connection OS"),
        (r#"{"errorType": "Reset", "errorTypes": ["Connection", "Reset", "OS"]}"#, "Reset Connection OS"),
        (r#"{"errorType": "Reset", "errorTypes": []}"#, "Reset"),
        (r#"{"errorType": "", "errorTypes": ["", "OS", null]}"#, ""),
        (r#"{"errorType": 5, "errorTypes": ["OS"]}"#, "OS"),
        (r#"{"errorTypes": null}"#, ""),
    ];
    for (text, types) in cases {
        assert_eq!(of(text).error_types.join(" "), types, "{text}");
    }
    let many: Vec<_> = (0..17).map(|n| format!("{n}{}", "x".repeat(200))).collect();
    let said = of(&json!({"errorTypes": many}).to_string());
    assert_eq!((said.error_types.len(), said.error_types[15].len()), (16, 128));
    assert_eq!(said.unread.as_deref(), Some("errorTypes has more than 16: the first 16 count"));
}

#[test]
fn a_part_of_the_work_that_failed_has_numbers() {
    let said = |text: &str| {
        let TerminationReport { partial, unread, .. } = of(&format!(r#"{{"partial": {text}}}"#));
        partial.map(|partial| partial.to_string()).or(unread).unwrap_or_default()
    };
    let cases = [
        (r#"{"failed": 3, "total": 100}"#, "3 of 100 failed"),
        (r#"{"failed": "3", "total": null}"#, "3 failed"),
        (r#"{"failed": 0, "total": 0}"#, "0 of 0 failed"),
        ("null", ""),
    ];
    for (text, words) in cases {
        assert_eq!(said(text), words, "{text}");
    }
    for text in [r#"{"failed":4,"total":3}"#, r#"{"failed":-1}"#, r#"{"total":3}"#, "true", r#"{"failed":1.5}"#] {
        let expected =
            format!("partial {text} is not {{\"failed\": a number, \"total\": a number that is no smaller}}: ignored");
        assert_eq!(said(text), expected);
    }
}

#[test]
fn a_checkpoint_is_any_json_whole_or_not_at_all() {
    let cases = [
        (json!("row 17"), Some("row 17")),
        (json!(" $HOME\n"), Some(" $HOME\n")),
        (json!(17), Some("17")),
        (json!({"row": 17, "file": "a"}), Some(r#"{"file":"a","row":17}"#)),
        (json!([1, null]), Some("[1,null]")),
        (json!(false), Some("false")),
        (json!(""), Some("")),
        (json!(null), None),
        (json!("x".repeat(1024)), Some(&*"x".repeat(1024))),
    ];
    for (value, text) in cases {
        let said = of(&json!({"checkpoint": value}).to_string());
        assert_eq!((said.checkpoint.as_deref(), said.unread), (text, None), "{value}");
    }
    let refused = [
        ("x".repeat(1025), "checkpoint is 1025 bytes long, and more than 1024: ignored, an earlier one stays"),
        ("a\0b".into(), "checkpoint has a NUL character, which no variable can have: ignored, an earlier one stays"),
    ];
    for (text, words) in refused {
        let said = of(&json!({"checkpoint": text}).to_string());
        assert_eq!((said.checkpoint, said.unread.as_deref()), (None, Some(words)));
    }
}

#[test]
fn a_report_whose_beginning_is_lost_says_so() {
    let whole = format!(r#"{{"doNotRetry": true, "message": "row 7", "trace": "{}"}}"#, "0".repeat(4100));
    let said = of(&whole[whole.len() - 4096..]);
    let unread = said.unread.as_deref().unwrap();
    assert!(unread.contains("longer than 4,096 bytes") && unread.contains("could not be read"), "{unread}");
    assert_eq!(TerminationReport { unread: None, ..said }, report());

    let nested = format!(r#"{{"trace": "{}", "at": {{"row": 7}}, "doNotRetry": true}}"#, "0".repeat(4096));
    assert!(of(&nested[nested.len() - 4096..]).is_report);
    let log = "x".repeat(4096);
    assert_eq!(of(&log), TerminationReport::default(), "a text is not a report");
    let lines = format!("{}\n{}", "0".repeat(4096), r#"{"level": "error"}"#);
    assert_eq!(of(&lines[lines.len() - 4096..]), TerminationReport::default(), "nor are lines of JSON");
}

#[test]
fn a_report_whose_end_is_lost_counts_as_far_as_it_can_be_read() {
    let cut = |text: &str| termination_report(&format!("{text}{}", "x".repeat(3072))[..3072], 4);
    let said = cut(r#"{"doNotRetry": true, "retryAfterSeconds": 30, "message": "row 7", "trace": ""#);
    assert_eq!((said.do_not_retry, said.retry_after_seconds, said.message.as_deref()), (true, Some(30), Some("row 7")));
    let unread = said.unread.unwrap();
    assert!(unread.contains("cut at 3,072 bytes (4 containers share 12 KiB)"), "{unread}");

    let said = cut(r#"{"nested": {"a": [1, {"b": "}"}]}, "text": "\",", "errorType": "Busy", "message": "a lot: "#);
    assert_eq!(said.error_type().map(String::as_str), Some("Busy"));
    assert!(said.message.unwrap().starts_with("a lot: xxx"), "a message is read in part");

    assert_eq!(termination_report(&"x".repeat(3071), 4), TerminationReport::default(), "text that was not cut");
    let text = termination_report(&"x".repeat(3072), 4);
    assert!(text.unread.unwrap().starts_with("the termination message was cut at 3,072 bytes"));
    assert!(!termination_report(&"x y\n".repeat(768), 4).is_report, "that has lines is a log");
}

#[test]
fn the_member_at_the_cut_counts_only_where_nothing_of_it_can_be_missing() {
    let cases = [
        (r#" "doNotRetry": true"#, Some(r#"{"doNotRetry":true}"#)),
        (r#" "retryAfterSeconds": 30"#, None),
        (r#" "errorType": "Rate"#, Some("{}")),
        (r#" "errorType": "RateLimit""#, Some(r#"{"errorType":"RateLimit"}"#)),
        (r#" "message": "row"#, Some(r#"{"message":"row"}"#)),
        (r#" "message": "row\"#, Some(r#"{"message":"row"}"#)),
        (r#" "message": "row\u00"#, Some(r#"{"message":"row"}"#)),
        (r#" "message": "row\ud83d\ude0"#, Some(r#"{"message":"row"}"#)),
        (" \"message\": \"row\u{fffd}\u{fffd}", Some(r#"{"message":"row"}"#)),
        (r#" "messa"#, None),
        (r#" "message":"#, None),
    ];
    for (text, members) in cases {
        let read = cut_member(text).map(|members| Value::Object(members).to_string());
        assert_eq!(read.as_deref(), members, "{text}");
    }
}
