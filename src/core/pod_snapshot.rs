//! A Pod, reduced to what the decisions need. Only this module reads a Pod's status.

mod container_wait;
mod outcome;
mod pod_status;

use super::slot::Slot;
use super::termination_report::TerminationReport;
pub use crate::api::HoldUp;
use crate::api::{
    ANNOTATION_GENERATION, ANNOTATION_TEMPLATE_HASH, FINALIZER, LABEL_ATTEMPT, LABEL_FALLBACK, LABEL_TASK_NAME,
    LABEL_TASK_UID,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use pod_status::PodView;

/// How long after its deletion's grace period the operator abandons a Pod whose end nobody reports: its node is lost.
pub const LOST_NODE_BOUND: SignedDuration = SignedDuration::from_secs(300);
/// The same for a Pod that was deleted by force. People do so when they know that the Pod no longer runs.
pub const FORCED_DELETION_BOUND: SignedDuration = SignedDuration::from_secs(30);
/// The Pod's reason when the kubelet ended it because its `activeDeadlineSeconds` had passed.
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// The condition that says that the cluster, not the task, ended the Pod (KEP-3329).
const DISRUPTION_TARGET: &str = "DisruptionTarget";
/// The condition by which Kueue says that it ends the Pod, for preemption or because its quota is gone. It then deletes the Pod.
const TERMINATION_TARGET: &str = "TerminationTarget";
/// The reason of a Pod that its scheduling gates hold back.
pub const SCHEDULING_GATED: &str = "SchedulingGated";

/// One attempt, as its Pod shows it.
#[allow(clippy::struct_excessive_bools)] // independent facts
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    /// The task's name, from the Pod's label.
    pub task_name: String,
    /// The task's UID, from the Pod's label.
    pub task_uid: String,
    /// The attempt's number, from the Pod's label.
    pub number: i32,
    /// Whether it is the Pod of the fallback that follows that attempt.
    pub fallback: bool,
    /// The generation of the spec that the Pod was built from, from its annotation.
    pub generation: Option<i64>,
    /// The hash of what the Pod was built from, from its annotation.
    pub template_hash: Option<String>,
    /// The memory of its main container: the limit, else the request.
    pub memory: Option<String>,
    /// The Pod's name.
    pub pod_name: String,
    /// The Pod's UID.
    pub pod_uid: String,
    /// The node that the Pod is bound to.
    pub node_name: Option<String>,
    /// Whether the task of `task_uid` is the Pod's controller. It no longer is once the task is deleted with
    /// `--cascade=orphan`.
    pub owned: bool,
    /// Whether the Pod has the operator's finalizer.
    pub has_finalizer: bool,
    /// Whether the Pod is being deleted.
    pub deleting: bool,
    /// When the API server created the Pod.
    pub created: Timestamp,
    /// Since when the main container could have started: the Pod had a node, and its init containers had ended. None
    /// while one of them runs.
    pub starting: Option<Timestamp>,
    /// Whether scheduling gates hold the Pod back.
    pub gated: bool,
    /// When the main container started. If all containers decide: when the first of them did.
    pub started: Option<Timestamp>,
    /// The ordinary containers that still run after the end of the main one. Empty if all containers decide.
    pub still_running: Vec<String>,
    /// Whether any container has started, so that there may be a log.
    pub has_run: bool,
    /// How long its containers have to end after SIGTERM: `spec.terminationGracePeriodSeconds`.
    pub termination_grace: SignedDuration,
    /// How long the kubelet lets it run: `spec.activeDeadlineSeconds`.
    pub active_deadline_seconds: Option<i64>,
    /// When the operator abandons the Pod, and the outcome that it then records. None unless it is being deleted.
    pub deletion_deadline: Option<Box<DeletionDeadline>>,
    /// How far the attempt has come.
    pub progress: Progress,
    /// The stage of its start, while `progress` is `Pending` without a hold-up.
    pub stage: Option<Box<Stage>>,
}

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A container that decides has not started.
    Pending(Option<HoldUp>),
    /// All containers that decide have started, and one of them runs.
    Running,
    /// The main container, which alone decides, has ended. Another ordinary container still runs.
    MainContainerExited(Outcome),
    /// The Pod has ended.
    Ended(Outcome),
}

/// When the operator abandons a Pod that is being deleted and whose end nobody reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionDeadline {
    /// The deadline, by the API server's clock.
    pub at: Timestamp,
    /// The deletion's grace period.
    pub grace: SignedDuration,
    /// How long the node may take to report the end after the grace period.
    pub bound: SignedDuration,
    /// The outcome that is recorded at the deadline.
    pub outcome: Outcome,
}

/// The stage of a Pod whose main container has not started and whose status names no problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The stage as a reason and a message.
    pub hold_up: HoldUp,
    /// Whether an init container is running. There is no Event about that.
    pub init_runs: bool,
}

