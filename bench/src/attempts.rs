//! Tasks that fail, wait and are retried: what an attempt costs, and how late it starts.

use crate::audit::{Log, Who};
use crate::bystander::Bystander;
use crate::cluster::{Cluster, Limits, put_into_etcd, stored};
use crate::finished;
use crate::lateness::{Late, of_jobs, of_tasks, starts};
use crate::pods::{Watch, lives};
use crate::process::{Cpu, Process};
use crate::requests::{LOG_ARGS, Requests};
use crate::work::{Kind, Work};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const LIMIT: Duration = Duration::from_secs(400);
const QUIET: Duration = Duration::from_secs(4);

/// The measurements of one kind at one number of tasks.
#[derive(Debug, Default, Serialize)]
pub struct Attempts {
    pub tasks: usize,
    pub attempts: usize,
    /// From the first creation to the last write, in seconds.
    pub seconds: f64,
    /// Answered writes, by verb and resource.
    pub writes: BTreeMap<String, usize>,
    pub writes_per_attempt: f64,
    /// Pods that were deleted because of their retention. A Job keeps all of its Pods.
    pub removals_per_attempt: f64,
    pub events_per_attempt: f64,
    /// Lists and gets after the start.
    pub reads: usize,
    pub watches: i64,
    /// From the creation of each task to the creation of its first Pod, in milliseconds.
    pub start: Vec<f64>,
    /// The same, without the API server's time for the status write in between. Job does not write one.
    pub start_but_for_status: Vec<f64>,
    /// How late retries were.
    #[serde(flatten)]
    pub late: Late,
    /// How long the API server took for each write of the controller, in milliseconds.
    pub api: Vec<f64>,
    /// How long the bystander's requests waited until the API server received them, in milliseconds.
    pub bystander: Vec<f64>,
    /// CPU time per attempt, in milliseconds.
    pub controller_cpu: f64,
    pub apiserver_cpu: f64,
    pub etcd_cpu: f64,
    /// The share of the machine's CPU time that was used.
    pub busy: f64,
    /// The controller's memory at the end, in bytes.
    pub memory: u64,
    /// Bytes stored in etcd, without Events: of all tasks or Jobs, and of all Pods.
    pub stored_tasks: usize,
    pub stored_pods: usize,
    pub stored_pod_count: usize,
    /// Bytes written to etcd per attempt, including the nodes' reports.
    pub put_per_attempt: f64,
}

/// A scenario to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub kind: Kind,
    pub work: Work,
    /// How many tasks or Jobs.
    pub count: usize,
    /// The time between two creations. None: all are created at once.
    pub pace: Option<Duration>,
    /// The limits of the Job controller.
    pub limits: Limits,
    /// How many other tasks have failed once and wait during the whole scenario.
    pub waiting: usize,
    /// How many others have finished before the operator starts.
    pub finished: usize,
}

/// Runs a scenario on a fresh cluster.
pub async fn run(program: &Path, scenario: Scenario) -> Result<Attempts> {
    let Scenario { kind, work, count, pace, limits, waiting, finished } = scenario;
    let cluster = Cluster::fresh(program, limits).await?;
    cluster.namespace(NAMESPACE)?;
    work.create_queue(NAMESPACE)?;
    finished::create(&cluster.client, NAMESPACE, count + waiting, finished).await?;
    let mut operator = None;
    let (who, controller) = match kind {
        Kind::Task => {
            let started = operator.insert(cluster.operator(&cluster.account(HOME, None)?, &LOG_ARGS).await?);
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
        log.until_quiet(&who, QUIET, LIMIT).await?;
    }
    let mut watches = Log::from_start()?;
    watches.read()?;
    let mut log = Log::from_now()?;
    let bystander = Bystander::new(NAMESPACE).await?;
    let (before, put_before, began) = (Cpu::now(controller)?, put_into_etcd()?, Instant::now());
    work.create(&cluster.client, (kind, NAMESPACE), 0..count, pace).await?;
    let attempts = count * usize::try_from(work.retries + 1)?;
    log.until("the end of the attempts", LIMIT, |log| log.ended >= attempts).await?;
    if kind == Kind::Task {
        let freed = |log: &Log| log.count(|request| request.who == who && request.is("patch", "pods")) >= attempts;
        log.until("the Pods to be free", LIMIT, freed).await?;
    }
    log.until_quiet(&who, QUIET, LIMIT).await?;
    let cpu = Cpu::now(controller)?.since(before);
    watches.read()?;
    let mut measured = costs(&log, &who, cpu);
    measured.bystander = bystander.waits(&log)?;
    drop(bystander);
    measured.tasks = count + waiting;
    measured.seconds = began.elapsed().as_secs_f64() - QUIET.as_secs_f64();
    measured.watches = watches.open_watches(&who);
    measured.put_per_attempt = (put_into_etcd()? - put_before) / measured.attempts as f64;
    measured.memory = controller.memory()?;
    let group = if kind == Kind::Task { "retryable.dev/retryabletasks" } else { "jobs" };
    measured.stored_tasks = stored(&format!("/registry/{group}/{NAMESPACE}/"))?.0;
    (measured.stored_pods, measured.stored_pod_count) = stored(&format!("/registry/pods/{NAMESPACE}/"))?;
    let lives = lives(&log, &who, watch.as_ref())?;
    (measured.start, measured.start_but_for_status) = starts(&log, &who, &lives);
    let of_cluster = (&cluster, NAMESPACE);
    measured.late = match kind {
        Kind::Task => of_tasks(of_cluster, (&log, &who, &Requests::read()?), &lives).await?,
        Kind::Job => of_jobs(of_cluster, &lives).await?,
    };
    Ok(measured)
}

/// Counts the requests of `who`, per attempt.
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
