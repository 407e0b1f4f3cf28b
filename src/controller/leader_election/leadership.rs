//! The handle by which the rest of the process knows whether it leads.

use std::future::pending;

use tokio::{sync::watch, time::Instant};

/// Whether this process leads. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Leadership(Option<watch::Receiver<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Until(Instant),
    Lost,
}

impl Leadership {
    /// The leadership of a process that runs without election: always valid, never lost.
    pub fn always() -> Self {
        Self(None)
    }

    /// Whether this process leads at this instant, by the monotonic clock. Ask right before every write that only the
    /// leader may make; the answer says nothing about later.
    pub fn is_valid(&self) -> bool {
        self.0.as_ref().is_none_or(|state| match *state.borrow() {
            State::Until(instant) => Instant::now() < instant,
            State::Lost => false,
        })
    }

    /// Resolves when the leadership is lost or given back; it does not return. The process should end then.
    pub async fn lost(&self) {
        match self.0.clone() {
            // An error means that nobody renews any more, which comes to the same.
            Some(mut state) => drop(state.wait_for(|state| *state == State::Lost).await),
            None => pending().await,
        }
    }
}

/// The other end of a [`Leadership`], held by the one who renews the lease.
#[derive(Debug)]
pub(super) struct Term(watch::Sender<State>);

impl Term {
    /// A term that is not valid before it is extended.
    pub(super) fn begin() -> (Self, Leadership) {
        let (sender, receiver) = watch::channel(State::Until(Instant::now()));
        (Self(sender), Leadership(Some(receiver)))
    }

    pub(super) fn extend(&self, until: Instant) {
        self.0.send_replace(State::Until(until));
    }

    pub(super) fn end(&self) {
        self.0.send_replace(State::Lost);
    }
}
