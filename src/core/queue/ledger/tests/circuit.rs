//! The circuit breaker.

use super::*;
use crate::api::{CircuitState, Probe};

#[allow(clippy::needless_pass_by_value)] // a literal at each call
pub(super) fn breaker(more: Value) -> Value {
    let mut breaker = json!({
        "failures": {"errorTypes": ["Unavailable"]},
        "openAfter": {"tasks": 3, "percent": 50, "withinSeconds": 300},
        "openSeconds": 60, "maxOpenSeconds": 200,
        "probes": {"atATime": 1, "successes": 2, "passAfterSeconds": 300},
        "recoverySeconds": 100,
    });
    for (field, value) in more.as_object().unwrap() {
        breaker[field] = value.clone();
    }
    json!({"maxConcurrent": 10, "circuitBreaker": breaker})
}

pub(super) fn state(world: &World) -> (&'static str, i32) {
    world.ledger.circuit().map_or(("", 0), |circuit| (circuit.state.as_str(), circuit.trip))
}

/// Until when it is open, in seconds after now.
fn open_for(world: &World) -> i64 {
    world.ledger.circuit().unwrap().until.as_ref().unwrap().0.duration_since(at(world.now)).as_secs()
}

pub(super) fn attempt(world: &mut World, name: &str, number: i32, entry: HistoryEntry) {
    world.want(name, number);
    world.start(name);
    world.end(name, entry);
}

/// A world whose circuit has just opened, with `waiting` tasks in the line.
fn opened(waiting: usize, more: Value) -> World {
    let mut world = World::new(breaker(more));
    for name in ["x", "y", "z"] {
        attempt(&mut world, name, 1, failed());
    }
    assert_eq!(state(&world), ("Open", 1));
    for n in 0..waiting {
        assert_eq!(world.want(&format!("t{n}"), 1), [] as [&str; 0]);
    }
    world
}

pub(super) fn probes(world: &World) -> Vec<(String, i32)> {
    let of = |Probe { task, attempt, .. }: &Probe| (task.clone(), *attempt);
    world.ledger.circuit().unwrap().probes.iter().map(of).collect()
}

#[test]
fn it_opens_for_so_many_different_tasks_and_so_many_percent() {
    let mut world = World::new(breaker(json!({})));
    // one task that always fails is no outage
    for number in 1..=20 {
        attempt(&mut world, "poison", number, failed());
    }
    assert_eq!(state(&world), ("Closed", 0));
    // three tasks fail, and as many do not
    for (name, entry) in [("a", succeeded()), ("b", succeeded()), ("c", succeeded()), ("d", failed()), ("e", neutral())]
    {
        attempt(&mut world, name, 1, entry);
    }
    assert_eq!(state(&world), ("Closed", 0));
    // another class of failure says nothing
    attempt(&mut world, "f", 1, HistoryEntry { error_type: Some("BadInput".into()), ..failed() });
    assert_eq!(state(&world), ("Closed", 0));
    attempt(&mut world, "g", 1, failed());
    assert_eq!(state(&world), ("Open", 1));
    let cause = world.ledger.circuit().unwrap().cause.clone().unwrap();
    assert_eq!(cause, "3 of 6 tasks failed: Unavailable (3)");
    assert!((60..=66).contains(&open_for(&world)), "{}", open_for(&world));
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let mut world = World::new(breaker(json!({})));
    attempt(&mut world, "a", 1, failed());
    attempt(&mut world, "b", 1, failed());
    world.pass(301);
    attempt(&mut world, "c", 1, failed());
    assert_eq!(state(&world), ("Closed", 0));
    attempt(&mut world, "a", 2, failed());
    attempt(&mut world, "b", 2, failed());
    assert_eq!(state(&world), ("Open", 1));
}

#[test]
fn q5_nobody_starts_while_it_is_open_and_q6_then_probes_alone() {
    let mut world = opened(5, json!({}));
    world.want_with("urgent", 3, 5, None);
    assert_eq!(world.told("t0"), "CircuitOpen");
    assert_eq!(world.pass(59), [] as [&str; 0]);
    // the highest priority probes
    assert_eq!(world.pass(8), ["urgent"]);
    assert_eq!((state(&world), probes(&world)), (("HalfOpen", 1), vec![("urgent".into(), 3)]));
    assert_eq!(world.told("urgent"), "probe");
    world.start("urgent");
    assert_eq!(world.pass(100), [] as [&str; 0]);
    // one success of two: the next one with the most retries left
    assert_eq!(world.end("urgent", succeeded()), ["t0"]);
    assert_eq!(world.ledger.circuit().unwrap().successes, 1);
    world.start("t0");
    let released = world.end("t0", succeeded());
    assert_eq!((state(&world), released), (("Closed", 1), vec!["t1".to_owned()]));
}

