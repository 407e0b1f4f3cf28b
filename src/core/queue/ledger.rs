//! The ledger of one queue: who holds a slot, who waits, who may start.
//!
//! Slots are derived from the tasks' stored statuses ([`Ledger::observe`]) and the ledger's own grants that are not seen there
//! yet. Nothing of it is stored but the state of the circuit, so a new process builds the same ledger from its first lists.
//!
//! - [`Ledger::demand`]: a reconcile has ended, and its task wants to start an attempt, or does not.
//! - [`Ledger::advance`]: grants what may start. Each grant wakes its task, and no other.
//! - [`Ledger::view`]: what a task is told.
//! - [`Ledger::circuit_to_store`], [`Ledger::write_begins`], [`Ledger::stored`] and [`Ledger::write_ended`]: the circuit's
//!   next state takes effect once it is stored.

mod circuit_breaker;
mod grants;
mod slots;
mod summary;

pub use summary::Counts;

use super::facts::{Held, TaskFacts};
use super::line::{FairnessKey, Line, Rank, Uid};
use super::rate::Bucket;
use super::settings::{Breaker, Settings};
use super::view::QueueDemand;
use super::votes::{Verdict, Votes};
use crate::api::{Circuit, CircuitMode, TaskQueue};
use crate::core::decide::LATE_POST_BOUND;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// How long a new process waits at most for the tasks that are due to say that they want to start. Until then it would grant
/// slots in the order in which it hears of them.
pub const SYNC_LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// The ledger of one queue.
#[derive(Debug)]
pub struct Ledger {
    name: Arc<str>,
    queue: Option<Queue>,
    /// As it is stored.
    circuit: Option<Circuit>,
    members: HashMap<Uid, Member>,
    firsts: Line,
    retries: Line,
    /// Who waits for a queue without limits, until when.
    spread: BTreeSet<(Timestamp, Uid)>,
    under_way: HashMap<FairnessKey, usize>,
    slots: usize,
    retry_slots: usize,
    waiting: usize,
    votes: Votes,
    bucket: Bucket,
    /// When tasks could start again after a time in which they could not.
    released_at: Timestamp,
    /// Since when the slots grow.
    recovers_since: Option<Timestamp>,
    /// Until when a failed attempt has asked to be left alone.
    retry_after: Option<Timestamp>,
    /// Tasks that are due by the first list and have not been reconciled yet, and how long to wait for them.
    not_synced: HashSet<Uid>,
    synced_by: Timestamp,
    /// Whether the circuit is to be stored as open, or may be stored so: nothing is granted any more.
    is_opening: bool,
    /// The write that opens the circuit, until it is known what became of it.
    opening_write: Option<OpeningWrite>,
    /// Grants whose reconciles fail, and until when they last.
    failing: HashMap<Uid, Timestamp>,
    /// How long those waited who may start now, until they are asked for.
    waits: Vec<SignedDuration>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// It is stored, so no write before it can be stored any more.
    Stored,
    /// It is not stored: another version is, or nothing was sent.
    NotStored,
    /// It failed, and may be stored all the same.
    Unknown,
}

/// A write of the circuit as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpeningWrite {
    /// It has not ended. `earlier`: until when one before it, which got no answer, may still be stored.
    InFlight { earlier: Option<Timestamp> },
    /// It has got no answer, and may still be stored until then.
    Unanswered(Timestamp),
}

/// The queue's object.
#[derive(Debug)]
struct Queue {
    uid: String,
    generation: Option<i64>,
    settings: Settings,
}

#[derive(Debug)]
struct Member {
    name: Arc<str>,
    state: State,
    is_waiting: bool,
    /// The last end, and what it says of the service.
    last_end: Option<(i32, Verdict)>,
    is_finished: bool,
}

#[derive(Debug)]
enum State {
    /// It wants nothing.
    Idle,
    /// It waits.
    Queued(Place),
    /// It may start.
    Granted(Grant),
    /// Its stored status has the slot.
    Holds(Held, FairnessKey),
}

#[derive(Clone, Debug)]
struct Place {
    demand: QueueDemand,
    key: FairnessKey,
    rank: Rank,
    /// Until when it is not in the line yet.
    spread_until: Option<Timestamp>,
}

#[derive(Debug)]
struct Grant {
    place: Place,
    probe: bool,
    at: Timestamp,
    /// Whether a reconcile that runs knows of it.
    is_in_use: bool,
    /// Until when a status write that got no answer may still be stored.
    in_flight_until: Option<Timestamp>,
}

