//! What the scheduler and the kubelet write to the API server about a Pod.

use super::super::{
    ended,
    status::{phase, statuses, with_condition},
};
use super::PodRun;
use crate::server::{Actor, Key, Resource, Verb};
use serde_json::{Value, json};

impl PodRun {
    pub(super) fn bind(&self) {
        let Some(pod) = self.pod() else { return };
        let conditions = with_condition(&pod, "PodScheduled", true, "", self.now());
        let node = json!({"spec": {"nodeName": "node-1"}});
        self.server.lock().write(Actor::Scheduler, Verb::Patch, &self.key, node, false);
        self.set_status(Actor::Scheduler, &json!({"conditions": conditions}));
    }

    /// Reports the containers' states, and these fields of the status.
    pub(super) fn report(&self, mut status: Value) {
        let Some(pod) = self.pod().filter(|pod| !ended(pod)) else { return };
        let now = self.now();
        if status["phase"].is_null() {
            status["phase"] = json!(phase(&self.containers));
        }
        let runs = status["phase"] == "Running" && self.containers[self.main].1.running_since().is_some();
        let mut known = (*pod).clone();
        if status["conditions"].is_array() {
            known["status"]["conditions"] = status["conditions"].take();
        }
        status["conditions"] = with_condition(&known, "Ready", runs, if runs { "" } else { "ContainersNotReady" }, now);
        if pod["status"]["startTime"].is_null() {
            status["startTime"] = json!(crate::server::stamp(now));
        }
        if matches!(status["reason"].as_str(), None | Some("Evicted" | "DeadlineExceeded")) {
            status["containerStatuses"] = statuses(&self.containers);
            if !self.init.is_empty() {
                status["initContainerStatuses"] = statuses(&self.init);
            }
        }
        self.set_status(Actor::Kubelet, &status);
    }

    /// The last report. If the deadline has passed by then, the Pod has failed because of it, however its containers
    /// ended. If the Pod is being deleted, the kubelet removes the object.
    pub(super) fn report_end(&self, mut status: Value) {
        let deadline = self.pod().and_then(|pod| self.deadline(&pod));
        if status["reason"].is_null() && deadline.is_some_and(|left| left.is_zero()) {
            status["phase"] = json!("Failed");
            status["reason"] = json!("DeadlineExceeded");
            status["message"] = json!("Pod was active on the node longer than the specified deadline");
        }
        self.report(status);
        if self.pod().is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_string()) {
            self.remove(Actor::Kubelet);
        }
    }

    /// Reports by an Event, and not in the status, that a volume cannot be mounted.
    pub(super) fn warn(&self) {
        let name = format!("{}.warning", self.key.name);
        let key = Key::new(Resource::ClusterEvents, self.key.namespace.clone(), &*name);
        let now = crate::server::stamp(self.now());
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": self.key.namespace},
            "involvedObject": {"kind": "Pod", "uid": self.uid}, "type": "Warning", "reason": "FailedMount",
            "message": "MountVolume.SetUp failed for volume \"data\"", "firstTimestamp": now, "lastTimestamp": now});
        self.server.lock().write(Actor::Kubelet, Verb::Create, &key, event, false);
    }

    /// Deletes the object without grace.
    pub(super) fn remove(&self, actor: Actor) {
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}});
        self.server.lock().write(actor, Verb::Delete, &self.key, options, false);
    }

    pub(super) fn set_status(&self, actor: Actor, status: &Value) {
        if self.pod().is_some() {
            self.server.lock().write(actor, Verb::Patch, &self.key, json!({"status": status}), true);
        }
    }
}
