//! UIDs that give a wanted jitter. The jitter follows from the task's UID and the attempt's number. So for each attempt
//! there is a UID that gives the shortest, the mean or the longest wait, and decisions that depend on the wait (the
//! deadline) can be shown for it.

use crate::core::jitter_seed::jitter_seed;

/// Which wait the jitter shall pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JitterPick {
    /// Any: nothing depends on it.
    Any,
    /// About the shortest.
    Lowest,
    /// Within a few thousandths of the mean.
    Middle,
    /// About the longest.
    Highest,
    /// What comes with one UID of many.
    Task(u32),
}

impl JitterPick {
    /// A UID with which the jitter after that attempt is as wanted.
    pub(super) fn uid(self, number: i32) -> String {
        let (wanted, tries) = match self {
            Self::Any => (0, 1),
            Self::Lowest => (0, 512),
            Self::Middle => (u64::MAX / 2, 4096),
            Self::Highest => (u64::MAX, 512),
            Self::Task(n) => return uid(n),
        };
        let best = (0..tries).min_by_key(|n| jitter_seed(&uid(*n), number).abs_diff(wanted));
        uid(best.unwrap_or_default())
    }
}

fn uid(n: u32) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

#[cfg(test)]
mod tests;