/// How an attempt ended.
#[allow(clippy::struct_excessive_bools)] // independent facts
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the containers that decide succeeded.
    pub succeeded: bool,
    /// The container whose end decided.
    pub container: Option<String>,
    /// That container's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended that container: as the runtime reports it, else exit code − 128.
    pub signal: Option<i32>,
    /// The reason of the Pod, else of the disruption, else of the container.
    pub reason: String,
    /// The message of the Pod or its disruption, if `reason` comes from there.
    pub cause: Option<String>,
    /// The message of the termination report, else the termination message or the log's end, else the Pod's message.
    /// Uncut until the end is recorded.
    pub message: Option<String>,
    /// The whole termination report, if the message is a part of it.
    pub raw_report: Option<String>,
    /// Whether the message is the end of a log, whose last lines are the most important.
    pub is_log: bool,
    /// The task's termination report.
    pub report: TerminationReport,
    /// When the container started.
    pub started: Option<Timestamp>,
    /// When the Pod finished, in whole seconds, like the times in a Pod's status.
    pub finished: Timestamp,
    /// Whether the cluster, not the task, ended the Pod.
    pub disrupted: bool,
    /// The types of the Pod's conditions that are true.
    pub conditions: Vec<String>,
    /// Whether no container of the Pod ever started, or the main one did not start in time.
    pub never_started: bool,
    /// Whether the operator's stop ended it. The exit code is then an effect of that stop.
    pub stopped: bool,
    /// Set if the kubelet ended the Pod because its `activeDeadlineSeconds` had passed.
    pub past_deadline: Option<Box<PastDeadline>>,
}

/// The end of a Pod whose `activeDeadlineSeconds` had passed. Its template sets them, or the operator to stop the Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastDeadline {
    /// The deadline that the Pod had when its end was first seen.
    pub seconds: Option<i64>,
    /// How the attempt ended, without the Pod's own reason.
    pub outcome: Outcome,
}

impl Outcome {
    /// All texts about the end, sanitized and uncut: the Pod's cause, the message, the whole termination report.
    pub fn texts(&self) -> [Option<&str>; 3] {
        [&self.cause, &self.message, &self.raw_report].map(Option::as_deref)
    }

    /// Drops all texts.
    fn forget_texts(&mut self) {
        let Self { cause, message, raw_report, report, past_deadline, .. } = self;
        (*cause, *message, *raw_report, *report) = (None, None, None, TerminationReport::default());
        if let Some(past_deadline) = past_deadline {
            past_deadline.outcome.forget_texts();
        }
    }
}

impl PodSnapshot {
    /// Whether another Pod can replace it without loss of work: no container that decides has started, and the Pod is
    /// not being deleted.
    pub fn can_be_replaced(&self) -> bool {
        matches!(self.progress, Progress::Pending(_)) && self.started.is_none() && !self.deleting
    }

    /// Drops all texts about the end once it is recorded. A finished task may keep its Pods for years, and their texts
    /// would fill the memory.
    pub fn forget_texts(&mut self) {
        match &mut self.progress {
            Progress::MainContainerExited(outcome) | Progress::Ended(outcome) => outcome.forget_texts(),
            Progress::Pending(_) | Progress::Running => {}
        }
        if let Some(deletion_deadline) = &mut self.deletion_deadline {
            deletion_deadline.outcome.forget_texts();
        }
    }

    /// Which of its task's Pods it is.
    pub fn slot(&self) -> Slot {
        let Self { number, fallback, .. } = *self;
        Slot { number, fallback }
    }
}

impl PodSnapshot {
    /// The snapshot of an attempt's Pod. None if its labels are not those of an attempt.
    pub fn of(pod: &Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        let task_uid = labels.get(LABEL_TASK_UID)?.clone();
        let fallback = labels.contains_key(LABEL_FALLBACK);
        let controller = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
        let view = PodView {
            pod,
            spec: pod.spec.as_ref().unwrap_or(&no_spec),
            status: pod.status.as_ref().unwrap_or(&no_status),
        };
        Some(Self {
            task_name: labels.get(LABEL_TASK_NAME)?.clone(),
            number: labels.get(LABEL_ATTEMPT)?.parse().ok().filter(|n| *n > 0 || fallback)?,
            fallback,
            generation: view.annotation(ANNOTATION_GENERATION).and_then(|generation| generation.parse().ok()),
            template_hash: view.annotation(ANNOTATION_TEMPLATE_HASH).map(ToOwned::to_owned),
            memory: view.memory(),
            pod_name: pod.metadata.name.clone()?,
            pod_uid: pod.metadata.uid.clone()?,
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            owned: controller.is_some_and(|owner| owner.uid == task_uid),
            has_finalizer: pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            starting: view.starting(),
            gated: view.gates().next().is_some(),
            started: view.started(),
            still_running: view.still_running(),
            has_run: view.has_run(),
            termination_grace: view.termination_grace(),
            active_deadline_seconds: view.spec.active_deadline_seconds,
            deletion_deadline: view.deletion_deadline(),
            stage: view.stage().map(Box::new),
            progress: view.progress(),
            task_uid,
        })
    }
}

#[cfg(test)]
mod tests;
