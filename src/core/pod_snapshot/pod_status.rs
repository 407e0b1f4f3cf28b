//! Reading a Pod's status: which container decides, how it ended, when.

use super::{
    DEADLINE_EXCEEDED, DISRUPTION_TARGET, DeletionDeadline, FORCED_DELETION_BOUND, HoldUp, LOST_NODE_BOUND, Outcome,
    PastDeadline, Progress, Stage,
};
use crate::api::{ANNOTATION_COMPLETION, Completion, EndReason, MAIN_CONTAINER};
use crate::core::known_reasons::OOM_KILLED;
use crate::core::main_container::DEFAULT_CONTAINER;
use crate::core::message;
use crate::core::termination_report::termination_report;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// The reason of a container of which the kubelet lost sight.
const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// The API server's default of `terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A Pod with its parts at hand.
pub(super) struct View<'a> {
    pub(super) pod: &'a Pod,
    pub(super) spec: &'a PodSpec,
    pub(super) status: &'a PodStatus,
}

impl<'a> View<'a> {
    pub(super) fn progress(&self) -> Progress {
        let never_bound = self.spec.node_name.as_deref().unwrap_or_default().is_empty();
        match self.status.phase.as_deref() {
            Some("Succeeded" | "Failed") => Progress::Ended(self.outcome()),
            // No kubelet will ever end a Pod that was deleted before it had a node.
            _ if self.pod.metadata.deletion_timestamp.is_some() && never_bound => Progress::Ended(self.outcome()),
            // A state that says nothing is waiting, by the API's convention.
            _ if !self.deciding().iter().all(|status| status.is_some_and(has_run)) => Progress::Pending(self.hold_up()),
            _ if self.still_running().is_empty() => Progress::Running,
            _ => Progress::MainContainerExited(self.outcome()),
        }
    }

