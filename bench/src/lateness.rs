//! How late a Pod comes: after its task, and after it was due.

use crate::audit::{Log, Request, Who, millis_between};
use crate::cluster::Cluster;
use crate::pods::{Life, lives};
use crate::work::{JOB_BACKOFF_SECONDS, Kind};
use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use retryable_tasks::api::{HistoryEntry, RetryableTask};
use serde::Serialize;
use std::collections::BTreeMap;

/// How late, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Late {
    /// Until the Pod was created.
    pub lag: Vec<f64>,
    /// Without what the API server took for the creation, and for the status in between.
    pub own_lag: Vec<f64>,
}

impl Late {
    fn push(&mut self, due: Timestamp, pod: &Life, statuses: &Statuses, task: &str) {
        self.lag.push(millis_between(due, pod.created));
        self.own_lag.push(millis_between(due, pod.asked) - statuses.millis(task, due, pod.asked));
    }
}

/// What an operator goes by before a further attempt, as the history of the task tells.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// When the attempt before it ended by its node's clock, cut to whole seconds.
    finished: Timestamp,
    delay: SignedDuration,
}

impl Wait {
    /// When the next attempt is due if its end was reported at `reported`: the operator counts from there, but not from
    /// later than the second after the one that the node says.
    fn due(self, reported: Timestamp) -> Timestamp {
        reported.min(self.finished + SignedDuration::from_secs(1)) + self.delay
    }
}

/// The waits before each further attempt of the tasks.
async fn waits(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, Vec<Wait>>> {
    let tasks: Api<RetryableTask> = Api::namespaced(cluster.client.clone(), namespace);
    let waits = |task: &RetryableTask| {
        let history = task.status.iter().flat_map(|status| &status.history);
        let wait = |entry: &HistoryEntry| {
            let delay = SignedDuration::from_millis(entry.delay_milliseconds?);
            Some(Wait { finished: entry.finish_time.as_ref()?.0, delay })
        };
        history.filter_map(|entry| wait(entry)).collect()
    };
    let tasks = tasks.list(&kube::api::ListParams::default()).await?.items;
    Ok(tasks.iter().map(|task| (task.name_any(), waits(task))).collect())
}

/// Replaces the ends by those that the Job controller goes by: the Pods' own words, in whole seconds.
async fn cut_ends((cluster, namespace): (&Cluster, &str), lives: &mut BTreeMap<String, Vec<Life>>) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
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

    /// How much of the time between the two the API server took for them, in milliseconds.
    fn millis(&self, task: &str, from: Timestamp, to: Timestamp) -> f64 {
        let writes = self.0.get(task).into_iter().flatten();
        writes.map(|write| millis_between(write.received.max(from), write.answered.min(to)).max(0.0)).sum()
    }
}

/// From the creation of each task or Job to that of its first Pod, in milliseconds; and the same without what the API
/// server took for the status in between, which Job does not write.
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

/// How late the Pods of retries were; and when each was due, in milliseconds after the first of them.
pub async fn retries(
    (cluster, namespace, kind): (&Cluster, &str, Kind),
    (log, who): (&Log, &Who),
    mut lives: BTreeMap<String, Vec<Life>>,
) -> Result<(Late, Vec<f64>)> {
    let waits = match kind {
        Kind::Task => waits(cluster, namespace).await?,
        Kind::Job => BTreeMap::new(),
    };
    if kind == Kind::Job {
        cut_ends((cluster, namespace), &mut lives).await?;
    }
    let (statuses, mut late, mut all_due) = (Statuses::of(log, who), Late::default(), Vec::new());
    for (name, lives) in &lives {
        for (index, pair) in lives.windows(2).enumerate() {
            let Some(ended) = pair[0].ended else { continue };
            let due = match kind {
                Kind::Task => waits.get(name).and_then(|waits| waits.get(index)).map(|wait| wait.due(ended)),
                Kind::Job => Some(ended + job_wait(index + 1)),
            };
            let Some(due) = due else { continue };
            late.push(due, &pair[1], &statuses, name);
            all_due.push(due);
        }
    }
    let first = all_due.iter().min().copied();
    let due_after = all_due.iter().zip(first.iter().cycle()).map(|(due, first)| millis_between(*first, *due));
    Ok((late, due_after.collect()))
}

/// How late each task's only Pod was, given when it was due.
pub fn of_only_pods(log: &Log, who: &Who, due: &BTreeMap<String, Timestamp>) -> Result<Late> {
    let (statuses, mut late) = (Statuses::of(log, who), Late::default());
    for (name, lives) in &lives(log, who, None)? {
        if let (Some(pod), Some(due)) = (lives.first(), due.get(name)) {
            late.push(*due, pod, &statuses, name);
        }
    }
    Ok(late)
}
