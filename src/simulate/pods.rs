//! Simulated Pods, as the API server would return them.

use super::outcomes::{Course, Outcome};
use crate::api::EndReason;
use crate::core::decide::{STOP_DEADLINE_SECONDS, StopMethod};
use crate::core::main_container::DEFAULT_CONTAINER;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
    PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const GRACE_SECONDS: i64 = 30;
/// The exit code of most programs on SIGTERM.
const EXIT_ON_SIGTERM: i32 = 143;

/// A Pod and its future outcome.
pub(super) struct SimulatedPod {
    pub(super) pod: Pod,
    pub(super) created: Timestamp,
    outcome: Outcome,
    /// When its outcome happens. None if it has happened, or only comes with a stop.
    pub(super) cue: Option<Timestamp>,
    pub(super) deleted: bool,
}

impl SimulatedPod {
    /// A Pod that has just been created. It starts at once if its outcome allows it.
    pub(super) fn new(mut pod: Pod, uid: String, outcome: Outcome, now: Timestamp) -> Self {
        pod.metadata.uid = Some(uid);
        pod.metadata.creation_timestamp = Some(Time(now));
        pod.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
        let mut simulated = Self { pod, created: now, outcome, cue: None, deleted: false };
        let run = SignedDuration::try_from_secs_f64(simulated.outcome.run_seconds).unwrap_or_default();
        let end = now.checked_add(run).unwrap_or(Timestamp::MAX);
        match simulated.outcome.course() {
            Course::Unscheduled => simulated.condition("PodScheduled", false, simulated.reason(), now),
            Course::NotStarting => {
                simulated.scheduled(now);
                simulated.wait();
            }
            Course::RejectedByKubelet => {
                simulated.scheduled(now);
                simulated.cue = Some(now);
            }
            course => {
                simulated.scheduled(now);
                simulated.run(now);
                simulated.cue = (course != Course::RunsOn).then_some(end);
            }
        }
        simulated
    }

    fn reason(&self) -> Option<String> {
        self.outcome.reason.clone()
    }

    fn status(&mut self) -> &mut PodStatus {
        self.pod.status.get_or_insert_default()
    }

    fn condition(&mut self, type_: &str, is: bool, reason: Option<String>, now: Timestamp) {
        self.status().conditions.get_or_insert_default().push(PodCondition {
            type_: type_.into(),
            status: if is { "True" } else { "False" }.into(),
            reason,
            last_transition_time: Some(Time(now)),
            ..PodCondition::default()
        });
    }

    fn container(&mut self, state: ContainerState) {
        let annotations = self.pod.metadata.annotations.as_ref();
        let name = annotations.and_then(|all| all.get(DEFAULT_CONTAINER)).cloned().unwrap_or_default();
        let others: Vec<String> = self.others().filter(|other| *other != name).map(ToOwned::to_owned).collect();
        let other = beside_main(&state);
        let status = |name, state| ContainerStatus { name, state: Some(state), ..ContainerStatus::default() };
        let others = others.into_iter().map(|name| status(name, other.clone()));
        self.status().container_statuses = Some(std::iter::once(status(name, state)).chain(others).collect());
    }

