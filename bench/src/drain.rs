//! Many failures at the same instant: how fast their next attempts are created.
//!
//! The controller is paused while the Pods fail and until Job's back-off has passed. When it continues, every retry is
//! due, whatever its back-off.

use crate::attempts::costs;
use crate::audit::{Log, Who, millis_between};
use crate::cluster::{Cluster, Limits};
use crate::process::{Cpu, Process};
use crate::work::{JOB_BACKOFF_SECONDS, Kind, Work};
use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const LIMIT: Duration = Duration::from_secs(200);

/// The measurements of one kind.
#[derive(Debug, Default, Serialize)]
pub struct Drain {
    pub failures: usize,
    /// From when the controller continues to the creation of the last Pod.
    pub seconds: f64,
    pub attempts_per_second: f64,
    /// The share of one core in that time.
    pub controller_cpu: f64,
    pub apiserver_cpu: f64,
    pub etcd_cpu: f64,
    pub nodes_cpu: f64,
    /// The share of the machine's CPU time that was used.
    pub busy: f64,
    /// How long the API server took for each write of the controller, in milliseconds.
    pub api: Vec<f64>,
    /// From when the controller continues to each creation, in milliseconds.
    pub created: Vec<f64>,
}

/// How many Pods have failed. The audit log does not show this, since a node may report twice that a Pod runs.
async fn failed_pods(cluster: &Cluster) -> Result<usize> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    Ok(pods.list_metadata(&ListParams::default().fields("status.phase=Failed")).await?.items.len())
}

async fn until_failed(cluster: &Cluster, count: usize) -> Result<()> {
    let began = Instant::now();
    while failed_pods(cluster).await? < count {
        anyhow::ensure!(began.elapsed() < LIMIT, "waited {} s in vain for the Pods to fail", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Measures `count` tasks or Jobs whose Pods fail at the same instant.
pub async fn run(program: &Path, kind: Kind, count: usize, limits: Limits) -> Result<Drain> {
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
    let mut log = Log::from_now()?;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    // On a slow machine too, the first Pod must not end before the last one runs.
    let duration = format!("{}s", 60 + count / 10);
    let work = Work { duration, retries: 1, backoff, queue: None };
    work.create(&cluster.client, (kind, NAMESPACE), 0..count, None).await?;
    log.until("the Pods to run", LIMIT, |log| log.running >= count).await?;
    log.until_quiet(&who, Duration::from_secs(2), LIMIT).await?;
    let failed = failed_pods(&cluster).await?;
    anyhow::ensure!(failed == 0, "the first Pods ended before the last ran: this machine is too slow for this many");
    controller.signal("STOP")?;
    let failed = until_failed(&cluster, count).await;
    tokio::time::sleep(Duration::from_secs(u64::try_from(JOB_BACKOFF_SECONDS)? + 2)).await;
    let (mut log, before, began) = (Log::from_now()?, Cpu::now(controller)?, Timestamp::now());
    controller.signal("CONT")?;
    failed?;
    let created = |log: &Log| log.count(|request| request.who == who && request.is("create", "pods"));
    log.until("the next Pods", LIMIT, |log| created(log) >= count).await?;
    let cpu = Cpu::now(controller)?.since(before);
    let creations = log.requests.iter().filter(|request| request.who == who && request.is("create", "pods"));
    let created: Vec<f64> = creations.map(|request| millis_between(began, request.answered)).collect();
    let seconds = created.iter().copied().reduce(f64::max).context("no Pod was created")? / 1000.0;
    let share = |time: Duration| time.as_secs_f64() / seconds;
    Ok(Drain {
        failures: count,
        seconds,
        attempts_per_second: count as f64 / seconds,
        controller_cpu: share(cpu.controller),
        apiserver_cpu: share(cpu.apiserver),
        etcd_cpu: share(cpu.etcd),
        nodes_cpu: share(cpu.nodes),
        busy: cpu.busy(),
        api: costs(&log, &who, cpu).api,
        created,
    })
}
