//! Retry now, run again, cancel: each once for each value of its annotation.

use super::story::Step::{Api, Ask, DeletePod, Edit, Exit, Look, Pass, Restart, Resume, Run, Say, Suspend};
use super::story::{play, play_in};
use super::world::Server;
use crate::api::{Action, AttemptOverride, HistoryEntry, OnFailure, RetryableTaskStatus};
use crate::core::decide::Transition;
use crate::core::testing::{BuildTask, fixed, task};
use serde_json::json;
use std::sync::Arc;

/// What came of the last request of that kind.
fn effect<'a>(status: &'a RetryableTaskStatus, annotation: &str) -> &'a str {
    let heard = status.acknowledged.iter().find(|heard| heard.annotation.ends_with(annotation));
    heard.map(|heard| &*heard.effect).unwrap_or_default()
}

fn failed(status: &RetryableTaskStatus) -> (&str, &str) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Failed").unwrap();
    (&condition.reason, &condition.message)
}

#[test]
fn retry_now_skips_the_wait_once() {
    let world = play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Ask("retry-now", "1"), "Running 2/1/0 Error 1E 2P"),
            (Exit(1), "Waiting 2/2/0 due 60000 Error 1E 2E"),
            (Restart, "Waiting 2/2/0 due 60000 Error 1E 2E"),
            (Ask("retry-now", "1"), "Waiting 2/2/0 due 60000 Error 1E 2E"),
            (Ask("retry-now", "2"), "Running 3/2/0 Error 1E 2E 3P"),
            (Exit(0), "Succeeded 3/2/0 Error [Complete Finished] 1E 2E 3E"),
        ],
    );
    let status = world.status();
    assert_eq!(effect(&status, "retry-now"), "the wait for attempt 3 was skipped");
    assert_eq!(status.acknowledged.len(), 1, "the last of each kind");
    assert_eq!(status.history[1].delay_milliseconds, Some(60_000), "the history says what was meant");
}

#[test]
fn a_misspelt_request_is_acknowledged_as_unknown_once() {
    let world = play(
        task().backoff(fixed(60)).asked("run-agian", "1"),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Ask("retry_now", "1"), "Waiting 1/1/0 due 60000 Error 1E"),
            (Ask("retry_now", "2"), "Waiting 1/1/0 due 60000 Error 1E"),
            (Ask("colour", "blue"), "Waiting 1/1/0 due 60000 Error 1E"),
        ],
    );
    let status = world.status();
    assert!(effect(&status, "run-agian").ends_with("did you mean retryable.dev/run-again?"));
    assert!(effect(&status, "retry_now").ends_with("did you mean retryable.dev/retry-now?"));
    let known = "known are retryable.dev/retry-now, retryable.dev/run-again, retryable.dev/cancel";
    assert!(effect(&status, "colour").ends_with(known), "{}", effect(&status, "colour"));
    let told = |transition: &&Transition| matches!(transition, Transition::UnknownAnnotation { .. });
    assert_eq!(world.told.iter().filter(told).count(), 3, "once each, whatever their values");
}

#[test]
fn unknown_annotations_are_bounded_and_forgotten_when_they_are_gone() {
    let many = (0..20).fold(task(), |task, n| task.asked(&format!("x{n}"), "1"));
    let mut world = play(many, &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(world.status().acknowledged.len(), 4);
    world.edit(|task| task.metadata.annotations = None);
    world.reconcile();
    assert_eq!(world.status().acknowledged, []);
    let finished = play_in(world, &[(Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E")]);
    let world = play_in(finished, &[(Ask("run_again", "1"), "Succeeded 1/0/0 [Complete Finished] 1E")]);
    assert!(effect(&world.status(), "run_again").contains("unknown annotation"), "after the end too");
}

#[test]
fn retry_now_has_nothing_to_skip_while_an_attempt_starts() {
    let world = play(
        task().backoff(fixed(60)).asked("retry-now", ""),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Ask("retry-now", "x"), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
        ],
    );
    assert_eq!(effect(&world.status(), "retry-now"), "no effect: attempt 1 is starting");
}

#[test]
fn retry_now_does_not_lift_a_suspension() {
    let world = play(
        task().backoff(fixed(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 60000 Error 1E"),
            (Suspend, "Suspended 1/1/0 Error [Suspended] 1E"),
            (Ask("retry-now", "1"), "Suspended 1/1/0 Error [Suspended] 1E"),
            (Resume, "Running 2/1/0 Error 1E 2P"),
        ],
    );
    assert!(effect(&world.status(), "retry-now").contains("once the task is resumed"));
}

#[test]
fn cancelled_while_it_runs() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(3, "no such table"), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Run, "Running 2/1/0 Error 1E 2R"),
            (Ask("cancel", "1"), "Running 2/1/0 Error 1E 2Rx"),
            (Restart, "Running 2/1/0 Error 1E 2Rx"),
            (Exit(143), "Cancelled 2/1/0 Error [Failed Finished Stalled] 1E 2Ex"),
            (Pass(60_000), "Cancelled 2/1/0 Error [Failed Finished Stalled] 2Ex-"),
        ],
    );
    let status = world.status();
    assert_eq!(status.history[1].reason, "Cancelled");
    let (reason, message) = failed(&status);
    assert_eq!(reason, "Cancelled");
    assert!(message.contains("during attempt 2") && message.contains("no such table"), "{message}");
    assert_eq!(effect(&status, "cancel"), "the task was cancelled");
}

