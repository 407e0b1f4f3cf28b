//! Reads a Pod's status: its containers, how far it is, and when it started.

use super::Progress;
use crate::api::{ANNOTATION_COMPLETION, Completion, MAIN_CONTAINER};
use crate::core::main_container::DEFAULT_CONTAINER;
use crate::core::message;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// The API server's default of `terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A Pod, with its spec and its status at hand.
pub(super) struct PodView<'a> {
    pub(super) pod: &'a Pod,
    pub(super) spec: &'a PodSpec,
    pub(super) status: &'a PodStatus,
}

impl<'a> PodView<'a> {
    pub(super) fn progress(&self) -> Progress {
        let never_bound = self.spec.node_name.as_deref().unwrap_or_default().is_empty();
        match self.status.phase.as_deref() {
            Some("Failed") if self.awaits_ends() => Progress::Running,
            Some("Succeeded" | "Failed") => Progress::Ended(self.outcome()),
            // A Pod that is deleted before it has a node has no kubelet that would end it.
            _ if self.pod.metadata.deletion_timestamp.is_some() && never_bound => Progress::Ended(self.outcome()),
            // An empty container state means waiting, by the API's convention.
            _ if !self.deciding().iter().all(|status| status.is_some_and(has_run)) => Progress::Pending(self.hold_up()),
            _ if self.still_running().is_empty() => Progress::Running,
            _ => Progress::MainContainerExited(self.outcome()),
        }
    }

    /// Whether the kubelet has failed the Pod and not yet reported how a container that decides ended: its exit code and
    /// message are still to come. A Pod that is being deleted has a bound of its own.
    fn awaits_ends(&self) -> bool {
        let failed_by_kubelet =
            self.pod.metadata.deletion_timestamp.is_none() && plain(self.status.reason.as_deref()).is_some();
        let runs = |status: &&ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
        failed_by_kubelet && !self.is_decided() && self.deciding().iter().flatten().any(runs)
    }

    /// Whether all ordinary containers decide, instead of the main one alone.
    pub(super) fn all_decide(&self) -> bool {
        let completion = self.pod.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_COMPLETION));
        completion.is_some_and(|completion| completion == Completion::AllContainers.as_str())
    }

    /// The statuses of the containers that decide, the main one first. None for a container that the kubelet has not
    /// reported.
    pub(super) fn deciding(&self) -> Vec<Option<&'a ContainerStatus>> {
        let main = self.main_name();
        let others = self.spec.containers.iter().filter(|container| self.all_decide() && container.name != main);
        std::iter::once(main).chain(others.map(|other| other.name.as_str())).map(|name| self.status_of(name)).collect()
    }

    pub(super) fn main_name(&self) -> &'a str {
        let named = |name: &str| self.spec.containers.iter().find(|container| container.name == name);
        let annotated = self.pod.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CONTAINER));
        annotated
            .and_then(|name| named(name))
            .or_else(|| named(MAIN_CONTAINER))
            .or(self.spec.containers.first())
            .map_or(MAIN_CONTAINER, |container| container.name.as_str())
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'a str> {
        self.pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    pub(super) fn memory(&self) -> Option<String> {
        let main = self.main_name();
        let resources = self.spec.containers.iter().find(|container| container.name == main)?.resources.as_ref()?;
        let of = |amounts: &Option<BTreeMap<String, Quantity>>| Some(amounts.as_ref()?.get("memory")?.0.clone());
        of(&resources.limits).or_else(|| of(&resources.requests))
    }

    pub(super) fn status_of(&self, name: &str) -> Option<&'a ContainerStatus> {
        self.status.container_statuses.iter().flatten().find(|status| status.name == name)
    }

    pub(super) fn init_statuses(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.status.init_container_statuses.iter().flatten()
    }

    pub(super) fn all_statuses(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.init_statuses().chain(self.status.container_statuses.iter().flatten())
    }

    /// The ordinary containers that have not ended although the main one, which alone decides, has. Native sidecars do
    /// not count: the kubelet stops them.
    pub(super) fn still_running(&self) -> Vec<String> {
        let main = self.main_name();
        if self.all_decide() || self.status_of(main).and_then(end).is_none() {
            return Vec::new();
        }
        let others = self.status.container_statuses.iter().flatten().filter(|status| status.name != main);
        others.filter(|status| end(status).is_none()).filter_map(|status| plain(Some(&status.name))).collect()
    }

    /// Whether it is an init container that runs as long as the Pod (KEP-753).
    pub(super) fn is_native_sidecar(&self, name: &str) -> bool {
        let container = self.spec.init_containers.iter().flatten().find(|container| container.name == name);
        container.is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
    }

    pub(super) fn condition(&self, type_: &str) -> Option<&'a PodCondition> {
        self.status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
    }

    pub(super) fn created(&self) -> Timestamp {
        self.pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// A time in the Pod's status, but not before the Pod's creation. The runtime reports 1970 for a container that
    /// could not be started, and the node's clock may be slow.
    pub(super) fn at(&self, time: Option<&Time>) -> Option<Timestamp> {
        time.map(|time| time.0.max(self.created()))
    }

    pub(super) fn has_run(&self) -> bool {
        self.all_statuses().any(has_run)
    }

    pub(super) fn termination_grace(&self) -> SignedDuration {
        SignedDuration::from_secs(self.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS).max(0))
    }

    pub(super) fn starting(&self) -> Option<Timestamp> {
        let scheduled = self.condition("PodScheduled").filter(|c| c.status == "True").and_then(transition_time)?;
        let ordinary = self.init_statuses().filter(|status| !self.is_native_sidecar(&status.name));
        ordinary.filter_map(|status| status.state.as_ref()).try_fold(scheduled, |since, state| {
            let ended = state.terminated.as_ref().and_then(|terminated| self.at(terminated.finished_at.as_ref()));
            state.running.is_none().then(|| ended.map_or(since, |ended| since.max(ended)))
        })
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        let start = |status: &ContainerStatus| {
            let state = status.state.as_ref()?;
            let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
            let terminated = state.terminated.as_ref().and_then(|terminated| terminated.started_at.as_ref());
            self.at(running.or(terminated))
        };
        self.deciding().into_iter().flatten().filter_map(start).min()
    }
}

pub(super) fn end(status: &ContainerStatus) -> Option<(&str, &ContainerStateTerminated)> {
    Some((status.name.as_str(), status.state.as_ref()?.terminated.as_ref()?))
}

pub(super) fn has_run(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// A reason or name that others have written, sanitized and cut. None if nothing is left.
pub(super) fn plain(text: Option<&str>) -> Option<String> {
    text.map(|text| message::short(text, message::MAX_WORD_BYTES)).filter(|text| !text.is_empty())
}

fn transition_time(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}
