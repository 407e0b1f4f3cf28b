//! A task that has a queue: what it waits for, and what is said of it.

use super::story::Step::*;
use super::story::{Step, play, play_in};
use super::world::{Line, Server, World};
use crate::api::{Action, ConditionType, OnFailure, QueueRef, QueueSlot, RetryableTask, State};
use crate::core::condition_list;
use crate::core::dependency::{TaskEnd, TaskFact};
use crate::core::queue::view::QueueDemand;
use crate::core::testing::{BuildTask, at, fixed, task};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// The creation fails for as long as nothing is said of it, and then it is said.
pub(super) const REJECTED: [(Step, &str); 2] =
    [(Look, "Running 1/0/0 [Reconciling]"), (Pass(3_000), "Pending 0/0/0 PodRejected [Stalled]")];

pub(super) fn queued() -> RetryableTask {
    task().change(|task| task.spec.queue = Some(QueueRef { name: "q".into(), ..QueueRef::default() }))
}

fn max_wait(seconds: i32) -> RetryableTask {
    queued().change(|task| task.spec.queue.as_mut().unwrap().max_wait_seconds = Some(seconds))
}

fn with_fallback(task: RetryableTask) -> RetryableTask {
    task.change(|task| {
        task.spec.on_failure =
            Some(OnFailure { image: Some("busybox".into()), ..serde_json::from_value(serde_json::json!({})).unwrap() });
    })
}

pub(super) fn play_from(line: Line, task: RetryableTask, story: &[(Step, &str)]) -> World {
    let mut world = World::new(task);
    world.line = line;
    play_in(world, story)
}

pub(super) fn message(world: &World, type_: ConditionType) -> String {
    condition_list::find(&world.status().conditions, type_)
        .map(|condition| condition.message.clone())
        .unwrap_or_default()
}

fn slot(world: &World) -> Option<QueueSlot> {
    world.status().current.and_then(|current| current.queue)
}

