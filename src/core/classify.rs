//! What follows the end of an attempt: an ordered chain of checks, of which the first that applies decides. The wait is
//! computed later.

use super::known_reasons::OOM_KILLED;
use super::pod_snapshot::Outcome;
use super::rule_match;
use super::termination_report::Partial;
use crate::api::{
    Action, Backoff, Budgets, ConditionReason, FailureCount, FailureRule, RetryWait, RetryableTaskSpec,
    RetryableTaskStatus, RuleAction, StopReason,
};

/// Name of the built-in rule for attempts that the cluster ended: drain, preemption, eviction.
pub const DISRUPTION: &str = "disruption";
/// Name of the built-in rule for attempts that ran out of memory.
pub const OUT_OF_MEMORY: &str = "outOfMemory";
/// Name of the built-in rule for attempts whose main container never started.
pub const STARTUP: &str = "startup";
/// Name of the rule in the history if the task returned `doNotRetry`.
pub const DO_NOT_RETRY: &str = "doNotRetry";
/// Name of the budget to which failures are charged by default.
pub const MAX_RETRIES: &str = "maxRetries";
/// How many attempts a rule with action Ignore does not charge, unless it has its own `maxRetries`. It is also the
/// default of `budgets.disruptions`.
pub const IGNORE_BUDGET: i32 = 10;

/// What follows the end of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether another attempt or the end of the task follows.
    pub action: Action,
    /// The rule that matched.
    pub rule: Option<String>,
    /// Whether this end is counted in the rule's failure count.
    pub counted: bool,
    /// Whether `maxRetries` is charged.
    pub charged: bool,
    /// The rule's own back-off.
    pub backoff: Option<Backoff>,
    /// Why the task ends. None if it does not.
    pub end: Option<ConditionReason>,
    /// The budget whose exhaustion ends the task.
    pub exhausted: Option<String>,
}

impl Verdict {
    fn of(action: Action) -> Self {
        Self { action, ..Self::default() }
    }

    fn end(action: Action, end: ConditionReason) -> Self {
        Self { action, end: Some(end), ..Self::default() }
    }
}

/// The verdict on `outcome`. `stop` is why the operator stopped the Pod, if that ended it. `status` has what was
/// counted before. An exit code of 0 after the operator's SIGTERM is not a success.
pub fn classify(
    outcome: &Outcome,
    stop: Option<StopReason>,
    spec: &RetryableTaskSpec,
    status: &RetryableTaskStatus,
) -> Verdict {
    stopped(stop)
        .or_else(|| succeeded(outcome))
        .or_else(|| returned_do_not_retry(outcome))
        .or_else(|| by_rule(outcome, spec, status))
        .unwrap_or_else(|| charged(Verdict::default(), spec, status))
}

/// The stops that decide on their own. The others only change the outcome that the rules see.
fn stopped(stop: Option<StopReason>) -> Option<Verdict> {
    match stop? {
        StopReason::Suspended | StopReason::QueueDrained | StopReason::SpecChanged | StopReason::RetryNow => {
            Some(Verdict::of(Action::Ignore))
        }
        StopReason::DeadlineExceeded => Some(Verdict::end(Action::Fail, ConditionReason::DeadlineExceeded)),
        StopReason::Cancelled => Some(Verdict::end(Action::Fail, ConditionReason::Cancelled)),
        StopReason::AttemptTimeout | StopReason::StartupTimeout | StopReason::TaskEnded | StopReason::Unknown => None,
    }
}

fn succeeded(outcome: &Outcome) -> Option<Verdict> {
    let in_part = outcome.report.partial.is_some_and(Partial::has_failed);
    let end = if in_part { ConditionReason::PartiallySucceeded } else { ConditionReason::Succeeded };
    outcome.succeeded.then(|| Verdict::end(Action::Complete, end))
}

fn returned_do_not_retry(outcome: &Outcome) -> Option<Verdict> {
    let verdict = Verdict::end(Action::Fail, ConditionReason::DoNotRetry);
    outcome.report.do_not_retry.then(|| Verdict { rule: Some(DO_NOT_RETRY.into()), ..verdict })
}

fn by_rule(outcome: &Outcome, spec: &RetryableTaskSpec, status: &RetryableTaskStatus) -> Option<Verdict> {
    let own = spec.rules.iter().flatten().find(|rule| rule_match::matches(rule, outcome)).cloned();
    let rule = own.or_else(|| built_in(outcome, spec.budgets.as_ref()))?;
    Some(apply(rule, spec, status))
}

/// The built-in rules. They come after the user's rules.
fn built_in(outcome: &Outcome, budgets: Option<&Budgets>) -> Option<FailureRule> {
    let name = match outcome {
        Outcome { disrupted: true, .. } => DISRUPTION,
        Outcome { reason, .. } if reason == OOM_KILLED => OUT_OF_MEMORY,
        Outcome { never_started: true, .. } => STARTUP,
        _ => return None,
    };
    built_in_of(name, budgets)
}

