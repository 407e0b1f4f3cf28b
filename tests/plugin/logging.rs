//! What `logs` prints.

use crate::server::{Answer, Request, Server, refusal, stored};
use crate::tasks::{succeeded, task, waiting};
use crate::{Said, named, said};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn the_log_of_an_attempt() {
    let script = |request: &Request| match request.line.split('?').next().unwrap() {
        "GET /api/v1/namespaces/shop/pods/pod-1/log" if request.line.contains("container=task") => {
            Answer::Text("one\ntwo\n".into())
        }
        "GET /api/v1/namespaces/shop/pods/p/log" => refusal(404, "NotFound", "pods \"p\" not found"),
        _ => stored(&[("retryabletasks", vec![waiting("import"), succeeded("backup")])], request),
    };
    let Said { code, out, err } = said(&Server::new(script), &["logs", "import"]);
    assert_eq!((code, &*out, &*err), (Some(0), "one\ntwo\n", ""));
    let Said { code, out, err } = said(&Server::new(script), &["logs", "import", "--all"]);
    assert_eq!((code, &*out, &*err), (Some(0), "one\ntwo\n", "=== attempt 1, Pod pod-1\n"));
    let Said { code, err, .. } = said(&Server::new(script), &["logs", "backup"]);
    assert_eq!(
        (code, &*err),
        (Some(1), "error: none of these Pods exists any more: podRetention says how many are kept\n")
    );
    let Said { code, err, .. } = said(&Server::new(script), &["logs", "import", "--attempt", "5"]);
    assert_eq!((code, &*err), (Some(1), "error: attempt 5 is not in the history: 1 attempts have been started\n"));
}

#[test]
fn a_log_is_written_as_it_is() {
    let log = b"one\n\xff\xfe two\r\n\nno end".to_vec();
    let bytes = log.clone();
    let server = Server::new(move |request| {
        if request.line.contains("/log?") {
            Answer::Bytes(bytes.clone())
        } else {
            stored(&[("retryabletasks", vec![waiting("import")])], request)
        }
    });
    let output = named("kubectl-retryable", &server).args(["logs", "import"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), log));
}

#[test]
fn a_log_that_is_followed_goes_on_after_its_connection_broke() {
    let at = |lines: &[&str]| lines.iter().flat_map(|line| ["2026-11-22T10:00:", line]).collect::<String>();
    let (asked, all) = (AtomicUsize::new(0), ["00.1Z one\n", "00.7Z two\n", "00.9Z three\n", "01Z four"]);
    let server = Server::new(move |request| {
        if !request.line.contains("/log?") {
            // The attempt runs until the whole log was read.
            let runs = json!({"state": "Running", "attempts": 1, "current": {"number": 1, "podName": "p"}});
            let is_over = asked.load(Ordering::SeqCst) > 2;
            let task = if is_over { succeeded("import") } else { task("import", &runs) };
            return stored(&[("retryabletasks", vec![task])], request);
        }
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Cut(at(&[all[0], all[1], "00.9Z thr"])),
            1 => refusal(503, "Away", "later"),
            _ => Answer::Text(at(&all)),
        }
    });
    let Said { code, out, err } = said(&server, &["logs", "import", "-f", "--tail", "2"]);
    assert_eq!((code, &*out), (Some(0), "one\ntwo\nthree\nfour\n"), "{err}");
    let lines: Vec<String> = server.lines().into_iter().filter(|line| line.contains("/log?")).collect();
    let since = |line: &String| line.contains("&sinceTime=2026-11-22T10%3A00%3A00Z&");
    let tail = |line: &String| line.contains("&tailLines=2&");
    assert_eq!(
        lines.iter().map(|line| (since(line), tail(line))).collect::<Vec<_>>(),
        [(false, true), (true, false), (true, false)]
    );
}

#[test]
fn a_log_that_is_not_followed_and_breaks_is_an_error() {
    let server = Server::new(|request| {
        if request.line.contains("/log?") {
            Answer::Cut("one\ntw".into())
        } else {
            stored(&[("retryabletasks", vec![waiting("import")])], request)
        }
    });
    let Said { code, out, err } = said(&server, &["logs", "import"]);
    assert_eq!((code, &*out), (Some(1), "one\ntw"), "{err}");
    assert!(err.starts_with("error: "), "{err}");
}
