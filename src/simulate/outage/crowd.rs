//! The course of events: many tasks, one queue, one clock.

use super::{Case, CircuitChange, Limits, Outage, millis};
use crate::api::{Circuit, CircuitState, ConditionType, RetryableTask, ServiceFailures, TaskQueue};
use crate::core::condition_list;
use crate::core::queue::facts::TaskFacts;
use crate::core::queue::ledger::Ledger;
use crate::core::queue::line::Uid;
use crate::core::queue::votes::Verdict;
use crate::core::time::{plus, until};
use crate::simulate::run::{START, Script, SimulatedCluster, Start};
use crate::simulate::{Attempt, Error};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// How long the queue has been there before the first task: its bucket is full.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);
/// How many reconciles a task may need for an attempt: more than any course of events needs.
const MAX_RECONCILES: usize = 100;
/// How many states of a circuit may follow each other at one time.
const MAX_CHANGES: usize = 10;

/// Tasks and their queue.
pub(super) struct Crowd<'a> {
    members: Vec<SimulatedCluster<'a>>,
    by_name: HashMap<String, usize>,
    queue: Option<Ledger>,
    failures: Option<ServiceFailures>,
    /// When each is looked at next.
    wakes: BTreeSet<(Timestamp, usize)>,
    now: Timestamp,
    reconciles: usize,
    circuit: Vec<CircuitChange>,
    has_failed_service: bool,
}

/// What was played.
pub(super) struct Played<'a> {
    members: Vec<SimulatedCluster<'a>>,
    circuit: Vec<CircuitChange>,
    /// Whether an attempt has ended as the queue takes for a failure of the service.
    pub(super) has_failed_service: bool,
    last_end: Timestamp,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(task: &RetryableTask, queue: Option<&TaskQueue>, outage: &Outage, script: Script<'a>) -> Self {
        let mut task = task.clone();
        if queue.is_none() {
            task.spec.queue = None;
        }
        let nth = |number: u32| {
            let step = outage.created_over.as_micros().saturating_mul(number.into()) / i128::from(outage.tasks.max(1));
            plus(START, SignedDuration::from_micros(i64::try_from(step).unwrap_or(i64::MAX)))
        };
        let members: Vec<_> =
            (0..outage.tasks).map(|number| SimulatedCluster::numbered(&task, number, nth(number), script)).collect();
        let name = |member: &SimulatedCluster| member.task().metadata.name.clone().unwrap_or_default();
        Self {
            by_name: members.iter().enumerate().map(|(index, member)| (name(member), index)).collect(),
            wakes: members.iter().enumerate().filter_map(|(index, member)| Some((member.next()?, index))).collect(),
            members,
            queue: queue.map(ledger),
            failures: queue.and_then(|queue| queue.spec.circuit_breaker.clone()?.failures),
            now: START,
            reconciles: 0,
            circuit: Vec::new(),
            has_failed_service: false,
        }
    }

    /// Plays until all tasks have ended, have had `limit` attempts, or nothing happens any more.
    pub(super) fn play(mut self, limit: usize) -> Result<Played<'a>, Error> {
        let mut last_end = START;
        let most = self.members.len().saturating_mul(limit).saturating_mul(MAX_RECONCILES);
        while let Some(at) = self.next() {
            self.now = self.now.max(at);
            let reconciled = self.turn(limit)?;
            let has_ended = |index: &usize| self.members.get(*index).is_some_and(SimulatedCluster::has_ended);
            if reconciled.iter().any(has_ended) {
                last_end = self.now;
            }
            if self.reconciles > most {
                break;
            }
        }
        let Self { members, circuit, has_failed_service, .. } = self;
        Ok(Played { members, circuit, has_failed_service, last_end })
    }

    /// When something happens. None if nothing does that a task waits for.
    fn next(&self) -> Option<Timestamp> {
        let is_open = |member: &SimulatedCluster| !member.has_ended();
        let of_queue = self.queue.as_ref().and_then(|queue| queue.next_advance(self.now));
        let of_queue = of_queue.filter(|_| self.members.iter().any(is_open));
        self.wakes.first().map(|(at, _)| *at).into_iter().chain(of_queue).min()
    }

    /// All that happens now. Answers which tasks it happened to.
    fn turn(&mut self, limit: usize) -> Result<Vec<usize>, Error> {
        let mut due: VecDeque<usize> = self.advance().into();
        while let Some((_, index)) = self.wakes.first().copied().filter(|(at, _)| *at <= self.now) {
            self.wakes.pop_first();
            due.push_back(index);
        }
        let mut reconciled = Vec::new();
        loop {
            while let Some(index) = due.pop_front() {
                due.extend(self.reconcile(index, limit)?);
                reconciled.push(index);
            }
            due.extend(self.advance());
            if due.is_empty() {
                return Ok(reconciled);
            }
        }
    }

    /// One reconcile. Answers who may start now.
    fn reconcile(&mut self, index: usize, limit: usize) -> Result<Vec<usize>, Error> {
        let now = self.now;
        let Some(member) = self.members.get_mut(index) else { return Ok(Vec::new()) };
        self.reconciles += 1;
        let uid: Uid = member.task().metadata.uid.as_deref().unwrap_or_default().into();
        if let Some(at) = member.next() {
            self.wakes.remove(&(at, index));
        }
        let view = self.queue.as_mut().map(|queue| queue.view(&uid, now));
        let demand = member.reconcile(now, view)?;
        let is_followed = member.attempts().len() < limit;
        self.wakes.extend(member.next().filter(|_| is_followed).map(|at| (at, index)));
        let Some(queue) = self.queue.as_mut() else { return Ok(Vec::new()) };
        match TaskFacts::of(member.task(), now).filter(|_| is_followed || member.has_ended()) {
            Some(facts) => {
                let verdict = facts.last_end.as_ref().map(|end| end.verdict(self.failures.as_ref()));
                self.has_failed_service |= matches!(verdict, Some(Verdict::Failure(_)));
                queue.observe(&facts, false, now);
                queue.demand(&facts, demand.as_ref(), now);
            }
            None => queue.remove(&uid),
        }
        let granted = queue.advance(now);
        Ok(self.indices(&granted))
    }

    /// The queue goes on: its circuit is stored at once. Answers who may start now.
    fn advance(&mut self) -> Vec<usize> {
        let Some(queue) = self.queue.as_mut() else { return Vec::new() };
        let mut granted = queue.advance(self.now);
        for _ in 0..MAX_CHANGES {
            let Some(next) = queue.circuit_to_store(self.now) else { break };
            let before = queue.circuit().map_or(CircuitState::Closed, |circuit| circuit.state);
            self.circuit.extend(next.as_ref().filter(|next| next.state != before).map(change));
            queue.stored(next, self.now);
            granted.extend(queue.advance(self.now));
        }
        self.indices(&granted)
    }

    fn indices(&self, names: &[Arc<str>]) -> Vec<usize> {
        names.iter().filter_map(|name| self.by_name.get(&**name).copied()).collect()
    }
}

