//! The ledger's part in the circuit: what the ends of attempts say of the service, and what becomes of probes.

use super::{Ledger, Member, OpeningWrite, Queue, State, WriteEnd};
use crate::api::{Circuit, CircuitMode, CircuitState, Probe};
use crate::core::decide::LATE_POST_BOUND;
use crate::core::queue::circuit::{Evidence, ProbeState, next};
use crate::core::queue::facts::TaskFacts;
use crate::core::queue::line::Uid;
use crate::core::queue::settings::Breaker;
use crate::core::queue::votes::Verdict;
use crate::core::time::plus;
use jiff::Timestamp;

impl Ledger {
    /// The circuit that is to be stored, if any. It takes effect with [`stored`](Self::stored). None while a grant is in use
    /// and the circuit opens: nobody is to start after it has opened.
    #[allow(clippy::option_option)] // that there is no circuit is to be stored too
    pub fn circuit_to_store(&self, now: Timestamp) -> Option<Option<Circuit>> {
        let wanted = self.wanted_circuit(now)?;
        let opens = wanted.as_ref().is_some_and(|circuit| circuit.state == CircuitState::Open);
        let may_start = |member: &Member| matches!(&member.state, State::Granted(grant) if grant.may_start(now));
        if opens && self.members.values().any(may_start) { None } else { Some(wanted) }
    }

    /// The write of that circuit begins. If it opens, nothing is granted until [`write_ended`](Self::write_ended), even if the
    /// next end of an attempt speaks against it.
    pub fn write_begins(&mut self, circuit: Option<&Circuit>) {
        if circuit.is_some_and(|circuit| circuit.state == CircuitState::Open) && !self.is_open() {
            let earlier = match self.opening_write {
                Some(OpeningWrite::InFlight { earlier }) => earlier,
                Some(OpeningWrite::Unanswered(until)) => Some(until),
                None => None,
            };
            self.opening_write = Some(OpeningWrite::InFlight { earlier });
        }
    }

    /// A write of the queue's status has ended, and [`stored`](Self::stored) was called if it is stored.
    pub fn write_ended(&mut self, end: WriteEnd, now: Timestamp) {
        self.opening_write = match (end, self.opening_write) {
            (WriteEnd::Stored, _) | (_, None) => None,
            (WriteEnd::Unknown, Some(OpeningWrite::InFlight { .. })) => {
                Some(OpeningWrite::Unanswered(plus(now, LATE_POST_BOUND)))
            }
            // The other version may be that of an earlier write.
            (WriteEnd::NotStored, Some(OpeningWrite::InFlight { earlier })) => earlier.map(OpeningWrite::Unanswered),
            (WriteEnd::NotStored | WriteEnd::Unknown, unanswered @ Some(OpeningWrite::Unanswered(_))) => unanswered,
        };
    }

    /// The circuit is stored, and takes effect.
    pub fn stored(&mut self, circuit: Option<Circuit>, now: Timestamp) {
        let state = |circuit: &Option<Circuit>| circuit.as_ref().map(|circuit| circuit.state);
        let before = state(&self.circuit);
        self.circuit = circuit;
        (self.is_opening, self.opening_write) = (false, None);
        let finished: Vec<_> =
            self.members.iter().filter(|(_, member)| member.is_finished).map(|(uid, _)| uid.clone()).collect();
        for uid in &finished {
            self.forget_if_done(uid);
        }
        if before == state(&self.circuit) {
            return;
        }
        // Nobody but this process knows of its grants.
        if self.is_open() {
            self.take_back_unused(now);
        }
        // What is only observed goes on being counted.
        let is_observed = |state: Option<CircuitState>| state == Some(CircuitState::WouldOpen);
        if !is_observed(before) && !is_observed(state(&self.circuit)) {
            self.votes.clear();
        }
        let was_closed = matches!(before, None | Some(CircuitState::Closed | CircuitState::WouldOpen));
        self.recovers_since = self.closed_since().filter(|_| !was_closed).or(self.recovers_since);
        if !was_closed && !self.is_shut() {
            self.released_at = now;
            self.line_up(now);
        }
    }

    /// Since when the slots grow by what is stored: after the circuit has been open.
    pub(super) fn closed_since(&self) -> Option<Timestamp> {
        let circuit = self.circuit.as_ref()?;
        let has_tripped = circuit.state == CircuitState::Closed && circuit.trip > 0;
        circuit.since.as_ref().filter(|_| has_tripped).map(|since| since.0)
    }

    pub(super) fn breaker(&self) -> Option<&Breaker> {
        self.queue.as_ref()?.settings.breaker.as_ref()
    }

