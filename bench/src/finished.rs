//! Very many finished tasks: what the operator holds of them, and whether they delay the others.

use crate::attempts::{self, Attempts, Scenario};
use crate::cluster::{Cluster, Limits, Operator};
use crate::sample;
use crate::stand_in::StandIn;
use crate::waiting::{self, Restart};
use crate::work::{Kind, Work, name};
use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use kube::{Api, Client};
use retryable_tasks::api::RetryableTask;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(600);
/// How long the operator has nothing to do before its memory is read.
const QUIET: Duration = Duration::from_secs(15);
/// How many are created at the same time.
const CREATIONS: usize = 32;

/// What the operator holds, by a stand-in for the API server.
#[derive(Debug, Default, Serialize)]
pub struct Held {
    pub finished: usize,
    pub waiting: usize,
    /// The bytes of a finished task, as the API server sends it, without its `managedFields`.
    pub size: usize,
    /// In bytes: with the waiting tasks alone, with all, and the most while it started with all.
    pub without: u64,
    pub with: u64,
    pub peak: u64,
    /// From its start until it has listed the unfinished tasks, and until it has listed all, in milliseconds.
    pub unfinished: f64,
    pub listed: f64,
}

/// Retries beside finished tasks and beside none, and restarts, on a real API server.
#[derive(Debug, Default, Serialize)]
pub struct Beside {
    pub finished: usize,
    pub none: Attempts,
    pub many: Attempts,
    pub restarts: Vec<Restart>,
}

/// Measures the memory of an operator with so many tasks.
pub async fn held(program: &Path, finished: usize, waiting: usize) -> Result<Held> {
    let (without, ..) = start(program, 0, waiting).await?;
    let (with, peak, unfinished, listed, size) = start(program, finished, waiting).await?;
    Ok(Held { finished, waiting, size, without, with, peak, unfinished, listed })
}

/// A file that leads to the stand-in.
pub fn stand_in_kubeconfig(server: &StandIn) -> Result<PathBuf> {
    let config = std::env::temp_dir().join(format!("stand-in-{}.kubeconfig", std::process::id()));
    let url = format!("http://127.0.0.1:{}", server.port);
    let cluster = json!([{"name": "stand-in", "cluster": {"server": url}}]);
    let context = json!([{"name": "stand-in", "context": {"cluster": "stand-in", "user": ""}}]);
    let file = json!({"apiVersion": "v1", "kind": "Config", "clusters": cluster, "contexts": context,
                      "current-context": "stand-in"});
    std::fs::write(&config, file.to_string())?;
    Ok(config)
}

async fn start(program: &Path, finished: usize, waiting: usize) -> Result<(u64, u64, f64, f64, usize)> {
    let server = StandIn::serve(finished, waiting).await?;
    let config = stand_in_kubeconfig(&server)?;
    let began = Instant::now();
    let millis = || began.elapsed().as_secs_f64() * 1000.0;
    let operator = Operator::spawn(program, &config, 0, &[])?;
    let until = async |done: &dyn Fn() -> bool| {
        while !done() {
            ensure!(began.elapsed() < LIMIT, "the tasks have not been listed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(millis())
    };
    let unfinished = until(&|| server.has_listed_unfinished()).await?;
    let listed = until(&|| server.has_listed()).await?;
    quiet(&operator, LIMIT).await?;
    let (memory, peak) = (operator.process().memory()?, operator.process().peak_memory()?);
    operator.kill()?;
    std::fs::remove_file(&config)?;
    ensure!(server.others() == 0, "{} requests although nothing happened", server.others());
    Ok((memory, peak, unfinished, listed, server.size()))
}

/// Waits until the operator has used no processor time for a while.
async fn quiet(operator: &Operator, limit: Duration) -> Result<()> {
    let (mut cpu, mut since, began) = (operator.process().cpu()?, Instant::now(), Instant::now());
    while since.elapsed() < QUIET {
        ensure!(began.elapsed() < limit, "the operator is still busy");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = operator.process().cpu()?;
        // Its HTTP server and its loop use a little.
        if now.saturating_sub(cpu) > Duration::from_millis(20) {
            since = Instant::now();
        }
        cpu = now;
    }
    Ok(())
}

/// Stores `count` finished tasks, with names that follow those of `first` tasks.
pub async fn create(client: &Client, namespace: &str, first: usize, count: usize) -> Result<()> {
    let api: Api<RetryableTask> = Api::namespaced(client.clone(), namespace);
    let sample = sample::finished()?;
    let store = |index: usize| {
        let (api, mut task) = (api.clone(), RetryableTask::new(&name(index), sample.spec.clone()));
        let status = sample.status.clone();
        async move {
            task.metadata = api.create(&PostParams::default(), &task).await?.metadata;
            task.status = status;
            anyhow::Ok(api.replace_status(&name(index), &PostParams::default(), &task).await.map(drop)?)
        }
    };
    stream::iter(first..first + count).map(store).buffer_unordered(CREATIONS).try_collect().await
}

/// Runs the same retries beside `finished` tasks and beside none, and restarts the operator among them.
pub async fn beside(program: &Path, finished: usize, count: usize, pace: Duration) -> Result<Beside> {
    let scenario = |finished| Scenario {
        kind: Kind::Task,
        work: Work::that_fails_often(),
        count,
        pace: Some(pace),
        limits: Limits::Lifted,
        waiting: 0,
        finished,
    };
    let none = attempts::run(program, scenario(0)).await?;
    let many = attempts::run(program, scenario(finished)).await?;
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    let restarts = waiting::restarts_among_finished(&cluster, finished).await?;
    Ok(Beside { finished, none, many, restarts })
}
