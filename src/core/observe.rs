//! What a Pod says of its attempt. Only here is a Pod's status read.

use super::message::{self, Word};
use super::time::plus;
use crate::api::{FINALIZER, LABEL_ATTEMPT, LABEL_TASK_NAME, LABEL_TASK_UID, MAIN_CONTAINER};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus,
};

/// The annotation by which kubectl, and this program, know a Pod's main container.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// How long after the grace of its deletion a Pod whose end nobody reports is given up: its node is gone, or nearly so.
pub const LOST_NODE_BOUND: SignedDuration = SignedDuration::from_secs(300);
/// The same for a Pod that somebody has deleted by force, which is how people say that it is gone.
pub const FORCED_DELETION_BOUND: SignedDuration = SignedDuration::from_secs(30);
/// The condition that says that the cluster, not the task, ended the Pod (KEP-3329).
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// What can be seen of one attempt: its Pod, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The task's name, by the Pod's label.
    pub task_name: String,
    /// The task's UID, by the Pod's label.
    pub task_uid: String,
    /// The attempt's number, by the Pod's label.
    pub number: i32,
    /// The Pod's name.
    pub pod_name: String,
    /// The Pod's UID.
    pub pod_uid: String,
    /// The node that it is bound to.
    pub node_name: Option<String>,
    /// Whether the task of `task_uid` is the Pod's controller. Deleting a task and orphaning its Pods ends that.
    pub owned: bool,
    /// Whether our finalizer holds the Pod.
    pub held: bool,
    /// Whether the Pod is being deleted.
    pub deleting: bool,
    /// When the API server created the Pod.
    pub created: Timestamp,
    /// Since when the main container could start: the Pod has a node, and its init containers have ended. Nothing while one of them runs.
    pub starting: Option<Timestamp>,
    /// When the main container started.
    pub started: Option<Timestamp>,
    /// When a Pod that is being deleted should have ended at the latest, and what can then be said of its end.
    pub overdue: Option<(Timestamp, Box<Outcome>)>,
    /// How far the attempt is.
    pub progress: Progress,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No main container has run yet.
    Pending(Option<HoldUp>),
    /// The main container runs.
    Running,
    /// The main container has ended and an ordinary container runs on.
    Outlived(Outcome),
    /// The Pod has ended.
    Ended(Outcome),
}

/// What keeps a Pod from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldUp {
    /// The kubelet's or the scheduler's word, such as ImagePullBackOff, Unschedulable.
    pub reason: String,
    /// What goes with it.
    pub message: Option<String>,
}

/// How an attempt ended.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and any may go with any
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the main container did its work.
    pub succeeded: bool,
    /// The container whose end decided.
    pub container: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it: the runtime's word, else exit code − 128.
    pub signal: Option<i32>,
    /// Why: the Pod's reason, the disruption's, the container's.
    pub reason: String,
    /// The termination message, the log's tail, or the Pod's message.
    pub message: Option<String>,
    /// What the task said of itself.
    pub word: Word,
    /// When the container started.
    pub started: Option<Timestamp>,
    /// When the Pod finished, cut to whole seconds as all of Kubernetes' times.
    pub finished: Timestamp,
    /// Whether the cluster, not the task, ended the Pod.
    pub disrupted: bool,
    /// The types of the Pod's conditions that are true.
    pub conditions: Vec<String>,
    /// Whether the main container never started.
    pub never_started: bool,
    /// Whether the operator's own stop is what ended it, so that its exit code says nothing of the task.
    pub stopped: bool,
}

/// The Pod as an attempt; nothing if its labels do not say so.
pub fn observe(pod: &Pod) -> Option<Observed> {
    let labels = pod.metadata.labels.as_ref()?;
    let task_uid = labels.get(LABEL_TASK_UID)?.clone();
    let controller = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let view =
        View { pod, spec: pod.spec.as_ref().unwrap_or(&no_spec), status: pod.status.as_ref().unwrap_or(&no_status) };
    Some(Observed {
        task_name: labels.get(LABEL_TASK_NAME)?.clone(),
        number: labels.get(LABEL_ATTEMPT)?.parse().ok().filter(|n| *n > 0)?,
        pod_name: pod.metadata.name.clone()?,
        pod_uid: pod.metadata.uid.clone()?,
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        owned: controller.is_some_and(|owner| owner.uid == task_uid),
        held: pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        starting: view.starting(),
        started: view.started(),
        overdue: view.overdue(),
        progress: view.progress(),
        task_uid,
    })
}

struct View<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    status: &'a PodStatus,
}

