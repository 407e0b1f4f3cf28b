use super::*;
use crate::core::testing::{at, at_millis};

#[test]
fn times_are_told_in_whole_seconds() {
    for (then, now, told) in [
        (at(0), at(0), "0s ago"),
        (at_millis(1), at_millis(1700), "1s ago"),
        (at(0), at(63), "1m3s ago"),
        (at(90), at(0), "in 1m30s"),
        (at_millis(900), at(0), "in 0s"),
    ] {
        assert_eq!(relative(then, now), told);
    }
    assert_eq!(exact(at(0)), "2026-11-22 10:00:00 UTC");
}

#[test]
fn long_counts_are_grouped() {
    let told: Vec<String> = [0, 7, 999, 1000, 12_345, 1_234_567].into_iter().map(count).collect();
    assert_eq!(told, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
    assert_eq!((counted(1, "task", "tasks"), counted(2, "task", "tasks")), ("1 task".into(), "2 tasks".into()));
}
