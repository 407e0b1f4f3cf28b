//! A task whose queue does not exist: it waits, and says so for as long as it waits for that.

use super::queue::{REJECTED, message, play_from, queued};
use super::story::Step::*;
use super::story::play_in;
use super::world::{Line, Server, World};
use crate::api::{ConditionType, RetryableTask};
use crate::core::testing::{BuildTask, at, fixed};

#[test]
fn a_missing_queue_is_no_queue_without_a_limit() {
    let world = play_from(
        Line::Missing,
        queued(),
        &[
            (Look, " 0/0/0"),
            (Pass(5_000), "Pending 0/0/0 QueueMissing [Stalled]"),
            (Pass(3_600_000), "Pending 0/0/0 QueueMissing [Stalled]"),
        ],
    );
    assert_eq!(
        message(&world, ConditionType::Stalled),
        "there is no TaskQueue q in namespace default, so no attempt starts: create it, or change spec.queue"
    );
    assert_eq!(world.writes, 1);
    assert!(world.demand.is_some(), "it starts when the queue is created");
    play_in(
        world,
        &[
            (Queue(Line::Full), "Queued 0/0/0 QueueFull [Queued]"),
            (Queue(Line::Missing), "Pending 0/0/0 QueueMissing [Stalled]"),
            (Queue(Line::Grants), "Running 1/0/0 [Reconciling] 1P"),
            // What runs holds its slot, whatever becomes of its queue.
            (Queue(Line::Missing), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
}

#[test]
fn a_task_without_a_queue_any_more_starts() {
    let none: fn(&mut RetryableTask) = |task| task.spec.queue = None;
    play_from(
        Line::Missing,
        queued(),
        &[(Pass(5_000), "Pending 0/0/0 QueueMissing [Stalled]"), (Edit(none), "Running 1/0/0 [Reconciling] 1P")],
    );
    play_from(
        Line::Full,
        queued(),
        &[(Pass(5_000), "Queued 0/0/0 QueueFull [Queued]"), (Edit(none), "Running 1/0/0 [Reconciling] 1P")],
    );
}

#[test]
fn a_task_that_waits_for_its_time_is_not_stalled_for_its_queue() {
    let at_60 = Edit(|task| task.spec.start_at = Some(at(60).to_string()));
    let stalled = [(Pass(5_000), "Pending 0/0/0 QueueMissing [Stalled]"), (at_60, "Waiting 0/0/0 due 60000")];
    let world = play_from(Line::Missing, queued(), &stalled);
    let world = play_in(
        world,
        &[
            (Queue(Line::Full), "Waiting 0/0/0 due 60000"),
            (Pass(59_999), "Waiting 0/0/0 due 60000"),
            (Queue(Line::Grants), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
    assert_eq!(world.writes, 3, "when it is due, nothing but its start is written");
    // It is said again once it is due again.
    let world = play_from(Line::Missing, queued(), &stalled);
    play_in(world, &[(Pass(59_999), "Waiting 0/0/0 due 60000"), (Pass(1), "Pending 0/0/0 QueueMissing [Stalled]")]);
}

#[test]
fn a_longer_delay_and_a_task_to_wait_for_are_no_missing_queue() {
    let world = play_from(
        Line::Grants,
        queued().backoff(fixed(10)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Missing), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 10000 Error 1E"),
            (Pass(15_000), "Pending 1/1/0 QueueMissing [Stalled] 1E"),
        ],
    );
    play_in(world, &[(Edit(|task| task.spec.backoff = Some(fixed(60))), "Waiting 1/1/0 due 60000 Error 1E")]);
    let after = Edit(|task| {
        task.spec.after = serde_json::from_value(serde_json::json!([{"task": "import"}])).unwrap();
    });
    play_from(
        Line::Missing,
        queued(),
        &[
            (Pass(5_000), "Pending 0/0/0 QueueMissing [Stalled]"),
            (after, "Blocked 0/0/0 DependencyPending [Blocked]"),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
        ],
    );
}

#[test]
fn a_rejected_pod_waits_for_its_queue_and_goes_on() {
    let stalled = || {
        let mut world = World::new(queued());
        (world.line, world.server) = (Line::Grants, Server::Rejects("no"));
        let world = play_in(world, &REJECTED);
        play_in(
            world,
            &[
                (Queue(Line::Missing), "Pending 0/0/0 PodRejected [Stalled]"),
                (Api(Server::Accepts), "Pending 0/0/0 PodRejected [Stalled]"),
                (Pass(7_000), "Pending 0/0/0 QueueMissing [Stalled]"),
            ],
        )
    };
    play_in(stalled(), &[(Queue(Line::Grants), "Running 1/0/0 1P")]);
    play_in(stalled(), &[(Edit(|task| task.spec.queue = None), "Running 1/0/0 1P")]);
}
