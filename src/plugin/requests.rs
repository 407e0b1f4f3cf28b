//! What the verbs ask of the operator: patches, and how it is known that they have had their effect.

use crate::api::{
    ANNOTATION_CANCEL, ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN, Acknowledged, ConditionType, RetryableTask, State,
    StopReason,
};
use crate::core::condition_list;
use crate::core::decide::{is_finished, nothing_has_begun};
use serde_json::{Value, json};

/// What is asked of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the next attempt without its wait.
    RetryNow,
    /// Run again, now or once it has ended.
    RunAgain {
        /// Without the checkpoint.
        from_start: bool,
    },
    /// End it.
    Cancel,
    /// Let no attempt run.
    Suspend,
    /// Go on.
    Resume,
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The operator has acted, and says so.
    Done(String),
    /// It is requested, and takes effect at a time that may be far: nothing is waited for.
    Later(String),
    /// The operator has acted, and the Pod has yet to end.
    Stopping(String),
    /// The operator has not acted yet.
    Pending,
}

impl Action {
    /// Its verb.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::RetryNow => "retry-now",
            Self::RunAgain { .. } => "run-again",
            Self::Cancel => "cancel",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    const fn annotation(self) -> Option<&'static str> {
        match self {
            Self::RetryNow => Some(ANNOTATION_RETRY_NOW),
            Self::RunAgain { .. } => Some(ANNOTATION_RUN_AGAIN),
            Self::Cancel => Some(ANNOTATION_CANCEL),
            Self::Suspend | Self::Resume => None,
        }
    }

    /// Why nothing needs to be asked of the task, if that is so.
    pub fn needless(self, task: &RetryableTask) -> Option<&'static str> {
        let conditions = task.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        match self {
            // One that is suspended after its end would stand still when it is run again.
            Self::RetryNow | Self::Cancel | Self::Suspend if is_finished(conditions) => Some("it has ended"),
            Self::RunAgain { .. } if task.status.as_ref().is_none_or(nothing_has_begun) => Some("it has not run yet"),
            Self::Suspend if task.spec.suspend => Some("it is suspended"),
            Self::Resume if !task.spec.suspend => Some("it is not suspended"),
            Self::RetryNow | Self::Cancel | Self::RunAgain { .. } | Self::Suspend | Self::Resume => None,
        }
    }

    /// The merge patch that asks for it, of the version of the task that was read and of no other. `id` makes the request one of its own.
    pub fn patch(self, task: &RetryableTask, id: &str) -> Value {
        let mut patch = json!({"metadata": {"resourceVersion": task.metadata.resource_version}});
        match (self, self.annotation()) {
            (_, Some(annotation)) => patch["metadata"]["annotations"] = json!({annotation: self.value(id)}),
            (Self::Suspend, None) => patch["spec"] = json!({"suspend": true}),
            (_, None) => patch["spec"] = json!({"suspend": false}),
        }
        patch
    }

    /// The value of the annotation.
    fn value(self, id: &str) -> String {
        match self {
            Self::RunAgain { from_start: true } => format!("{id} from-start"),
            _ => id.to_owned(),
        }
    }

    /// What has become of the request with that id. `task` is as it is now, after the patch.
    pub fn progress(self, task: &RetryableTask, id: &str) -> Progress {
        let Some(status) = &task.status else { return Progress::Pending };
        if let Some(annotation) = self.annotation() {
            let value = self.value(id);
            if let Some(effect) = effect(&status.acknowledged, annotation, &value) {
                return Progress::Done(effect);
            }
            return match self {
                Self::RunAgain { .. } if !is_finished(&status.conditions) => {
                    Progress::Later("it runs again once it has ended".into())
                }
                Self::Cancel => stopping(task, StopReason::Cancelled, "cancelled").unwrap_or(Progress::Pending),
                _ => Progress::Pending,
            };
        }
        if status.observed_generation < task.metadata.generation {
            return Progress::Pending;
        }
        if is_finished(&status.conditions) {
            return Progress::Done("it has ended".into());
        }
        let is_suspended = condition_list::is_true(&status.conditions, ConditionType::Suspended);
        match self {
            Self::Suspend if status.state == Some(State::Suspended) => Progress::Done("it is suspended".into()),
            Self::Suspend if is_fallback(task) => Progress::Later("its fallback runs on".into()),
            Self::Suspend => stopping(task, StopReason::Suspended, "suspended").unwrap_or(Progress::Pending),
            Self::Resume if !is_suspended => Progress::Done("it goes on".into()),
            _ => Progress::Pending,
        }
    }

    /// Whether the task has the request with that id: whoever got no answer does not know whether it was stored.
    pub fn is_stored(self, task: &RetryableTask, id: &str) -> bool {
        match (self, self.annotation()) {
            (_, Some(annotation)) => {
                let stored = task.metadata.annotations.as_ref().and_then(|all| all.get(annotation));
                stored.is_some_and(|value| *value == self.value(id))
            }
            (Self::Suspend, None) => task.spec.suspend,
            (_, None) => !task.spec.suspend,
        }
    }
}

/// That the operator stops the attempt's Pod for that reason, which it stores before it does so.
fn stopping(task: &RetryableTask, reason: StopReason, what: &str) -> Option<Progress> {
    let current = task.status.as_ref()?.current.as_ref()?;
    let pod = current.pod_name.as_deref().filter(|_| current.stop_reason == Some(reason))?;
    Some(Progress::Stopping(format!("Pod {pod} is being stopped; the task is {what} when it has ended")))
}

fn is_fallback(task: &RetryableTask) -> bool {
    let current = task.status.as_ref().and_then(|status| status.current.as_ref());
    current.is_some_and(|current| current.fallback && current.pod_name.is_some())
}

/// The effect of the request by that annotation with that value, once it is acknowledged.
pub fn effect(acknowledged: &[Acknowledged], annotation: &str, value: &str) -> Option<String> {
    let is_it = |known: &&Acknowledged| known.annotation == annotation && known.value == value;
    acknowledged.iter().find(is_it).map(|known| known.effect.clone())
}
