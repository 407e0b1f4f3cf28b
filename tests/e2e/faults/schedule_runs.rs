//! Every write that starts a run of a schedule, hit by every fault: each time is started once.

use super::faulty_writes::Fault;
use super::through;
use crate::support::audit::{Outcome, Request};
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::{Scene, eventually};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The writes that start a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The status that names the run.
    Plan,
    /// The creation of its task.
    Creation,
    /// The status that says that it exists.
    Record,
}

/// The schedule whose first request to create a run arrives when that run has ended. It keeps its runs until then, however long that takes.
const LATE: &str = "late";
/// How long a run whose history keeps nothing stays at least: a second request to create it may be on its way.
const STAYS: SignedDuration = SignedDuration::from_secs(20);

/// What has happened to each schedule: the first run that was planned, and whether its fault has.
#[derive(Clone, Debug, Default)]
struct Happened {
    run: Option<String>,
    is_hit: bool,
}

/// The schedule that a write is about, its step, and the run.
fn step(asked: &Asked) -> Option<(&str, Step, &str)> {
    let path = asked.path.split('?').next()?;
    match asked.method.as_str() {
        "POST" if path.ends_with("/retryabletasks") => {
            let run = asked.sent.pointer("/metadata/name")?.as_str()?;
            Some((asked.sent.pointer("/metadata/ownerReferences/0/name")?.as_str()?, Step::Creation, run))
        }
        "PUT" => {
            let schedule = path.strip_suffix("/status")?.split("/taskschedules/").nth(1)?;
            let name = |pointer| asked.sent.pointer(pointer).and_then(Value::as_str);
            let planned = name("/status/creating/name").map(|run| (schedule, Step::Plan, run));
            planned.or_else(|| name("/status/runs/0/name").map(|run| (schedule, Step::Record, run)))
        }
        _ => None,
    }
}

/// A schedule for each minute, whose runs end without a Pod and go as soon as they may.
fn schedule(name: &str) -> Value {
    let task = json!({"image": "none", "after": [{"task": "never"}], "afterTimeoutSeconds": 1});
    let spec = json!({"schedule": "* * * * *", "missed": {"policy": "All"}, "history": {"succeeded": 0, "failed": if name == LATE { 10 } else { 0 }},
        "template": {"spec": task}});
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": name}, "spec": spec})
}

/// The operator's requests that create, or delete, a task; and their runs.
fn requests(scene: &Scene, verb: &str) -> Vec<(String, Request)> {
    let mut all = scene.operators_requests(scene.audit);
    all.retain(|request| request.verb == verb && request.resource == "retryabletasks");
    let sent = |request: &Request| Some(request.sent.as_ref()?.pointer("/metadata/name")?.as_str()?.to_owned());
    let name = |request: &Request| if request.name.is_empty() { sent(request) } else { Some(request.name.clone()) };
    all.into_iter().map(|request| (name(&request).unwrap_or_default(), request)).collect()
}

/// How often each run was created.
fn created(scene: &Scene) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (run, request) in requests(scene, "create") {
        *counts.entry(run).or_default() += usize::from(request.outcome() == Outcome::Done);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_starts_a_time_twice_or_not_at_all() {
    let scene = Scene::new("run-faults").await;
    let proxy = Proxy::start().await;
    let faults: BTreeMap<String, (Step, Fault)> = [Step::Plan, Step::Creation, Step::Record]
        .into_iter()
        .flat_map(|step| Fault::ALL.map(|fault| (format!("{step:?}-{fault:?}").to_lowercase(), (step, fault))))
        .collect();
    let names: Vec<&str> = faults.keys().map(String::as_str).chain([LATE]).collect();
    let happened = Arc::new(Mutex::new(BTreeMap::<String, Happened>::new()));
    let (arrive, gate) = watch::channel(false);
    proxy.control({
        let (happened, faults) = (happened.clone(), faults.clone());
        move |asked: &Asked| {
            let Some((schedule, step, run)) = step(asked) else { return Treatment::Pass };
            let mut happened = happened.lock().unwrap();
            let Happened { run: first, is_hit } = happened.entry(schedule.to_owned()).or_default();
            first.get_or_insert_with(|| run.to_owned());
            let treatment = match faults.get(schedule) {
                Some((at, fault)) => (*at == step).then(|| fault.treatment()),
                None => (step == Step::Creation).then(|| Treatment::Late(gate.clone())),
            };
            treatment.filter(|_| !std::mem::replace(is_hit, true)).unwrap_or(Treatment::Pass)
        }
    });
    let operator = through(&proxy, &scene).at_work().await;
    let all: Vec<Value> = names.iter().map(|name| schedule(name)).collect();
    scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}));
    let runs: BTreeMap<String, String> = eventually("every fault", async || {
        let happened = happened.lock().unwrap().clone();
        let hit: BTreeMap<_, _> = happened
            .iter()
            .filter(|(_, of)| of.is_hit)
            .filter_map(|(name, of)| Some((name.clone(), of.run.clone()?)))
            .collect();
        if hit.len() == names.len() { Ok(hit) } else { Err(format!("{happened:#?}")) }
    })
    .await;
    operator.kill_9();
    let _operator = through(&proxy, &scene).at_work().await;

    // The request that the first operator has sent arrives when the second one is done with that run.
    let late = &runs[LATE];
    scene.status(late, "its end", |status| status.completion_time.is_some()).await;
    arrive.send(true).unwrap();
    eventually("the late request to be answered", async || {
        let of_late: Vec<u64> =
            requests(&scene, "create").iter().filter(|(run, _)| run == late).map(|(_, request)| request.code).collect();
        if of_late.len() > 1 { Ok(()) } else { Err(format!("{of_late:?}")) }
    })
    .await;

    let keeps_none = json!({"spec": {"history": {"failed": 0}}}).to_string();
    scene.kubectl(&["patch", "taskschedule", LATE, "--type=merge", "-p", &keeps_none]).ok();

    // Its name is free again, and the next time has come.
    eventually("each run to be deleted, and the next one to start", async || {
        let (created, deleted) = (created(&scene), requests(&scene, "delete"));
        let is_over = |name: &str, run: &String| {
            let has_next = created.keys().any(|other| other > run && other.starts_with(&format!("{name}-2")));
            deleted.iter().any(|(of, _)| of == run) && has_next
        };
        let left: Vec<&String> = runs.iter().filter(|(name, run)| !is_over(name, run)).map(|(_, run)| run).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} of {created:#?}")) }
    })
    .await;
    let creations = requests(&scene, "create");
    for (run, deletion) in requests(&scene, "delete").iter().filter(|(run, _)| runs.values().any(|first| first == run))
    {
        let first = creations.iter().find(|(created, _)| created == run).unwrap();
        let stayed = deletion.received.duration_since(first.1.received);
        assert!(stayed >= STAYS, "{run} is deleted {stayed:#} after it was first requested");
    }
    let created = created(&scene);
    assert!(created.values().all(|times| *times == 1), "{created:#?}");
    assert!(runs.values().all(|run| created.contains_key(run)), "{runs:?} of {created:#?}");
    let left = scene.tasks().list(&kube::api::ListParams::default()).await.unwrap();
    let again: Vec<String> =
        left.iter().map(ResourceExt::name_any).filter(|name| runs.values().any(|run| run == name)).collect();
    assert!(again.is_empty(), "{again:?} are there again");
}
