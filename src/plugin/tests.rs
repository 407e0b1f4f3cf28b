//! What is shown and asked for, without a cluster.

mod page;

use super::create::{NewTask, Next, Submission, back_off, difference};
use super::inputs::{Pace, Rate, assignment, duration, queue, schedule, task as task_name};
use super::logs::Place;
use super::progress::{End, Watched};
use super::requests::{Action, Progress};
use super::table::{Style, Table, wrapped};
use super::tasks::{Filter, SortBy, sort, unknown_state};
use super::timeline::fitted;
use crate::api::RetryableTask;
use crate::core::testing::{BuildTask, NAME, at, task_with};
use serde_json::{Value, json};
use std::time::Duration;

fn with(status: Value) -> RetryableTask {
    task_with(json!({"image": "busybox"})).status(serde_json::from_value(status).unwrap())
}

fn condition(type_: &str, reason: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": reason, "message": "as told", "lastTransitionTime": at(0).to_string()})
}

fn ended(reason: &str) -> RetryableTask {
    let type_ = if reason == "Succeeded" { "Complete" } else { "Failed" };
    with(json!({"observedGeneration": 1, "attempts": 1, "startTime": at(0).to_string(),
        "conditions": [condition(type_, reason), condition("Finished", reason)]}))
}

#[test]
fn the_last_column_is_cut_to_the_window_and_nothing_else() {
    let mut table = Table::new(&["NAME", "MESSAGE"]);
    table.rows = vec![vec!["a".into(), "x".repeat(40)], vec!["longer".into(), String::new()]];
    let draw = |width| table.draw(Style { width, ..Style::default() });
    assert_eq!(draw(None), format!("NAME     MESSAGE\na        {}\nlonger   -\n", "x".repeat(40)));
    assert_eq!(draw(Some(30)), format!("NAME     MESSAGE\na        {}…\nlonger   -\n", "x".repeat(20)));
    // A window that is too narrow still shows something of it.
    assert_eq!(draw(Some(5)), format!("NAME     MESSAGE\na        {}…\nlonger   -\n", "x".repeat(15)));
}

#[test]
fn a_narrow_window_goes_without_some_columns() {
    let mut table = Table::new(&["NAME", "NODE", "RULE", "MESSAGE"]);
    table.rows = vec![["a", "node-1", "transient", "x"].map(str::to_owned).to_vec()];
    table.dispensable = &["NODE", "RULE"];
    let draw = |width| table.draw(Style { width: Some(width), ..Style::default() });
    assert_eq!(draw(50), "NAME   NODE     RULE        MESSAGE\na      node-1   transient   x\n");
    assert_eq!(draw(40), "NAME   RULE        MESSAGE\na      transient   x\n");
    assert_eq!(draw(30), "NAME   MESSAGE\na      x\n");
    assert_eq!(wrapped("one two three four five six", 4, Some(20)), "one two three\n    four five six");
    assert_eq!(wrapped("one two three four five six", 4, None), "one two three four five six");
}

#[test]
fn a_low_window_shows_the_latest_attempts() {
    let text = "Name: x\n\nATTEMPT   REASON\n1         Error\n2         Error\n3         Running\n";
    let rows = |height| fitted(text, height).lines().skip(3).map(|row| row[..1].to_owned()).collect::<String>();
    assert_eq!((rows(6), rows(5), rows(4), rows(1)), ("123".into(), "23".into(), "3".into(), "3".into()));
}

#[test]
fn a_cell_is_one_line_and_cannot_steer_the_terminal() {
    let mut table = Table::new(&["STATE", "MESSAGE"]);
    table.rows = vec![vec!["Failed".into(), "a\nb\u{1b}[31mc\u{202e}d\te".into()]];
    let plain = table.draw(Style { no_header: true, ..Style::default() });
    assert_eq!(plain, "Failed   a b [31mc d e\n");
    let coloured = table.draw(Style { no_header: true, colour: true, width: None });
    assert_eq!(coloured, "\u{1b}[31mFailed\u{1b}[0m   a b [31mc d e\n");
}