#[test]
fn a_probe_that_fails_opens_it_again_for_twice_as_long() {
    let mut world = opened(9, json!({}));
    let mut times = Vec::new();
    for n in 0..4 {
        times.push(open_for(&world));
        world.pass(open_for(&world) + 1);
        let (name, _) = probes(&world).pop().unwrap();
        world.start(&name);
        assert_eq!(world.end(&name, failed()), [] as [&str; 0], "{n}");
        assert_eq!(state(&world).0, "Open");
    }
    let least = [60, 120, 200, 200];
    assert!(times.iter().zip(least).all(|(time, least)| (least..=least * 11 / 10).contains(time)), "{times:?}");
}

#[test]
fn q7_a_probe_that_says_nothing_or_is_gone_gives_its_permit_back() {
    let mut world = opened(6, json!({}));
    world.pass(70);
    assert_eq!(probes(&world), [("t0".to_owned(), 1)]);
    world.start("t0");
    assert_eq!(world.end("t0", neutral()), ["t1"]);
    // deleted
    world.ledger.remove(&"t1".into());
    assert_eq!(world.turn(), ["t2"]);
    // cancelled or suspended before it starts
    let facts = world.facts("t2").clone();
    world.ledger.demand(&facts, None, at(world.now));
    assert_eq!(world.turn(), ["t3"]);
    // it runs so long that it counts as passed; what does not start by then says nothing
    world.start("t3");
    assert_eq!(world.ledger.next_advance(at(world.now)), Some(at(world.now + 300)));
    assert_eq!(world.pass(300), ["t4"]);
    assert_eq!(world.ledger.circuit().unwrap().successes, 1);
    world.start("t4");
    world.facts("t4").held.as_mut().unwrap().is_held_up = true;
    world.observe("t4");
    assert_eq!(world.pass(300), ["t5"]);
    assert_eq!((state(&world), world.ledger.circuit().unwrap().successes), (("HalfOpen", 1), 1));
}

#[test]
fn it_stays_open_as_long_as_nobody_waits_and_half_opens_with_the_first() {
    let mut world = opened(0, json!({}));
    assert_eq!((world.pass(1000), state(&world).0), (vec![], "Open"));
    assert_eq!(world.want("t", 1), ["t"]);
    assert_eq!(state(&world).0, "HalfOpen");
}

