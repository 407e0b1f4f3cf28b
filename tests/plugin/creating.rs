//! A task is submitted until it is there, and is there once.

use crate::server::{Answer, Request, Server, refusal, stored};
use crate::tasks::{object, succeeded};
use crate::{Said, said};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const CREATE: [&str; 4] = ["create", "import", "--image", "shop/import:1.4"];

/// A server that stores tasks, and answers the first creations as `trouble` says, by their number.
fn storing(trouble: impl Fn(usize) -> Option<Trouble> + Send + Sync + 'static) -> Server {
    let (count, tasks) = (AtomicUsize::new(0), Mutex::new(Vec::<Value>::new()));
    Server::new(move |request: &Request| {
        let mut tasks = tasks.lock().unwrap();
        if !request.line.starts_with("POST ") {
            return stored(&[("retryabletasks", tasks.clone())], request);
        }
        let trouble = trouble(count.fetch_add(1, Ordering::SeqCst));
        if let Some(Trouble::NotStored(code)) = trouble {
            return code.map_or(Answer::Nothing, |code| refusal(code, "Trouble", "later"));
        }
        if !tasks.is_empty() {
            return refusal(409, "AlreadyExists", "retryabletasks.retryable.dev \"import\" already exists");
        }
        let mut created = object("RetryableTask", "import", &json!({"spec": request.body["spec"]}));
        created["spec"]["historyLimit"] = json!(10);
        tasks.push(created.clone());
        if let Some(Trouble::AnswerLost) = trouble { Answer::Nothing } else { Answer::Json(201, created) }
    })
}

enum Trouble {
    /// Refused with that code, or without an answer.
    NotStored(Option<u16>),
    /// It was stored, and nobody hears of it.
    AnswerLost,
}

fn creations(server: &Server) -> usize {
    server.writes().len()
}

#[test]
fn a_task_is_created() {
    let server = storing(|_| None);
    let args = [&CREATE[..], &["--max-retries", "5", "--env", "A=b", "--", "sh", "-c", "exit 3"]].concat();
    let Said { code, out, err } = said(&server, &args);
    assert_eq!((code, &*out, &*err), (Some(0), "retryabletask.retryable.dev/import created\n", ""));
    let spec = json!({"image": "shop/import:1.4", "maxRetries": 5, "env": [{"name": "A", "value": "b"}], "args": ["sh", "-c", "exit 3"]});
    let write = &server.writes()[0];
    assert_eq!(
        write.line,
        "POST /apis/retryable.dev/v1alpha1/namespaces/shop/retryabletasks?&fieldManager=kubectl-retryable"
    );
    assert_eq!((&write.body["spec"], &write.body["metadata"]["name"]), (&spec, &json!("import")));
}

#[test]
fn a_server_that_is_away_is_tried_again_and_gets_one_task() {
    let troubles = |nth| match nth {
        0 => Some(Trouble::NotStored(None)),
        1 => Some(Trouble::NotStored(Some(503))),
        2 => Some(Trouble::NotStored(Some(429))),
        3 => Some(Trouble::AnswerLost),
        _ => None,
    };
    let server = storing(troubles);
    let Said { code, out, err } = said(&server, &CREATE);
    assert_eq!((code, &*out), (Some(0), "retryabletask.retryable.dev/import exists, unchanged\n"), "{err}");
    assert!(
        err.starts_with("create RetryableTask shop/import: ") && err.ends_with("; trying again for 300 s\n"),
        "{err}"
    );
    assert_eq!((err.lines().count(), creations(&server)), (1, 5));
}

#[test]
fn a_quota_that_changes_meanwhile_is_tried_again() {
    let server = storing(|nth| (nth < 2).then_some(Trouble::NotStored(Some(409))));
    let Said { code, out, err } = said(&server, &CREATE);
    assert_eq!((code, &*out), (Some(0), "retryabletask.retryable.dev/import created\n"), "{err}");
    assert_eq!(creations(&server), 3);
}

#[test]
fn it_gives_up_in_the_end() {
    let server = storing(|_| Some(Trouble::NotStored(Some(503))));
    let Said { code, err, .. } = said(&server, &[&CREATE[..], &["--submit-timeout", "1s"]].concat());
    assert_eq!(code, Some(1));
    assert!(
        err.contains("error: gave up after ") && err.ends_with("error: create RetryableTask shop/import: later\n"),
        "{err}"
    );
}

#[test]
fn what_is_refused_is_not_tried_again() {
    let server = storing(|_| Some(Trouble::NotStored(Some(422))));
    let Said { code, err, .. } = said(&server, &CREATE);
    assert_eq!((code, &*err, creations(&server)), (Some(1), "error: create RetryableTask shop/import: later\n", 1));
}

#[test]
fn the_same_task_again_is_the_same_and_another_is_another() {
    let server = storing(|_| None);
    said(&server, &CREATE);
    assert_eq!(said(&server, &CREATE).out, "retryabletask.retryable.dev/import exists, unchanged\n");
    let Said { code, err, .. } = said(&server, &[&CREATE[..], &["--max-retries", "7"]].concat());
    let expected = "error: RetryableTask import exists and is another: spec.maxRetries differs. Choose another name, or delete it first\n";
    assert_eq!((code, &*err), (Some(1), expected));
}

#[test]
fn a_manifest_is_printed_and_sent_nowhere() {
    let server = storing(|_| None);
    let Said { out, .. } = said(&server, &[&CREATE[..], &["--dry-run", "--command", "--", "sh", "run"]].concat());
    let expected = "\
apiVersion: retryable.dev/v1alpha1
kind: RetryableTask
metadata:
  name: import
  namespace: shop
spec:
  command:
  - sh
  - run
  image: shop/import:1.4
";
    assert_eq!((&*out, creations(&server)), (expected, 0));
    let named = said(&server, &[&CREATE[..], &["--dry-run", "-o", "name"]].concat()).out;
    assert_eq!((&*named, creations(&server)), ("retryabletask.retryable.dev/import\n", 0));
}

/// For `create … -o name | xargs kubectl retryable wait`.
#[test]
fn a_name_is_printed_alone() {
    let server = storing(|_| None);
    for _ in 0..2 {
        let Said { code, out, .. } = said(&server, &[&CREATE[..], &["-o", "name"]].concat());
        assert_eq!((code, &*out), (Some(0), "retryabletask.retryable.dev/import\n"));
    }
}

#[test]
fn whoever_waits_gets_the_end_as_exit_code() {
    let server = Server::new(|request| {
        let request = Request { line: request.line.replacen("POST", "GET", 1), body: Value::Null, ..request.clone() };
        let mut task = succeeded("import");
        task["spec"]["image"] = json!("shop/import:1.4");
        stored(&[("retryabletasks", vec![task])], &request)
    });
    let Said { code, out, .. } = said(&server, &[&CREATE[..], &["--wait"]].concat());
    assert_eq!(
        (code, &*out),
        (Some(0), "retryabletask.retryable.dev/import created\nimport: Succeeded: attempt 1 succeeded\n")
    );
}