    pub(super) fn circuit_state(&self) -> CircuitState {
        self.circuit.as_ref().map_or(CircuitState::Closed, |circuit| circuit.state)
    }

    /// Whether the circuit lets nobody start, or probes alone.
    pub(super) fn is_shut(&self) -> bool {
        matches!(self.circuit_state(), CircuitState::Open | CircuitState::HalfOpen)
    }

    /// Notes what the last end of the task says of the service.
    pub(super) fn note_end(&mut self, facts: &TaskFacts, is_first: bool, now: Timestamp) {
        let failures = self.breaker().and_then(|breaker| breaker.failures.clone());
        let Some(end) = &facts.last_end else { return };
        let attempt = end.entry.attempt;
        let known = self.members.get(&facts.uid);
        if known.and_then(|member| member.last_end.as_ref()).is_some_and(|(known, _)| *known == attempt) {
            return;
        }
        let is_new = known.is_none();
        // An attempt of another queue says nothing of this one; nor does one that ended before it was seen here.
        let held =
            known.is_some_and(|member| matches!(&member.state, State::Holds(held, _) if held.attempt == attempt));
        let is_of_this_queue = held || is_first && end.entry.queue.as_deref() == Some(&*self.name);
        let verdict = if is_of_this_queue { end.verdict(failures.as_ref()) } else { Verdict::Neutral };
        let finished = end.entry.finish_time.as_ref().map_or(now, |at| at.0).min(now);
        // What was seen live happened now: the wall clock may have been set since.
        let at = if is_first { finished } else { now };
        if matches!(verdict, Verdict::Failure(_)) {
            self.note_retry_after(end.retry_after().map(|delay| plus(at, delay)), now);
        }
        let acts = self.circuit.as_ref().filter(|circuit| circuit.state != CircuitState::WouldOpen);
        let since = acts.and_then(|circuit| circuit.since.as_ref()).map(|since| since.0);
        if !self.is_shut() && since.is_none_or(|since| at >= since) {
            self.votes.cast(&facts.uid, at, verdict.clone());
        }
        if is_new {
            self.set_state(facts, State::Idle);
        }
        if let Some(member) = self.members.get_mut(&facts.uid) {
            member.last_end = Some((attempt, verdict));
        }
    }

    fn note_retry_after(&mut self, until: Option<Timestamp>, now: Timestamp) {
        let Some((until, breaker)) = until.zip(self.breaker()) else { return };
        if breaker.honor_retry_after && breaker.mode == CircuitMode::Enforce {
            let until = until.min(plus(now, breaker.max_open));
            self.retry_after = self.retry_after.max(Some(until));
        }
    }

    #[allow(clippy::option_option)] // as above
    pub(super) fn wanted_circuit(&self, now: Timestamp) -> Option<Option<Circuit>> {
        let Queue { uid, settings, .. } = self.queue.as_ref()?;
        let none = Circuit::default();
        let Some(breaker) = &settings.breaker else { return self.circuit.is_some().then_some(None) };
        let circuit = self.circuit.as_ref().unwrap_or(&none);
        // What a new process has not heard of yet is not gone.
        if circuit.state == CircuitState::HalfOpen && self.is_syncing(now) {
            return None;
        }
        let probes: Vec<_> = circuit.probes.iter().map(|probe| self.probe_state(breaker, probe, now)).collect();
        let open = probes.iter().filter(|state| **state == ProbeState::Open).count();
        let may_probe = match circuit.state {
            CircuitState::Open => circuit.until.as_ref().is_some_and(|until| until.0 <= now),
            CircuitState::HalfOpen => {
                let needed = usize::try_from(breaker.successes.saturating_sub(circuit.successes)).unwrap_or(0);
                open < breaker.at_a_time.min(needed)
            }
            CircuitState::Closed | CircuitState::WouldOpen | CircuitState::Unknown => false,
        };
        let may_probe = may_probe && !settings.hold && !self.is_syncing(now);
        let candidates = if may_probe { self.candidates(circuit, (open, breaker.at_a_time), now) } else { Vec::new() };
        let evidence = Evidence { circuit, queue_uid: uid, failing: self.failing(breaker), probes, candidates, now };
        match next(Some(breaker), &evidence) {
            None if self.circuit.is_none() => Some(Some(none)),
            next => next,
        }
    }

    /// Why the circuit should open, if it should.
    fn failing(&self, breaker: &Breaker) -> Option<String> {
        let (failed, all) = (self.votes.failed(), self.votes.all());
        let is_enough = failed >= breaker.tasks && failed.saturating_mul(100) >= all.saturating_mul(breaker.percent);
        is_enough.then(|| self.votes.summary())
    }