impl<'a> View<'a> {
    fn progress(&self) -> Progress {
        let never_bound = self.spec.node_name.as_deref().unwrap_or_default().is_empty();
        match self.status.phase.as_deref() {
            Some("Succeeded" | "Failed") => Progress::Ended(self.outcome()),
            // No kubelet will ever end a Pod that was deleted before it had a node.
            _ if self.pod.metadata.deletion_timestamp.is_some() && never_bound => Progress::Ended(self.outcome()),
            _ => match self.main_status().and_then(|status| status.state.as_ref()) {
                Some(ContainerState { terminated: Some(_), .. }) if self.is_outlived() => {
                    Progress::Outlived(self.outcome())
                }
                Some(ContainerState { running: Some(_), .. } | ContainerState { terminated: Some(_), .. }) => {
                    Progress::Running
                }
                // A state that says nothing is waiting, by the API's convention.
                _ => Progress::Pending(self.hold_up()),
            },
        }
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

    fn main_status(&self) -> Option<&'a ContainerStatus> {
        let name = self.main_name();
        self.status.container_statuses.iter().flatten().find(|status| status.name == name)
    }

    fn init_statuses(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.status.init_container_statuses.iter().flatten()
    }

    fn all_statuses(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.init_statuses().chain(self.status.container_statuses.iter().flatten())
    }

    /// An ordinary container beside the main one has not ended. (A native sidecar, an init container, is stopped by the kubelet.)
    fn is_outlived(&self) -> bool {
        let main = self.main_name();
        let ended = |s: &ContainerStatus| s.state.as_ref().is_some_and(|state| state.terminated.is_some());
        self.status.container_statuses.iter().flatten().any(|status| status.name != main && !ended(status))
    }

    /// An init container that runs as long as the Pod (KEP-753): its end is not the attempt's.
    fn is_native_sidecar(&self, name: &str) -> bool {
        let container = self.spec.init_containers.iter().flatten().find(|container| container.name == name);
        container.is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
    }

