//! A world: one run of the server, the cluster, the operator and its users, with all faults.

mod chaos;
mod operator;
mod plan;
mod queues;
mod schedules;
mod users;

pub use plan::{Kind, OWN_NAMESPACE, Plan};

use crate::{
    clock::WorldClock,
    cluster::{Truths, run_pods},
    determinism,
    oracle::{self, Trace, Violation},
    server::{Actor, Resource, Schema, Server, collect_garbage},
};
use serde_json::{Value, json};
use std::{sync::LazyLock, time::Duration};

/// How long after the last fault a world may go on changing.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (tasks, queues) = (json!(retryable_tasks::api::crd()), json!(retryable_tasks::api::queue_crd()));
    Schema::of(&tasks).with_queues(&queues).with_schedules(&json!(retryable_tasks::api::schedule_crd()))
});

/// The result of a world.
#[derive(Debug)]
pub struct Outcome {
    /// The rules that were broken.
    pub violations: Vec<Violation>,
    /// How the tasks ended, for comparison with other runs.
    pub summary: Vec<String>,
    /// How many requests the operator sent.
    pub requests: usize,
    /// How many Pods there were.
    pub pods: usize,
    /// How many processes of the operator there were.
    pub processes: u32,
    /// How long the world existed.
    pub age: Duration,
    /// All requests and all changes in their order, if wanted.
    pub log: Vec<String>,
}

/// Runs the world of this plan until nothing changes any more.
pub fn run(plan: Plan, log: bool) -> Outcome {
    determinism::isolated(plan.seed, move || async move {
        let clock = WorldClock::new();
        let server = Server::new(plan.seed, clock, plan.rates.clone());
        let schema = SCHEMA.clone();
        server.lock().schema = if plan.selects() { schema } else { schema.without_selectable_fields() };
        server.lock().policies.denials.clone_from(&plan.denials);
        let truths = Truths::default();
        let records = chaos::Records::default();
        tokio::spawn(run_pods(server.clone(), plan.seed, plan.odds.clone(), truths.clone()));
        tokio::spawn(collect_garbage(server.clone(), plan.seed));
        let mut jobs = tokio::task::JoinSet::new();
        for index in 0..plan.tasks.len() {
            jobs.spawn(users::own(server.clone(), plan.clone(), index));
        }
        for index in 0..plan.queues.len() {
            jobs.spawn(queues::own(server.clone(), plan.clone(), index));
        }
        for index in 0..plan.schedules.len() {
            jobs.spawn(schedules::own(server.clone(), plan.clone(), index));
        }
        for index in 0..plan.replicas {
            jobs.spawn(chaos::replica(server.clone(), plan.clone(), clock, index, records.clone()));
        }
        let converged = wait_until_quiet(&server, clock, &plan, &mut jobs).await;
        let records = std::mem::take(&mut *records.lock().expect("the records' lock"));
        conclude(&plan, &server, &truths, converged, records, log)
    })
}