#[test]
fn after_closing_the_slots_grow_again() {
    let mut world = opened(30, json!({"probes": {"successes": 1}}));
    world.pass(70);
    world.start("t0");
    let started: Vec<_> = world.end("t0", succeeded());
    assert_eq!(started.len(), 1, "no herd");
    assert_eq!(world.told("t9"), "Recovering");
    let mut under_way = started.len();
    let mut seen = vec![under_way];
    while under_way < 10 {
        let next = world.ledger.next_advance(at(world.now)).unwrap();
        let wait = next.duration_since(at(world.now)).as_secs() + 1;
        under_way += world.pass(wait).len();
        seen.push(under_way);
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    assert!((90..=111).contains(&(world.now - 70)), "{}", world.now);
}

#[test]
fn q10_a_new_process_comes_to_the_same_verdict() {
    let mut world = World::new(breaker(json!({})));
    attempt(&mut world, "a", 1, failed());
    attempt(&mut world, "b", 1, failed());
    for name in ["a", "b"] {
        world.facts(name).is_due = false;
    }
    world.pass(100);
    world.restart();
    world.turn();
    attempt(&mut world, "c", 1, failed());
    assert_eq!(state(&world), ("Open", 1));
    // in each state
    for _ in 0..2 {
        world.facts("c").is_due = false;
        world.restart();
        assert_eq!((world.want("t", 1), state(&world)), (vec![], ("Open", 1)));
    }
    assert_eq!(world.pass(70), ["t"]);
    world.start("t");
    world.facts("t").is_due = false;
    world.restart();
    world.turn();
    assert_eq!((state(&world).0, probes(&world)), ("HalfOpen", vec![("t".to_owned(), 1)]));
    // the probe has failed while no operator ran
    world.facts("t").held = None;
    let entry = HistoryEntry { attempt: 1, rule: Some("circuit".into()), action: Action::Ignore, ..failed() };
    world.facts("t").last_end = Some(End { entry: Arc::new(entry), exhausted: false });
    world.restart();
    world.turn();
    assert_eq!(state(&world), ("Open", 2));
}

#[test]
fn what_ended_under_another_queue_says_nothing_of_this_one_even_after_a_restart() {
    let mut world = World::new(breaker(json!({})));
    for name in ["a", "b", "c"] {
        let entry = HistoryEntry { attempt: 1, queue: Some("before".into()), ..failed() };
        world.facts(name).last_end = Some(End { entry: Arc::new(entry), exhausted: false });
        world.facts(name).is_due = false;
    }
    world.restart();
    world.turn();
    assert_eq!(state(&world), ("Closed", 0));
    // nor does what is shown again although it ended long ago: a task that has finished, or has come back to this queue
    for name in ["x", "y", "z"] {
        let entry = HistoryEntry { attempt: 1, ..failed() };
        world.facts(name).last_end = Some(End { entry: Arc::new(entry), exhausted: false });
        world.observe(name);
    }
    world.turn();
    assert_eq!(state(&world), ("Closed", 0));
}

#[test]
fn nobody_is_granted_between_the_wish_to_open_and_the_write() {
    let mut world = World::new(breaker(json!({})));
    for name in ["x", "y", "z"] {
        world.want(name, 1);
        world.start(name);
    }
    world.end("x", failed());
    world.end("y", failed());
    world.want("granted", 1);
    world.want("in-use", 1);
    assert_eq!(world.told("in-use"), "granted");
    world.end("z", failed());
    assert_eq!(state(&world).0, "Closed", "a reconcile may be about to start its attempt");
    assert_eq!(world.told("granted"), "CircuitOpen", "a grant that nobody knows of is taken back");
    assert_eq!(world.want("later", 1), [] as [&str; 0]);
    world.start("in-use");
    world.turn();
    assert_eq!(state(&world).0, "Open");
}

#[test]
fn it_opens_only_when_a_start_without_an_answer_can_no_longer_be_stored() {
    let mut world = World::new(breaker(json!({})));
    for name in ["x", "y", "z"] {
        world.want(name, 1);
        world.start(name);
    }
    world.want("unanswered", 1);
    assert_eq!(world.told("unanswered"), "granted");
    world.ledger.reconcile_failed(&"unanswered".into(), at(world.now));
    for name in ["x", "y", "z"] {
        world.end(name, failed());
    }
    assert_eq!(state(&world).0, "Closed", "the attempt may start although no reconcile knows of it");
    assert_eq!(world.ledger.next_advance(at(world.now)), Some(at(world.now + 20)));
    world.pass(20);
    world.turn();
    assert_eq!(state(&world).0, "Open");
    assert_eq!(world.told("unanswered"), "CircuitOpen");
}

#[test]
fn q11_probes_keep_to_the_share_of_retries() {
    let more = json!({"probes": {"atATime": 2, "successes": 2, "passAfterSeconds": 300}});
    let mut world = World::new(breaker(more.clone()));
    let spec = |percent: i32| {
        let mut spec = breaker(more.clone());
        spec["retries"] = json!({"maxPercent": percent});
        spec
    };
    world.edit(spec(10));
    for name in ["x", "y", "z"] {
        attempt(&mut world, name, 1, failed());
    }
    assert_eq!((world.want("a", 2), world.want("b", 2)), (vec![], vec![]));
    assert_eq!(world.pass(70), ["a"], "the share is one slot of ten");
    assert_eq!(probes(&world), [("a".into(), 2)]);
    world.start("a");
    assert_eq!(world.end("a", succeeded()), ["b"]);
}

#[test]
fn observed_it_says_what_it_would_do_and_stops_nobody() {
    let mut world = World::new(breaker(json!({"mode": "Observe"})));
    for name in ["x", "y", "z"] {
        attempt(&mut world, name, 1, failed());
    }
    assert_eq!((state(&world), world.want("t", 1)), (("WouldOpen", 1), vec!["t".to_owned()]));
    let condition = |world: &World, type_: &str| {
        let status = world.ledger.status(
            &crate::api::TaskQueueStatus::default(),
            world.ledger.circuit().cloned(),
            at(world.now),
        );
        status.conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status.clone())
    };
    assert_eq!(condition(&world, "CircuitWouldOpen").as_deref(), Some("True"));
    assert_eq!((world.pass(301), state(&world)), (vec![], ("Closed", 1)), "the failures are too old");
    world.now = 0;
    for name in ["x", "y", "z"] {
        attempt(&mut world, name, 2, failed());
    }
    assert_eq!((condition(&world, "CircuitOpen"), condition(&world, "Active").as_deref()), (None, Some("True")));
}

