//! What is stored of a wait: it stays for minutes.

use super::circuit::breaker;
use super::*;

fn said(world: &mut World, name: &str) -> (QueueWaitReason, String) {
    match world.ledger.view(&name.into(), at(world.now)).admission {
        Admission::Waits { reason, message, is_in_line: _ } => (reason, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_names_no_time_and_no_cause_which_would_be_old_soon() {
    let mut world = World::new(breaker(json!({})));
    world.want("a", 1);
    world.start("a");
    let entry = HistoryEntry { attempt: 1, retry_after_seconds: Some(SYNC_LIMIT.as_secs()), ..failed() };
    let facts = world.facts("a");
    facts.held = None;
    facts.last_end = Some(End { entry: Arc::new(entry), exhausted: false });
    world.observe("a");
    world.want("t", 1);
    let mut all = vec![said(&mut world, "t")];
    world.pass(20);
    for name in ["b", "c"] {
        world.want(name, 1);
        world.start(name);
        world.end(name, failed());
    }
    world.want("u", 1);
    all.push(said(&mut world, "u"));
    world.edit(breaker(json!({"mode": "ForceClosed"})));
    for name in ["v", "w"] {
        world.want(name, 1);
    }
    all.push(said(&mut world, "w"));
    let mut spread = World::new(json!({"stopPolicy": "Hold"}));
    spread.want("t", 1);
    spread.now = 3600;
    spread.edit(json!({}));
    all.push(said(&mut spread, "t"));
    let of_q = |text: &str| text.replace("QUEUE", "TaskQueue q");
    let expected = [
        (QueueWaitReason::RateLimited, "a failed attempt of QUEUE has requested a delay"),
        (QueueWaitReason::CircuitOpen, "the circuit of QUEUE is open: see kubectl describe taskqueue q"),
        (QueueWaitReason::Recovering, "the slots of QUEUE grow again, and all open ones are in use"),
        (QueueWaitReason::Recovering, "the tasks that waited for QUEUE start spread over some time"),
    ];
    assert_eq!(all, expected.map(|(reason, text)| (reason, of_q(text))));
}
