//! The queues of a world, and the users who create, edit, hold, delete and recreate them.

use super::plan::{Kind, Plan};
use crate::{
    cluster::Odds,
    random::Random,
    server::{Denial, Key, Resource, Server, Verb},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Of 1,000 worlds so many have queues.
const SHARE: u32 = 220;
/// Most tasks of a world with queues.
const MOST_TASKS: u64 = 7;

/// A queue before it is created.
#[derive(Clone, Debug)]
pub struct QueuePlan {
    /// Namespace and name.
    pub key: (String, String),
    /// Its spec.
    pub spec: Value,
    /// When it is created.
    pub created: Duration,
    /// Whether users edit, hold, delete and recreate it.
    pub edited: bool,
}

/// The kind of the world of this seed if it has queues. Those in which nothing delays the operator are more frequent than among the other
/// worlds: the rules are sharper there.
pub fn kind(seed: u64) -> Option<Kind> {
    let mut random = Random::fork(seed, "has queues");
    random.chance(SHARE).then(|| {
        random.pick(&[
            Kind::Calm,
            Kind::Calm,
            Kind::Calm,
            Kind::Refused,
            Kind::Faults,
            Kind::Users,
            Kind::Users,
            Kind::Leaders,
            Kind::Clocks,
            Kind::Unheld,
        ])
    })
}

/// Gives the world queues, and tasks that wait for them.
pub fn add(plan: &mut Plan) {
    let mut random = Random::fork(plan.seed, "queues");
    let r = &mut random;
    // What comes of an outage depends on when an attempt runs, and on who probes: faults would change the end.
    let alike = plan.kind == Kind::Faults;
    let mut namespaces: Vec<String> = plan.tasks.iter().map(|(namespace, ..)| namespace.clone()).collect();
    namespaces.dedup();
    for n in plan.tasks.len()..usize::try_from(r.between(3, MOST_TASKS)).unwrap_or(3) {
        plan.tasks.push((r.pick(&namespaces), format!("task-{n}"), super::plan::spec(r, !alike)));
    }
    for n in 0..r.between(1, 2) {
        for namespace in &namespaces {
            let created = match r.below(10) {
                0..=5 => Duration::ZERO,
                6..=8 => r.skewed(20_000),
                _ => r.duration(Duration::from_secs(20), Duration::from_secs(300)),
            };
            let key = (namespace.clone(), format!("queue-{n}"));
            plan.queues.push(QueuePlan { key, spec: spec(r, alike), created, edited: !alike && r.chance(600) });
        }
    }
    for (.., spec) in &mut plan.tasks {
        if r.chance(850) {
            spec["queue"] = queue_ref(r, alike);
        }
    }
    // A list that is not of the newest version would take tasks for gone that hold slots. The API server promises the newest.
    plan.rates.stale = 0;
    if !alike {
        plan.odds = odds(r, &plan.odds, plan.trouble);
        plan.denials.extend(denials(r, plan));
    }
}

/// The spec of a task that a user creates: most are in a queue, if the world has queues.
pub fn new_spec(plan: &Plan, r: &mut Random) -> Value {
    let mut spec = super::plan::spec(r, true);
    if !plan.queues.is_empty() && r.chance(850) {
        spec["queue"] = queue_ref(r, false);
    }
    spec
}

/// What a task asks of its queue. Where all must end alike, no wait has a limit.
pub fn queue_ref(r: &mut Random, alike: bool) -> Value {
    let mut queue = json!({"name": format!("queue-{}", u32::from(r.chance(250)))});
    if r.chance(400) {
        queue["priority"] = json!(i64::try_from(r.below(5)).unwrap_or(0) - 2);
    }
    if r.chance(500) {
        queue["fairnessKey"] = json!(r.pick(&["a", "b"]));
    }
    if !alike && r.chance(150) {
        queue["maxWaitSeconds"] = json!(r.between(1, 500));
    }
    queue
}

/// A spec that admission accepts. The times are so short that each is over before a world counts as quiet.
fn spec(r: &mut Random, alike: bool) -> Value {
    let mut spec = json!({});
    if r.chance(800) {
        spec["maxConcurrent"] = json!(r.between(1, 3));
        if r.chance(400) {
            spec["retries"] = json!({"maxPercent": r.pick(&[10, 34, 50, 100])});
        }
    }
    if r.chance(250) {
        spec["startRate"] = json!({"starts": r.between(1, 4), "perSeconds": r.between(1, 40)});
        if r.chance(500) {
            spec["startRate"]["burst"] = json!(r.between(1, 3));
        }
    }
    if alike {
        return spec;
    }
    if r.chance(100) {
        spec["stopPolicy"] = json!(r.pick(&["Hold", "HoldAndDrain"]));
    }
    if r.chance(650) {
        spec["circuitBreaker"] = breaker(r);
    }
    spec
}

fn breaker(r: &mut Random) -> Value {
    let open = r.between(1, 60);
    let mut breaker = json!({
        "mode": r.pick(&["Enforce", "Enforce", "Enforce", "Enforce", "Enforce", "Enforce", "Observe", "Observe", "ForceOpen", "ForceClosed"]),
        "openAfter": {"tasks": r.between(1, 3), "percent": r.between(1, 60), "withinSeconds": r.between(30, 400)},
        "openSeconds": open,
        "maxOpenSeconds": open + r.below(200),
        "probes": {"atATime": r.between(1, 2), "successes": r.between(1, 2), "passAfterSeconds": r.between(1, 200)},
        "recoverySeconds": r.pick(&[0, 20, 200]),
        "honorRetryAfter": r.chance(700),
    });
    match r.below(6) {
        0 | 1 => breaker["failures"] = json!({"errorTypes": ["Unavailable"]}),
        2 => breaker["failures"] = json!({"exitCodes": [75, "1-40"]}),
        3 => breaker["failures"] = json!({"reasons": ["Error", "AttemptTimeout"]}),
        _ => {}
    }
    breaker
}

/// A service that is down for a while.
fn odds(r: &mut Random, odds: &Odds, trouble: Duration) -> Odds {
    let mut odds = Odds { success: r.pick(&[250, 600, 900]), ..odds.clone() };
    if r.chance(700) {
        let from = r.duration(Duration::ZERO, trouble);
        odds.outage = Some((from, from + r.duration(Duration::from_secs(20), Duration::from_secs(500))));
    }
    odds
}

/// The operator may not write the queues' status, or not list them, for a while.
fn denials(r: &mut Random, plan: &Plan) -> Vec<Denial> {
    let kinds = [
        (Verb::Update, "User \"operator\" cannot update resource \"taskqueues/status\""),
        (Verb::List, "User \"operator\" cannot list resource \"taskqueues\""),
    ];
    let mut denials = vec![];
    for (verb, why) in kinds {
        if !plan.is_prompt() && r.chance(60) {
            // A list that is refused later would hide edits for longer than the rules allow for.
            let from = if verb == Verb::List { Duration::ZERO } else { r.duration(Duration::ZERO, plan.trouble) };
            let until = plan.trouble.min(from + r.skewed(300_000));
            denials.push(Denial { from, until, why: why.into(), ..Denial::of(verb, Resource::Queues) });
        }
    }
    denials
}

/// Creates one of the plan's queues, and changes it until the faults end.
pub async fn own(server: Server, plan: Plan, index: usize) {
    let QueuePlan { key: (namespace, name), spec: first, created, edited } = plan.queues[index].clone();
    let key = Key::new(Resource::Queues, namespace, name);
    let mut random = Random::fork(plan.seed, &format!("queue/{}/{}", key.namespace, key.name));
    tokio::time::sleep(created).await;
    create(&server, &key, first);
    if !edited {
        return;
    }
    loop {
        tokio::time::sleep(random.skewed(240_000)).await;
        if server.lock().store.clock.elapsed() >= plan.trouble {
            break;
        }
        meddle(&server, &key, &mut random).await;
    }
    // Some queues stay held, forced open or deleted, and their tasks wait until the end.
    if random.chance(700) {
        create(&server, &key, spec(&mut random, false));
        patch(&server, &key, json!({"spec": {"stopPolicy": "None"}}));
    }
}

async fn meddle(server: &Server, key: &Key, r: &mut Random) {
    match r.below(10) {
        0 | 1 => {
            patch(server, key, json!({"spec": {"stopPolicy": r.pick(&["Hold", "HoldAndDrain"])}}));
            tokio::time::sleep(r.skewed(200_000)).await;
            patch(server, key, json!({"spec": {"stopPolicy": "None"}}));
        }
        2 => patch(server, key, json!({"spec": {"stopPolicy": r.pick(&["None", "Hold", "HoldAndDrain"])}})),
        3 | 4 => {
            // Fields that the new spec does not have go.
            let mut edit = json!({"maxConcurrent": null, "retries": null, "startRate": null, "circuitBreaker": null});
            if let (Some(edit), Value::Object(spec)) = (edit.as_object_mut(), spec(r, false)) {
                edit.extend(spec);
            }
            patch(server, key, json!({"spec": edit}));
        }
        5 => {
            let has_limit = server.lock().store.get(key).is_some_and(|queue| queue["spec"]["maxConcurrent"].is_i64());
            if has_limit {
                patch(server, key, json!({"spec": {"maxConcurrent": r.between(1, 4)}}));
            }
        }
        6 => {
            let mode = r.pick(&["Enforce", "Enforce", "Observe", "ForceOpen", "ForceClosed"]);
            if server.lock().store.get(key).is_some_and(|queue| queue["spec"]["circuitBreaker"].is_object()) {
                patch(server, key, json!({"spec": {"circuitBreaker": {"mode": mode}}}));
            }
        }
        7 => {
            let _ = server.user(Verb::Delete, key, json!({}));
            tokio::time::sleep(r.skewed(60_000)).await;
            create(server, key, spec(r, false));
        }
        8 => {
            let _ = server.user(Verb::Delete, key, json!({}));
            create(server, key, spec(r, false));
        }
        _ => {
            // Another writer of the same object.
            for n in 0..r.below(20) {
                patch(server, key, json!({"metadata": {"annotations": {"seen": n.to_string()}}}));
                tokio::time::sleep(r.skewed(200)).await;
            }
        }
    }
}

/// Does nothing if the queue exists.
#[allow(clippy::needless_pass_by_value)] // callers build it in place
fn create(server: &Server, key: &Key, spec: Value) {
    let metadata = json!({"name": key.name, "namespace": key.namespace});
    let queue =
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": metadata, "spec": spec});
    if let Err(error) = server.user(Verb::Create, key, queue) {
        assert_eq!(error.code, 409, "a queue of the simulation is not admitted: {error:?}");
    }
}

/// Does nothing if there is no such queue.
fn patch(server: &Server, key: &Key, change: Value) {
    if let Err(error) = server.user(Verb::Patch, key, change) {
        assert_eq!(error.code, 404, "an edit of the simulation is not admitted: {error:?}");
    }
}
