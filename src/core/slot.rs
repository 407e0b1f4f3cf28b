//! Which of a task's Pods: that of an attempt, or that of the fallback.

/// Which of a task's Pods: that of an attempt, or that of the fallback that follows it. In the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The attempt's number, from 1. The fallback has the number of the last attempt: 0 if the task failed before its
    /// first.
    pub number: i32,
    /// Whether it is the fallback.
    pub fallback: bool,
}

impl From<i32> for Slot {
    fn from(number: i32) -> Self {
        Self { number, fallback: false }
    }
}