impl Member {
    fn in_flight_until(&self) -> Option<Timestamp> {
        match &self.state {
            State::Granted(grant) => grant.in_flight_until,
            State::Idle | State::Queued(_) | State::Holds(..) => None,
        }
    }
}

impl Grant {
    /// Whether its attempt may start, whatever is done about the grant.
    fn may_start(&self, now: Timestamp) -> bool {
        self.is_in_use || self.in_flight_until.is_some_and(|until| until > now)
    }
}

impl Ledger {
    /// The ledger of a queue of which nothing is known yet.
    pub fn new(name: Arc<str>, now: Timestamp) -> Self {
        Self {
            name,
            queue: None,
            circuit: None,
            members: HashMap::new(),
            firsts: Line::default(),
            retries: Line::default(),
            spread: BTreeSet::new(),
            under_way: HashMap::new(),
            slots: 0,
            retry_slots: 0,
            waiting: 0,
            votes: Votes::default(),
            bucket: Bucket::empty(now),
            released_at: now,
            recovers_since: None,
            retry_after: None,
            not_synced: HashSet::new(),
            synced_by: now,
            is_opening: false,
            opening_write: None,
            failing: HashMap::new(),
            waits: Vec::new(),
        }
    }

    /// The first lists are complete. Nothing is granted until the tasks that are due have been reconciled once.
    pub fn begin(&mut self, now: Timestamp) {
        self.bucket = Bucket::empty(now);
        self.released_at = now;
        self.synced_by = plus(now, SYNC_LIMIT);
    }

    /// The queue's object is there, or has changed. Answers which tasks must be reconciled for it.
    pub fn set_queue(&mut self, queue: &TaskQueue, now: Timestamp) -> Vec<Arc<str>> {
        let settings = Settings::of(&queue.spec);
        let uid = queue.metadata.uid.clone().unwrap_or_default();
        let before = self.queue.replace(Queue { uid, generation: queue.metadata.generation, settings });
        let is_same = |before: &Queue| self.queue.as_ref().is_some_and(|queue| queue.uid == before.uid);
        let before = before.filter(is_same);
        if before.is_none() {
            self.begin_anew(queue, now);
        }
        let Some(Queue { settings, .. }) = self.queue.as_ref() else { return Vec::new() };
        if let Some(Queue { settings: before, .. }) = &before {
            let failures = |settings: &Settings| settings.breaker.as_ref().map(|breaker| breaker.failures.clone());
            if failures(before) != failures(settings) {
                self.votes.clear();
            }
            if before.hold && !settings.hold {
                if settings.breaker.is_some() {
                    self.recovers_since = Some(now);
                }
                self.released_at = now;
            }
        }
        // The breaker as it is now says whether a requested delay holds the queue, and for how long at most.
        let honours = |breaker: &&Breaker| breaker.honor_retry_after && breaker.mode == CircuitMode::Enforce;
        let most = settings.breaker.as_ref().filter(honours).map(|breaker| plus(now, breaker.max_open));
        self.retry_after = self.retry_after.zip(most).map(|(until, most)| until.min(most));
        let starts_to_drain = settings.drain && before.as_ref().is_none_or(|before| !before.settings.drain);
        if before.is_none() {
            return self.names(|member| !matches!(member.state, State::Idle));
        }
        if before.is_some_and(|before| before.settings.has_no_limit()) != settings.has_no_limit()
            || self.released_at == now
        {
            self.line_up(now);
        }
        if starts_to_drain { self.names(|member| matches!(member.state, State::Holds(..))) } else { Vec::new() }
    }

    /// Another queue than before has the name.
    fn begin_anew(&mut self, queue: &TaskQueue, now: Timestamp) {
        self.circuit = queue.status.as_ref().and_then(|status| status.circuit.clone());
        self.recovers_since = self.closed_since().max(summary::released_since(queue, now));
        self.votes.clear();
        self.bucket = Bucket::empty(now);
        (self.retry_after, self.is_opening, self.opening_write) = (None, false, None);
        self.released_at = self.released_at.max(now);
        self.line_up(now);
    }

    /// The queue's object is gone. Answers which tasks must be reconciled for it.
    pub fn remove_queue(&mut self) -> Vec<Arc<str>> {
        if self.queue.take().is_none() {
            return Vec::new();
        }
        self.circuit = None;
        self.names(|member| matches!(member.state, State::Queued(_) | State::Granted(_)))
    }

    /// UID of the queue's object, if there is one.
    pub fn queue_uid(&self) -> Option<&str> {
        self.queue.as_ref().map(|queue| queue.uid.as_str())
    }

