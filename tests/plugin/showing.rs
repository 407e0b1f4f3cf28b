//! What the verbs that show print, to the letter.

use crate::server::{Answer, Server, refusal, stored};
use crate::tasks::{ago, failed, in_namespace, object, succeeded, task, waiting};
use crate::{Said, said};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

fn shop() -> Server {
    let tasks = vec![waiting("import"), failed("export", 9), failed("report", 12), succeeded("backup")];
    Server::with(&[("retryabletasks", tasks)])
}

#[test]
fn tasks_in_a_list() {
    let Said { code, out, err } = said(&shop(), &["list"]);
    let expected = "\
NAME     STATE       ATTEMPTS   LAST-REASON   NEXT-RETRY   AGE
backup   Succeeded   1          -             -            1h5m
export   Failed      1          Error         -            1h5m
import   Waiting     1          Error         in 1h0m      1h5m
report   Failed      1          Error         -            1h5m
";
    assert_eq!((code, &*out, &*err), (Some(0), expected, ""));
}

#[test]
fn a_list_is_narrowed_down_and_shown_as_one_likes() {
    let Said { out, .. } = said(&shop(), &["list", "--state", "waiting,Succeeded", "--no-headers", "-o", "wide"]);
    let expected = "\
backup   Succeeded   1   -       -         1h5m   10s   -   -   shop/import:1.4   -
import   Waiting     1   Error   in 1h0m   1h5m   -     3   -   shop/import:1.4   no route to host 7
";
    assert_eq!(out, expected);
    let names = said(&shop(), &["list", "--reason", "RetriesExhausted", "-o", "name", "--sort", "age"]).out;
    assert_eq!(names, "retryabletask.retryable.dev/export\nretryabletask.retryable.dev/report\n");
    let read: Value = serde_json::from_str(&said(&shop(), &["list", "--state", "Waiting", "-o", "json"]).out).unwrap();
    assert_eq!((&read["kind"], &read["items"][0]["metadata"]["name"]), (&json!("List"), &json!("import")));
    assert_eq!(read["items"][0]["kind"], "RetryableTask");
    let yaml = said(&shop(), &["list", "--state", "Waiting", "-o", "yaml"]).out;
    assert!(yaml.starts_with("apiVersion: v1\nitems:\n- apiVersion: retryable.dev/v1alpha1\n"), "{yaml}");
    let Said { code, err, .. } = said(&shop(), &["list", "--state", "Faild"]);
    let expected = "error: invalid state \"Faild\": use one of Pending, Blocked, Running, Waiting, Queued, Suspended, Succeeded, Failed, Cancelled\n";
    assert_eq!((code, &*err), (Some(1), expected));
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let none = Server::with(&[("retryabletasks", vec![])]);
    let Said { code, out, err } = said(&none, &["list"]);
    assert_eq!((code, &*out, &*err), (Some(0), "", "No tasks found in shop namespace.\n"));
    assert_eq!(said(&none, &["errors", "-A"]).err, "No failures found.\n");
    // Programs get an empty list.
    assert_eq!(
        said(&none, &["list", "-o", "json"]).out,
        "{\n  \"apiVersion\": \"v1\",\n  \"items\": [],\n  \"kind\": \"List\"\n}\n"
    );
}

#[test]
fn one_task_with_its_attempts() {
    let shop = shop();
    let Said { code, out, err } = said(&shop, &["get", "import"]);
    let why = said(&shop, &["why", "import"]).out;
    let (sentence, hint) = why.split_once(".\n  ").unwrap();
    let expected = format!(
        "\
Name:       import
Namespace:  shop
State:      Waiting
Attempts:   1
Retries:    1 of 3 charged, 0 attempts not charged
Why:        {sentence}
            {hint}
ATTEMPT   STARTED                RAN   REASON    EXIT-CODE   RULE   ACTION   WAIT          NODE     MESSAGE
1         2026-11-22T10:00:00Z   10s   Error     3           -      Retry    1.5s          node-1   no route to host 7
2         -                      -     Waiting   -           -      -        1h0m left     -        -
"
    );
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((code, squeezed(&out), &*err), (Some(0), squeezed(&expected), ""));
    let Said { code, err, .. } = said(&shop, &["get", "nothing"]);
    assert_eq!(
        (code, &*err),
        (Some(1), "error: get RetryableTask shop/nothing: retryabletasks \"nothing\" not found\n")
    );
}