#[test]
fn a_slot_that_is_free_costs_no_write() {
    let world = play_from(Line::Grants, queued().backoff(fixed(60)), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(
        slot(&world),
        Some(QueueSlot { name: "q".into(), grant_time: Some(MicroTime(at(0))), probe: false }),
        "held from the write that names the Pod"
    );
    let world = play_in(world, &[(Exit(3), "Waiting 1/1/0 due 60000 Error 1E")]);
    assert_eq!(slot(&world), None, "given back by the write that says how it ended");
    let world = play_in(world, &[(Pass(60_000), "Running 2/1/0 Error 1E- 2P")]);
    assert_eq!(slot(&world).unwrap().grant_time, Some(MicroTime(at(60))), "granted when it was due, and not before");
    assert_eq!(world.writes, 3);
}

#[test]
fn the_line_is_joined_when_the_time_has_come() {
    let world = play_from(Line::Full, queued(), &[(Look, " 0/0/0")]);
    let demand = QueueDemand {
        queue: "q".into(),
        attempt: 1,
        is_retry: false,
        retries_left: 3,
        priority: 0,
        fairness_key: None,
        since: at(0),
    };
    assert_eq!(world.demand.as_ref(), Some(&demand));
    let world = play_in(
        world,
        &[
            (Queue(Line::Grants), "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Full), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 1000 Error 1E"),
        ],
    );
    assert_eq!(world.demand, None, "a retry in back-off is in no line");
    let world = play_in(world, &[(Pass(3_000), "Waiting 1/1/0 due 1000 Error 1E")]);
    let demand = QueueDemand { attempt: 2, is_retry: true, retries_left: 2, since: at(1), ..demand };
    assert_eq!(world.demand, Some(demand), "its place counts from its due time, whenever that was noticed");
}

#[test]
fn a_wait_is_said_once_it_has_lasted_five_seconds() {
    let world = play_from(
        Line::Full,
        queued(),
        &[
            (Pass(4_999), " 0/0/0"),
            (Pass(1), "Queued 0/0/0 QueueFull [Queued]"),
            // A circuit that opens is no write for each task.
            (Queue(Line::Open), "Queued 0/0/0 QueueFull [Queued]"),
            (Pass(590_000), "Queued 0/0/0 QueueFull [Queued]"),
            (Pass(600_000), "Queued 0/0/0 CircuitOpen [Queued]"),
            (Queue(Line::Full), "Queued 0/0/0 CircuitOpen [Queued]"),
        ],
    );
    assert_eq!(world.writes, 2);
    assert_eq!(message(&world, ConditionType::Queued), "TaskQueue q: CircuitOpen");
    let world = play_in(world, &[(Queue(Line::Grants), "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(world.writes, 3);
}

#[test]
fn a_retry_without_a_delay_queues_too() {
    let world = play_from(
        Line::Grants,
        queued().backoff(fixed(0)),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Queue(Line::Full), "Running 1/0/0 [Reconciling] 1P")],
    );
    let world = play_in(
        world,
        &[
            (Exit(3), "Queued 1/1/0 Error 1E"),
            (Pass(5_000), "Queued 1/1/0 QueueFull [Queued] 1E"),
            (Queue(Line::Grants), "Running 2/1/0 Error 1E 2P"),
        ],
    );
    assert_eq!(world.writes, 4);
}

#[test]
fn a_process_that_does_not_know_the_queues_starts_nothing_and_says_nothing() {
    play_from(Line::Unknown, max_wait(10), &[(Look, " 0/0/0"), (Pass(60_000), " 0/0/0")]);
    let world = play_from(
        Line::Full,
        max_wait(60),
        &[
            (Pass(5_000), "Queued 0/0/0 QueueFull [Queued]"),
            (Restart, "Queued 0/0/0 QueueFull [Queued]"),
            (Queue(Line::Unknown), "Queued 0/0/0 QueueFull [Queued]"),
            (Pass(60_000), "Queued 0/0/0 QueueFull [Queued]"),
            // The queue may still grant a slot.
            (Queue(Line::Grants), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
    assert_eq!(world.writes, 2);
}

#[test]
fn a_changed_queue_counts_from_the_next_attempt() {
    let other: fn(&mut RetryableTask) = |task| task.spec.queue.as_mut().unwrap().name = "other".into();
    let world = play_from(
        Line::Grants,
        queued(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Edit(other), "Running 1/0/0 [Reconciling] 1R"),
        ],
    );
    assert_eq!(slot(&world).unwrap().name, "q");
    let world =
        play_in(world, &[(Exit(3), "Waiting 1/1/0 due 1000 Error 1E"), (Pass(1_000), "Running 2/1/0 Error 1E 2P")]);
    assert_eq!(slot(&world).unwrap().name, "other");
}

#[test]
fn a_wait_that_is_too_long_fails_the_task_and_its_fallback_asks_no_queue() {
    let world = play_from(
        Line::Full,
        with_fallback(max_wait(60)),
        &[
            (Pass(59_999), "Queued 0/0/0 QueueFull [Queued]"),
            (Pass(1), "Running 0/0/0 [FailureTarget] 0fP"),
            (Exit(0), "Failed 0/0/0 [Failed Finished Stalled] 0fE"),
        ],
    );
    let condition = condition_list::find(&world.status().conditions, ConditionType::Failed).cloned().unwrap();
    assert_eq!(condition.reason, "QueueTimeout");
    assert_eq!(
        condition.message,
        "attempt 1 waited 1m0s for TaskQueue q, longer than queue.maxWaitSeconds; the fallback succeeded"
    );
}

#[test]
fn a_retry_that_waits_too_long_is_not_charged() {
    let world = play_from(
        Line::Grants,
        max_wait(60),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Open), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(60_999), "Queued 1/1/0 CircuitOpen [Queued] 1E-"),
            (Pass(1), "Failed 1/0/0 Error [Failed Finished Stalled] 1E-"),
        ],
    );
    assert_eq!(
        message(&world, ConditionType::Failed),
        "attempt 2 waited 1m0s for TaskQueue q, longer than queue.maxWaitSeconds; the last cause: attempt 1 ended with Error, exit code 3"
    );
    assert_eq!(world.status().history.last().unwrap().action, Action::Fail);
}

#[test]
fn the_time_of_a_suspension_is_no_wait() {
    let world = play_from(
        Line::Full,
        max_wait(60),
        &[
            (Pass(40_000), "Queued 0/0/0 QueueFull [Queued]"),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Pass(3_600_000), "Suspended 0/0/0 [Suspended]"),
        ],
    );
    assert_eq!(world.demand, None, "a suspended task has left the line");
    let world = play_in(world, &[(Resume, "Queued 0/0/0 QueueFull [Queued]")]);
    assert_eq!(world.demand.as_ref().unwrap().since, at(3_600), "it has waited 40 s");
    play_in(
        world,
        &[(Pass(19_999), "Queued 0/0/0 QueueFull [Queued]"), (Pass(1), "Failed 0/0/0 [Failed Finished Stalled]")],
    );
    // What falls due while the task is suspended begins to wait when it is resumed.
    let world = play_from(
        Line::Grants,
        max_wait(60).backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Full), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 60000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Pass(3_600_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Queued 1/1/0 Error 1E-"),
        ],
    );
    assert_eq!(world.demand.unwrap().since, at(3_600));
}

