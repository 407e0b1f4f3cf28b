use super::*;

#[test]
fn the_dice_fall_as_wanted() {
    let share = |dice_: JitterPick, number| jitter_seed(&dice_.uid(number), number) / (u64::MAX / 10_000);
    for number in [1, 2, 30] {
        assert!(share(JitterPick::Lowest, number) < 100);
        assert!((4970..5030).contains(&share(JitterPick::Middle, number)));
        assert!(share(JitterPick::Highest, number) > 9900);
    }
}