    fn probe_state(&self, breaker: &Breaker, probe: &Probe, now: Timestamp) -> ProbeState {
        let Some(member) = self.members.get(probe.task_uid.as_str()) else { return ProbeState::Gone };
        if let Some((_, verdict)) = member.last_end.as_ref().filter(|(attempt, _)| *attempt == probe.attempt) {
            return match verdict {
                Verdict::Success => ProbeState::Passed,
                Verdict::Failure(cause) => ProbeState::Failed(cause.clone()),
                Verdict::Neutral => ProbeState::Gone,
            };
        }
        match &member.state {
            State::Holds(held, _) if held.attempt == probe.attempt => {
                let is_long = held.since.is_some_and(|since| now >= plus(since, breaker.pass_after));
                match (is_long, held.is_held_up) {
                    (false, _) => ProbeState::Open,
                    (true, false) => ProbeState::Passed,
                    // Its program does not run: it says nothing of the service.
                    (true, true) => ProbeState::Gone,
                }
            }
            State::Queued(place) if place.demand.attempt == probe.attempt => ProbeState::Open,
            State::Granted(grant) if grant.place.demand.attempt == probe.attempt => ProbeState::Open,
            State::Idle | State::Queued(_) | State::Granted(_) | State::Holds(..) => ProbeState::Gone,
        }
    }

    /// Who waits and could probe: the highest priority first, then the most retries left, then who has waited longest. A retry is
    /// named only where the share of retries has a slot for it: it would keep the circuit half open and not start. Where retries
    /// alone wait and no probe is open, one is named all the same, and [`next_probe`](Self::next_probe) lets it exceed the share.
    fn candidates(&self, circuit: &Circuit, (open, most): (usize, usize), now: Timestamp) -> Vec<Probe> {
        let is_probe = |uid: &Uid| circuit.probes.iter().any(|probe| *probe.task_uid == **uid);
        let mut waiting: Vec<_> = self
            .members
            .iter()
            .filter_map(|(uid, member)| match &member.state {
                State::Queued(place) if !is_probe(uid) => Some((uid, member, &place.demand)),
                _ => None,
            })
            .collect();
        waiting.sort_by_cached_key(|(uid, _, demand)| {
            (std::cmp::Reverse(demand.priority), std::cmp::Reverse(demand.retries_left), demand.since, *uid)
        });
        let probe = |(uid, member, demand): (&Uid, &Member, &super::QueueDemand)| Probe {
            task: member.name.to_string(),
            task_uid: uid.to_string(),
            attempt: demand.attempt,
        };
        let mut room = self.retry_room(circuit, now);
        let (fit, full): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, _, demand)| {
            let has_room = !demand.is_retry || room > 0;
            room = room.saturating_sub(usize::from(demand.is_retry));
            has_room
        });
        let exceeds = usize::from(fit.is_empty() && open == 0);
        fit.into_iter().chain(full.into_iter().take(exceeds)).take(most).map(probe).collect()
    }

    /// How many retries more can be probes within their share.
    fn retry_room(&self, circuit: &Circuit, now: Timestamp) -> usize {
        let Some((queue, slots)) = self.queue.as_ref().zip(self.limit(now)) else { return usize::MAX };
        let waits = |probe: &&Probe| match self.members.get(probe.task_uid.as_str()).map(|member| &member.state) {
            Some(State::Queued(place)) => place.demand.is_retry && place.demand.attempt == probe.attempt,
            Some(State::Idle | State::Granted(_) | State::Holds(..)) | None => false,
        };
        let named = circuit.probes.iter().filter(waits).count();
        queue.settings.retry_slots(slots).saturating_sub(self.retry_slots + named)
    }

    /// When the first probe has run long enough.
    pub(super) fn next_pass(&self) -> Option<Timestamp> {
        let breaker = self.breaker()?;
        let since = |probe: &Probe| match &self.members.get(probe.task_uid.as_str())?.state {
            State::Holds(held, _) if held.attempt == probe.attempt => held.since,
            _ => None,
        };
        self.circuit.as_ref()?.probes.iter().filter_map(since).map(|since| plus(since, breaker.pass_after)).min()
    }

    /// A finished task is kept as long as its end counts.
    pub(super) fn forget_if_done(&mut self, uid: &Uid) {
        let is_probe = self.circuit.iter().flat_map(|circuit| &circuit.probes).any(|probe| *probe.task_uid == **uid);
        let is_done = self.members.get(uid).is_some_and(|member| member.is_finished);
        if is_done && !is_probe {
            self.remove(uid);
        }
    }
}
