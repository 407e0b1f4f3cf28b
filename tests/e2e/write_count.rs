//! The number of writes: few per attempt, and none when there is nothing to do.

use crate::support::audit::{Audit, Request};
use crate::support::record::Record;
use crate::support::{Operator, Scene, eventually, sh};
use kube::ResourceExt;
use retryable_tasks::api::{RetryableTask, RetryableTaskStatus, State};
use serde_json::json;
use std::collections::BTreeMap;

/// How many requests there were of each kind.
pub fn by_kind<'a>(requests: impl IntoIterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    requests.into_iter().fold(BTreeMap::new(), |mut kinds, request| {
        *kinds.entry(request.kind()).or_default() += 1;
        kinds
    })
}

/// How many of the writes neither started nor ended an attempt. They may only report that a Pod is slow to start.
pub fn reports(versions: &[RetryableTask]) -> usize {
    let place = |task: &RetryableTask| {
        let status = task.status.clone().unwrap_or_default();
        let started = status.current.as_ref().is_some_and(|current| current.pod_name.is_some());
        (status.attempts, status.history.len(), started)
    };
    let reports = versions.windows(2).filter(|pair| place(&pair[0]) == place(&pair[1]));
    let tell_of_a_slow_start = |pair: &[RetryableTask]| {
        let recorded = |task: &RetryableTask| {
            let status = task.status.clone().unwrap_or_default();
            (status.state, status.reason, status.conditions)
        };
        assert_ne!(recorded(&pair[0]), recorded(&pair[1]), "a write that tells nothing: {pair:#?}");
    };
    reports.inspect(|pair| tell_of_a_slow_start(pair)).count()
}

/// Waits until no Pod of the task has the finalizer: then an attempt causes no more writes.
async fn all_free(scene: &Scene, name: &str) {
    eventually("the Pods to be free", async || {
        let pods = scene.pods_of(name).await;
        let with_finalizer: Vec<_> =
            pods.iter().filter(|pod| !pod.finalizers().is_empty()).map(ResourceExt::name_any).collect();
        if with_finalizer.is_empty() { Ok(()) } else { Err(format!("{with_finalizer:?} are held")) }
    })
    .await;
}

/// Does something and waits until the operator has reconciled the task after it.
async fn looked_at(operator: &Operator, name: &str, after: impl FnOnce()) {
    let decisions = || {
        let log = operator.log();
        let of_task = |line: &&str| line.contains(": decided") && line.contains(&format!(" name=\"{name}\""));
        log.lines().filter(of_task).count()
    };
    let before = decisions();
    after();
    eventually("the operator to look at the task", async || {
        let now = decisions();
        if now > before { Ok(()) } else { Err(format!("{now} decisions, as before")) }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_costs_four_writes_an_event_and_no_read() {
    const ATTEMPTS: usize = 4;
    let scene = Scene::new("writes").await;
    let _operator = scene.operator().await;
    // The schedules watch their runs by themselves.
    let watches = [("watch pods", 1), ("watch retryabletasks", 2), ("watch taskqueues", 1), ("watch taskschedules", 1)];
    let watches: BTreeMap<_, _> = watches.map(|(kind, count)| (kind.to_owned(), count)).into();
    eventually("all watches", async || {
        let begun = by_kind(&scene.operators_watches());
        if begun == watches { Ok(()) } else { Err(format!("{begun:?}")) }
    })
    .await;
    let audit = Audit::from_now();
    let record = Record::of(&scene, "costly").await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 2});
    scene.apply(&sh("costly", "exit 1", &json!({"backoff": backoff, "podRetention": {"failed": 10}})));
    let versions = record.until_finished().await;
    all_free(&scene, "costly").await;
    let requests = scene.operators_requests(audit);
    let reads: Vec<&Request> = requests.iter().filter(|request| request.is_read()).collect();
    assert!(reads.is_empty(), "what it needs is in its watch caches: {reads:#?}");
    assert_eq!(by_kind(&scene.operators_watches()), watches, "however many attempts there are");
    let writes: Vec<&Request> = requests.iter().filter(|request| request.is_write()).collect();
    let kinds = by_kind(writes.iter().copied());
    let slow = reports(&versions);
    eprintln!("writes for {ATTEMPTS} failed attempts, {slow} of them to tell that a Pod was slow to start: {kinds:#?}");
    assert!(writes.iter().all(|request| request.code < 300), "{writes:#?}");
    let of = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
    assert_eq!(of("create pods"), ATTEMPTS);
    assert_eq!(of("patch pods"), ATTEMPTS, "each finalizer is removed once");
    assert_eq!(of("delete pods"), 0);
    assert!(of("create events") <= ATTEMPTS, "at most one Event an attempt");
    let all = of("update retryabletasks/status") + of("create pods") + of("patch pods") - slow;
    assert!(all <= 4 * ATTEMPTS, "{all} writes for {ATTEMPTS} attempts");
    let known = ["create pods", "patch pods", "update retryabletasks/status", "create events"];
    assert!(kinds.keys().all(|kind| known.contains(&kind.as_str())), "{kinds:#?}");
}

/// The way through a queue is no write, and the queue's own counts are written every ten seconds at most.
#[tokio::test]
async fn an_attempt_in_a_queue_costs_four_writes_too() {
    const TASKS: usize = 4;
    const ATTEMPTS: usize = 4 * TASKS;
    let scene = Scene::new("writes-queue").await;
    let _operator = scene.operator().await;
    scene.apply(&crate::queue::queue("api", &json!({"maxConcurrent": 2, "circuitBreaker": {"mode": "Observe"}})));
    crate::queue::until_queue(&scene, "api", "its status", |status| status.circuit.is_some()).await;
    let audit = Audit::from_now();
    let names: Vec<String> = (0..TASKS).map(|n| format!("costly-{n}")).collect();
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 2});
    let spec = json!({"backoff": backoff, "podRetention": {"failed": 10}, "queue": {"name": "api"}});
    let mut records = Vec::new();
    for name in &names {
        records.push(Record::of(&scene, name).await);
        scene.apply(&sh(name, "exit 1", &spec));
    }
    let mut slow = 0;
    for (name, record) in names.iter().zip(&records) {
        slow += reports(&record.until_finished().await);
        all_free(&scene, name).await;
    }
    let requests = scene.operators_requests(audit);
    let writes: Vec<&Request> = requests.iter().filter(|request| request.is_write()).collect();
    let kinds = by_kind(writes.iter().copied());
    eprintln!("writes for {ATTEMPTS} failed attempts in a queue, {slow} of them to tell of a wait: {kinds:#?}");
    let of = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
    assert_eq!((of("create pods"), of("patch pods")), (ATTEMPTS, ATTEMPTS));
    // The end of an attempt and the start of the next one are two writes where a wait is between them.
    let all = of("update retryabletasks/status") + of("create pods") + of("patch pods") - slow;
    assert!(all <= 4 * ATTEMPTS, "{all} writes for {ATTEMPTS} attempts");
    let to_queue: Vec<_> = writes.iter().filter(|request| request.kind() == "update taskqueues/status").collect();
    assert!(!to_queue.is_empty(), "its counts are never told");
    for pair in to_queue.windows(2) {
        let between = pair[1].received.duration_since(pair[0].received);
        // A change of the circuit is written at once.
        assert!(between.as_secs() >= 9, "two writes to the queue within {between}: {to_queue:#?}");
    }
}

