//! How many tasks are reconciled at a time, and whose turn it is.
//!
//! The work queue of kube-runtime takes what waits in no order at all, so that in a storm of new tasks a retry that is
//! due could wait until the storm is over. Here they come in the order in which they asked, and new tasks never hold
//! all places.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Out of how many places new tasks may hold all but one.
const NEW_OF: usize = 4;

/// The places of one controller.
#[derive(Debug)]
pub struct Gate {
    all: Semaphore,
    new: Semaphore,
}

/// A place. It is given back when this is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    _all: SemaphorePermit<'a>,
    _new: Option<SemaphorePermit<'a>>,
}

impl Gate {
    /// A gate with so many places; none counts as one.
    pub fn new(places: u16) -> Self {
        let places = usize::from(places.max(1));
        Self { all: Semaphore::new(places), new: Semaphore::new((places - places / NEW_OF).max(1)) }
    }

    /// Waits for a place; nothing once the gate is closed. A new task waits behind other new tasks only until a quarter
    /// of the places is left to the others.
    pub async fn enter(&self, is_new: bool) -> Option<Place<'_>> {
        let new = if is_new { Some(self.new.acquire().await.ok()?) } else { None };
        Some(Place { _all: self.all.acquire().await.ok()?, _new: new })
    }

    /// Lets nobody in any more, those included who wait.
    pub fn close(&self) {
        self.new.close();
        self.all.close();
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use futures::FutureExt;

    #[test]
    fn new_tasks_leave_a_place_to_those_that_are_due() {
        let gate = Gate::new(4);
        let mut storm: Vec<_> = (0..3).filter_map(|_| gate.enter(true).now_or_never().flatten()).collect();
        assert_eq!(storm.len(), 3);
        let mut fourth = Box::pin(gate.enter(true));
        assert!((&mut fourth).now_or_never().is_none(), "the last place is not for new tasks");
        let due = gate.enter(false).now_or_never().flatten();
        assert!(due.is_some(), "a task that is due does not wait behind the new ones");
        storm.pop();
        assert!((&mut fourth).now_or_never().flatten().is_some(), "a new task takes the place of another");
    }

    #[test]
    fn tasks_that_are_due_may_have_all_places() {
        let gate = Gate::new(4);
        let due: Vec<_> = (0..4).filter_map(|_| gate.enter(false).now_or_never().flatten()).collect();
        assert_eq!(due.len(), 4);
        assert!(gate.enter(false).now_or_never().is_none(), "there are four places");
    }

    #[test]
    fn there_is_one_place_at_least() {
        for places in [0, 1] {
            let gate = Gate::new(places);
            assert!(gate.enter(true).now_or_never().flatten().is_some());
            assert!(gate.enter(false).now_or_never().flatten().is_some());
        }
    }

    #[test]
    fn a_closed_gate_keeps_nobody_waiting() {
        let gate = Gate::new(1);
        let inside = gate.enter(false).now_or_never().flatten();
        let mut waiting = [Box::pin(gate.enter(false)), Box::pin(gate.enter(true))];
        assert!(waiting.iter_mut().all(|enter| enter.now_or_never().is_none()));
        gate.close();
        assert!(waiting.iter_mut().all(|enter| matches!(enter.now_or_never(), Some(None))), "they are sent away");
        assert!(inside.is_some(), "who is in stays in");
    }
}