#[test]
fn why_a_task_is_where_it_is() {
    let Said { code, out, .. } = said(&shop(), &["why", "export", "backup"]);
    let expected = "\
export: Failed with RetriesExhausted 2h5m ago, after 10s: the only attempt failed (maxRetries 0); the last ended with Error, exit code 3.
backup: Succeeded 2h5m ago, after 10s: attempt 1 succeeded.
";
    assert_eq!((code, &*out), (Some(0), expected));
}

#[test]
fn why_a_task_waits_for_its_queue() {
    let queued = |name: &str, since: i64| {
        let mut task = task(name, &json!({"state": "Queued", "current": {"number": 1, "queuedTime": ago(since)}}));
        task["spec"]["queue"] = json!({"name": "mail"});
        task
    };
    let mut tasks = vec![queued("first", 9000), queued("second", 7530)];
    tasks[1]["status"]["reason"] = json!("RateLimited");
    let queue = object("TaskQueue", "mail", &json!({"spec": {}, "status": {"running": "3/3"}}));
    let server = Server::with(&[("retryabletasks", tasks.clone()), ("taskqueues", vec![queue])]);
    let Said { out, .. } = said(&server, &["why", "second"]);
    assert_eq!(
        out,
        "Attempt 1 is due and has waited for 2h5m for TaskQueue mail: 3/3 attempts run; it is number 2 of 2 in line.\n"
    );
    let asked = "GET /apis/retryable.dev/v1alpha1/namespaces/shop/retryabletasks?&fieldSelector=spec.queue.name%3Dmail&limit=500";
    assert!(server.lines().iter().any(|line| line == asked), "{:?}", server.lines());
    let expected = "\
PLACE   TASK     PRIORITY   FAIRNESS-KEY   REASON
1       first    0          -              -
2       second   0          -              RateLimited
";
    assert!(said(&server, &["queue", "get", "mail"]).out.ends_with(expected));
    let missing = Server::with(&[("retryabletasks", tasks), ("taskqueues", vec![])]);
    let expected =
        "Attempt 1 has waited for 2h5m for TaskQueue mail, which does not exist.\n  Create it, or change spec.queue.\n";
    assert_eq!(said(&missing, &["why", "second"]).out, expected);
}

