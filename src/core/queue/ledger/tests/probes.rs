//! Probes and the share of retries.

use super::circuit::{attempt, breaker, probes, state};
use super::*;

/// A world whose circuit has just opened, and whose share of retries, one slot of four, is held by one that hangs.
fn opened_with_a_retry_that_hangs(probes: &Value) -> World {
    let mut spec = breaker(json!({ "probes": probes }));
    spec["maxConcurrent"] = 4.into();
    spec["retries"] = json!({"maxPercent": 25});
    let mut world = World::new(spec);
    world.want("hangs", 2);
    world.start("hangs");
    for name in ["x", "y", "z"] {
        attempt(&mut world, name, 1, failed());
    }
    world
}

#[test]
fn q7_a_retry_that_has_no_slot_is_no_probe_while_others_wait() {
    let mut world = opened_with_a_retry_that_hangs(&json!({"atATime": 2, "successes": 2}));
    world.want_with("retry", 2, 5, None);
    world.want("first", 1);
    assert_eq!(world.pass(70), ["first"]);
    assert_eq!(probes(&world), [("first".into(), 1)]);
    // the share is free again
    assert_eq!(world.end("hangs", neutral()), ["retry"]);
}

#[test]
fn q7_where_retries_alone_wait_q11_one_probe_exceeds_their_share() {
    let mut world = opened_with_a_retry_that_hangs(&json!({"atATime": 2, "successes": 2, "passAfterSeconds": 300}));
    for name in ["a", "b", "c"] {
        world.want(name, 2);
    }
    assert_eq!(world.pass(70), ["a"]);
    world.start("a");
    assert_eq!((world.pass(100), probes(&world)), (vec![], vec![("a".into(), 2)]));
    world.want("first", 1);
    assert_eq!(probes(&world), [("a".into(), 2), ("first".into(), 1)]);
    world.start("first");
    world.end("first", neutral());
    // it has run long enough, and runs on: the next one exceeds it too
    assert_eq!(world.pass(200), ["b"]);
    world.start("b");
    world.end("b", succeeded());
    assert_eq!((state(&world), world.pass(100), world.told("c")), (("Closed", 1), vec![], "RetriesFull"));
}

#[test]
fn q7_a_probe_that_has_lost_its_place_among_the_retries_starts_all_the_same() {
    let mut world = opened_with_a_retry_that_hangs(&json!({"atATime": 1, "successes": 1}));
    let held = world.facts("hangs").held.clone();
    world.end("hangs", neutral());
    world.want("a", 2);
    assert_eq!((world.pass(70), probes(&world)), (vec!["a".to_owned()], vec![("a".into(), 2)]));
    for facts in world.tasks.values_mut() {
        facts.is_due = false;
    }
    world.facts("hangs").held = held;
    world.restart();
    assert_eq!(world.want("a", 2), ["a"]);
}
