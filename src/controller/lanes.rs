//! The way to the work queue: whatever touches a task gets it into line, and so many are let in at a time, first come
//! first served.
//!
//! The work queue of kube-runtime takes what is ready in no fair order: the newest first, as it turns out, so that under
//! load some tasks wait until the load is over. Here the lines wait, and the queue is never longer than what it works on.
//! What is due goes first; and a storm of new tasks holds up nothing that has begun.

use super::TaskKey;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// Out of how many places one is for what is due alone.
const FOR_DUE_OF: usize = 4;
/// Out of how many that are let in one is new, if those that have begun wait too.
const NEW_OF: usize = 4;

/// Why a task is to be looked at, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Its time has come.
    Due,
    /// Something has happened to it.
    Begun,
    /// Nothing of it has begun.
    New,
}

/// The lines before the work queue of one controller.
#[derive(Debug)]
pub struct Lanes {
    queue: UnboundedSender<TaskKey>,
    /// How many tasks may be in the queue or reconciled.
    most: usize,
    /// How many, before one is let in that is not due.
    most_not_due: usize,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    due: VecDeque<TaskKey>,
    begun: VecDeque<TaskKey>,
    new: VecDeque<TaskKey>,
    /// Where each task is that is in a line, in the queue or reconciled.
    places: HashMap<TaskKey, Place>,
    inside: usize,
    let_in: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a line.
    Waiting(Line),
    /// In the queue, or reconciled; with the line that it gets into again, if it was touched since.
    Inside(Option<Line>),
}

impl Lanes {
    /// The lanes of a controller that reconciles so many tasks at a time.
    pub fn new(queue: UnboundedSender<TaskKey>, places: u16) -> Self {
        let most = usize::from(places.max(1));
        Self { queue, most, most_not_due: most - most / FOR_DUE_OF, lines: Mutex::default() }
    }

    /// The task is to be looked at.
    pub fn touched(&self, key: TaskKey, line: Line) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.places.get(&key).copied() {
            None => lines.get_in_line(key, line),
            Some(Place::Waiting(other)) if line < other => lines.get_in_line(key, line),
            Some(Place::Waiting(_)) => {}
            Some(Place::Inside(again)) => {
                let line = again.map_or(line, |again| again.min(line));
                lines.places.insert(key, Place::Inside(Some(line)));
            }
        }
        self.let_in(&mut lines);
    }

    /// A reconcile of the task is over.
    pub fn settled(&self, key: &TaskKey) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.places.get(key).copied() {
            None | Some(Place::Waiting(_)) => return,
            Some(Place::Inside(None)) => {
                lines.places.remove(key);
            }
            Some(Place::Inside(Some(line))) => lines.get_in_line(key.clone(), line),
        }
        lines.inside -= 1;
        self.let_in(&mut lines);
    }

    fn let_in(&self, lines: &mut Lines) {
        while lines.inside < self.most
            && let Some(key) = lines.next(lines.inside < self.most_not_due)
        {
            (lines.inside, lines.let_in) = (lines.inside + 1, lines.let_in + 1);
            lines.places.insert(key.clone(), Place::Inside(None));
            // A closed queue means that the controller is going away.
            let _ = self.queue.send(key);
        }
    }
}

impl Lines {
    fn get_in_line(&mut self, key: TaskKey, line: Line) {
        self.places.insert(key.clone(), Place::Waiting(line));
        self.line(line).push_back(key);
    }

    fn line(&mut self, line: Line) -> &mut VecDeque<TaskKey> {
        match line {
            Line::Due => &mut self.due,
            Line::Begun => &mut self.begun,
            Line::New => &mut self.new,
        }
    }

    /// Whose turn it is: what is due, and where others may go too, what has begun, and now and then what is new.
    fn next(&mut self, others_too: bool) -> Option<TaskKey> {
        let new_first = (self.let_in + 1).is_multiple_of(NEW_OF);
        let order = if new_first { [Line::New, Line::Begun] } else { [Line::Begun, Line::New] };
        let order = std::iter::once(Line::Due).chain(order.into_iter().filter(|_| others_too));
        order.into_iter().find_map(|line| self.first_of(line))
    }

