//! The cost of writing a status before each Pod, for any client: this one does only these two writes for each task,
//! with the operator's concurrency. What the operator takes beyond that is its own overhead.

use crate::audit::{Log, Who};
use crate::cluster::{Cluster, Limits};
use crate::lateness::{of_only_pods, starts};
use crate::pods::lives;
use crate::work::{Kind, Work};
use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{Config, Event, watcher};
use retryable_tasks::api::RetryableTask;
use retryable_tasks::controller::CONCURRENCY;
use retryable_tasks::controller::work_queue::DUE_CONCURRENCY_FACTOR;
use retryable_tasks::core::build_pod::pod;
use retryable_tasks::core::decide::{Lookups, Plan, ProcessState, Situation, decide};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

const NAMESPACE: &str = "work";
const HOME: &str = "operator";
const LIMIT: Duration = Duration::from_secs(400);
/// The time between the end of the preparations and the first due time.
const LEAD: Duration = Duration::from_secs(2);
/// The operator's concurrency for new tasks, and for those that are due.
const AT_A_TIME: usize = CONCURRENCY as usize;
const DUE_AT_A_TIME: usize = AT_A_TIME * DUE_CONCURRENCY_FACTOR as usize;

/// A cluster, and a client with an operator's rights.
async fn cluster(program: &Path) -> Result<(Cluster, Client)> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    cluster.namespace(NAMESPACE)?;
    let client = cluster.client_of(&cluster.account(HOME, None)?).await?;
    Ok((cluster, client))
}

/// From the creation of each of `count` tasks to the creation of its first Pod, in milliseconds. The Pods fail, without
/// any effect.
pub async fn first_pods(program: &Path, count: usize, pace: Option<Duration>) -> Result<Vec<f64>> {
    let (cluster, client) = cluster(program).await?;
    let who = Who::Operator(HOME.into());
    let mut log = Log::from_now()?;
    let (ready, is_ready) = oneshot::channel();
    let serving = tokio::spawn(serve(client, ready));
    if is_ready.await.is_err() {
        serving.await??;
        bail!("the watch of tasks ended");
    }
    Work::as_a_job_waits(0).create(&cluster.client, (Kind::Task, NAMESPACE), 0..count, pace).await?;
    let created = |log: &Log| log.count(|request| request.who == who && request.is("create", "pods"));
    log.until("the first Pods", LIMIT, |log| created(log) >= count || serving.is_finished()).await?;
    if serving.is_finished() {
        serving.await??;
    } else {
        serving.abort();
    }
    Ok(starts(&log, &who, &lives(&log, &who, None)?).0)
}

/// How late the Pods of as many tasks are, in milliseconds. Each is due the given number of milliseconds after the
/// first.
pub async fn due_pods(program: &Path, due_after: &[f64]) -> Result<Vec<f64>> {
    let (cluster, client) = cluster(program).await?;
    let who = Who::Operator(HOME.into());
    Work::as_a_job_waits(0).create(&cluster.client, (Kind::Task, NAMESPACE), 0..due_after.len(), None).await?;
    let tasks: Api<RetryableTask> = Api::namespaced(client.clone(), NAMESPACE);
    let tasks = tasks.list(&ListParams::default()).await?.items;
    let mut log = Log::from_now()?;
    let (first, began) = (Instant::now() + LEAD, Timestamp::now() + LEAD);
    let mut order: Vec<(Duration, RetryableTask)> =
        due_after.iter().map(|millis| Duration::from_secs_f64(millis / 1000.0)).zip(tasks).collect();
    order.sort_by_key(|(after, _)| *after);
    let due: BTreeMap<String, Timestamp> =
        order.iter().map(|(after, task)| (task.name_any(), began + *after)).collect();
    stream::iter(order)
        .then(|(after, task)| async move {
            sleep_until(first + after).await;
            task
        })
        .map(|task| tokio::spawn(begin(client.clone(), task)))
        .buffer_unordered(DUE_AT_A_TIME)
        .map(|joined| joined?)
        .try_collect::<()>()
        .await?;
    let created = |log: &Log| log.count(|request| request.who == who && request.is("create", "pods"));
    log.until("the Pods in the log", LIMIT, |log| created(log) >= due.len()).await?;
    of_only_pods(&log, &who, &due)
}

/// Serves every new task until an error occurs. Signals when the initial list is complete.
async fn serve(client: Client, ready: oneshot::Sender<()>) -> Result<()> {
    let tasks: Api<RetryableTask> = Api::namespaced(client.clone(), NAMESPACE);
    let (mut known, mut ready) = (HashSet::new(), Some(ready));
    let mut is_new = move |task: &RetryableTask| known.insert(task.name_any());
    watcher(tasks, Config::default())
        .inspect_ok(move |event| {
            if let Some(ready) = ready.take_if(|_| matches!(event, Event::InitDone)) {
                // If the benchmark was interrupted, there is no receiver.
                let _ = ready.send(());
            }
        })
        .applied_objects()
        .map_err(anyhow::Error::from)
        .try_filter(move |task| std::future::ready(is_new(task)))
        .map_ok(|task| begin(client.clone(), task))
        .try_buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// The two writes, as the operator sends them.
async fn begin(client: Client, task: RetryableTask) -> Result<()> {
    let tasks: Api<RetryableTask> = Api::namespaced(client.clone(), NAMESPACE);
    let lookups = Lookups { task_is_live: true, ..Lookups::default() };
    let process = ProcessState::default();
    let situation = Situation { task: &task, pods: &[], now: Timestamp::now(), lookups: &lookups, process: &process };
    let Plan::WriteStatus(write) = decide(&situation) else { bail!("a new task has no status to be written") };
    let begun = RetryableTask { status: Some(*write.status), ..task.clone() };
    let begun = tasks.replace_status(&task.name_any(), &PostParams::default(), &begun).await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?fieldValidation=Strict");
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&pod(&begun, 1, true))?)?;
    client.request::<serde_json::Value>(request).await?;
    Ok(())
}