    /// Whether nothing is known of any queue or task of that name.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none() && self.members.is_empty()
    }

    /// What the stored status of a task says. `is_first`: it comes from the first list, and the task has not been reconciled.
    pub fn observe(&mut self, facts: &TaskFacts, is_first: bool, now: Timestamp) {
        let is_of_another = facts.queue.as_ref() != Some(&self.name);
        let held = facts.held.clone().filter(|held| held.queue == self.name);
        if held.is_none() && is_of_another {
            return self.remove(&facts.uid);
        }
        let uid = &facts.uid;
        self.note_end(facts, is_first, now);
        match (held, self.members.get(uid).map(|member| &member.state)) {
            (Some(held), _) => {
                self.vacate(uid, true);
                self.take(&facts.fairness_key, held.is_retry);
                self.set_state(facts, State::Holds(held, facts.fairness_key.clone()));
            }
            // A slot that was held is free now. What waits or is granted goes on until its reconcile says otherwise.
            (None, Some(State::Holds(..))) => {
                self.vacate(uid, false);
                self.set_state(facts, State::Idle);
            }
            (None, Some(State::Queued(_) | State::Granted(_))) if facts.is_finished || is_of_another => {
                self.vacate(uid, false);
                self.set_state(facts, State::Idle);
            }
            (None, Some(_)) => {}
            (None, None) => self.set_state(facts, State::Idle),
        }
        if let Some(member) = self.members.get_mut(uid) {
            member.is_finished = facts.is_finished;
        }
        self.set_waiting(uid, facts.is_waiting);
        if is_first && facts.is_due {
            self.not_synced.insert(uid.clone());
        }
        self.forget_if_done(uid);
    }

    /// The task is gone.
    pub fn remove(&mut self, uid: &Uid) {
        self.vacate(uid, false);
        self.set_waiting(uid, false);
        self.members.remove(uid);
        self.not_synced.remove(uid);
    }

    /// A reconcile of the task has ended, and its status is as it should be: the task wants to start an attempt, or does not.
    /// A grant that it has not used is given back.
    pub fn demand(&mut self, facts: &TaskFacts, demand: Option<&QueueDemand>, now: Timestamp) {
        let uid = &facts.uid;
        self.not_synced.remove(uid);
        let demand = demand.filter(|demand| *demand.queue == *self.name);
        let Some(member) = self.members.get_mut(uid) else { return };
        match (&mut member.state, demand) {
            (State::Holds(..), _) | (State::Idle, None) => {}
            // The reconcile did not know of the grant yet.
            (State::Granted(grant), Some(demand))
                if grant.place.demand.attempt == demand.attempt && !grant.is_in_use => {}
            // It did, and something else keeps the attempt from starting: whoever is next in the line starts instead.
            (State::Granted(grant), Some(demand)) if grant.place.demand.attempt == demand.attempt => {
                self.vacate(uid, false);
                self.set_state(facts, State::Idle);
            }
            (State::Queued(place), Some(demand)) if place.demand == *demand => {}
            (_, None) => {
                self.vacate(uid, false);
                self.set_state(facts, State::Idle);
            }
            (_, Some(demand)) => {
                self.vacate(uid, false);
                self.set_state(facts, State::Idle);
                self.enter(uid, demand.clone(), now);
            }
        }
    }

    /// A reconcile of the task has failed: a later one uses its grant, if it comes soon. The write that starts the attempt may be
    /// on its way.
    pub fn reconcile_failed(&mut self, uid: &Uid, now: Timestamp) {
        if let Some(Member { state: State::Granted(grant), .. }) = self.members.get_mut(uid) {
            let until = plus(now, LATE_POST_BOUND);
            if grant.is_in_use {
                grant.in_flight_until = Some(until);
            }
            grant.is_in_use = false;
            self.failing.insert(uid.clone(), until);
        }
    }

    fn names(&self, which: impl Fn(&Member) -> bool) -> Vec<Arc<str>> {
        self.members.values().filter(|member| which(member)).map(|member| member.name.clone()).collect()
    }

    fn set_state(&mut self, facts: &TaskFacts, state: State) {
        let member = self.members.entry(facts.uid.clone()).or_insert_with(|| Member {
            name: facts.name.clone(),
            state: State::Idle,
            is_waiting: false,
            last_end: None,
            is_finished: false,
        });
        member.state = state;
    }

    fn set_waiting(&mut self, uid: &Uid, is_waiting: bool) {
        if let Some(member) = self.members.get_mut(uid) {
            self.waiting = self.waiting + usize::from(is_waiting) - usize::from(member.is_waiting);
            member.is_waiting = is_waiting;
        }
    }
}

#[cfg(test)]
mod tests;
