use super::*;

#[test]
fn each_level_is_said_once_until_the_memory_is_well_below_it() {
    let mut pressure = Pressure::default();
    let said: Vec<_> = [0.1, 0.79, 0.8, 0.85, 0.75, 0.81, 0.95, 0.99, 0.9, 0.96, 0.71, 0.69, 0.3, 0.97]
        .map(|s| pressure.reaches(s))
        .into();
    let expected = [
        None,
        None,
        Some(Level::High),
        None,
        None,
        None,
        Some(Level::Critical),
        None,
        None,
        None,
        None,
        Some(Level::Calm),
        None,
        Some(Level::Critical),
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_the_caches_hold_is_summed_up_over_the_scopes() {
    let memory = Memory::default();
    assert_eq!(memory.held(), "");
    memory.holds("retryabletasks", Some("a"), 7);
    memory.holds("retryabletasks", Some("a"), 40);
    memory.holds("retryabletasks", Some("b"), 2);
    memory.holds("pods", Some("b"), 5);
    assert_eq!(memory.held(), "42 retryabletasks, 5 pods");
}

#[test]
fn lists_that_are_read_are_counted_once_until_they_end() {
    let memory = Arc::new(Memory::default());
    let lists = || memory.lists.load(Ordering::Relaxed);
    let (mut tasks, mut pods) = (ListInProgress::new(memory.clone()), ListInProgress::new(memory.clone()));
    for (is_read, expected) in [(true, 1), (true, 1), (false, 0), (false, 0), (true, 1)] {
        tasks.set(is_read);
        assert_eq!(lists(), expected);
    }
    pods.set(true);
    assert_eq!(lists(), 2);
    drop(tasks);
    assert_eq!(lists(), 1, "the end of a watch ends its list");
}