#[test]
fn times_rates_and_assignments_are_read_as_people_write_them() {
    assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(duration("soon"), Err("invalid duration \"soon\": write 30s, 5m or 1h30m".into()));
    assert_eq!(duration("-5s"), Err("invalid duration \"-5s\": write 30s, 5m or 1h30m".into()));
    assert_eq!(Rate::parse("10/m"), Ok(Rate { interval: Duration::from_secs(6) }));
    assert_eq!(Rate::parse("2/s"), Ok(Rate { interval: Duration::from_millis(500) }));
    for wrong in ["10", "0/m", "x/m", "10/day"] {
        assert!(Rate::parse(wrong).unwrap_err().starts_with("invalid rate "), "{wrong}");
    }
    for named in ["import", "rt/import", "RetryableTasks/import", "retryabletask.retryable.dev/import"] {
        assert_eq!(task_name(named), Ok("import".into()), "{named}");
    }
    assert_eq!(queue("taskqueues.v1alpha1.retryable.dev/mail"), Ok("mail".into()));
    assert_eq!(schedule("tsch/nightly"), Ok("nightly".into()));
    for wrong in ["job/import", "shop/import", "retryabletask.example.org/import", "rt/"] {
        let expected = format!("invalid name {wrong:?}: write that of a retryabletask, or rt/NAME");
        assert_eq!(task_name(wrong), Err(expected));
    }
    assert_eq!(assignment("A=b=c"), Ok(("A".into(), "b=c".into())));
    assert!(assignment("=b").is_err() && assignment("A").is_err());
}

#[test]
fn requests_are_never_closer_than_the_rate_says() {
    let seconds = |all: &[u64]| all.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
    let sent = |rate: Option<&str>, ready: &[u64]| {
        let mut pace = Pace::new(rate.map(|rate| Rate::parse(rate).unwrap()));
        seconds(ready).into_iter().map(|now| pace.next(now)).collect::<Vec<_>>()
    };
    assert_eq!(sent(Some("10/m"), &[0, 0, 0, 0]), seconds(&[0, 6, 12, 18]));
    // One that comes late is not caught up by those after it.
    assert_eq!(sent(Some("10/m"), &[0, 20, 20, 21, 40]), seconds(&[0, 20, 26, 32, 40]));
    assert_eq!(sent(None, &[0, 0, 3]), seconds(&[0, 0, 3]));
    let mut pace = Pace::new(Some(Rate::parse("100/h").unwrap()));
    let hour: Vec<Duration> = (0..101).map(|_| pace.next(Duration::ZERO)).collect();
    assert_eq!(hour.last(), Some(&Duration::from_secs(3600)), "a hundred in an hour, and the next after it");
}

#[test]
fn tasks_are_chosen_by_state_reason_and_fingerprint() {
    let failed = || {
        let end = json!({"attempt": 1, "reason": "Error", "exitCode": 3, "action": "Fail", "message": "no order 7"});
        with(json!({"observedGeneration": 1, "state": "Failed", "reason": "Error", "history": [end],
            "conditions": [condition("Failed", "RetriesExhausted")]}))
    };
    let filter = |states: &[&str], reasons: &[&str], prints: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Filter { states: owned(states), reasons: owned(reasons), fingerprints: owned(prints) }.takes(&failed())
    };
    let name = crate::core::fingerprint::last_failure(&failed()).unwrap().fingerprint().name();
    assert!(filter(&[], &[], &[]) && filter(&["failed"], &[], &[]) && filter(&["Running", "Failed"], &[], &[]));
    assert!(!filter(&["Running"], &[], &[]) && !filter(&[], &["OOMKilled"], &[]) && !filter(&[], &[], &["nope"]));
    assert!(
        filter(&[], &["Error"], &[])
            && filter(&[], &["retriesexhausted"], &[])
            && filter(&["Failed"], &["Error"], &[&name])
    );
    let unknown = unknown_state(&["Faild".into()]).unwrap();
    assert!(unknown.starts_with("invalid state \"Faild\": use one of Pending, Blocked,"), "{unknown}");
    assert_eq!(unknown_state(&["fAILED".into()]), None);
}

#[test]
fn tasks_are_sorted() {
    let named = |name: &str, created: i64, attempts: i32, next: Option<i64>| {
        let mut status = json!({"attempts": attempts, "state": if attempts > 1 { "Failed" } else { "Running" }});
        if let Some(next) = next {
            status["nextRetryTime"] = json!(at(next).to_string());
        }
        with(status)
            .named(name, name)
            .change(|task| task.metadata.creation_timestamp = Some(crate::core::testing::time(created)))
    };
    let order = |by| {
        let mut tasks = vec![named("b", 5, 1, None), named("a", 1, 3, Some(9)), named("c", 9, 2, Some(7))];
        sort(&mut tasks, by);
        tasks.iter().filter_map(|task| task.metadata.name.clone()).collect::<String>()
    };
    assert_eq!(order(SortBy::Name), "abc");
    assert_eq!(order(SortBy::Age), "cba");
    assert_eq!(order(SortBy::State), "acb");
    assert_eq!(order(SortBy::NextRetry), "cab");
    assert_eq!(order(SortBy::Attempts), "acb");
}

