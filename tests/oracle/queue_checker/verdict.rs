//! What the histories say of a service, and whether the circuit follows.

use super::super::{Violation, record::TaskRecord};
use super::record::{QueueRecord, Queues, state};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::api::{
    Action, Circuit, CircuitBreaker, CircuitMode, CircuitState, HistoryEntry, IntOrText, OpenAfter, RetryableTask,
    ServiceFailures, TaskQueue,
};
use std::time::Duration;

/// The end of an attempt that says something of the service.
pub struct Vote<'a> {
    /// The task.
    pub task: &'a TaskRecord,
    /// The attempt.
    pub attempt: i32,
    /// Whether it is a failure of the service.
    pub failed: bool,
    /// Whether the attempt held a slot of the queue.
    pub is_own: bool,
    /// When it ended, by its node's clock, cut to whole seconds.
    pub finished: Timestamp,
    /// When that was stored.
    pub recorded: Duration,
}

pub fn check(queues: &Queues, violations: &mut Vec<Violation>) {
    for queue in &queues.all {
        for index in 1..queue.versions.len() {
            follows(queues, queue, index, violations);
        }
    }
}

fn circuit(queue: &TaskQueue) -> Option<(&Circuit, &CircuitBreaker)> {
    Some((queue.status.as_ref()?.circuit.as_ref()?, queue.spec.circuit_breaker.as_ref()?))
}

/// Q10: a transition follows from the stored histories.
///
/// The queue's status is written with the version that was read, so the spec of a version is the one that its circuit was decided by. The
/// evidence errs towards Closed: what is lost with a deleted task does not count. So the rule is one-sided: the circuit opens, or opens
/// again, only for failures that were recorded, and closes only for probes that were.
fn follows(queues: &Queues, queue: &QueueRecord, index: usize, violations: &mut Vec<Violation>) {
    let (before, version) = (&queue.versions[index - 1], &queue.versions[index]);
    let Some((new, breaker)) = version.queue.as_ref().and_then(circuit) else { return };
    let is_same = |queue: &TaskQueue| version.queue.as_ref().is_some_and(|new| new.metadata.uid == queue.metadata.uid);
    let Some(old) = before.queue.as_ref().filter(|old| is_same(old)) else { return };
    let old_state = state(Some(old));
    if old_state == new.state || breaker.mode != CircuitMode::Enforce && breaker.mode != CircuitMode::Observe {
        return;
    }
    let fault = match (old_state, new.state) {
        (CircuitState::Closed, CircuitState::Open | CircuitState::WouldOpen) => {
            let OpenAfter { tasks, percent, within_seconds } = breaker.open_after.clone().unwrap_or_default();
            let (failed, others) = tally(queues, queue, breaker, (index, within_seconds.unwrap_or(300)));
            let (tasks, percent) = (number(tasks.unwrap_or(5)), number(percent.unwrap_or(50)));
            let is_enough = failed >= tasks && failed * 100 >= percent * (failed + others);
            (!is_enough).then(|| {
                format!(
                    "at most {failed} tasks failed, and at least {others} did not, of {tasks} and {percent} percent"
                )
            })
        }
        // From Enforce to Observe, which lets everybody start.
        (CircuitState::Open | CircuitState::HalfOpen, _) if breaker.mode == CircuitMode::Observe => None,
        (CircuitState::HalfOpen, CircuitState::Open) => {
            // An edit of what counts as a failure changes no verdict that was given before.
            let mut by_each =
                queue_versions(queue, index).flat_map(|(_, breaker)| ended_probes(queues, queue, breaker, index));
            let failed = by_each.any(|(end, _)| end == Some(true));
            (!failed).then(|| "no probe has failed".into())
        }
        (CircuitState::HalfOpen, CircuitState::Closed) => {
            let pass_after = queue_versions(queue, index)
                .filter_map(|(_, breaker)| Some(breaker.probes.as_ref()?.pass_after_seconds.unwrap_or(300)))
                .min();
            let pass_after = SignedDuration::from_secs(pass_after.unwrap_or(300).into());
            let passed = |(end, age): &&(Option<bool>, Option<SignedDuration>)| {
                *end == Some(false) || age.is_some_and(|age| age >= pass_after || !queues.has_true_clock())
            };
            let ended = ended_probes(queues, queue, breaker, index);
            let passed = ended.iter().filter(passed).count();
            let needed = queue_versions(queue, index)
                .map(|(_, breaker)| breaker.probes.as_ref().and_then(|probes| probes.successes).unwrap_or(2))
                .min();
            let needed = number(needed.unwrap_or(2));
            (passed < needed).then(|| format!("{passed} probes passed of {needed}"))
        }
        // Forced open, it closes when it no longer is. What was open before is not closed without a probe.
        (CircuitState::Open, CircuitState::Closed) => {
            let timed = circuit(old)
                .is_some_and(|(circuit, breaker)| circuit.until.is_some() && breaker.mode == CircuitMode::Enforce);
            timed.then(|| "no probe has passed".into())
        }
        _ => None,
    };
    if let Some(fault) = fault {
        let text = format!(
            "{}: at {:?} its circuit goes from {old_state:?} to {:?} ({:?}): {fault}",
            queue.name, version.at, new.state, new.cause
        );
        violations.push(Violation::new("a verdict follows from the stored histories", text));
    }
}

