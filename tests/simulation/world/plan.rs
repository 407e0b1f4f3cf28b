//! The plan of a world: drawn from its seed before it begins.

use super::{
    queues::{self, QueuePlan},
    schedules::{self, SchedulePlan},
};
use crate::{
    clock::WorldClock,
    cluster::Odds,
    faults::Rates,
    random::Random,
    server::{Denial, Resource, Verb},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// The namespace that the operator runs in: Pods there get no finalizer.
pub const OWN_NAMESPACE: &str = "operator";

/// How long nothing must change before a world has converged: longer than a Pod can run without a change.
const SILENCE: Duration = Duration::from_secs(1_000);
/// The same for some worlds: longer than the operator's longest requeue, and than a clock is wrong.
const LONG_SILENCE: Duration = Duration::from_secs(4_000);

/// Which faults a world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only Pods fail.
    Calm,
    /// Pods fail, and the operator may not change Pods, or not delete them.
    Refused,
    /// Pods fail, some are never admitted, and the operator is killed.
    Unadmitted,
    /// Requests and watches fail too, and the operator is killed. No user edits anything.
    Faults,
    /// As `Faults`, and users edit, suspend, delete and recreate tasks.
    Users,
    /// As `Users`, with two replicas and leader election. Leaders are paused and resumed.
    Leaders,
    /// As `Users`, and clocks jump.
    Clocks,
    /// As `Users`, with some tasks in the operator's own namespace.
    Unheld,
    /// As `Users`, with many tasks that end soon.
    Finished,
}

/// A world before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Which faults it has.
    pub kind: Kind,
    /// How often requests and watches fail.
    pub rates: Rates,
    /// How Pods end.
    pub odds: Odds,
    /// The tasks, with their namespaces.
    pub tasks: Vec<(String, String, Value)>,
    /// The queues that tasks name.
    pub queues: Vec<QueuePlan>,
    /// The schedules that start tasks.
    pub schedules: Vec<SchedulePlan>,
    /// When the faults end. After that the world must converge.
    pub trouble: Duration,
    /// What the API server refuses to the operator for a while: by a quota, a policy, or for want of a right.
    pub denials: Vec<Denial>,
    /// Whether the operator is killed from time to time.
    pub kills: bool,
    /// Whether users change tasks.
    pub users: bool,
    /// How many replicas of the operator run. More than one use leader election.
    pub replicas: u32,
    /// Whether clocks jump.
    pub jumps: bool,
    /// How long nothing must change before the world has converged.
    pub silence: Duration,
}

