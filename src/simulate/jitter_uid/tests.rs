use super::*;

#[test]
fn the_seed_is_as_wanted() {
    let share = |pick: JitterPick, number| jitter_seed(&pick.uid(number), number) / (u64::MAX / 10_000);
    for number in [1, 2, 30] {
        assert!(share(JitterPick::Lowest, number) < 100);
        assert!((4970..5030).contains(&share(JitterPick::Middle, number)));
        assert!(share(JitterPick::Highest, number) > 9900);
    }
}