#[test]
fn a_request_names_the_version_that_was_read() {
    let task = ended("RetriesExhausted");
    let patch = |action: Action| action.patch(&task, "4f2a");
    let annotated =
        |name: &str, value: &str| json!({"metadata": {"resourceVersion": "1", "annotations": {name: value}}});
    assert_eq!(patch(Action::RetryNow), annotated("retryable.dev/retry-now", "4f2a"));
    assert_eq!(patch(Action::Cancel), annotated("retryable.dev/cancel", "4f2a"));
    assert_eq!(patch(Action::RunAgain { from_start: true }), annotated("retryable.dev/run-again", "4f2a from-start"));
    let spec = |suspend: bool| json!({"metadata": {"resourceVersion": "1"}, "spec": {"suspend": suspend}});
    assert_eq!((patch(Action::Suspend), patch(Action::Resume)), (spec(true), spec(false)));
}

#[test]
fn a_request_is_done_once_its_own_value_is_acknowledged() {
    let run_again = Action::RunAgain { from_start: false };
    let acknowledged = |annotation: &str, value: &str| {
        let known =
            json!({"annotation": annotation, "value": value, "time": at(0).to_string(), "effect": "run 2 begins"});
        with(
            json!({"observedGeneration": 1, "acknowledged": [known], "conditions": [condition("Failed", "RuleFailed")]}),
        )
    };
    let done = Progress::Done("run 2 begins".into());
    assert_eq!(run_again.progress(&acknowledged("retryable.dev/run-again", "id"), "id"), done);
    assert_eq!(run_again.progress(&acknowledged("retryable.dev/run-again", "older"), "id"), Progress::Pending);
    assert_eq!(run_again.progress(&acknowledged("retryable.dev/cancel", "id"), "id"), Progress::Pending);
    let running = with(json!({"observedGeneration": 1, "state": "Running"}));
    assert_eq!(run_again.progress(&running, "id"), Progress::Later("it runs again once it has ended".into()));
    assert_eq!(Action::Cancel.progress(&running, "id"), Progress::Pending);
    let suspended = with(
        json!({"observedGeneration": 1, "state": "Suspended", "conditions": [condition("Suspended", "Suspended")]}),
    );
    assert_eq!(Action::Suspend.progress(&suspended, ""), Progress::Done("it is suspended".into()));
    assert_eq!(Action::Resume.progress(&suspended, ""), Progress::Pending);
    assert_eq!(Action::Resume.progress(&running, ""), Progress::Done("it goes on".into()));
    let unseen = suspended.change(|task| task.metadata.generation = Some(2));
    assert_eq!(Action::Suspend.progress(&unseen, ""), Progress::Pending);
}

#[test]
fn a_pod_that_takes_long_to_stop_is_no_operator_that_does_not_act() {
    let stopping = |reason: &str, spec: Value| {
        let current = json!({"number": 1, "podName": "import-1", "stopReason": reason});
        let status = json!({"observedGeneration": 1, "state": "Running", "current": current});
        task_with(spec).status(serde_json::from_value(status).unwrap())
    };
    let plain = json!({"image": "busybox"});
    let said =
        |what: &str| Progress::Stopping(format!("Pod import-1 is being stopped; the task is {what} when it has ended"));
    assert_eq!(Action::Cancel.progress(&stopping("Cancelled", plain.clone()), "id"), said("cancelled"));
    // It stops for another reason, and whether the request was seen is not known.
    assert_eq!(Action::Cancel.progress(&stopping("AttemptTimeout", plain.clone()), "id"), Progress::Pending);
    let suspended = json!({"image": "busybox", "suspend": true});
    assert_eq!(Action::Suspend.progress(&stopping("Suspended", suspended), ""), said("suspended"));
    assert_eq!(Action::RetryNow.progress(&stopping("RetryNow", plain), "id"), Progress::Pending);
}

#[test]
fn a_request_whose_answer_was_lost_is_found_again() {
    let asked = task_with(json!({"image": "busybox"})).asked("cancel", "id").asked("run-again", "other from-start");
    let again = |from_start| Action::RunAgain { from_start };
    assert!(Action::Cancel.is_stored(&asked, "id") && !Action::Cancel.is_stored(&asked, "another"));
    assert!(again(true).is_stored(&asked, "other") && !again(false).is_stored(&asked, "other"));
    assert!(!Action::RetryNow.is_stored(&asked, "id"));
    assert!(Action::Resume.is_stored(&asked, "") && !Action::Suspend.is_stored(&asked, ""));
}

