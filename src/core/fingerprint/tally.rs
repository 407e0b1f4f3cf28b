//! Counts failures by their cause, in one pass.

use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// A failure, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a, C, T> {
    /// Its cause. The order of causes decides between two that are as frequent and as late.
    pub cause: C,
    /// The task that it happened to.
    pub task: T,
    /// When it happened, if that is known.
    pub time: Option<Timestamp>,
    /// Its message. Empty if there is none.
    pub message: &'a str,
}

/// The failures of one cause.
#[derive(Clone, Debug)]
pub struct Tally<'a, C, T> {
    /// The cause.
    pub cause: C,
    /// How many there are, at least 1.
    pub count: usize,
    /// When the first of them happened, as far as it is known.
    pub first: Option<Timestamp>,
    /// When the last of them happened, as far as it is known.
    pub last: Option<Timestamp>,
    /// The message of the last one. Empty if there is none.
    pub message: &'a str,
    /// The tasks that they happened to, each with the time of its last one.
    pub tasks: Vec<(T, Option<Timestamp>)>,
}

/// The failures by their cause: the most frequent first, and of two as frequent the later. The failures of a task come one after
/// another: a task that comes again later counts as another one.
pub fn tally<'a, C, T>(failures: impl IntoIterator<Item = Counted<'a, C, T>>) -> Vec<Tally<'a, C, T>>
where
    C: Clone + Hash + Ord,
    T: PartialEq,
{
    let mut tallies: HashMap<C, Tally<'a, C, T>> = HashMap::new();
    for Counted { cause, task, time, message } in failures {
        if let Some(tally) = tallies.get_mut(&cause) {
            tally.add(task, time, message);
        } else {
            let tasks = vec![(task, time)];
            tallies.insert(cause.clone(), Tally { cause, count: 1, first: time, last: time, message, tasks });
        }
    }
    let mut rows: Vec<Tally<C, T>> = tallies.into_values().collect();
    rows.sort_by(|a, b| {
        let order = |tally: &Tally<C, T>| (Reverse(tally.count), Reverse(tally.last));
        order(a).cmp(&order(b)).then_with(|| a.cause.cmp(&b.cause))
    });
    rows
}

impl<'a, C, T: PartialEq> Tally<'a, C, T> {
    fn add(&mut self, task: T, time: Option<Timestamp>, message: &'a str) {
        self.count += 1;
        if time.is_some() && (self.first.is_none() || time < self.first) {
            self.first = time;
        }
        // Of two at the same time the message does not depend on the order in which they come.
        if (time, message) > (self.last, self.message) {
            self.message = message;
        }
        self.last = self.last.max(time);
        match self.tasks.last_mut() {
            Some((last, latest)) if *last == task => *latest = (*latest).max(time),
            _ => self.tasks.push((task, time)),
        }
    }
}