    fn hold_up(&self) -> Option<HoldUp> {
        let waiting =
            self.all_statuses().filter_map(|status| status.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
                let reason = waiting
                    .reason
                    .as_deref()
                    .filter(|r| !matches!(*r, "" | "ContainerCreating" | "PodInitializing"))?;
                Some(HoldUp {
                    reason: message::short(reason, message::MAX_WORD_BYTES),
                    message: waiting.message.as_deref().and_then(message::stored),
                })
            });
        waiting.or_else(|| {
            let condition = self.condition("PodScheduled").filter(|c| c.status == "False")?;
            Some(HoldUp {
                reason: condition.reason.clone().unwrap_or_else(|| "Unschedulable".into()),
                message: condition.message.as_deref().and_then(message::stored),
            })
        })
    }

    fn true_conditions(&self) -> Vec<String> {
        let all = self.status.conditions.iter().flatten();
        all.filter(|condition| condition.status == "True").map(|condition| condition.type_.clone()).collect()
    }

    fn condition(&self, type_: &str) -> Option<&'a PodCondition> {
        self.status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
    }

    /// The end that decides: the main container's, else that of the init container which failed before it could start.
    fn decisive(&self) -> Option<(&'a str, &'a ContainerStateTerminated)> {
        fn end(status: &ContainerStatus) -> Option<(&str, &ContainerStateTerminated)> {
            Some((status.name.as_str(), status.state.as_ref()?.terminated.as_ref()?))
        }
        let main = self.main_status().and_then(end);
        let failed_init = self
            .init_statuses()
            .filter_map(end)
            .find(|(name, terminated)| terminated.exit_code != 0 && !self.is_native_sidecar(name));
        main.or(failed_init)
    }

    fn outcome(&self) -> Outcome {
        let decisive = self.decisive();
        let terminated = decisive.map(|(_, terminated)| terminated);
        let disruption = self.condition(DISRUPTION_TARGET).filter(|condition| condition.status == "True");
        let succeeded = self.succeeded();
        let raw = terminated.and_then(|terminated| terminated.message.as_deref()).unwrap_or_default();
        let word = message::word(raw);
        let pod_message = || {
            let pod = self.status.message.as_deref().filter(|text| !text.is_empty());
            let disruption = disruption.and_then(|condition| condition.message.as_deref());
            pod.or(disruption).and_then(message::stored)
        };
        Outcome {
            succeeded,
            container: decisive.map(|(name, _)| name.to_owned()),
            exit_code: terminated.map(|terminated| terminated.exit_code),
            signal: terminated.and_then(signal),
            reason: if succeeded { "Completed".into() } else { self.failure_reason() },
            message: word.message.clone().or_else(|| message::stored(raw)).or_else(pod_message),
            word,
            started: terminated.and_then(|terminated| terminated.started_at.as_ref()).map(|time| time.0),
            finished: self.finish_time(),
            disrupted: disruption.is_some(),
            conditions: self.true_conditions(),
            never_started: false,
            stopped: false,
        }
    }

    fn starting(&self) -> Option<Timestamp> {
        let scheduled = self.condition("PodScheduled").filter(|c| c.status == "True").and_then(transition)?;
        let ordinary = self.init_statuses().filter(|status| !self.is_native_sidecar(&status.name));
        ordinary.filter_map(|status| status.state.as_ref()).try_fold(scheduled, |since, state| {
            let ended = state.terminated.as_ref().and_then(|terminated| terminated.finished_at.as_ref());
            state.running.is_none().then(|| ended.map_or(since, |ended| since.max(ended.0)))
        })
    }

    fn started(&self) -> Option<Timestamp> {
        let state = self.main_status()?.state.as_ref()?;
        let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
        let terminated = state.terminated.as_ref().and_then(|terminated| terminated.started_at.as_ref());
        running.or(terminated).map(|time| time.0)
    }

    /// When the kubelet should have ended a Pod that is being deleted: its grace is over, and a time in which a node that is alive reports.
    fn overdue(&self) -> Option<(Timestamp, Box<Outcome>)> {
        let deadline = self.pod.metadata.deletion_timestamp.as_ref()?.0;
        let forced = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        let wait = if forced { FORCED_DELETION_BOUND } else { LOST_NODE_BOUND };
        let at = plus(deadline, wait);
        let outcome = self.outcome();
        let main = self.main_status().and_then(|status| status.state.as_ref());
        if main.is_some_and(|state| state.terminated.is_some()) {
            return Some((at, Box::new(outcome))); // the main container's end is known
        }
        let reason = if forced || outcome.disrupted { outcome.reason.clone() } else { "NodeLost".into() };
        let message = outcome
            .message
            .clone()
            .or_else(|| Some("the Pod was deleted, and its node has not reported its end".into()));
        Some((at, Box::new(Outcome { succeeded: false, reason, message, finished: at, ..outcome })))
    }

    /// The main container's exit code 0, unless the Pod as a whole was failed while it ran (eviction by the kubelet, the Pod's own deadline):
    /// such a container often exits with 0 on SIGTERM without having done its work.
    fn succeeded(&self) -> bool {
        let Some(terminated) = self.main_status().and_then(|status| status.state.as_ref()?.terminated.as_ref()) else {
            return false;
        };
        let failed_as_a_whole = self.status.phase.as_deref() == Some("Failed")
            && self.status.reason.as_deref().is_some_and(|reason| !reason.is_empty());
        let ended_before = || {
            let disruption = self.condition(DISRUPTION_TARGET).and_then(|c| c.last_transition_time.as_ref());
            disruption
                .zip(terminated.finished_at.as_ref())
                .is_some_and(|(disrupted, finished)| finished.0 < disrupted.0)
        };
        terminated.exit_code == 0 && (!failed_as_a_whole || ended_before())
    }

    fn failure_reason(&self) -> String {
        let given =
            |reason: Option<&str>| reason.filter(|r| !r.is_empty()).map(|r| message::short(r, message::MAX_WORD_BYTES));
        let disruption = self.condition(DISRUPTION_TARGET).filter(|c| c.status == "True");
        let container = self.decisive().and_then(|(_, terminated)| terminated.reason.as_deref());
        given(self.status.reason.as_deref())
            .or_else(|| given(disruption.and_then(|c| c.reason.as_deref())))
            .or_else(|| given(container).filter(|reason| !is_vague(reason) || !self.was_killed_by_deletion()))
            .unwrap_or_else(|| {
                if self.pod.metadata.deletion_timestamp.is_some() { "PodDeleted".into() } else { "Error".into() }
            })
    }

    /// Somebody deleted the Pod, and its container then died of the kubelet's SIGTERM or SIGKILL.
    fn was_killed_by_deletion(&self) -> bool {
        let killed = self.decisive().and_then(|(_, terminated)| signal(terminated)).is_some_and(|n| n == 9 || n == 15);
        let finished = self.decisive().and_then(|(_, terminated)| terminated.finished_at.as_ref());
        let deleted = self.killing_began();
        killed && deleted.is_some_and(|deleted| finished.is_none_or(|finished| finished.0 >= deleted))
    }

    /// When the kubelet may have begun to kill. A deletion with a grace of 0 that came after another one hides when that began.
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

    /// As the Job controller does: the latest end of a container, else when the Pod ceased to be ready or its deletion began, else its
    /// creation.
    fn finish_time(&self) -> Timestamp {
        let containers = self
            .all_statuses()
            .filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
            .map(|time| time.0)
            .max();
        let unready =
            self.condition("Ready").filter(|c| c.status == "False").and_then(|c| c.last_transition_time.as_ref());
        containers
            .or(unready.map(|time| time.0).max(self.deletion_began()))
            .or(self.pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// What the kubelet says of a container that was killed, or that it lost sight of while it was.
fn is_vague(reason: &str) -> bool {
    matches!(reason, "Error" | "ContainerStatusUnknown")
}

fn transition(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// The signal that ended the container. Shells and runtimes report it as exit code 128 + n; Linux has signals up to 64.
fn signal(terminated: &ContainerStateTerminated) -> Option<i32> {
    let reported = terminated.signal.filter(|signal| *signal > 0);
    reported.or_else(|| terminated.exit_code.checked_sub(128).filter(|signal| (1..=64).contains(signal)))
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
