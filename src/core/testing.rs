//! Builders of tasks and Pods for tests. Times are seconds after [`at`]`(0)`.

use super::build_pod::pod;
use super::slot::Slot;
use crate::api::{
    Backoff, FINALIZER, Jitter, JitterMode, MAIN_CONTAINER, PodRetention, RetryableTask, RetryableTaskSpec,
    RetryableTaskStatus, Strategy,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
    PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

pub const UID: &str = "9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10";
pub const NAMESPACE: &str = "default";
pub const NAME: &str = "import-orders";

/// The origin of all times, 2026-11-22T10:00:00Z, and `seconds` after it.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_341_600 + seconds).unwrap()
}

/// As [`at`], in milliseconds.
pub fn at_millis(millis: i64) -> Timestamp {
    at(0) + SignedDuration::from_millis(millis)
}

pub fn time(seconds: i64) -> Time {
    Time(at(seconds))
}

/// A task with an image and the defaults of its schema, and exact delays of 1, 2, 4 … seconds.
pub fn task() -> RetryableTask {
    task_with(json!({"image": "busybox"})).backoff(without_jitter(Backoff::default()))
}

/// A task of that spec.
pub fn task_with(spec: Value) -> RetryableTask {
    let spec: RetryableTaskSpec = serde_json::from_value(spec).unwrap();
    let mut task = RetryableTask::new(NAME, spec);
    task.metadata.namespace = Some(NAMESPACE.into());
    task.metadata.uid = Some(UID.into());
    task.metadata.generation = Some(1);
    task.metadata.resource_version = Some("1".into());
    task.metadata.creation_timestamp = Some(time(0));
    task
}

pub fn without_jitter(backoff: Backoff) -> Backoff {
    Backoff { jitter: Some(Jitter { mode: Some(JitterMode::None), percent: None }), ..backoff }
}

/// Always that delay, without jitter.
pub fn fixed(seconds: i32) -> Backoff {
    without_jitter(Backoff {
        strategy: Some(Strategy::Fixed),
        initial_delay_seconds: Some(seconds),
        ..Backoff::default()
    })
}

/// Changes to a task, in a chain.
pub trait BuildTask: Sized {
    fn change(self, change: impl FnOnce(&mut RetryableTask)) -> Self;

    fn named(self, name: &str, uid: &str) -> Self {
        self.change(|task| {
            task.metadata.name = Some(name.into());
            task.metadata.uid = Some(uid.into());
        })
    }

    fn max_retries(self, n: i32) -> Self {
        self.change(|task| task.spec.max_retries = n)
    }

    fn backoff(self, backoff: Backoff) -> Self {
        self.change(|task| task.spec.backoff = Some(backoff))
    }

    fn suspended(self) -> Self {
        self.change(|task| task.spec.suspend = true)
    }

    fn history_limit(self, n: i32) -> Self {
        self.change(|task| task.spec.history_limit = n)
    }

    fn retention(self, failed: i32, succeeded: i32) -> Self {
        self.change(|task| task.spec.pod_retention = PodRetention { failed, succeeded })
    }

    /// The user annotates the task, under the operator's group.
    fn asked(self, annotation: &str, value: &str) -> Self {
        self.change(|task| {
            let key = format!("retryable.dev/{annotation}");
            task.metadata.annotations.get_or_insert_default().insert(key, value.into());
        })
    }

    fn ttl(self, seconds: i32) -> Self {
        self.change(|task| task.spec.ttl_seconds_after_finished = Some(seconds))
    }

    fn template(self, template: Value) -> Self {
        self.change(|task| task.spec.template = Some(template))
    }

    fn status(self, status: RetryableTaskStatus) -> Self {
        self.change(|task| task.status = Some(status))
    }

    fn deleted(self, seconds: i64) -> Self {
        self.change(|task| task.metadata.deletion_timestamp = Some(time(seconds)))
    }
}

impl BuildTask for RetryableTask {
    fn change(mut self, change: impl FnOnce(&mut RetryableTask)) -> Self {
        change(&mut self);
        self
    }
}

/// The Pod of an attempt, with the finalizer, as the API server has just created it.
pub fn pod_of(task: &RetryableTask, slot: impl Into<Slot>) -> Pod {
    let slot = slot.into();
    let mut pod: Pod = serde_json::from_value(pod(task, slot, true)).unwrap();
    pod.metadata.uid = Some(format!("pod-{}", slot.number));
    pod.metadata.resource_version = Some("1".into());
    pod.metadata.creation_timestamp = Some(time(0));
    pod.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
    pod
}

/// Changes to a Pod, in a chain.
pub trait BuildPod: Sized {
    fn change(self, change: impl FnOnce(&mut Pod)) -> Self;

    fn change_status(self, change: impl FnOnce(&mut PodStatus)) -> Self {
        self.change(|pod| change(pod.status.get_or_insert_default()))
    }

    fn uid(self, uid: &str) -> Self {
        self.change(|pod| pod.metadata.uid = Some(uid.into()))
    }

