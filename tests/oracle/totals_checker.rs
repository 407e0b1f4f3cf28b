//! Totals add up, and attempts stay within their budgets.

use super::{Violation, record::TaskRecord};
use retryable_tasks::api::{Action, HistoryEntry, RetryableTask, RetryableTaskSpec, RuleAction};
use std::collections::{BTreeMap, BTreeSet};

/// How many attempts a rule does not charge unless it says so itself.
const IGNORED: i32 = 10;

pub fn check(story: &TaskRecord, found: &mut Vec<Violation>) {
    counters(story, found);
    budgets(story, found);
}

/// Whether the attempt was charged to `maxRetries`: retried, and not from a budget of its rule's own.
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

/// Counters agree with the books, and the books with the Pods that there were.
fn counters(story: &TaskRecord, found: &mut Vec<Violation>) {
    let status = story.last_status();
    // As they were first, for the spec that held then, and as they are now.
    let entries = || story.entries.iter().map(|(number, (at, _))| (at, &story.last_entries[number].1));
    let closed = i32::try_from(story.entries.len()).unwrap_or(0);
    let written = i32::try_from(status.history.len()).unwrap_or(0) + status.history_dropped;
    let mut expect = |what: &str, given: i32, expected: usize| {
        if i32::try_from(expected) != Ok(given) {
            let text = format!("{}: {what} is {given}, and should be {expected}", story.name);
            found.push(Violation::new("totals add up", text));
        }
    };
    // Entries that were never seen (a limit of 0) cannot be counted.
    if written == closed {
        let run = || entries().filter(|(_, entry)| entry.run == status.run.map(|run| run.number));
        expect("retries", status.retries, run().filter(|&(at, e)| is_charged(&story.versions[*at].1, e)).count());
        expect("ignored", status.ignored, run().filter(|(_, e)| e.action == Action::Ignore).count());
        let named = |name: &str| run().filter(|(_, e)| e.rule.as_deref() == Some(name)).count();
        for class in &status.failure_counts {
            expect(&format!("failure_counts.{}", class.name), class.count, named(&class.name));
        }
        let counted: i32 = status.failure_counts.iter().map(|class| class.count).sum();
        let ruled = run().filter(|(_, e)| e.rule.as_deref().is_some_and(|rule| rule != "doNotRetry")).count();
        expect("all failure_counts", counted, ruled);
    }
    let podless = entries().filter(|(_, entry)| entry.pod_uid.is_none()).map(|(_, entry)| entry.attempt);
    let numbers: BTreeSet<i32> = story.attempts().map(|pod| pod.number).chain(podless).collect();
    let is_timed = |(_, task): &(_, RetryableTask)| task.spec.startup_timeout_seconds.is_some();
    if written != closed && story.versions.iter().any(is_timed) {
        return; // attempts without a Pod may be among the entries that were never seen
    }
    let at_rest = status.current.as_ref().is_none_or(|current| current.pod_name.is_none());
    if at_rest && story.deleted().is_none() {
        expect("attempts", status.attempts, numbers.len());
    }
    if status.completion_time.is_some() {
        expect("history and historyDropped", written, numbers.len());
    }
}

/// The most generous spec that the task ever had bounds its attempts.
fn budgets(story: &TaskRecord, found: &mut Vec<Violation>) {
    let mut within = |what: &str, used: usize, most: i32| {
        if i32::try_from(used).unwrap_or(i32::MAX) > most {
            let text = format!("{}: {what}: {used} of {most}", story.name);
            found.push(Violation::new("attempts stay within their budgets", text));
        }
    };
    let specs = || story.versions.iter().map(|(_, task)| &task.spec);
    let retries = story.versions.iter().filter_map(|(_, task)| Some(task.status.as_ref()?.retries)).max().unwrap_or(0);
    within(
        "maxRetries",
        usize::try_from(retries).unwrap_or(0),
        specs().map(|spec| spec.max_retries).max().unwrap_or(0),
    );
    let mut used: BTreeMap<(Option<i32>, String, bool), usize> = BTreeMap::new();
    for (number, (at, _)) in &story.entries {
        let entry = &story.last_entries[number].1;
        let goes_on = matches!(entry.action, Action::Retry | Action::Ignore);
        let uncharged = goes_on && !is_charged(&story.versions[*at].1, entry);
        if let Some(rule) = entry.rule.clone().filter(|_| uncharged) {
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
