//! How full the process's memory limit is, and what is said of it before the kernel ends the process.
//!
//! The kernel gives no warning. So a thread of its own looks: it runs while a list that does not fit is being parsed.

mod control_group;

pub use control_group::{ControlGroup, MemoryUse};

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Above this share of the limit the log warns.
const HIGH: f64 = 0.8;
/// Above this share the end is near.
const CRITICAL: f64 = 0.95;
/// Below this share the next warning is a new one.
const CALM: f64 = 0.7;
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks while a list is being read: it fills the memory in less than a second.
const INTERVAL_OF_A_LIST: Duration = Duration::from_millis(5);

/// After how many objects of a list to look.
const LOOK_EACH: usize = 50;

/// The memory limit of this process, and what fills it.
#[derive(Debug, Default)]
pub struct Memory {
    group: ControlGroup,
    /// How many lists are being read.
    lists: AtomicUsize,
    watcher: OnceLock<Thread>,
    pressure: Mutex<Pressure>,
    /// How many objects the caches hold, by resource and scope.
    objects: Mutex<BTreeMap<(&'static str, Option<String>), usize>>,
}

impl Memory {
    /// The memory of this process.
    pub fn of_this_process() -> Self {
        Self { group: ControlGroup::of_this_process(), ..Self::default() }
    }

    /// What is in use of the limit. `None` without a limit.
    pub fn in_use(&self) -> Option<MemoryUse> {
        self.group.in_use()
    }

    /// Records how many objects of a resource (its plural) the cache of a scope holds.
    pub fn holds(&self, resource: &'static str, namespace: Option<&str>, count: usize) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.insert((resource, namespace.map(ToOwned::to_owned)), count);
    }

    /// Such as `18400 retryabletasks, 900 pods`.
    fn held(&self) -> String {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
        for ((resource, _), count) in objects.iter() {
            *sums.entry(resource).or_default() += count;
        }
        sums.iter().rev().fold(String::new(), |mut text, (resource, count)| {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{count} {resource}");
            text
        })
    }

    /// Starts the thread that looks, which ends with the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let memory = self.clone();
        let watcher = thread::Builder::new().name("memory".into()).stack_size(256 << 10).spawn(move || {
            loop {
                memory.look();
                let is_listing = memory.lists.load(Ordering::Relaxed) > 0;
                thread::park_timeout(if is_listing { INTERVAL_OF_A_LIST } else { INTERVAL });
            }
        })?;
        // It is started once.
        let _ = self.watcher.set(watcher.thread().clone());
        Ok(())
    }

    fn look(&self) {
        let Some(in_use) = self.in_use() else { return };
        let reached = self.pressure.lock().unwrap_or_else(PoisonError::into_inner).reaches(in_use.share());
        if let Some(reached) = reached {
            self.say(reached);
        }
    }

    fn say(&self, level: Level) {
        let Some(in_use) = self.in_use() else { return };
        let percent = in_use.percent();
        let MemoryUse { used: bytes, limit } = in_use;
        let (held, is_listing) = (self.held(), self.lists.load(Ordering::Relaxed) > 0);
        match level {
            Level::Calm => tracing::info!(percent, bytes, limit, held, "enough memory is free again"),
            Level::High => tracing::warn!(percent, bytes, limit, held, is_listing, "{ADVICE}"),
            Level::Critical => tracing::error!(percent, bytes, limit, held, is_listing, "{ADVICE}"),
        }
    }
}

/// Whether a list is being read. While it is, the memory is watched closely.
#[derive(Debug)]
pub struct ListInProgress {
    memory: Arc<Memory>,
    is_read: bool,
    objects: usize,
}

impl ListInProgress {
    /// None is, yet.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory, is_read: false, objects: 0 }
    }

    /// An object of it has been read. The thread that looks may not get a processor in time.
    pub fn progress(&mut self) {
        self.objects = self.objects.wrapping_add(1);
        if self.is_read && self.objects.is_multiple_of(LOOK_EACH) {
            self.memory.look();
        }
    }

    /// It begins, or has ended, for good or ill.
    pub fn set(&mut self, is_read: bool) {
        match (std::mem::replace(&mut self.is_read, is_read), is_read) {
            (false, true) => {
                self.memory.lists.fetch_add(1, Ordering::Relaxed);
                if let Some(watcher) = self.memory.watcher.get() {
                    watcher.unpark();
                }
            }
            (true, false) => {
                self.memory.lists.fetch_sub(1, Ordering::Relaxed);
            }
            (true, true) | (false, false) => {}
        }
    }
}

impl Drop for ListInProgress {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Said at each level: the last line that can be read after the end must say what to do.
const ADVICE: &str = "the memory limit is nearly reached, where the kernel kills the operator: raise \
                      resources.limits.memory, and give finished tasks a ttlSecondsAfterFinished (the chart's \
                      defaults.ttlSecondsAfterFinished)";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Calm,
    High,
    Critical,
}

/// Which level was reached last, so that each is said once.
#[derive(Debug, Default)]
struct Pressure(Level);

impl Pressure {
    /// The level that a share of the limit (1 is full) has just reached. It does not fall before the share is well below.
    fn reaches(&mut self, share: f64) -> Option<Level> {
        let level = if share >= CRITICAL {
            Level::Critical
        } else if share >= HIGH {
            Level::High.max(self.0)
        } else if share >= CALM {
            self.0
        } else {
            Level::Calm
        };
        let before = std::mem::replace(&mut self.0, level);
        (before != level).then_some(level)
    }
}

#[cfg(test)]
mod tests;
