//! Removes the operator's finalizer from all Pods, before an uninstall.
//!
//! The finalizer keeps a deleted Pod until the operator has recorded how its attempt ended. Without an operator the Pod
//! would stay for ever, and its namespace too. The operator is stopped first, since it would create more such Pods.

use super::finalizer;
use crate::api::{FINALIZER, LABEL_TASK_UID};
use std::{future::Future, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

/// Pods that are read with one request.
const PAGE: u32 = 500;
/// Pods that are patched at the same time.
const CONCURRENCY: usize = 16;
/// How often a request is sent whose failure may be temporary.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Which Pods, and which operator to stop first.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces of the Pods; all if empty.
    pub namespaces: Vec<String>,
    /// The operator's Deployment. It is scaled to zero, and its Pods must have ended first.
    pub deployment: Option<OperatorDeployment>,
    /// The time for everything. The last request may exceed it.
    pub timeout: Duration,
}

/// Where the operator runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorDeployment {
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
}

/// Why Pods may still have the finalizer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Deployment could not be scaled.
    #[error("cannot scale the Deployment {namespace}/{name} to 0: {}", describe(source))]
    Scale {
        /// The Deployment's namespace.
        namespace: String,
        /// The Deployment's name.
        name: String,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// The Deployment has no selector for its Pods.
    #[error("the Deployment {namespace}/{name} has no selector, so it is unknown which Pods must end first")]
    NoSelector {
        /// The Deployment's namespace.
        namespace: String,
        /// The Deployment's name.
        name: String,
    },
    /// The operator's Pods did not end in time. No finalizer was removed.
    #[error("the operator still runs after {} s: {left}", .waited.as_secs())]
    StillRunning {
        /// The names of the Pods, or the error of the list.
        left: String,
        /// How long it took.
        waited: Duration,
    },
    /// Some Pods, or all of a namespace, may still have the finalizer.
    #[error("removed the finalizer from {released} Pods, but {} failed; the first: {}", failures.len(), failures.first().map_or("", String::as_str))]
    Left {
        /// Pods without the finalizer now.
        released: usize,
        /// Each Pod or namespace that failed, and why.
        failures: Vec<String>,
    },
}

/// Stops the operator if asked to, then removes its finalizer, and no other, from the Pods of all tasks. Returns the
/// number of Pods. A failure at one Pod does not stop the rest.
///
/// # Errors
/// When the operator could not be stopped: then no finalizer was removed. When any Pod may still have the finalizer. The
/// call can be repeated.
pub async fn remove_finalizers(client: Client, options: &Options) -> Result<usize, Error> {
    let begin = Instant::now();
    let deadline = begin + options.timeout;
    if let Some(deployment) = &options.deployment {
        stop(&client, deployment, begin, deadline).await?;
    }
    let apis: Vec<(String, Api<Pod>)> = if options.namespaces.is_empty() {
        vec![("all namespaces".to_owned(), Api::all(client.clone()))]
    } else {
        let api = |namespace: &String| (namespace.clone(), Api::namespaced(client.clone(), namespace));
        options.namespaces.iter().map(api).collect()
    };
    let mut released = 0;
    let mut failures = Vec::new();
    for (place, api) in apis {
        let held = list_pods(&api, deadline).await.unwrap_or_else(|error| {
            failures.push(format!("cannot list the Pods of {place}: {}", describe(&error)));
            Vec::new()
        });
        let mut results =
            stream::iter(held.iter().map(|pod| remove_finalizer(&client, pod, deadline))).buffer_unordered(CONCURRENCY);
        while let Some(result) = results.next().await {
            match result {
                Ok(removed) => released += usize::from(removed),
                Err(failure) => failures.push(failure),
            }
        }
    }
    for failure in &failures {
        warn!("{failure}");
    }
    info!(released, failed = failures.len(), "finalizers removed");
    if failures.is_empty() { Ok(released) } else { Err(Error::Left { released, failures }) }
}

