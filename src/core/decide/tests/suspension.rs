//! Suspended in every state, and resumed.

use super::story::Step::{Blind, Edit, Exit, Jump, Look, Pass, Resume, Run, Suspend};
use super::story::play;
use crate::core::testing::{BuildTask, fixed, task};

#[test]
fn suspended_from_the_start() {
    play(
        task().suspended(),
        &[
            (Look, "Suspended 0/0/0 [Suspended]"),
            (Pass(100_000), "Suspended 0/0/0 [Suspended]"),
            (Resume, "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

#[test]
fn suspended_while_it_runs() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(10_000), "Running 1/0/0 1R"),
            (Suspend, "Running 1/0/0 [Suspended] 1Rx"),
            (Exit(143), "Suspended 1/0/1 [Suspended] 1Ex"),
            (Pass(60_000), "Suspended 1/0/1 [Suspended] 1Ex-"),
            (Resume, "Running 2/0/1 1Ex- 2P"),
            (Exit(0), "Succeeded 2/0/1 [Complete Finished] 1Ex- 2E"),
        ],
    );
    let history = world.status().history;
    assert_eq!((history[0].reason.as_str(), history[0].delay_milliseconds), ("Suspended", None));
    assert_eq!(world.status().last_failure, None, "a suspension is no failure");
}

#[test]
fn suspended_before_the_pod_has_a_node() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1E!"),
            (Look, "Suspended 1/0/1 [Suspended] 1E!"),
            (Pass(20_000), "Suspended 1/0/1 [Suspended]"),
            (Resume, "Running 2/0/1 2P"),
        ],
    );
}

#[test]
fn suspended_while_it_waits_and_resumed_before_it_is_due() {
    play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Pass(30_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Waiting 1/1/0 due 60000 Error 1E-"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Pass(60_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Running 2/1/0 Error 1E- 2P"),
        ],
    );
}

#[test]
fn resumed_while_the_stop_is_under_way() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1Rx"),
            (Resume, "Running 1/0/0 [Reconciling Suspended] 1Rx"),
            (Exit(137), "Running 2/0/1 1Ex 2P"),
        ],
    );
}

#[test]
fn a_suspension_that_comes_too_late_changes_nothing() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Blind(true), "Running 1/0/0 [Reconciling] 1R"),
            (Exit(0), "Running 1/0/0 [Reconciling] 1E"),
            (Pass(10_000), "Running 1/0/0 1E"),
            (Suspend, "Running 1/0/0 [Suspended] 1Ex"),
            (Blind(false), "Succeeded 1/0/0 [Suspended Complete Finished] 1Ex"),
        ],
    );
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Blind(true), "Running 1/0/0 [Reconciling] 1R"),
            (Exit(3), "Running 1/0/0 [Reconciling] 1E"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1Ex"),
            (Blind(false), "Suspended 1/1/0 Error [Suspended] 1Ex"),
        ],
    );
}

#[test]
fn success_on_our_sigterm_is_no_success() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1Rx"),
            (Pass(10_000), "Running 1/0/0 [Suspended] 1Rx"),
            (Exit(0), "Suspended 1/0/1 [Suspended] 1Ex"),
        ],
    );
}

#[test]
fn a_jump_while_suspended_does_not_start_early_either() {
    play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Jump(3_600_000), "Suspended 1/1/0 Error [Suspended] 1E"),
            (Resume, "Waiting 1/1/0 due 60000 Error 1E"),
            (Pass(60_000), "Running 2/1/0 Error 1E- 2P"),
        ],
    );
}

#[test]
fn what_fell_due_while_suspended_starts_on_resuming_and_is_not_late() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Pass(3_600_000), "Suspended 1/1/0 Error [Suspended] 1E-"),
            (Resume, "Running 2/1/0 Error 1E- 2P"),
        ],
    );
    assert_eq!(world.status().current.unwrap().due_time, None);
}

#[test]
fn while_the_spec_is_impossible_too_nothing_is_looked_at_for_a_deadline_whose_clock_stands() {
    let world = play(
        task().change(|task| task.spec.active_deadline_seconds = Some(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Edit(|task| task.spec.image = None), "Pending 1/1/0 InvalidSpec [Suspended Stalled] 1E"),
            (Pass(30_000), "Pending 1/1/0 InvalidSpec [Suspended Stalled] 1E-"),
        ],
    );
    assert_eq!(world.requeue, None);
}
