//! How large a page is at most, whatever the cluster has.

use super::*;
use crate::ui::views::task::{Answer, task as task_page};
use serde_json::Value;

/// Most nodes of a page: elements, and texts between them.
const MOST: usize = 2000;
/// More rows than a page has.
const MANY: usize = 120;

/// How many nodes a browser makes of the page, at most. What a page shows has no `<` and no `>` of its own.
fn nodes(html: &str) -> usize {
    let of_part = |part: &str| {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        usize::from(!tag.starts_with('/')) + usize::from(!text.is_empty())
    };
    html.split('<').skip(1).map(of_part).sum()
}

/// A word of letters alone: numbers would not tell causes apart.
fn word(number: usize) -> String {
    let letter = |n: usize| char::from(b'g' + u8::try_from(n % 16).unwrap());
    [letter(number / 16), letter(number)].iter().collect()
}

/// Tasks in all states, of many causes, queues and namespaces.
fn crowd() -> Vec<RetryableTask> {
    let all = ["Running", "Waiting", "Queued", "Blocked", "Pending", "Suspended", "Failed", "Cancelled", "Succeeded"];
    let one = |(number, state): (usize, &str)| {
        let cause = word(number);
        let mut status = failed(1, &format!("{} is {cause}", "long ".repeat(40)));
        status["state"] = state.into();
        status["history"][0]["nodeName"] = format!("node-{cause}").into();
        status["conditions"][0]["reason"] = format!("Reason{cause}").into();
        let mut task = task("shop", &format!("{state}-{cause}").to_lowercase(), &status);
        task.spec.queue = Some(crate::api::QueueRef { name: format!("queue-{cause}"), ..Default::default() });
        task
    };
    let of_state = |state| (0..MANY).map(move |number| (number, state));
    let elsewhere = (0..2 * MANY).map(|number| task(&format!("team-{number}"), "t", &in_state("Running")));
    all.into_iter().flat_map(of_state).map(one).chain(elsewhere).collect()
}

fn queue(number: usize) -> TaskQueue {
    serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": {"name": format!("queue-{}", word(number)), "namespace": "shop"},
        "spec": {"maxConcurrent": 20, "stopPolicy": "Hold", "circuitBreaker": {}},
        "status": {"running": "5/20", "circuit": {"state": "Open", "trip": 1, "until": time(30), "cause": "7 of 9 tasks failed"}},
    }))
    .unwrap()
}

fn schedule(number: usize) -> TaskSchedule {
    serde_json::from_value(json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule",
        "metadata": {"name": format!("schedule-{number}"), "namespace": "shop"},
        "spec": {"schedule": "30 2 * * *", "template": {"spec": {"image": "i"}}},
        "status": {"state": "Paused", "nextScheduleTime": time(3600), "lastScheduleTime": time(-60),
            "lastSuccessTime": time(-90), "lastFailureTime": time(-70), "consecutiveFailures": 3, "active": 1,
            "skipped": {"missed": 2, "overlap": 1, "rejected": 3}, "message": "3 runs have failed in a row"},
    }))
    .unwrap()
}

/// A full store: also of failures of one cause, of many causes in a queue, and of problems of every watch.
fn full() -> Store {
    let mut tasks = crowd();
    for number in 0..3 {
        tasks.extend(tasks.clone().into_iter().take(MANY).map(|mut task| {
            task.metadata.name = Some(format!("{}-{number}", task.metadata.name.unwrap_or_default()));
            let queue = task.spec.queue.as_ref().map(|queue| queue.name.clone()).unwrap_or_default();
            let status = failed(1, &format!("{queue} {}", word(number)));
            task.status = Some(serde_json::from_value(status).unwrap());
            task
        }));
    }
    let (queues, schedules): (Vec<_>, Vec<_>) = ((0..MANY).map(queue).collect(), (0..MANY).map(schedule).collect());
    let mut store = store(&tasks, &queues, &schedules, &[]);
    for number in 0..MANY {
        let place = (Kind::Tasks, Some(format!("team-{number}")));
        store.problems.insert(place, "it is forbidden".into());
    }
    store
}

#[test]
fn no_list_has_more_than_two_thousand_nodes() {
    let store = full();
    for place in
        [Place::Now, Place::Errors, Place::Failed, Place::Tasks, Place::Queues, Place::Schedules, Place::Workers]
    {
        let html = page(&store, place, "");
        assert!(html.contains("rel=\"next\""), "no full page of {place:?}");
        let nodes = nodes(&html);
        assert!((400..=MOST).contains(&nodes), "{place:?} has {nodes}");
    }
}

/// A task with all that its page can show.
fn long_history() -> Value {
    let entry = |attempt: i64| {
        json!({"attempt": attempt, "podName": "p", "nodeName": "n", "reason": "Error", "exitCode": 1, "action": "Retry",
            "message": "m", "rule": "r", "errorType": "E", "startTime": time(100 * attempt),
            "finishTime": time(100 * attempt + 10), "delayMilliseconds": 40_000})
    };
    let condition = |number: usize| json!({"type": format!("Of{number}"), "status": "True", "reason": "R", "message": "m", "lastTransitionTime": time(0)});
    let status = json!({
        "observedGeneration": 1, "state": "Running", "attempts": 101, "retries": 100, "ignored": 3, "historyDropped": 7,
        "run": {"number": 2, "firstAttempt": 1}, "startTime": time(0), "nextRetryTime": time(5), "result": "r", "checkpoint": "c",
        "history": (1..=100).map(entry).collect::<Vec<_>>(), "current": {"number": 101, "podName": "p", "createTime": time(10_050)},
        "conditions": (0..MANY).map(condition).collect::<Vec<_>>(),
    });
    let mut task = task("shop", "long", &status);
    task.spec.backoff = serde_json::from_value(json!({"initialDelaySeconds": 40, "maxDelaySeconds": 40})).unwrap();
    task.spec.queue = Some(crate::api::QueueRef { name: "orders".into(), ..Default::default() });
    serde_json::to_value(task).unwrap()
}

#[test]
fn the_page_of_a_task_is_small_however_long_its_history_and_says_what_more_there_is() {
    let (store, sight) = (full(), Sight::all());
    let shown = |query: &str| {
        let query = Query::parse(&format!("namespace=shop&name=long&{query}"));
        let look = Look {
            store: &store,
            sight: &sight,
            query: &query,
            now: at(20_000),
            watched: &ALL,
            user: Some("ada"),
            options: "",
        };
        task_page(look, Answer::Found(long_history())).render().unwrap()
    };
    let html = shown("");
    assert_eq!(html.matches("<rect class=\"range\"").count(), 29, "each wait has a range: {html}");
    let size = nodes(&html);
    assert!((1000..=MOST).contains(&size), "{size}");
    for part in ["1–30 of 101", "7 older attempts", &format!("{} more are in the", MANY - 20), "more of the kind"] {
        assert!(html.contains(part), "{part} in {html}");
    }
    let next = links(&html, "page=2");
    assert_eq!(next, ["./task?namespace=shop&name=long&page=2"]);
    assert!(shown("page=4").contains("91–101 of 101") && shown("page=4").contains("id=\"a-1\""));
}