#[test]
fn the_deadline_says_how_long_the_attempt_was_queued() {
    let world = play_from(
        Line::Grants,
        queued().change(|task| task.spec.active_deadline_seconds = Some(600)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Full), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(599_999), "Queued 1/1/0 QueueFull [Queued] 1E-"),
            (Pass(1), "Failed 1/0/0 Error [Failed Finished Stalled] 1E-"),
        ],
    );
    assert_eq!(
        message(&world, ConditionType::Failed),
        "activeDeadlineSeconds passed before attempt 2, which had waited 9m59s for TaskQueue q; the last cause: attempt 1 ended with Error, exit code 3"
    );
}

#[test]
fn retry_now_skips_the_back_off_and_never_the_queue() {
    let world = play_from(
        Line::Grants,
        queued().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Full), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(10_000), "Waiting 1/1/0 due 60000 Error 1E"),
            (Ask("retry-now", "a"), "Waiting 1/1/0 Error 1E"),
        ],
    );
    assert_eq!(world.demand.as_ref().unwrap().since, at(10));
    let world = play_in(
        world,
        &[
            (Pass(10_000), "Queued 1/1/0 QueueFull [Queued] 1E-"),
            (Ask("retry-now", "b"), "Queued 1/1/0 QueueFull [Queued] 1E-"),
        ],
    );
    let effect = &world.status().acknowledged[0].effect;
    assert_eq!(effect, "no effect: attempt 2 is due, and starts once TaskQueue q lets it");
    assert_eq!(world.demand.unwrap().since, at(10), "it keeps its place");
}

#[test]
fn a_rejected_pod_gives_its_slot_back_and_asks_again() {
    let mut world = World::new(queued());
    (world.line, world.server) = (Line::Grants, Server::Rejects("no"));
    let world = play_in(world, &REJECTED);
    assert_eq!((slot(&world), &world.demand), (None, &None), "it waits for its next try, in no line");
    let world = play_in(
        world,
        &[
            (Queue(Line::Full), "Pending 0/0/0 PodRejected [Stalled]"),
            (Api(Server::Accepts), "Pending 0/0/0 PodRejected [Stalled]"),
        ],
    );
    let world = play_in(world, &[(Pass(2_000), "Pending 0/0/0 PodRejected [Stalled]")]);
    assert_eq!(world.demand.as_ref().map(|demand| demand.attempt), Some(1));
    let world = play_in(
        world,
        &[
            (Pass(5_000), "Queued 0/0/0 QueueFull [Stalled Queued]"),
            (Queue(Line::Grants), "Pending 1/0/0 PodRejected 1P"),
        ],
    );
    assert!(slot(&world).is_some());
}

#[test]
fn a_rejected_pod_that_waits_too_long_fails_the_task() {
    let mut world = World::new(max_wait(60));
    (world.line, world.server) = (Line::Grants, Server::Rejects("no"));
    let world = play_in(world, &REJECTED);
    let world = play_in(world, &[(Queue(Line::Full), "Pending 0/0/0 PodRejected [Stalled]")]);
    let world = play_in(
        world,
        &[
            (Pass(10_000), "Queued 0/0/0 QueueFull [Stalled Queued]"),
            (Pass(60_000), "Failed 0/0/0 [Stalled Failed Finished]"),
        ],
    );
    assert_eq!(condition_list::find(&world.status().conditions, ConditionType::Failed).unwrap().reason, "QueueTimeout");
}

#[test]
fn a_rejected_pod_in_the_line_can_be_suspended_and_cancelled() {
    let mut world = World::new(queued());
    (world.line, world.server) = (Line::Grants, Server::Rejects("no"));
    let world = play_in(world, &REJECTED);
    let world = play_in(world, &[(Queue(Line::Full), "Pending 0/0/0 PodRejected [Stalled]")]);
    play_in(
        world,
        &[
            (Pass(10_000), "Queued 0/0/0 QueueFull [Stalled Queued]"),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Resume, "Queued 0/0/0 QueueFull [Queued]"),
            (Ask("cancel", ""), "Cancelled 0/0/0 [Failed Finished Stalled]"),
        ],
    );
}

#[test]
fn a_queue_that_drains_stops_what_runs_uncharged() {
    let world = play_from(
        Line::Grants,
        queued().max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Queue(Line::Drains), "Running 1/0/0 [Reconciling] 1Rx"),
            (Exit(143), "Queued 1/0/1 1Ex"),
            (Pass(5_000), "Queued 1/0/1 Held [Queued] 1Ex"),
        ],
    );
    let entry = world.status().history[0].clone();
    assert_eq!((entry.reason.as_str(), entry.action, entry.rule.as_deref()), ("QueueDrained", Action::Ignore, None));
    play_in(
        world,
        &[(Queue(Line::Grants), "Running 2/0/1 1Ex 2P"), (Exit(0), "Succeeded 2/0/1 [Complete Finished] 1Ex 2E")],
    );
}

