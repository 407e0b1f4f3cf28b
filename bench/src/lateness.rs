//! How late a Pod is created: after its task, and after it was due.

use crate::audit::{Log, Request, Who, millis_between};
use crate::cluster::Cluster;
use crate::pods::{Life, lives};
use crate::requests::{Requests, Wait};
use crate::work::{JOB_BACKOFF_SECONDS, Kind};
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use retryable_tasks::api::RetryableTask;
use serde::Serialize;
use std::collections::BTreeMap;

/// How late, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Late {
    /// Until the Pod was created.
    pub lag: Vec<f64>,
    /// The same without the API server's time for the creation and for the status write in between, by its audit log.
    pub lag_by_audit: Vec<f64>,
    /// The same without the operator's waits for the API server, by the operator's log. They include the time before
    /// the API server has read a request.
    pub own_lag: Vec<f64>,
    /// From the node's report of an end until the wait began. Negative if the operator saw the end late: then the wait
    /// begins with the second after the end.
    pub until_wait: Vec<f64>,
    /// When each retry was due, in milliseconds after the first of them.
    #[serde(skip)]
    pub due_after: Vec<f64>,
}

/// When the tasks' attempts ended, by their node's clock, in whole seconds.
async fn finished(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, Vec<Timestamp>>> {
    let tasks: Api<RetryableTask> = Api::namespaced(cluster.client.clone(), namespace);
    let finished = |task: &RetryableTask| {
        let history = task.status.iter().flat_map(|status| &status.history);
        history.filter_map(|entry| Some(entry.finish_time.as_ref()?.0)).collect()
    };
    let tasks = tasks.list(&kube::api::ListParams::default()).await?.items;
    Ok(tasks.iter().map(|task| (task.name_any(), finished(task))).collect())
}

/// When Pods ended, by their own status, in whole seconds. The Job controller uses these times.
async fn ends(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, Option<Timestamp>>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let finished = |pod: &Pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        Some(statuses.first()?.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
    };
    let pods = pods.list(&kube::api::ListParams::default()).await?.items;
    Ok(pods.iter().map(|pod| (pod.name_any(), finished(pod))).collect())
}

fn job_wait(failures: usize) -> SignedDuration {
    let factor = 1_i64 << failures.saturating_sub(1).min(6);
    SignedDuration::from_secs(i64::from(JOB_BACKOFF_SECONDS) * factor).min(SignedDuration::from_secs(600))
}

/// The status writes of each task.
struct Statuses<'a>(BTreeMap<&'a str, Vec<&'a Request>>);

impl<'a> Statuses<'a> {
    fn of(log: &'a Log, who: &Who) -> Self {
        let mut of_task: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
        let of_ours = |request: &&Request| request.who == *who && request.kind() == "update retryabletasks/status";
        for request in log.requests.iter().filter(of_ours) {
            of_task.entry(&request.name).or_default().push(request);
        }
        Self(of_task)
    }

    /// How much of the time between the two requests the API server needed for them, in milliseconds.
    fn millis(&self, task: &str, from: Timestamp, to: Timestamp) -> f64 {
        let writes = self.0.get(task).into_iter().flatten();
        writes.map(|write| millis_between(write.received.max(from), write.answered.min(to)).max(0.0)).sum()
    }
}

/// From the creation of each task or Job to the creation of its first Pod, in milliseconds; and the same without the
/// API server's time for the status write in between. Job does not write one.
pub fn starts(log: &Log, who: &Who, lives: &BTreeMap<String, Vec<Life>>) -> (Vec<f64>, Vec<f64>) {
    let statuses = Statuses::of(log, who);
    let creations =
        log.requests.iter().filter(|r| r.is("create", Kind::Task.plural()) || r.is("create", Kind::Job.plural()));
    let created: BTreeMap<&str, _> = creations.map(|request| (request.name.as_str(), request.answered)).collect();
    let start = |(name, lives): (&String, &Vec<Life>)| {
        let (first, created) = (lives.first()?, *created.get(name.as_str())?);
        let start = millis_between(created, first.created);
        Some((start, start - statuses.millis(name, created, first.asked)))
    };
    lives.iter().filter_map(start).unzip()
}

/// How late the Pods of the tasks' retries were. The status has the time when each was due.
pub async fn of_tasks(
    (cluster, namespace): (&Cluster, &str),
    (log, who, requests): (&Log, &Who, &Requests),
    lives: &BTreeMap<String, Vec<Life>>,
) -> Result<Late> {
    let finished = finished(cluster, namespace).await?;
    let (statuses, mut late, mut all_due) = (Statuses::of(log, who), Late::default(), Vec::new());
    for (name, lives) in lives {
        for (index, pair) in lives.windows(2).enumerate() {
            let (ended, pod) = (&pair[0], &pair[1]);
            let Wait { began, due } = requests.wait_after(name, &ended.name)?;
            late.lag.push(millis_between(due, pod.created));
            late.lag_by_audit.push(millis_between(due, pod.asked) - statuses.millis(name, due, pod.asked));
            late.own_lag.push(requests.own_lag(name, due, pod.asked)?);
            let at = finished.get(name).and_then(|finished| finished.get(index));
            if let Some(report) = at.and_then(|at| ended.reports.iter().find(|report| *report >= at)) {
                late.until_wait.push(millis_between(*report, began));
            }
            all_due.push(due);
        }
    }
    let first = all_due.iter().min().copied();
    late.due_after =
        all_due.iter().zip(first.iter().cycle()).map(|(due, first)| millis_between(*first, *due)).collect();
    Ok(late)
}

/// How late the Pods of the Jobs' retries were. Each was due one back-off after the end of the Pod before it, in whole
/// seconds.
pub async fn of_jobs((cluster, namespace): (&Cluster, &str), lives: &BTreeMap<String, Vec<Life>>) -> Result<Late> {
    let ends = ends(cluster, namespace).await?;
    let lag = |(index, pair): (usize, &[Life])| {
        let name = &pair[0].name;
        let ended =
            ends.get(name).copied().flatten().with_context(|| format!("the Pod {name} does not say when it ended"))?;
        Ok(millis_between(ended + job_wait(index + 1), pair[1].created))
    };
    let lag = lives.values().flat_map(|lives| lives.windows(2).enumerate().map(lag)).collect::<Result<_>>()?;
    Ok(Late { lag, ..Late::default() })
}

/// How late each task's only Pod was, in milliseconds, from the times when they were due.
pub fn of_only_pods(log: &Log, who: &Who, due: &BTreeMap<String, Timestamp>) -> Result<Vec<f64>> {
    let lives = lives(log, who, None)?;
    let lag = |(name, lives): (&String, &Vec<Life>)| Some(millis_between(*due.get(name)?, lives.first()?.created));
    Ok(lives.iter().filter_map(lag).collect())
}
