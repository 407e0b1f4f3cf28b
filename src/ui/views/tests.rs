use super::*;
use crate::api::{RetryableTask, TaskQueue, TaskSchedule};
use crate::core::testing::{BuildPod, at, pod_of};
use crate::ui::query::Place;
use crate::ui::testing::{ALL, failed, in_state, store, task, time};
use askama::Template;
use serde_json::json;

mod size;

/// The page at that place, of that store.
fn page(store: &Store, place: Place, query: &str) -> String {
    let (query, sight) = (Query::parse(query), Sight::all());
    let look = Look { store, sight: &sight, query: &query, now: at(0), watched: &ALL, user: None, options: "" };
    let html = match place {
        Place::Now | Place::Failed | Place::Tasks => list::list(look, place).render(),
        Place::Errors => errors::errors(look).render(),
        Place::Queues => queues::queues(look).render(),
        Place::Schedules => schedules::schedules(look).render(),
        Place::Workers => workers::workers(look, Ok(Vec::new())).render(),
        Place::Task => unreachable!("it has tests of its own"),
    };
    html.unwrap()
}

/// The rows of the page's table: the text of each, with `|` between its cells.
fn rows(html: &str) -> Vec<String> {
    let body = html.split_once("<tbody>").map_or("", |(_, rest)| rest.split_once("</tbody>").unwrap().0);
    body.split("</tr>").filter(|row| !row.trim().is_empty()).map(text).collect()
}

fn text(html: &str) -> String {
    let cells = html.replace("</td>", "|").replace("</th>", "|");
    let parts = cells.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    parts.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ").replace(" |", "|")
}

/// The hrefs of the page that have this in them.
fn links(html: &str, part: &str) -> Vec<String> {
    let all = html.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(link, _)| link);
    all.filter(|link| link.contains(part)).map(|link| link.replace("&#38;", "&")).collect()
}

fn fleet() -> Vec<RetryableTask> {
    let mut tasks: Vec<RetryableTask> = (0..30)
        .map(|number| {
            task("shop", &format!("invoice-{number}"), &failed(1, &format!("db-{number}: connection refused")))
        })
        .collect();
    tasks.extend(
        (0..8).map(|number| task("shop", &format!("resize-{number}"), &failed(2, &format!("panic at {number}")))),
    );
    tasks.push(task("bank", "export", &failed(1, "disk full")));
    tasks
}

#[test]
fn failures_of_one_cause_are_one_row_with_its_tasks() {
    let store = store(&fleet(), &[], &[], &[]);
    let html = page(&store, Place::Errors, "");
    let rows = rows(&html);
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].starts_with("30| Error, exit code 1 ") && rows[0].contains("connection refused"), "{rows:#?}");
    assert!(rows[1].starts_with("16| Error, exit code 1 ") && rows[1].contains("panic at"), "{rows:#?}");
    assert!(html.contains("47 failures of 3 causes"), "{html}");
    let of_first = &links(&html, "tasks?error=")[0];
    let list = page(&store, Place::Tasks, of_first.split_once('?').unwrap().1);
    assert!(list.contains("1–30 of 30") && list.contains("invoice-0"), "{list}");
}

#[test]
fn the_list_of_each_count_has_as_many_rows() {
    let mut tasks = fleet();
    tasks.extend(
        ["Running", "Running", "Waiting", "Queued", "Blocked", "Pending", "Suspended"]
            .iter()
            .zip(0..)
            .map(|(state, number)| task("shop", &format!("t-{number}"), &in_state(state))),
    );
    let store = store(&tasks, &[], &[], &[]);
    for place in [Place::Now, Place::Failed, Place::Tasks] {
        let html = page(&store, place, "namespace=shop");
        let chips = html.split_once("class=\"chips\"").unwrap().1.split_once("</nav>").unwrap().0.to_owned();
        let mut checked = 0;
        for chip in chips.split("<a ").skip(1) {
            let href = chip.split_once("href=\"").unwrap().1.split_once('"').unwrap().0.replace("&#38;", "&");
            let count = chip.split_once("class=\"n\">").unwrap().1.split_once('<').unwrap().0;
            let list = page(&store, place, href.split_once('?').unwrap().1);
            assert!(list.contains(&format!(" of {count}</span>")), "{href} says {count}");
            checked += 1;
        }
        assert!(checked >= 2, "{chips}");
    }
}

