//! The exact output of `kubectl get`.

use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::{Scene, sh};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use retryable_tasks::api::{RetryableTask, RetryableTaskStatus, State};
use serde_json::json;

/// A table as kubectl lays it out: columns as wide as their widest cell, three blanks apart, the last one not padded.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let padding = if column + 1 == columns { 0 } else { width(column) + 3 };
            format!("{cell:padding$}")
        });
        cells.collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}

/// The cells of the column `name` of what kubectl printed. Ages are all that a test cannot know.
fn cells_of(printed: &str, name: &str) -> Vec<String> {
    let header = printed.lines().next().unwrap();
    let start = header.find(name).unwrap_or_else(|| panic!("no column {name} in\n{printed}"));
    printed
        .lines()
        .skip(1)
        .map(|line| line.get(start..).unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned())
        .collect()
}

fn words(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Tasks in every state that lasts.
async fn one_of_each(scene: &Scene) {
    scene.apply(&sh("a-success", "true", &json!({})));
    scene.apply(&sh("b-failure", "echo the disk is full; exit 3", &json!({"maxRetries": 0})));
    let long = json!({"strategy": "Fixed", "initialDelaySeconds": 3600});
    scene.apply(&sh("c-waiting", "echo nobody home; exit 4", &json!({"backoff": long})));
    scene.apply(&sh("d-suspended", "true", &json!({"suspend": true})));
    scene.apply(&sh("e-running", UNTIL_STOPPED, &json!({})));
    let never = json!({"spec": {"containers": [{"name": "task", "imagePullPolicy": "Never"}]}});
    scene.apply(&sh("f-pending", "true", &json!({"image": "absent:1", "template": never})));
    scene.finished("a-success").await;
    scene.finished("b-failure").await;
    let is = |state: State| move |status: &RetryableTaskStatus| status.state == Some(state);
    scene.status("c-waiting", "its wait", is(State::Waiting)).await;
    scene.status("d-suspended", "its suspension", is(State::Suspended)).await;
    scene.running("e-running", 1).await;
    scene.status("e-running", "its run", is(State::Running)).await;
    let held_up = |status: &RetryableTaskStatus| status.reason.as_deref() == Some("ErrImageNeverPull");
    scene.status("f-pending", "its reason", held_up).await;
}

fn next_retry(task: &RetryableTask) -> String {
    let Some(MicroTime(at)) = task.status.as_ref().and_then(|status| status.next_retry_time.clone()) else {
        panic!("{task:#?}")
    };
    format!("{at:.6}")
}

#[tokio::test]
async fn the_columns_are_printed_as_documented() {
    let scene = Scene::new("columns").await;
    let _operator = scene.operator().await;
    one_of_each(&scene).await;
    let due = next_retry(&scene.task("c-waiting").await);

    let printed = scene.kubectl(&["get", "retryabletasks"]).ok();
    let ages = cells_of(&printed, "AGE");
    let rows = [
        ["NAME", "STATE", "ATTEMPTS", "LAST-REASON", "FAILED", "NEXT-RETRY", "AGE"],
        ["a-success", "Succeeded", "1", "", "", "", &ages[0]],
        ["b-failure", "Failed", "1", "Error", "RetriesExhausted", "", &ages[1]],
        ["c-waiting", "Waiting", "1", "Error", "", &due, &ages[2]],
        ["d-suspended", "Suspended", "0", "", "", "", &ages[3]],
        ["e-running", "Running", "1", "", "", "", &ages[4]],
        ["f-pending", "Pending", "1", "ErrImageNeverPull", "", "", &ages[5]],
    ];
    assert_eq!(printed, table(&rows.map(|row| words(&row))));
    let by_short_name = scene.kubectl(&["get", "rt", "--no-headers", "-o", "name"]).ok();
    assert_eq!(by_short_name.lines().count(), 6);
    assert!(scene.kubectl(&["get", "all"]).ok().contains("retryabletask.retryable.dev/a-success"));
}

#[tokio::test]
async fn the_wide_columns_are_printed_as_documented() {
    let scene = Scene::new("wide").await;
    let _operator = scene.operator().await;
    one_of_each(&scene).await;
    let (success, failure) = (scene.task("a-success").await, scene.task("b-failure").await);
    let duration = |task: &RetryableTask| task.status.as_ref().unwrap().duration.clone().unwrap();
    let (success, failure) = (duration(&success), duration(&failure));
    let due = next_retry(&scene.task("c-waiting").await);
    let message = scene.task("f-pending").await.status.unwrap().message.unwrap();
    assert_eq!(message, "Container image \"absent:1\" is not present with pull policy of Never");

    let printed = scene.kubectl(&["get", "rt", "-o", "wide"]).ok();
    let ages = cells_of(&printed, "AGE");
    let full = "the disk is full";
    let (failed, none) = ("Error", "");
    let exhausted = "RetriesExhausted";
    let wide = [
        "NAME",
        "STATE",
        "ATTEMPTS",
        "LAST-REASON",
        "FAILED",
        "NEXT-RETRY",
        "AGE",
        "DURATION",
        "EXIT-CODE",
        "MESSAGE",
        "IMAGE",
    ];
    let rows = [
        wide,
        ["a-success", "Succeeded", "1", none, none, none, &ages[0], &success, none, none, IMAGE],
        ["b-failure", "Failed", "1", failed, exhausted, none, &ages[1], &failure, "3", full, IMAGE],
        ["c-waiting", "Waiting", "1", failed, none, &due, &ages[2], none, "4", "nobody home", IMAGE],
        ["d-suspended", "Suspended", "0", none, none, none, &ages[3], none, none, none, IMAGE],
        ["e-running", "Running", "1", none, none, none, &ages[4], none, none, none, IMAGE],
        ["f-pending", "Pending", "1", "ErrImageNeverPull", none, none, &ages[5], none, none, &message, "absent:1"],
    ];
    assert_eq!(printed, table(&rows.map(|row| words(&row))));
}

#[tokio::test]
async fn tasks_are_selected_by_their_state() {
    let scene = Scene::new("selected").await;
    let _operator = scene.operator().await;
    one_of_each(&scene).await;
    let names = |selector: &str| {
        let printed = scene.kubectl(&["get", "rt", "--field-selector", selector, "-o", "name"]).ok();
        printed.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("status.state=Failed"), ["b-failure"]);
    assert_eq!(names("status.state!=Failed"), ["a-success", "c-waiting", "d-suspended", "e-running", "f-pending"]);
    assert_eq!(names("status.state=Waiting,metadata.name=a-success"), [""; 0]);

    scene.kubectl(&["delete", "rt", "--field-selector", "status.state=Succeeded"]).ok();
    assert_eq!(names("status.state=Succeeded"), [""; 0]);
    assert_eq!(names("status.state=Failed"), ["b-failure"], "the others stay");
    assert_eq!(names("spec.queue.name=none"), [""; 0]);
    let unknown = scene.kubectl(&["get", "rt", "--field-selector", "status.reason=Error"]).refused();
    assert!(unknown.contains("field label not supported"), "{unknown}");
}
