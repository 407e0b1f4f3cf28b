//! Success, failure, budgets, and what a life looks like from outside.

use super::story::Step::{
    DeletePod, DeleteTask, Drain, Edit, Exit, Jump, Kubelet, Look, Pass, Restart, Run, Say, Vanish,
};
use super::story::{play, play_in, take};
use super::world::World;
use crate::api::{Completion, MAIN_CONTAINER, RetryableTask};
use crate::core::decide::{Requeue, Transition, WARNINGS_HOLD};
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, running, task, task_with, waiting};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

#[test]
fn success() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Pass(10_000), "Running 1/0/0 1R"),
            (Exit(0), "Succeeded 1/0/0 [Complete Finished] 1E"),
            (Pass(20_000), "Succeeded 1/0/0 [Complete Finished] 1E-"),
        ],
    );
    assert_eq!(world.status().duration.as_deref(), Some("10s"));
}

#[test]
fn that_an_attempt_has_not_ended_is_told_later_while_there_is_much_to_do() {
    let mut task = task();
    task.spec.startup_timeout_seconds = Some(60);
    let mut world = play(task, &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
    world.is_hurried = true;
    let mut world = play_in(world, &[(Pass(9_999), "Running 1/0/0 [Reconciling] 1P")]);
    assert_eq!(world.settled().requeue.deferrable, Some(SignedDuration::from_millis(1)));
    let mut world = play_in(world, &[(Pass(20_000), "Running 1/0/0 [Reconciling] 1P")]);
    let Requeue { for_attempt, deferrable, expiry: _ } = world.settled().requeue;
    assert_eq!(for_attempt, Some(SignedDuration::from_millis(30_001)), "what is urgent is not put off");
    assert_eq!(deferrable, None);
    let progress = world.settled().progress.expect("what can be reported");
    assert_eq!(progress.required_in, Some(SignedDuration::from_millis(1)), "it does not wait for ever");
    let mut world = play_in(world, &[(Pass(1), "Pending 1/0/0 Unscheduled 1P")]);
    assert_eq!((world.writes, world.settled().requeue.deferrable), (2, Some(WARNINGS_HOLD)));
}

#[test]
fn failures_then_success() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(999), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1), "Running 2/1/0 Error 1E 2P"),
            (Pass(10_000), "Pending 2/1/0 Unscheduled 1E 2P"),
            (Exit(3), "Waiting 2/2/0 due 13000 Error 1E 2E"),
            (Pass(2000), "Running 3/2/0 Error 1E 2E 3P"),
            (Run, "Running 3/2/0 Error 1E 2E 3R"),
            (Exit(0), "Succeeded 3/2/0 Error [Complete Finished] 1E 2E 3E"),
            (Pass(14_000), "Succeeded 3/2/0 Error [Complete Finished] 2E- 3E"),
            (Pass(20_000), "Succeeded 3/2/0 Error [Complete Finished] 2E- 3E-"),
        ],
    );
}

#[test]
fn retries_are_exhausted_with_the_last_cause() {
    let world = play(
        task().max_retries(1),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(3, "no such table"), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Say(4, "disk full"), "Failed 2/1/0 Error [Failed Finished Stalled] 1E 2E"),
        ],
    );
    let status = world.status();
    let failed = status.conditions.iter().find(|condition| condition.type_ == "Failed").unwrap();
    assert_eq!(failed.reason, "RetriesExhausted");
    for part in ["disk full", "exit code 4", "2 attempts"] {
        assert!(failed.message.contains(part), "{}", failed.message);
    }
    assert_eq!(status.message.as_deref(), Some("disk full"));
    assert_eq!(status.last_failure.unwrap().exit_code, Some(4));
    let delays: Vec<_> = status.history.iter().map(|entry| entry.delay_milliseconds).collect();
    assert_eq!(delays, [Some(1000), None], "no wait after the last attempt");
}

#[test]
fn max_retries_zero_runs_once() {
    play(
        task().max_retries(0),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Failed 1/0/0 Error [Failed Finished Stalled] 1E"),
            (Pass(100_000), "Failed 1/0/0 Error [Failed Finished Stalled] 1E-"),
        ],
    );
}

#[test]
fn the_tasks_own_word() {
    let asked = r#"{"retryAfterSeconds": 30, "errorType": "RateLimit", "message": "slow down"}"#;
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(1, asked), "Waiting 1/1/0 due 30000 Error 1E"),
            (Pass(30_000), "Running 2/1/0 Error 1E- 2P"),
            (
                Say(1, r#"{"doNotRetry": true, "message": "bad input"}"#),
                "Failed 2/1/0 Error [Failed Finished Stalled] 2E",
            ),
        ],
    );
    let status = world.status();
    let failed = status.conditions.iter().find(|condition| condition.type_ == "Failed").unwrap();
    assert_eq!(failed.reason, "DoNotRetry");
    assert!(failed.message.contains("bad input"), "{}", failed.message);
    assert_eq!(status.history[0].error_type.as_deref(), Some("RateLimit"));
    assert!(status.history[0].error_types.is_empty(), "said once is enough");
    assert_eq!(status.history[1].rule.as_deref(), Some("doNotRetry"));
}