#[test]
fn what_waits_is_sorted_by_its_time() {
    let waiting = |name: &str, due: i64| {
        let mut status = in_state("Waiting");
        status["nextRetryTime"] = time(due).into();
        task("shop", name, &status)
    };
    let tasks =
        [waiting("late", 90), waiting("soon", 5), task("shop", "runs", &in_state("Running")), waiting("next", 30)];
    let html = page(&store(&tasks, &[], &[], &[]), Place::Now, "");
    let names: Vec<String> = rows(&html).iter().map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect();
    assert_eq!(names, ["runs shop", "soon shop", "next shop", "late shop"]);
    assert!(html.contains(">in 5s</time>"), "{html}");
}

#[test]
fn a_page_has_fifty_rows_and_keeps_its_filters() {
    let tasks: Vec<RetryableTask> =
        (0..120).map(|number| task("shop", &format!("t-{number:03}"), &in_state("Running"))).collect();
    let html = page(&store(&tasks, &[], &[], &[]), Place::Now, "q=t-&state=Running&page=2");
    assert_eq!(rows(&html).len(), 50);
    assert!(html.contains("51–100 of 120"));
    assert_eq!(links(&html, "page="), ["./?q=t-&state=Running&page=3"]);
    assert!(html.contains("rel=\"prev\"") && html.contains("rel=\"next\""));
}

#[test]
fn an_empty_list_says_so() {
    let store = store(&[], &[], &[], &[]);
    for (place, says) in [
        (Place::Now, "Nothing runs"),
        (Place::Failed, "No task has failed"),
        (Place::Errors, "No attempt has failed"),
        (Place::Queues, "no TaskQueue"),
        (Place::Schedules, "no TaskSchedule"),
        (Place::Workers, "No attempt runs on any node"),
    ] {
        assert!(page(&store, place, "").contains(says), "{place:?}");
    }
    assert!(page(&store, Place::Tasks, "q=x").contains("Remove a filter"));
}

#[test]
fn a_queue_shows_its_slots_its_circuit_and_its_causes() {
    let queue: TaskQueue = serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"maxConcurrent": 20, "stopPolicy": "Hold", "circuitBreaker": {}},
        "status": {"running": "5/20", "queued": 1, "waiting": 0,
            "circuit": {"state": "Open", "trip": 1, "until": time(30), "cause": "7 of 9 tasks failed"}},
    }))
    .unwrap();
    let mut tasks = fleet();
    for task in &mut tasks {
        task.spec.queue = Some(crate::api::QueueRef { name: "orders".into(), ..Default::default() });
    }
    let html = page(&store(&tasks, &[queue], &[], &[]), Place::Queues, "");
    let rows = rows(&html);
    for part in ["orders shop| 5/20", "Open", "Held", "probes in 30s", "7 of 9 tasks failed", "30 db"] {
        assert!(rows[0].contains(part), "{part} in {rows:#?}");
    }
    assert!(!rows[0].contains("disk full"), "that is of another namespace: {rows:#?}");
    assert!(html.contains("value=\"25\""), "{html}");
}

#[test]
fn a_task_that_is_queued_shows_its_place_in_the_line() {
    let queue: TaskQueue = serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"maxConcurrent": 1}, "status": {"running": "1/1", "queued": 2},
    }))
    .unwrap();
    let queued = |namespace: &str, name: &str, since: i64| {
        let mut status = in_state("Queued");
        status["current"] = json!({"number": 2, "dueTime": time(since), "queuedTime": time(since)});
        let mut task = task(namespace, name, &status);
        task.spec.queue = Some(crate::api::QueueRef { name: "orders".into(), ..Default::default() });
        task
    };
    let tasks = [queued("shop", "second", -50), queued("shop", "first", -60), queued("bank", "elsewhere", -90)];
    let store = store(&tasks, &[queue], &[], &[]);
    let (query, sight) = (Query::parse("namespace=shop&name=second"), Sight::all());
    let look = Look { store: &store, sight: &sight, query: &query, now: at(0), watched: &ALL, user: None, options: "" };
    let answer = task::Answer::Found(serde_json::to_value(&tasks[0]).unwrap());
    let html = task::task(look, answer).render().unwrap();
    assert!(html.contains("it is number 2 of 2 in line"), "{html}");
}

#[test]
fn commands_to_copy_mean_the_cluster_that_is_shown() {
    let failed = task("shop", "red", &failed(1, "m"));
    let (store, sight, query) =
        (store(std::slice::from_ref(&failed), &[], &[], &[]), Sight::all(), Query::parse("namespace=shop&name=red"));
    let options = "--context prod";
    let look = Look { store: &store, sight: &sight, query: &query, now: at(0), watched: &ALL, user: None, options };
    let html = task::task(look, task::Answer::Found(serde_json::to_value(&failed).unwrap())).render().unwrap();
    let commands = html.split("<code id=\"command-").skip(1).map(|rest| rest.split_once("</code>").unwrap().0);
    let commands: Vec<&str> = commands.collect();
    assert!(
        commands.len() == 3 && commands.iter().all(|command| command.ends_with(" --context prod")),
        "{commands:#?}"
    );
    let html = errors::errors(look).render().unwrap();
    assert!(html.contains("--state Failed --fingerprint ID --context prod</code>"), "{html}");
}