#[test]
fn failures_by_their_cause() {
    let mut others = vec![failed("a", 1), failed("b", 22), failed("c", 333), waiting("d")];
    let memory = json!({"attempt": 1, "podName": "p", "reason": "OOMKilled", "exitCode": 137, "action": "Retry", "finishTime": "2026-11-22T10:00:10Z"});
    others.push(task("e", &json!({"state": "Running", "history": [memory]})));
    let server = Server::with(&[("retryabletasks", others)]);
    let Said { code, out, err } = said(&server, &["errors"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, &*err, lines.len()), (Some(0), "", 3), "{out}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let header = ["FINGERPRINT", "COUNT", "TASKS", "FIRST", "LAST", "REASON", "EXIT-CODE", "MESSAGE"];
    assert_eq!(words(lines[0]), header);
    let row = words(lines[1]);
    assert_eq!(
        (&*row[1], &*row[2], &*row[5], &*row[6], row[7..].join(" ")),
        ("4", "4", "Error", "3", "no route to host #".into())
    );
    assert!(words(lines[2])[5..].join(" ").starts_with("OOMKilled 137 -"), "{out}");
    // The name of the cause selects its tasks.
    let names = said(&server, &["list", "--fingerprint", &row[0], "-o", "name"]).out;
    assert_eq!(names.lines().count(), 4, "{names}");
    let read: Value = serde_json::from_str(&said(&server, &["errors", "-o", "json"]).out).unwrap();
    assert_eq!((&read["errors"][0]["count"], &read["errors"][0]["pattern"]), (&json!(4), &json!("no route to host #")));
    let wide = said(&server, &["errors", "-o", "wide"]).out;
    assert!(wide.contains("a,b,c,+1"), "{wide}");
}

#[test]
fn a_thousand_failures_of_twelve_causes_are_twelve_rows() {
    let causes = ["disk", "mail", "bill", "port", "lock", "name", "route", "token", "order", "image", "quota", "shard"];
    let failure = |(n, cause): (i64, &&str)| {
        let mut task = failed(&format!("t{n}"), n);
        task["status"]["history"][0]["message"] =
            json!(format!("attempt {n}: no {cause} {n} at 10.0.0.{}:5432", n % 250));
        task
    };
    let server = Server::with(&[("retryabletasks", (0..1000).zip(causes.iter().cycle()).map(failure).collect())]);
    let out = said(&server, &["errors", "--no-headers"]).out;
    let counts: Vec<usize> = out.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(counts, [[84; 4].as_slice(), &[83; 8]].concat(), "{out}");
    let fingerprint = out.split_whitespace().next().unwrap();
    let meant = said(&server, &["run-again", "--fingerprint", fingerprint, "--dry-run"]).out;
    assert_eq!(meant.lines().count(), 84);
}

#[test]
fn attempts_by_node() {
    let pod = |task: &str, node: &str, phase: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": task, "namespace": "shop", "labels": {"retryable.dev/task-name": task}},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}})
    };
    let pods = vec![
        pod("b", "node-1", "Running"),
        pod("a", "node-1", "Pending"),
        pod("c", "node-2", "Running"),
        pod("d", "node-2", "Failed"),
    ];
    let server = Server::with(&[("pods", pods)]);
    let Said { out, .. } = said(&server, &["workers"]);
    let expected = "\
NODE     RUNNING   STARTING   STOPPING   TASKS
node-1   1         1          0          a,b
node-2   1         0          0          c
";
    assert_eq!(out, expected);
    assert_eq!(said(&server, &["workers", "-o", "name"]).out, "node/node-1\nnode/node-2\n");
    let read: Value = serde_json::from_str(&said(&server, &["workers", "-o", "json"]).out).unwrap();
    let tasks = json!([{"namespace": "shop", "name": "c"}]);
    let second = json!({"node": "node-2", "running": 1, "starting": 0, "stopping": 0, "tasks": tasks});
    assert_eq!((read["nodes"].as_array().unwrap().len(), &read["nodes"][1]), (2, &second));
    let many: Vec<Value> = (1..=7).map(|n| pod(&format!("t{n}"), "node-1", "Running")).collect();
    let many = Server::with(&[("pods", many)]);
    let last = |more: &[&str]| {
        let out = said(&many, &[&["workers", "--no-headers"], more].concat()).out;
        out.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!((&*last(&[]), &*last(&["-o", "wide"])), ("t1,t2,t3,t4,t5,+2", "t1,t2,t3,t4,t5,t6,t7"));
}

#[test]
fn versions_for_people_and_programs() {
    let own = env!("CARGO_PKG_VERSION");
    let labels = json!({"app.kubernetes.io/version": "9.9.9"});
    let metadata = json!({"name": "operator", "namespace": "tasks", "labels": labels});
    let operator = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
    let server = Server::with(&[("deployments", vec![operator]), ("customresourcedefinitions", vec![])]);
    let Said { code, out, err } = said(&server, &["version"]);
    let missing = |kind: &str| format!("Definition:  {kind}.retryable.dev: missing\n");
    let definitions = ["retryabletasks", "taskqueues", "taskschedules"].map(missing).concat();
    let expected = format!("Client:      {own}\nOperator:    9.9.9 in namespace tasks\n{definitions}");
    let warning = format!("warning: this program has version {own}, the operator has 9.9.9\n");
    assert_eq!((code, out, err), (Some(1), expected, warning));
    let read: Value = serde_json::from_str(&said(&server, &["version", "-o", "json"]).out).unwrap();
    assert_eq!((&read["client"], &read["operators"][0]["version"]), (&json!(own), &json!("9.9.9")));
    assert_eq!(read["definitions"][1], json!({"name": "taskqueues.retryable.dev", "state": "Missing"}));
    assert_eq!(said(&server, &["version", "--client", "-o", "yaml"]).out, format!("client: {own}\n"));
}

#[test]
fn queues_and_schedules_in_a_list() {
    let circuit = json!({"state": "Open", "until": ago(-3630), "trip": 2, "cause": "12 of 14 tasks failed"});
    let queue = object(
        "TaskQueue",
        "mail",
        &json!({"spec": {"stopPolicy": "Hold"}, "status": {"running": "0/3", "queued": 4, "waiting": 1, "circuit": circuit}}),
    );
    let spec = json!({"schedule": "0 3 * * *", "template": {"spec": {"image": "busybox"}}});
    let status = json!({"state": "Scheduled", "active": 0, "consecutiveFailures": 2, "nextScheduleTime": ago(-3630), "lastScheduleTime": ago(7230), "skipped": {"missed": 3}});
    let schedule = object("TaskSchedule", "nightly", &json!({"spec": spec, "status": status}));
    let server =
        Server::with(&[("taskqueues", vec![queue]), ("taskschedules", vec![schedule]), ("retryabletasks", vec![])]);
    let expected = "\
NAME   RUNNING   QUEUED   WAITING   CIRCUIT   OPEN-FOR   STARTS   AGE    CAUSE
mail   0/3       4        1         Open      in 1h0m    Held     1h5m   12 of 14 tasks failed
";
    assert_eq!(said(&server, &["queue", "list", "-o", "wide"]).out, expected);
    let expected = "\
Name:       mail
Namespace:  shop
Running:    0/3
Queued:     4
Waiting:    1
Starts:     Held
Circuit:    Open, opened 2 times
Probes:     in 1h0m
Cause:      12 of 14 tasks failed
";
    assert_eq!(said(&server, &["queue", "get", "mail"]).out, expected);
    let expected = "\
NAME      SCHEDULE    TIME-ZONE   STATE       ACTIVE   NEXT      LAST   LAST-SUCCESS   FAILURES   SKIPPED
nightly   0 3 * * *   Etc/UTC     Scheduled   0        in 1h0m   2h0m   -              2          3
";
    assert_eq!(said(&server, &["schedule", "list"]).out, expected);
    let next = said(&server, &["schedule", "next", "nightly", "--starts", "2"]).out;
    assert!(next.starts_with("shop/nightly: 0 3 * * * in Etc/UTC\n\nTIME"), "{next}");
    assert_eq!(next.matches("T03:00:00Z").count(), 2, "{next}");
    let next = said(&server, &["schedule", "next", "nightly", "--starts", "1", "-o", "yaml"]).out;
    assert!(next.starts_with("name: nightly\nnamespace: shop\n") && next.contains("T03:00:00Z"), "{next}");
}

#[test]
fn the_next_starts_are_those_of_the_operator() {
    let spec = json!({"schedule": "* * * * *", "splaySeconds": 86400, "template": {"spec": {"image": "busybox"}}});
    let handled = ago(-36000);
    let status = json!({"state": "Paused", "handledTime": handled});
    let schedule = object("TaskSchedule", "each-minute", &json!({"spec": spec, "status": status}));
    let known: retryable_tasks::api::TaskSchedule = serde_json::from_value(schedule.clone()).unwrap();
    let server = Server::with(&[("taskschedules", vec![schedule])]);
    let next = said(&server, &["schedule", "next", "each-minute", "--starts", "1", "-o", "json"]).out;
    let next: serde_json::Value = serde_json::from_str(&next).unwrap();
    let at = |field: &str| next["starts"][0][field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let splay = retryable_tasks::core::schedule::timetable(&known).unwrap().splay();
    assert_eq!(at("start"), at("utc") + splay);
    assert!(at("utc") > handled.parse().unwrap(), "times up to that one are settled");
    let notes = next["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].as_str().unwrap().starts_with(&format!("Each starts {} s after its time", splay.as_secs())));
    assert!(notes[1].as_str().unwrap().starts_with("The schedule is paused because its runs fail"));
}

#[test]
fn a_forbidden_namespace_hides_no_other() {
    let script = |request: &crate::server::Request| {
        let tasks = vec![waiting("import"), in_namespace(failed("bill", 1), "billing")];
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespaces = vec![namespace("billing"), namespace("secret"), namespace("shop")];
        match request.line.split('?').next().unwrap() {
            "GET /apis/retryable.dev/v1alpha1/retryabletasks"
            | "GET /apis/retryable.dev/v1alpha1/namespaces/secret/retryabletasks" => {
                refusal(403, "Forbidden", "retryabletasks.retryable.dev is forbidden")
            }
            "GET /api/v1/namespaces" => {
                Answer::Json(200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": namespaces}))
            }
            _ => stored(&[("retryabletasks", tasks)], request),
        }
    };
    let Said { code, out, err } = said(&Server::new(script), &["list", "-A"]);
    let expected = "\
NAMESPACE   NAME     STATE     ATTEMPTS   LAST-REASON   NEXT-RETRY   AGE
billing     bill     Failed    1          Error         -            1h5m
shop        import   Waiting   1          Error         in 1h0m      1h5m
";
    let problem = "error: you may not list retryabletasks in these namespaces: secret\n";
    assert_eq!((code, &*out, &*err), (Some(1), expected, problem));
    let Said { code, out, err } = said(&Server::new(script), &["list", "-n", "secret,shop", "--no-headers"]);
    assert_eq!((code, &*out, &*err), (Some(1), "shop   import   Waiting   1   Error   in 1h0m   1h5m\n", problem));
    let nothing = Server::new(|_| refusal(403, "Forbidden", "no"));
    let expected = "error: you may list neither retryabletasks in all namespaces nor the namespaces: name yours, such as -n shop,billing\n";
    assert_eq!(said(&nothing, &["list", "-A"]).err, expected);
    assert_eq!(said(&nothing, &["list"]).err, "error: list retryabletasks in namespace shop: no\n");
}

#[test]
fn a_long_list_comes_in_pages() {
    let server = Server::new(|request| {
        let is_second = request.line.contains("continue=more");
        let name = if is_second { "second" } else { "first" };
        let metadata = if is_second { json!({}) } else { json!({"continue": "more"}) };
        Answer::Json(200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": [waiting(name)]}))
    });
    assert_eq!(
        said(&server, &["list", "-o", "name"]).out,
        "retryabletask.retryable.dev/first\nretryabletask.retryable.dev/second\n"
    );
    assert!(server.lines().iter().all(|line| line.contains("limit=500")), "{:?}", server.lines());
}

#[test]
fn a_task_that_this_version_cannot_read_hides_no_other() {
    let strange = task("strange", &json!({"attempts": "many"}));
    let Said { code, out, err } =
        said(&Server::with(&[("retryabletasks", vec![strange, waiting("import")])]), &["list", "-o", "name"]);
    assert_eq!((code, &*out), (Some(1), "retryabletask.retryable.dev/import\n"));
    assert!(err.starts_with("error: this version cannot read shop/strange: invalid type: string"), "{err}");
}

#[test]
fn waiting_ends_with_what_became_of_the_tasks() {
    let Said { code, out, .. } = said(&shop(), &["wait", "backup"]);
    assert_eq!((code, &*out), (Some(0), "backup: Succeeded: attempt 1 succeeded\n"));
    assert_eq!(said(&shop(), &["wait", "backup", "export"]).code, Some(1));
    let Said { code, err, .. } = said(&shop(), &["wait", "nothing"]);
    assert_eq!((code, &*err), (Some(1), "error: RetryableTask shop/nothing does not exist\n"));
}

#[test]
fn waiting_that_times_out_says_for_which_tasks() {
    let Said { code, out, err } = said(&shop(), &["wait", "backup", "import", "--timeout", "10s"]);
    assert_eq!((code, &*out), (Some(2), "backup: Succeeded: attempt 1 succeeded\n"));
    assert_eq!(err, "error: after 10 s, 1 of 2 had not ended: import\n");
}

#[test]
fn a_namespace_that_is_named_twice_is_one() {
    for twice in ["shop,shop", "shop,", ",shop"] {
        let Said { code, out, .. } = said(&shop(), &["list", "-n", twice, "-o", "name", "--state", "Waiting"]);
        assert_eq!((code, &*out), (Some(0), "retryabletask.retryable.dev/import\n"), "{twice}");
    }
    assert_eq!(said(&shop(), &["why", "backup", "-n", "shop,shop"]).code, Some(0));
}

#[test]
fn a_command_to_copy_has_the_options_that_were_given() {
    let Said { out, .. } = said(&shop(), &["why", "import", "--context", "test", "--as", "jane doe"]);
    let hint = "  To start it now: kubectl retryable retry-now import -n shop --context test --as 'jane doe'\n";
    assert!(out.ends_with(hint), "{out}");
}

#[test]
fn without_an_answer_the_address_is_told() {
    let server = Server::new(|_| Answer::Nothing);
    let Said { code, err, .. } = said(&server, &["list"]);
    assert!(err.starts_with("error: list retryabletasks in namespace shop: "), "{err}");
    assert!(err.ends_with(&format!("\n  The API server of this configuration is {}/\n", server.url)), "{err}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_cause_is_told_once() {
    let Said { code, err, .. } = said(&shop(), &["simulate", "missing.yaml"]);
    assert_eq!((code, &*err), (Some(1), "error: missing.yaml: No such file or directory (os error 2)\n"));
}

#[test]
fn watching_in_a_pipe_prints_lines() {
    let Said { code, out, .. } = said(&shop(), &["get", "export", "--watch"]);
    let lines: Vec<&str> = out.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let expected = [
        "attempt 1 ended with Error, exit code 3: no route to host 9; the next waits 1.5s",
        "Failed: the only attempt failed (maxRetries 0); the last ended with Error, exit code 3",
    ];
    assert_eq!((code, lines), (Some(0), expected.to_vec()));
    assert!(!out.contains('\u{1b}'));
    let yaml = said(&shop(), &["get", "export", "-w", "-o", "yaml"]).out;
    assert!(
        yaml.starts_with("---\napiVersion: retryable.dev/v1alpha1\n") && yaml.contains("state: Failed\n"),
        "{yaml}"
    );
}

#[test]
fn an_api_server_that_comes_back_may_refuse_for_a_moment() {
    // It is away, and then serves before it knows who may do what.
    let watches = AtomicUsize::new(0);
    let server = Server::new(move |request| {
        if !request.line.contains("watch=") {
            return stored(&[("retryabletasks", vec![waiting("import")])], request);
        }
        match watches.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Nothing,
            1 => refusal(403, "Forbidden", "no"),
            _ => Answer::Text(json!({"type": "MODIFIED", "object": succeeded("import")}).to_string() + "\n"),
        }
    });
    let Said { code, out, err } = said(&server, &["wait", "import"]);
    assert_eq!((code, &*out, &*err), (Some(0), "import: Succeeded: attempt 1 succeeded\n", ""));
    let never = Server::new(|_| refusal(403, "Forbidden", "no"));
    let Said { code, err, .. } = said(&never, &["wait", "import"]);
    assert_eq!((code, &*err), (Some(1), "error: watch RetryableTask shop/import: no\n"));
}
