//! A thousand tasks that fail in the same moment: their retries are spread over the jitter's window, and none is early.

use crate::support::audit::{Audit, Outcome, Request};
use crate::support::manifest::simulated;
use crate::support::{Scene, eventually, machine};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use retryable_tasks::api::{LABEL_TASK_NAME, RetryableTask, State};
use retryable_tasks::core::delay::delay;
use retryable_tasks::core::jitter_seed::jitter_seed;
use retryable_tasks::core::pod_name::pod_name;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

const TASKS: usize = 1000;
/// Full jitter: from nothing to this, in seconds.
const WINDOW: i64 = 40;
/// So many tasks go ahead, to measure how fast this machine starts Pods now.
const SCOUTS: usize = 50;
/// How much more than the mean may fall into one second. With a mean of 25 and chance alone, twice of it is five standard
/// deviations away; without jitter all fall into the few seconds in which they fail.
const CROWD: usize = 3;
/// In so many parts they are waited for.
const STEPS: usize = 20;
/// Requests of the test side by side.
const AT_A_TIME: usize = 16;

/// A failing task whose first attempt ends at `end`, and its second when it starts.
fn failing(n: usize, end: Timestamp) -> RetryableTask {
    let until = json!({"simulate.retryable.dev/duration": end.to_string()});
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": WINDOW, "jitter": {"mode": "Full"}});
    let task: Value = simulated(&format!("one-of-many-{n}"), 1, &until, &json!({"backoff": backoff}));
    serde_json::from_value(task).unwrap()
}

/// How many of the times, in milliseconds after the failure, fall into each second of the window.
fn per_second(times: impl Iterator<Item = i64>) -> BTreeMap<i64, usize> {
    times.fold(BTreeMap::new(), |mut seconds, millis| {
        *seconds.entry(millis.div_euclid(1000)).or_default() += 1;
        seconds
    })
}

/// Asserts that no second is crowded.
fn assert_spread(what: &str, seconds: &BTreeMap<i64, usize>) {
    let mean = TASKS / usize::try_from(WINDOW).unwrap();
    let most = seconds.values().max().copied().unwrap_or_default();
    eprintln!("{what}: at most {most} in a second, {mean} on average: {seconds:?}");
    assert!(most <= CROWD * mean, "{most} {what} in one second, {mean} on average: {seconds:?}");
}