impl Plan {
    /// The plan of this seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::fork(seed, "plan");
        let kind = random.pick(&[
            Kind::Calm,
            Kind::Refused,
            Kind::Faults,
            Kind::Faults,
            Kind::Users,
            Kind::Users,
            Kind::Users,
            Kind::Leaders,
            Kind::Leaders,
            Kind::Clocks,
            Kind::Unheld,
        ]);
        let kind = match kind {
            Kind::Calm if random.chance(400) => Kind::Unadmitted,
            Kind::Users if random.chance(300) => Kind::Finished,
            kind => kind,
        };
        let Some(kind) = queues::kind(seed) else {
            return schedules::plan(seed).unwrap_or_else(|| Self::of_kind(seed, kind));
        };
        let mut plan = Self::of_kind(seed, kind);
        queues::add(&mut plan);
        plan
    }

    /// The plan of this seed for a world of this kind.
    pub fn of_kind(seed: u64, kind: Kind) -> Self {
        let mut random = Random::fork(seed, "world");
        let r = &mut random;
        let trouble = Duration::from_secs(r.between(30, 700));
        let mut odds = odds(r);
        if kind == Kind::Faults {
            // The outcome of a Pod whose node is down, or that starts late, depends on when the operator looks.
            (odds.node_death, odds.trouble) = (0, 0);
        }
        let count = if kind == Kind::Finished { r.between(6, 12) } else { r.between(1, 2) };
        let namespaces: &[&str] = if kind == Kind::Unheld { &["default", OWN_NAMESPACE] } else { &["default"] };
        let mut tasks: Vec<_> = (0..count)
            .map(|n| (r.pick(namespaces).to_string(), format!("task-{n}"), spec(r, kind != Kind::Faults)))
            .collect();
        if kind == Kind::Finished {
            odds.run_millis = 500;
            for (.., spec) in tasks.iter_mut().skip(1) {
                spec["maxRetries"] = json!(r.below(2));
                spec["backoff"] = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
            }
        }
        if kind != Kind::Faults && tasks.len() == 2 && r.chance(300) {
            let condition = r.pick(&["Succeeded", "Failed", "Finished"]);
            tasks[1].2["after"] = json!([{"task": "task-0", "condition": condition}]);
            if r.chance(300) {
                tasks[1].2["afterTimeoutSeconds"] = json!(r.between(1, 900));
            }
        }
        if kind == Kind::Unadmitted {
            // Every task ends, even if no Pod is admitted.
            for (.., spec) in &mut tasks {
                spec["startupTimeoutSeconds"] = json!(r.between(1, 100));
            }
        }
        let calm = matches!(kind, Kind::Calm | Kind::Refused | Kind::Unadmitted);
        let quiet = Rates { until: trouble, ..Rates::default() };
        let rates = if calm { quiet } else { rates(r, trouble) };
        let denials = match kind {
            Kind::Calm => vec![],
            Kind::Refused => refusals(r, trouble),
            Kind::Unadmitted => vec![never_admitted(r, trouble)],
            _ => denials(r, trouble),
        };
        let kills = (!calm || kind == Kind::Unadmitted) && r.chance(700);
        let users = !matches!(kind, Kind::Calm | Kind::Refused | Kind::Unadmitted | Kind::Faults);
        let replicas = if kind == Kind::Leaders { 2 } else { 1 };
        // Leader election sends requests all the time, which makes long worlds slow.
        let jumps = kind == Kind::Clocks;
        let long = jumps || replicas == 1 && r.chance(100);
        let silence = if long { LONG_SILENCE } else { SILENCE };
        let (queues, schedules) = (vec![], vec![]);
        Self {
            seed,
            kind,
            rates,
            odds,
            tasks,
            queues,
            schedules,
            trouble,
            denials,
            kills,
            users,
            replicas,
            jumps,
            silence,
        }
    }

    /// Whether nothing delays the operator: at most its cleanup is refused.
    pub fn is_prompt(&self) -> bool {
        matches!(self.kind, Kind::Calm | Kind::Refused)
    }

    /// Whether the API server can select tasks by their state, as it does since Kubernetes 1.31.
    pub fn selects(&self) -> bool {
        Random::fork(self.seed, "selects").chance(800)
    }

    /// The same world in which only Pods fail.
    pub fn without_faults(&self) -> Self {
        let rates = Rates { until: self.rates.until, ..Rates::default() };
        Self {
            rates,
            denials: vec![],
            kills: false,
            users: false,
            jumps: false,
            replicas: 1,
            kind: Kind::Calm,
            ..self.clone()
        }
    }
}

fn odds(r: &mut Random) -> Odds {
    let run_millis = r.pick(&[500, 5_000, 60_000, 200_000]);
    let usual = Odds { run_millis, ..Odds::default() };
    match r.below(4) {
        // Pods fail only by exit codes, so that every failure is charged to retries.
        0 => Odds { disruption: 0, node_death: 0, trouble: 0, admission: 0, eviction: 0, ..usual },
        1 => Odds { disruption: 500, node_death: 100, ..usual },
        _ => usual,
    }
}

