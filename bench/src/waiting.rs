//! Very many tasks that wait: the operator's memory and work, and how fast it recovers from a crash.

use crate::attempts::{Attempts, costs};
use crate::audit::{Log, Who, millis_between};
use crate::cluster::{Cluster, Limits, Operator};
use crate::finished;
use crate::process::Cpu;
use crate::work::{Kind, Work};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const LIMIT: Duration = Duration::from_secs(400);
const QUIET: Duration = Duration::from_secs(5);
/// How long the idle operator is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// How many new tasks there are when the operator restarts.
const NEW: usize = 100;
/// How often it is killed and restarted. Single ones are slow by chance.
const RESTARTS: usize = 10;

/// The measurements.
#[derive(Debug, Default, Serialize)]
pub struct Waiting {
    pub tasks: usize,
    /// The cost of reaching that state: one attempt for each task.
    pub attempts: Attempts,
    /// While all wait: memory in bytes, its peak, the share of one core, requests.
    pub memory: u64,
    pub peak_memory: u64,
    pub cpu: f64,
    pub writes: usize,
    pub reads: usize,
    /// After each crash.
    pub restarts: Vec<Restart>,
}

/// The recovery from a crash, in milliseconds from the start of the new process.
#[derive(Debug, Serialize)]
pub struct Restart {
    /// Until its first write.
    pub first_action: f64,
    /// Until the creation of the last Pod that was due.
    pub last_due: f64,
    /// Until it has reconciled every task.
    pub caught_up: f64,
    /// Its memory after that, in bytes.
    pub memory: u64,
}

/// Measures `count` tasks that fail once and wait for an hour.
pub async fn run(program: &Path, count: usize) -> Result<Waiting> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    cluster.namespace(NAMESPACE)?;
    let account = cluster.account(HOME, None)?;
    let operator = cluster.operator(&account, &[]).await?;
    let (who, process) = (Who::Operator(HOME.into()), operator.process());
    let mut log = Log::from_now()?;
    let before = Cpu::now(process)?;
    let began = Instant::now();
    Work::that_waits().create(&cluster.client, (Kind::Task, NAMESPACE), 0..count, None).await?;
    let freed = |log: &Log| log.count(|request| request.who == who && request.is("patch", "pods")) >= count;
    log.until("the Pods to be free", LIMIT, freed).await?;
    log.until_quiet(&who, QUIET, LIMIT).await?;
    let mut attempts = costs(&log, &who, Cpu::now(process)?.since(before));
    attempts.seconds = began.elapsed().as_secs_f64() - QUIET.as_secs_f64();
    attempts.tasks = count;

    let (mut log, before, began) = (Log::from_now()?, process.cpu()?, Instant::now());
    tokio::time::sleep(WINDOW).await;
    log.read()?;
    let mut waiting = Waiting {
        tasks: count,
        attempts,
        memory: process.memory()?,
        peak_memory: process.peak_memory()?,
        cpu: process.cpu()?.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64(),
        writes: log.count(|request| request.who == who && request.is_write()),
        reads: log.count(|request| request.who == who && request.is_read()),
        ..Waiting::default()
    };
    operator.kill()?;
    for number in 0..RESTARTS {
        waiting.restarts.push(restart(&cluster, &account, count + number * NEW).await?);
    }
    Ok(waiting)
}

/// Restarts the operator among finished tasks, each time with some new ones.
pub async fn restarts_among_finished(cluster: &Cluster, finished: usize) -> Result<Vec<Restart>> {
    cluster.namespace(NAMESPACE)?;
    let account = cluster.account(HOME, None)?;
    finished::create(&cluster.client, NAMESPACE, RESTARTS * NEW, finished).await?;
    let mut restarts = Vec::new();
    for number in 0..RESTARTS {
        restarts.push(restart(cluster, &account, number * NEW).await?);
    }
    Ok(restarts)
}

/// Starts the operator when there are `count` tasks and some new ones, and kills it in the end.
async fn restart(cluster: &Cluster, account: &Path, count: usize) -> Result<Restart> {
    let who = Who::Operator(HOME.into());
    let work = Work { duration: "1h".into(), retries: 3, backoff: json!({}), queue: None };
    work.create(&cluster.client, (Kind::Task, NAMESPACE), count..count + NEW, None).await?;
    let mut log = Log::from_now()?;
    let began = Timestamp::now();
    let operator = cluster.spawn(account)?;
    let caught_up = caught_up(&operator, count + NEW, began).await?;
    let created = |log: &Log| log.count(|request| request.who == who && request.is("create", "pods"));
    log.until("the new tasks' Pods", LIMIT, |log| created(log) >= NEW).await?;
    let writes = log.requests.iter().filter(|request| request.who == who && request.is_write());
    let first = writes.map(|request| request.received).min().context("no write")?;
    let pods = log.requests.iter().filter(|request| request.who == who && request.is("create", "pods"));
    let last = pods.map(|request| request.answered).max().context("no Pod")?;
    log.until_quiet(&who, QUIET, LIMIT).await?;
    let memory = operator.process().memory()?;
    operator.kill()?;
    Ok(Restart { first_action: millis_between(began, first), last_due: millis_between(began, last), caught_up, memory })
}

/// How long until every task has been reconciled and none is queued, in milliseconds.
async fn caught_up(operator: &Operator, tasks: usize, began: Timestamp) -> Result<f64> {
    let limit = Instant::now() + LIMIT;
    let (mut done, mut last, mut since) = (0.0, Timestamp::now(), Instant::now());
    while done < tasks as f64 || since.elapsed() < Duration::from_secs(2) {
        anyhow::ensure!(Instant::now() < limit, "the operator has reconciled {done} of {tasks} tasks");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = operator.metric("retryabletask_reconcile_seconds_count").unwrap_or(0.0);
        if now > done {
            (done, last, since) = (now, Timestamp::now(), Instant::now());
        }
    }
    Ok(millis_between(began, last))
}
