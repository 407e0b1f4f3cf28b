//! Which budget an end was charged to. The status before and after it shows this.

use super::BudgetUse;
use crate::api::{Action, HistoryEntry, RetryableTaskSpec, RetryableTaskStatus};
use crate::core::classify::{MAX_RETRIES, budget, count};

/// The budget that was charged for what follows `entry`.
pub(super) fn used(
    spec: &RetryableTaskSpec,
    before: &RetryableTaskStatus,
    after: &RetryableTaskStatus,
    entry: &HistoryEntry,
) -> Option<BudgetUse> {
    let task = || BudgetUse { name: MAX_RETRIES.into(), used: after.retries, limit: spec.max_retries };
    let rule = |name: &str| {
        let limit = budget(spec, name)?;
        Some(BudgetUse { name: name.into(), used: count(after, name).min(limit), limit })
    };
    if let Some(exhausted) = after.exhausted_budget.as_deref() {
        return if exhausted == MAX_RETRIES { Some(task()) } else { rule(exhausted) };
    }
    match entry.action {
        Action::Retry if after.retries > before.retries => Some(task()),
        Action::Retry | Action::Ignore => rule(entry.rule.as_deref()?),
        Action::Complete | Action::Fail | Action::Unknown => None,
    }
}
