//! The way to a reconcile: whatever touches a task gets it into line, and so many are let in at a time, each once, in each
//! line first come first served.
//!
//! What is due has places of its own, more than all the others together: a retry whose time has come waits for none of them,
//! only for what is under way for its own task. Of the others each line has its share, so that no storm in one stops another.
//! A clean-up can wait: it has few, even while others are free, since to delete and free a Pod takes two requests, as many as
//! a retry; until so much waits that it would fill the cluster. What is only to be told of a task is in line with it.

use super::TaskKey;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// Places for what is due, for each place for the others.
pub const DUE_PER_PLACE: u16 = 4;
/// Out of how many places clean-ups may have one, and one in any case, however many are free: more would be on their way
/// when what is urgent comes, and take the API server's time.
const CLEANUP_OF: usize = 8;
/// How many clean-ups may wait for each place; with more of them, they have the same share as anything.
const CLEANUPS_A_PLACE: usize = 64;

/// Why a task is to be looked at, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Its time has come.
    Due,
    /// Something has happened to it.
    Active,
    /// Nothing of it has begun.
    New,
    /// It can wait: what is left of it can be cleaned up, or how far it is can be told.
    Cleanup,
}

/// The lines before the reconciles of one controller.
#[derive(Debug)]
pub struct WorkQueue {
    queue: UnboundedSender<TaskKey>,
    /// How many that are due may be let in at a time.
    most_due: usize,
    /// How many that are not.
    most: usize,
    /// How many of those may be clean-ups, unless so many wait.
    most_cleanup: usize,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    due: VecDeque<TaskKey>,
    begun: VecDeque<TaskKey>,
    new: VecDeque<TaskKey>,
    cleanup: VecDeque<TaskKey>,
    /// Where each task is that is in a line or let in.
    places: HashMap<TaskKey, Place>,
    /// How many are in each line. A line also has the keys of those that got into another since.
    waiting: [usize; PRIORITIES.len()],
    /// How many are let in, by the line that they came from.
    inside: [usize; PRIORITIES.len()],
    dispatched: usize,
    /// Which of all that were let in was the last, by the line that it came from.
    last: [usize; PRIORITIES.len()],
}

/// The most urgent first.
pub const PRIORITIES: [Priority; 4] = [Priority::Due, Priority::Active, Priority::New, Priority::Cleanup];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a line.
    Waiting(Priority),
    /// Let in; with the line that it came from, and the one that it gets into again, if it was touched since.
    Inside(Priority, Option<Priority>),
}

impl WorkQueue {
    /// The lanes of a controller that reconciles so many tasks at a time that are not due.
    pub fn new(queue: UnboundedSender<TaskKey>, places: u16) -> Self {
        let most = usize::from(places.max(1));
        let (most_due, most_cleanup) = (most * usize::from(DUE_PER_PLACE), (most / CLEANUP_OF).max(1));
        Self { queue, most_due, most, most_cleanup, lines: Mutex::default() }
    }

    /// The task is to be looked at.
    pub fn add(&self, key: TaskKey, priority: Priority) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.places.get(&key).copied() {
            None => lines.get_in_line(key, priority),
            Some(Place::Waiting(other)) if priority < other => lines.get_in_line(key, priority),
            Some(Place::Waiting(_)) => {}
            Some(Place::Inside(from, again)) => {
                let again = again.map_or(priority, |again| again.min(priority));
                lines.places.insert(key, Place::Inside(from, Some(again)));
            }
        }
        self.dispatch(&mut lines);
    }

    /// A reconcile of the task is over.
    pub fn done(&self, key: &TaskKey) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Place::Inside(from, again)) = lines.places.get(key).copied() else { return };
        match again {
            None => {
                lines.places.remove(key);
            }
            Some(priority) => lines.get_in_line(key.clone(), priority),
        }
        lines.inside[from as usize] -= 1;
        self.dispatch(&mut lines);
    }

    /// The line that a task came from which is being reconciled.
    pub fn priority_of(&self, key: &TaskKey) -> Option<Priority> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.places.get(key) {
            Some(Place::Inside(from, _)) => Some(*from),
            Some(Place::Waiting(_)) | None => None,
        }
    }

    /// Whether there is little to do that is urgent: at most as many tasks are let in or in line for it as clean-ups may be let
    /// in. With more of them under way the API server answers slowly, though nobody may be in line here.
    pub fn has_time(&self) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let urgent = |priority: Priority| lines.inside[priority as usize] + lines.waiting[priority as usize];
        urgent(Priority::Due) + urgent(Priority::Active) + urgent(Priority::New) <= self.most_cleanup
    }

    fn dispatch(&self, lines: &mut Lines) {
        while let Some((key, from)) = self.next(lines) {
            lines.inside[from as usize] += 1;
            lines.dispatched += 1;
            lines.last[from as usize] = lines.dispatched;
            lines.places.insert(key.clone(), Place::Inside(from, None));
            // A closed queue means that the controller is going away.
            let _ = self.queue.send(key);
        }
    }

    /// Whose turn it is: the first that is due; else the first of the line that has the fewest places, or of that of several
    /// which has waited longest.
    fn next(&self, lines: &mut Lines) -> Option<(TaskKey, Priority)> {
        let [due, begun, new, cleanup] = lines.inside;
        if due < self.most_due
            && let Some(key) = lines.first_of(Priority::Due)
        {
            return Some((key, Priority::Due));
        }
        if begun + new + cleanup >= self.most {
            return None;
        }
        let many = lines.waiting[Priority::Cleanup as usize] > self.most * CLEANUPS_A_PLACE;
        let has_room = |priority: &Priority| *priority != Priority::Cleanup || many || cleanup < self.most_cleanup;
        let mut order = [Priority::Active, Priority::New, Priority::Cleanup];
        order.sort_by_key(|priority| (lines.inside[*priority as usize], lines.last[*priority as usize]));
        order.into_iter().filter(has_room).find_map(|priority| Some((lines.first_of(priority)?, priority)))
    }
}

impl Lines {
    fn get_in_line(&mut self, key: TaskKey, priority: Priority) {
        if let Some(Place::Waiting(other)) = self.places.insert(key.clone(), Place::Waiting(priority)) {
            self.waiting[other as usize] -= 1;
        }
        self.waiting[priority as usize] += 1;
        self.line(priority).push_back(key);
    }

    fn line(&mut self, priority: Priority) -> &mut VecDeque<TaskKey> {
        match priority {
            Priority::Due => &mut self.due,
            Priority::Active => &mut self.begun,
            Priority::New => &mut self.new,
            Priority::Cleanup => &mut self.cleanup,
        }
    }

    /// The first in this line. One that got into another meanwhile is passed over.
    fn first_of(&mut self, priority: Priority) -> Option<TaskKey> {
        loop {
            let key = self.line(priority).pop_front()?;
            if self.places.get(&key) == Some(&Place::Waiting(priority)) {
                self.waiting[priority as usize] -= 1;
                return Some(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