#[test]
fn cancelled_before_it_runs_and_while_it_waits() {
    play(task().asked("cancel", "1"), &[(Look, "Cancelled 0/0/0 [Failed Finished Stalled]")]);
    play(
        task().suspended(),
        &[
            (Look, "Suspended 0/0/0 [Suspended]"),
            (Ask("cancel", "1"), "Cancelled 0/0/0 [Suspended Failed Finished Stalled]"),
        ],
    );
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(3, "no such table"), "Waiting 1/1/0 due 1000 Error 1E"),
            (Ask("cancel", "1"), "Cancelled 1/1/0 Error [Failed Finished Stalled] 1E"),
        ],
    );
    let status = world.status();
    let (reason, message) = failed(&status);
    assert_eq!(reason, "Cancelled");
    assert!(message.contains("before attempt 2") && message.contains("no such table"), "{message}");
}

#[test]
fn a_task_that_cannot_run_can_be_cancelled() {
    play(
        task().change(|task| task.spec.image = None),
        &[
            (Look, "Pending 0/0/0 InvalidSpec [Stalled]"),
            (Ask("cancel", "1"), "Cancelled 0/0/0 [Failed Finished Stalled]"),
        ],
    );
}

#[test]
fn an_end_that_came_before_the_cancellation_counts() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(10_000), "Running 1/0/0 1R"),
        ],
    );
    let mut done = world;
    super::story::take(&mut done, Exit(0));
    play_in(
        done,
        &[
            (Ask("cancel", "1"), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Ask("cancel", "2"), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
}

#[test]
fn run_again_has_a_new_budget_and_keeps_the_history() {
    let runs =
        |history: &[Arc<HistoryEntry>]| history.iter().map(|entry| (entry.attempt, entry.run)).collect::<Vec<_>>();
    let world = play(
        task().max_retries(1),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Exit(2), "Failed 2/1/0 Error [Failed Finished Stalled] 1E 2E"),
            (Ask("run-again", "1"), "Running 3/0/0 [Reconciling] 1E 2E 3P"),
            (Exit(3), "Waiting 3/1/0 due 2000 Error 1E 2E 3E"),
            (Pass(1000), "Running 4/1/0 Error 1E 2E 3E 4P"),
            (Exit(4), "Failed 4/1/0 Error [Failed Finished Stalled] 1E 2E 3E 4E"),
            (Restart, "Failed 4/1/0 Error [Failed Finished Stalled] 1E 2E 3E 4E"),
            (Ask("run-again", "2"), "Running 5/0/0 [Reconciling] 1E 2E 3E 4E 5P"),
            (Exit(0), "Succeeded 5/0/0 [Complete Finished] 1E 2E 3E 4E 5E"),
        ],
    );
    let status = world.status();
    assert_eq!(runs(&status.history), [(1, None), (2, None), (3, Some(2)), (4, Some(2)), (5, Some(3))]);
    assert_eq!(effect(&status, "run-again"), "run 3 begins with attempt 5");
    assert_eq!(status.duration.as_deref(), Some("0s"), "of this run");
}

#[test]
fn the_end_of_a_later_run_speaks_of_that_run() {
    let world = play(
        task().max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Failed 1/0/0 Error [Failed Finished Stalled] 1E"),
            (Ask("run-again", "1"), "Running 2/0/0 [Reconciling] 1E 2P"),
            (Exit(1), "Failed 2/0/0 Error [Failed Finished Stalled] 1E 2E"),
        ],
    );
    assert!(failed(&world.status()).1.starts_with("the only attempt failed"), "{:?}", failed(&world.status()));
}

