//! The write that opens the circuit.

use super::circuit::{attempt, breaker, state};
use super::*;
use crate::api::CircuitState;
use crate::core::queue::ledger::WriteEnd;

/// A circuit of which the write that opens it is in flight, and the end of an attempt after which it need not open.
fn opening_no_longer_wanted() -> (World, Option<crate::api::Circuit>) {
    let mut world = World::new(breaker(json!({})));
    for (name, entry) in [("a", succeeded()), ("b", succeeded()), ("c", succeeded()), ("x", failed()), ("y", failed())]
    {
        attempt(&mut world, name, 1, entry);
    }
    for name in ["z", "late"] {
        world.want(name, 1);
        world.start(name);
    }
    world.show_end("z", failed());
    world.ledger.advance(at(world.now));
    let open = world.ledger.circuit_to_store(at(world.now)).unwrap();
    assert_eq!(open.as_ref().map(|circuit| circuit.state), Some(CircuitState::Open), "3 of 6");
    world.ledger.write_begins(open.as_ref());
    world.show_end("late", succeeded());
    world.ask("next", 1, 0, None);
    (world, open)
}

#[test]
fn q5_nobody_is_granted_while_the_write_that_opens_it_is_in_flight() {
    let (mut world, open) = opening_no_longer_wanted();
    assert_eq!(world.ledger.circuit_to_store(at(world.now)), None, "3 of 7");
    assert_eq!(world.ledger.advance(at(world.now)), []);
    world.ledger.stored(open, at(world.now));
    assert_eq!((world.told("next"), state(&world)), ("CircuitOpen", ("Open", 1)));
}

#[test]
fn q5_a_write_without_an_answer_may_still_open_it() {
    let (mut world, _) = opening_no_longer_wanted();
    world.ledger.write_ended(WriteEnd::Unknown, at(world.now));
    assert_eq!((world.turn(), world.told("next")), (vec![], "CircuitOpen"));
    assert_eq!(world.ledger.next_advance(at(world.now)), Some(at(world.now + 20)));
    assert_eq!(world.pass(20), ["next"], "it can no longer be stored");
    // it is stored, which the refusal of a later one may mean, and the watch does not show it yet
    let (mut world, open) = opening_no_longer_wanted();
    world.ledger.write_ended(WriteEnd::Unknown, at(world.now));
    for later in [None, open.as_ref()] {
        world.ledger.write_begins(later);
        world.ledger.write_ended(WriteEnd::NotStored, at(world.now));
        assert_eq!((world.turn(), world.told("next")), (vec![], "CircuitOpen"));
    }
    // refused, or a later one is stored
    for end in [WriteEnd::NotStored, WriteEnd::Stored] {
        let (mut world, _) = opening_no_longer_wanted();
        world.ledger.write_ended(end, at(world.now));
        assert_eq!(world.turn(), ["next"]);
    }
    let (mut world, open) = opening_no_longer_wanted();
    world.ledger.write_ended(WriteEnd::NotStored, at(world.now));
    assert_eq!(world.turn(), ["next"]);
    // opened by a user or an earlier process: the unused grant is taken back
    world.ledger.stored(open, at(world.now));
    assert_eq!(world.told("next"), "CircuitOpen");
}
