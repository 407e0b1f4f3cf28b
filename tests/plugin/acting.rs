//! What the verbs that act ask for, and what they say came of it.

use crate::server::{Answer, Request, Server, refusal, stored};
use crate::tasks::{failed, object, succeeded, task, waiting};
use crate::{Said, said};
use retryable_tasks::core::schedule::acknowledged_as;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a patch meets instead of success.
#[derive(Clone, Copy)]
enum Trouble {
    /// The task has changed meanwhile.
    Conflict,
    /// It is refused with that code.
    Refused(u16),
    /// It is stored, and nobody hears of it.
    AnswerLost,
}

/// A server with these tasks whose operator acknowledges at once. The first patches meet these troubles.
fn acknowledging(tasks: Vec<Value>, troubles: Vec<Trouble>) -> Server {
    let names = tasks.into_iter().map(|task| (task["metadata"]["name"].as_str().unwrap().to_owned(), task));
    let state: Mutex<(BTreeMap<String, Value>, VecDeque<Trouble>)> = Mutex::new((names.collect(), troubles.into()));
    Server::new(move |request: &Request| {
        let mut state = state.lock().unwrap();
        if !request.line.starts_with("PATCH ") {
            return stored(&[("retryabletasks", state.0.values().cloned().collect())], request);
        }
        let trouble = state.1.pop_front();
        let name = request.line.split(['/', '?']).find(|part| state.0.contains_key(*part)).unwrap().to_owned();
        let task = state.0.get_mut(&name).unwrap();
        match trouble {
            Some(Trouble::Refused(code)) => return refusal(code, "Trouble", "later"),
            Some(Trouble::Conflict) => {
                let version: u64 = task["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                task["metadata"]["resourceVersion"] = json!((version + 1).to_string());
                return refusal(409, "Conflict", "the object has been modified");
            }
            Some(Trouble::AnswerLost) | None => {}
        }
        let before = task.clone();
        for (annotation, value) in request.body["metadata"]["annotations"].as_object().into_iter().flatten() {
            let known = json!({"annotation": annotation, "value": value, "time": "2026-11-22T10:00:00Z", "effect": "as it was asked"});
            task["metadata"]["annotations"] = json!({annotation: value});
            task["status"]["acknowledged"] = json!([known]);
        }
        if let Some(suspend) = request.body["spec"]["suspend"].as_bool() {
            task["spec"]["suspend"] = json!(suspend);
            task["status"]["state"] = json!(if suspend { "Suspended" } else { "Waiting" });
        }
        if trouble.is_some() { Answer::Nothing } else { Answer::Json(200, before) }
    })
}

fn tasks() -> Vec<Value> {
    vec![waiting("import"), failed("export", 9), failed("report", 12), succeeded("backup")]
}

#[test]
fn a_named_task_is_asked_at_once_by_a_value_of_its_own() {
    let server = acknowledging(tasks(), vec![]);
    let Said { code, out, err } = said(&server, &["retry-now", "import"]);
    assert_eq!((code, &*out, &*err), (Some(0), "import: as it was asked\n", ""));
    // A name as `list -o name` prints it.
    assert_eq!(said(&server, &["retry-now", "retryabletask.retryable.dev/import"]).out, "import: as it was asked\n");
    let bodies: Vec<Value> = server.writes().into_iter().map(|request| request.body).collect();
    let value = |body: &Value| body["metadata"]["annotations"]["retryable.dev/retry-now"].as_str().unwrap().to_owned();
    let [first, second] = &*bodies else { panic!("{bodies:?}") };
    assert_eq!(first["metadata"]["resourceVersion"], "7");
    assert_ne!(value(first), value(second), "two requests are two");
    assert_eq!(value(first).len(), 16);
}

#[test]
fn a_task_that_changes_meanwhile_is_read_again() {
    let server = acknowledging(tasks(), vec![Trouble::Conflict; 2]);
    assert_eq!(said(&server, &["run-again", "export", "--from-start"]).out, "export: as it was asked\n");
    let writes = server.writes();
    let versions: Vec<&Value> = writes.iter().map(|request| &request.body["metadata"]["resourceVersion"]).collect();
    assert_eq!(versions, ["7", "8", "9"]);
    let value = writes[2].body["metadata"]["annotations"]["retryable.dev/run-again"].as_str().unwrap();
    assert!(value.ends_with(" from-start"), "{value}");
    // It gives up where it would go on for ever.
    let Said { code, err, .. } = said(&acknowledging(tasks(), vec![Trouble::Conflict; 100]), &["cancel", "import"]);
    assert_eq!((code, &*err), (Some(1), "error: patch RetryableTask shop/import: the object has been modified\n"));
}

#[test]
fn a_request_is_sent_until_it_is_stored_and_is_one() {
    let troubles = vec![Trouble::Refused(503), Trouble::Refused(429), Trouble::AnswerLost];
    let server = acknowledging(tasks(), troubles);
    assert_eq!(said(&server, &["retry-now", "import"]).out, "import: as it was asked\n");
    let values: BTreeSet<String> =
        server.writes().iter().map(|write| write.body["metadata"]["annotations"].to_string()).collect();
    assert_eq!((server.writes().len(), values.len()), (3, 1), "it is the same request each time: {values:?}");
    let server = acknowledging(tasks(), vec![Trouble::AnswerLost]);
    assert_eq!(said(&server, &["suspend", "import"]).out, "import: it is suspended\n");
    assert_eq!(server.writes().len(), 1);
    // Nobody is there for as long as one wants to wait: that is said once.
    let Said { code, err, .. } = said(
        &acknowledging(tasks(), vec![Trouble::Refused(503); 100]),
        &["run-again", "--state", "Failed", "--yes", "--timeout", "0s"],
    );
    assert_eq!(code, Some(1));
    let is_one =
        ["export", "report"].map(|name| format!("error: patch RetryableTask shop/{name}: later\n")).contains(&err);
    assert!(is_one, "{err}");
}

#[test]
fn one_that_takes_long_to_stop_holds_up_no_other_and_was_acted_on() {
    // The operator stops each, once it was asked of all; the Pods never end.
    let asked = Mutex::new(BTreeSet::new());
    let server = Server::new(move |request: &Request| {
        let mut asked = asked.lock().unwrap();
        let names = ["a", "b", "c"];
        if request.line.starts_with("PATCH ") {
            asked.extend(names.into_iter().filter(|name| request.line.contains(&format!("/{name}?"))));
        }
        let stop = if asked.len() == names.len() { json!("Cancelled") } else { Value::Null };
        let current = json!({"number": 1, "podName": "p", "stopReason": stop});
        let tasks = names.map(|name| task(name, &json!({"state": "Running", "current": current})));
        let request = Request { line: request.line.replacen("PATCH", "GET", 1), body: Value::Null, ..request.clone() };
        stored(&[("retryabletasks", tasks.to_vec())], &request)
    });
    let Said { code, out, err } = said(&server, &["cancel", "--state", "Running", "--yes", "--timeout", "3s"]);
    let line = |name: &str| format!("{name}: Pod p is being stopped; the task is cancelled when it has ended\n");
    assert_eq!((code, sorted(&out), &*err), (Some(0), ["a", "b", "c"].map(line).concat(), ""));
}

/// Lines in their order: those of many tasks come as each is done.
fn sorted(lines: &str) -> String {
    let mut lines: Vec<&str> = lines.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

#[test]
fn requests_are_sent_whatever_those_before_wait_for() {
    // None has stopped before it was asked of all.
    let names: Vec<String> = (10..50).map(|n| format!("t{n}")).collect();
    let (all, asked) = (names.clone(), Mutex::new(BTreeMap::new()));
    let server = Server::new(move |request: &Request| {
        let mut asked = asked.lock().unwrap();
        if let Some(value) = request.body["metadata"]["annotations"].get("retryable.dev/cancel") {
            let name = all.iter().find(|name| request.line.contains(&format!("/{name}?"))).unwrap();
            asked.insert(name.clone(), value.clone());
        }
        let is_done = asked.len() == all.len();
        let tasks = all.iter().map(|name| {
            let done = asked.get(name).filter(|_| is_done);
            let known = done.map(|value| json!({"annotation": "retryable.dev/cancel", "value": value, "time": "2026-11-22T10:00:00Z", "effect": "done"}));
            let current = json!({"number": 1, "podName": "p", "stopReason": asked.get(name).map(|_| "Cancelled")});
            let known: Vec<Value> = known.into_iter().collect();
            task(name, &json!({"state": "Running", "current": current, "acknowledged": known}))
        });
        let request = Request { line: request.line.replacen("PATCH", "GET", 1), body: Value::Null, ..request.clone() };
        stored(&[("retryabletasks", tasks.collect())], &request)
    });
    let args = ["cancel", "--state", "Running", "--yes", "--rate", "100/s", "--timeout", "30s"];
    let Said { code, out, err } = said(&server, &args);
    let expected: String = names.iter().flat_map(|name| [name, ": done\n"]).collect();
    assert_eq!((code, sorted(&out), &*err), (Some(0), expected, ""));
}

#[test]
fn many_tasks_need_a_yes() {
    let server = acknowledging(tasks(), vec![]);
    let Said { code, err, .. } = said(&server, &["run-again", "--state", "Failed"]);
    assert_eq!((code, &*err), (Some(1), "error: run-again of 2 task(s): give --yes, since nobody can be asked here\n"));
    let Said { code, out, .. } = said(&server, &["run-again", "--state", "Failed", "--dry-run"]);
    assert_eq!((code, &*out), (Some(0), "export: run-again (dry run)\nreport: run-again (dry run)\n"));
    assert!(server.writes().is_empty());
    let Said { code, out, .. } = said(&server, &["run-again", "--state", "Failed", "--yes", "--rate", "100/s"]);
    assert_eq!((code, &*sorted(&out)), (Some(0), "export: as it was asked\nreport: as it was asked\n"));
    assert_eq!(server.writes().len(), 2);
}

#[test]
fn many_tasks_are_changed_at_the_rate() {
    let server = acknowledging(tasks(), vec![]);
    let began = Instant::now();
    said(&server, &["run-again", "--state", "Failed,Succeeded", "--yes", "--rate", "2/s"]);
    assert_eq!(server.writes().len(), 3);
    // However slow the machine is, it cannot be faster.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn what_would_have_no_effect_is_not_asked() {
    let server = acknowledging(tasks(), vec![]);
    let Said { code, out, .. } = said(&server, &["cancel", "backup", "import"]);
    assert_eq!((code, &*out), (Some(0), "backup: no effect: it has ended\nimport: as it was asked\n"));
    assert_eq!(said(&server, &["resume", "import"]).out, "import: no effect: it is not suspended\n");
    // It would stand still when it is run again.
    assert_eq!(said(&server, &["suspend", "backup"]).out, "backup: no effect: it has ended\n");
    assert_eq!(server.writes().len(), 1);
}

#[test]
fn a_task_is_suspended_and_goes_on() {
    let server = acknowledging(tasks(), vec![]);
    assert_eq!(said(&server, &["suspend", "import"]).out, "import: it is suspended\n");
    assert_eq!(said(&server, &["resume", "-l", "team=shop", "--state", "Suspended", "-y"]).out, "import: it goes on\n");
    assert!(server.lines().iter().any(|line| line.contains("labelSelector=team%3Dshop")), "{:?}", server.lines());
}

#[test]
fn nobody_is_meant_by_nothing() {
    let server = acknowledging(tasks(), vec![]);
    let nobody = "error: name the tasks, or say which are meant: -l LABELS, --state STATE, --reason REASON or --fingerprint FINGERPRINT\n";
    assert_eq!(said(&server, &["cancel"]).err, nobody);
    assert_eq!(
        said(&server, &["cancel", "import", "--state", "Waiting"]).err,
        "error: give either names or -l, --state, --reason, --fingerprint\n"
    );
    assert_eq!(
        said(&server, &["cancel", "--state", "Blocked", "--yes"]).err,
        "No matching tasks found in shop namespace.\n"
    );
    assert!(server.writes().is_empty());
}

#[test]
fn an_operator_that_does_not_act_is_not_waited_for_without_end() {
    let server = Server::new(|request| {
        let request = Request { line: request.line.replacen("PATCH", "GET", 1), body: Value::Null, ..request.clone() };
        stored(
            &[(
                "retryabletasks",
                vec![
                    waiting("import"),
                    task("runs", &json!({"state": "Running", "startTime": "2026-11-22T10:00:00Z"})),
                ],
            )],
            &request,
        )
    });
    let Said { code, err, .. } = said(&server, &["cancel", "import", "--timeout", "0s"]);
    assert_eq!((code, &*err), (Some(1), "error: import: requested, but no operator has acted on it within 0 s\n"));
    // What takes effect once the task has ended is not waited for.
    assert_eq!(said(&server, &["run-again", "runs"]).out, "runs: it runs again once it has ended\n");
}

#[test]
fn what_is_forbidden_for_one_task_is_done_for_the_others() {
    let server = Server::new(|request| match &*request.line {
        line if line.starts_with("PATCH") && line.contains("/export") => refusal(403, "Forbidden", "no"),
        line if line.starts_with("PATCH") => refusal(404, "NotFound", "gone"),
        _ => stored(&[("retryabletasks", tasks())], request),
    });
    let Said { code, err, .. } = said(&server, &["run-again", "--state", "Failed", "--yes"]);
    let expected = "error: patch RetryableTask shop/export: no\nerror: patch RetryableTask shop/report: gone\n";
    assert_eq!((code, &*sorted(&err)), (Some(1), expected));
}

#[test]
fn queues_are_held_and_resumed() {
    let queue = object("TaskQueue", "mail", &json!({"spec": {}}));
    let server = Server::new(move |request| {
        let request = Request { line: request.line.replacen("PATCH", "GET", 1), body: Value::Null, ..request.clone() };
        stored(&[("taskqueues", vec![queue.clone()])], &request)
    });
    let cases = [
        (&["queue", "hold", "mail"][..], "held: no attempt starts", "Hold"),
        (
            &["queue", "hold", "mail", "--drain"],
            "held and drained: no attempt starts, and those that run are stopped",
            "HoldAndDrain",
        ),
        (&["queue", "resume", "mail"], "attempts start", "None"),
    ];
    for (args, effect, policy) in cases {
        assert_eq!(said(&server, args).out, format!("taskqueue.retryable.dev/mail: {effect}\n"));
        assert_eq!(server.writes().last().unwrap().body, json!({"spec": {"stopPolicy": policy}}));
    }
}

#[test]
fn schedules_are_triggered() {
    let spec = json!({"schedule": "0 3 * * *", "template": {"spec": {"image": "busybox"}}});
    let schedule = Mutex::new(object("TaskSchedule", "nightly", &json!({"spec": spec, "status": {}})));
    let server = Server::new(move |request| {
        let mut schedule = schedule.lock().unwrap();
        for (annotation, value) in request.body["metadata"]["annotations"].as_object().into_iter().flatten() {
            let stored = acknowledged_as(value.as_str().unwrap());
            let effect = format!("{annotation} is done");
            let known =
                json!({"annotation": annotation, "value": stored, "time": "2026-11-22T10:00:00Z", "effect": effect});
            schedule["status"]["acknowledged"] = json!([known]);
            schedule["metadata"]["annotations"] = json!({annotation: value});
        }
        Answer::Json(200, schedule.clone())
    });
    assert_eq!(said(&server, &["schedule", "trigger", "nightly"]).out, "nightly: retryable.dev/trigger is done\n");
    assert_eq!(said(&server, &["schedule", "resume", "nightly"]).out, "nightly: retryable.dev/resume is done\n");
    let backfill = ["schedule", "backfill", "nightly", "2026-11-01/2026-11-07"];
    assert_eq!(said(&server, &backfill).out, "nightly: retryable.dev/backfill is done\n");
    let again = "error: already requested (retryable.dev/backfill is done); change the value to request it again\n";
    assert_eq!(said(&server, &backfill).err, again);
    let patch = json!({"args": vec!["--full"; 20]}).to_string();
    for _ in 0..2 {
        let triggered = said(&server, &["schedule", "trigger", "nightly", "--patch", &patch]);
        assert_eq!(triggered.out, "nightly: retryable.dev/trigger is done\n", "{}", triggered.err);
    }
    let wrong = said(&server, &["schedule", "trigger", "nightly", "--patch", "maxRetries: 0"]).err;
    assert!(wrong.starts_with("error: --patch is not valid JSON: "), "{wrong}");
}

#[test]
fn a_backfill_that_was_done_is_not_told_as_done_again() {
    let interval = "2026-11-01/2026-11-07";
    let known = json!({"annotation": "retryable.dev/backfill", "value": interval, "time": "2026-11-22T10:00:00Z", "effect": "7 times"});
    let spec = json!({"schedule": "0 3 * * *", "template": {"spec": {"image": "busybox"}}});
    // Somebody has taken the annotation away.
    let schedule = object("TaskSchedule", "nightly", &json!({"spec": spec, "status": {"acknowledged": [known]}}));
    let server = Server::with(&[("taskschedules", vec![schedule])]);
    let Said { code, out, err } = said(&server, &["schedule", "backfill", "nightly", interval]);
    let expected = "error: already requested (7 times); change the value to request it again\n";
    assert_eq!((code, &*out, &*err, server.writes().len()), (Some(1), "", expected, 0));
}

#[test]
fn a_name_that_is_gone_keeps_no_other_from_being_meant() {
    let server = Server::with(&[("retryabletasks", vec![waiting("import"), waiting("sync")])]);
    let Said { code, out, err } = said(&server, &["cancel", "import", "gone", "sync", "--dry-run"]);
    let gone = "error: get RetryableTask shop/gone: retryabletasks \"gone\" not found\n";
    assert_eq!((code, &*out, &*err), (Some(1), "import: cancel (dry run)\nsync: cancel (dry run)\n", gone));
    let Said { code, out, err } = said(&server, &["why", "gone", "sync"]);
    assert_eq!((code, out.starts_with("sync: Attempt 2 waits"), &*err), (Some(1), true, gone), "{out}");
    let Said { code, out, err } = said(&server, &["cancel", "gone"]);
    assert_eq!((code, &*out, &*err), (Some(1), "", gone));
}

#[test]
fn a_schedule_that_changes_meanwhile_is_read_again() {
    let spec = json!({"schedule": "0 3 * * *", "template": {"spec": {"image": "busybox"}}});
    let state = Mutex::new((object("TaskSchedule", "nightly", &json!({"spec": spec, "status": {}})), 0));
    let server = Server::new(move |request| {
        let mut state = state.lock().unwrap();
        let (schedule, patches) = &mut *state;
        let annotations = request.body["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        *patches += usize::from(!annotations.is_empty());
        if !annotations.is_empty() && *patches <= 3 {
            // Two conflicts, and one who is away.
            schedule["metadata"]["resourceVersion"] = json!((7 + *patches).to_string());
            return if *patches < 3 { refusal(409, "Conflict", "modified") } else { refusal(503, "Away", "later") };
        }
        if let Some((annotation, value)) = annotations.iter().next() {
            let stored = acknowledged_as(value.as_str().unwrap());
            let known = json!({"annotation": annotation, "value": stored, "time": "2026-11-22T10:00:00Z", "effect": "it began"});
            schedule["status"]["acknowledged"] = json!([known]);
            schedule["metadata"]["annotations"] = json!({annotation: value});
            // The answer is lost.
            return Answer::Nothing;
        }
        Answer::Json(200, schedule.clone())
    });
    let Said { code, out, err } = said(&server, &["schedule", "trigger", "nightly"]);
    assert_eq!((code, &*out, &*err), (Some(0), "nightly: it began\n", ""));
    let writes = server.writes();
    let versions: Vec<&Value> = writes.iter().map(|request| &request.body["metadata"]["resourceVersion"]).collect();
    assert_eq!(versions, ["7", "8", "9", "10"]);
}

#[test]
fn each_example_runs_again_what_has_failed_and_nothing_else() {
    let server = acknowledging(tasks(), vec![]);
    let docs = include_str!("../../docs/kubectl-plugin.md");
    let helps = [said(&server, &["--help"]).out, said(&server, &["run-again", "--help"]).out];
    for text in helps.iter().map(String::as_str).chain([docs]) {
        let mut examples = text
            .lines()
            .filter(|line| line.trim_start().starts_with("kubectl retryable run-again --fingerprint"))
            .peekable();
        assert!(examples.peek().is_some(), "{text}");
        for example in examples {
            assert!(example.contains(" --state Failed"), "{example}");
        }
    }
}
