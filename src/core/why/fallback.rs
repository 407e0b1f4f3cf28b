//! A task that has failed, and whose fallback has yet to end.

use super::{Subject, one_line};
use crate::api::ConditionType;
use crate::core::condition_list;

impl Subject<'_> {
    /// Why the task will be failed.
    pub(super) fn failure_target(&self) -> String {
        let target = condition_list::find(&self.status.conditions, ConditionType::FailureTarget);
        target.map_or_else(
            || "for a reason that its status does not have".into(),
            |target| format!("{}: {}", target.reason, one_line(&target.message)),
        )
    }
}
