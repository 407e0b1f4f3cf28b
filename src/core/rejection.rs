//! What it means when the API server does not create a Pod.

use super::memory_raise;
use crate::api::ConditionReason;
use jiff::SignedDuration;

/// For how long the creation may fail before the status reports it. Short failures are normal: a new namespace has no
/// ServiceAccount yet, two requests conflict in a quota, the API server restarts.
pub const FAILS_UNSAID: SignedDuration = SignedDuration::from_secs(3);
/// How long to wait before the next try within that time.
pub const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// For how long writes of a status may fail before an Event reports it.
pub const UNSTORED_UNSAID: SignedDuration = SignedDuration::from_secs(3);

/// A creation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// How the API server answered.
    pub answer: Refusal,
    /// The API server's message, or the client's if there was no answer. At most 1 KiB.
    pub message: String,
}

/// How a creation was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With this HTTP status code.
    Code(u16),
    /// Not at all: the connection failed, or the request timed out.
    NoAnswer,
    /// The name is taken by a Pod that does not belong to this task.
    NameConflict,
}

impl Rejection {
    /// `PodRejected` if the API server rejects this Pod, `FailedCreate` (as in a Job's Events) if it cannot create it
    /// now, or `PodNameConflict`.
    pub fn reason(&self) -> ConditionReason {
        match self.answer {
            Refusal::NameConflict => ConditionReason::PodNameConflict,
            Refusal::Code(_) if self.is_of_this_pod() => ConditionReason::PodRejected,
            Refusal::NoAnswer | Refusal::Code(408 | 429) => ConditionReason::FailedCreate,
            // Two requests conflicted in a quota.
            Refusal::Code(409) if self.message.contains("Operation cannot be fulfilled") => {
                ConditionReason::FailedCreate
            }
            Refusal::Code(400..=499) => ConditionReason::PodRejected,
            Refusal::Code(_) => ConditionReason::FailedCreate,
        }
    }

    /// Whether the Pod may exist, or be created later, in spite of the answer.
    pub fn may_be_stored(&self) -> bool {
        match self.answer {
            Refusal::NoAnswer | Refusal::Code(408) => true,
            Refusal::Code(code) => !(400..=499).contains(&code),
            Refusal::NameConflict => false,
        }
    }

    /// Whether the API server would refuse the same Pod again, whatever the status code: a webhook denied it or failed,
    /// or it is too large for etcd.
    fn is_of_this_pod(&self) -> bool {
        is_of_admission(&self.message)
            || ["request is too large", "message larger than max"].iter().any(|words| self.message.contains(words))
    }

    /// Whether the Pod requests more memory than can ever be admitted. A quota that other Pods use up at the moment
    /// does not count.
    pub fn is_of_memory(&self) -> bool {
        if self.reason() != ConditionReason::PodRejected {
            return false;
        }
        let Some((_, quota)) = self.message.split_once("exceeded quota: ") else {
            // Names are in quotes and may contain any word.
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

/// Whether the API server's message comes from an admission webhook or policy. These may choose any status code. Names
/// are in quotes and may contain any word, so they are left out.
pub fn is_of_admission(message: &str) -> bool {
    let words: String = message.split('"').step_by(2).collect();
    words.contains("webhook") || words.contains("ValidatingAdmissionPolicy")
}

/// Whether the API server would refuse the same change again. It reports a failing webhook as `InternalError`.
pub fn is_of_this_change(code: u16, reason: &str, message: &str) -> bool {
    matches!(code, 400 | 403 | 422) || (code == 500 && reason == "InternalError") || is_of_admission(message)
}

/// Whether the API server's message comes from a quota on the number of Pods, ended ones included.
pub fn speaks_of_pod_count(message: &str) -> bool {
    message.contains("exceeded quota") && message.contains("count/pods=")
}

/// The amounts of memory in one list of a quota's message, such as `requested: limits.memory=48Mi,pods=1, used: …`.
fn amounts_after<'a>(quota: &'a str, list: &str) -> Vec<(&'a str, u128)> {
    let Some((_, rest)) = quota.split_once(list) else { return Vec::new() };
    let all = rest.split(", ").next().unwrap_or_default().split(',').filter_map(|amount| amount.split_once('='));
    let memory = all.filter(|(name, _)| ["memory", "requests.memory", "limits.memory"].contains(name));
    memory.filter_map(|(name, amount)| Some((name, memory_raise::parse(amount.trim())?))).collect()
}

#[cfg(test)]
mod tests;