#[tokio::test]
async fn a_pod_past_its_retention_costs_one_more() {
    let scene = Scene::new("writes-delete").await;
    let _operator = scene.operator().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    scene.apply(&sh("costly", "exit 1", &json!({"backoff": backoff, "podRetention": {"failed": 0}})));
    scene.finished("costly").await;
    scene.no_pods_of("costly").await;
    let requests = scene.operators_requests(scene.audit);
    let kinds = by_kind(requests.iter().filter(|request| request.resource == "pods" && request.is_write()));
    assert_eq!(kinds, ["create pods", "delete pods", "patch pods"].map(|kind| (kind.to_owned(), 4)).into());
}

#[tokio::test]
async fn nothing_is_written_about_tasks_that_ended_or_wait() {
    let scene = Scene::new("silence").await;
    let operator = scene.operator().await;
    let hour = json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 3600}});
    scene.apply(&sh("ended", "true", &json!({})));
    scene.apply(&sh("waiting", "exit 1", &hour));
    scene.finished("ended").await;
    let is_waiting = |status: &RetryableTaskStatus| status.state == Some(State::Waiting);
    scene.status("waiting", "its wait", is_waiting).await;
    all_free(&scene, "ended").await;
    all_free(&scene, "waiting").await;
    scene.event("ended", "Succeeded").await;
    scene.event("waiting", "AttemptFailed").await;

    // Every cause of a reconcile: an edit of the metadata, a change of a Pod, a restart.
    let audit = Audit::from_now();
    let versions = async || [scene.task("ended").await, scene.task("waiting").await].map(|task| task.status);
    let before = versions().await;
    let annotate = |operator: Operator, value: &'static str| {
        let scene = &scene;
        async move {
            let pod = async |name| scene.pods_of(name).await.remove(0).name_any();
            let (ended, waiting) = (pod("ended").await, pod("waiting").await);
            for (kind, names) in [("retryabletask", ["ended", "waiting"]), ("pod", [&ended, &waiting])] {
                // A finished task may need no reconcile. What follows in the same watch shows that its change was seen.
                let touch = |name| scene.kubectl(&["annotate", kind, name, "--overwrite", value]).ok();
                looked_at(&operator, "waiting", || names.into_iter().for_each(|name| drop(touch(name)))).await;
            }
            operator
        }
    };
    annotate(operator, "example.org/touched=once").await.kill_9();
    let operator = annotate(scene.operator().await, "example.org/touched=twice").await;
    assert!(operator.terminate().await.success());
    let requests = scene.operators_requests(audit);
    let writes: Vec<_> = requests.iter().filter(|request| request.is_write()).collect();
    assert!(!requests.is_empty(), "the audit log shows nothing of the operator");
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions().await, before);
}
