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
const CLEAN_UP_OF: usize = 8;
/// How many clean-ups may wait for each place; with more of them, they have the same share as anything.
const CLEAN_UPS_A_PLACE: usize = 64;

/// Why a task is to be looked at, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// Its time has come.
    Due,
    /// Something has happened to it.
    Begun,
    /// Nothing of it has begun.
    New,
    /// It can wait: what is left of it can be cleaned up, or how far it is can be told.
    CleanUp,
}

/// The lines before the reconciles of one controller.
#[derive(Debug)]
pub struct Lanes {
    queue: UnboundedSender<TaskKey>,
    /// How many that are due may be let in at a time.
    most_due: usize,
    /// How many that are not.
    most: usize,
    /// How many of those may be clean-ups, unless so many wait.
    most_clean_up: usize,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    due: VecDeque<TaskKey>,
    begun: VecDeque<TaskKey>,
    new: VecDeque<TaskKey>,
    clean_up: VecDeque<TaskKey>,
    /// Where each task is that is in a line or let in.
    places: HashMap<TaskKey, Place>,
    /// How many are in each line. A line also has the keys of those that got into another since.
    waiting: [usize; LINES.len()],
    /// How many are let in, by the line that they came from.
    inside: [usize; LINES.len()],
    let_in: usize,
    /// Which of all that were let in was the last, by the line that it came from.
    last: [usize; LINES.len()],
}

/// The most urgent first.
pub const LINES: [Line; 4] = [Line::Due, Line::Begun, Line::New, Line::CleanUp];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a line.
    Waiting(Line),
    /// Let in; with the line that it came from, and the one that it gets into again, if it was touched since.
    Inside(Line, Option<Line>),
}

impl Lanes {
    /// The lanes of a controller that reconciles so many tasks at a time that are not due.
    pub fn new(queue: UnboundedSender<TaskKey>, places: u16) -> Self {
        let most = usize::from(places.max(1));
        let (most_due, most_clean_up) = (most * usize::from(DUE_PER_PLACE), (most / CLEAN_UP_OF).max(1));
        Self { queue, most_due, most, most_clean_up, lines: Mutex::default() }
    }

    /// The task is to be looked at.
    pub fn touched(&self, key: TaskKey, line: Line) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.places.get(&key).copied() {
            None => lines.get_in_line(key, line),
            Some(Place::Waiting(other)) if line < other => lines.get_in_line(key, line),
            Some(Place::Waiting(_)) => {}
            Some(Place::Inside(from, again)) => {
                let again = again.map_or(line, |again| again.min(line));
                lines.places.insert(key, Place::Inside(from, Some(again)));
            }
        }
        self.let_in(&mut lines);
    }

    /// A reconcile of the task is over.
    pub fn settled(&self, key: &TaskKey) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Place::Inside(from, again)) = lines.places.get(key).copied() else { return };
        match again {
            None => {
                lines.places.remove(key);
            }
            Some(line) => lines.get_in_line(key.clone(), line),
        }
        lines.inside[from as usize] -= 1;
        self.let_in(&mut lines);
    }

    /// The line that a task came from which is being reconciled.
    pub fn line_of(&self, key: &TaskKey) -> Option<Line> {
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
        let urgent = |line: Line| lines.inside[line as usize] + lines.waiting[line as usize];
        urgent(Line::Due) + urgent(Line::Begun) + urgent(Line::New) <= self.most_clean_up
    }

    fn let_in(&self, lines: &mut Lines) {
        while let Some((key, from)) = self.next(lines) {
            lines.inside[from as usize] += 1;
            lines.let_in += 1;
            lines.last[from as usize] = lines.let_in;
            lines.places.insert(key.clone(), Place::Inside(from, None));
            // A closed queue means that the controller is going away.
            let _ = self.queue.send(key);
        }
    }

    /// Whose turn it is: the first that is due; else the first of the line that has the fewest places, or of that of several
    /// which has waited longest.
    fn next(&self, lines: &mut Lines) -> Option<(TaskKey, Line)> {
        let [due, begun, new, clean_up] = lines.inside;
        if due < self.most_due
            && let Some(key) = lines.first_of(Line::Due)
        {
            return Some((key, Line::Due));
        }
        if begun + new + clean_up >= self.most {
            return None;
        }
        let many = lines.waiting[Line::CleanUp as usize] > self.most * CLEAN_UPS_A_PLACE;
        let has_room = |line: &Line| *line != Line::CleanUp || many || clean_up < self.most_clean_up;
        let mut order = [Line::Begun, Line::New, Line::CleanUp];
        order.sort_by_key(|line| (lines.inside[*line as usize], lines.last[*line as usize]));
        order.into_iter().filter(has_room).find_map(|line| Some((lines.first_of(line)?, line)))
    }
}

impl Lines {
    fn get_in_line(&mut self, key: TaskKey, line: Line) {
        if let Some(Place::Waiting(other)) = self.places.insert(key.clone(), Place::Waiting(line)) {
            self.waiting[other as usize] -= 1;
        }
        self.waiting[line as usize] += 1;
        self.line(line).push_back(key);
    }

    fn line(&mut self, line: Line) -> &mut VecDeque<TaskKey> {
        match line {
            Line::Due => &mut self.due,
            Line::Begun => &mut self.begun,
            Line::New => &mut self.new,
            Line::CleanUp => &mut self.clean_up,
        }
    }

    /// The first in this line. One that got into another meanwhile is passed over.
    fn first_of(&mut self, line: Line) -> Option<TaskKey> {
        loop {
            let key = self.line(line).pop_front()?;
            if self.places.get(&key) == Some(&Place::Waiting(line)) {
                self.waiting[line as usize] -= 1;
                return Some(key);
            }
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
