//! Loaded dice. Jitter follows from the task's UID and the attempt's number, so a UID can be found for each attempt
//! with which the wait is the one that is wanted, and decisions that depend on it (a deadline) can be shown for that
//! wait.

use crate::core::identity::dice;

/// Which wait the dice shall pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dice {
    /// Whichever: nothing depends on it.
    Any,
    /// About the shortest.
    Lowest,
    /// Within a few thousandths of the mean.
    Middle,
    /// About the longest.
    Highest,
}

impl Dice {
    /// A UID whose dice for that attempt fall as wanted.
    pub(super) fn uid(self, number: i32) -> String {
        let (wanted, tries) = match self {
            Self::Any => (0, 1),
            Self::Lowest => (0, 512),
            Self::Middle => (u64::MAX / 2, 4096),
            Self::Highest => (u64::MAX, 512),
        };
        let uid = |n: u32| format!("{n:08x}-0000-4000-8000-000000000000");
        let best = (0..tries).min_by_key(|n| dice(&uid(*n), number).abs_diff(wanted));
        uid(best.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_fall_as_wanted() {
        let share = |dice_: Dice, number| dice(&dice_.uid(number), number) / (u64::MAX / 10_000);
        for number in [1, 2, 30] {
            assert!(share(Dice::Lowest, number) < 100);
            assert!((4970..5030).contains(&share(Dice::Middle, number)));
            assert!(share(Dice::Highest, number) > 9900);
        }
    }
}
