//! Frees Pods from the operator's finalizer, for the day it is uninstalled.
//!
//! An attempt's Pod waits at its deletion until the operator has written its outcome down. Without an operator it would
//! wait for ever, and its namespace with it. So the operator is stopped first, or it would go on making such Pods, and
//! then every Pod of a task loses the finalizer.

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
/// Pods that are freed at the same time.
const CONCURRENCY: usize = 16;
/// How often a request is sent that fails for reasons that may pass.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What to free, and what to stop before.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces to look in; all if empty.
    pub namespaces: Vec<String>,
    /// The operator's Deployment. It is scaled to zero before, and its Pods are waited for.
    pub deployment: Option<OperatorDeployment>,
    /// The time for everything; it may be exceeded by the last request.
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

/// Why Pods may still carry the finalizer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Deployment could not be scaled.
    #[error("cannot scale the deployment {namespace}/{name} to 0: {}", describe(source))]
    Scale {
        /// The Deployment's namespace.
        namespace: String,
        /// The Deployment's name.
        name: String,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// The Deployment does not say which Pods are its own.
    #[error("the deployment {namespace}/{name} reports no selector, so its Pods cannot be waited for")]
    NoSelector {
        /// The Deployment's namespace.
        namespace: String,
        /// The Deployment's name.
        name: String,
    },
    /// The operator's Pods did not end in time. Nothing was freed.
    #[error("the operator still runs after {} s: {left}", .waited.as_secs())]
    StillRunning {
        /// The names of the Pods, or the error that kept them from being read.
        left: String,
        /// How long they were waited for.
        waited: Duration,
    },
    /// Some Pods, or all of a namespace, could not be freed.
    #[error("freed {released} Pods, but {} failed; the first: {}", failures.len(), failures.first().map_or("", String::as_str))]
    Left {
        /// Pods that were freed.
        released: usize,
        /// What failed: a Pod or a namespace, and why.
        failures: Vec<String>,
    },
}

/// Stops the operator if asked to, then removes its finalizer, and no other, from the Pods of all tasks; returns how
/// many were freed. A failure at one Pod does not keep the others.
///
/// # Errors
/// When the operator could not be stopped, in which case nothing was freed, or when any Pod may still be held. The call
/// can be repeated.
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
        let held = held_pods(&api, deadline).await.unwrap_or_else(|error| {
            failures.push(format!("cannot list the Pods of {place}: {}", describe(&error)));
            Vec::new()
        });
        let mut results =
            stream::iter(held.iter().map(|pod| free(&client, pod, deadline))).buffer_unordered(CONCURRENCY);
        while let Some(result) = results.next().await {
            match result {
                Ok(freed) => released += usize::from(freed),
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

/// Scales the Deployment to zero and waits until none of its Pods can act any more.
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
            info!(deployment = name, namespace, "no such deployment: nothing to stop");
            return Ok(());
        };
        // An evicted Pod has ended but stays around; nobody deletes it when the Deployment shrinks.
        let acting =
            ListParams::default().labels(&scaled.selector).fields("status.phase!=Succeeded,status.phase!=Failed");
        let left = match pods.list_metadata(&acting).await {
            Ok(list) if list.items.is_empty() && scaled.replicas == 0 => return Ok(()),
            Ok(list) if list.items.is_empty() => format!("{} replicas", scaled.replicas),
            Ok(list) => list.items.iter().map(PartialObjectMeta::name_any).collect::<Vec<_>>().join(", "),
            Err(error) => describe(&error),
        };
        info!(deployment = name, namespace, left, "scaled to 0, waiting for the operator to end");
        if Instant::now() + pause > deadline {
            return Err(Error::StillRunning { left, waited: begin.elapsed() });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What the Deployment says when it has been told to have no replicas.
#[derive(Debug)]
struct Scaled {
    selector: String,
    /// How many it still has. Without this a Pod that is just being replaced would not be seen.
    replicas: i32,
}

/// Sets the replicas to zero, which changes nothing where they are; `None` if there is no such Deployment.
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

/// A Pod that carries the finalizer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HeldPod {
    namespace: String,
    name: String,
    uid: String,
}

/// All Pods that `api` shows and that carry the finalizer.
async fn held_pods(api: &Api<Pod>, deadline: Instant) -> Result<Vec<HeldPod>, kube::Error> {
    let first = ListParams::default().labels(LABEL_TASK_UID).limit(PAGE);
    let mut page = first.clone();
    let mut held = Vec::new();
    loop {
        let list = match retried(deadline, || api.list_metadata(&page)).await {
            // The place in the list was forgotten by the server.
            Err(error) if has_code(&error, 410) && page.continue_token.is_some() && Instant::now() < deadline => {
                held.clear();
                page = first.clone();
                continue;
            }
            list => list?,
        };
        let holds = |pod: &&PartialObjectMeta<Pod>| pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        held.extend(list.items.iter().filter(holds).map(|pod| HeldPod {
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

/// Removes the finalizer from one Pod; false if the Pod is gone.
async fn free(client: &Client, pod: &HeldPod, deadline: Instant) -> Result<bool, String> {
    let HeldPod { namespace, name, uid } = pod;
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (params, patch) = (PatchParams::default(), finalizer::removal(uid));
    let failure = |error: &kube::Error| Err(format!("{namespace}/{name}: {}", describe(error)));
    match retried(deadline, || api.patch_metadata(name, &params, &patch)).await {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, 404) => Ok(false),
        // Another Pod of the same name, or other writers that came in between each time: only a look can tell.
        Err(error) if has_code(&error, 409) => match retried(deadline, || api.get_metadata_opt(name)).await {
            Ok(found) if found.as_ref().and_then(|found| found.metadata.uid.as_ref()) != Some(uid) => Ok(false),
            Ok(_) => failure(&error),
            Err(error) => failure(&error),
        },
        Err(error) => failure(&error),
    }
}

/// Sends a request again, at growing intervals, while it fails for reasons that may pass.
async fn retried<T, F>(deadline: Instant, mut request: impl FnMut() -> F) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        let next = Instant::now() + pause;
        match request().await {
            Err(error) if may_pass(&error) && next < deadline => sleep_until(next).await,
            result => return result,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    request().await
}

fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 409 | 429) || status.code >= 500,
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}

/// An error in the server's own words where it has any.
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