#[test]
fn what_needs_no_request_gets_none() {
    let again = Action::RunAgain { from_start: false };
    let new = task_with(json!({"image": "busybox"}));
    let suspended = task_with(json!({"image": "busybox", "suspend": true}));
    let over = ended("Succeeded");
    let needless = |action: Action, task: &RetryableTask| action.needless(task).is_some();
    assert!(needless(Action::RetryNow, &over) && needless(Action::Cancel, &over) && !needless(again, &over));
    assert!(needless(again, &new) && !needless(Action::Cancel, &new) && !needless(Action::RetryNow, &new));
    // Whoever runs it again does not expect it to stand still.
    assert_eq!(Action::Suspend.needless(&over), Some("it has ended"));
    assert!(needless(Action::Suspend, &suspended) && !needless(Action::Resume, &suspended));
    assert!(needless(Action::Resume, &new) && !needless(Action::Suspend, &new));
}

#[test]
fn a_new_task_has_what_was_given_and_no_defaults() {
    let least = NewTask { name: "x".into(), namespace: "shop".into(), image: "busybox".into(), ..NewTask::default() };
    let metadata = json!({"name": "x", "namespace": "shop"});
    let head = |spec: Value, metadata: &Value| json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": metadata, "spec": spec});
    assert_eq!(least.manifest(), head(json!({"image": "busybox"}), &metadata));
    let all = NewTask {
        words: vec!["sh".into(), "-c".into(), "exit 3".into()],
        is_command: true,
        max_retries: Some(0),
        env: vec![("A".into(), "b".into())],
        labels: vec![("team".into(), "shop".into())],
        queue: Some("mail".into()),
        attempt_timeout: Some(Duration::from_secs(30)),
        deadline: Some(Duration::from_secs(60)),
        ttl: Some(Duration::from_secs(90)),
        suspend: true,
        ..least
    };
    let spec = json!({"image": "busybox", "command": ["sh", "-c", "exit 3"], "maxRetries": 0, "env": [{"name": "A", "value": "b"}],
        "queue": {"name": "mail"}, "attemptTimeoutSeconds": 30, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 90, "suspend": true});
    assert_eq!(
        all.manifest(),
        head(spec.clone(), &json!({"name": "x", "namespace": "shop", "labels": {"team": "shop"}}))
    );
    let problems = crate::admission::Admission::new().admit(&all.manifest(), crate::admission::Notation::Json);
    assert!(problems.is_ok(), "{:?}", problems.err());
    // What exists has the defaults too.
    let mut existing = spec.clone();
    existing["historyLimit"] = json!(10);
    existing["queue"]["priority"] = json!(0);
    assert_eq!(difference(&spec, &existing), None);
    existing["env"][0]["value"] = json!("c");
    assert_eq!(difference(&spec, &existing), Some("spec.env[0].value".into()));
    assert_eq!(difference(&json!({"maxRetries": 1}), &json!({})), Some("spec.maxRetries".into()));
}

#[test]
fn tries_are_spread_and_never_far_apart() {
    assert_eq!((back_off(1, 0.0), back_off(1, 1.0)), (Duration::from_millis(250), Duration::from_millis(500)));
    assert_eq!(back_off(4, 1.0), Duration::from_secs(4));
    assert_eq!((back_off(6, 1.0), back_off(u32::MAX, 1.0)), (Duration::from_secs(10), Duration::from_secs(10)));
}

/// An API server that is away for a minute. `hangs` says how long a try takes meanwhile; then it answers with these codes; then it makes
/// the task, and that answer is lost. Answers when the task was found, and the number of tries.
fn submitted(hangs: Duration, codes: &[u16], part: f64) -> (Duration, u32) {
    let (mut now, mut codes, mut is_made) = (Duration::ZERO, codes.iter(), false);
    let mut submission = Submission::new(Duration::from_secs(300));
    loop {
        let code = if now < Duration::from_secs(60) {
            now += hangs;
            None
        } else if let Some(code) = codes.next() {
            Some(*code)
        } else if is_made {
            // The name is taken, by the same task.
            return (now, submission.tries());
        } else {
            is_made = true;
            None
        };
        match submission.failed(code, now, part) {
            Next::Again(wait) => now += wait,
            next @ (Next::Refused | Next::GiveUp) => panic!("{next:?} after {now:?}"),
        }
    }
}

#[test]
fn an_api_server_that_is_away_for_a_minute_gets_one_task() {
    let second = Duration::from_secs(1);
    for part in [0.0, 0.5, 1.0] {
        for hangs in [Duration::ZERO, 10 * second] {
            // It serves before it knows who may do what.
            for codes in [&[][..], &[503, 403, 404, 401]] {
                let (found, tries) = submitted(hangs, codes, part);
                let most = 60 * second + hangs + 10 * second * u32::try_from(codes.len() + 2).unwrap();
                assert!(found <= most && tries <= 30, "{found:?}, {tries} tries: {hangs:?} {codes:?} {part}");
            }
        }
    }
}

