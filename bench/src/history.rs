//! What an attempt costs when the history of its task is full.

use crate::attempts::{Attempts, costs};
use crate::audit::{Log, Who};
use crate::cluster::{Cluster, Limits};
use crate::process::Cpu;
use crate::work::{Kind, Work};
use anyhow::{Result, ensure};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const LIMIT: Duration = Duration::from_secs(200);
const QUIET: Duration = Duration::from_secs(4);
/// The time between the creations of two tasks: their attempts do not queue.
const PACE: Duration = Duration::from_millis(250);
/// The entries of a full history, by the default `historyLimit`.
const FULL: usize = 20;
/// How many attempts of each task are measured.
const MORE: usize = 5;
/// Between the attempts that fill the history and those that are measured, in seconds.
const PAUSE: usize = 90;
/// Between the attempts that are measured, in seconds.
const WAIT: usize = 5;

/// Measures `count` tasks that have failed twenty times.
pub async fn run(program: &Path, count: usize) -> Result<Attempts> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    cluster.namespace(NAMESPACE)?;
    let operator = cluster.operator(&cluster.account(HOME, None)?, &[]).await?;
    let (who, process) = (Who::Operator(HOME.into()), operator.process());
    let mut delays = vec![0; FULL - 1];
    delays.extend([PAUSE, WAIT]);
    let backoff = json!({"strategy": "List", "delaysSeconds": delays, "jitter": {"mode": "None"}});
    let retries = i32::try_from(FULL + MORE)? - 1;
    let work = Work { duration: "100ms".into(), retries, backoff, queue: None };
    let created = |log: &Log| log.count(|request| request.who == who && request.is("create", "pods"));
    let freed = |log: &Log| log.count(|request| request.who == who && request.is("patch", "pods"));

    let mut log = Log::from_now()?;
    work.create(&cluster.client, (Kind::Task, NAMESPACE), 0..count, Some(PACE)).await?;
    log.until("the Pods that fill the histories to be free", LIMIT, |log| freed(log) >= count * FULL).await?;
    log.until_quiet(&who, QUIET, LIMIT).await?;
    ensure!(created(&log) == count * FULL, "the machine is too slow: attempts were due before all histories were full");

    let mut log = Log::from_now()?;
    log.until("the first of the measured attempts", LIMIT, |log| created(log) > 0).await?;
    let (before, began) = (Cpu::now(process)?, Instant::now());
    log.until("the measured attempts' Pods to be free", LIMIT, |log| freed(log) >= count * MORE).await?;
    log.until_quiet(&who, QUIET, LIMIT).await?;
    let mut measured = costs(&log, &who, Cpu::now(process)?.since(before));
    measured.tasks = count;
    measured.seconds = began.elapsed().as_secs_f64() - QUIET.as_secs_f64();
    Ok(measured)
}
