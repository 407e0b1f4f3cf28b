//! The seed of the jitter.

use super::hash;

/// The seed of the jitter before the retry that follows attempt `number`: 64 bits, evenly spread. It follows from the
/// task's UID and the number, so a restarted operator and every replica compute the same wait.
pub fn jitter_seed(task_uid: &str, number: i32) -> u64 {
    let [seed, _] = hash::numbers(&format!("jitter\n{task_uid}\n{number}"));
    seed
}