fn ledger(queue: &TaskQueue) -> Ledger {
    let before = START.saturating_sub(BEFORE).unwrap_or(START);
    let mut ledger = Ledger::new(queue.metadata.name.as_deref().unwrap_or_default().into(), before);
    ledger.set_queue(queue, before);
    ledger
}

fn change(circuit: &Circuit) -> CircuitChange {
    let Circuit { state, since, until, cause, .. } = circuit;
    let since_start = |at: Timestamp| millis(at.duration_since(START));
    CircuitChange {
        state: state.as_str(),
        at_milliseconds: since.as_ref().map_or(0, |since| since_start(since.0)),
        until_milliseconds: until.as_ref().map(|until| since_start(until.0)),
        cause: cause.clone().filter(|_| *state == CircuitState::Open),
    }
}

impl Played<'_> {
    /// The first attempt that ended.
    pub(super) fn first_attempt(&self) -> Option<&Attempt> {
        self.members.iter().find_map(|member| member.attempts().first())
    }

    pub(super) fn case(self, limits: Limits, back: Timestamp) -> Case {
        let starts: Vec<Start> = self.members.iter().flat_map(|member| member.starts().iter().copied()).collect();
        let after = || starts.iter().map(|start| start.at).filter(|at| *at >= back);
        let (mut succeeded, mut failed, mut not_followed, mut fallbacks) = (0, BTreeMap::new(), 0, 0);
        for member in &self.members {
            let status = member.task().status.as_ref();
            let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
            fallbacks += usize::from(status.is_some_and(|status| status.fallback.is_some()));
            if condition_list::is_true(conditions, ConditionType::Complete) {
                succeeded += 1;
            } else if let Some(end) = condition_list::find(conditions, ConditionType::Failed) {
                *failed.entry(end.reason.clone()).or_default() += 1;
            } else {
                not_followed += 1;
            }
        }
        Case {
            limits,
            succeeded,
            failed,
            not_followed,
            fallbacks,
            attempts: starts.len(),
            attempts_while_down: starts.iter().filter(|start| start.at < back).count(),
            probes: starts.iter().filter(|start| start.probe).count(),
            most_at_a_time: self.most_at_a_time(),
            most_starts_in_a_second: most_within_a_second(after().collect()),
            first_start_after_milliseconds: after().min().map(|at| millis(until(START, at))),
            last_end_milliseconds: (not_followed == 0).then(|| millis(until(START, self.last_end))),
            circuit: self.circuit,
        }
    }

    /// An attempt that ends at the time at which another starts makes room for it.
    fn most_at_a_time(&self) -> usize {
        let mut changes: Vec<(Timestamp, bool)> = Vec::new();
        for member in &self.members {
            changes.extend(member.starts().iter().map(|start| (start.at, true)));
            changes.extend(member.starts().iter().zip(member.attempts()).map(|(start, attempt)| {
                (plus(start.at, SignedDuration::from_millis(attempt.run_milliseconds)), false)
            }));
        }
        changes.sort_unstable();
        let (mut count, mut most) = (0usize, 0);
        for (_, starts) in changes {
            count = if starts { count + 1 } else { count.saturating_sub(1) };
            most = most.max(count);
        }
        most
    }
}

fn most_within_a_second(mut times: Vec<Timestamp>) -> usize {
    times.sort_unstable();
    let second = SignedDuration::from_secs(1);
    let within = |(index, first): (usize, &Timestamp)| {
        times.iter().skip(index).take_while(|at| at.duration_since(*first) < second).count()
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}
