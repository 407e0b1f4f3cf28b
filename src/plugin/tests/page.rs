//! What the verbs print, to the letter, and in docs/kubectl-plugin.md.

use crate::api::{RetryableTask, TaskQueue, TaskSchedule};
use crate::core::fingerprint::{failures, group};
use crate::core::queue::place::places;
use crate::core::testing::at;
use crate::core::why::{Known, KnownQueue, Why, why};
use crate::plugin::table::Style;
use crate::plugin::{errors, queues, schedules, tasks, timeline};
use crate::simulate::schedule::next_starts;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The current time, in seconds of [`at`].
const NOW: i64 = 600;

fn time(seconds: i64) -> String {
    at(seconds).to_string()
}

fn object<K: DeserializeOwned>(kind: &str, name: &str, spec: &Value, status: &Value) -> K {
    let metadata = json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "generation": 1, "creationTimestamp": time(0)});
    let object = json!({"apiVersion": "retryable.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status});
    serde_json::from_value(object).unwrap()
}

/// An attempt that lasted ten seconds, and could not reach that host.
fn unreachable(attempt: i32, start: i64, host: i32, more: &Value) -> Value {
    let mut entry = json!({"attempt": attempt, "podName": format!("pod-{attempt}"), "nodeName": "node-1", "reason": "Error", "exitCode": 3,
        "startTime": time(start), "finishTime": time(start + 10), "action": "Retry", "message": format!("starting\ndial 10.1.2.{host}:5432: no route to host")});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

fn image() -> Value {
    json!({"image": "shop/import:1.4"})
}

/// It waits for its third attempt.
fn import_orders() -> RetryableTask {
    let rule = json!({"rule": "network", "delayMilliseconds": 1_080_000});
    let history = [unreachable(1, 2, 7, &json!({"delayMilliseconds": 65_000})), unreachable(2, 80, 9, &rule)];
    let (message, due) = ("dial 10.1.2.9:5432: no route to host", time(90 + 1080));
    let status = json!({"observedGeneration": 1, "state": "Waiting", "attempts": 2, "retries": 2, "reason": "Error", "message": message,
        "nextRetryTime": due, "history": history, "startTime": time(2),
        "lastFailure": {"attempt": 2, "reason": "Error", "exitCode": 3, "message": message},
        "current": {"number": 3, "dueTime": due, "wait": {"from": time(90), "action": "Retry", "charged": true}}});
    object("RetryableTask", "import-orders", &image(), &status)
}

/// It is second in the line of its queue.
fn send_mail(name: &str, since: i64) -> RetryableTask {
    let spec = json!({"image": "shop/mail:2", "queue": {"name": "mail"}});
    let current = json!({"number": 1, "queuedTime": time(since)});
    let status = json!({"observedGeneration": 1, "state": "Queued", "reason": "QueueFull", "current": current});
    object("RetryableTask", name, &spec, &status)
}

/// It has failed for good.
fn report() -> RetryableTask {
    let message = "the only attempt failed (maxRetries 0); the last ended with OOMKilled, exit code 137";
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "RetriesExhausted", "message": message, "lastTransitionTime": time(60)});
    let end = json!({"attempt": 1, "podName": "pod-1", "nodeName": "node-2", "reason": "OOMKilled", "exitCode": 137, "startTime": time(5),
        "finishTime": time(60), "action": "Retry"});
    let status = json!({"observedGeneration": 1, "state": "Failed", "attempts": 1, "reason": "OOMKilled", "startTime": time(5),
        "completionTime": time(60), "duration": "55s", "history": [end],
        "lastFailure": {"attempt": 1, "reason": "OOMKilled", "exitCode": 137},
        "conditions": [condition("Failed"), condition("Finished"), condition("Stalled")]});
    object("RetryableTask", "report", &json!({"image": "shop/report:3", "maxRetries": 0}), &status)
}

fn mail() -> TaskQueue {
    object("TaskQueue", "mail", &json!({"maxConcurrent": 3}), &json!({"running": "3/3", "queued": 2, "waiting": 0}))
}

fn nightly() -> TaskSchedule {
    let spec = json!({"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "template": {"spec": {"image": "shop/report:3"}}});
    let status = json!({"state": "Scheduled", "active": 0, "consecutiveFailures": 1, "nextScheduleTime": "2026-11-23T01:30:00Z",
        "lastScheduleTime": "2026-11-22T01:30:00Z", "lastSuccessTime": "2026-11-21T01:34:00Z", "skipped": {"missed": 3}});
    object("TaskSchedule", "nightly", &spec, &status)
}

fn all() -> Vec<RetryableTask> {
    vec![import_orders(), report(), send_mail("send-mail", 300), send_mail("welcome-mail", 60)]
}

/// Why it is where it is, as far as the queue and its line say.
fn said(task: &RetryableTask) -> Why {
    let (queue, tasks) = (mail(), all());
    let place = places("mail", &tasks, at(NOW)).get(task.metadata.uid.as_deref().unwrap()).copied();
    why(task, &Known { now: at(NOW), queue: KnownQueue::Found { queue: &queue, place }, options: "" })
}

/// The command lines, and what they print.
fn printed() -> Vec<(&'static str, String)> {
    let (now, style, tasks) = (at(NOW), Style::default(), all());
    let [import, report, mails @ ..] = &*tasks else { panic!("{tasks:?}") };
    let groups = group(tasks.iter().flat_map(failures));
    let whys = [import, report, &mails[0]].map(|task| timeline::sentence(task.metadata.name.as_deref(), &said(task)));
    vec![
        ("list", tasks::table(&tasks, false, false, now).draw(style)),
        ("get import-orders", timeline::text(import, &said(import), style, now)),
        ("why import-orders report send-mail", whys.concat()),
        ("errors", errors::table(&groups, false, false, now).draw(style)),
        ("queue list", queues::table(&[mail()], false, false, now).draw(style)),
        ("queue get mail", queues::text(&mail(), mails, 20, style, now)),
        ("schedule list", schedules::table(&[nightly()], false, false, now).draw(style)),
        ("schedule next nightly --starts 2", next_starts(&nightly(), now, 2).unwrap().to_string()),
    ]
}

#[test]
fn the_page_shows_what_is_printed() {
    let page = include_str!("../../../docs/kubectl-plugin.md");
    let (printed, mut missing) = (printed(), String::new());
    for (command, output) in &printed {
        let block = format!("```console\n$ kubectl retryable {command}\n{output}```\n");
        missing += if page.contains(&block) { "" } else { &block };
    }
    assert!(missing.is_empty(), "docs/kubectl-plugin.md is to have:\n{missing}");
    assert_eq!(page.matches("```console\n").count(), printed.len(), "nothing else is said to be printed");
}
