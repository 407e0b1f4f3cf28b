//! Slots and places in the line: taken, left, and taken again by what holds now.

use super::{Grant, Ledger, Place, State};
use crate::core::queue::line::{FairnessKey, Line, Uid, rank};
use crate::core::queue::view::QueueDemand;
use jiff::Timestamp;

impl Ledger {
    /// Takes the task out of the line, or its slot from it. Its state is to be set next. `is_used`: a grant of it is stored now.
    pub(super) fn vacate(&mut self, uid: &Uid, is_used: bool) {
        let Some(member) = self.members.get_mut(uid) else { return };
        match std::mem::replace(&mut member.state, State::Idle) {
            State::Idle => {}
            State::Queued(place) => self.leave_line(uid, &place),
            State::Granted(Grant { place, .. }) => {
                self.release(&place.key, place.demand.is_retry);
                if let Some(rate) = self.rate().filter(|_| !is_used) {
                    self.bucket.give_back(&rate);
                }
            }
            State::Holds(held, key) => self.release(&key, held.is_retry),
        }
    }

    pub(super) fn enter(&mut self, uid: &Uid, demand: QueueDemand, now: Timestamp) {
        let place = Place {
            key: demand.fairness_key.as_deref().unwrap_or_default().into(),
            rank: rank(demand.since, demand.priority),
            spread_until: self.spread_until(uid, &demand, now),
            demand,
        };
        self.join_line(uid, &place);
        self.set_waiting(uid, false);
        if let Some(member) = self.members.get_mut(uid) {
            member.state = State::Queued(place);
        }
    }

    pub(super) fn join_line(&mut self, uid: &Uid, place: &Place) {
        match place.spread_until {
            Some(until) => {
                self.spread.insert((until, uid.clone()));
            }
            None => self.line(place.demand.is_retry).add(&place.key, place.rank, uid),
        }
    }

    pub(super) fn leave_line(&mut self, uid: &Uid, place: &Place) {
        match place.spread_until {
            Some(until) => {
                self.spread.remove(&(until, uid.clone()));
            }
            None => self.line(place.demand.is_retry).remove(&place.key, place.rank, uid),
        }
    }

    /// All who wait take their place again, by what holds now.
    pub(super) fn line_up(&mut self, now: Timestamp) {
        let queued: Vec<_> = self
            .members
            .iter()
            .filter_map(|(uid, member)| match &member.state {
                State::Queued(place) => Some((uid.clone(), place.clone())),
                State::Idle | State::Granted(_) | State::Holds(..) => None,
            })
            .collect();
        for (uid, place) in queued {
            self.leave_line(&uid, &place);
            self.enter(&uid, place.demand, now);
        }
    }

    fn line(&mut self, is_retry: bool) -> &mut Line {
        if is_retry { &mut self.retries } else { &mut self.firsts }
    }

    pub(super) fn take(&mut self, key: &FairnessKey, is_retry: bool) {
        self.slots += 1;
        self.retry_slots += usize::from(is_retry);
        let count = self.under_way.entry(key.clone()).or_default();
        *count += 1;
        let count = *count;
        self.firsts.set_under_way(key, count);
        self.retries.set_under_way(key, count);
    }

    fn release(&mut self, key: &FairnessKey, is_retry: bool) {
        self.slots = self.slots.saturating_sub(1);
        self.retry_slots = self.retry_slots.saturating_sub(usize::from(is_retry));
        let count = self.under_way.get(key).copied().unwrap_or(0).saturating_sub(1);
        if count == 0 {
            self.under_way.remove(key);
        } else {
            self.under_way.insert(key.clone(), count);
        }
        self.firsts.set_under_way(key, count);
        self.retries.set_under_way(key, count);
    }
}