/// Some faults are frequent and others absent: a mixture of all at medium rates finds fewer bugs.
fn rates(r: &mut Random, until: Duration) -> Rates {
    let mut some = |share: u32, most: u64| if r.chance(share) { u32::try_from(r.below(most)).unwrap_or(0) } else { 0 };
    let mut rates = Rates {
        until,
        reject: some(400, 200),
        error_after_commit: some(400, 100),
        drop_before: some(300, 100),
        drop_after: some(400, 100),
        hang: some(200, 60),
        late: some(300, 100),
        lateness: Duration::from_millis(18_500),
        stale: some(250, 300),
        staleness: Duration::from_secs(30),
        stall: some(300, 100),
        stalling: Duration::from_secs(60),
        cut: some(400, 600),
        silence: some(100, 100),
        lose: some(200, 60),
        repeat: some(300, 200),
        compact: some(300, 300),
        ..Rates::default()
    };
    rates.lag = [Resource::Tasks, Resource::Pods]
        .into_iter()
        .map(|resource| (resource, if r.chance(400) { r.skewed(30_000) } else { r.skewed(100) }))
        .collect::<BTreeMap<_, _>>();
    rates
}

/// The operator may not patch Pods, or not delete them, until the faults end.
fn refusals(r: &mut Random, until: Duration) -> Vec<Denial> {
    let why = "admission webhook \"policy.example\" denied the request";
    let verbs: &[Verb] = r.pick(&[&[Verb::Patch][..], &[Verb::Delete], &[Verb::Patch, Verb::Delete]]);
    let denial = |verb: &Verb| Denial { until, why: why.into(), ..Denial::of(*verb, Resource::Pods) };
    verbs.iter().map(denial).collect()
}

/// From some time on no Pod, or no fallback Pod, is admitted. Code and message vary.
fn never_admitted(r: &mut Random, trouble: Duration) -> Denial {
    let code = r.pick(&[400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 504]);
    let why = r.pick(&[
        "admission webhook \"policy.example\" denied the request",
        "exceeded quota: q, requested: count/pods=1, used: count/pods=1, limited: count/pods=1",
        "maximum memory usage per Container is 100Mi, but limit is 128Mi",
        "etcdserver: request is too large",
        "",
    ]);
    let from = if r.chance(500) { Duration::ZERO } else { r.duration(Duration::ZERO, trouble) };
    let of_fallbacks = r.chance(300);
    Denial { from, why: why.into(), code, of_fallbacks, ..Denial::of(Verb::Create, Resource::Pods) }
}

fn denials(r: &mut Random, until: Duration) -> Vec<Denial> {
    let kinds = [
        (Verb::Create, Resource::Pods, "exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10"),
        (Verb::Patch, Resource::Pods, "admission webhook \"policy.example\" denied the request"),
        (Verb::Delete, Resource::Pods, "admission webhook \"policy.example\" denied the request"),
        (Verb::Update, Resource::Tasks, "User \"operator\" cannot update resource \"retryabletasks/status\""),
        (Verb::List, Resource::Pods, "User \"operator\" cannot list resource \"pods\""),
        (Verb::List, Resource::ClusterEvents, "User \"operator\" cannot list resource \"events\""),
        (Verb::Create, Resource::Events, "User \"operator\" cannot create resource \"events\""),
    ];
    let mut denials = vec![];
    for (verb, resource, why) in kinds {
        if r.chance(60) {
            let from = r.duration(Duration::ZERO, until);
            let until = until.min(from + r.skewed(600_000));
            denials.push(Denial { from, until, why: why.into(), ..Denial::of(verb, resource) });
        }
    }
    denials
}