fn number(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// The versions of the state that version `index` ends, and that one.
fn queue_versions(queue: &QueueRecord, index: usize) -> impl Iterator<Item = (&Circuit, &CircuitBreaker)> {
    let since = queue.state_since(index - 1);
    queue.versions[since..=index].iter().filter_map(|version| circuit(version.queue.as_ref()?))
}

/// The probes that were named before version `index` since the circuit was half-open: how each ended, if it says something of the service,
/// and how long it had held its slot by then, if it still did.
fn ended_probes(
    queues: &Queues,
    queue: &QueueRecord,
    breaker: &CircuitBreaker,
    index: usize,
) -> Vec<(Option<bool>, Option<SignedDuration>)> {
    let at = queue.versions[index].at;
    let mut named: Vec<(&str, i32)> = queue_versions(queue, index)
        .flat_map(|(circuit, _)| &circuit.probes)
        .map(|probe| (probe.task_uid.as_str(), probe.attempt))
        .collect();
    named.sort_unstable();
    named.dedup();
    let votes = votes(queues, queue, breaker, at);
    let end = |(uid, attempt): &(&str, i32)| {
        let vote = votes.iter().find(|vote| vote.task.uid == *uid && vote.attempt == *attempt).map(|vote| vote.failed);
        let mut holds = queues.holds_of(queue).filter(|hold| hold.task.uid == *uid && hold.attempt == *attempt);
        let since = |hold: &super::record::Hold| {
            hold.task.versions[hold.version].1.status.as_ref()?.current.as_ref()?.create_time.as_ref().map(|at| at.0)
        };
        let age = holds.find(|hold| hold.from <= at).and_then(since).map(|since| queues.date(at).duration_since(since));
        (vote, age)
    };
    named.iter().map(end).collect()
}

/// How many tasks may have a failure as their latest end within the window, and how many certainly have a success.
///
/// An end counts from when the operator sees it, or from when it happened, if a new process finds it: so failures are counted that were
/// recorded within the window, or up to [`Queues::news`] before it. A success counts for certain if the attempt held a slot of the queue, and
/// it was recorded long enough before the verdict, and after whatever makes the votes be forgotten.
fn tally(
    queues: &Queues,
    queue: &QueueRecord,
    breaker: &CircuitBreaker,
    (index, within): (usize, i32),
) -> (usize, usize) {
    let at = queue.versions[index].at;
    let within = Duration::from_secs(u64::try_from(within).unwrap_or(0));
    let from = at.saturating_sub(within + queues.news());
    let (mut failed, mut others) = (0, 0);
    let settled = queue.is_unchanged(from, at) && queues.trace.prompt;
    let since = queue.versions[queue.state_since(index - 1)].at;
    for task in queues.tasks {
        let votes: Vec<Vote> = votes_of(queues, queue, breaker, (task, at));
        let may_fail = |vote: &&Vote| vote.failed && (vote.recorded >= from || queues.age(vote.finished) >= from);
        let Some(newest) = votes.iter().rfind(may_fail) else {
            let counts = |vote: &Vote| {
                let sure = vote.recorded > (at + Duration::from_secs(5)).saturating_sub(within).max(since)
                    && vote.recorded + queues.news() < at;
                sure && vote.is_own
                    && queues.age(vote.finished) > (at + Duration::from_secs(5)).saturating_sub(within).max(since)
            };
            others += usize::from(settled && votes.iter().any(counts));
            continue;
        };
        // What another queue's attempt says of this one is not counted by the process that saw it end.
        let is_over = |vote: &Vote| {
            !vote.failed && vote.attempt > newest.attempt && vote.is_own && vote.recorded + queues.news() < at
        };
        if !votes.iter().any(is_over) {
            failed += 1;
        }
    }
    (failed, others)
}

/// All ends that were recorded by then.
pub fn votes<'a>(queues: &'a Queues, queue: &QueueRecord, breaker: &CircuitBreaker, at: Duration) -> Vec<Vote<'a>> {
    queues.tasks.iter().flat_map(|task| votes_of(queues, queue, breaker, (task, at))).collect()
}

