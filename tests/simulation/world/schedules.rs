//! The schedules of a world, and the users who create, edit, suspend, trigger, delete and recreate them.

use super::{
    plan::{Kind, Plan},
    users,
};
use crate::{
    clock::WorldClock,
    random::Random,
    server::{Denial, Key, Resource, Server, Verb},
};
use retryable_tasks::api::{
    ANNOTATION_BACKFILL, ANNOTATION_CANCEL, ANNOTATION_RESUME, ANNOTATION_RUN_AGAIN, ANNOTATION_TRIGGER,
    LABEL_SCHEDULE_NAME,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Of 1,000 worlds without queues so many have schedules.
const SHARE: u32 = 130;
/// How long after the last fault a schedule goes on, before it is suspended for good so that the world can end.
const CALM: Duration = Duration::from_secs(600);

/// A schedule before it is created.
#[derive(Clone, Debug)]
pub struct SchedulePlan {
    /// Namespace and name.
    pub key: (String, String),
    /// Its spec.
    pub spec: Value,
    /// When it is created.
    pub created: Duration,
    /// Whether users edit, suspend, trigger, delete and recreate it.
    pub edited: bool,
}

/// The plan of the world of this seed, if it has schedules.
pub fn plan(seed: u64) -> Option<Plan> {
    let mut random = Random::fork(seed, "schedules");
    let r = &mut random;
    if !r.chance(SHARE) {
        return None;
    }
    let kind = r.pick(&[
        Kind::Calm,
        Kind::Calm,
        Kind::Calm,
        Kind::Faults,
        Kind::Faults,
        Kind::Users,
        Kind::Leaders,
        Kind::Leaders,
        Kind::Clocks,
    ]);
    let mut plan = Plan::of_kind(seed, kind);
    plan.trouble = Duration::from_secs(r.between(300, 1_000));
    plan.rates.until = plan.trouble;
    // Runs of a hundred other attempts would tell nothing more about schedules.
    plan.tasks.truncate(1);
    plan.odds.success = r.pick(&[300, 600, 900]);
    plan.odds.run_millis = r.pick(&[500, 5_000, 60_000, 200_000]);
    // A list that is not of the newest version would take runs for gone. The API server promises the newest.
    plan.rates.stale = 0;
    if !plan.is_prompt() {
        plan.rates.lag.insert(Resource::Schedules, r.skewed(20_000));
        plan.denials.extend(denials(r, plan.trouble));
    }
    for n in 0..r.between(1, 2) {
        let created = if r.chance(600) { Duration::ZERO } else { r.skewed(120_000) };
        let key = ("default".into(), format!("schedule-{n}"));
        plan.schedules.push(SchedulePlan { key, spec: spec(r), created, edited: r.chance(700) });
    }
    Some(plan)
}

/// A spec that admission accepts. The minutes are written so that the oracle reads them without the operator's help.
fn spec(r: &mut Random) -> Value {
    let mut spec = json!({
        "overlap": r.pick(&["Skip", "Queue", "Allow", "Replace"]),
        "history": {"succeeded": r.below(3), "failed": r.below(3)},
        "template": {"spec": run(r)},
    });
    times(r, &mut spec);
    if r.chance(700) {
        spec["missed"] = json!({
            "policy": r.pick(&["Skip", "Latest", "All"]),
            "withinSeconds": r.between(60, 900),
            "limit": r.between(1, 6),
        });
    }
    if r.chance(150) {
        spec["endBeforeNext"] = json!(true);
    }
    if r.chance(200) {
        spec["pauseAfterFailures"] = json!(r.between(1, 3));
    }
    if r.chance(80) {
        spec["suspend"] = json!(true);
    }
    spec
}

/// When its runs are due.
fn times(r: &mut Random, spec: &mut Value) {
    let minutes = ["* * * * *", "* * * * *", "*/2 * * * *", "*/3 * * * *", "1,2,5,9,10,16,21 * * * *"];
    if r.chance(150) {
        spec["schedules"] = json!(["*/2 * * * *", "*/5 * * * *"]);
        spec["schedule"] = Value::Null;
    } else {
        spec["schedule"] = json!(r.pick(&minutes));
        spec["schedules"] = Value::Null;
    }
    spec["splaySeconds"] = json!(if r.chance(250) { r.between(1, 50) } else { 0 });
}

/// The spec of a run: short for the most part, so that times come while it runs and after it has ended.
fn run(r: &mut Random) -> Value {
    if r.chance(200) {
        let mut spec = super::plan::spec(r, true);
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, _| !matches!(field.as_str(), "suspend" | "startAt"));
        }
        return spec;
    }
    let mut spec = json!({"image": "registry.example/job:1", "maxRetries": r.below(3)});
    spec["backoff"] = json!({"strategy": "Fixed", "initialDelaySeconds": r.between(1, 40)});
    if r.chance(350) {
        spec["ttlSecondsAfterFinished"] = json!(r.pick(&[0, 0, 5, 200]));
    }
    spec
}

/// For a while the operator may not create tasks, or not write the schedules' status.
fn denials(r: &mut Random, trouble: Duration) -> Vec<Denial> {
    let quota = "exceeded quota: tasks, requested: count/retryabletasks.retryable.dev=1, used: 10, limited: 10";
    let kinds = [
        (Verb::Create, Resource::Tasks, quota),
        (Verb::Update, Resource::Schedules, "User \"operator\" cannot update resource \"taskschedules/status\""),
        (Verb::Delete, Resource::Tasks, "admission webhook \"policy.example\" denied the request"),
    ];
    let mut denials = vec![];
    for (verb, resource, why) in kinds {
        if r.chance(150) {
            let from = r.duration(Duration::ZERO, trouble);
            let until = trouble.min(from + r.skewed(300_000));
            denials.push(Denial { from, until, why: why.into(), ..Denial::of(verb, resource) });
        }
    }
    denials
}

