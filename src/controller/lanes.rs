//! Which of the tasks that something has touched go to the work queue: all of them, but of new tasks only some at a
//! time, in the order in which they came.
//!
//! The work queue of kube-runtime takes what is ready in no order at all: behind a storm of new tasks, a retry that is
//! due could wait until the storm is over. Here the storm waits, and the queue stays short.

use super::TaskKey;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// Out of how many places one is not for new tasks.
const KEPT_FREE_OF: usize = 4;

/// The ways to the work queue of one controller.
#[derive(Debug)]
pub struct Lanes {
    queue: UnboundedSender<TaskKey>,
    /// How many new tasks may be in the queue or reconciled.
    most: usize,
    new: Mutex<New>,
}

#[derive(Debug, Default)]
struct New {
    /// In the queue, or reconciled.
    inside: HashSet<TaskKey>,
    waiting: VecDeque<TaskKey>,
    /// Those that wait, to be found.
    known: HashSet<TaskKey>,
}

impl Lanes {
    /// The lanes of a controller that reconciles so many tasks at a time. New tasks never have all places, unless there
    /// is only one.
    pub fn new(queue: UnboundedSender<TaskKey>, places: u16) -> Self {
        let places = usize::from(places.max(1));
        let free = (places / KEPT_FREE_OF).max(1);
        Self { queue, most: places.saturating_sub(free).max(1), new: Mutex::default() }
    }

    /// Something has happened to the task.
    pub fn touched(&self, key: TaskKey, is_new: bool) {
        if is_new {
            let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
            if !new.inside.contains(&key) && new.inside.len() >= self.most {
                if new.known.insert(key.clone()) {
                    new.waiting.push_back(key);
                }
                return;
            }
            new.inside.insert(key.clone());
        }
        self.send(key);
    }

    /// A reconcile of the task is over.
    pub fn settled(&self, key: &TaskKey) {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        if new.inside.remove(key)
            && let Some(next) = new.waiting.pop_front()
        {
            new.known.remove(&next);
            new.inside.insert(next.clone());
            self.send(next);
        }
    }

    fn send(&self, key: TaskKey) {
        // A closed queue means that the controller is going away.
        let _ = self.queue.send(key);
    }
}

#[cfg(test)]
mod tests {
    use super::{Lanes, TaskKey};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn key(name: &str) -> TaskKey {
        TaskKey { namespace: "default".into(), name: name.into() }
    }

    fn queued(queue: &mut UnboundedReceiver<TaskKey>) -> Vec<String> {
        std::iter::from_fn(|| queue.try_recv().ok()).map(|key| key.name).collect()
    }

    #[test]
    fn a_storm_of_new_tasks_waits_and_what_is_due_does_not() {
        let (sender, mut queue) = unbounded_channel();
        let lanes = Lanes::new(sender, 4);
        for name in ["a", "b", "c", "d", "e", "d"] {
            lanes.touched(key(name), true);
        }
        assert_eq!(queued(&mut queue), ["a", "b", "c"], "a place is left");
        lanes.touched(key("due"), false);
        lanes.touched(key("b"), true);
        assert_eq!(queued(&mut queue), ["due", "b"], "what is inside is touched again at once");
        lanes.settled(&key("due"));
        assert!(queued(&mut queue).is_empty(), "it had no new task's place");
        lanes.settled(&key("b"));
        lanes.settled(&key("b"));
        assert_eq!(queued(&mut queue), ["d"], "the first that waits, once");
        for name in ["a", "c", "d"] {
            lanes.settled(&key(name));
        }
        assert_eq!(queued(&mut queue), ["e"]);
    }

    #[test]
    fn new_tasks_have_a_place_even_if_there_is_only_one() {
        for (places, most) in [(0, 1), (1, 1), (2, 1), (3, 2), (32, 24)] {
            let (sender, mut queue) = unbounded_channel();
            let lanes = Lanes::new(sender, places);
            for n in 0..100 {
                lanes.touched(key(&n.to_string()), true);
            }
            assert_eq!(queued(&mut queue).len(), most, "of {places}");
        }
    }
}
