//! The slots that grow after an outage or a hold, whatever process serves the queue.

use super::circuit::breaker;
use super::*;

/// The queue's status is stored. Answers the reason of its condition Active.
fn store(world: &mut World) -> String {
    let before = world.queue.status.clone().unwrap_or_default();
    let status = world.ledger.status(&before, world.ledger.circuit().cloned(), at(world.now));
    let active = status.conditions.iter().find(|condition| condition.type_ == "Active").unwrap().reason.clone();
    world.queue.status = Some(status);
    active
}

fn held() -> Value {
    let mut spec = breaker(json!({}));
    spec["stopPolicy"] = "Hold".into();
    spec
}

fn slots(world: &World) -> usize {
    world.ledger.limit(at(world.now)).unwrap()
}

#[test]
fn after_a_hold_they_grow_from_its_end_on() {
    let mut world = World::new(breaker(json!({})));
    assert_eq!((store(&mut world).as_str(), slots(&world)), ("Active", 10));
    world.restart();
    assert_eq!(slots(&world), 10, "nothing was held");
    world.edit(held());
    assert_eq!(store(&mut world), "Held");
    world.now = 1000;
    world.edit(breaker(json!({})));
    assert_eq!((store(&mut world).as_str(), slots(&world)), ("Recovering", 1));
    world.pass(50);
    assert_eq!((store(&mut world).as_str(), slots(&world)), ("Recovering", 5));
    world.restart();
    assert_eq!((store(&mut world).as_str(), slots(&world)), ("Recovering", 5));
    // it says so no longer than they grow
    assert_eq!(world.ledger.next_advance(at(world.now)), Some(at(1100)));
    world.pass(50);
    assert_eq!((store(&mut world).as_str(), slots(&world)), ("Active", 10));
    world.restart();
    assert_eq!(slots(&world), 10);
}

#[test]
fn a_hold_that_ends_while_no_process_serves_the_queue_ends_when_one_does() {
    let mut world = World::new(held());
    store(&mut world);
    world.queue.spec = serde_json::from_value(breaker(json!({}))).unwrap();
    world.now = 1000;
    world.restart();
    assert_eq!((store(&mut world).as_str(), slots(&world)), ("Recovering", 1));
}

#[test]
fn the_write_that_closes_the_circuit_says_that_they_grow() {
    let mut world = World::new(breaker(json!({"mode": "ForceOpen"})));
    assert_eq!(store(&mut world), "CircuitOpen");
    world.queue.spec = serde_json::from_value(breaker(json!({"mode": "ForceClosed"}))).unwrap();
    world.ledger.set_queue(&world.queue, at(world.now));
    let closed = world.ledger.circuit_to_store(at(world.now)).unwrap();
    let status = world.ledger.status(world.queue.status.as_ref().unwrap(), closed, at(world.now));
    let active = status.conditions.iter().find(|condition| condition.type_ == "Active").unwrap();
    assert_eq!((active.status.as_str(), active.reason.as_str()), ("True", "Recovering"));
}