fn built_in_of(name: &str, budgets: Option<&Budgets>) -> Option<FailureRule> {
    let Budgets { disruptions, out_of_memory, startup } = budgets.cloned().unwrap_or_default();
    let (action, max_retries) = match name {
        DISRUPTION => (RuleAction::Ignore, disruptions),
        OUT_OF_MEMORY => (RuleAction::Retry, out_of_memory),
        STARTUP => (RuleAction::Retry, startup),
        _ => return None,
    };
    Some(FailureRule { name: name.into(), when: None, action, max_retries, backoff: None })
}

/// The size of the budget of a rule, one of the spec's or a built-in one. None if the rule has no budget of its own.
pub fn budget(spec: &RetryableTaskSpec, name: &str) -> Option<i32> {
    rule_of(spec, name).and_then(|rule| own_budget(&rule))
}

fn rule_of(spec: &RetryableTaskSpec, name: &str) -> Option<FailureRule> {
    let own = spec.rules.iter().flatten().find(|rule| rule.name == name).cloned();
    own.or_else(|| built_in_of(name, spec.budgets.as_ref()))
}

fn own_budget(rule: &FailureRule) -> Option<i32> {
    match rule.action {
        RuleAction::Retry => rule.max_retries,
        RuleAction::Ignore => Some(rule.max_retries.unwrap_or(IGNORE_BUDGET)),
        RuleAction::Fail | RuleAction::Complete => None,
    }
}

fn apply(rule: FailureRule, spec: &RetryableTaskSpec, status: &RetryableTaskStatus) -> Verdict {
    let budget = own_budget(&rule);
    let FailureRule { name, when: _, action, max_retries: _, backoff } = rule;
    let used = count(status, &name);
    let matched = Verdict { rule: Some(name.clone()), counted: true, backoff, ..Verdict::default() };
    match (action, budget) {
        (RuleAction::Fail, _) => Verdict { action: Action::Fail, end: Some(ConditionReason::RuleFailed), ..matched },
        (RuleAction::Complete, _) => {
            Verdict { action: Action::Complete, end: Some(ConditionReason::PartiallySucceeded), ..matched }
        }
        (RuleAction::Ignore, Some(budget)) if used < budget => Verdict { action: Action::Ignore, ..matched },
        (RuleAction::Retry, Some(budget)) if used < budget => Verdict { action: Action::Retry, ..matched },
        (RuleAction::Retry, Some(_)) => {
            let end = Some(ConditionReason::BudgetExhausted);
            Verdict { action: Action::Fail, end, exhausted: Some(name), ..matched }
        }
        (RuleAction::Retry, None) | (RuleAction::Ignore, _) => charged(matched, spec, status),
    }
}

fn charged(verdict: Verdict, spec: &RetryableTaskSpec, status: &RetryableTaskStatus) -> Verdict {
    if status.retries < spec.max_retries {
        return Verdict { action: Action::Retry, charged: true, ..verdict };
    }
    let end = Some(ConditionReason::RetriesExhausted);
    Verdict { action: Action::Fail, end, exhausted: Some(MAX_RETRIES.into()), ..verdict }
}

/// The verdict on a failure whose retry waits, by the spec as it is now. The rule that the failure matched stays the
/// same.
pub fn again(wait: &RetryWait, spec: &RetryableTaskSpec, status: &RetryableTaskStatus) -> Verdict {
    let before = &RetryableTaskStatus {
        retries: status.retries.saturating_sub(i32::from(wait.charged)),
        failure_counts: status
            .failure_counts
            .iter()
            .cloned()
            .map(|counter| without(counter, wait.rule.as_deref()))
            .collect(),
        ..RetryableTaskStatus::default()
    };
    match (wait.rule.as_deref().and_then(|name| rule_of(spec, name)), wait.charged) {
        (Some(rule), _) => apply(rule, spec, before),
        (None, true) => charged(Verdict { rule: wait.rule.clone(), ..Verdict::default() }, spec, before),
        (None, false) => Verdict { rule: wait.rule.clone(), ..Verdict::of(wait.action) },
    }
}

/// The counter as it was before the failure that `rule` matched.
fn without(counter: FailureCount, rule: Option<&str>) -> FailureCount {
    let matched = i32::from(rule == Some(&counter.name));
    FailureCount { count: counter.count.saturating_sub(matched), ..counter }
}

/// How many failed attempts the rule has matched.
pub fn count(status: &RetryableTaskStatus, rule: &str) -> i32 {
    status.failure_counts.iter().find(|counter| counter.name == rule).map_or(0, |counter| counter.count)
}

#[cfg(test)]
mod tests;