#[test]
fn a_run_that_ends_before_its_first_attempt_leaves_the_one_before_as_it_is() {
    let fallback = OnFailure { image: Some("notify".into()), ..OnFailure::default() };
    let once = task().max_retries(0).change(|task| {
        task.spec.active_deadline_seconds = Some(60);
        task.spec.on_failure = Some(fallback);
    });
    let world = play(
        once.clone(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Running 1/0/0 Error [FailureTarget] 1E 1fP"),
            (Exit(0), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
            (Api(Server::Rejects("exceeded quota")), "Failed 1/0/0 Error [Failed Finished Stalled] 1E 1fE"),
            (Ask("run-again", "1"), "Running 2/0/0 [Reconciling] 1E 1fE"),
            (Pass(3000), "Pending 1/0/0 PodRejected [Stalled] 1E 1fE"),
            (Pass(60_000), "Failed 1/0/0 [Stalled Failed Finished] 1E- 1fE-"),
        ],
    );
    assert_eq!(world.status().fallback, None, "the slot is that of the first run's");
    let world = play(
        once,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Api(Server::Rejects("exceeded quota")), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Ask("run-again", "1"), "Running 2/0/0 [Reconciling] 1E"),
            (Pass(3000), "Pending 1/0/0 PodRejected [Stalled] 1E"),
            (Pass(60_000), "Failed 1/0/0 [Stalled Failed Finished] 1E-"),
        ],
    );
    let status = world.status();
    assert_eq!((status.history[0].action, failed(&status).0), (Action::Complete, "DeadlineExceeded"));
}

#[test]
fn run_again_waits_for_the_end_and_is_not_copied_with_the_task() {
    play(
        task().asked("run-again", "copied"),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Look, "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Ask("run-again", "1"), "Running 1/0/0 [Reconciling] 1P"),
            (Exit(0), "Running 2/0/0 [Reconciling] 1E 2P"),
            (Exit(0), "Succeeded 2/0/0 [Complete Finished] 1E 2E"),
        ],
    );
}

#[test]
fn a_cancellation_takes_back_the_run_that_was_asked_for_before() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Ask("run-again", "1"), "Running 1/0/0 [Reconciling] 1R"),
            (Ask("cancel", "1"), "Running 1/0/0 [Reconciling] 1Rx"),
            (Exit(143), "Cancelled 1/0/0 Cancelled [Failed Finished Stalled] 1Ex"),
            (Ask("run-again", "2"), "Running 2/0/0 [Reconciling] 1Ex 2P"),
        ],
    );
    assert_eq!(effect(&world.status(), "run-again"), "run 2 begins with attempt 2");
}

#[test]
fn a_cancelled_task_can_run_again() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Ask("cancel", "1"), "Running 1/0/0 [Reconciling] 1Rx"),
            (Exit(143), "Cancelled 1/0/0 Cancelled [Failed Finished Stalled] 1Ex"),
            (Ask("run-again", "1"), "Running 2/0/0 [Reconciling] 1Ex 2P"),
            (Exit(0), "Succeeded 2/0/0 [Complete Finished] 1Ex 2E"),
        ],
    );
}

#[test]
fn the_history_says_which_generation_ran() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Edit(|task| task.spec.image = Some("busybox:2".into())), "Running 1/0/0 [Reconciling] 1R"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Exit(0), "Succeeded 2/1/0 Error [Complete Finished] 1E 2E"),
        ],
    );
    let generations: Vec<_> = world.status().history.iter().map(|entry| entry.generation).collect();
    assert_eq!(generations, [Some(1), Some(2)]);
}

#[test]
fn the_history_says_what_each_attempt_was_given_even_if_it_started_in_the_write_before() {
    let changed = AttemptOverride { from_attempt: 2, node_selector: Some(json!({})), ..AttemptOverride::default() };
    let world = play(
        task().backoff(fixed(0)).max_retries(1).change(|task| task.spec.overrides = Some(vec![changed])),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Exit(1), "Running 2/1/0 Error 1E 2P"),
            (Run, "Running 2/1/0 Error 1E 2R"),
            (Exit(1), "Failed 2/1/0 Error [Failed Finished Stalled] 1E 2E"),
            (Ask("run-again", "1"), "Running 3/0/0 [Reconciling] 1E 2E 3P"),
            (Exit(0), "Succeeded 3/0/0 [Complete Finished] 1E 2E 3E"),
        ],
    );
    let given = |entry: &Arc<HistoryEntry>| (entry.override_from, entry.avoided_nodes.len());
    let told: Vec<_> = world.status().history.iter().map(given).collect();
    assert_eq!(told, [(None, 0), (Some(2), 1), (None, 0)]);
}

#[test]
fn a_pod_that_somebody_deletes_during_the_cancellation_is_cancelled_too() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Ask("cancel", "1"), "Running 1/0/0 [Reconciling] 1Rx"),
            (DeletePod, "Running 1/0/0 [Reconciling] 1Rx!"),
            (Exit(137), "Cancelled 1/0/0 Cancelled [Failed Finished Stalled] 1Ex!"),
        ],
    );
}