    fn version(self, version: u64) -> Self {
        self.change(|pod| pod.metadata.resource_version = Some(version.to_string()))
    }

    fn created(self, seconds: i64) -> Self {
        self.change(|pod| pod.metadata.creation_timestamp = Some(time(seconds)))
    }

    fn on_node(self, node: &str) -> Self {
        self.change(|pod| pod.spec.get_or_insert_default().node_name = Some(node.into()))
    }

    fn phase(self, phase: &str) -> Self {
        self.change_status(|status| status.phase = Some(phase.into()))
    }

    /// Reason and message of the Pod as a whole.
    fn because(self, reason: &str, message: &str) -> Self {
        self.change_status(|status| {
            status.reason = Some(reason.into());
            status.message = Some(message.into());
        })
    }

    /// The kubelet has ended the Pod because its `activeDeadlineSeconds` had passed.
    fn past_its_deadline(self) -> Self {
        self.phase("Failed")
            .because("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
    }

    /// The state of an ordinary container.
    fn container(self, name: &str, state: ContainerState) -> Self {
        self.change_status(|status| set_state(status.container_statuses.get_or_insert_default(), name, state))
    }

    /// The state of an init container.
    fn init_container(self, name: &str, state: ContainerState) -> Self {
        self.change_status(|status| set_state(status.init_container_statuses.get_or_insert_default(), name, state))
    }

    /// The main container runs.
    fn running(self) -> Self {
        self.on_node("node-1").phase("Running").container(MAIN_CONTAINER, running())
    }

    /// The main container has ended, and the Pod with it.
    fn ended(self, end: ContainerStateTerminated) -> Self {
        let phase = if end.exit_code == 0 { "Succeeded" } else { "Failed" };
        self.on_node("node-1").phase(phase).container(MAIN_CONTAINER, end.into_state())
    }

    /// The main container has ended with that code, after running from second 2 to second 4.
    fn exit(self, code: i32) -> Self {
        self.ended(end(code))
    }

    fn condition(self, type_: &str, is: bool, reason: &str, message: &str, seconds: i64) -> Self {
        self.change_status(|status| {
            let conditions = status.conditions.get_or_insert_default();
            conditions.retain(|condition| condition.type_ != type_);
            conditions.push(PodCondition {
                type_: type_.into(),
                status: if is { "True" } else { "False" }.into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_transition_time: Some(time(seconds)),
                ..PodCondition::default()
            });
        })
    }

    fn disrupted(self, reason: &str, seconds: i64) -> Self {
        self.condition("DisruptionTarget", true, reason, "the cluster says so", seconds)
    }

    /// The Pod was deleted at that second, with a grace period of 30 s.
    fn deleted_at(self, seconds: i64) -> Self {
        self.change(|pod| {
            pod.metadata.deletion_timestamp = Some(time(seconds + 30));
            pod.metadata.deletion_grace_period_seconds = Some(30);
        })
    }

    fn without_finalizer(self) -> Self {
        self.change(|pod| pod.metadata.finalizers.get_or_insert_default().retain(|finalizer| finalizer != FINALIZER))
    }

    fn without_owner(self) -> Self {
        self.change(|pod| pod.metadata.owner_references = None)
    }
}

impl BuildPod for Pod {
    fn change(mut self, change: impl FnOnce(&mut Pod)) -> Self {
        change(&mut self);
        self
    }
}

fn set_state(statuses: &mut Vec<ContainerStatus>, name: &str, state: ContainerState) {
    statuses.retain(|status| status.name != name);
    statuses.push(ContainerStatus { name: name.into(), state: Some(state), ..ContainerStatus::default() });
}

pub fn running() -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(time(2)) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

pub fn waiting(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: Some(message.into()) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// The end of a container that ran from second 2 to second 4.
pub fn end(code: i32) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: code,
        reason: Some(if code == 0 { "Completed" } else { "Error" }.into()),
        started_at: Some(time(2)),
        finished_at: Some(time(4)),
        ..ContainerStateTerminated::default()
    }
}

/// Changes to a container's end, in a chain.
pub trait BuildEnd: Sized {
    fn change(self, change: impl FnOnce(&mut ContainerStateTerminated)) -> Self;
    fn into_state(self) -> ContainerState;

    fn at(self, seconds: i64) -> Self {
        self.change(|end| end.finished_at = Some(time(seconds)))
    }

    fn without_times(self) -> Self {
        self.change(|end| (end.started_at, end.finished_at) = (None, None))
    }

    fn reason(self, reason: &str) -> Self {
        self.change(|end| end.reason = Some(reason.into()))
    }

    fn signal(self, signal: i32) -> Self {
        self.change(|end| end.signal = Some(signal))
    }

    fn saying(self, message: &str) -> Self {
        self.change(|end| end.message = Some(message.into()))
    }
}

impl BuildEnd for ContainerStateTerminated {
    fn change(mut self, change: impl FnOnce(&mut ContainerStateTerminated)) -> Self {
        change(&mut self);
        self
    }

    fn into_state(self) -> ContainerState {
        ContainerState { terminated: Some(self), ..ContainerState::default() }
    }
}
