//! What `logs` prints.

use crate::server::{Answer, Request, Server, refusal, stored};
use crate::tasks::{succeeded, task, waiting};
use crate::{Said, named, said};
use serde_json::{Value, json};
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
    let new = Server::with(&[("retryabletasks", vec![task("new", &json!({"state": "Waiting"}))])]);
    let Said { code, err, .. } = said(&new, &["logs", "new"]);
    assert_eq!(
        (code, &*err),
        (Some(1), "error: no attempt has been started: kubectl retryable why new -n shop says why\n")
    );
    let Said { err, .. } = said(&new, &["logs", "new", "--context", "test"]);
    assert!(err.ends_with("kubectl retryable why new -n shop --context test says why\n"), "{err}");
    let Said { code, err, .. } = said(&Server::new(script), &["logs", "import", "--attempt", "5"]);
    assert_eq!((code, &*err), (Some(1), "error: attempt 5 is not in the history: the task has started 1 so far\n"));
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
    let since = |line: &String| line.split("&sinceTime=2026-11-22T10%3A00%3A").nth(1).map(|rest| rest[..3].to_owned());
    let tail = |line: &String| line.contains("&tailLines=2&");
    let [cut, whole] = ["00Z", "01Z"].map(|second| Some(second.to_owned()));
    // Its Pod is gone after the whole log was read: whether more was printed until then is asked once.
    assert_eq!(
        lines.iter().map(|line| (since(line), tail(line))).collect::<Vec<_>>(),
        [(None, true), (cut.clone(), false), (cut, false), (whole, false)]
    );
}

/// The log of a Pod without a node is empty, and a stream may end before its container does.
#[test]
fn a_log_that_is_followed_goes_on_until_its_container_has_ended() {
    let asked = AtomicUsize::new(0);
    let server = Server::new(move |request| {
        let logs = asked.load(Ordering::SeqCst);
        let line = &*request.line;
        if line.contains("/log?") {
            return Answer::Text(
                match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => "",
                    1 => "2026-11-22T10:00:00.1Z one\n",
                    _ => "2026-11-22T10:00:00.1Z one\n2026-11-22T10:00:00.2Z two\n",
                }
                .into(),
            );
        }
        if line.contains("/pods/p") {
            let state = match logs {
                0 | 1 => json!({"phase": "Pending"}),
                2 => json!({"phase": "Running", "containerStatuses": [status(&json!({"running": {}}))]}),
                _ => {
                    json!({"phase": "Running", "containerStatuses": [status(&json!({"terminated": {"exitCode": 0}}))]})
                }
            };
            return Answer::Json(200, json!({"kind": "Pod", "metadata": {"name": "p"}, "status": state}));
        }
        let runs = json!({"state": "Running", "attempts": 1, "current": {"number": 1, "podName": "p"}});
        if line.contains("watch=true") {
            // Who does not read on is told of the end.
            return Answer::Text(json!({"type": "MODIFIED", "object": succeeded("import")}).to_string());
        }
        stored(&[("retryabletasks", vec![if logs > 3 { succeeded("import") } else { task("import", &runs) }])], request)
    });
    let Said { code, out, err } = said(&server, &["logs", "import", "-f"]);
    assert_eq!((code, &*out), (Some(0), "one\ntwo\n"), "{err}");
}

/// The status of the main container.
fn status(state: &Value) -> Value {
    json!({"name": "task", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

#[test]
fn what_happens_between_the_attempts_is_told_once() {
    let event = |uid: &str, reason: &str, note: &str| {
        json!({"metadata": {"name": uid, "namespace": "shop", "uid": uid}, "involvedObject": {"name": "import"}, "type": "Warning",
            "reason": reason, "message": note})
    };
    // The first is there from the beginning. The end of an attempt is told from the status.
    let all = [
        event("old", "FailedCreate", "told before"),
        event("new", "PodRejected", "exceeded quota: seats"),
        event("end", "AttemptFailed", "attempt 1 failed"),
    ];
    let asked = AtomicUsize::new(0);
    let server = Server::new(move |request| {
        let line = &*request.line;
        let logs = asked.load(Ordering::SeqCst);
        if line.contains("/log?") {
            asked.fetch_add(1, Ordering::SeqCst);
            return Answer::Text("2026-11-22T10:00:00.1Z one\n".into());
        }
        if line.contains("/pods/pod-1") {
            let ended =
                json!({"phase": "Failed", "containerStatuses": [status(&json!({"terminated": {"exitCode": 3}}))]});
            return Answer::Json(200, json!({"kind": "Pod", "metadata": {"name": "pod-1"}, "status": ended}));
        }
        if line.contains("/events?") {
            assert!(line.contains("fieldSelector=involvedObject.name%3Dimport%2Ctype%3DWarning"), "{line}");
            let all = all[..if logs == 0 { 1 } else { all.len() }].to_vec();
            return Answer::Json(200, json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": all}));
        }
        if line.contains("watch=true") {
            return Answer::Text(json!({"type": "MODIFIED", "object": succeeded("import")}).to_string());
        }
        let runs = json!({"state": "Running", "attempts": 1, "current": {"number": 1, "podName": "pod-1"}});
        stored(&[("retryabletasks", vec![if logs == 0 { task("import", &runs) } else { waiting("import") }])], request)
    });
    let Said { code, out, err } = said(&server, &["logs", "import", "-f"]);
    assert_eq!((code, &*out), (Some(0), "one\n"), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(
        [&lines[..3], &lines[4..]].concat(),
        [
            "=== attempt 1, Pod pod-1",
            "--- PodRejected: exceeded quota: seats",
            "--- attempt 1 ended with Error, exit code 3: no route to host 7; the next waits 1.5s",
            "--- Succeeded: attempt 1 succeeded",
        ]
    );
    assert!(lines[3].starts_with("--- Waiting: attempt 2 starts at "), "{err}");
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