    /// All ordinary containers. They may decide together with the main one, and start and end with it.
    fn others(&self) -> impl Iterator<Item = &str> {
        self.pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str())
    }

    fn scheduled(&mut self, now: Timestamp) {
        self.pod.spec.get_or_insert_default().node_name = Some("node".into());
        self.condition("PodScheduled", true, None, now);
    }

    fn wait(&mut self) {
        // A slow start has no reason of its own.
        let reason = self.reason().filter(|reason| reason != "StartupTimeout").or(Some("ContainerCreating".into()));
        let waiting = ContainerStateWaiting { reason, message: self.outcome.message.clone() };
        self.container(ContainerState { waiting: Some(waiting), ..ContainerState::default() });
    }

    fn run(&mut self, now: Timestamp) {
        self.status().phase = Some("Running".into());
        let running = ContainerStateRunning { started_at: Some(Time(now)) };
        self.container(ContainerState { running: Some(running), ..ContainerState::default() });
    }

    /// Applies the outcome to the Pod.
    pub(super) fn act(&mut self, now: Timestamp) {
        self.cue = None;
        let types = self.outcome.pod_conditions.clone();
        for type_ in types.into_iter().filter(|type_| type_ != "DisruptionTarget") {
            self.condition(&type_, true, None, now);
        }
        if let Some(disruption) = self.outcome.disruption().map(ToOwned::to_owned) {
            self.condition("DisruptionTarget", true, Some(disruption), now);
        }
        match self.outcome.course() {
            Course::Lost => self.deleted = true,
            Course::NodeLost => self.delete(now),
            Course::Deleted => {
                self.delete(now);
                self.terminate(self.outcome.code(), Some("Error".into()), now);
            }
            Course::RejectedByKubelet => self.fail_pod(),
            Course::Killed => {
                self.terminate(self.outcome.code(), Some("Error".into()), now);
                self.fail_pod();
            }
            Course::Ends => {
                let code = self.outcome.code();
                let named = self.reason().filter(|_| self.outcome.disruption().is_none());
                let reason = named.unwrap_or_else(|| if code == 0 { "Completed" } else { "Error" }.into());
                self.terminate(code, Some(reason), now);
            }
            Course::NotStarting | Course::Unscheduled | Course::RunsOn => {}
        }
    }

    fn fail_pod(&mut self) {
        // The kubelet's reason for it.
        let is_deadline = |reason: &String| reason == EndReason::PodDeadlineExceeded.as_str();
        let reason = self.reason().map(|reason| if is_deadline(&reason) { "DeadlineExceeded".into() } else { reason });
        let message = self.outcome.message.clone();
        let status = self.status();
        status.phase = Some("Failed".into());
        status.reason = reason;
        status.message = message;
    }

    fn terminate(&mut self, code: i32, reason: Option<String>, now: Timestamp) {
        self.status().phase = Some(if code == 0 { "Succeeded" } else { "Failed" }.into());
        let terminated = ContainerStateTerminated {
            exit_code: code,
            signal: self.outcome.signal,
            reason,
            message: self.outcome.termination_message(),
            started_at: Some(Time(self.created)),
            finished_at: Some(Time(now)),
            ..ContainerStateTerminated::default()
        };
        self.container(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
    }

    fn delete(&mut self, now: Timestamp) {
        let deadline = now.checked_add(SignedDuration::from_secs(GRACE_SECONDS)).unwrap_or(Timestamp::MAX);
        self.pod.metadata.deletion_timestamp = Some(Time(deadline));
        self.pod.metadata.deletion_grace_period_seconds = Some(GRACE_SECONDS);
    }

    /// The operator stops the Pod. A running container ends at once.
    pub(super) fn stop(&mut self, method: StopMethod, now: Timestamp) {
        self.cue = None;
        match method {
            StopMethod::Deletion | StopMethod::Replacement => self.delete(now),
            StopMethod::Deadline => {}
        }
        match self.outcome.course() {
            Course::Unscheduled => {}
            Course::NotStarting | Course::RejectedByKubelet => self.status().phase = Some("Failed".into()),
            _ => {
                let outcome = std::mem::take(&mut self.outcome);
                self.terminate(EXIT_ON_SIGTERM, Some("Error".into()), now);
                self.outcome = outcome;
            }
        }
        if method == StopMethod::Deadline {
            self.pod.spec.get_or_insert_default().active_deadline_seconds = Some(STOP_DEADLINE_SECONDS);
            let status = self.status();
            (status.phase, status.reason) = (Some("Failed".into()), Some("DeadlineExceeded".into()));
        }
    }
}

/// The state of a container beside the main one: it succeeds when that one ends.
fn beside_main(state: &ContainerState) -> ContainerState {
    let mut other = state.clone();
    if let Some(end) = &mut other.terminated {
        (end.exit_code, end.signal, end.reason, end.message) = (0, None, Some("Completed".into()), None);
    }
    other
}