/// Scales the Deployment to zero and waits until its Pods have ended.
async fn stop(
    client: &Client,
    deployment: &OperatorDeployment,
    begin: Instant,
    deadline: Instant,
) -> Result<(), Error> {
    let OperatorDeployment { namespace, name } = deployment;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(scaled) = scale_to_zero(client, deployment, deadline).await? else {
            info!(deployment = name, namespace, "no such Deployment: nothing to stop");
            return Ok(());
        };
        // An evicted Pod has ended but stays: scaling down does not delete it.
        let running =
            ListParams::default().labels(&scaled.selector).fields("status.phase!=Succeeded,status.phase!=Failed");
        let left = match pods.list_metadata(&running).await {
            Ok(list) if list.items.is_empty() && scaled.replicas == 0 => return Ok(()),
            Ok(list) if list.items.is_empty() => format!("{} replicas", scaled.replicas),
            Ok(list) => list.items.iter().map(PartialObjectMeta::name_any).collect::<Vec<_>>().join(", "),
            Err(error) => describe(&error),
        };
        info!(deployment = name, namespace, left, "scaled to 0; waiting for the operator's Pods to end");
        if Instant::now() + pause > deadline {
            return Err(Error::StillRunning { left, waited: begin.elapsed() });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The Deployment's scale after it was set to zero.
#[derive(Debug)]
struct Scaled {
    selector: String,
    /// How many it still has. Counts a Pod that is just being replaced and is in no list.
    replicas: i32,
}

/// Sets the replicas to zero, which is no change if they are. `None` if there is no such Deployment.
async fn scale_to_zero(
    client: &Client,
    deployment: &OperatorDeployment,
    deadline: Instant,
) -> Result<Option<Scaled>, Error> {
    let OperatorDeployment { namespace, name } = deployment.clone();
    let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let (params, zero) = (PatchParams::default(), Patch::Merge(json!({"spec": {"replicas": 0}})));
    let status = match retried(deadline, || api.patch_scale(&name, &params, &zero)).await {
        Ok(scale) => scale.status.unwrap_or_default(),
        Err(error) if has_code(&error, 404) => return Ok(None),
        Err(source) => return Err(Error::Scale { namespace, name, source: Box::new(source) }),
    };
    match status.selector.filter(|selector| !selector.is_empty()) {
        Some(selector) => Ok(Some(Scaled { selector, replicas: status.replicas })),
        None => Err(Error::NoSelector { namespace, name }),
    }
}

/// A Pod that has the finalizer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PodWithFinalizer {
    namespace: String,
    name: String,
    uid: String,
}

/// All Pods of `api` that have the finalizer.
async fn list_pods(api: &Api<Pod>, deadline: Instant) -> Result<Vec<PodWithFinalizer>, kube::Error> {
    let first = ListParams::default().labels(LABEL_TASK_UID).limit(PAGE);
    let mut page = first.clone();
    let mut held = Vec::new();
    loop {
        let list = match retried(deadline, || api.list_metadata(&page)).await {
            // The server has forgotten where the list was: start again.
            Err(error) if has_code(&error, 410) && page.continue_token.is_some() && Instant::now() < deadline => {
                held.clear();
                page = first.clone();
                continue;
            }
            list => list?,
        };
        let holds = |pod: &&PartialObjectMeta<Pod>| pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        held.extend(list.items.iter().filter(holds).map(|pod| PodWithFinalizer {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
        }));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(held),
        }
    }
}

/// Removes the finalizer from one Pod. False if the Pod is deleted.
async fn remove_finalizer(client: &Client, pod: &PodWithFinalizer, deadline: Instant) -> Result<bool, String> {
    let PodWithFinalizer { namespace, name, uid } = pod;
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (params, patch) = (PatchParams::default(), finalizer::removal(uid));
    let failure = |error: &kube::Error| Err(format!("{namespace}/{name}: {}", describe(error)));
    match retried(deadline, || api.patch_metadata(name, &params, &patch)).await {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, 404) => Ok(false),
        // Another Pod has the name now, or others write at the same time. A read tells which.
        Err(error) if has_code(&error, 409) => match retried(deadline, || api.get_metadata_opt(name)).await {
            Ok(found) if found.as_ref().and_then(|found| found.metadata.uid.as_ref()) != Some(uid) => Ok(false),
            Ok(_) => failure(&error),
            Err(error) => failure(&error),
        },
        Err(error) => failure(&error),
    }
}

/// Repeats a request, at growing intervals, while its failure may be temporary.
async fn retried<T, F>(deadline: Instant, mut request: impl FnMut() -> F) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        let next = Instant::now() + pause;
        match request().await {
            Err(error) if is_temporary(&error) && next < deadline => sleep_until(next).await,
            result => return result,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    request().await
}

fn is_temporary(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 409 | 429) || status.code >= 500,
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}

/// The server's message, if it answered.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        error => error.to_string(),
    }
}

fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests;
