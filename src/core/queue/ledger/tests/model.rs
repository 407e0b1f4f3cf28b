//! Random lives of a queue: whatever happens, its rules hold.

use super::*;
use crate::api::CircuitState;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Want(u8, u8),
    Start(u8),
    Fail(u8),
    Succeed(u8),
    Neutral(u8),
    Delete(u8),
    GiveUp(u8),
    Pass(u16),
    Edit(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..12, 1u8..4).prop_map(|(task, attempt)| Step::Want(task, attempt)),
        4 => (0u8..12).prop_map(Step::Start),
        3 => (0u8..12).prop_map(Step::Fail),
        2 => (0u8..12).prop_map(Step::Succeed),
        1 => (0u8..12).prop_map(Step::Neutral),
        1 => (0u8..12).prop_map(Step::Delete),
        1 => (0u8..12).prop_map(Step::GiveUp),
        3 => (0u16..400).prop_map(Step::Pass),
        1 => (0u8..5).prop_map(Step::Edit),
        1 => Just(Step::Restart),
    ]
}

fn spec(kind: u8) -> Value {
    let breaker = json!({"openAfter": {"tasks": 2}, "probes": {"atATime": 2}, "recoverySeconds": 60});
    match kind {
        0 => json!({"maxConcurrent": 3, "retries": {"maxPercent": 34}, "circuitBreaker": breaker}),
        1 => json!({"maxConcurrent": 2, "startRate": {"starts": 1}}),
        2 => json!({"circuitBreaker": breaker}),
        3 => json!({"maxConcurrent": 3, "stopPolicy": "Hold"}),
        _ => json!({}),
    }
}

struct Life {
    world: World,
    limit: Option<usize>,
    /// Grants that were made under an earlier spec may be more than the limit now.
    allowed: usize,
}

impl Life {
    fn play(&mut self, step: &Step) {
        let world = &mut self.world;
        let name = |task: &u8| format!("t{task}");
        let holds = |world: &World, name: &str| world.tasks.get(name).is_some_and(|facts| facts.held.is_some());
        match step {
            Step::Want(task, attempt) if !holds(world, &name(task)) => {
                world.facts(&name(task)).is_finished = false;
                world.want(&name(task), i32::from(*attempt));
            }
            Step::Start(task) => {
                let admission = world.ledger.view(&name(task).as_str().into(), at(world.now)).admission;
                if let Admission::Granted { attempt, probe, .. } = admission {
                    let state = world.ledger.circuit_state();
                    // Q5 and Q6
                    assert_ne!(state, CircuitState::Open);
                    if state == CircuitState::HalfOpen {
                        let named = &world.ledger.circuit().unwrap().probes;
                        let is_named = named.iter().any(|one| one.task == name(task) && one.attempt == attempt);
                        assert!(is_named && probe, "{} is not among {named:?}", name(task));
                    }
                    world.start(&name(task));
                    world.turn();
                }
            }
            Step::Fail(task) if holds(world, &name(task)) => drop(world.end(&name(task), failed())),
            Step::Succeed(task) if holds(world, &name(task)) => drop(world.end(&name(task), succeeded())),
            Step::Neutral(task) if holds(world, &name(task)) => drop(world.end(&name(task), neutral())),
            Step::Delete(task) => {
                world.ledger.remove(&name(task).as_str().into());
                world.tasks.remove(&name(task));
                world.turn();
            }
            Step::GiveUp(task) if world.tasks.contains_key(&name(task)) => {
                let facts = world.facts(&name(task)).clone();
                world.ledger.demand(&facts, None, at(world.now));
                world.turn();
            }
            Step::Pass(seconds) => drop(world.pass(i64::from(*seconds))),
            Step::Edit(kind) => {
                self.limit = spec(*kind)["maxConcurrent"].as_u64().map(|limit| usize::try_from(limit).unwrap());
                world.edit(spec(*kind));
            }
            Step::Restart => {
                world.restart();
                world.turn();
            }
            Step::Want(..) | Step::Fail(_) | Step::Succeed(_) | Step::Neutral(_) | Step::GiveUp(_) => {}
        }
    }

    fn check(&mut self) {
        let world = &mut self.world;
        let (running, queued, _) = world.counts();
        // Q1: no more than there may be, unless they began under another spec.
        let most = self.limit.unwrap_or(usize::MAX).max(self.allowed);
        assert!(running <= most, "{running} of {most}");
        self.allowed = running;
        // Q3: slots are held by attempts and grants alone.
        let holders = world.tasks.values().filter(|facts| facts.held.is_some()).count();
        let states = world.ledger.members.values();
        let granted = states.filter(|member| matches!(member.state, State::Granted(_))).count();
        assert_eq!(running, holders + granted);
        let members = world.ledger.members.values();
        assert_eq!(queued, members.filter(|member| matches!(member.state, State::Queued(_))).count());
        // Q4: whoever waits is let in, or there is a time at which something changes, or somebody must do something first.
        let is_waiting_for_time = world.ledger.next_advance(at(world.now)).is_some();
        let is_shut = spec_holds(world) || world.ledger.is_shut();
        let is_full = world.ledger.limit(at(world.now)).is_some_and(|limit| running >= limit);
        let retries_alone = world.ledger.firsts.is_empty();
        assert!(
            queued == 0 || is_waiting_for_time || is_shut || is_full || retries_alone,
            "somebody waits for nothing"
        );
    }
}

fn spec_holds(world: &World) -> bool {
    world.ledger.queue.as_ref().is_none_or(|queue| queue.settings.hold)
}

proptest! {
    #[test]
    fn the_rules_hold_whatever_happens(kind in 0u8..5, steps in prop::collection::vec(step(), 1..120)) {
        let limit = spec(kind)["maxConcurrent"].as_u64().map(|limit| usize::try_from(limit).unwrap());
        let mut life = Life { world: World::new(spec(kind)), limit, allowed: 0 };
        for step in &steps {
            life.play(step);
            life.check();
        }
    }
}
