//! What it means that the API server did not create a Pod.

use super::oom;
use crate::api::ConditionReason;
use jiff::SignedDuration;

/// For how long a creation may fail before the status says so: a new namespace has no ServiceAccount yet, two requests
/// meet in a quota, an API server starts again.
pub const FAILS_UNSAID: SignedDuration = SignedDuration::from_secs(3);
/// How long until it is tried again in that time.
pub const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// For how long a status may not be stored before an Event says so.
pub const UNSTORED_UNSAID: SignedDuration = SignedDuration::from_secs(3);

/// A creation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What the answer was.
    pub answer: Refusal,
    /// The server's own words, or the client's if there was no answer; at most 1 KiB.
    pub message: String,
}

/// How a creation was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With this HTTP status code.
    Code(u16),
    /// Not at all: the connection failed, or the time was over.
    NoAnswer,
    /// A Pod that is not this task's has the name.
    NameConflict,
}

impl Rejection {
    /// `PodRejected` where the server means this Pod, `FailedCreate` (the Job controller's word) where it cannot do it
    /// now, or `PodNameConflict`.
    pub fn reason(&self) -> ConditionReason {
        match self.answer {
            Refusal::NameConflict => ConditionReason::PodNameConflict,
            Refusal::Code(_) if self.is_of_this_pod() => ConditionReason::PodRejected,
            Refusal::NoAnswer | Refusal::Code(408 | 429) => ConditionReason::FailedCreate,
            // Requests that met in a quota.
            Refusal::Code(409) if self.message.contains("Operation cannot be fulfilled") => {
                ConditionReason::FailedCreate
            }
            Refusal::Code(400..=499) => ConditionReason::PodRejected,
            Refusal::Code(_) => ConditionReason::FailedCreate,
        }
    }

    /// Whether the Pod can be there, or come, in spite of the answer.
    pub fn may_be_stored(&self) -> bool {
        match self.answer {
            Refusal::NoAnswer | Refusal::Code(408) => true,
            Refusal::Code(code) => !(400..=499).contains(&code),
            Refusal::NameConflict => false,
        }
    }

    /// Whatever the code, the same Pod meets it again: a webhook denied it or fails, or it is too large for the store.
    fn is_of_this_pod(&self) -> bool {
        is_of_admission(&self.message)
            || ["request is too large", "message larger than max"].iter().any(|words| self.message.contains(words))
    }

    /// Whether the Pod asks for more memory than can ever be admitted. A quota that others use up for now is not meant.
    pub fn is_of_memory(&self) -> bool {
        if self.reason() != ConditionReason::PodRejected {
            return false;
        }
        let Some((_, quota)) = self.message.split_once("exceeded quota: ") else {
            // Names stand in quotes, and may be anything.
            let words: String = self.message.split('"').step_by(2).collect();
            return words.contains("memory") && !words.contains("minimum memory");
        };
        let limited = amounts_after(quota, "limited: ");
        let limit = |name: &str| limited.iter().find(|(other, _)| *other == name).map(|(_, bytes)| *bytes);
        amounts_after(quota, "requested: ").iter().any(|(name, bytes)| limit(name).is_some_and(|limit| *bytes > limit))
    }

    /// Whether a quota on the number of Pods is used up, ended ones included.
    pub fn is_of_pod_count(&self) -> bool {
        speaks_of_pod_count(&self.message)
    }
}

/// Whether the API server's words are those of an admission webhook or policy, which may choose any code. Names stand in
/// quotes, and may be anything.
pub fn is_of_admission(message: &str) -> bool {
    let words: String = message.split('"').step_by(2).collect();
    words.contains("webhook") || words.contains("ValidatingAdmissionPolicy")
}

/// Whether an answer means that the API server will not make this change, however often it is asked. `InternalError` is
/// how it reports a webhook that fails.
pub fn is_of_this_change(code: u16, reason: &str, message: &str) -> bool {
    matches!(code, 400 | 403 | 422) || (code == 500 && reason == "InternalError") || is_of_admission(message)
}

/// Whether the API server's words are those of a quota on the number of Pods, ended ones included.
pub fn speaks_of_pod_count(message: &str) -> bool {
    message.contains("exceeded quota") && message.contains("count/pods=")
}

/// The amounts of memory in one list of a quota's message, such as `requested: limits.memory=48Mi,pods=1, used: …`.
fn amounts_after<'a>(quota: &'a str, list: &str) -> Vec<(&'a str, u128)> {
    let Some((_, rest)) = quota.split_once(list) else { return Vec::new() };
    let all = rest.split(", ").next().unwrap_or_default().split(',').filter_map(|amount| amount.split_once('='));
    let memory = all.filter(|(name, _)| ["memory", "requests.memory", "limits.memory"].contains(name));
    memory.filter_map(|(name, amount)| Some((name, oom::parse(amount.trim())?))).collect()
}

#[cfg(test)]
mod tests;