/// Those of one task, by attempt.
pub fn votes_of<'a>(
    queues: &'a Queues,
    queue: &QueueRecord,
    breaker: &CircuitBreaker,
    (task, at): (&'a TaskRecord, Duration),
) -> Vec<Vote<'a>> {
    let mut votes = vec![];
    for (version, entry) in task.entries.values() {
        let (recorded, object) = &task.versions[*version];
        let exhausted = object.status.as_ref().is_some_and(|status| status.exhausted_budget.is_some());
        let Some(failed) = (*recorded <= at).then(|| verdict(entry, breaker.failures.as_ref(), exhausted)).flatten()
        else {
            continue;
        };
        let is_own = queues.holds_of(queue).any(|hold| hold.task.uid == task.uid && hold.attempt == entry.attempt);
        // A new process goes by the queue that the spec names when it lists.
        let names_it = |(since, object): &(Duration, RetryableTask)| {
            let named = object.spec.queue.as_ref().map(|queue| queue.name.as_str());
            *since <= at && named.is_some() && named == queue.name_for(task)
        };
        let counts = is_own || task.versions.iter().any(names_it);
        let finished = entry.finish_time.as_ref().map_or(queues.date(*recorded), |at| at.0);
        if counts {
            votes.push(Vote { task, attempt: entry.attempt, failed, is_own, finished, recorded: *recorded });
        }
    }
    votes
}

/// What the end says of the service: that it failed, or that it answered. None: nothing.
fn verdict(entry: &HistoryEntry, failures: Option<&ServiceFailures>, exhausted: bool) -> Option<bool> {
    let rule = entry.rule.as_deref();
    if entry.action == Action::Complete {
        return Some(false);
    }
    if rule == Some("circuit") {
        return Some(true);
    }
    let failed = match failures {
        None => {
            let charged = entry.action == Action::Retry || entry.action == Action::Fail && exhausted;
            charged && !matches!(rule, Some("disruption" | "outOfMemory" | "startup"))
        }
        // The operator's own stop for the task or the queue.
        Some(_) if entry.action == Action::Ignore && rule.is_none() => false,
        Some(failures) => matches(failures, entry),
    };
    failed.then_some(true)
}

/// Whether the end is one of these. Matchers that are not told apart here count as matched.
fn matches(failures: &ServiceFailures, entry: &HistoryEntry) -> bool {
    let code = |codes: &Vec<IntOrText>| {
        let is = |code: &IntOrText| match (code, entry.exit_code) {
            (IntOrText::Int(code), Some(given)) => *code == i64::from(given),
            (IntOrText::Text(range), Some(given)) => {
                let (low, high) = range.split_once('-').unwrap_or((range, range));
                low.parse().is_ok_and(|low: i32| low <= given) && high.parse().is_ok_and(|high: i32| given <= high)
            }
            (_, None) => false,
        };
        codes.iter().any(is)
    };
    failures.exit_codes.as_ref().is_none_or(code)
        && failures.reasons.as_ref().is_none_or(|reasons| reasons.contains(&entry.reason))
        && failures
            .error_types
            .as_ref()
            .is_none_or(|types| entry.error_type.iter().chain(&entry.error_types).any(|own| types.contains(own)))
}
