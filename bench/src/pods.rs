//! Which Pod was created when. The API server generates the names of a Job's Pods, so the audit log of their creation
//! has none. The order of resource versions, which a watch shows, tells which creation made which Pod.

use crate::audit::{Log, Request, Who};
use anyhow::{Result, ensure};
use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PartialObjectMeta;
use kube::{Api, Client};
use kube_runtime::watcher::{Config, Event, watcher};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Watches the Pods of a namespace until it is dropped.
pub struct Watch {
    first: Arc<Mutex<BTreeMap<u64, String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    pub fn new(client: &Client, namespace: &str) -> Self {
        let first: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
        let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), namespace);
        let keep = first.clone();
        let task = tokio::spawn(async move {
            let mut known = HashSet::new();
            let mut take = |event: Event<PartialObjectMeta<Pod>>| {
                if let Event::Apply(pod) | Event::InitApply(pod) = event {
                    let (Some(name), Some(version)) = (pod.metadata.name, pod.metadata.resource_version) else {
                        return;
                    };
                    if known.insert(name.clone()) {
                        let version = version.parse().unwrap_or(0);
                        keep.lock().unwrap_or_else(PoisonError::into_inner).insert(version, name);
                    }
                }
            };
            let watch = watcher(pods, Config::default());
            // It runs until the benchmark ends, and retries after an error.
            let mut watch = std::pin::pin!(watch);
            loop {
                match watch.try_next().await {
                    Ok(Some(event)) => take(event),
                    Ok(None) => return,
                    Err(error) => eprintln!("the watch of Pods: {error}"),
                }
            }
        });
        Self { first, task }
    }

    /// The names in the order of their creation.
    fn names(&self) -> Vec<String> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The times of one Pod, from the audit log.
#[derive(Clone, Debug)]
pub struct Life {
    pub name: String,
    /// When the API server received the request to create it.
    pub asked: Timestamp,
    /// When it was created.
    pub created: Timestamp,
    /// When its node reported that it runs and that it has ended. Under load a node may report the same again.
    pub reports: Vec<Timestamp>,
}

/// The Pods of `who` by the name of their task or Job, in the order of their creation. Fails if the watch has not shown
/// as many Pods as were created: then they cannot be told apart.
pub fn lives(log: &Log, who: &Who, watch: Option<&Watch>) -> Result<BTreeMap<String, Vec<Life>>> {
    let mut reports: HashMap<&str, Vec<Timestamp>> = HashMap::new();
    for report in log.requests.iter().filter(|request| request.who == Who::Nodes && request.is("patch", "pods/status"))
    {
        reports.entry(&report.name).or_default().push(report.answered);
    }
    let mut creations: Vec<&Request> =
        log.requests.iter().filter(|request| request.who == *who && request.is("create", "pods")).collect();
    creations.sort_by_key(|request| request.answered);
    let names: Vec<String> = match watch {
        Some(watch) => watch.names(),
        None => creations.iter().map(|request| request.name.clone()).collect(),
    };
    ensure!(names.len() == creations.len(), "{} Pods were created and {} seen", creations.len(), names.len());
    let mut lives: BTreeMap<String, Vec<Life>> = BTreeMap::new();
    for (creation, name) in creations.iter().zip(&names) {
        let reports = reports.remove(name.as_str()).unwrap_or_default();
        let life = Life { name: name.clone(), asked: creation.received, created: creation.answered, reports };
        lives.entry(owner(name).to_owned()).or_default().push(life);
    }
    Ok(lives)
}

/// `work-00001` of `work-00001-x7k2p` and of `work-00001-6gtn8h-2`.
fn owner(pod: &str) -> &str {
    pod.match_indices('-').nth(1).map_or(pod, |(at, _)| &pod[..at])
}