/// Asserts that the window is used from its beginning to its end.
fn assert_used(what: &str, seconds: &BTreeMap<i64, usize>) {
    for quarter in 0..4 {
        let range = quarter * WINDOW / 4..(quarter + 1) * WINDOW / 4;
        let count: usize = seconds.range(range).map(|(_, count)| count).sum();
        assert!(count > TASKS / 8, "{count} {what} in quarter {quarter} of the window: {seconds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_simultaneous_failures_are_spread_over_their_window() {
    let scene = Scene::alone("crowd").await;
    machine::simulate_nodes();
    let operator = scene.operator().await;
    let tasks: Api<RetryableTask> = scene.tasks();
    // They fail together only if all of them run by then.
    let began = Timestamp::now();
    create(&tasks, (0..SCOUTS).map(scout)).await;
    eventually("the scouts to end", async || {
        let ended = succeeded(&tasks).await?.len();
        if ended == SCOUTS { Ok(()) } else { Err(format!("{ended} have")) }
    })
    .await;
    let needed = Timestamp::now().duration_since(began) * i32::try_from(TASKS / SCOUTS).unwrap();
    tasks.delete_collection(&DeleteParams::background(), &ListParams::default()).await.unwrap();
    let audit = Audit::from_now();
    let end = Timestamp::now() + needed;
    eprintln!("the failures are to be in {needed:?}");
    create(&tasks, (0..TASKS).map(|n| failing(n, end))).await;
    // In steps: a busy machine may take its time, and each step has all the patience.
    eventually_after(end).await;
    for part in 1..=STEPS {
        eventually("more attempts to end", async || {
            let ended = ended(&tasks).await?;
            if ended >= part * 2 * TASKS / STEPS { Ok(()) } else { Err(format!("{ended} have")) }
        })
        .await;
    }
    let finished = succeeded(&tasks).await.unwrap();
    assert_eq!(finished.len(), TASKS);
    are_told_and_spread(&scene, audit, &finished);
    drop(operator);
    all_go(&scene).await;
}

/// A task that ends well at once.
fn scout(n: usize) -> RetryableTask {
    let task = simulated(&format!("scout-{n}"), 0, &json!({"simulate.retryable.dev/duration": "1ms"}), &json!({}));
    serde_json::from_value(task).unwrap()
}

async fn create(tasks: &Api<RetryableTask>, all: impl Iterator<Item = RetryableTask>) {
    futures::stream::iter(all)
        .for_each_concurrent(AT_A_TIME, async |task| {
            tasks.create(&PostParams::default(), &task).await.unwrap();
        })
        .await;
}

/// Waits for a time that the test has set itself, which can be beyond the limit of one wait.
async fn eventually_after(at: Timestamp) {
    while Timestamp::now() < at {
        let part = Timestamp::now().duration_since(at).abs().min(SignedDuration::from_secs(30));
        let until = Timestamp::now() + part;
        eventually("the time", async || if Timestamp::now() >= until { Ok(()) } else { Err("it is ahead") }).await;
    }
}

/// How many attempts are recorded.
async fn ended(tasks: &Api<RetryableTask>) -> Result<usize, String> {
    let list = tasks.list(&ListParams::default().match_any()).await.map_err(|error| error.to_string())?.items;
    Ok(list.iter().filter_map(|task| Some(task.status.as_ref()?.history.len())).sum())
}

/// The tasks that have ended well.
async fn succeeded(tasks: &Api<RetryableTask>) -> Result<Vec<RetryableTask>, String> {
    let mut list = tasks.list(&ListParams::default().match_any()).await.map_err(|error| error.to_string())?.items;
    list.retain(|task| task.status.as_ref().is_some_and(|status| status.state == Some(State::Succeeded)));
    Ok(list)
}

fn are_told_and_spread(scene: &Scene, audit: Audit, tasks: &[RetryableTask]) {
    let mut creations: HashMap<String, Vec<Request>> = HashMap::new();
    for request in scene.operators_requests(audit) {
        if request.kind() == "create pods" && request.outcome() != Outcome::Refused {
            creations.entry(request.name.clone()).or_default().push(request);
        }
    }
    let created: HashMap<_, _> =
        creations.into_iter().map(|(pod, all)| (pod.clone(), created_once(&pod, &all))).collect();
    let mut failures = Vec::new();
    let (mut waits, mut starts) = (Vec::new(), Vec::new());
    for task in tasks {
        let (name, uid, status) = (task.name_any(), task.uid().unwrap(), task.status.as_ref().unwrap());
        assert_eq!((status.attempts, status.retries, status.history.len()), (2, 1, 2), "{name}: {status:#?}");
        let failed = &status.history[0];
        assert_eq!((failed.attempt, failed.exit_code), (1, Some(1)), "{name}");
        let wait = delay(task.spec.backoff.as_ref(), 1, jitter_seed(&uid, 1));
        assert_eq!(failed.delay_milliseconds, i64::try_from(wait.as_millis()).ok(), "{name}");
        let finished = failed.finish_time.as_ref().unwrap().0;
        let second = created[&pod_name(&name, &uid, 2)];
        assert!(second >= finished + wait, "{name}: {finished} and {wait:?} before {second}: early");
        failures.push(finished);
        waits.push(failed.delay_milliseconds.unwrap());
        starts.push(second);
    }
    assert_eq!(created.len(), 2 * tasks.len());
    let (first, last) = (*failures.iter().min().unwrap(), *failures.iter().max().unwrap());
    eprintln!("the failures took {:?}", last.duration_since(first));
    let waits = per_second(waits.into_iter());
    assert_spread("waits", &waits);
    // The starts' window begins with each failure: only of the waits it is known.
    assert_used("waits", &waits);
    let after = |at: Timestamp| i64::try_from(at.duration_since(first).as_millis()).unwrap();
    assert_spread("starts", &per_second(starts.into_iter().map(after)));
}

/// When the Pod was created, by its creations that were not refused. Of one whose client has given up nobody can say whether
/// it was done; the recorded requests say that it was.
fn created_once(pod: &str, creations: &[Request]) -> Timestamp {
    let done: Vec<_> = creations.iter().filter(|request| request.outcome() == Outcome::Done).collect();
    assert!(done.len() <= 1, "{pod} was created more than once: {done:#?}");
    done.first().map_or(creations[0].received, |request| request.received)
}

/// Deletes everything in few requests and waits for that, so that the next test finds an idle machine.
async fn all_go(scene: &Scene) {
    scene.tasks().delete_collection(&DeleteParams::background(), &ListParams::default()).await.unwrap();
    let pods = scene.pods();
    let names: Vec<String> = pods
        .list_metadata(&ListParams::default().labels(LABEL_TASK_NAME))
        .await
        .unwrap()
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let free = json!({"metadata": {"finalizers": null}});
    futures::stream::iter(names)
        .for_each_concurrent(AT_A_TIME, async |name| {
            // It may be gone.
            let _ =
                pods.patch_metadata(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&free)).await;
            let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        })
        .await;
    eventually("the Pods to be gone", async || {
        let left = pods.list_metadata(&ListParams::default()).await.map_err(|error| error.to_string())?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
}
