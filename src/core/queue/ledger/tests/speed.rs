//! What a decision costs is no matter of how many tasks wait. `cargo bench` measures it.

use super::*;

#[test]
fn ten_thousand_tasks_in_the_line_are_started_one_by_one_each_by_one_freed_slot() {
    let mut world = World::new(json!({"maxConcurrent": 10, "retries": {"maxPercent": 50}}));
    let mut running = Vec::new();
    for n in 0..10_000 {
        let key = format!("tenant{}", n % 100);
        running.extend(world.want_with(&format!("t{n:05}"), 1 + n % 2, n % 5, Some(&key)));
    }
    assert_eq!(world.counts(), (10, 9_990, 0));
    let mut started = running.len();
    while let Some(name) = running.pop() {
        world.start(&name);
        let woken = world.end(&name, succeeded());
        assert!(woken.len() <= 1, "{woken:?}");
        started += woken.len();
        running.extend(woken);
    }
    assert_eq!((started, world.counts()), (10_000, (0, 0, 0)));
}
