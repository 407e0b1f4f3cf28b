//! Schedules: overlap, missed times, pause, trigger and backfill, with real minutes and the zones in the program.

use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::{Scene, eventually};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Unit, Zoned};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use retryable_tasks::api::{RetryableTask, ScheduleState, State, TaskSchedule, TaskScheduleStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A schedule of that spec, whose runs execute a script.
fn schedule(name: &str, script: &str, spec: &Value, task: &Value) -> Value {
    let mut template = json!({"image": IMAGE, "command": ["sh", "-c"], "args": [script], "maxRetries": 0});
    template.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
    let mut all = json!({"template": {"spec": template}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": name}, "spec": all})
}

fn annotate(scene: &Scene, name: &str, request: &str, value: &str) {
    let annotation = format!("retryable.dev/{request}={value}");
    scene.kubectl(&["annotate", "taskschedule", name, "--overwrite", &annotation]).ok();
}

async fn until(scene: &Scene, name: &str, what: &str, is: impl Fn(&TaskScheduleStatus) -> bool) -> TaskScheduleStatus {
    let schedules: Api<TaskSchedule> = scene.api();
    eventually(what, async || {
        let status = schedules.get(name).await.map_err(|error| error.to_string())?.status.unwrap_or_default();
        if is(&status) { Ok(status) } else { Err(format!("{status:#?}")) }
    })
    .await
}

/// The tasks of the schedule, oldest first.
async fn runs(scene: &Scene, name: &str) -> Vec<RetryableTask> {
    let ours = ListParams::default().labels(&format!("retryable.dev/schedule-name={name}"));
    let mut runs = scene.tasks().list(&ours).await.unwrap().items;
    runs.sort_by_key(ResourceExt::name_any);
    runs
}

#[tokio::test]
async fn what_happens_while_a_run_goes_on() {
    let scene = Scene::new("schedule-overlap").await;
    let _operator = scene.operator().await;
    for overlap in ["Skip", "Queue", "Allow", "Replace"] {
        let spec = json!({"schedule": "* * * * *", "overlap": overlap, "timeZone": "Australia/Lord_Howe"});
        scene.apply(&schedule(&overlap.to_lowercase(), UNTIL_STOPPED, &spec, &json!({})));
    }
    let skip = until(&scene, "skip", "a skipped time", |status| status.skipped.overlap > 0).await;
    assert_eq!((skip.active, runs(&scene, "skip").await.len()), (1, 1));
    assert!(skip.message.unwrap().contains(&skip.runs[0].name), "it names what is in the way");
    assert!(scene.event("skip", "RunSkipped").await.contains("overlap Skip"));
    let time = runs(&scene, "skip").await[0].annotations()["retryable.dev/scheduled-time"].clone();
    assert!(time.ends_with("+11:00") || time.ends_with("+10:30"), "the zone's own offset: {time}");

    let queue = until(&scene, "queue", "a run that waits", |status| !status.waiting.is_empty()).await;
    assert_eq!((queue.active, queue.waiting.len()), (1, 1));
    scene.ask(&queue.runs[0].name, "cancel", "1");
    until(&scene, "queue", "its start", |status| status.runs.iter().any(|run| run.name != queue.runs[0].name)).await;

    let allow = until(&scene, "allow", "two runs", |status| status.active > 1).await;
    assert_eq!(allow.skipped.overlap, 0);

    until(&scene, "replace", "the second run", |status| {
        status.runs.len() == 1 && status.last_schedule_time.as_ref().map(|time| time.0) > Some(Timestamp::UNIX_EPOCH)
    })
    .await;
    eventually("the first to be cancelled", async || {
        let runs = runs(&scene, "replace").await;
        let states: Vec<_> = runs.iter().map(|run| run.status.as_ref().and_then(|status| status.state)).collect();
        if runs.len() > 1 && states[0] == Some(State::Cancelled) { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
}

fn phase(pod: Option<&Pod>) -> Option<&str> {
    pod?.status.as_ref()?.phase.as_deref()
}

/// Times as five fields each, and as they are in the names of runs.
fn written(times: &[Timestamp]) -> (Vec<String>, Vec<String>) {
    let utc = times.iter().map(|time| time.to_zoned(TimeZone::UTC));
    let fields = |time: Zoned| format!("{} {} {} {} *", time.minute(), time.hour(), time.day(), time.month());
    (utc.clone().map(fields).collect(), utc.map(|time| time.strftime("%Y%m%d-%H%M").to_string()).collect())
}

async fn until_time(time: Timestamp) {
    eventually("the time to come", async || {
        let left = time.duration_since(Timestamp::now());
        if left.is_negative() { Ok(()) } else { Err(format!("{left:#} are left")) }
    })
    .await;
}

/// The minutes of the runs of a schedule.
async fn started(scene: &Scene, name: &str) -> Vec<String> {
    let prefix = format!("{name}-");
    runs(scene, name).await.iter().map(|run| run.name_any().replacen(&prefix, "", 1)).collect()
}

#[tokio::test]
async fn times_that_came_while_the_operator_was_away_start_by_policy_once_it_is_back() {
    let scene = Scene::new("schedule-missed").await;
    let operator = scene.operator().await;
    // Two minutes before the schedules are created, one for which the operator is there, two while it is away.
    let minute = SignedDuration::from_mins(1);
    let first = (Timestamp::now() + SignedDuration::from_secs(60)).round(Unit::Minute).unwrap();
    let times: Vec<Timestamp> = [-3, -2, 0, 1, 2].map(|n| first + minute * n).to_vec();
    let (schedules, names) = written(&times);
    let [.., there, missed, newest] = names.as_slice() else { unreachable!() };
    // Long enough that the operator does not see the first end.
    let script = r#"sleep 3; printf '{"result": "%s"}' "$RETRYABLE_SCHEDULED_TIME" >/dev/termination-log"#;
    let of = |name: &str, missed: Value| {
        schedule(name, script, &json!({"schedules": schedules, "missed": missed}), &json!({}))
    };
    let all = [
        of("all", json!({"policy": "All"})),
        of("limited", json!({"policy": "All", "limit": 1})),
        of("latest", json!({"policy": "Latest"})),
    ];
    scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}));
    for name in ["all", "limited", "latest"] {
        until(&scene, name, "its first run", |status| status.last_schedule_time.is_some()).await;
    }
    let mut pods = Vec::new();
    for name in ["all", "limited", "latest"] {
        pods.push(scene.pod_of(&format!("{name}-{there}"), 1).await.name_any());
    }
    operator.kill_9();
    // The kubelet ends what runs, and nobody says so in the task.
    for pod in pods {
        scene.pod(&pod, "its end", |pod| phase(pod) == Some("Succeeded")).await;
    }
    scene.apply(&of("made-meanwhile", json!({"policy": "All"})));
    let made: Timestamp =
        scene.api::<TaskSchedule>().get("made-meanwhile").await.unwrap().creation_timestamp().unwrap().0;
    // Late enough that the operator cannot have been there when it came.
    until_time(times[4] + SignedDuration::from_secs(6)).await;

    let _operator = scene.operator().await;
    for (name, expected, skipped) in [
        ("all", vec![there, missed, newest], 0),
        ("limited", vec![there, newest], 1),
        ("latest", vec![there, newest], 1),
    ] {
        let newest_time = Some(times[4]);
        let status = until(&scene, name, "the end of its last run", |status| {
            status.last_schedule_time.as_ref().map(|time| time.0) == newest_time && status.active == 0
        })
        .await;
        assert_eq!(started(&scene, name).await.iter().collect::<Vec<_>>(), expected, "{name}");
        assert_eq!((status.skipped.missed, status.skipped.overlap), (skipped, 0), "{name}: {status:#?}");
        for run in runs(&scene, name).await {
            let time = run.annotations()["retryable.dev/scheduled-time"].clone();
            assert_eq!(run.status.unwrap().result, Some(time), "the containers know the time, however late they start");
        }
    }
    let since: Vec<&String> =
        times.iter().zip(&names).filter(|(time, _)| **time > made).map(|(_, name)| name).collect();
    until(&scene, "made-meanwhile", "its runs", |status| {
        status.last_schedule_time.as_ref().map(|time| time.0) == Some(times[4]) && status.active == 0
    })
    .await;
    assert_eq!(started(&scene, "made-meanwhile").await.iter().collect::<Vec<_>>(), since, "none before it was created");
    let created: Vec<String> = scene
        .operators_requests(scene.audit)
        .into_iter()
        .filter(|request| request.verb == "create" && request.resource == "retryabletasks")
        .map(|request| request.sent.unwrap()["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let once: BTreeSet<&String> = created.iter().collect();
    assert_eq!(once.len(), created.len(), "no time twice: {created:?}");
}

#[tokio::test]
async fn it_is_paused_resumed_triggered_and_backfilled() {
    let scene = Scene::new("schedule-requests").await;
    let _operator = scene.operator().await;
    let spec = json!({"schedule": "0 0 1 1 *", "pauseAfterFailures": 1, "history": {"succeeded": 10, "failed": 1}});
    scene.apply(&schedule("yearly", "exit 3", &spec, &json!({})));
    annotate(&scene, "yearly", "trigger", "1");
    let paused = until(&scene, "yearly", "its pause", |status| status.state == Some(ScheduleState::Paused)).await;
    assert_eq!((paused.consecutive_failures, paused.next_schedule_time), (1, None));
    annotate(&scene, "yearly", "resume", "1");
    let resumed = until(&scene, "yearly", "its end", |status| status.state == Some(ScheduleState::Scheduled)).await;
    assert!(resumed.next_schedule_time.is_some());

    annotate(&scene, "yearly", "trigger", r#"{"args":["true"]}"#);
    until(&scene, "yearly", "a run with other arguments", |status| status.last_success_time.is_some()).await;
    assert_eq!(
        scene.kubectl(&["get", "tsch", "yearly", "-o", "jsonpath={.spec.template.spec.args[0]}"]).ok(),
        "exit 3"
    );

    let args = json!({"spec": {"template": {"spec": {"args": ["true"]}}}}).to_string();
    scene.kubectl(&["patch", "taskschedule", "yearly", "--type=merge", "-p", &args]).ok();
    annotate(&scene, "yearly", "backfill", "2024-01-01/2026-01-01");
    scene.event("yearly", "BackfillFinished").await;
    until(&scene, "yearly", "the end of the last", |status| status.active == 0).await;
    let names: Vec<String> = runs(&scene, "yearly").await.iter().map(ResourceExt::name_any).collect();
    for year in ["2024", "2025", "2026"] {
        assert!(names.contains(&format!("yearly-{year}0101-0000")), "{names:?}");
    }
}

#[tokio::test]
async fn bad_schedules_are_refused_with_what_to_do() {
    let scene = Scene::new("schedule-refused").await;
    let refused = |name: &str, spec: &Value, expected: &str| {
        let said = scene.try_apply(&schedule(name, "true", spec, &json!({})), &[]).result().unwrap_err();
        assert!(said.contains(expected), "{spec}: {said}");
    };
    for (expression, expected) in [
        ("0 2 * *", "a schedule is five fields"),
        ("60 * * * *", "the first field is the minute, 0-59"),
        ("0 24 * * *", "the second field is the hour, 0-23"),
        ("0 0 32 * *", "the third field is the day of the month, 1-31"),
        ("0 0 * 13 *", "the fourth field is the month, 1-12"),
        ("0 0 * * 8", "the fifth field is the day of the week, 0-7"),
        ("0 22-2 * * *", "a range goes up"),
    ] {
        refused("number", &json!({"schedule": expression}), expected);
        refused("number", &json!({"schedules": ["@daily", expression]}), expected);
    }
    let longest = vec!["0,1,2,3,4,5,6,7,8,9,10-20/2 0,1,2,3,4-20/4,22-23 1,15W,L jan-MAR,Oct MON#2,FRI#L,6-7"; 8];
    scene.apply(&schedule("accepted", "true", &json!({"schedules": longest}), &json!({})));
    refused("zone", &json!({"schedule": "CRON_TZ=UTC 0 0 * * *"}), "set spec.timeZone to the zone");
    refused("none", &json!({}), "set spec.schedule, or spec.schedules");
    refused(&"n".repeat(50), &json!({"schedule": "@daily"}), "use at most 49");
    let _operator = scene.operator().await;
    scene.apply(&schedule(
        "atlantis",
        "true",
        &json!({"schedule": "@daily", "timeZone": "Europe/Atlantis"}),
        &json!({}),
    ));
    let status = until(&scene, "atlantis", "InvalidSpec", |status| status.state == Some(ScheduleState::Stalled)).await;
    assert!(status.message.unwrap().contains("is not a time zone"));
}

#[tokio::test]
async fn each_example_is_scheduled() {
    let scene = Scene::new("schedule-examples").await;
    let _operator = scene.operator().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schedules");
    scene.kubectl(&["apply", "-f", folder]).ok();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let names: BTreeSet<String> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let schedules = scene.api::<TaskSchedule>().list(&ListParams::default()).await.unwrap();
    assert_eq!(schedules.iter().map(ResourceExt::name_any).collect::<BTreeSet<_>>(), names);
    for name in &names {
        let status = until(&scene, name, "its next time", |status| status.next_schedule_time.is_some()).await;
        assert_eq!((status.state, status.message), (Some(ScheduleState::Scheduled), None), "{name}");
        annotate(&scene, name, "trigger", "1");
    }
    for name in &names {
        until(&scene, name, "a run that succeeded", |status| status.last_success_time.is_some()).await;
    }
}
