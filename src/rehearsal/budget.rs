//! Which budget an end was charged to, read off the status before and after it.

use super::BudgetUse;
use crate::api::{Action, HistoryEntry, RetryableTaskSpec, RetryableTaskStatus, RuleAction};
use crate::core::classify::{DISRUPTION, IGNORE_BUDGET, MAX_RETRIES, OUT_OF_MEMORY, STARTUP, count};

/// The budget of what follows `entry`.
pub(super) fn used(
    spec: &RetryableTaskSpec,
    before: &RetryableTaskStatus,
    after: &RetryableTaskStatus,
    entry: &HistoryEntry,
) -> Option<BudgetUse> {
    let task = || BudgetUse { name: MAX_RETRIES.into(), used: after.retries, limit: spec.max_retries };
    let rule = |name: &str| {
        let limit = limit(spec, name)?;
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

/// How much a rule's own budget holds.
fn limit(spec: &RetryableTaskSpec, name: &str) -> Option<i32> {
    if let Some(rule) = spec.rules.iter().flatten().find(|rule| rule.name == name) {
        return rule.max_retries.or((rule.action == RuleAction::Ignore).then_some(IGNORE_BUDGET));
    }
    let budgets = spec.budgets.clone().unwrap_or_default();
    match name {
        DISRUPTION => Some(budgets.disruptions.unwrap_or(IGNORE_BUDGET)),
        OUT_OF_MEMORY => budgets.out_of_memory,
        STARTUP => budgets.startup,
        _ => None,
    }
}