    /// The first in this line. One that got into another meanwhile is passed over.
    fn first_of(&mut self, line: Line) -> Option<TaskKey> {
        loop {
            let key = self.line(line).pop_front()?;
            if self.places.get(&key) == Some(&Place::Waiting(line)) {
                return Some(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lanes, Line, TaskKey};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn key(name: &str) -> TaskKey {
        TaskKey { namespace: "default".into(), name: name.into() }
    }

    fn queued(queue: &mut UnboundedReceiver<TaskKey>) -> Vec<String> {
        std::iter::from_fn(|| queue.try_recv().ok()).map(|key| key.name).collect()
    }

    /// Lanes for four reconciles at a time, of which one is for what is due.
    fn lanes() -> (Lanes, UnboundedReceiver<TaskKey>) {
        let (sender, queue) = unbounded_channel();
        (Lanes::new(sender, 4), queue)
    }

    #[test]
    fn first_come_first_served_and_each_once() {
        let (lanes, mut queue) = lanes();
        for name in ["a", "b", "c", "d", "e", "d"] {
            lanes.touched(key(name), Line::Begun);
        }
        assert_eq!(queued(&mut queue), ["a", "b", "c"], "a place is left");
        lanes.settled(&key("elsewhere"));
        lanes.settled(&key("e"));
        assert!(queued(&mut queue).is_empty(), "they had nobody's place");
        lanes.settled(&key("b"));
        lanes.settled(&key("b"));
        assert_eq!(queued(&mut queue), ["d"]);
        lanes.settled(&key("a"));
        assert_eq!(queued(&mut queue), ["e"]);
        lanes.settled(&key("c"));
        assert!(queued(&mut queue).is_empty(), "d was in line once");
    }

    #[test]
    fn what_is_touched_while_it_is_inside_gets_into_line_again() {
        let (lanes, mut queue) = lanes();
        for name in ["a", "b", "c", "a", "a", "d"] {
            lanes.touched(key(name), Line::Begun);
        }
        assert_eq!(queued(&mut queue), ["a", "b", "c"]);
        lanes.settled(&key("a"));
        assert_eq!(queued(&mut queue), ["d"], "behind the others");
        lanes.settled(&key("b"));
        assert_eq!(queued(&mut queue), ["a"], "once");
        for name in ["a", "c", "d"] {
            lanes.settled(&key(name));
        }
        assert!(queued(&mut queue).is_empty());
    }

    #[test]
    fn a_storm_of_new_tasks_holds_up_nothing_that_has_begun_and_is_not_held_up_for_ever() {
        let (lanes, mut queue) = lanes();
        let names = |of: &str| (0..12).map(|n| format!("{of}-{n}")).collect::<Vec<_>>();
        for name in names("new") {
            lanes.touched(key(&name), Line::New);
        }
        assert_eq!(queued(&mut queue), ["new-0", "new-1", "new-2"]);
        for name in names("begun") {
            lanes.touched(key(&name), Line::Begun);
        }
        let mut order: Vec<String> = vec!["new-0".into()];
        for n in 0..8 {
            lanes.settled(&key(&order[n].clone()));
            order.extend(queued(&mut queue));
        }
        let expected = ["new-3", "begun-0", "begun-1", "begun-2", "new-4", "begun-3", "begun-4", "begun-5"];
        assert_eq!(order[1..], expected);
    }

    #[test]
    fn what_has_begun_changes_its_line() {
        let (lanes, mut queue) = lanes();
        for name in ["a", "b", "c", "d", "e"] {
            lanes.touched(key(name), Line::New);
        }
        lanes.touched(key("e"), Line::Begun);
        lanes.touched(key("e"), Line::New);
        queued(&mut queue);
        for name in ["a", "b", "c", "d", "e"] {
            lanes.settled(&key(name));
        }
        let order = queued(&mut queue);
        assert_eq!(order.len(), 2, "each once: {order:?}");
        assert!(order.contains(&"d".to_owned()) && order.contains(&"e".to_owned()));
    }

    #[test]
    fn what_is_due_goes_first_and_has_a_place_of_its_own() {
        let (lanes, mut queue) = lanes();
        for name in ["a", "b", "c", "d", "e"] {
            lanes.touched(key(name), Line::Begun);
        }
        assert_eq!(queued(&mut queue), ["a", "b", "c"]);
        for name in ["due-0", "due-1", "e"] {
            lanes.touched(key(name), Line::Due);
        }
        assert_eq!(queued(&mut queue), ["due-0"], "the place that is kept");
        lanes.touched(key("a"), Line::Due);
        lanes.touched(key("a"), Line::New);
        for settled in ["a", "b", "c", "due-0"] {
            lanes.settled(&key(settled));
        }
        assert_eq!(queued(&mut queue), ["due-1", "e", "a"]);
        lanes.settled(&key("e"));
        assert_eq!(queued(&mut queue), ["d"]);
    }

    #[test]
    fn there_is_always_a_place() {
        for (places, most) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (32, 24)] {
            let (sender, mut queue) = unbounded_channel();
            let lanes = Lanes::new(sender, places);
            for n in 0..100 {
                lanes.touched(key(&n.to_string()), if n % 2 == 0 { Line::New } else { Line::Begun });
            }
            assert_eq!(queued(&mut queue).len(), most, "of {places}");
        }
    }
}
