//! Counters match the history, and attempts stay within their budgets.

use super::{Violation, record::TaskRecord};
use retryable_tasks::api::{Action, HistoryEntry, RetryableTask, RetryableTaskSpec, RuleAction};
use std::collections::{BTreeMap, BTreeSet};

/// The default of a rule's `maxRetries` for attempts that it ignores.
const IGNORED: i32 = 10;

pub fn check(record: &TaskRecord, violations: &mut Vec<Violation>) {
    counters(record, violations);
    budgets(record, violations);
}

/// Whether the attempt was charged to the task's `maxRetries`, and not to a budget of its rule.
pub fn is_charged(task: &RetryableTask, entry: &HistoryEntry) -> bool {
    let budgets = task.spec.budgets.clone().unwrap_or_default();
    let own = match entry.rule.as_deref() {
        Some("outOfMemory") => budgets.out_of_memory.is_some(),
        Some("startup") => budgets.startup.is_some(),
        name => {
            let rule = task.spec.rules.iter().flatten().find(|rule| Some(rule.name.as_str()) == name);
            rule.is_some_and(|rule| rule.action == RuleAction::Retry && rule.max_retries.is_some())
        }
    };
    entry.action == Action::Retry && !own
}

/// Counters match the history, and the history matches the Pods.
fn counters(record: &TaskRecord, violations: &mut Vec<Violation>) {
    let status = record.last_status();
    // Each entry as it is now, with the version that had it first, for the spec of that time.
    let entries = || record.entries.iter().map(|(number, (at, _))| (at, &record.last_entries[number].1));
    let closed = i32::try_from(record.entries.len()).unwrap_or(0);
    let written = i32::try_from(status.history.len()).unwrap_or(0) + status.history_dropped;
    let mut expect = |what: &str, given: i32, expected: usize| {
        if i32::try_from(expected) != Ok(given) {
            let text = format!("{}: {what} is {given}, and should be {expected}", record.name);
            violations.push(Violation::new("totals add up", text));
        }
    };
    // With a limit of 0, entries are never visible and cannot be counted.
    if written == closed {
        let run = || entries().filter(|(_, entry)| entry.run == status.run.map(|run| run.number));
        expect("retries", status.retries, run().filter(|&(at, e)| is_charged(&record.versions[*at].1, e)).count());
        expect("ignored", status.ignored, run().filter(|(_, e)| e.action == Action::Ignore).count());
        let named = |name: &str| run().filter(|(_, e)| e.rule.as_deref() == Some(name)).count();
        for class in &status.failure_counts {
            expect(&format!("failure_counts.{}", class.name), class.count, named(&class.name));
        }
        let counted: i32 = status.failure_counts.iter().map(|class| class.count).sum();
        let ruled = run()
            .filter(|(_, e)| e.rule.as_deref().is_some_and(|rule| !matches!(rule, "doNotRetry" | "circuit")))
            .count();
        expect("all failure_counts", counted, ruled);
    }
    let podless = entries().filter(|(_, entry)| entry.pod_uid.is_none()).map(|(_, entry)| entry.attempt);
    let numbers: BTreeSet<i32> = record.attempts().map(|pod| pod.number).chain(podless).collect();
    let is_timed = |(_, task): &(_, RetryableTask)| task.spec.startup_timeout_seconds.is_some();
    if written != closed && record.versions.iter().any(is_timed) {
        return; // entries that were never visible may be of attempts without a Pod
    }
    let between_attempts = status.current.as_ref().is_none_or(|current| current.pod_name.is_none());
    if between_attempts && record.deletion_requested().is_none() {
        expect("attempts", status.attempts, numbers.len());
    }
    if status.completion_time.is_some() {
        expect("history and historyDropped", written, numbers.len());
    }
}

/// A task has no more attempts than the most generous spec that it ever had allows.
fn budgets(record: &TaskRecord, violations: &mut Vec<Violation>) {
    let mut within = |what: &str, used: usize, most: i32| {
        if i32::try_from(used).unwrap_or(i32::MAX) > most {
            let text = format!("{}: {what}: {used} of {most}", record.name);
            violations.push(Violation::new("attempts stay within their budgets", text));
        }
    };
    let specs = || record.versions.iter().map(|(_, task)| &task.spec);
    let retries = record.versions.iter().filter_map(|(_, task)| Some(task.status.as_ref()?.retries)).max().unwrap_or(0);
    within(
        "maxRetries",
        usize::try_from(retries).unwrap_or(0),
        specs().map(|spec| spec.max_retries).max().unwrap_or(0),
    );
    let mut used: BTreeMap<(Option<i32>, String, bool), usize> = BTreeMap::new();
    for (number, (at, _)) in &record.entries {
        let entry = &record.last_entries[number].1;
        let goes_on = matches!(entry.action, Action::Retry | Action::Ignore);
        let uncharged = goes_on && !is_charged(&record.versions[*at].1, entry);
        // A probe volunteers, and is charged to nothing.
        let is_probe = entry.rule.as_deref() == Some("circuit");
        if let Some(rule) = entry.rule.clone().filter(|_| uncharged && !is_probe) {
            *used.entry((entry.run, rule, entry.action == Action::Ignore)).or_default() += 1;
        }
    }
    for ((_, name, ignored), used) in used {
        let budget = |spec: &RetryableTaskSpec| {
            let budgets = spec.budgets.clone().unwrap_or_default();
            let own = match name.as_str() {
                "disruption" => budgets.disruptions,
                "outOfMemory" => budgets.out_of_memory,
                "startup" => budgets.startup,
                name => spec.rules.iter().flatten().find(|rule| rule.name == name).and_then(|rule| rule.max_retries),
            };
            own.unwrap_or(if ignored { IGNORED } else { 0 })
        };
        within(&name, used, specs().map(budget).max().unwrap_or(0));
    }
}