#[test]
fn what_an_api_server_refuses_for_good_is_not_sent_again() {
    let new = || Submission::new(Duration::from_secs(10));
    for code in [400, 401, 403, 404, 422] {
        assert_eq!(new().failed(Some(code), Duration::ZERO, 1.0), Next::Refused, "{code}");
    }
    for code in [408, 409, 429, 500, 503, 504] {
        assert_eq!(new().failed(Some(code), Duration::ZERO, 1.0), Next::Again(Duration::from_millis(500)), "{code}");
    }
    assert_eq!(new().failed(None, Duration::from_secs(10), 1.0), Next::GiveUp);
    // After an outage it may need a moment, and no more.
    let mut submission = Submission::new(Duration::from_secs(300));
    let mut codes = [None].into_iter().chain([Some(403); 6]);
    let last = codes.by_ref().map(|code| submission.failed(code, Duration::ZERO, 1.0)).last();
    assert_eq!((last, submission.tries()), (Some(Next::Refused), 7));
}

#[test]
fn each_line_of_a_watched_task_is_news() {
    let mut watched = Watched::default();
    let mut lines = |status: Value, now: i64| watched.lines(&with(status), at(now));
    let entry = json!({"attempt": 1, "reason": "Error", "exitCode": 3, "message": "boom", "delayMilliseconds": 2000, "action": "Retry"});
    let running = |number: i32, history: &[Value]| json!({"observedGeneration": 1, "state": "Running", "current": {"number": number, "podName": "p"}, "history": history});
    assert_eq!(lines(running(1, &[]), 0), ["Running: attempt 1"]);
    assert_eq!(lines(running(1, &[]), 1), [""; 0]);
    let waiting = json!({"observedGeneration": 1, "state": "Waiting", "current": {"number": 2, "dueTime": at(7).to_string()}, "history": [entry]});
    assert_eq!(
        lines(waiting.clone(), 5),
        [
            "attempt 1 ended with Error, exit code 3: boom; the next waits 2s".to_owned(),
            format!("Waiting: attempt 2 starts at {:.0}", at(7))
        ]
    );
    assert_eq!(lines(waiting, 6), [""; 0]);
    let over = json!({"observedGeneration": 1, "state": "Succeeded", "history": [entry, {"attempt": 2, "reason": "Completed", "exitCode": 0, "action": "Complete"}],
        "conditions": [condition("Complete", "Succeeded"), condition("Finished", "Succeeded")]});
    assert_eq!(lines(over, 9), ["attempt 2 ended with Completed, exit code 0", "Succeeded: as told"]);
}

#[test]
fn an_end_says_whether_the_task_succeeded() {
    let end = |reason: &str| End::of(&ended(reason)).map(|end| (end.succeeded, end.reason));
    assert_eq!(end("Succeeded"), Some((true, "Succeeded".into())));
    assert_eq!(end("Cancelled"), Some((false, "Cancelled".into())));
    assert_eq!(End::of(&with(json!({"state": "Running"}))), None);
    assert_eq!(NAME, ended("Succeeded").metadata.name.unwrap());
}

#[test]
fn a_log_goes_on_after_the_last_line_that_was_read() {
    let mut place = Place::default();
    assert_eq!(place.resume(), None);
    let mut read = |lines: &[&str]| {
        let read: Vec<&[u8]> = lines.iter().filter_map(|line| place.take(line.as_bytes())).collect();
        (String::from_utf8(read.concat()).unwrap(), place.resume().map(|since| since.to_string()))
    };
    let since = Some("2026-11-22T09:00:01Z".to_owned());
    // The API takes whole seconds: half a second more would be a line less.
    let first = ["2026-11-22T10:00:01.3+01:00 a\n", "2026-11-22T10:00:01.700000000+01:00 \n"];
    assert_eq!(read(&first), ("a\n\n".into(), since.clone()));
    let then = [first[0], first[1], "2026-11-22T09:00:01.9Z b c\n", "2026-11-22T09:00:01.8Z late\n"];
    assert_eq!(read(&then), ("b c\nlate\n".into(), since.clone()));
    // What the kubelet says of itself has no time.
    assert_eq!(read(&["2026-11-22T09:00:01.9Z b c\n", "no log driver\n", "\n"]), ("no log driver\n\n".into(), since));
}