/// Creates one of the plan's schedules, changes it until the faults end, and suspends it some time later.
pub async fn own(server: Server, plan: Plan, index: usize) {
    let SchedulePlan { key: (namespace, name), spec: first, created, edited } = plan.schedules[index].clone();
    let key = Key::new(Resource::Schedules, namespace, name);
    let mut random = Random::fork(plan.seed, &format!("schedule/{}", key.name));
    let elapsed = || server.lock().store.clock.elapsed();
    tokio::time::sleep(created).await;
    create(&server, &key, first);
    loop {
        tokio::time::sleep(random.skewed(240_000)).await;
        if !edited || elapsed() >= plan.trouble {
            break;
        }
        meddle(&server, &key, &mut random).await;
    }
    tokio::time::sleep(plan.trouble.saturating_sub(elapsed())).await;
    if random.chance(800) {
        patch(&server, &key, json!({"spec": {"suspend": false}}));
    }
    tokio::time::sleep((plan.trouble + CALM).saturating_sub(elapsed())).await;
    if random.chance(150) {
        let _ = server.user(Verb::Delete, &key, json!({}));
    }
    patch(&server, &key, json!({"spec": {"suspend": true}}));
}

async fn meddle(server: &Server, key: &Key, r: &mut Random) {
    match r.below(16) {
        0 | 1 => {
            patch(server, key, json!({"spec": {"suspend": true}}));
            tokio::time::sleep(r.skewed(200_000)).await;
            patch(server, key, json!({"spec": {"suspend": false}}));
        }
        2..=4 => {
            let mut edit = json!({});
            times(r, &mut edit);
            patch(server, key, json!({"spec": edit}));
        }
        5 => {
            let overlap = r.pick(&["Skip", "Queue", "Allow", "Replace"]);
            let history = json!({"succeeded": r.below(3), "failed": r.below(3)});
            patch(server, key, json!({"spec": {"overlap": overlap, "history": history}}));
        }
        6 => patch(server, key, json!({"spec": {"template": {"spec": {"args": [r.next().to_string()]}}}})),
        7 | 8 => {
            let value =
                if r.chance(500) { r.next().to_string() } else { format!(r#"{{"maxRetries": {}}}"#, r.below(3)) };
            annotate(server, key, ANNOTATION_TRIGGER, &value);
        }
        9 => annotate(server, key, ANNOTATION_RESUME, &r.next().to_string()),
        10 => {
            let now = server.lock().store.clock.elapsed();
            let from = now.saturating_sub(r.duration(Duration::ZERO, Duration::from_secs(600)));
            let interval = format!("{}/{}", WorldClock::date(from), WorldClock::date(now));
            annotate(server, key, ANNOTATION_BACKFILL, &interval);
        }
        11 => {
            let policy = r.pick(&["Background", "Foreground", "Orphan"]);
            let _ = server.user(Verb::Delete, key, json!({"propagationPolicy": policy}));
            if r.chance(600) {
                tokio::time::sleep(r.skewed(100_000)).await;
            }
            create(server, key, spec(r));
        }
        12 | 13 => meddle_with_run(server, key, r),
        14 => create(server, key, spec(r)),
        _ => {
            // Another writer of the same object.
            for n in 0..r.below(20) {
                users::touch(server, key, &n.to_string());
                tokio::time::sleep(r.skewed(200)).await;
            }
        }
    }
}

/// Deletes one of its tasks, cancels it, or runs it again.
fn meddle_with_run(server: &Server, key: &Key, r: &mut Random) {
    let tasks: Vec<Key> = {
        let state = server.lock();
        let is_run = |task: &Value| task["metadata"]["labels"][LABEL_SCHEDULE_NAME] == key.name.as_str();
        state.store.all(Resource::Tasks).filter(|(_, task)| is_run(task)).map(|(key, _)| key.clone()).collect()
    };
    if tasks.is_empty() {
        return;
    }
    let task = r.pick(&tasks);
    match r.below(3) {
        0 => drop(server.user(Verb::Delete, &task, json!({}))),
        1 => annotate(server, &task, ANNOTATION_CANCEL, &r.next().to_string()),
        _ => annotate(server, &task, ANNOTATION_RUN_AGAIN, &r.next().to_string()),
    }
}

/// Writes an annotation without meaning to each task and each schedule, which causes reconciles.
pub fn touch_all(server: &Server, value: &str) {
    let keys: Vec<Key> = {
        let state = server.lock();
        let all = state.store.all(Resource::Tasks).chain(state.store.all(Resource::Schedules));
        all.map(|(key, _)| key.clone()).collect()
    };
    for key in keys {
        users::touch(server, &key, value);
    }
}

fn annotate(server: &Server, key: &Key, annotation: &str, value: &str) {
    patch(server, key, json!({"metadata": {"annotations": {annotation: value}}}));
}

/// Does nothing if the schedule exists.
#[allow(clippy::needless_pass_by_value)] // callers build it in place
fn create(server: &Server, key: &Key, mut spec: Value) {
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let metadata = json!({"name": key.name, "namespace": key.namespace});
    let schedule =
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": metadata, "spec": spec});
    if let Err(error) = server.user(Verb::Create, key, schedule) {
        assert_eq!(error.code, 409, "a schedule of the simulation is not admitted: {error:?}");
    }
}

/// Does nothing if there is no such object.
fn patch(server: &Server, key: &Key, change: Value) {
    if let Err(error) = server.user(Verb::Patch, key, change) {
        assert_eq!(error.code, 404, "an edit of the simulation is not admitted: {error:?}");
    }
}
