//! How many attempts hold a slot, and which must.

use super::super::{
    Violation,
    record::{PodRecord, TaskRecord},
};
use super::record::{Hold, QueueRecord, Queues, state};
use jiff::SignedDuration;
use retryable_tasks::api::{
    CircuitMode, CircuitState, CurrentAttempt, RetryableTaskStatus, State, TaskQueue, TaskQueueSpec,
};
use std::time::Duration;

pub fn check(queues: &Queues, violations: &mut Vec<Violation>) {
    for queue in &queues.all {
        for hold in queues.holds_of(queue).filter(|hold| hold.slot.grant_time.is_some()) {
            within_limits(queues, queue, hold, violations);
            grows(queues, queue, hold, violations);
        }
        rate(queues, queue, violations);
    }
    for task in queues.tasks {
        for pod in task.attempts() {
            has_slot(task, pod, violations);
        }
        idle_without_slot(task, violations);
    }
    for hold in queues.holds.iter().filter(|hold| hold.slot.grant_time.is_some()) {
        queue_is_there(queues, hold, violations);
    }
}

/// Who held a slot when this one was taken, this one included, as far as the process that granted it could know.
///
/// The limits hold for these. What an earlier process has requested and what lands after this one has listed comes on top: the stated
/// residual. At most as many writes are in flight as that process had grants in use.
fn holders<'b>(queues: &'b Queues, queue: &'b QueueRecord, hold: &'b Hold) -> impl Iterator<Item = &'b Hold<'b>> {
    let at_start = queues.holds_of(queue).filter(|other| other.from <= hold.from && other.until > hold.from);
    at_start.filter(|other| queues.knows(hold.by, hold.called, (other.by, other.from)))
}

/// The largest of these limits that the operator could go by when it wrote: it may not have seen the last edits. None: there was none.
fn most(
    queues: &Queues,
    queue: &QueueRecord,
    hold: &Hold,
    limit: impl Fn(&TaskQueueSpec) -> Option<usize>,
) -> Option<usize> {
    let specs = queue.between(hold.called.saturating_sub(queues.news()), hold.from).flatten();
    let limits: Option<Vec<usize>> = specs.map(|queue| limit(&queue.spec)).collect();
    limits?.into_iter().max()
}

