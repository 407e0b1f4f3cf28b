//! Time: the true time of a world, and the wall clocks of its machines.

use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// The true time of a world: what the API server and the kubelets show, and what the oracle measures by.
#[derive(Clone, Copy, Debug)]
pub struct WorldClock {
    start: Instant,
}

impl WorldClock {
    /// A clock that starts now, at the same date in every world.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// How long the world has existed.
    pub fn elapsed(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    /// The true time of day.
    pub fn now(&self) -> Timestamp {
        Self::date(self.start.elapsed())
    }

    /// The true time of day at this age of the world.
    pub fn date(age: std::time::Duration) -> Timestamp {
        // Not a whole second, so that code which rounds times is noticed.
        let base = Timestamp::new(1_767_225_600, 618_034_000).expect("a date in range");
        base + SignedDuration::try_from(age).expect("an age in range")
    }
}

/// The wall clock of one machine: the true time and an error that can jump.
#[derive(Clone, Debug)]
pub struct WallClock {
    world: WorldClock,
    error: Arc<Mutex<SignedDuration>>,
}

impl WallClock {
    /// A clock that is off by this much.
    pub fn new(world: WorldClock, error: SignedDuration) -> Self {
        Self { world, error: Arc::new(Mutex::new(error)) }
    }

    /// The machine's time of day.
    pub fn now(&self) -> Timestamp {
        self.world.now() + *self.error.lock().expect("the clock's lock")
    }

    /// Sets the clock forward (or back, when negative) by this much.
    pub fn jump(&self, by: SignedDuration) {
        *self.error.lock().expect("the clock's lock") += by;
    }

    /// How far the clock is ahead of the true time.
    pub fn error(&self) -> SignedDuration {
        *self.error.lock().expect("the clock's lock")
    }
}