/// The queue of a task goes by its history, also when no attempt follows.
#[test]
fn the_history_keeps_what_a_queue_goes_by() {
    let asked = r#"{"retryAfterSeconds": 30, "errorTypes": ["TooMany", "HTTPError"]}"#;
    let world = play(
        task().max_retries(0),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Say(1, asked), "Failed 1/0/0 Error [Failed Finished Stalled] 1E")],
    );
    let entry = &world.status().history[0];
    assert_eq!((entry.retry_after_seconds, entry.error_type.as_deref()), (Some(30), Some("TooMany")));
    assert_eq!(entry.error_types, ["TooMany", "HTTPError"]);
}

#[test]
fn a_result_is_kept() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(0, r#"{"result": {"rows": 3}}"#), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
    assert_eq!(world.status().result.as_deref(), Some(r#"{"rows":3}"#));
}

#[test]
fn the_eleventh_disruption_is_charged() {
    let mut world = World::new(task().max_retries(1).backoff(fixed(100)));
    for n in 1..=10 {
        world.reconcile();
        assert_eq!((world.status().attempts, world.status().ignored), (n, n - 1));
        take(&mut world, Drain);
        world.reconcile();
        assert_eq!(world.status().retries, 0);
        world.pass(SignedDuration::from_secs(100));
    }
    play_in(
        world,
        &[
            (Look, "Running 11/0/10 EvictionByEvictionAPI 10E- 11P"),
            (Drain, "Waiting 11/1/10 due 1100000 EvictionByEvictionAPI 11E"),
            (Pass(100_000), "Running 12/1/10 EvictionByEvictionAPI 11E- 12P"),
            (Drain, "Failed 12/1/10 EvictionByEvictionAPI [Failed Finished Stalled] 12E"),
        ],
    );
}

#[test]
fn disruptions_and_failures_have_delays_of_their_own() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Drain, "Waiting 2/1/1 due 2000 EvictionByEvictionAPI 1E 2E"),
            (Pass(1000), "Running 3/1/1 EvictionByEvictionAPI 1E 2E 3P"),
            (Exit(1), "Waiting 3/2/1 due 4000 Error 1E 2E 3E"),
        ],
    );
    let class = &world.status().failure_counts[0];
    assert_eq!((class.name.as_str(), class.count), ("disruption", 1));
    assert_eq!(world.status().history[1].rule.as_deref(), Some("disruption"));
}

#[test]
fn a_pod_deleted_by_hand_is_a_failure() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (DeletePod, "Running 1/0/0 [Reconciling] 1R!"),
            (Exit(137), "Waiting 1/1/0 due 1000 PodDeleted 1E!"),
            (Pass(1000), "Running 2/1/0 PodDeleted 1E! 2P"),
            (DeletePod, "Waiting 2/2/0 due 3000 PodDeleted 1E! 2E!"),
            (Pass(20_000), "Running 3/2/0 PodDeleted 3P"),
        ],
    );
}

#[test]
fn an_ordinary_sidecar_that_runs_on_is_stopped() {
    let template = json!({"spec": {"containers": [{"name": MAIN_CONTAINER}, {"name": "proxy", "image": "proxy"}]}});
    let ended = |pod: Pod| pod.running().container(MAIN_CONTAINER, end(0).into_state()).container("proxy", running());
    let killed = |pod: Pod| pod.exit(0).past_its_deadline().container("proxy", end(137).at(8).into_state());
    let world = play(
        task().template(template),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Pass(10_000), "Pending 1/0/0 Unscheduled 1P"),
            (Kubelet(ended), "Running 1/0/0 1O"),
            (Pass(2999), "Running 1/0/0 1O"),
            (Pass(1), "Running 1/0/0 1Ox"),
            (Restart, "Running 1/0/0 1Ox"),
            (Kubelet(killed), "Succeeded 1/0/0 [Complete Finished] 1Ex"),
        ],
    );
    let stopped = world.told.iter().filter_map(|transition| match transition {
        Transition::ContainersStopped { slot, containers, .. } => Some((slot.number, containers.join(" "))),
        _ => None,
    });
    assert_eq!(stopped.collect::<Vec<_>>(), [(1, "proxy".to_owned())], "it is said once, and which");
}

#[test]
fn where_all_containers_decide_none_is_stopped_but_by_a_limit() {
    let template = json!({"spec": {"containers": [{"name": MAIN_CONTAINER}, {"name": "upload", "image": "upload"}]}});
    let all = || {
        task().template(template.clone()).change(|task| {
            task.spec.completion = Completion::AllContainers;
            task.spec.max_retries = 0;
        })
    };
    let main_ended =
        |pod: Pod| pod.running().container(MAIN_CONTAINER, end(0).into_state()).container("upload", running());
    let failed = |pod: Pod| pod.exit(0).phase("Failed").container("upload", end(9).at(900).into_state());
    let world = play(
        all(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(main_ended), "Running 1/0/0 [Reconciling] 1R"),
            (Pass(800_000), "Running 1/0/0 1R"),
            (Kubelet(failed), "Failed 1/0/0 Error [Failed Finished Stalled] 1E-"),
        ],
    );
    let status = world.status();
    let entry = &status.history[0];
    assert_eq!((entry.exit_code, entry.container.as_deref()), (Some(9), Some("upload")));
    play(
        all().change(|task| task.spec.attempt_timeout_seconds = Some(60)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(main_ended), "Running 1/0/0 [Reconciling] 1R"),
            (Pass(70_000), "Running 1/0/0 1Rx"),
        ],
    );
}