#[test]
fn a_queue_that_drains_stops_no_fallback_and_nothing_without_its_slot() {
    let world = play_from(
        Line::Full,
        with_fallback(max_wait(60)),
        &[(Pass(60_000), "Running 0/0/0 [FailureTarget] 0fP"), (Run, "Running 0/0/0 [FailureTarget] 0fR")],
    );
    play_in(world, &[(Queue(Line::Drains), "Running 0/0/0 [FailureTarget] 0fR")]);
    let add: fn(&mut RetryableTask) =
        |task| task.spec.queue = Some(QueueRef { name: "q".into(), ..QueueRef::default() });
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Edit(add), "Running 1/0/0 [Reconciling] 1R"),
            (Queue(Line::Drains), "Running 1/0/0 [Reconciling] 1R"),
        ],
    );
}

#[test]
fn an_attempt_that_ends_does_not_start_the_next_on_its_own_slot() {
    // The grant is for attempt 1 alone.
    let mut world = World::new(queued().backoff(fixed(0)));
    world.line = Line::Grants;
    let world = play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Queue(Line::Missing), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Queued 1/1/0 Error 1E"),
        ],
    );
    assert_eq!(world.status().state, Some(State::Queued));
}

#[test]
fn a_probe_that_the_service_fails_is_not_charged() {
    let story = [(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(3), "Waiting 1/0/1 due 60000 Error 1E")];
    let world = play_from(Line::Probes, queued().backoff(fixed(60)).max_retries(0), &story);
    let status = world.status();
    let last = status.history.last().unwrap();
    assert_eq!((last.rule.as_deref(), last.action), (Some("circuit"), Action::Ignore));
    assert!(status.failure_counts.is_empty(), "it is no budget of its own");
    // what costs no retry, or says nothing of the service, is judged as ever
    let world = play_from(
        Line::Probes,
        queued(),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E")],
    );
    assert_eq!(world.status().history[0].rule, None);
}

#[test]
fn a_probe_that_the_service_fails_waits_no_shorter_than_others() {
    let mut world = World::new(queued());
    world.line = Line::Grants;
    let world = play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1_000), "Running 2/1/0 Error 1E 2P"),
            (Exit(3), "Waiting 2/2/0 due 3000 Error 1E 2E"),
            (Queue(Line::Probes), "Waiting 2/2/0 due 3000 Error 1E 2E"),
            (Pass(2_000), "Running 3/2/0 Error 1E 2E 3P"),
            (Exit(3), "Waiting 3/2/1 due 5000 Error 1E 2E 3E"),
        ],
    );
    let delays: Vec<_> = world.status().history.iter().map(|entry| entry.delay_milliseconds).collect();
    assert_eq!(delays, [Some(1_000), Some(2_000), Some(2_000)]);
}

#[test]
fn it_stands_in_line_once_the_tasks_that_it_waits_for_have_ended() {
    let task = max_wait(60).change(|task| {
        task.spec.after = serde_json::from_value(serde_json::json!([{"task": "import"}])).unwrap();
    });
    let blocked = "Blocked 0/0/0 DependencyPending [Blocked]";
    let mut world = play_from(Line::Unknown, task, &[(Look, blocked), (Pass(600_000), blocked)]);
    assert_eq!(world.demand, None, "it is not in line");
    let end = TaskEnd { succeeded: true, ..TaskEnd::default() };
    world.others.insert("import".into(), TaskFact { end: Some(end), ..TaskFact::default() });
    world.line = Line::Full;
    world.reconcile();
    assert_eq!(world.demand.as_ref().map(|demand| demand.since), Some(at(600)), "it waits from now on");
    world.pass(jiff::SignedDuration::from_secs(59));
    world.reconcile();
    assert_eq!(world.status().state, Some(State::Queued), "the wait for others is no wait in the queue");
    world.line = Line::Grants;
    world.reconcile();
    assert_eq!(world.status().state, Some(State::Running));
}

#[test]
fn a_wait_does_not_time_out_before_the_attempt_is_in_the_line() {
    let mut world = World::new(max_wait(10));
    world.line = Line::Outside;
    world.reconcile();
    world.pass(jiff::SignedDuration::from_secs(60));
    world.reconcile();
    assert_eq!(world.status().completion_time, None, "a new process has yet to see whether a slot is free");
    assert!(world.requeue.is_some_and(|wait| wait.is_positive()), "it asks again");
    world.line = Line::Full;
    world.reconcile();
    assert_eq!(world.status().state, Some(State::Failed));
}
