//! Why a Pod's main container has not started.

use super::pod_status::{PodView, has_run, plain};
use super::{HoldUp, Progress, SCHEDULING_GATED, Stage};
use crate::core::message;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};

impl PodView<'_> {
    pub(super) fn hold_up(&self) -> Option<HoldUp> {
        let waiting =
            self.all_statuses().filter_map(|status| status.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
                let reason = waiting.reason.as_deref();
                Some(HoldUp {
                    reason: plain(reason.filter(|r| !matches!(*r, "ContainerCreating" | "PodInitializing")))?,
                    message: waiting.message.as_deref().and_then(message::stored),
                })
            });
        waiting.or_else(|| self.held_by_gates()).or_else(|| {
            let condition = self.condition("PodScheduled").filter(|c| c.status == "False")?;
            Some(HoldUp {
                reason: plain(condition.reason.as_deref()).unwrap_or_else(|| "Unschedulable".into()),
                message: condition.message.as_deref().and_then(message::stored),
            })
        })
    }

    /// The names of the gates that hold the Pod back.
    pub(super) fn gates(&self) -> impl Iterator<Item = &str> {
        self.spec.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str())
    }

    fn held_by_gates(&self) -> Option<HoldUp> {
        let names: Vec<&str> = self.gates().collect();
        let message = format!("the Pod waits for its scheduling gates to be removed: {}", names.join(", "));
        (!names.is_empty()).then(|| HoldUp { reason: SCHEDULING_GATED.into(), message: message::stored(&message) })
    }

    /// The stage of a Pod whose main container has not started and whose status names no problem.
    pub(super) fn stage(&self) -> Option<Stage> {
        if self.progress() != Progress::Pending(None) {
            return None;
        }
        let stage = |reason: &str, message: String, init_runs| {
            let hold_up = HoldUp { reason: reason.into(), message: message::stored(&message) };
            Some(Stage { hold_up, init_runs })
        };
        let node = self.spec.node_name.as_deref().unwrap_or_default();
        if node.is_empty() {
            return stage("Unscheduled", "no node has been assigned to the Pod".into(), false);
        }
        if let Some(status) = self.init_statuses().find(|status| !self.is_passed(status)) {
            let (name, sidecar) = (&status.name, self.is_native_sidecar(&status.name));
            let (message, init_runs) = match status.state.as_ref() {
                Some(ContainerState { running: Some(_), .. }) if sidecar => {
                    (format!("sidecar {name} runs, and its startup probe has not succeeded"), false)
                }
                Some(ContainerState { running: Some(_), .. }) => (format!("init container {name} is running"), true),
                Some(ContainerState { terminated: Some(end), .. }) => {
                    (format!("init container {name} ended with exit code {}", end.exit_code), false)
                }
                _ => (format!("init container {name} is being created on node {node}"), false),
            };
            return stage("PodInitializing", message, init_runs);
        }
        let main = self.main_name();
        let mut deciding = self.spec.containers.iter().map(|container| container.name.as_str());
        let waits = |name: &&str| (self.all_decide() || *name == main) && !self.status_of(name).is_some_and(has_run);
        let name = deciding.find(waits).unwrap_or(main);
        let message = match self.status_of(name) {
            Some(_) => format!("container {name} is being created on node {node}"),
            None => format!("the kubelet of node {node} has not reported on container {name}"),
        };
        stage("ContainerCreating", message, false)
    }

    /// Whether the containers after this init container may start.
    fn is_passed(&self, status: &ContainerStatus) -> bool {
        if self.is_native_sidecar(&status.name) {
            return status.started == Some(true);
        }
        let end = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        end.is_some_and(|end| end.exit_code == 0)
    }
}