fn number(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// Q1 and Q11: with the attempt that starts, no more hold a slot than `maxConcurrent`, and no more of them are retries than their share,
/// rounded up; but for one probe at a time. One that is lowered stops nobody, so only starts are judged.
fn within_limits(queues: &Queues, queue: &QueueRecord, hold: &Hold, violations: &mut Vec<Violation>) {
    let slots = most(queues, queue, hold, |spec| spec.max_concurrent.map(number));
    let share = |spec: &TaskQueueSpec| {
        let percent = number(spec.retries.as_ref()?.max_percent);
        Some((number(spec.max_concurrent?) * percent).div_ceil(100).max(1))
    };
    let retries = most(queues, queue, hold, share).filter(|_| hold.is_retry && !may_exceed(queues, queue, hold));
    let all = holders(queues, queue, hold).count();
    let of_retries = holders(queues, queue, hold).filter(|other| other.is_retry).count();
    let limits = [
        ("no more attempts hold a slot than maxConcurrent", all, slots),
        ("retries hold no more than their share of the slots", of_retries, retries),
    ];
    for (rule, held, limit) in limits {
        if limit.is_some_and(|limit| held > limit) {
            let text = format!(
                "{}: {} starts attempt {} at {:?}, and then {held} hold a slot of {limit:?}",
                queue.name, hold.task.name, hold.attempt, hold.from
            );
            violations.push(Violation::new(rule, text));
        }
    }
}

/// Whether the retry is a probe, and no other that is a retry is under way: one that waits for a slot of their share, which older retries
/// hold, would keep the circuit half-open.
fn may_exceed(queues: &Queues, queue: &QueueRecord, hold: &Hold) -> bool {
    let circuit = queue.at(hold.from).and_then(|queue| queue.status.as_ref()?.circuit.as_ref());
    let is_other_probe = |other: &Hold| {
        let mut probes = circuit.into_iter().flat_map(|circuit| &circuit.probes);
        let is_named = probes.any(|probe| probe.task_uid == other.task.uid && probe.attempt == other.attempt);
        is_named && other.is_retry && other.task.uid != hold.task.uid
    };
    hold.slot.probe && !holders(queues, queue, hold).any(is_other_probe)
}

/// After the circuit has closed, the slots grow from `probes.atATime` to `maxConcurrent` over `recoverySeconds`.
///
/// Judged while spec and circuit stay as they were when it closed, and by the time of the start, which is after that of the grant.
fn grows(queues: &Queues, queue: &QueueRecord, hold: &Hold, violations: &mut Vec<Violation>) {
    let Some(index) = queue.version_at(hold.called).filter(|_| queues.has_true_clock()) else { return };
    let closed = queue.state_since(index);
    let was_shut = closed.checked_sub(1).is_some_and(|before| {
        matches!(state(queue.versions[before].queue.as_ref()), CircuitState::Open | CircuitState::HalfOpen)
    });
    let closed_at = queue.versions[closed].at;
    let Some(TaskQueue { spec, status: Some(status), .. }) = queue.at(hold.from) else { return };
    let (Some(circuit), Some(breaker), Some(most)) = (&status.circuit, &spec.circuit_breaker, spec.max_concurrent)
    else {
        return;
    };
    let Some(since) = circuit.since.as_ref().filter(|_| circuit.state == CircuitState::Closed && was_shut) else {
        return;
    };
    if breaker.mode == CircuitMode::Observe || !queue.is_unchanged(closed_at.saturating_sub(queues.news()), hold.from) {
        return;
    }
    let recovery = SignedDuration::from_secs(breaker.recovery_seconds.unwrap_or(300).into());
    let passed = queues.date(hold.from).duration_since(since.0);
    if passed >= recovery {
        return;
    }
    let base = breaker.probes.as_ref().and_then(|probes| probes.at_a_time).unwrap_or(1).min(most);
    let grown = i128::from(most - base) * passed.as_micros() / recovery.as_micros().max(1);
    let limit = number(base) + usize::try_from(grown).unwrap_or(0);
    let count = holders(queues, queue, hold).count();
    if count > limit {
        let text = format!(
            "{}: {} starts {passed:?} after the circuit has closed, and then {count} hold a slot of {limit}",
            queue.name, hold.task.name
        );
        violations.push(Violation::new("the slots grow after an outage", text));
    }
}

/// Of one process, no more attempts start in a time than the tokens that the bucket can have had and got.
fn rate(queues: &Queues, queue: &QueueRecord, violations: &mut Vec<Violation>) {
    let starts: Vec<&Hold> = queues.holds_of(queue).filter(|hold| hold.slot.grant_time.is_some()).collect();
    for (n, first) in starts.iter().enumerate() {
        let mut granted = vec![];
        for last in starts[n..].iter().filter(|last| last.by == first.by && last.by.is_some()) {
            if !queue.is_unchanged(first.called.saturating_sub(queues.news()), last.from) {
                break;
            }
            let Some(rate) = queue.at(last.from).and_then(|queue| queue.spec.start_rate.as_ref()) else { break };
            granted.extend(last.slot.grant_time.as_ref().map(|at| at.0));
            let (earliest, latest) = (granted.iter().min(), granted.iter().max());
            let passed = earliest.zip(latest).map_or(0, |(from, to)| to.duration_since(*from).as_micros());
            let interval = i128::from(rate.per_seconds.unwrap_or(1)) * 1_000_000 / i128::from(rate.starts);
            let most = i128::from(rate.burst.unwrap_or(1)) + passed / interval.max(1);
            if i128::try_from(granted.len()).is_ok_and(|starts| starts > most) {
                let text = format!(
                    "{}: {} starts from {:?} to {:?}, and the rate allows {most}",
                    queue.name,
                    granted.len(),
                    first.from,
                    last.from
                );
                violations.push(Violation::new("a queue starts no more than its rate", text));
                break;
            }
        }
    }
}

/// Whether a Pod of this attempt may exist: it is named, and no try to create it is awaited.
fn may_run(current: &CurrentAttempt) -> bool {
    current.pod_name.is_some() && current.next_create_time.is_none()
}

/// Q2: an attempt whose spec named a queue when it was decided to create its Pod has a slot of that queue when the Pod is requested.
///
/// The status is written with the version that was read, so the spec of the version that decided it is the one that the operator saw.
fn has_slot(task: &TaskRecord, pod: &PodRecord, violations: &mut Vec<Violation>) {
    let upto = task.versions.partition_point(|(at, _)| *at <= pod.called);
    let of_attempt = |index: usize| {
        let current = task.versions[index].1.status.as_ref()?.current.as_ref()?;
        (current.number == pod.number && !current.fallback && may_run(current)).then_some(current)
    };
    let Some(last) = upto.checked_sub(1).and_then(of_attempt) else { return };
    let decided = (0..upto).rev().take_while(|index| of_attempt(*index).is_some()).last().unwrap_or(0);
    let wanted = task.versions[decided].1.spec.queue.as_ref().map(|queue| queue.name.as_str());
    let held = last.queue.as_ref().map(|slot| slot.name.as_str());
    if wanted.is_some() && held != wanted {
        let text = format!(
            "{}: Pod {} was requested at {:?} with a slot of {held:?}, and not of {wanted:?}",
            task.name, pod.name, pod.called
        );
        violations.push(Violation::new("an attempt of a queue starts with a slot", text));
    }
}

/// Q2: nothing starts while there is no queue of that name, but for what the operator could not know.
fn queue_is_there(queues: &Queues, hold: &Hold, violations: &mut Vec<Violation>) {
    let since = hold.called.saturating_sub(queues.news());
    let record = queues.all.iter().find(|queue| queue.name == hold.queue);
    let was_there = record.is_some_and(|queue| queue.between(since, hold.from).any(|queue| queue.is_some()));
    // The record of a single task on the real cluster has no queues.
    if !was_there && !queues.all.is_empty() {
        let text = format!(
            "{}: attempt {} starts at {:?}, and there is no TaskQueue {}",
            hold.task.name, hold.attempt, hold.from, hold.queue
        );
        violations.push(Violation::new("an attempt of a queue starts with a slot", text));
    }
}

/// Q3: what waits, is suspended, rejected or finished holds no slot.
fn idle_without_slot(task: &TaskRecord, violations: &mut Vec<Violation>) {
    for (at, object) in &task.versions {
        let Some(RetryableTaskStatus { current: Some(current), state, completion_time, .. }) = &object.status else {
            continue;
        };
        let idle = matches!(state, Some(State::Waiting | State::Queued | State::Suspended | State::Blocked));
        let ended = completion_time.is_some() || current.fallback;
        if current.queue.is_some() && (idle || ended || !may_run(current)) {
            let text = format!("{}: at {at:?} it is {state:?}, and has {current:?}", task.name);
            return violations.push(Violation::new("a task that runs nothing holds no slot", text));
        }
    }
}

/// How many hold a slot of the queue at this time, and how many of them are retries.
pub fn under_way(queues: &Queues, queue: &QueueRecord, at: Duration) -> (usize, usize) {
    let held = || queues.holds_of(queue).filter(|hold| hold.from <= at && hold.until > at);
    (held().count(), held().filter(|hold| hold.is_retry).count())
}
