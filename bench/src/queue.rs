//! What a `TaskQueue` costs: writes and delay of an attempt with one and without, and a long line that is opened at once.

use crate::attempts::{self, Attempts, Scenario};
use crate::audit::{Log, Who, millis_between};
use crate::cluster::{Cluster, Limits, kubectl};
use crate::process::Cpu;
use crate::row::Row;
use crate::stats::{bytes, middle_and_worst, time};
use crate::work::{Kind, QUEUE, Work};
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const LIMIT: Duration = Duration::from_secs(900);
const QUIET: Duration = Duration::from_secs(12);
/// How many attempts run at a time once the line is opened.
const SLOTS: usize = 50;
const RETRIES: i32 = 2;
const STATUS_OF_QUEUE: &str = "update taskqueues/status";

/// The measurements.
#[derive(Debug, Serialize)]
pub struct Queue {
    pub without: Attempts,
    pub with: Attempts,
    pub opened: Opened,
}

/// A long line whose hold ends.
#[derive(Debug, Serialize)]
pub struct Opened {
    pub tasks: usize,
    /// From the end of the hold to the first Pod, and to the last that there is room for, in milliseconds.
    pub first: f64,
    pub filled: f64,
    /// What the operator did until it was quiet again: writes to tasks and Pods, writes to the queue, processor time in
    /// milliseconds.
    pub writes: usize,
    pub queue_writes: usize,
    pub cpu: f64,
    pub memory: u64,
}

/// Measures `count` tasks that fail `RETRIES` + 1 times at that pace, and a line of `line` tasks.
pub async fn run(program: &Path, count: usize, pace: Duration, line: usize) -> Result<Queue> {
    let scenario = |queue| {
        let work = Work { queue, ..Work::as_a_job_waits(RETRIES) };
        Scenario { kind: Kind::Task, work, count, pace: Some(pace), limits: Limits::Lifted, waiting: 0, finished: 0 }
    };
    let without = attempts::run(program, scenario(None)).await?;
    // A queue that never holds anybody back: what is measured is the way through it.
    let free = json!({"maxConcurrent": 100_000, "circuitBreaker": {"mode": "Observe"}});
    let with = attempts::run(program, scenario(Some(free))).await?;
    Ok(Queue { without, with, opened: opened(program, line).await? })
}

async fn opened(program: &Path, tasks: usize) -> Result<Opened> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    cluster.namespace(NAMESPACE)?;
    let operator = cluster.operator(&cluster.account(HOME, None)?, &[]).await?;
    let (who, process) = (Who::Operator(HOME.into()), operator.process());
    let queue = Some(json!({"maxConcurrent": SLOTS, "stopPolicy": "Hold"}));
    let work = Work { duration: "1h".into(), retries: 0, backoff: json!({}), queue };
    work.create_queue(NAMESPACE)?;
    let mut log = Log::from_now()?;
    work.create(&cluster.client, (Kind::Task, NAMESPACE), 0..tasks, None).await?;
    let told = |log: &Log| log.count(|request| request.who == who && request.is("update", "retryabletasks/status"));
    log.until("the tasks to be in the line", LIMIT, |log| told(log) >= tasks).await?;
    log.until_quiet(&who, QUIET, LIMIT).await?;

    let (mut log, before) = (Log::from_now()?, Cpu::now(process)?);
    let patch = json!({"spec": {"stopPolicy": "None"}}).to_string();
    kubectl(&["--namespace", NAMESPACE, "patch", "taskqueue", QUEUE, "--type=merge", "--patch", &patch], "")?;
    let room = SLOTS.min(tasks);
    let is_pod = |request: &crate::audit::Request| request.who == who && request.is("create", "pods");
    log.until("as many Pods as there is room for", LIMIT, |log| log.count(is_pod) >= room).await?;
    log.until_quiet(&who, QUIET, LIMIT).await?;
    let cpu = Cpu::now(process)?.since(before).controller.as_secs_f64() * 1000.0;
    let patched = log.requests.iter().find(|request| request.is("patch", "taskqueues"));
    let began = patched.context("the end of the hold is not in the log")?.answered;
    let pods: Vec<f64> = log
        .requests
        .iter()
        .filter(|request| is_pod(request))
        .map(|request| millis_between(began, request.answered))
        .collect();
    let queue_writes = log.count(|request| request.who == who && request.kind() == STATUS_OF_QUEUE);
    Ok(Opened {
        tasks,
        first: pods.iter().copied().fold(f64::INFINITY, f64::min),
        filled: pods.iter().copied().fold(0.0, f64::max),
        writes: log.count(|request| request.who == who && request.is_write()) - queue_writes,
        queue_writes,
        cpu,
        memory: process.memory()?,
    })
}

/// The rows of the table.
pub fn rows(queue: &Queue) -> Vec<Row> {
    let Queue { without, with, opened } = queue;
    let to_queue = with.writes.get(STATUS_OF_QUEUE).copied().unwrap_or(0);
    let attempts = with.attempts;
    let own = with.writes_per_attempt - to_queue as f64 / (attempts as f64).max(1.0);
    let lag = |one: &Attempts| middle_and_worst(&one.late.lag);
    let own_lag = |one: &Attempts| middle_and_worst(&one.late.own_lag);
    let Opened { tasks, first, filled, writes, queue_writes, cpu, memory } = opened;
    vec![
        Row::new(
            "with a queue: writes an attempt, and without one",
            format!("{own:.3}, {:.3}", without.writes_per_attempt),
        )
        .target("≤ 4", own <= 4.05),
        Row::new(format!("with a queue: writes to it in {attempts} attempts"), to_queue.to_string())
            .target("one in ten seconds", to_queue as f64 <= with.seconds / 10.0 + 3.0),
        Row::new(
            "due → Pod created with a queue, and without one, p50 / p99",
            format!("{}, {}", lag(with), lag(without)),
        ),
        Row::new("… without the API server's own time", format!("{}, {}", own_lag(with), own_lag(without))),
        Row::new(
            format!("{tasks} tasks in a queue that is opened, {SLOTS} at a time: → first Pod, → the last with a slot"),
            format!("{}, {}", time(*first), time(*filled)),
        ),
        Row::new(
            "… writes to tasks and Pods, writes to the queue; processor time and memory of the operator",
            format!("{writes}, {queue_writes}; {cpu:.0} ms, {}", bytes(*memory as f64)),
        ),
    ]
}
