//! How a task ended, and what becomes of it.

use super::{Subject, Why, quote};
use crate::api::{ConditionReason, ConditionType};
use crate::core::condition_list;
use crate::core::decide::ttl_seconds;
use crate::core::time::plus;
use jiff::SignedDuration;

impl Subject<'_> {
    pub(super) fn ended(&self) -> Why {
        let conditions = &self.status.conditions;
        let ended = [ConditionType::Complete, ConditionType::Failed, ConditionType::Finished]
            .into_iter()
            .find_map(|type_| condition_list::find(conditions, type_).filter(|condition| condition.status == "True"));
        let Some(ended) = ended else { return Why::of("It has ended") };
        let ago = self.status.completion_time.as_ref().map_or(String::new(), |at| format!(" {} ago", self.ago(at.0)));
        let took = self.status.duration.as_ref().map_or(String::new(), |took| format!(", after {took}"));
        let reason = &*ended.reason;
        let how = if reason == ConditionReason::Succeeded.as_str() {
            "Succeeded".to_owned()
        } else if reason == ConditionReason::PartiallySucceeded.as_str() {
            "Succeeded in part".to_owned()
        } else if reason == ConditionReason::Cancelled.as_str() {
            "Cancelled".to_owned()
        } else {
            format!("Failed with {reason}")
        };
        self.with_rest(Why::of(format!("{how}{ago}{took}{}", quote(Some(&ended.message)))))
    }

    fn with_rest(&self, why: Why) -> Why {
        let ttl = ttl_seconds(&self.task.spec, self.status).zip(self.status.completion_time.as_ref());
        let Some((seconds, ended)) = ttl else { return why };
        let gone = plus(ended.0, SignedDuration::from_secs(seconds.into()));
        if gone <= self.known.now {
            return why.hint("Its time to live is over: it is about to be deleted.");
        }
        why.hint(format!("It is deleted {} (ttlSecondsAfterFinished {seconds}).", self.at(gone)))
    }
}