#[test]
fn a_schedule_shows_when_it_runs_next_and_what_it_skipped() {
    let schedule: TaskSchedule = serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": "nightly", "namespace": "shop"},
        "spec": {"schedule": "30 2 * * *", "timeZone": "Europe/Stockholm", "template": {"spec": {"image": "i"}}},
        "status": {"state": "Paused", "nextScheduleTime": time(3600), "lastScheduleTime": time(-60), "consecutiveFailures": 3,
            "active": 0, "skipped": {"missed": 2, "overlap": 1}, "message": "3 runs have failed in a row"},
    }))
    .unwrap();
    let rows = rows(&page(&store(&[], &[], &[schedule], &[]), Place::Schedules, ""));
    let parts = [
        "Paused",
        "30 2 * * *",
        "Europe/Stockholm",
        "in 1h0m",
        "1m0s ago",
        "| 3|",
        "1 overlapped, 2 missed",
        "in a row",
    ];
    for part in parts {
        assert!(rows[0].contains(part), "{part} in {rows:#?}");
    }
}

#[test]
fn nodes_lead_to_what_runs_and_to_what_failed_there() {
    let running = task("shop", "runs", &in_state("Running"));
    let mut pod = pod_of(&running, 1).running();
    pod.metadata.namespace = Some("shop".into());
    let store = store(&[running, task("shop", "fails", &failed(3, "m"))], &[], &[], &[pod]);
    let html = page(&store, Place::Workers, "");
    assert!(rows(&html)[0].starts_with("node-1| 1| 0| 3| Error|"), "{:#?}", rows(&html));
    let list = page(&store, Place::Now, links(&html, "./?node=")[0].split_once('?').unwrap().1);
    assert_eq!(rows(&list).len(), 1);
    let errors = page(&store, Place::Errors, links(&html, "errors?node=")[0].split_once('?').unwrap().1);
    assert!(rows(&errors)[0].starts_with("3|"), "{errors}");
}

#[test]
fn attempts_without_a_node_lead_to_their_tasks() {
    let (starting, running) =
        (task("shop", "starts", &in_state("Pending")), task("shop", "runs", &in_state("Running")));
    let mut pods = [pod_of(&starting, 1), pod_of(&running, 1).running()];
    for pod in &mut pods {
        pod.metadata.namespace = Some("shop".into());
    }
    pods[0].spec.as_mut().unwrap().node_name = None;
    let store = store(&[starting, running], &[], &[], &pods);
    let html = page(&store, Place::Workers, "");
    assert!(rows(&html).iter().any(|row| row.starts_with("no node yet| 1| 1| 0|")), "{:#?}", rows(&html));
    let link = &links(&html, "node=-")[0];
    let list = page(&store, Place::Now, link.split_once('?').unwrap().1);
    assert_eq!(rows(&list).len(), 1);
    assert!(list.contains(">starts</a>") && list.contains(">no node yet</a>"), "{list}");
}

#[test]
fn a_cause_has_the_name_that_the_plugin_takes() {
    let tasks = fleet();
    let html = page(&store(&tasks, &[], &[], &[]), Place::Errors, "namespace=shop");
    let in_shop = tasks.iter().filter(|task| task.metadata.namespace.as_deref() == Some("shop"));
    let groups = crate::core::fingerprint::group(in_shop.flat_map(crate::core::fingerprint::failures));
    assert_eq!(groups.len(), rows(&html).len());
    for (group, row) in groups.iter().zip(rows(&html)) {
        assert!(row.contains(&group.fingerprint.name()) && row.starts_with(&group.count.to_string()), "{row}");
    }
    assert!(html.contains("kubectl retryable run-again -n shop --state Failed --fingerprint ID"), "{html}");
}

#[test]
fn what_a_list_is_filtered_by_can_be_removed() {
    let html = page(&store(&fleet(), &[], &[], &[]), Place::Tasks, "namespace=shop&q=invoice&queue=orders&page=2");
    let all = links(&html, "./tasks");
    for rest in ["?namespace=shop&queue=orders", "?namespace=shop&q=invoice"] {
        assert!(all.contains(&format!("./tasks{rest}")), "{rest} in {all:#?}");
    }
}
