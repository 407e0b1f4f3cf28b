//! What a Pod says of its attempt. Only here is a Pod's status read.

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
use pod_status::View;

/// How long after the grace of its deletion a Pod whose end nobody reports is given up: its node is gone, or nearly so.
pub const LOST_NODE_BOUND: SignedDuration = SignedDuration::from_secs(300);
/// The same for a Pod that somebody has deleted by force, which is how people say that it is gone.
pub const FORCED_DELETION_BOUND: SignedDuration = SignedDuration::from_secs(30);
/// The Pod's reason when the kubelet ended it because its `activeDeadlineSeconds` were over.
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// The condition that says that the cluster, not the task, ended the Pod (KEP-3329).
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// What can be seen of one attempt: its Pod, reduced to what decides.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and any may go with any
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    /// The task's name, by the Pod's label.
    pub task_name: String,
    /// The task's UID, by the Pod's label.
    pub task_uid: String,
    /// The attempt's number, by the Pod's label.
    pub number: i32,
    /// Whether it is the Pod of the fallback that follows that attempt.
    pub fallback: bool,
    /// The generation of the spec that it was made from.
    pub generation: Option<i64>,
    /// The hash of what it was made from.
    pub template_hash: Option<String>,
    /// The memory that its main container has: limit, else request.
    pub memory: Option<String>,
    /// The Pod's name.
    pub pod_name: String,
    /// The Pod's UID.
    pub pod_uid: String,
    /// The node that it is bound to.
    pub node_name: Option<String>,
    /// Whether the task of `task_uid` is the Pod's controller. Deleting a task and orphaning its Pods ends that.
    pub owned: bool,
    /// Whether our finalizer holds the Pod.
    pub has_finalizer: bool,
    /// Whether the Pod is being deleted.
    pub deleting: bool,
    /// When the API server created the Pod.
    pub created: Timestamp,
    /// Since when the main container could start: the Pod has a node, and its init containers have ended. Nothing while
    /// one of them runs.
    pub starting: Option<Timestamp>,
    /// When the main container started; where all containers decide, the first of them.
    pub started: Option<Timestamp>,
    /// The ordinary containers that run on although the main one, which decides, has ended.
    pub still_running: Vec<String>,
    /// Whether a container of any kind has started, so that there may be a log.
    pub has_run: bool,
    /// How long its containers have to end once they are asked to.
    pub termination_grace: SignedDuration,
    /// How long its node lets it run: `spec.activeDeadlineSeconds`.
    pub active_deadline_seconds: Option<i64>,
    /// When a Pod that is being deleted is given up, and what can then be said of its end.
    pub deletion_deadline: Option<Box<DeletionDeadline>>,
    /// How far the attempt is.
    pub progress: Progress,
    /// How far its start is, while `progress` is `Pending` without a hold-up.
    pub stage: Option<Box<Stage>>,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A container that decides, the main one or each of them, has not run yet.
    Pending(Option<HoldUp>),
    /// The containers that decide have started, and one of them runs.
    Running,
    /// The main container, which decides, has ended and an ordinary container runs on.
    MainContainerExited(Outcome),
    /// The Pod has ended.
    Ended(Outcome),
}

/// The patience with a Pod that is being deleted and whose end nobody reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionDeadline {
    /// When it is over, by the API server's clock.
    pub at: Timestamp,
    /// The grace of the deletion.
    pub grace: SignedDuration,
    /// How long the node has for its report after the grace.
    pub bound: SignedDuration,
    /// What can then be said of the end.
    pub outcome: Outcome,
}

/// How far a Pod is whose main container has not started and whose status names no trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// In words.
    pub hold_up: HoldUp,
    /// Whether an init container is at work, which no event about the Pod says anything of.
    pub init_runs: bool,
}

/// How an attempt ended.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and any may go with any
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the containers that decide did their work.
    pub succeeded: bool,
    /// The container whose end decided.
    pub container: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it: the runtime's word, else exit code − 128.
    pub signal: Option<i32>,
    /// Why: the Pod's reason, the disruption's, the container's.
    pub reason: String,
    /// What the Pod says of its end, where its reason, or that of its disruption, is the end's reason.
    pub cause: Option<String>,
    /// The message of the termination report, else the termination message or the log's end, else the Pod's message. In
    /// full, until the end is recorded.
    pub message: Option<String>,
    /// The whole termination report, where the message is a part of it.
    pub raw_report: Option<String>,
    /// Whether the message is a log's end, whose last lines say most.
    pub is_log: bool,
    /// What the task said of itself.
    pub report: TerminationReport,
    /// When the container started.
    pub started: Option<Timestamp>,
    /// When the Pod finished, cut to whole seconds as all of Kubernetes' times.
    pub finished: Timestamp,
    /// Whether the cluster, not the task, ended the Pod.
    pub disrupted: bool,
    /// The types of the Pod's conditions that are true.
    pub conditions: Vec<String>,
    /// Whether no container of the Pod ever started, or the main one did not start in time.
    pub never_started: bool,
    /// Whether the operator's own stop is what ended it, so that its exit code says nothing of the task.
    pub stopped: bool,
    /// That the kubelet ended the Pod because its `activeDeadlineSeconds` were over.
    pub past_deadline: Option<Box<PastDeadline>>,
}

/// The end of a Pod whose `activeDeadlineSeconds` were over: set by its template, or by the operator to stop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastDeadline {
    /// The deadline that the Pod had when its end was first seen.
    pub seconds: Option<i64>,
    /// How the attempt ended by its containers alone.
    pub outcome: Outcome,
}

impl Outcome {
    /// All that is said of the end, harmless and in full: the Pod's cause, the message, the whole termination report.
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
    /// Whether no container that decides has started, and the Pod is not being deleted: another one can take its place
    /// without the work of this one.
    pub fn can_be_replaced(&self) -> bool {
        matches!(self.progress, Progress::Pending(_)) && self.started.is_none() && !self.deleting
    }

    /// Drops all that is said of the end, once it is recorded: a finished task may keep its Pods for years.
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
    /// The Pod as an attempt; nothing if its labels do not say so.
    pub fn of(pod: &Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        let task_uid = labels.get(LABEL_TASK_UID)?.clone();
        let fallback = labels.contains_key(LABEL_FALLBACK);
        let controller = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
        let view = View {
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