#[test]
fn forced_it_is_open_or_closed_whatever_happens() {
    let mut world = World::new(breaker(json!({"mode": "ForceClosed"})));
    for name in ["x", "y", "z"] {
        attempt(&mut world, name, 1, failed());
    }
    assert_eq!(state(&world), ("Closed", 0));
    world.edit(breaker(json!({"mode": "ForceOpen"})));
    assert_eq!((state(&world), world.want("t", 1)), (("Open", 1), vec![]));
    assert_eq!(world.pass(100_000), [] as [&str; 0]);
    assert_eq!(world.edit(breaker(json!({}))), ["t"]);
    assert_eq!(state(&world).0, "Closed");
    // and the breaker is taken out of the spec
    world.edit(json!({"maxConcurrent": 1}));
    assert_eq!(world.ledger.circuit(), None);
}

#[test]
fn a_failure_that_asks_for_time_holds_the_whole_queue() {
    let mut world = World::new(breaker(json!({})));
    world.want("a", 1);
    world.start("a");
    let now = at(world.now);
    let facts = world.facts("a");
    facts.held = None;
    let asks = |seconds| HistoryEntry { attempt: 1, retry_after_seconds: Some(seconds), ..failed() };
    facts.last_end = Some(End { entry: asks(30).into(), exhausted: false });
    world.observe("a");
    assert_eq!((world.want("b", 1), world.told("b")), (vec![], "RateLimited"));
    assert_eq!(world.ledger.next_advance(now), Some(at(30)));
    assert_eq!(world.pass(30), ["b"]);
    // not for ever, and whether or not it was the last attempt
    world.start("b");
    let facts = world.facts("b");
    facts.held = None;
    let last = HistoryEntry { action: Action::Fail, ..asks(1_000_000) };
    (facts.last_end, facts.is_finished) = (Some(End { entry: last.into(), exhausted: true }), true);
    world.observe("b");
    assert_eq!((world.want("c", 1), world.told("c")), (vec![], "RateLimited"));
    assert_eq!(world.pass(200), ["c"]);
}

#[test]
fn a_requested_delay_holds_no_longer_than_the_breaker_as_it_is_now_lets_it() {
    let asks = |world: &mut World| {
        world.want("a", 1);
        world.start("a");
        let facts = world.facts("a");
        facts.held = None;
        let entry = HistoryEntry { attempt: 1, retry_after_seconds: Some(1000), ..failed() };
        facts.last_end = Some(End { entry: entry.into(), exhausted: false });
        world.observe("a");
        assert_eq!((world.want("b", 1), world.told("b")), (vec![], "RateLimited"));
        let status = world.ledger.status(&crate::api::TaskQueueStatus::default(), None, at(world.now));
        let active = status.conditions.iter().find(|condition| condition.type_ == "Active").unwrap();
        assert_eq!((active.status.as_str(), active.reason.as_str()), ("False", "RetryAfter"));
    };
    let lifts = [json!({"honorRetryAfter": false}), json!({"mode": "ForceClosed"}), json!({"mode": "Observe"})];
    for spec in lifts.into_iter().map(breaker).chain([json!({"maxConcurrent": 10})]) {
        let mut world = World::new(breaker(json!({})));
        asks(&mut world);
        assert_eq!(world.edit(spec.clone()), ["b"], "{spec}");
    }
    let mut world = World::new(breaker(json!({})));
    asks(&mut world);
    assert_eq!(world.edit(breaker(json!({"openSeconds": 5, "maxOpenSeconds": 20}))), [] as [&str; 0]);
    assert_eq!(world.pass(20), ["b"]);
}

#[test]
fn an_edit_of_the_status_or_a_lost_answer_is_taken_over() {
    let mut world = opened(1, json!({}));
    let closed = crate::api::Circuit { state: CircuitState::Closed, trip: 7, ..Default::default() };
    world.ledger.stored(Some(closed), at(world.now));
    assert_eq!(world.turn(), ["t0"]);
    assert_eq!(state(&world), ("Closed", 7));
}