    /// Whether all ordinary containers decide, and not the main one alone.
    fn all_decide(&self) -> bool {
        let completion = self.pod.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_COMPLETION));
        completion.is_some_and(|completion| completion == Completion::AllContainers.as_str())
    }

    /// The containers whose ends are the attempt's end, the main one first, as far as the kubelet has told of them.
    fn deciding(&self) -> Vec<Option<&'a ContainerStatus>> {
        let main = self.main_name();
        let others = self.spec.containers.iter().filter(|container| self.all_decide() && container.name != main);
        std::iter::once(main).chain(others.map(|other| other.name.as_str())).map(|name| self.status_of(name)).collect()
    }

    fn main_name(&self) -> &'a str {
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

    fn status_of(&self, name: &str) -> Option<&'a ContainerStatus> {
        self.status.container_statuses.iter().flatten().find(|status| status.name == name)
    }

    fn init_statuses(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.status.init_container_statuses.iter().flatten()
    }

    fn all_statuses(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.init_statuses().chain(self.status.container_statuses.iter().flatten())
    }

    /// The ordinary containers that have not ended although the main one, which decides, has. (A native sidecar, an init
    /// container, is stopped by the kubelet.)
    pub(super) fn still_running(&self) -> Vec<String> {
        let main = self.main_name();
        if self.all_decide() || self.status_of(main).and_then(end).is_none() {
            return Vec::new();
        }
        let others = self.status.container_statuses.iter().flatten().filter(|status| status.name != main);
        others.filter(|status| end(status).is_none()).filter_map(|status| plain(Some(&status.name))).collect()
    }

    /// An init container that runs as long as the Pod (KEP-753): its end is not the attempt's.
    fn is_native_sidecar(&self, name: &str) -> bool {
        let container = self.spec.init_containers.iter().flatten().find(|container| container.name == name);
        container.is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
    }

    fn hold_up(&self) -> Option<HoldUp> {
        let waiting =
            self.all_statuses().filter_map(|status| status.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
                let reason = waiting.reason.as_deref();
                Some(HoldUp {
                    reason: plain(reason.filter(|r| !matches!(*r, "ContainerCreating" | "PodInitializing")))?,
                    message: waiting.message.as_deref().and_then(message::stored),
                })
            });
        waiting.or_else(|| {
            let condition = self.condition("PodScheduled").filter(|c| c.status == "False")?;
            Some(HoldUp {
                reason: plain(condition.reason.as_deref()).unwrap_or_else(|| "Unschedulable".into()),
                message: condition.message.as_deref().and_then(message::stored),
            })
        })
    }

    /// How far the start is of a Pod whose main container has not started and whose status names no trouble.
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
        if let Some(status) = self.init_statuses().find(|status| !self.lets_go_on(status)) {
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
    fn lets_go_on(&self, status: &ContainerStatus) -> bool {
        if self.is_native_sidecar(&status.name) {
            return status.started == Some(true);
        }
        let end = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        end.is_some_and(|end| end.exit_code == 0)
    }

    fn true_conditions(&self) -> Vec<String> {
        let all = self.status.conditions.iter().flatten();
        all.filter(|condition| condition.status == "True").map(|condition| condition.type_.clone()).collect()
    }

    fn condition(&self, type_: &str) -> Option<&'a PodCondition> {
        self.status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
    }

    /// The end that decides: that of the container which failed first, else the main container's, else that of the init
    /// container which failed before they could start.
    fn decisive(&self) -> Option<(&'a str, &'a ContainerStateTerminated)> {
        let deciding = self.deciding().into_iter().flatten().filter_map(end);
        let failed = deciding.filter(|(_, terminated)| terminated.exit_code != 0);
        let time =
            |(_, end): &(&str, &ContainerStateTerminated)| end.finished_at.as_ref().map_or(Timestamp::MAX, |t| t.0);
        let failed_init = || {
            let ends = self.init_statuses().filter_map(end);
            ends.into_iter().find(|(name, end)| end.exit_code != 0 && !self.is_native_sidecar(name))
        };
        failed.min_by_key(time).or_else(|| self.status_of(self.main_name()).and_then(end)).or_else(failed_init)
    }

    /// Whether nothing that is still to come can change how the attempt ended.
    fn is_decided(&self) -> bool {
        let ends: Vec<_> = self.deciding().into_iter().map(|status| status.and_then(end)).collect();
        ends.iter().all(Option::is_some) || ends.iter().flatten().any(|(_, end)| end.exit_code != 0)
    }

    fn outcome(&self) -> Outcome {
        let never_started = self.never_ran();
        // What the kubelet writes of the end of a container that never ran tells nothing.
        let decisive = self.decisive().filter(|_| !never_started);
        let terminated = decisive.map(|(_, terminated)| terminated);
        let disruption = self.disruption();
        let succeeded = self.succeeded();
        let raw = terminated.and_then(|terminated| terminated.message.as_deref()).unwrap_or_default();
        let mut report = termination_report(raw, self.containers());
        let is_log = !report.is_report;
        let raw = message::full(raw);
        let (said, raw_report) = match report.message.take() {
            Some(message) => (Some(message), raw),
            None => (raw, None),
        };
        let said = match (report.unread.take(), said) {
            (Some(unread), Some(said)) if raw_report.is_some() => Some(format!("{said}\n{unread}")),
            (Some(unread), Some(said)) => Some(format!("{unread}\n{said}")),
            (unread, said) => unread.or(said),
        };
        let of_pod = self.pod_message();
        let (cause, of_pod) = if self.has_reason(succeeded) { (of_pod, None) } else { (None, of_pod) };
        Outcome {
            succeeded,
            container: decisive.and_then(|(name, _)| plain(Some(name))),
            exit_code: terminated.map(|terminated| terminated.exit_code),
            signal: terminated.and_then(signal),
            reason: if succeeded { self.success_reason() } else { self.failure_reason() },
            cause,
            is_log: is_log && said.is_some(),
            message: said.or(of_pod),
            raw_report,
            report,
            started: terminated.and_then(|terminated| self.at(terminated.started_at.as_ref())),
            finished: self.finish_time(),
            disrupted: disruption.is_some(),
            conditions: self.true_conditions(),
            never_started,
            stopped: false,
            past_deadline: self.past_deadline(),
        }
    }

    /// Whether the reason of a failure is the Pod's own, or that of its disruption.
    fn has_reason(&self, succeeded: bool) -> bool {
        let disruption = self.disruption().and_then(|condition| condition.reason.as_deref());
        !succeeded && (plain(self.status.reason.as_deref()).is_some() || plain(disruption).is_some())
    }

    fn disruption(&self) -> Option<&'a PodCondition> {
        self.condition(DISRUPTION_TARGET).filter(|condition| condition.status == "True")
    }

    /// What is said of the Pod as a whole.
    fn pod_message(&self) -> Option<String> {
        let disruption = self.disruption().and_then(|condition| condition.message.as_deref());
        self.status.message.as_deref().and_then(message::full).or_else(|| disruption.and_then(message::full))
    }

    /// Among how many containers the kubelet divides the room for termination messages.
    fn containers(&self) -> usize {
        let PodSpec { containers, init_containers, ephemeral_containers, .. } = self.spec;
        containers.len()
            + init_containers.as_ref().map_or(0, Vec::len)
            + ephemeral_containers.as_ref().map_or(0, Vec::len)
    }

    /// The Pod has failed before any of its containers ran: the kubelet turned it away, or gave it up. One that somebody
    /// deleted before that has no other reason than its deletion.
    fn never_ran(&self) -> bool {
        let failed = self.status.phase.as_deref() == Some("Failed");
        let only_deleted =
            self.pod.metadata.deletion_timestamp.is_some() && plain(self.status.reason.as_deref()).is_none();
        failed && !only_deleted && !self.all_statuses().any(was_made)
    }

    fn created(&self) -> Timestamp {
        self.pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// A time of the Pod's status: none is before the Pod's creation. The runtime has 1970 for a container that could not
    /// be started, and the node's clock may be behind.
    fn at(&self, time: Option<&Time>) -> Option<Timestamp> {
        time.map(|time| time.0.max(self.created()))
    }

    fn past_deadline(&self) -> Option<Box<PastDeadline>> {
        let PodStatus { phase, reason, .. } = self.status;
        if (phase.as_deref(), reason.as_deref()) != (Some("Failed"), Some(DEADLINE_EXCEEDED)) {
            return None;
        }
        let status = PodStatus { reason: None, message: None, ..self.status.clone() };
        let outcome = View { pod: self.pod, spec: self.spec, status: &status }.outcome();
        Some(Box::new(PastDeadline { seconds: self.spec.active_deadline_seconds, outcome }))
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

    /// When the kubelet should have ended a Pod that is being deleted: its grace is over, and a time in which a node
    /// that is alive reports.
    pub(super) fn deletion_deadline(&self) -> Option<Box<DeletionDeadline>> {
        let deadline = self.pod.metadata.deletion_timestamp.as_ref()?.0;
        let forced = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        let bound = if forced { FORCED_DELETION_BOUND } else { LOST_NODE_BOUND };
        let grace = SignedDuration::from_secs(self.pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0));
        let at = plus(deadline, bound);
        let deletion_deadline = |outcome| Some(Box::new(DeletionDeadline { at, grace, bound, outcome }));
        let outcome = self.outcome();
        if self.is_decided() {
            return deletion_deadline(outcome);
        }
        let reason =
            if forced || outcome.disrupted { outcome.reason.clone() } else { EndReason::NodeLost.as_str().into() };
        let unreported = || Some("the Pod was deleted, and its node has not reported its end".into());
        let message = outcome.message.clone().or_else(|| if outcome.cause.is_none() { unreported() } else { None });
        deletion_deadline(Outcome { succeeded: false, reason, message, finished: at, ..outcome })
    }

    /// Exit code 0 of every container that decides, unless the Pod as a whole was failed while it ran (eviction by the kubelet,
    /// the Pod's own deadline): such a container often exits with 0 on SIGTERM without having done its work.
    fn succeeded(&self) -> bool {
        let ends: Option<Vec<_>> = self.deciding().into_iter().map(|status| status.and_then(end)).collect();
        let Some(ends) = ends else { return false };
        let failed_as_a_whole = self.status.phase.as_deref() == Some("Failed")
            && self.status.reason.as_deref().is_some_and(|reason| !reason.is_empty());
        let ended_before = || {
            let disruption = self.condition(DISRUPTION_TARGET).and_then(|c| c.last_transition_time.as_ref());
            let is_before = |finished: &Time| disruption.is_some_and(|disrupted| finished.0 < disrupted.0);
            ends.iter().all(|(_, end)| end.finished_at.as_ref().is_some_and(is_before))
        };
        ends.iter().all(|(_, end)| end.exit_code == 0) && (!failed_as_a_whole || ended_before())
    }

    /// An exit code of 0 is a success even where a process in the container ran out of memory.
    fn success_reason(&self) -> String {
        let mut ends = self.deciding().into_iter().flatten().filter_map(end);
        let ran_out = ends.any(|(_, end)| end.reason.as_deref() == Some(OOM_KILLED));
        if ran_out { OOM_KILLED } else { EndReason::Completed.as_str() }.into()
    }

    fn failure_reason(&self) -> String {
        let disruption = self.disruption();
        let container = self.decisive().and_then(|(_, terminated)| terminated.reason.as_deref());
        let own = plain(self.status.reason.as_deref());
        // The task has a deadline, too, and its reason has that name.
        own.map(
            |reason| if reason == "DeadlineExceeded" { EndReason::PodDeadlineExceeded.as_str().into() } else { reason },
        )
        .or_else(|| plain(disruption.and_then(|c| c.reason.as_deref())))
        .or_else(|| plain(container).filter(|reason| !is_vague(reason) || !self.was_killed_by_deletion()))
        .unwrap_or_else(|| {
            let is_deleted = self.pod.metadata.deletion_timestamp.is_some();
            if is_deleted { EndReason::PodDeleted } else { EndReason::Error }.as_str().into()
        })
    }

    /// Somebody deleted the Pod, and its container then died of the kubelet's SIGTERM or SIGKILL.
    fn was_killed_by_deletion(&self) -> bool {
        let killed = self.decisive().and_then(|(_, terminated)| signal(terminated)).is_some_and(|n| n == 9 || n == 15);
        let finished = self.decisive().and_then(|(_, terminated)| terminated.finished_at.as_ref());
        let deleted = self.killing_began();
        killed && deleted.is_some_and(|deleted| finished.is_none_or(|finished| finished.0 >= deleted))
    }

    /// When the kubelet may have begun to kill. A deletion with a grace of 0 that came after another one hides when
    /// that began.
    fn killing_began(&self) -> Option<Timestamp> {
        let began = self.deletion_began()?;
        let hidden = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        let grace = self.spec.termination_grace_period_seconds.filter(|_| hidden).unwrap_or(0);
        Some(plus(began, SignedDuration::from_secs(grace.saturating_neg())))
    }

    fn deletion_began(&self) -> Option<Timestamp> {
        let deadline = self.pod.metadata.deletion_timestamp.as_ref()?;
        let grace = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        Some(plus(deadline.0, SignedDuration::from_secs(grace.saturating_neg())))
    }

    /// As the Job controller does: the latest end of a container, else when the Pod ceased to be ready or its deletion
    /// began, else its creation.
    fn finish_time(&self) -> Timestamp {
        let ended = |status: &'a ContainerStatus| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref();
        let containers = self.all_statuses().filter_map(|status| self.at(ended(status))).max();
        let unready = self
            .condition("Ready")
            .filter(|c| c.status == "False")
            .and_then(|c| self.at(c.last_transition_time.as_ref()));
        containers.or(unready.max(self.deletion_began())).unwrap_or(self.created())
    }
}