/// Waits until the operator has written nothing for long. False if it does not stop writing.
async fn wait_until_quiet(
    server: &Server,
    clock: WorldClock,
    plan: &Plan,
    jobs: &mut tokio::task::JoinSet<()>,
) -> bool {
    loop {
        tokio::time::sleep(Duration::from_secs(100)).await;
        while let Some(job) = jobs.try_join_next() {
            if let Err(error) = job {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        let now = clock.elapsed();
        let state = server.lock();
        let meant = |change: &&crate::server::Change| change.key.resource != Resource::Leases;
        let last = state.store.changes().iter().rev().find(meant).map_or(Duration::ZERO, |change| change.at);
        // Leader election sends requests all the time, which makes long worlds slow.
        let silence = if plan.replicas > 1 && is_over(&state) { plan.silence / 4 } else { plan.silence };
        if now >= last.max(plan.trouble) + silence {
            return true;
        }
        if now >= plan.trouble + LIMIT {
            return false;
        }
    }
}

/// Whether every task and every Pod has ended, so that nothing can happen by itself any more.
fn is_over(state: &crate::server::State) -> bool {
    let phase = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let ended = |task: &Value| task["status"]["completionTime"].is_string();
    state.store.all(Resource::Pods).all(|(_, pod)| phase(pod) && pod["metadata"]["deletionTimestamp"].is_null())
        && state.store.all(Resource::Tasks).all(|(_, task)| ended(task))
}

fn conclude(
    plan: &Plan,
    server: &Server,
    truths: &Truths,
    converged: bool,
    records: chaos::Recorded,
    log: bool,
) -> Outcome {
    let state = server.lock();
    let processes = u32::try_from(records.processes.len()).unwrap_or(u32::MAX);
    let trace = trace(plan, &state, converged, records);
    let (mut violations, summary) = oracle::judge(&trace);
    violations.extend(state.malformed.iter().map(|line| Violation::new("requests the server can read", line.clone())));
    let pods = truths.lock().expect("the truths' lock").len();
    let lines = if log { log_lines(&state) } else { vec![] };
    let age = state.store.clock.elapsed();
    Outcome { violations, summary, requests: state.requests.len(), pods, processes, age, log: lines }
}

fn trace(plan: &Plan, state: &crate::server::State, converged: bool, records: chaos::Recorded) -> Trace {
    let of_interest = |resource: Resource| match resource {
        Resource::Tasks | Resource::Queues | Resource::Schedules | Resource::Pods | Resource::Events => true,
        Resource::Leases | Resource::ClusterEvents | Resource::Nodes => false,
    };
    let denied = |request: &crate::server::Record| {
        let meant = |d: &&crate::server::Denial| d.verb == request.verb && d.resource == request.resource;
        plan.denials.iter().any(|d| meant(&d))
    };
    let changes = state.store.changes().iter().filter(|change| of_interest(change.key.resource));
    let changes = changes.map(|change| oracle::Change {
        at: change.at,
        deleted: change.kind == crate::server::ChangeKind::Deleted,
        object: change.object.clone(),
        by_operator: matches!(change.actor, Actor::Client(_)),
    });
    let writes = state.requests.iter().filter(|request| request.verb.writes() && of_interest(request.resource));
    let writes = writes.map(|request| oracle::Write {
        called: request.called,
        done: request.done,
        verb: format!("{:?}", request.verb).to_lowercase(),
        kind: request.resource.kind(),
        object: request.object.clone(),
        body: Some(request.body.clone()),
        code: request.code,
        changed: request.version.is_some(),
        faulty: request.fault != crate::faults::Fault::None || (request.code >= 400 && denied(request)),
        by: request.client,
    });
    Trace {
        start: WorldClock::date(Duration::ZERO),
        changes: changes.collect(),
        writes: writes.collect(),
        leaders: leaders(&state.requests),
        processes: records.processes,
        end: state.store.clock.elapsed(),
        calm_since: calm_since(plan),
        converged,
        own_namespace: OWN_NAMESPACE.into(),
        faultless: plan.kind == Kind::Calm,
        prompt: plan.is_prompt(),
        clock: records.clock,
    }
}

/// Since when nothing delays the operator: a watch that hung has been given up too.
fn calm_since(plan: &Plan) -> Duration {
    if plan.is_prompt() { Duration::ZERO } else { plan.trouble + Duration::from_secs(400) }
}

fn log_lines(state: &crate::server::State) -> Vec<String> {
    let requests = state.requests.iter().map(|request| (request.sent, request.to_string()));
    let changes = state.store.changes().iter().map(|change| {
        let (at, object) = (change.at.as_secs_f64(), &change.object);
        let status = &object["status"];
        let brief = match change.key.resource {
            Resource::Pods => {
                let metadata = &object["metadata"];
                json!({
                    "uid": metadata["uid"], "deletion": metadata["deletionTimestamp"], "grace": metadata["deletionGracePeriodSeconds"],
                    "finalizers": metadata["finalizers"], "node": object["spec"]["nodeName"], "phase": status["phase"],
                    "reason": status["reason"], "conditions": status["conditions"], "containers": status["containerStatuses"],
                })
            }
            Resource::Tasks | Resource::Queues | Resource::Schedules => json!({"metadata": object["metadata"], "spec": object["spec"], "status": status}),
            _ => Value::Null,
        };
        let (key, kind, actor, version) = (&change.key, change.kind, change.actor, change.version);
        let line = format!("{at:12.6} {actor:?} {kind:?} {} {}/{} version {version} {brief}", key.resource.plural(), key.namespace, key.name);
        (change.at, line)
    });
    let mut lines: Vec<(Duration, String)> = requests.chain(changes).collect();
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The holders of the Lease, each with the time since when.
fn leaders(requests: &[crate::server::Record]) -> Vec<(Duration, Option<u32>)> {
    let written = requests.iter().filter(|request| request.resource == Resource::Leases && request.version.is_some());
    let mut leaders: Vec<_> = written
        .map(|request| {
            let holder = request.body["spec"]["holderIdentity"].as_str().unwrap_or_default();
            (request.done.unwrap_or(request.sent), (!holder.is_empty()).then_some(request.client))
        })
        .collect();
    leaders.sort_by_key(|(since, _)| *since);
    leaders
}