#[test]
fn what_holds_a_pod_up_is_told_once() {
    fn pull(word: &'static str) -> impl Fn(Pod) -> Pod {
        move |pod| {
            let state = waiting(word, "no such image");
            pod.on_node("node-1").container(MAIN_CONTAINER, state)
        }
    }
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(|pod| pull("ErrImagePull")(pod)), "Pending 1/0/0 ErrImagePull 1P"),
            (Kubelet(|pod| pull("ImagePullBackOff")(pod)), "Pending 1/0/0 ErrImagePull 1P"),
            (Kubelet(|pod| pull("ErrImagePull")(pod)), "Pending 1/0/0 ErrImagePull 1P"),
        ],
    );
    assert_eq!(world.writes, 2, "the start and the hold-up");
    assert_eq!(world.status().message.as_deref(), Some("no such image"));
    let told = |transition: &&Transition| matches!(transition, Transition::HeldUp { .. });
    assert_eq!(world.told.iter().filter(told).count(), 1);
    play_in(world, &[(Run, "Running 1/0/0 1R")]);
}

#[test]
fn a_task_that_is_deleted_lets_go_of_its_pods() {
    let world = play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Run, "Running 2/1/0 Error 1E 2R"),
            (DeleteTask, "Running 2/1/0 Error 1E- 2R-"),
            (Exit(0), "Running 2/1/0 Error 1E- 2E-"),
        ],
    );
    assert_eq!(world.writes, 3, "nothing is written of a task that goes");
    play(task().deleted(0), &[(Look, " 0/0/0"), (Pass(1000), " 0/0/0")]);
}

#[test]
fn a_finished_task_is_silent() {
    for code in [0, 1] {
        let mut world = play(task().max_retries(0), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
        take(&mut world, Exit(code));
        world.reconcile();
        world.pass(SignedDuration::from_secs(20));
        world.reconcile();
        let (writes, gist) = (world.writes, world.gist());
        for step in [Pass(1000), Restart, Pass(1_000_000), Jump(-5_000_000), Vanish, Look] {
            take(&mut world, step);
            world.reconcile();
            assert_eq!(world.writes, writes, "{step:?} {gist}");
            assert_eq!(world.requeue, None, "{step:?}");
        }
        let spec = |task: &mut RetryableTask| task.spec.max_retries = 9;
        take(&mut world, Edit(spec));
        world.reconcile();
        assert_eq!(world.writes, writes + 1, "only that the spec was seen");
        assert!(gist.starts_with(&world.gist()), "{} was {gist}", world.gist());
    }
}

#[test]
fn a_waiting_task_is_silent() {
    let mut world = play(
        task().backoff(fixed(3600)),
        &[(Look, "Running 1/0/0 [Reconciling] 1P"), (Exit(1), "Waiting 1/1/0 due 3600000 Error 1E")],
    );
    let writes = world.writes;
    for _ in 0..300 {
        world.pass(SignedDuration::from_secs(10));
        world.reconcile();
    }
    assert_eq!((world.writes, world.requeue), (writes, Some(SignedDuration::from_secs(600))));
}

#[test]
fn four_requests_a_failed_attempt() {
    let mut world = World::new(task().max_retries(100).backoff(fixed(1)));
    for n in 1..=10 {
        world.reconcile();
        world.change_pod(n, BuildPod::running);
        world.reconcile();
        take(&mut world, Exit(1));
        world.reconcile();
        world.pass(SignedDuration::from_secs(1));
    }
    assert_eq!(world.writes, 20, "two writes of status: it may start, it has ended");
}

#[test]
fn a_task_of_containers_only() {
    let task = task_with(json!({"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}));
    play(task.backoff(fixed(1)), &[(Look, "Running 1/0/0 [Reconciling] 1P")]);
}

#[test]
fn raised_and_lowered_retries() {
    let raise = |task: &mut RetryableTask| task.spec.max_retries = 2;
    let lower = |task: &mut RetryableTask| task.spec.max_retries = 0;
    play(
        task().max_retries(1),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(1), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (Edit(raise), "Running 2/1/0 Error 1E 2P"),
            (Exit(1), "Waiting 2/2/0 due 3000 Error 1E 2E"),
            (Pass(2000), "Running 3/2/0 Error 1E 2E 3P"),
            (Edit(lower), "Running 3/2/0 Error 1E 2E 3P"),
            (Exit(1), "Failed 3/2/0 Error [Failed Finished Stalled] 1E 2E 3E"),
            (Edit(raise), "Failed 3/2/0 Error [Failed Finished Stalled] 1E 2E 3E"),
        ],
    );
}
