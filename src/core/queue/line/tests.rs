use super::*;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key(name: &str) -> FairnessKey {
    name.into()
}

/// A line of tasks: name, key, priority, and for how many seconds they have waited at `at(0)`.
fn line(tasks: &[(&str, &str, i32, i64)]) -> Line {
    let mut line = Line::default();
    for (name, of, priority, waited) in tasks {
        line.add(&key(of), rank(at(-waited), *priority), &key(name));
    }
    line
}

/// All of the line in the order in which they start, where each start is under way from then on.
fn order(tasks: &[(&str, &str, i32, i64)]) -> String {
    let mut line = line(tasks);
    let mut started: Vec<String> = Vec::new();
    let mut under_way: HashMap<FairnessKey, usize> = HashMap::new();
    while let Some((rank, _, uid)) = line.first(at(0)) {
        let uid = uid.clone();
        let of = key(tasks.iter().find(|(name, ..)| *name == &*uid).unwrap().1);
        line.remove(&of, rank, &uid);
        let count = under_way.entry(of.clone()).or_default();
        *count += 1;
        line.set_under_way(&of, *count);
        started.push(uid.to_string());
    }
    started.join(" ")
}

#[test]
fn priority_then_fairness_then_waiting_time() {
    // who has waited longest
    assert_eq!(order(&[("a", "", 0, 1), ("b", "", 0, 3), ("c", "", 0, 2)]), "b c a");
    // the higher priority, however long the others have waited below ten minutes
    assert_eq!(order(&[("a", "", 0, 599), ("b", "", 1, 1), ("c", "", -1, 599)]), "b a c");
    // ten minutes count as one priority
    assert_eq!(order(&[("a", "", 0, 601), ("b", "", 1, 0)]), "a b");
    assert_eq!(order(&[("a", "", -10, 6_601), ("b", "", 0, 0), ("c", "", 0, 599)]), "a c b");
    // the key with the fewest under way
    let one_after_the_other =
        [("a1", "a", 0, 9), ("a2", "a", 0, 8), ("a3", "a", 0, 7), ("b1", "b", 0, 2), ("b2", "b", 0, 1)];
    assert_eq!(order(&one_after_the_other), "a1 b1 a2 b2 a3");
    // but priority comes before fairness
    assert_eq!(order(&[("a1", "a", 1, 0), ("a2", "a", 1, 0), ("b1", "b", 0, 0)]), "a1 a2 b1");
}

#[test]
fn a_key_that_has_attempts_under_way_waits_for_the_others() {
    let mut line = line(&[("a", "busy", 0, 100), ("b", "idle", 0, 1)]);
    line.set_under_way(&key("busy"), 3);
    assert_eq!(line.first(at(0)).map(|(_, under_way, uid)| (under_way, &**uid)), Some((0, "b")));
    line.set_under_way(&key("busy"), 0);
    assert_eq!(line.first(at(0)).map(|(_, under_way, uid)| (under_way, &**uid)), Some((0, "a")));
}

proptest! {
    /// Nobody starves: who has waited ten minutes longer than the difference in priority is before the other.
    #[test]
    fn overtaking_is_bounded(waits in prop::collection::vec((0i64..20_000, -10i32..=10, 0u8..4), 1..40)) {
        let tasks: Vec<_> = waits
            .iter()
            .enumerate()
            .map(|(index, (waited, priority, of))| (format!("t{index}"), format!("k{of}"), *priority, *waited))
            .collect();
        let mut line = Line::default();
        for (name, of, priority, waited) in &tasks {
            line.add(&key(of), rank(at(-waited), *priority), &key(name));
        }
        let (_, _, first) = line.first(at(0)).unwrap();
        let (_, _, priority, waited) = tasks.iter().find(|(name, ..)| **name == **first).unwrap();
        for (name, _, other_priority, other_waited) in &tasks {
            let ahead = i64::from(other_priority - priority) * 600 + other_waited - waited;
            prop_assert!(ahead <= 600, "{name} is {ahead} s ahead of {first}");
        }
        prop_assert_eq!(line.len(), tasks.len());
    }

    /// The index is as good as looking at everybody.
    #[test]
    fn the_index_finds_whom_a_search_of_all_finds(
        waits in prop::collection::vec((0i64..3_000, -2i32..=2, 0u8..4), 1..30),
        under_way in prop::collection::vec(0usize..3, 4),
    ) {
        let mut line = Line::default();
        for (of, count) in under_way.iter().enumerate() {
            line.set_under_way(&key(&format!("k{of}")), *count);
        }
        let mut best = None;
        for (index, (waited, priority, of)) in waits.iter().enumerate() {
            let (rank, uid) = (rank(at(-waited), *priority), key(&format!("t{index:02}")));
            line.add(&key(&format!("k{of}")), rank, &uid);
            let candidate = (rank, under_way[usize::from(*of)], uid);
            best = match best {
                Some(best) if !is_before((candidate.0, candidate.1), (best_of(&best), best_count(&best)), at(0)) => Some(best),
                _ => Some(candidate),
            };
        }
        let best = best.unwrap();
        let (rank, count, _) = line.first(at(0)).unwrap();
        prop_assert_eq!((rank, count), (best.0, best.1));
    }
}

fn best_of(best: &(Rank, usize, FairnessKey)) -> Rank {
    best.0
}

fn best_count(best: &(Rank, usize, FairnessKey)) -> usize {
    best.1
}
