//! Tasks that fail, wait and are tried again: what an attempt costs, and how late it comes.

use crate::audit::{Log, Request, Who, millis_between};
use crate::cluster::{Cluster, Limits, put_into_etcd, stored};
use crate::pods::{Life, Watch, lives};
use crate::process::{Cpu, Process};
use crate::work::{JOB_BACKOFF_SECONDS, Kind, Work};
use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use retryable_tasks::api::RetryableTask;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const RETRIES: i32 = 2;
const LIMIT: Duration = Duration::from_secs(400);
const QUIET: Duration = Duration::from_secs(4);

/// What was measured of one kind at one number.
#[derive(Debug, Default, Serialize)]
pub struct Attempts {
    pub tasks: usize,
    pub attempts: usize,
    /// From the first creation to the last write, in seconds.
    pub seconds: f64,
    /// Answered writes by verb and resource.
    pub writes: BTreeMap<String, usize>,
    pub writes_per_attempt: f64,
    /// Pods that were deleted because they were past their retention. A Job keeps all of its Pods.
    pub removals_per_attempt: f64,
    pub events_per_attempt: f64,
    /// Lists and gets after the start.
    pub reads: usize,
    pub watches: i64,
    /// From the creation of the task to that of its first Pod, in milliseconds.
    pub start: Vec<f64>,
    /// The same, without what the API server took for the status in between, which Job does not write.
    pub start_but_for_status: Vec<f64>,
    /// From when a retry was due to its Pod's creation. A task's is due when its wait has passed since the end of the
    /// attempt before it. A Job counts from that end cut to whole seconds, so it is due up to a second earlier.
    pub lag: Vec<f64>,
    /// The same, without what the API server took for the requests in between.
    pub own_lag: Vec<f64>,
    /// The API server's own time for a write of the controller.
    pub api: Vec<f64>,
    /// Processor time in milliseconds per attempt.
    pub controller_cpu: f64,
    pub apiserver_cpu: f64,
    pub etcd_cpu: f64,
    /// The share of the machine that was busy.
    pub busy: f64,
    /// The controller's memory at the end, in bytes.
    pub memory: u64,
    /// Bytes at rest in etcd, Events apart: of all tasks or Jobs, and of all Pods.
    pub stored_tasks: usize,
    pub stored_pods: usize,
    pub stored_pod_count: usize,
    /// Bytes put into etcd per attempt, those of the nodes' reports included.
    pub put_per_attempt: f64,
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub kind: Kind,
    /// How many, three attempts each.
    pub count: usize,
    /// Created at once, or one each so long.
    pub pace: Option<Duration>,
    /// What the Job controller may ask.
    pub limits: Limits,
    /// How many others have failed once and wait all the while.
    pub waiting: usize,
}

/// Runs a scenario on a fresh cluster.
pub async fn run(program: &Path, scenario: Scenario) -> Result<Attempts> {
    let Scenario { kind, count, pace, limits, waiting } = scenario;
    let cluster = Cluster::fresh(program, limits).await?;
    cluster.namespace(NAMESPACE)?;
    let mut operator = None;
    let (who, controller) = match kind {
        Kind::Task => {
            let started = operator.insert(cluster.operator(&cluster.account(HOME, None)?, &[]).await?);
            (Who::Operator(HOME.into()), started.process())
        }
        Kind::Job => (Who::JobController, Process::of_cluster("controller-manager")?),
    };
    let watch = (kind == Kind::Job).then(|| Watch::new(&cluster.client, NAMESPACE));
    if waiting > 0 {
        let others = Work::that_waits();
        let mut log = Log::from_now()?;
        others.create(&cluster.client, (kind, NAMESPACE), count..count + waiting, None).await?;
        let freed = |log: &Log| log.count(|request| request.who == who && request.is("patch", "pods")) >= waiting;
        log.until("the others to wait", LIMIT, freed).await?;
        anyhow::ensure!(log.until_quiet(&who, QUIET, LIMIT).await?, "the others do not wait");
    }
    let mut watches = Log::from_start()?;
    watches.read()?;
    let mut log = Log::from_now()?;
    let (before, put_before, began) = (Cpu::now(controller)?, put_into_etcd()?, Instant::now());
    let work = Work::as_a_job_waits(RETRIES);
    work.create(&cluster.client, (kind, NAMESPACE), 0..count, pace).await?;
    let attempts = count * usize::try_from(RETRIES + 1)?;
    log.until("the end of the attempts", LIMIT, |log| log.ended >= attempts).await?;
    if kind == Kind::Task {
        let freed = |log: &Log| log.count(|request| request.who == who && request.is("patch", "pods")) >= attempts;
        log.until("the Pods to be free", LIMIT, freed).await?;
    }
    anyhow::ensure!(log.until_quiet(&who, QUIET, LIMIT).await?, "{who:?} goes on writing");
    let cpu = Cpu::now(controller)?.since(before);
    watches.read()?;
    let mut measured = costs(&log, &who, cpu);
    measured.tasks = count + waiting;
    measured.seconds = began.elapsed().as_secs_f64() - QUIET.as_secs_f64();
    measured.watches = watches.open_watches(&who);
    measured.put_per_attempt = (put_into_etcd()? - put_before) / measured.attempts as f64;
    measured.memory = controller.memory()?;
    let group = if kind == Kind::Task { "retryable.dev/retryabletasks" } else { "jobs" };
    measured.stored_tasks = stored(&format!("/registry/{group}/{NAMESPACE}/"))?.0;
    (measured.stored_pods, measured.stored_pod_count) = stored(&format!("/registry/pods/{NAMESPACE}/"))?;
    let mut lives = lives(&log, &who, watch.as_ref())?;
    if kind == Kind::Job {
        cut_ends(&cluster, &mut lives).await?;
    }
    times(&mut measured, &log, &who, &lives, &waits(&cluster, kind).await?);
    Ok(measured)
}

