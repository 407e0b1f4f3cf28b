//! Faults of the operator's processes: they are killed, paused, shut down and restarted, and their clocks jump.

use super::{
    operator::{Operator, Setup},
    plan::Plan,
    schedules, users,
};
use crate::{
    clock::{WallClock, WorldClock},
    oracle::ClockMark,
    process::Exit,
    random::Random,
    server::{Key, Kill, KillMoment, Resource, Server},
};
use jiff::SignedDuration;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// What is recorded of the processes of a world.
#[derive(Debug, Default)]
pub struct Recorded {
    /// When each of them started.
    pub processes: Vec<Duration>,
    /// How their clock jumped, in worlds where clocks do.
    pub clock: Vec<ClockMark>,
}

/// The same, shared.
pub type Records = Arc<Mutex<Recorded>>;

/// Runs one replica of the operator for as long as the world exists, and restarts it whenever its process ends.
pub async fn replica(server: Server, plan: Plan, world: WorldClock, index: u32, records: Records) {
    let mut random = Random::fork(plan.seed, &format!("replica/{index}"));
    let clock = WallClock::new(world, SignedDuration::ZERO);
    let setup = Setup { elected: plan.replicas > 1, scheduled: !plan.schedules.is_empty() };
    let mut pod = 0;
    loop {
        // A restarted container keeps its Pod's name; a new Pod has another.
        pod += u32::from(random.chance(500));
        let number = {
            let mut records = records.lock().expect("the records' lock");
            records.processes.push(world.elapsed());
            if plan.jumps {
                records.clock.push(ClockMark { at: world.elapsed(), ahead: clock.error(), process_started: true });
            }
            u32::try_from(records.processes.len() - 1).unwrap_or(u32::MAX)
        };
        let identity = format!("operator-{index}-{pod}");
        let mut operator = Operator::start(&server, clock.clone(), number, identity, setup);
        let exit = trouble(&server, &plan, world, &mut operator, &mut random, &records).await;
        assert!(!matches!(exit, Exit::Panicked(_)), "the operator panicked: {exit:?}");
        tokio::time::sleep(random.skewed(60_000)).await;
    }
}

/// Injects faults into one process until it ends.
async fn trouble(
    server: &Server,
    plan: &Plan,
    world: WorldClock,
    operator: &mut Operator,
    r: &mut Random,
    records: &Records,
) -> Exit {
    loop {
        let pause = r.skewed(300_000);
        tokio::select! { biased;
            exit = operator.process.ended() => return exit,
            () = tokio::time::sleep(pause) => {}
        }
        if world.elapsed() >= plan.trouble {
            return operator.process.ended().await;
        }
        if plan.jumps && r.chance(500) {
            // The error is up to an hour, or none again.
            let seconds = if r.chance(400) { 0 } else { i64::try_from(r.below(7_201)).unwrap_or(0) - 3_600 };
            let clock = &operator.process.clock;
            clock.jump(SignedDuration::from_secs(seconds) - clock.error());
            let mark = ClockMark { at: world.elapsed(), ahead: clock.error(), process_started: false };
            records.lock().expect("the records' lock").clock.push(mark);
            // Every task is reconciled, and so reads the clock.
            for (namespace, name, _) in &plan.tasks {
                users::touch(
                    server,
                    &Key::new(Resource::Tasks, namespace, name),
                    &world.elapsed().as_millis().to_string(),
                );
            }
            if !plan.schedules.is_empty() {
                schedules::touch_all(server, &world.elapsed().as_millis().to_string());
            }
        }
        if plan.replicas > 1 && r.chance(400) {
            stop(server, operator, r).await;
        }
        if plan.kills {
            doom(server, operator, r);
        }
    }
}

/// Pauses the process, now or at one of its next writes, and resumes it later: by then another may lead.
async fn stop(server: &Server, operator: &Operator, r: &mut Random) {
    if r.chance(500) {
        operator.process.gate.pause();
    } else {
        let moment = r.pick(&[KillMoment::Before, KillMoment::After]);
        let countdown = r.between(1, 4);
        let kill = Kill { countdown, writes_only: true, moment, client: operator.client, stops: true };
        server.lock().kill = Some(kill);
        tokio::time::sleep(r.skewed(60_000)).await;
    }
    tokio::time::sleep(r.skewed(90_000)).await;
    server.lock().kill.take_if(|kill| kill.stops && kill.client == operator.client);
    operator.process.gate.resume();
}

/// Kills the process, now or soon, or shuts it down.
fn doom(server: &Server, operator: &Operator, r: &mut Random) {
    match r.below(8) {
        0 => operator.process.gate.kill(),
        1 => operator.stop.notify_one(),
        2..=4 => operator.process.gate.kill_after_steps(r.below(300)),
        _ => {
            let moment = r.pick(&[KillMoment::Before, KillMoment::InFlight, KillMoment::After]);
            let kill =
                Kill { countdown: r.between(1, 12), writes_only: true, moment, client: operator.client, stops: false };
            server.lock().kill = Some(kill);
        }
    }
}
