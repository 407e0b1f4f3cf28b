//! Whole lives of tasks: what somebody does, and what the world looks like after the reconcile that follows.
//! The lines are those of [`World::gist`].

use super::world::{Server, World, whole_second};
use crate::api::{MAIN_CONTAINER, RetryableTask};
use crate::core::decide::Happening;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, running, task, task_with};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

/// What happens between two reconciles. A Pod is always the newest one.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Nothing.
    Look,
    /// So many milliseconds pass.
    Pass(i64),
    /// Somebody moves the wall clock by so many milliseconds.
    Jump(i64),
    /// The Pod's main container runs.
    Run,
    /// The Pod's main container ends with this code.
    Exit(i32),
    /// As `Exit`, with a termination message.
    Say(i32, &'static str),
    /// The Pod's node is drained.
    Drain,
    /// The Pod changes.
    Kubelet(fn(Pod) -> Pod),
    /// Somebody deletes the Pod.
    DeletePod,
    /// The Pod is gone without a trace.
    Vanish,
    /// Somebody changes the spec.
    Edit(fn(&mut RetryableTask)),
    Suspend,
    Resume,
    /// From now on the API server answers so.
    Api(Server),
    /// Creations that got no answer arrive.
    Land,
    /// Another process takes over.
    Restart,
    /// The watch stands still, or goes on.
    Blind(bool),
    /// The task is deleted, and waits for its Pods.
    DeleteTask,
}

use Step::{
    Api, Blind, DeletePod, DeleteTask, Drain, Edit, Exit, Jump, Kubelet, Land, Look, Pass, Restart, Resume, Run, Say,
    Suspend, Vanish,
};

pub fn take(world: &mut World, step: Step) {
    let now = Time(whole_second(world.now()));
    let newest = world.newest();
    match step {
        Look => {}
        Pass(millis) => world.pass(SignedDuration::from_millis(millis)),
        Jump(millis) => world.jump(SignedDuration::from_millis(millis)),
        Run => world.change_pod(newest, BuildPod::running),
        Exit(code) => end_pod(world, code, ""),
        Say(code, message) => end_pod(world, code, message),
        Drain => {
            end_pod(world, 143, "");
            world.change_pod(newest, |pod| pod.disrupted("EvictionByEvictionAPI", 0));
        }
        Kubelet(change) => world.change_pod(newest, change),
        DeletePod => world.change_pod(newest, |pod| {
            pod.change(|pod| {
                pod.metadata.deletion_timestamp = Some(now);
                pod.metadata.deletion_grace_period_seconds = Some(0);
            })
        }),
        Vanish => world.vanish(newest),
        Edit(change) => world.edit(change),
        Suspend => world.edit(|task| task.spec.suspend = true),
        Resume => world.edit(|task| task.spec.suspend = false),
        Api(server) => world.server = server,
        Land => world.land(),
        Restart => world.restart(),
        Blind(blind) => world.blind = blind,
        DeleteTask => world.task.metadata.deletion_timestamp = Some(now),
    }
}

fn end_pod(world: &mut World, code: i32, message: &str) {
    let finished = Time(whole_second(world.now()));
    let end = end(code).saying(message).change(|end| end.finished_at = Some(finished));
    world.change_pod(world.newest(), |pod| pod.ended(end));
}

/// Plays the story, and holds the world against its lines.
#[track_caller]
pub fn play(task: RetryableTask, story: &[(Step, &str)]) -> World {
    play_in(World::new(task), story)
}

#[track_caller]
pub fn play_in(mut world: World, story: &[(Step, &str)]) -> World {
    for (n, (step, line)) in story.iter().enumerate() {
        take(&mut world, *step);
        world.reconcile();
        assert_eq!(world.gist(), *line, "after step {n}, {step:?}");
    }
    world
}

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
fn failures_then_success() {
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Exit(3), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(999), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1), "Running 2/1/0 Error 1E 2P"),
            (Pass(10_000), "Pending 2/1/0 Error 1E 2P"),
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
    assert_eq!(status.history[1].rule.as_deref(), Some("doNotRetry"));
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
            (Suspend, "Running 1/0/0 [Suspended] 1R!"),
            (Exit(143), "Suspended 1/0/1 [Suspended] 1E!"),
            (Pass(60_000), "Suspended 1/0/1 [Suspended]"),
            (Resume, "Running 2/0/1 2P"),
            (Exit(0), "Succeeded 2/0/1 [Complete Finished] 2E"),
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
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1R!"),
            (Resume, "Running 1/0/0 [Reconciling Suspended] 1R!"),
            (Exit(137), "Running 2/0/1 1E! 2P"),
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
            (Suspend, "Running 1/0/0 [Suspended] 1E!"),
            (Blind(false), "Succeeded 1/0/0 [Suspended Complete Finished] 1E!"),
        ],
    );
    play(
        task(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Run, "Running 1/0/0 [Reconciling] 1R"),
            (Blind(true), "Running 1/0/0 [Reconciling] 1R"),
            (Exit(3), "Running 1/0/0 [Reconciling] 1E"),
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1E!"),
            (Blind(false), "Suspended 1/0/1 [Suspended] 1E!"),
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
            (Suspend, "Running 1/0/0 [Reconciling Suspended] 1R!"),
            (Pass(10_000), "Running 1/0/0 [Suspended] 1R!"),
            (Exit(0), "Suspended 1/0/1 [Suspended] 1E!"),
        ],
    );
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
    let class = &world.status().classes[0];
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
    let template = json!({"spec": {"containers": [{"name": "proxy", "image": "proxy"}]}});
    let ended = |pod: Pod| pod.running().container(MAIN_CONTAINER, end(0).into_state()).container("proxy", running());
    let killed = |pod: Pod| pod.exit(0).phase("Failed").container("proxy", end(137).at(8).into_state());
    play(
        task().template(template),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Pass(10_000), "Pending 1/0/0 1P"),
            (Kubelet(ended), "Running 1/0/0 1O"),
            (Pass(2999), "Running 1/0/0 1O"),
            (Pass(1), "Running 1/0/0 1O!"),
            (Restart, "Running 1/0/0 1O!"),
            (Kubelet(killed), "Succeeded 1/0/0 [Complete Finished] 1E!"),
        ],
    );
}

#[test]
fn what_holds_a_pod_up_is_told_once() {
    fn pull(word: &'static str) -> impl Fn(Pod) -> Pod {
        move |pod| {
            let state = crate::core::testing::waiting(word, "no such image");
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
    let told = |happening: &&Happening| matches!(happening, Happening::HeldUp { .. });
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
            assert_eq!(world.look_again, None, "{step:?}");
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
    assert_eq!((world.writes, world.look_again), (writes, Some(SignedDuration::from_secs(600))));
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