fn end(status: &ContainerStatus) -> Option<(&str, &ContainerStateTerminated)> {
    Some((status.name.as_str(), status.state.as_ref()?.terminated.as_ref()?))
}

fn has_run(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// A word of others, made harmless and short; nothing if nothing is left of it.
fn plain(text: Option<&str>) -> Option<String> {
    text.map(|text| message::short(text, message::MAX_WORD_BYTES)).filter(|text| !text.is_empty())
}

/// Whether the runtime ever made the container. The kubelet writes an end of its own invention for one that it could not
/// find when the Pod ended, and a last state besides only if it had seen the container run.
fn was_made(status: &ContainerStatus) -> bool {
    let known = |state: &ContainerState| {
        let ended = state.terminated.as_ref();
        let invented =
            |end: &ContainerStateTerminated| end.reason.as_deref() == Some(STATUS_UNKNOWN) && end.started_at.is_none();
        state.running.is_some() || ended.is_some_and(|end| !invented(end))
    };
    let has_id = status.container_id.as_deref().is_some_and(|id| !id.is_empty());
    let has_run_before = status.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    has_id || has_run_before || status.state.as_ref().is_some_and(known)
}

/// What the kubelet says of a container that was killed, or that it lost sight of while it was.
fn is_vague(reason: &str) -> bool {
    matches!(reason, "Error" | STATUS_UNKNOWN)
}

fn transition_time(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// The signal that ended the container. Shells and runtimes report it as exit code 128 + n; Linux has signals up to 64.
fn signal(terminated: &ContainerStateTerminated) -> Option<i32> {
    let reported = terminated.signal.filter(|signal| *signal > 0);
    reported.or_else(|| terminated.exit_code.checked_sub(128).filter(|signal| (1..=64).contains(signal)))
}
