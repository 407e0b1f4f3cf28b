//! Who may start, and what the others wait for.

use super::{Grant, Ledger, Member, OpeningWrite, Place, State};
use crate::api::{Circuit, CircuitMode, CircuitState, Probe};
use crate::core::jitter_seed::jitter_seed;
use crate::core::queue::line::{Uid, is_before};
use crate::core::queue::settings::Rate;
use crate::core::queue::view::{Admission, QueueDemand, QueueView, QueueWaitReason};
use crate::core::time::{plus, until};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Why nobody starts now.
enum Shut {
    Held(String),
    Circuit(String),
    RetryAfter,
    Syncing,
}

impl Ledger {
    /// Brings the ledger up to that time and grants what may start. Answers the names of the tasks that may.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Arc<str>> {
        if let Some(within) = self.breaker().map(|breaker| breaker.within) {
            self.votes.expire(now, within);
        }
        self.retry_after = self.retry_after.filter(|until| *until > now);
        while let Some((_, uid)) = self.spread.first().filter(|(until, _)| *until <= now).cloned() {
            self.spread.pop_first();
            if let Some(Member { state: State::Queued(place), .. }) = self.members.get_mut(&uid) {
                place.spread_until = None;
                let place = place.clone();
                self.join_line(&uid, &place);
            }
        }
        self.give_up_failing(now);
        self.follow_wanted_circuit(now);
        let mut granted = Vec::new();
        if self.shut(now).is_none() {
            while let Some((uid, place)) = self.next_start(now) {
                granted.extend(self.grant(&uid, place, now));
            }
        }
        granted
    }

    /// A task whose reconciles fail keeps no slot from others. Its next reconcile that ends asks again.
    fn give_up_failing(&mut self, now: Timestamp) {
        let members = &self.members;
        let over = self.failing.extract_if(|uid, until| match members.get(uid).map(|member| &member.state) {
            Some(State::Granted(grant)) => grant.is_in_use || *until <= now,
            Some(State::Idle | State::Queued(_) | State::Holds(..)) | None => true,
        });
        for (uid, _) in over.collect::<Vec<_>>() {
            let unused = |member: &Member| matches!(&member.state, State::Granted(grant) if !grant.may_start(now));
            if self.members.get(&uid).is_some_and(unused) {
                self.vacate(&uid, false);
            }
        }
    }

    /// Before the circuit is stored as open, grants that nobody has used are taken back.
    fn follow_wanted_circuit(&mut self, now: Timestamp) {
        let wanted = self.wanted_circuit(now);
        let opens = matches!(&wanted, Some(Some(Circuit { state: CircuitState::Open, .. }))) && !self.is_open();
        self.opening_write = self.opening_write.filter(|write| match write {
            OpeningWrite::InFlight { .. } => true,
            OpeningWrite::Unanswered(until) => *until > now,
        });
        self.is_opening = opens || self.opening_write.is_some();
        if self.is_opening {
            self.take_back_unused(now);
        }
    }

    pub(super) fn take_back_unused(&mut self, now: Timestamp) {
        let unused: Vec<_> = self
            .members
            .iter()
            .filter_map(|(uid, member)| match &member.state {
                State::Granted(grant) if !grant.may_start(now) => Some((uid.clone(), grant.place.demand.clone())),
                _ => None,
            })
            .collect();
        for (uid, demand) in unused {
            self.vacate(&uid, false);
            self.enter(&uid, demand, now);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.circuit_state() == CircuitState::Open
    }

    fn grant(&mut self, uid: &Uid, place: Place, now: Timestamp) -> Option<Arc<str>> {
        self.leave_line(uid, &place);
        self.take(&place.key, place.demand.is_retry);
        if let Some(rate) = self.rate() {
            self.bucket.take(&rate);
        }
        self.waits.push(until(place.demand.since, now));
        let probe = self.circuit_state() == CircuitState::HalfOpen;
        let member = self.members.get_mut(uid)?;
        member.state = State::Granted(Grant { place, probe, at: now, is_in_use: false, in_flight_until: None });
        Some(member.name.clone())
    }

    /// Who starts next, if anybody may.
    fn next_start(&mut self, now: Timestamp) -> Option<(Uid, Place)> {
        let slots = self.limit(now);
        if slots.is_some_and(|slots| self.slots >= slots) || !self.has_token(now) {
            return None;
        }
        let uid = if self.circuit_state() == CircuitState::HalfOpen {
            self.next_probe(self.is_full_of_retries(slots))?
        } else {
            let first = self.firsts.first(now);
            let retry = self.retries.first(now).filter(|_| !self.is_full_of_retries(slots));
            match (first, retry) {
                (Some((rank, count, uid)), Some(retry)) => {
                    if is_before((rank, count), (retry.0, retry.1), now) {
                        uid
                    } else {
                        retry.2
                    }
                }
                (Some((_, _, uid)), None) | (None, Some((_, _, uid))) => uid,
                (None, None) => return None,
            }
            .clone()
        };
        match self.members.get(&uid).map(|member| &member.state) {
            Some(State::Queued(place)) => Some((uid.clone(), place.clone())),
            _ => None,
        }
    }

    /// A probe that waits to start. One that is a retry keeps to the share of retries while another probe is under way. Else it
    /// may exceed it: retries that hang would keep the circuit half open.
    fn next_probe(&self, is_full_of_retries: bool) -> Option<Uid> {
        let probes = &self.circuit.as_ref()?.probes;
        let is_under_way = |probe: &Probe| match &self.members.get(probe.task_uid.as_str())?.state {
            State::Granted(grant) => Some(grant.place.demand.attempt == probe.attempt),
            State::Holds(held, _) => Some(held.attempt == probe.attempt),
            State::Idle | State::Queued(_) => None,
        };
        let keeps_to_share = is_full_of_retries && probes.iter().filter_map(is_under_way).any(|is| is);
        probes.iter().find_map(|probe| {
            let (uid, member) = self.members.get_key_value(probe.task_uid.as_str())?;
            let waits = matches!(&member.state, State::Queued(place) if place.demand.attempt == probe.attempt
                && !(place.demand.is_retry && keeps_to_share));
            waits.then(|| uid.clone())
        })
    }

    fn is_full_of_retries(&self, slots: Option<usize>) -> bool {
        let settings = self.queue.as_ref().map(|queue| &queue.settings);
        slots.zip(settings).is_some_and(|(slots, settings)| self.retry_slots >= settings.retry_slots(slots))
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        self.queue.as_ref()?.settings.rate
    }

    fn has_token(&mut self, now: Timestamp) -> bool {
        self.rate().is_none_or(|rate| self.bucket.has_token(&rate, now))
    }

    /// Whether a new process has not yet seen all the tasks that are due.
    pub(super) fn is_syncing(&self, now: Timestamp) -> bool {
        !self.not_synced.is_empty() && now < self.synced_by
    }

    /// How many attempts may be under way now. None: any number.
    pub(super) fn limit(&self, now: Timestamp) -> Option<usize> {
        let most = self.queue.as_ref()?.settings.max_concurrent?;
        let Some((since, (base, _, recovery))) = self.recovers_since.zip(self.growth()) else { return Some(most) };
        let passed = now.duration_since(since).clamp(SignedDuration::ZERO, recovery).as_micros().unsigned_abs();
        let room = u128::try_from(most - base).unwrap_or(u128::MAX);
        let grown = room.saturating_mul(passed) / recovery.as_micros().unsigned_abs().max(1);
        Some(base.saturating_add(usize::try_from(grown).unwrap_or(usize::MAX)).min(most))
    }

    /// From how many slots to how many they grow after an outage or a hold, and for how long. None: they are all there at once.
    pub(super) fn growth(&self) -> Option<(usize, usize, SignedDuration)> {
        let most = self.queue.as_ref()?.settings.max_concurrent?;
        // One that only observes holds nothing back.
        let breaker = self.breaker().filter(|breaker| breaker.mode != CircuitMode::Observe)?;
        let grows = breaker.recovery.is_positive() && breaker.at_a_time < most;
        grows.then_some((breaker.at_a_time, most, breaker.recovery))
    }

    /// Whether the slots grow at that time.
    pub(super) fn is_recovering(&self, now: Timestamp) -> bool {
        self.recovered_at().is_some_and(|at| at > now)
    }

    /// When the slots have grown.
    fn recovered_at(&self) -> Option<Timestamp> {
        let (since, (_, _, recovery)) = self.recovers_since.zip(self.growth())?;
        Some(plus(since, recovery))
    }

    /// When there is one slot more than now.
    fn next_slot(&self, now: Timestamp) -> Option<Timestamp> {
        let (since, (base, most, recovery)) = self.recovers_since.zip(self.growth())?;
        let limit = self.limit(now).filter(|limit| *limit < most)?;
        let nth = i64::try_from(limit + 1 - base).unwrap_or(i64::MAX);
        let steps = i64::try_from(most - base).unwrap_or(i64::MAX).max(1);
        let micros = i64::try_from(recovery.as_micros()).unwrap_or(i64::MAX);
        Some(plus(since, SignedDuration::from_micros(micros.saturating_mul(nth) / steps + 1)))
    }

    /// Until when a task of a queue without limits waits, so that those who have waited do not start all at once: a part of
    /// the time that it has waited, and at most `recoverySeconds`.
    pub(super) fn spread_until(&self, uid: &Uid, demand: &QueueDemand, now: Timestamp) -> Option<Timestamp> {
        let settings = self.queue.as_ref().map(|queue| &queue.settings).filter(|settings| settings.has_no_limit())?;
        let window = self.released_at.duration_since(demand.since).min(settings.spread());
        let window = u128::try_from(window.as_micros()).ok()?;
        let trip = self.circuit.as_ref().map_or(0, |circuit| circuit.trip);
        let part = (u128::from(jitter_seed(uid, trip)) * window) >> 64;
        let until = plus(self.released_at, SignedDuration::from_micros(i64::try_from(part).unwrap_or(0)));
        Some(until).filter(|until| *until > now)
    }

    /// Why nobody starts now, probes aside.
    fn shut(&self, now: Timestamp) -> Option<Shut> {
        let Some(queue) = &self.queue else { return Some(Shut::Syncing) };
        let name = &self.name;
        if let Some(problem) = &queue.settings.problem {
            return Some(Shut::Held(format!("TaskQueue {name} is invalid: {problem}")));
        }
        if queue.settings.hold {
            return Some(Shut::Held(format!("TaskQueue {name} is held by its stopPolicy")));
        }
        // Until when and why the queue itself says: what its tasks say stays for minutes.
        if self.is_open() {
            let message = format!("the circuit of TaskQueue {name} is open: see kubectl describe taskqueue {name}");
            return Some(Shut::Circuit(message));
        }
        if self.is_opening {
            return Some(Shut::Circuit(format!("the circuit of TaskQueue {name} opens")));
        }
        if self.retry_after.is_some_and(|until| until > now) {
            return Some(Shut::RetryAfter);
        }
        self.is_syncing(now).then_some(Shut::Syncing)
    }

    /// What the task is told. A grant is in use from now on.
    pub fn view(&mut self, uid: &Uid, now: Timestamp) -> QueueView {
        let settings = self.queue.as_ref().map(|queue| &queue.settings);
        let failures =
            settings.and_then(|settings| settings.breaker.as_ref()).and_then(|breaker| breaker.failures.clone());
        let drain = settings.is_some_and(|settings| settings.drain);
        let admission = match self.members.get_mut(uid).map(|member| &mut member.state) {
            _ if self.queue.is_none() => Admission::Missing,
            Some(State::Granted(grant)) => {
                grant.is_in_use = true;
                let Grant { place, probe, at, is_in_use: _, in_flight_until: _ } = grant;
                Admission::Granted { attempt: place.demand.attempt, probe: *probe, at: *at }
            }
            Some(State::Idle | State::Queued(_) | State::Holds(..)) | None => {
                let is_queued = matches!(self.members.get(uid).map(|member| &member.state), Some(State::Queued(_)));
                let is_in_line = is_queued && !self.is_syncing(now);
                let (reason, message) = self.waits_for(uid, now);
                Admission::Waits { reason, message, is_in_line }
            }
        };
        QueueView { admission, failures, drain }
    }

    fn waits_for(&mut self, uid: &Uid, now: Timestamp) -> (QueueWaitReason, String) {
        let name = self.name.clone();
        match self.shut(now) {
            Some(Shut::Held(message)) => return (QueueWaitReason::Held, message),
            Some(Shut::Circuit(message)) => return (QueueWaitReason::CircuitOpen, message),
            Some(Shut::RetryAfter) => {
                let message = format!("a failed attempt of TaskQueue {name} has requested a delay");
                return (QueueWaitReason::RateLimited, message);
            }
            Some(Shut::Syncing) => {
                return (QueueWaitReason::Full, format!("the operator has just started to serve TaskQueue {name}"));
            }
            None => {}
        }
        if self.circuit_state() == CircuitState::HalfOpen {
            let message = format!("the circuit of TaskQueue {name} is half open: probes alone start");
            return (QueueWaitReason::CircuitOpen, message);
        }
        let place = match self.members.get(uid).map(|member| &member.state) {
            Some(State::Queued(place)) => Some(place.clone()),
            _ => None,
        };
        if place.as_ref().is_some_and(|place| place.spread_until.is_some()) {
            let message = format!("the tasks that waited for TaskQueue {name} start spread over some time");
            return (QueueWaitReason::Recovering, message);
        }
        let (limit, most) = (self.limit(now), self.queue.as_ref().and_then(|queue| queue.settings.max_concurrent));
        match limit {
            Some(limit) if self.slots >= limit && limit < most.unwrap_or(limit) => {
                let message = format!("the slots of TaskQueue {name} grow again, and all open ones are in use");
                (QueueWaitReason::Recovering, message)
            }
            Some(limit) if self.slots >= limit => {
                (QueueWaitReason::Full, format!("slots of TaskQueue {name} in use: all {limit}"))
            }
            _ if place.as_ref().is_some_and(|place| place.demand.is_retry) && self.is_full_of_retries(limit) => {
                let message = format!("all slots of TaskQueue {name} for retries are in use: {}", self.retry_slots);
                (QueueWaitReason::RetriesFull, message)
            }
            _ if !self.has_token(now) => {
                (QueueWaitReason::RateLimited, format!("startRate of TaskQueue {name} allows no further start yet"))
            }
            _ => (QueueWaitReason::Full, format!("other tasks are ahead in TaskQueue {name}")),
        }
    }

    /// When a start that got no answer can no longer be stored, if the circuit waits for it to open; or the write that opens it.
    fn next_landing(&self) -> Option<Timestamp> {
        let write = match self.opening_write {
            Some(OpeningWrite::Unanswered(until)) => Some(until),
            Some(OpeningWrite::InFlight { .. }) | None => None,
        };
        let members = self.members.values().filter(|_| self.is_opening);
        members.filter_map(super::Member::in_flight_until).chain(write).min()
    }

    /// When [`advance`](Self::advance) is worth a call if nothing happens.
    pub fn next_advance(&self, now: Timestamp) -> Option<Timestamp> {
        self.queue.as_ref()?;
        let waits = !self.firsts.is_empty() || !self.retries.is_empty();
        let breaker = self.breaker();
        let state = self.circuit_state();
        let until = self.circuit.as_ref().and_then(|circuit| circuit.until.as_ref()).map(|until| until.0);
        let times = [
            self.spread.first().map(|(until, _)| *until),
            self.rate().filter(|_| waits).map(|rate| self.bucket.next_token(&rate)),
            self.next_slot(now).filter(|_| waits),
            self.recovered_at(),
            self.failing.values().min().copied(),
            self.retry_after,
            Some(self.synced_by).filter(|_| !self.not_synced.is_empty()),
            until.filter(|_| state == CircuitState::Open),
            self.next_landing(),
            self.next_pass().filter(|_| state == CircuitState::HalfOpen),
            breaker
                .filter(|_| state == CircuitState::WouldOpen)
                .and_then(|breaker| self.votes.next_expiry(breaker.within)),
        ];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }
}
