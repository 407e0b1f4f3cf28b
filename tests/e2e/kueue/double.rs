//! What Kueue does to Pods, with a quota of one: it takes the gate from one at a time, those of a higher priority first, and
//! stops one for another of a higher priority.

use super::{GATE, PREEMPTED, PRIORITY, QUEUE};
use crate::support::Scene;
use crate::support::wait::INTERVAL;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// It ends with this value.
pub struct Double(JoinHandle<()>);

impl Double {
    /// For the Pods of the scene.
    pub fn start(scene: &Scene) -> Self {
        let pods = scene.pods();
        Self(tokio::spawn(async move {
            loop {
                // What has changed in between is looked at again.
                let _ = turn(&pods).await;
                tokio::time::sleep(INTERVAL).await;
            }
        }))
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn turn(pods: &Api<Pod>) -> kube::Result<()> {
    let mut all = pods.list(&ListParams::default().labels(QUEUE)).await?.items;
    all.retain(|pod| !has_ended(pod));
    all.sort_by_key(|pod| (std::cmp::Reverse(is_urgent(pod)), pod.creation_timestamp()));
    let Some(next) = all.iter().find(|pod| is_gated(pod)) else { return Ok(()) };
    match all.iter().find(|pod| !is_gated(pod)) {
        None => patch(pods, next, json!({"spec": {"schedulingGates": null}})).await,
        Some(admitted) if is_urgent(next) && !is_urgent(admitted) => {
            let condition = json!({"type": "TerminationTarget", "status": "True", "reason": PREEMPTED,
                "message": "Preempted to accommodate a workload"});
            let status = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
            let name = admitted.name_any();
            pods.patch_subresource("status", &name, &PatchParams::default(), &status).await?;
            pods.delete(&name, &DeleteParams::default()).await.map(drop)
        }
        Some(_) => Ok(()),
    }
}

async fn patch(pods: &Api<Pod>, pod: &Pod, patch: Value) -> kube::Result<()> {
    pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) || is_gated(pod) && pod.metadata.deletion_timestamp.is_some()
}

fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| gates.iter().any(|gate| gate.name == GATE))
}

fn is_urgent(pod: &Pod) -> bool {
    pod.labels().contains_key(PRIORITY)
}
