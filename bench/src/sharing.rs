//! Two operators on one cluster, each with its own namespace: does one touch objects of the other?

use crate::attempts::costs;
use crate::audit::{Log, Who};
use crate::cluster::{Cluster, Limits};
use crate::process::Cpu;
use crate::work::{Kind, Work};
use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(200);

/// The requests of one of the two.
#[derive(Debug, Serialize)]
pub struct Share {
    pub namespace: String,
    pub tasks: usize,
    /// Pods that it created.
    pub attempts: usize,
    pub writes_per_attempt: f64,
    /// Requests about its own namespace, and about anything else.
    pub own_requests: usize,
    pub other_requests: usize,
    /// Requests of others that wrote into its tasks' status or created Pods in its namespace.
    pub foreign_writes: usize,
}

/// Runs `count` tasks in each of two namespaces, by an operator each.
pub async fn run(program: &Path, count: usize) -> Result<Vec<Share>> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    let namespaces = ["work-a", "work-b"];
    let homes = ["operator-a", "operator-b"];
    for namespace in namespaces {
        cluster.namespace(namespace)?;
    }
    let accounts = [cluster.account(homes[0], Some(namespaces[0]))?, cluster.account(homes[1], Some(namespaces[1]))?];
    let mut log = Log::from_now()?;
    let first = cluster.operator(&accounts[0], &["--namespaces", namespaces[0]]).await?;
    let _second = cluster.second_operator(&accounts[1], &["--namespaces", namespaces[1]]).await?;
    let before = Cpu::now(first.process())?;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 2});
    let work = Work { duration: "1s".into(), retries: 2, backoff, queue: None };
    let of = |namespace| work.create(&cluster.client, (Kind::Task, namespace), 0..count, None);
    futures::future::try_join(of(namespaces[0]), of(namespaces[1])).await?;
    let whos = homes.map(|home| Who::Operator(home.into()));
    log.until("the end of the attempts", LIMIT, |log| log.ended >= 6 * count).await?;
    for who in &whos {
        let freed = |log: &Log| log.count(|request| request.who == *who && request.is("patch", "pods")) >= 3 * count;
        log.until("the Pods to be free", LIMIT, freed).await?;
        log.until_quiet(who, Duration::from_secs(2), LIMIT).await?;
    }
    let cpu = Cpu::now(first.process())?.since(before);
    let share = |(who, namespace): (&Who, &str)| {
        let costs = costs(&log, who, cpu);
        let written = |kind: &str| kind == "create pods" || kind == "update retryabletasks/status";
        Share {
            namespace: namespace.to_owned(),
            tasks: count,
            attempts: costs.attempts,
            writes_per_attempt: costs.writes_per_attempt,
            own_requests: log.count(|request| request.who == *who && request.namespace == namespace),
            other_requests: log.count(|request| request.who == *who && request.namespace != namespace),
            foreign_writes: log.count(|r| r.who != *who && r.namespace == namespace && written(&r.kind())),
        }
    };
    Ok(whos.iter().zip(namespaces).map(share).collect())
}
