//! What can start does, and a circuit goes on.

use super::super::{Violation, record::TaskRecord};
use super::record::{Hold, QueueRecord, Queues, state, task_at};
use super::slots::under_way;
use super::verdict::votes_of;
use jiff::SignedDuration;
use retryable_tasks::api::{CircuitBreaker, CircuitMode, CircuitState, Probe, StopPolicy, TaskQueue};
use std::{collections::BTreeSet, time::Duration};

/// How long the operator may take for a step that is due, if nothing delays it.
const PROMPT: Duration = Duration::from_secs(20);
/// The same if it is delayed, after which nothing happens any more: longer than any back-off, watch call or restart.
const AT_LAST: Duration = Duration::from_secs(600);

/// What goes wrong at a time, if anything does.
type Is<'a> = &'a dyn Fn(Duration) -> Option<String>;

/// Rules on what must not last. If nothing delays the operator, nothing of this lasts longer than the bound. Else it must have come to an
/// end when the run has: nothing happens for much longer then.
pub fn check(queues: &Queues, violations: &mut Vec<Violation>) {
    for queue in &queues.all {
        let quiet = quiet_times(queues, queue);
        let times = times(queues, queue, &quiet);
        for task in queues.tasks {
            let rules: [(&'static str, Duration, Is); 2] = [
                ("a free slot is taken soon", extra(queue), &|at| free_slot(queues, queue, (task, &quiet), at)),
                ("a task waits for its queue as long as it says", Duration::ZERO, &|at| {
                    too_long(queues, queue, task, at)
                }),
            ];
            for (rule, extra, is) in rules {
                lasts(queues, (rule, &queue.name), &times, extra, is, violations);
            }
        }
        let rules: [(&'static str, Is); 4] = [
            ("a circuit that has been open lets a probe through", &|at| open_too_long(queues, queue, at)),
            ("a half-open circuit goes on", &|at| half_open_too_long(queues, queue, at)),
            ("a verdict follows from the stored histories", &|at| closed_too_long(queues, queue, at)),
            ("a drained queue runs nothing", &|at| drained(queues, queue, at)),
        ];
        for (rule, is) in rules {
            lasts(queues, (rule, &queue.name), &times, Duration::ZERO, is, violations);
        }
    }
}

/// When something of the queue or its tasks changes, or time changes what may be done.
fn times(queues: &Queues, queue: &QueueRecord, quiet: &[(Duration, Duration)]) -> BTreeSet<Duration> {
    let mut times: BTreeSet<Duration> = queue.versions.iter().map(|version| version.at).collect();
    for task in queues.tasks {
        for (at, object) in &task.versions {
            times.insert(*at);
            times.extend(queues.due(object));
            let limit = object.spec.queue.as_ref().and_then(|queue| queue.max_wait_seconds);
            let since = super::record::waiting(object, queues.date(*at).max(queues.date(queues.trace.end)))
                .map(|waiting| waiting.since);
            times.extend(
                since.zip(limit).map(|(since, limit)| queues.age(since + SignedDuration::from_secs(limit.into()))),
            );
        }
        times.extend(task.deleted_at);
    }
    let mut seen = None;
    for version in queue.versions.iter().filter_map(|version| version.queue.as_ref()) {
        let circuit = version.status.as_ref().and_then(|status| status.circuit.as_ref());
        times.extend(circuit.and_then(|circuit| circuit.until.as_ref()).map(|until| queues.age(until.0)));
        let Some(breaker) = version.spec.circuit_breaker.as_ref().filter(|breaker| seen != Some(*breaker)) else {
            continue;
        };
        seen = Some(breaker);
        let pass_after = pass_after(breaker);
        let holds = queues.holds_of(queue).filter(|hold| hold.slot.probe);
        times.extend(holds.map(|hold| hold.from + pass_after));
        let (_, _, within) = open_after(breaker);
        let ends = queues.tasks.iter().flat_map(|task| votes_of(queues, queue, breaker, (task, Duration::MAX)));
        times.extend(ends.map(|vote| queues.age(vote.finished) + within));
    }
    for (seen, until) in quiet {
        times.extend([*seen, *until]);
    }
    times.retain(|at| *at <= queues.trace.end);
    times
}

/// Reports where `is` holds for longer than the bound.
pub fn lasts(
    queues: &Queues,
    (rule, name): (&'static str, &str),
    times: &BTreeSet<Duration>,
    extra: Duration,
    is: impl Fn(Duration) -> Option<String>,
    violations: &mut Vec<Violation>,
) {
    let end = queues.trace.end;
    let bound = extra + if queues.trace.prompt { PROMPT } else { AT_LAST };
    let mut since: Option<(Duration, String)> = None;
    let mut say = |from: Duration, until: Duration, what: &str| {
        if from + bound < until {
            violations.push(Violation::new(rule, format!("{name}: from {from:?} to {until:?}: {what}")));
        }
    };
    if !queues.trace.prompt {
        // Only what lasts until the end counts.
        for at in times.iter().rev() {
            match is(*at) {
                Some(what) if since.as_ref().is_none_or(|(_, known)| *known == what) => since = Some((*at, what)),
                _ => break,
            }
        }
        if let Some((from, what)) = since.filter(|_| queues.trace.converged) {
            say(from, end, &what);
        }
        return;
    }
    for at in times {
        match (is(*at), &since) {
            (Some(what), None) => since = Some((*at, what)),
            (None, Some((from, what))) => {
                say(*from, *at, what);
                since = None;
            }
            (Some(what), Some((from, known))) if what != *known => {
                say(*from, *at, known);
                since = Some((*at, what));
            }
            _ => {}
        }
    }
    if let Some((from, what)) = since {
        say(from, end, &what);
    }
}

/// Q4, the bound beyond the usual one: the time for a token, and that over which a queue without limits spreads its tasks.
fn extra(queue: &QueueRecord) -> Duration {
    let extra = |queue: &TaskQueue| {
        let rate = queue.spec.start_rate.as_ref().map_or(0, |rate| rate.per_seconds.unwrap_or(1) / rate.starts + 1);
        let recovery = queue.spec.circuit_breaker.as_ref().and_then(|breaker| breaker.recovery_seconds).unwrap_or(300);
        let has_limit = queue.spec.max_concurrent.is_some() || queue.spec.start_rate.is_some();
        let seconds = rate + if has_limit { 0 } else { recovery };
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    };
    queue.versions.iter().filter_map(|version| version.queue.as_ref()).map(extra).max().unwrap_or_default()
}

/// Q4: a task waits, and a slot is free for it. The text has whatever else starts: with a rate it takes the token.
fn free_slot(
    queues: &Queues,
    queue: &QueueRecord,
    (task, quiet): (&TaskRecord, &[(Duration, Duration)]),
    at: Duration,
) -> Option<String> {
    let waiting = queues.waits(task, queue, at)?;
    let object = queue.at(at).filter(|object| object.spec.stop_policy == StopPolicy::None)?;
    let circuit = object.status.as_ref().and_then(|status| status.circuit.as_ref());
    let is_probe = |probe: &Probe| probe.task_uid == task.uid && probe.attempt == waiting.attempt;
    let may_start = match state(Some(object)) {
        CircuitState::Open | CircuitState::Unknown => false,
        CircuitState::HalfOpen => circuit.is_some_and(|circuit| circuit.probes.iter().any(is_probe)),
        CircuitState::Closed | CircuitState::WouldOpen => true,
    };
    if !may_start || quiet.iter().any(|(seen, until)| (*seen..*until).contains(&at)) {
        return None;
    }
    let (held, retries) = under_way(queues, queue, at);
    let number = |n: i32| usize::try_from(n).unwrap_or(0);
    if let Some(most) = object.spec.max_concurrent.map(number) {
        let most = if recovers(queue, at) { 1 } else { most };
        let share = object.spec.retries.as_ref().map(|share| (most * number(share.max_percent)).div_ceil(100).max(1));
        // A probe that is a retry keeps to the share while another probe is under way.
        let is_under_way = |hold: &Hold| {
            let mut probes = circuit.into_iter().flat_map(|circuit| &circuit.probes);
            hold.from <= at
                && hold.until > at
                && probes.any(|probe| probe.task_uid == hold.task.uid && probe.attempt == hold.attempt)
        };
        let keeps_to_share = state(Some(object)) != CircuitState::HalfOpen || queues.holds_of(queue).any(is_under_way);
        let is_full_of_retries = waiting.is_retry && keeps_to_share && share.is_some_and(|share| retries >= share);
        if held >= most || is_full_of_retries {
            return None;
        }
    }
    // A start takes the token for which others wait.
    let starts = if object.spec.start_rate.is_some() {
        queues.holds_of(queue).filter(|hold| hold.from <= at).count()
    } else {
        0
    };
    Some(format!(
        "{} waits for attempt {} since {}, and {held} hold a slot; starts so far: {starts}",
        task.name, waiting.attempt, waiting.since
    ))
}

/// Whether the slots may still grow: after the circuit has closed, or the queue is no longer held. Then one slot is certain.
fn recovers(queue: &QueueRecord, at: Duration) -> bool {
    let Some(last) = queue.version_at(at) else { return false };
    let recovery = |index: usize| {
        let breaker = queue.versions[index].queue.as_ref()?.spec.circuit_breaker.as_ref()?;
        Some(Duration::from_secs(u64::try_from(breaker.recovery_seconds.unwrap_or(300)).unwrap_or(0)))
    };
    (1..=last).any(|index| {
        let (before, after) = (queue.versions[index - 1].queue.as_ref(), queue.versions[index].queue.as_ref());
        let shut = |queue: Option<&TaskQueue>| {
            let held = queue.is_some_and(|queue| queue.spec.stop_policy != StopPolicy::None);
            held || matches!(state(queue), CircuitState::Open | CircuitState::HalfOpen)
        };
        let longest = || (index..=last).filter_map(recovery).max().unwrap_or_default();
        shut(before) && !shut(after) && queue.versions[index].at + longest() + PROMPT > at
    })
}

/// When an attempt's end has asked for no other: from when it was stored, until the time that it asks for, or the cap.
fn quiet_times(queues: &Queues, queue: &QueueRecord) -> Vec<(Duration, Duration)> {
    let mut times = vec![];
    let ends = queues.tasks.iter().flat_map(|task| task.entries.values().map(|end| (&task.versions[end.0].0, &end.1)));
    for (at, entry) in ends {
        let Some(seconds) = entry.retry_after_seconds else { continue };
        let cap = |queue: &TaskQueue| {
            let breaker = queue.spec.circuit_breaker.as_ref()?;
            let cap = breaker.max_open_seconds.unwrap_or(1800).max(breaker.open_seconds.unwrap_or(60));
            (breaker.honor_retry_after != Some(false)).then_some(Duration::from_secs(u64::try_from(cap).unwrap_or(0)))
        };
        // The operator sees it at once, or later when it starts.
        let caps = queue.versions.iter().filter_map(|version| cap(version.queue.as_ref()?));
        let Some(cap) = caps.max() else { continue };
        let until = queues.age(queues.date(*at) + SignedDuration::from_secs(seconds.clamp(0, 86_400)));
        times.push((*at, until.min(*at + cap)));
    }
    times
}

/// The task waits for longer than it says.
fn too_long(queues: &Queues, queue: &QueueRecord, task: &TaskRecord, at: Duration) -> Option<String> {
    let waiting = queues.waits(task, queue, at)?;
    let limit = task_at(task, at)?.spec.queue.as_ref()?.max_wait_seconds?;
    let is_over = queues.date(at) >= waiting.since + SignedDuration::from_secs(limit.into());
    is_over.then(|| {
        format!("{} waits for attempt {} since {}, at most {limit} s", task.name, waiting.attempt, waiting.since)
    })
}

fn somebody_waits(queues: &Queues, queue: &QueueRecord, at: Duration) -> bool {
    queues.tasks.iter().any(|task| queues.waits(task, queue, at).is_some())
}

fn breaker(queue: Option<&TaskQueue>) -> Option<&CircuitBreaker> {
    let queue = queue.filter(|queue| queue.spec.stop_policy == StopPolicy::None)?;
    queue.spec.circuit_breaker.as_ref().filter(|breaker| breaker.mode == CircuitMode::Enforce)
}

fn pass_after(breaker: &CircuitBreaker) -> Duration {
    let seconds = breaker.probes.as_ref().and_then(|probes| probes.pass_after_seconds).unwrap_or(300);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Q4: the circuit is open, its time is over, and somebody waits.
fn open_too_long(queues: &Queues, queue: &QueueRecord, at: Duration) -> Option<String> {
    let object = queue.at(at)?;
    breaker(Some(object))?;
    let circuit = object.status.as_ref()?.circuit.as_ref().filter(|circuit| circuit.state == CircuitState::Open)?;
    let is_over = circuit.until.as_ref().is_none_or(|until| until.0 <= queues.date(at));
    (is_over && somebody_waits(queues, queue, at)).then(|| format!("{:?} until {:?}", circuit.state, circuit.until))
}

/// Q7: nothing keeps the circuit half-open. It stays so while a probe is under way, at most `passAfterSeconds` each, or waits because older
/// attempts hold all slots, or while nobody waits who could be a probe. The share of retries is no excuse: see [`free_slot`].
fn half_open_too_long(queues: &Queues, queue: &QueueRecord, at: Duration) -> Option<String> {
    let object = queue.at(at)?;
    let breaker = breaker(Some(object))?;
    let circuit = object.status.as_ref()?.circuit.as_ref().filter(|circuit| circuit.state == CircuitState::HalfOpen)?;
    let is_open = |probe: &Probe| {
        let mut holds =
            queues.holds_of(queue).filter(|hold| hold.task.uid == probe.task_uid && hold.attempt == probe.attempt);
        let runs = holds.any(|hold| hold.from <= at && hold.until > at && at < hold.from + pass_after(breaker));
        let task = queues.tasks.iter().find(|task| task.uid == probe.task_uid);
        runs || task
            .is_some_and(|task| queues.waits(task, queue, at).is_some_and(|waiting| waiting.attempt == probe.attempt))
    };
    let has_open = circuit.probes.iter().any(is_open);
    let is_stuck = !has_open && (!circuit.probes.is_empty() || somebody_waits(queues, queue, at));
    is_stuck.then(|| format!("half-open with {} successes and the probes {:?}", circuit.successes, circuit.probes))
}

fn open_after(breaker: &CircuitBreaker) -> (usize, usize, Duration) {
    let after = breaker.open_after.clone().unwrap_or_default();
    let number = |n: i32| usize::try_from(n).unwrap_or(0);
    let within = Duration::from_secs(u64::try_from(after.within_seconds.unwrap_or(300)).unwrap_or(0));
    (number(after.tasks.unwrap_or(5)), number(after.percent.unwrap_or(50)), within)
}

/// Q10, the other side: enough tasks have failed for certain, and the circuit stays closed. Judged if nothing delays the operator, of a
/// spec that has not changed meanwhile.
fn closed_too_long(queues: &Queues, queue: &QueueRecord, at: Duration) -> Option<String> {
    let object = queue.at(at).filter(|object| queues.trace.prompt && state(Some(object)) == CircuitState::Closed)?;
    let breaker = breaker(Some(object))?;
    let (tasks, percent, within) = open_after(breaker);
    let from = at.saturating_sub(within);
    let closed = queue.versions[queue.state_since(queue.version_at(at)?)].at;
    if !queue.is_unchanged(from.min(closed), at) {
        return None;
    }
    let (mut failed, mut others) = (0, 0);
    for task in queues.tasks.iter().filter(|task| task.deleted_at.is_none_or(|deleted| deleted > at)) {
        let votes = votes_of(queues, queue, breaker, (task, at));
        let counts = votes.last().is_some_and(|vote| {
            vote.failed && vote.is_own && queues.age(vote.finished) > from.max(closed) + Duration::from_secs(5)
        });
        failed += usize::from(counts);
        others += usize::from(!counts && !votes.is_empty());
    }
    let is_enough = failed >= tasks && failed * 100 >= percent * (failed + others);
    is_enough.then(|| format!("closed, and {failed} tasks failed of {tasks}"))
}

/// The queue is drained, and an attempt that holds a slot is not being stopped.
fn drained(queues: &Queues, queue: &QueueRecord, at: Duration) -> Option<String> {
    queue.at(at).filter(|object| object.spec.stop_policy == StopPolicy::HoldAndDrain)?;
    let mut held = queues.holds_of(queue).filter(|hold| hold.from <= at && hold.until > at);
    let runs_on = held.find(|hold| {
        let current = task_at(hold.task, at).and_then(|object| object.status.as_ref()?.current.as_ref());
        current.is_some_and(|current| current.stop_reason.is_none())
    })?;
    Some(format!("attempt {} of {} runs on", runs_on.attempt, runs_on.task.name))
}
