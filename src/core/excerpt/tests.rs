use super::*;
use crate::core::pod_snapshot::{PodSnapshot, Progress};
use crate::core::testing::{BuildEnd, BuildPod, end, pod_of, task};
use k8s_openapi::api::core::v1::Pod;

fn outcome_of(pod: &Pod) -> Outcome {
    let Progress::Ended(outcome) = PodSnapshot::of(pod).unwrap().progress else { panic!("{pod:?} has not ended") };
    outcome
}

fn saying(message: &str) -> Pod {
    pod_of(&task(), 1).ended(end(1).saying(message))
}

#[track_caller]
fn line(message: &str) -> String {
    excerpt(&outcome_of(&saying(message)), None).line.unwrap_or_default()
}

#[test]
fn one_line_of_a_log_is_the_last_meaningful_one() {
    let cases = [
        ("starting\nloading 40 rows\nFATAL: password expired\n", "FATAL: password expired"),
        ("FATAL: no such table\n\n---\n=====\n  \n", "FATAL: no such table"),
        ("FATAL: password expired\nstarting\nloading 40 rows\n", "FATAL: password expired"),
        ("[fatal] disk full\ngoing on without fatalities\n", "[fatal] disk full"),
        ("ERROR: refused, once more\nno route to host\n", "no route to host"),
        (
            "INFO a\njava.io.IOException: HTTP 429\n\tat com.example.A.b(A.java:3)\n\t... 12 more\n",
            "java.io.IOException: HTTP 429",
        ),
        (
            "java.lang.RuntimeException: x\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: full\n\tat a.B.d(B.java:2)\n... 12 more",
            "Caused by: java.io.IOException: full",
        ),
        ("boom: x\nat com.example.A.b(A.java:3)\n", "boom: x"),
        ("at noon the disk was full (again)", "at noon the disk was full (again)"),
        (
            "Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    main()\n    ~~~~^^\nValueError: bad row\n",
            "ValueError: bad row",
        ),
        (
            "panic: runtime error: index out of range [5]\n\ngoroutine 1 [running]:\nmain.main()\n\t/tmp/x.go:8 +0x1d\nexit status 2\n",
            "panic: runtime error: index out of range [5]",
        ),
        (
            "panic: nil\n[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 gp=0x1 m=0 [running]:\nmain.f(0x0)\n\t/x.go:8\ncreated by main.main in goroutine 1\n\t/x.go:1\n\ngoroutine 2 [sleep]:\nmain.g(...)\n\nrax    0x0\n",
            "panic: nil",
        ),
        (
            "http: panic serving: boom\ngoroutine 7 [running]:\nmain.f()\n\t/x.go:8\nFATAL: giving up\n",
            "FATAL: giving up",
        ),
        (
            "thread 'main' panicked at src/main.rs:3:5:\nno such row\nstack backtrace:\n   0: main::run\n             at ./src/main.rs:3:5\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            "no such row",
        ),
        (
            "/app/x.js:3\n  throw new Error('boom')\n  ^\n\nError: boom\n    at Object.<anonymous> (/app/x.js:3:9)\n\nNode.js v20.11.0\n",
            "Error: boom",
        ),
        (
            "PHP Fatal error:  Uncaught Exception: boom in /x.php:3\nStack trace:\n#0 {main}\n  thrown in /x.php on line 3\n",
            "PHP Fatal error:  Uncaught Exception: boom in /x.php:3",
        ),
        ("{\n  \"error\": \"no such row\"\n}\n", "\"error\": \"no such row\""),
        ("---\n***\n", "***"),
        ("exit status 3\n", "exit status 3"),
        ("", ""),
    ];
    for (log, expected) in cases {
        assert_eq!(line(log), expected, "{log}");
    }
}

#[test]
fn one_line_of_a_report_is_the_first_of_its_message() {
    assert_eq!(line(r#"{"message": "\n row 7 is bad\nsee the log", "errorType": "BadRow"}"#), "row 7 is bad");
    assert_eq!(line(r#"{"errorType": "BadRow"}"#), r#"{"errorType": "BadRow"}"#);
    assert_eq!(line(r#"{"message": "row 7", "retryAfterSeconds": "soon"}"#), "row 7");
    let lost = format!(r#"0{}"}}"#, "0".repeat(4096));
    assert!(line(&lost).starts_with("the termination report was longer than 4,096 bytes"), "{}", line(&lost));
}

#[test]
fn one_line_is_the_line_that_a_rule_matched() {
    let log =
        format!("{}java.io.IOException: HTTP 429\n\tat a.B(B.java:1)\n{}bye", "a\n".repeat(900), "b\n".repeat(900));
    let found = |pattern| excerpt(&outcome_of(&saying(&log)), Some(pattern));
    let Excerpt { text, line } = found("HTTP \\d+");
    assert_eq!(line.as_deref(), Some("java.io.IOException: HTTP 429"));
    assert!(text.unwrap().contains("java.io.IOException: HTTP 429"), "what matched is kept");
    assert_eq!(found("B.java").line.as_deref(), Some("at a.B(B.java:1)"), "whatever the line is");
    assert_eq!(found("(?s)429.*a.B").line.as_deref(), Some("java.io.IOException: HTTP 429"), "where it begins");
    assert_eq!(found("(?s).*").line.as_deref(), Some("bye"), "a match of everything says nothing");
    assert_eq!(found("").line.as_deref(), Some("bye"), "nor does one of nothing");
    assert_eq!(found("\\n\\s*at a").line.as_deref(), Some("at a.B(B.java:1)"));
    assert_eq!(found("nowhere").line.as_deref(), Some("bye"));
    let endless = format!("{}429{}", "x".repeat(2000), "y".repeat(2000));
    let line = excerpt(&outcome_of(&saying(&endless)), Some("429")).line.unwrap();
    assert!(line.contains("429") && line.len() <= MAX_MESSAGE_BYTES, "{line}");
}

#[test]
fn a_match_in_another_member_of_a_report_is_shown() {
    let outcome = outcome_of(&saying(r#"{"message": "import failed", "trace": "HTTP 429 Too Many"}"#));
    assert_eq!(excerpt(&outcome, None).text.as_deref(), Some("import failed"));
    let text = excerpt(&outcome, Some("Too Many")).text.unwrap();
    assert!(text.starts_with("import failed\n") && text.contains("HTTP 429 Too Many"), "{text}");
}

#[test]
fn the_cause_that_the_pod_gives_comes_first() {
    let evicted =
        saying("dd: writing\n40+0 records out").because("Evicted", "Usage of EmptyDir volume \"s\" exceeds the limit");
    let Excerpt { text, line } = excerpt(&outcome_of(&evicted), None);
    assert_eq!(line.as_deref(), Some("Usage of EmptyDir volume \"s\" exceeds the limit"));
    assert_eq!(
        text.as_deref(),
        Some("Usage of EmptyDir volume \"s\" exceeds the limit\ndd: writing\n40+0 records out")
    );
    let preempted = saying("working").disrupted("PreemptionByScheduler", 1);
    assert_eq!(excerpt(&outcome_of(&preempted), None).line.as_deref(), Some("the cluster says so"));
    assert_eq!(excerpt(&outcome_of(&evicted), Some("records out")).line.as_deref(), Some("40+0 records out"));
    let silent = pod_of(&task(), 1).exit(1).because("Evicted", "low on disk");
    assert_eq!(excerpt(&outcome_of(&silent), None).text.as_deref(), Some("low on disk"));
}
