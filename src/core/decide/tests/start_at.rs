//! `startAt`: the first attempt waits for its time.

use super::story::Step::{Ask, DeleteTask, Edit, Exit, Jump, Look, Pass, Restart, Resume, Suspend};
use super::story::{play, play_in};
use super::world::World;
use crate::api::RetryableTask;
use crate::core::testing::{BuildTask, at, fixed, task};

fn start_at(seconds: i64) -> impl FnOnce(&mut RetryableTask) {
    move |task| task.spec.start_at = Some(at(seconds).to_string())
}

fn at_60() -> RetryableTask {
    task().change(start_at(60))
}

fn waiting() -> World {
    play(at_60(), &[(Look, "Waiting 0/0/0 due 60000")])
}

#[test]
fn it_is_a_first_due_time_and_no_more() {
    let world = play_in(
        waiting(),
        &[
            (Pass(59_999), "Waiting 0/0/0 due 60000"),
            (Pass(1), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 61000 Error 1E"),
            (Pass(1_000), "Running 2/1/0 Error 1E 2P"),
        ],
    );
    assert_eq!(world.status().start_time.unwrap().0, at(60), "the deadline counts from the first attempt");
    let past = play(task().change(start_at(-3600)), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(past.status().current.unwrap().due_time, None, "it is not late");
}

#[test]
fn a_deadline_does_not_run_before_it() {
    let task = task().change(start_at(600)).change(|task| task.spec.active_deadline_seconds = Some(10));
    play(
        task,
        &[
            (Look, "Waiting 0/0/0 due 600000"),
            (Pass(600_000), "Running 1/0/0 [Reconciling] 1P"),
            (Pass(9_000), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

#[test]
fn an_edit_counts_until_the_first_attempt_starts() {
    let earlier = Edit(|task| start_at(30)(task));
    let later = Edit(|task| start_at(90)(task));
    let never = Edit(|task| task.spec.start_at = None);
    play_in(waiting(), &[(earlier, "Waiting 0/0/0 due 30000"), (Pass(30_000), "Running 1/0/0 [Reconciling] 1P")]);
    play_in(waiting(), &[(Pass(20_000), "Waiting 0/0/0 due 60000"), (later, "Waiting 0/0/0 due 90000")]);
    play_in(waiting(), &[(Pass(40_000), "Waiting 0/0/0 due 60000"), (earlier, "Running 1/0/0 [Reconciling] 1P")]);
    play_in(waiting(), &[(never, "Running 1/0/0 [Reconciling] 1P")]);
    play(
        task().backoff(fixed(5)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (later, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 5000 Error 1E"),
        ],
    );
}

#[test]
fn a_user_can_skip_it_suspend_it_and_cancel_it() {
    play_in(waiting(), &[(Ask("retry-now", "a"), "Running 1/0/0 [Reconciling] 1P")]);
    let skipped = [
        (Suspend, "Suspended 0/0/0 [Suspended]"),
        (Ask("retry-now", "a"), "Suspended 0/0/0 [Suspended]"),
        (Resume, "Running 1/0/0 [Reconciling] 1P"),
    ];
    play_in(waiting(), &skipped);
    let suspended = [
        (Suspend, "Suspended 0/0/0 [Suspended]"),
        (Pass(30_000), "Suspended 0/0/0 [Suspended]"),
        (Resume, "Waiting 0/0/0 due 60000"),
        (Suspend, "Suspended 0/0/0 [Suspended]"),
        (Pass(60_000), "Suspended 0/0/0 [Suspended]"),
        (Resume, "Running 1/0/0 [Reconciling] 1P"),
    ];
    play_in(waiting(), &suspended);
    let world = play_in(waiting(), &[(Ask("cancel", "a"), "Cancelled 0/0/0 [Failed Finished Stalled]")]);
    assert!(world.pods.is_empty());
    play_in(waiting(), &[(DeleteTask, "Waiting 0/0/0 due 60000")]);
}

#[test]
fn it_counts_for_the_first_attempt_of_another_run_too() {
    play_in(
        waiting(),
        &[
            (Pass(60_000), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Edit(|task| start_at(600)(task)), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Ask("run-again", "a"), "Waiting 1/0/0 due 600000 1E"),
            (Pass(540_000), "Running 2/0/0 [Reconciling] 1E- 2P"),
        ],
    );
}

#[test]
fn a_clock_that_jumps_starts_nothing_early() {
    play_in(
        waiting(),
        &[
            (Jump(3_600_000), "Waiting 0/0/0 due 60000"),
            (Pass(59_999), "Waiting 0/0/0 due 60000"),
            (Pass(1), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
    // A new process has the wall clock alone.
    play_in(
        waiting(),
        &[
            (Restart, "Waiting 0/0/0 due 60000"),
            (Jump(30_000), "Waiting 0/0/0 due 60000"),
            (Restart, "Waiting 0/0/0 due 60000"),
            (Pass(30_000), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

#[test]
fn a_day_that_does_not_exist_stalls_the_task() {
    let mut world = World::new(task().change(|task| task.spec.start_at = Some("2026-02-30T06:00:00Z".into())));
    world.reconcile();
    assert_eq!(world.gist(), "Pending 0/0/0 InvalidSpec [Stalled]");
    world.edit(start_at(60));
    world.reconcile();
    assert_eq!(world.gist(), "Waiting 0/0/0 due 60000");
}