/// What the requests of `who` come to, per attempt.
pub fn costs(log: &Log, who: &Who, cpu: Cpu) -> Attempts {
    let mut measured = Attempts::default();
    let (mut events, mut writes, mut removals) = (0, 0, 0);
    for request in log.requests.iter().filter(|request| request.who == *who) {
        measured.reads += usize::from(request.is_read());
        if request.is_write() {
            *measured.writes.entry(request.kind()).or_default() += 1;
            measured.api.push(request.millis());
            match request.kind().as_str() {
                "create events" | "patch events" => events += 1,
                "delete pods" => removals += 1,
                _ => writes += 1,
            }
        }
    }
    measured.attempts = log.count(|request| request.who == *who && request.is("create", "pods"));
    let per_attempt = 1.0 / (measured.attempts as f64).max(1.0);
    measured.writes_per_attempt = f64::from(writes) * per_attempt;
    measured.removals_per_attempt = f64::from(removals) * per_attempt;
    measured.events_per_attempt = f64::from(events) * per_attempt;
    measured.controller_cpu = cpu.controller.as_secs_f64() * 1000.0 * per_attempt;
    measured.apiserver_cpu = cpu.apiserver.as_secs_f64() * 1000.0 * per_attempt;
    measured.etcd_cpu = cpu.etcd.as_secs_f64() * 1000.0 * per_attempt;
    measured.busy = cpu.busy();
    measured
}

/// The waits before each further attempt: of a task as its history tells, of a Job as its controller computes them.
async fn waits(cluster: &Cluster, kind: Kind) -> Result<BTreeMap<String, Vec<SignedDuration>>> {
    if kind == Kind::Job {
        return Ok(BTreeMap::new());
    }
    let tasks: Api<RetryableTask> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let waits = |task: &RetryableTask| {
        let history = task.status.iter().flat_map(|status| &status.history);
        history.filter_map(|entry| entry.delay_milliseconds).map(SignedDuration::from_millis).collect()
    };
    let tasks = tasks.list(&kube::api::ListParams::default()).await?.items;
    Ok(tasks.iter().map(|task| (task.name_any(), waits(task))).collect())
}

/// Replaces the ends by those that the Job controller goes by: the Pods' own words, in whole seconds.
async fn cut_ends(cluster: &Cluster, lives: &mut BTreeMap<String, Vec<Life>>) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let finished = |pod: &Pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        Some(statuses.first()?.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
    };
    let pods = pods.list(&kube::api::ListParams::default()).await?.items;
    let ends: BTreeMap<String, _> = pods.iter().map(|pod| (pod.name_any(), finished(pod))).collect();
    for life in lives.values_mut().flatten() {
        life.ended = ends.get(&life.name).copied().flatten();
    }
    Ok(())
}

fn job_wait(failures: usize) -> SignedDuration {
    let factor = 1_i64 << failures.saturating_sub(1).min(6);
    SignedDuration::from_secs(i64::from(JOB_BACKOFF_SECONDS) * factor).min(SignedDuration::from_secs(600))
}

/// How long the API server took for status writes of a task that were under way between two times, in milliseconds.
fn status_millis(of_task: &BTreeMap<&str, Vec<&Request>>, name: &str, from: Timestamp, to: Timestamp) -> f64 {
    let writes = of_task.get(name).into_iter().flatten();
    writes.filter(|request| request.answered > from && request.received < to).map(|request| request.millis()).sum()
}

/// From the creation of each task to that of its first Pod, in milliseconds.
pub fn start_of(log: &Log, who: &Who) -> Result<Vec<f64>> {
    let mut measured = Attempts::default();
    times(&mut measured, log, who, &lives(log, who, None)?, &BTreeMap::new());
    Ok(measured.start)
}

fn times(
    measured: &mut Attempts,
    log: &Log,
    who: &Who,
    lives: &BTreeMap<String, Vec<Life>>,
    waits: &BTreeMap<String, Vec<SignedDuration>>,
) {
    let mut of_task: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    let of_ours = |request: &&Request| request.who == *who && request.kind() == "update retryabletasks/status";
    for request in log.requests.iter().filter(of_ours) {
        of_task.entry(&request.name).or_default().push(request);
    }
    let creations =
        log.requests.iter().filter(|r| r.is("create", Kind::Task.plural()) || r.is("create", Kind::Job.plural()));
    let created: BTreeMap<&str, _> = creations.map(|request| (request.name.as_str(), request.answered)).collect();
    for (name, lives) in lives {
        if let (Some(first), Some(created)) = (lives.first(), created.get(name.as_str())) {
            let start = millis_between(*created, first.created);
            measured.start.push(start);
            measured.start_but_for_status.push(start - status_millis(&of_task, name, *created, first.asked));
        }
        for (index, pair) in lives.windows(2).enumerate() {
            let wait = waits.get(name).map_or(Some(job_wait(index + 1)), |waits| waits.get(index).copied());
            let (Some(ended), Some(wait)) = (pair[0].ended, wait) else { continue };
            let due = ended + wait;
            let api = status_millis(&of_task, name, due, pair[1].asked);
            measured.lag.push(millis_between(due, pair[1].created));
            measured.own_lag.push(millis_between(due, pair[1].asked) - api);
        }
    }
}
