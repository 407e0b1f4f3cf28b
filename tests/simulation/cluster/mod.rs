//! The rest of the cluster: scheduler, kubelets, the Pod garbage collector, and users who disrupt Pods.

mod fate;
mod kubelet;
mod status;

pub use fate::{DeadNode, Disruption, Ending, Fate, Odds};
pub use kubelet::Truths;

use crate::server::{Actor, Key, Server, Verb};
use kubelet::PodRun;
use serde_json::{Value, json};
use std::time::Duration;

/// Runs every Pod that is created, for as long as the world exists.
pub async fn run_pods(server: Server, seed: u64, odds: Odds, truths: Truths) {
    let mut new_pods = server.lock().store.new_pods();
    while let Some(key) = new_pods.recv().await {
        let name = format!("{}/{}", key.namespace, key.name);
        let now = server.lock().store.clock.elapsed();
        let fate = Fate::of(seed, &name, &odds).at(seed, &name, &odds, now);
        let Some(run) = PodRun::new(server.clone(), key, fate.clone(), truths.clone()) else { continue };
        if let Some((after, disruption)) = fate.disruption {
            tokio::spawn(disrupt(server.clone(), run.key().clone(), run.uid().to_string(), after, disruption));
        }
        tokio::spawn(run.run());
    }
}

/// Disrupts a Pod after this time, if it still exists.
async fn disrupt(server: Server, key: Key, uid: String, after: Duration, disruption: Disruption) {
    tokio::time::sleep(after).await;
    let mut state = server.lock();
    let Some(pod) = state.store.get(&key).filter(|pod| pod["metadata"]["uid"] == uid).cloned() else { return };
    let scheduled = pod["spec"]["nodeName"].is_string();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let reason = match disruption {
        Disruption::Preempted => "PreemptionByScheduler",
        Disruption::Drained => "EvictionByEvictionAPI",
        Disruption::Tainted => "DeletionByTaintManager",
        Disruption::Deleted | Disruption::Forced => "",
    };
    let actor = if reason.is_empty() { Actor::User } else { Actor::Manager };
    if !reason.is_empty() && (!scheduled || ended) {
        return;
    }
    if !reason.is_empty() {
        let now = state.store.clock.now();
        let conditions = status::with_condition(&pod, "DisruptionTarget", true, reason, now);
        state.write(actor, Verb::Patch, &key, json!({"status": {"conditions": conditions}}), true);
    }
    let mut options = json!({"preconditions": {"uid": uid}});
    if disruption == Disruption::Forced {
        options["gracePeriodSeconds"] = json!(0);
    }
    state.write(actor, Verb::Delete, &key, options, false);
}

/// Whether the Pod has ended.
fn ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