/// A spec that admission accepts. Time limits only if wanted: with them, faults that delay the operator change how
/// attempts end.
pub fn spec(r: &mut Random, limits: bool) -> Value {
    let mut spec = json!({"image": "registry.example/job:1", "maxRetries": r.between(0, 5)});
    if r.chance(600) {
        spec["backoff"] = backoff(r);
    }
    if r.chance(200) {
        spec["historyLimit"] = json!(r.pick(&[0, 1, 2, 100]));
    }
    if r.chance(400) {
        spec["podRetention"] = json!({"failed": r.below(4), "succeeded": r.below(2)});
    }
    if r.chance(100) {
        spec["ttlSecondsAfterFinished"] = json!(r.below(600));
    }
    if r.chance(250) {
        spec["rules"] = rules(r);
    }
    if r.chance(150) {
        spec["budgets"] = json!({"disruptions": r.below(3), "outOfMemory": r.below(3), "startup": r.below(2)});
    }
    if limits && r.chance(150) {
        spec["suspend"] = json!(true);
    }
    if limits && r.chance(200) {
        spec["attemptTimeoutSeconds"] = json!(r.between(1, 200));
    }
    if limits && r.chance(150) {
        spec["activeDeadlineSeconds"] = json!(r.between(1, 2_000));
    }
    if limits && r.chance(150) {
        spec["startupTimeoutSeconds"] = json!(r.between(1, 600));
    }
    if r.chance(150) {
        spec["template"] = template(r);
    }
    if r.chance(200) {
        spec["onFailure"] = json!({"args": ["--cleanup"]});
        if limits && r.chance(300) {
            spec["onFailure"]["timeoutSeconds"] = json!(r.between(1, 100));
        }
    }
    if r.chance(100) {
        spec["overrides"] = json!([{"fromAttempt": r.between(2, 4), "env": [{"name": "CAREFUL", "value": "yes"}]}]);
    }
    if r.chance(150) {
        spec["resources"] = json!({"limits": {"memory": "64Mi"}});
        spec["onOutOfMemory"] = json!({"memoryMultiplier": 2});
    }
    if limits && r.chance(80) {
        spec["startAt"] = json!(WorldClock::date(Duration::from_secs(r.below(900))).to_string());
    }
    spec
}

fn rules(r: &mut Random) -> Value {
    let mut rules = vec![];
    let actions = ["Retry", "Ignore", "Fail", "Complete"];
    let ends = ["Fail", "Complete"];
    let mut whens = vec![
        json!({"exitCodes": ["1-40"]}),
        json!({"notExitCodes": ["30-200"]}),
        json!({"signals": ["KILL"]}),
        json!({"reasons": ["Error", "PodDeleted"]}),
        json!({"errorTypes": ["BadInput"]}),
        json!({"podConditions": ["DisruptionTarget"]}),
        json!({"message": "(?i)BROKE"}),
        json!({"preset": "SysexitsPermanent"}),
    ];
    for n in 0..r.between(1, 3) {
        let action = r.pick(&actions);
        // Admission refuses a rule with the `when` of an earlier one.
        let when = r.pick(&whens);
        whens.retain(|other| *other != when);
        let mut rule = json!({"name": format!("rule-{n}"), "when": when, "action": action});
        if !ends.contains(&action) && r.chance(500) {
            rule["maxRetries"] = json!(r.below(4));
        }
        if !ends.contains(&action) && r.chance(300) {
            rule["backoff"] = json!({"strategy": "Fixed", "initialDelaySeconds": r.below(30)});
        }
        rules.push(rule);
    }
    Value::Array(rules)
}

fn backoff(r: &mut Random) -> Value {
    let mut backoff = match r.below(5) {
        0 => json!({"strategy": "Fixed", "initialDelaySeconds": r.below(100)}),
        1 => json!({"strategy": "Linear", "initialDelaySeconds": r.below(20), "maxDelaySeconds": 60}),
        2 => json!({"strategy": "Fibonacci"}),
        3 => json!({"strategy": "List", "delaysSeconds": [r.below(5), r.below(50), r.below(200)]}),
        _ => json!({"multiplier": "1.5", "initialDelaySeconds": r.between(1, 30), "maxDelaySeconds": 300}),
    };
    match r.below(4) {
        0 => backoff["jitter"] = json!({"mode": "None"}),
        1 => backoff["jitter"] = json!({"mode": "Full"}),
        2 => backoff["jitter"] = json!({"mode": "Equal"}),
        _ => {}
    }
    backoff
}

fn template(r: &mut Random) -> Value {
    let mut spec = json!({});
    if r.chance(500) {
        spec["containers"] = json!([{"name": "task"}, {"name": "sidecar", "image": "registry.example/sidecar:1"}]);
    }
    if r.chance(500) {
        spec["initContainers"] = json!([{"name": "prepare", "image": "registry.example/prepare:1"}]);
    }
    if r.chance(300) {
        spec["terminationGracePeriodSeconds"] = json!(r.below(120));
    }
    json!({"metadata": {"labels": {"team": "a"}}, "spec": spec})
}
