//! A Pod's status, as the kubelet writes it.

use super::fate::Ending;
use crate::server::stamp;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The state of one container.
#[derive(Clone, Debug)]
pub enum Container {
    /// Not started, for this reason.
    Waiting(&'static str),
    /// Running since.
    Running(Timestamp),
    /// Ended.
    Ended(Terminated),
}

/// How a container ended.
#[derive(Clone, Debug)]
pub struct Terminated {
    /// When it had started, if it had.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// Its exit code.
    pub exit: i32,
    /// The runtime's reason.
    pub reason: &'static str,
    /// Its termination message.
    pub message: Option<String>,
}

impl Container {
    /// It ends now with this code.
    pub fn exited(started: Timestamp, finished: Timestamp, exit: i32) -> Self {
        let reason = if exit == 0 { "Completed" } else { "Error" };
        Self::Ended(Terminated { started: Some(started), finished, exit, reason, message: None })
    }

    /// It ends now by itself.
    pub fn ended(started: Timestamp, finished: Timestamp, ending: &Ending) -> Self {
        let (exit, reason, message) = match ending {
            Ending::Exit(0, message) => (0, "Completed", message.clone()),
            Ending::Exit(code, message) => (*code, "Error", message.clone()),
            Ending::OutOfMemory(true) => (137, "OOMKilled", None),
            Ending::OutOfMemory(false) | Ending::Evicted(_) => (137, "Error", None),
            Ending::Signal(signal) => (128 + signal, "Error", None),
            Ending::Unknown => (137, "ContainerStatusUnknown", None),
        };
        Self::Ended(Terminated { started: Some(started), finished, exit, reason, message })
    }

    /// It was never started, and never will be.
    pub fn never_started(now: Timestamp) -> Self {
        let message = Some("The container could not be located when the pod was terminated".into());
        let reason = "ContainerStatusUnknown";
        Self::Ended(Terminated { started: None, finished: now, exit: 137, reason, message })
    }

    /// Since when it has been running, if it is.
    pub fn running_since(&self) -> Option<Timestamp> {
        match self {
            Self::Running(since) => Some(*since),
            Self::Waiting(_) | Self::Ended(_) => None,
        }
    }

    /// Its exit code, if it ended.
    pub fn exit(&self) -> Option<i32> {
        match self {
            Self::Ended(end) => Some(end.exit),
            Self::Waiting(_) | Self::Running(_) => None,
        }
    }

    fn state(&self) -> Value {
        match self {
            Self::Waiting(reason) => json!({"waiting": {"reason": reason}}),
            Self::Running(since) => json!({"running": {"startedAt": stamp(*since)}}),
            Self::Ended(end) => {
                let mut terminated =
                    json!({"exitCode": end.exit, "reason": end.reason, "finishedAt": stamp(end.finished)});
                if let Some(started) = end.started {
                    terminated["startedAt"] = json!(stamp(started));
                }
                if let Some(message) = &end.message {
                    terminated["message"] = json!(message);
                }
                json!({"terminated": terminated})
            }
        }
    }
}

/// `containerStatuses` of these containers.
pub fn statuses(containers: &[(String, Container)]) -> Value {
    let one = |(name, container): &(String, Container)| {
        let ready = container.running_since().is_some();
        json!({"name": name, "image": "image", "imageID": "", "restartCount": 0, "ready": ready, "started": ready, "state": container.state()})
    };
    containers.iter().map(one).collect()
}

/// The phase of a Pod whose ordinary containers are these.
pub fn phase(containers: &[(String, Container)]) -> &'static str {
    let ended = containers.iter().all(|(_, c)| c.exit().is_some());
    let started = containers.iter().any(|(_, c)| !matches!(c, Container::Waiting(_)));
    match (ended, started) {
        (true, _) if containers.iter().all(|(_, c)| c.exit() == Some(0)) => "Succeeded",
        (true, _) => "Failed",
        (false, true) => "Running",
        (false, false) => "Pending",
    }
}

/// The conditions with this one in it.
pub fn with_condition(pod: &Value, kind: &str, status: bool, reason: &str, now: Timestamp) -> Value {
    let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let status = if status { "True" } else { "False" };
    if conditions.iter().any(|c| c["type"] == kind && c["status"] == status && c["reason"] == reason) {
        return Value::Array(conditions);
    }
    conditions.retain(|c| c["type"] != kind);
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": stamp(now)});
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
    }
    conditions.push(condition);
    Value::Array(conditions)
}
