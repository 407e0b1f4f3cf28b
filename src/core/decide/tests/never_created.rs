//! Pods that are never created: what is said of them and when, and how their attempts end.

use super::story::Step::{Api, Ask, Blind, Edit, Exit, Kubelet, Look, Pass, Restart, Suspend};
use super::story::{play, play_in, take};
use super::world::{Server, World};
use crate::api::{Action, RetryableTask};
use crate::core::decide::{Transition, is_finished};
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, task, without_jitter};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

const LIMIT_RANGE: &str = "maximum memory usage per Container is 40Mi, but limit is 48Mi";
const COUNT: &str = "exceeded quota: q, requested: count/pods=1, used: count/pods=1, limited: count/pods=1";

fn timed(seconds: i32) -> RetryableTask {
    let task = task().backoff(without_jitter(fixed(1)));
    task.change(|task| task.spec.startup_timeout_seconds = Some(seconds))
}

fn stalls(world: &World) -> usize {
    world.told.iter().filter(|transition| matches!(transition, Transition::Stalled { .. })).count()
}

#[test]
fn whatever_keeps_a_pod_from_being_created_is_said_after_three_seconds() {
    let cases = [
        (400, "PodRejected"),
        (401, "PodRejected"),
        (403, "PodRejected"),
        (404, "PodRejected"),
        (409, "PodRejected"),
        (413, "PodRejected"),
        (422, "PodRejected"),
        (429, "FailedCreate"),
        (500, "FailedCreate"),
        (503, "FailedCreate"),
        (504, "FailedCreate"),
        (0, "FailedCreate"),
    ];
    for (code, reason) in cases {
        let mut world = World::new(task());
        take(&mut world, Api(Server::Fails(code, "the server's words")));
        world.reconcile();
        for _ in 0..3 {
            assert_eq!((world.gist().as_str(), world.writes), ("Running 1/0/0 [Reconciling]", 1), "{code}");
            assert_eq!(world.requeue, Some(SignedDuration::from_secs(1)), "{code}");
            world.pass(SignedDuration::from_secs(1));
            world.reconcile();
        }
        assert_eq!((world.gist(), world.writes), (format!("Pending 0/0/0 {reason} [Stalled]"), 2), "{code}");
        assert_eq!(world.status().message.as_deref(), Some("the server's words"), "{code}");
        assert_eq!(stalls(&world), 1, "{code}");
    }
}

#[test]
fn what_is_over_within_the_first_seconds_is_no_news() {
    let world = play(
        task(),
        &[
            (Api(Server::Rejects("no service account")), "Running 1/0/0 [Reconciling]"),
            (Look, "Running 1/0/0 [Reconciling]"),
            (Pass(1000), "Running 1/0/0 [Reconciling]"),
            (Pass(1000), "Running 1/0/0 [Reconciling]"),
            (Api(Server::Accepts), "Running 1/0/0 [Reconciling]"),
            (Pass(1000), "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
    assert_eq!((world.writes, stalls(&world)), (1, 0));
}

#[test]
fn an_attempt_whose_pod_is_not_created_in_time_has_not_started() {
    for (code, message, reason, wait) in [
        (403, "no such account", "PodRejected", 0),
        (500, "etcdserver: request is too large", "PodRejected", 20),
        (503, "try again", "FailedCreate", 20),
        (0, "connection refused", "FailedCreate", 20),
    ] {
        let budget = |task: &mut RetryableTask| {
            task.spec.budgets = Some(serde_json::from_value(json!({"startup": 1})).unwrap());
        };
        let mut world = World::new(timed(30).max_retries(0).change(budget));
        take(&mut world, Api(Server::Fails(code, message)));
        world.reconcile();
        let begun = world.now();
        while !is_finished(&world.status().conditions) {
            assert!(world.now().duration_since(begun).as_secs() <= 2 * (30 + wait) + 2, "{code}: {}", world.gist());
            world.pass(world.requeue.unwrap());
            world.reconcile();
        }
        assert!(world.now().duration_since(begun).as_secs() > 2 * 30, "{code}");
        let status = world.status();
        assert_eq!(
            (status.attempts, status.history.len(), status.exhausted_budget.as_deref()),
            (2, 2, Some("startup"))
        );
        for (entry, action) in status.history.iter().zip([Action::Retry, Action::Fail]) {
            assert_eq!((entry.reason.as_str(), entry.message.as_deref()), (reason, Some(message)));
            assert_eq!((entry.rule.as_deref(), entry.action), (Some("startup"), action));
            assert_eq!((&entry.pod_uid, &entry.exit_code), (&None, &None));
        }
    }
}

#[test]
fn a_rule_on_the_reason_decides_over_an_attempt_without_a_pod() {
    let rule = json!([{"name": "closed", "when": {"reasons": ["PodRejected"]}, "action": "Fail"}]);
    let task = timed(10).change(|task| task.spec.rules = Some(serde_json::from_value(rule).unwrap()));
    let world = play(
        task,
        &[
            (Api(Server::Rejects("no")), "Running 1/0/0 [Reconciling]"),
            (Pass(3000), "Pending 0/0/0 PodRejected [Stalled]"),
            (Pass(6999), "Pending 0/0/0 PodRejected [Stalled]"),
            (Pass(1), "Failed 1/0/0 PodRejected [Failed Finished Stalled]"),
        ],
    );
    assert_eq!(world.status().history[0].rule.as_deref(), Some("closed"));
}

#[test]
fn an_attempt_without_a_limit_waits_and_a_restart_does_not_lengthen_one_that_has_it() {
    let world = play(task(), &[(Api(Server::Rejects("no")), "Running 1/0/0 [Reconciling]")]);
    play_in(world, &[(Pass(86_400_000), "Pending 0/0/0 PodRejected [Stalled]")]);
    play(
        timed(60),
        &[
            (Api(Server::Rejects("no")), "Running 1/0/0 [Reconciling]"),
            (Pass(30_000), "Pending 0/0/0 PodRejected [Stalled]"),
            (Restart, "Pending 0/0/0 PodRejected [Stalled]"),
            (Pass(30_000), "Waiting 1/1/0 due 61000 PodRejected"),
        ],
    );
}

#[test]
fn a_pod_that_came_in_spite_of_the_answers_is_not_given_up() {
    play(
        timed(10),
        &[
            (Api(Server::IsSlow), "Running 1/0/0 [Reconciling]"),
            (Pass(10_000), "Running 1/0/0 [Reconciling]"),
            (super::story::Step::Land, "Running 1/0/0 [Reconciling] 1P"),
        ],
    );
}

#[test]
fn cancelling_or_suspending_what_cannot_be_created_ends_as_ever() {
    play(
        timed(10),
        &[
            (Api(Server::Rejects("no")), "Running 1/0/0 [Reconciling]"),
            (Pass(3000), "Pending 0/0/0 PodRejected [Stalled]"),
            (Suspend, "Suspended 0/0/0 [Suspended]"),
            (Pass(60_000), "Suspended 0/0/0 [Suspended]"),
            (Ask("cancel", "1"), "Cancelled 0/0/0 [Suspended Failed Finished Stalled]"),
        ],
    );
}

fn out_of_memory(pod: Pod) -> Pod {
    pod.ended(end(137).reason("OOMKilled"))
}

fn hungry() -> RetryableTask {
    task().max_retries(2).backoff(without_jitter(fixed(1))).change(|task| {
        task.spec.resources = Some(json!({"limits": {"memory": "24Mi"}}));
        task.spec.on_out_of_memory = Some(serde_json::from_value(json!({"memoryMultiplier": 2})).unwrap());
    })
}

fn memory(world: &World) -> Vec<Option<String>> {
    world.status().history.iter().map(|entry| entry.memory.clone()).collect()
}

#[test]
fn a_raise_of_memory_that_is_not_admitted_is_taken_back_and_not_tried_again() {
    let world = play(
        hungry(),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(out_of_memory), "Waiting 1/1/0 due 1000 OOMKilled 1E"),
            (Api(Server::Rejects(LIMIT_RANGE)), "Waiting 1/1/0 due 1000 OOMKilled 1E"),
            (Pass(1000), "Running 2/1/0 OOMKilled 1E"),
            (Api(Server::Accepts), "Running 2/1/0 OOMKilled 1E"),
            (Pass(1000), "Running 2/1/0 OOMKilled 1E 2P"),
            (Kubelet(out_of_memory), "Waiting 2/2/0 due 3000 OOMKilled 1E 2E"),
            (Pass(1000), "Running 3/2/0 OOMKilled 1E 2E 3P"),
            (Kubelet(out_of_memory), "Failed 3/2/0 OOMKilled [Failed Finished Stalled] 1E 2E 3E"),
        ],
    );
    assert_eq!(memory(&world), ["24Mi", "24Mi", "24Mi"].map(|amount| Some(amount.to_owned())));
    let told = world.told.iter().find_map(|transition| match transition {
        Transition::MemoryRaiseRejected { message } => Some(message.clone()),
        _ => None,
    });
    let expected = format!("attempt 2 runs with 24Mi of memory, since 48Mi is not admitted: {LIMIT_RANGE}");
    assert_eq!((told, stalls(&world)), (Some(expected), 0));
    // Another spec is another matter, and so is another run.
    let again = play_in(world, &[(Ask("run-again", "1"), "Running 4/0/0 [Reconciling] 1E 2E 3E 4P")]);
    assert_eq!(again.status().admitted_memory_raises, None);
}

#[test]
fn a_changed_spec_may_raise_the_memory_again() {
    let mut world = World::new(hungry());
    world.reconcile();
    take(&mut world, Kubelet(out_of_memory));
    world.server = Server::Rejects(LIMIT_RANGE);
    world.reconcile();
    world.pass(SignedDuration::from_secs(1));
    world.reconcile();
    assert_eq!((world.status().memory_raises, world.status().admitted_memory_raises), (0, Some(0)));
    take(&mut world, Edit(|task| task.spec.max_retries = 9));
    world.reconcile();
    assert_eq!(world.status().admitted_memory_raises, None);
}

#[test]
fn a_refusal_that_no_raise_has_brought_about_is_waited_for() {
    let no_room =
        "exceeded quota: q, requested: limits.memory=48Mi, used: limits.memory=40Mi, limited: limits.memory=50Mi";
    let mut world = World::new(hungry());
    world.server = Server::Rejects(LIMIT_RANGE);
    play_in(world, &[(Look, "Running 1/0/0 [Reconciling]"), (Pass(3000), "Pending 0/0/0 PodRejected [Stalled]")]);
    world = World::new(hungry());
    let world = play_in(
        world,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(out_of_memory), "Waiting 1/1/0 due 1000 OOMKilled 1E"),
            (Api(Server::Rejects(no_room)), "Waiting 1/1/0 due 1000 OOMKilled 1E"),
            (Pass(1000), "Running 2/1/0 OOMKilled 1E"),
            (Pass(3000), "Pending 1/1/0 PodRejected [Stalled] 1E"),
        ],
    );
    assert_eq!(world.status().memory_raises, 1);
}

#[test]
fn the_oldest_kept_pod_makes_room_under_a_quota_on_pods() {
    let mut world = World::new(task().max_retries(5).retention(2, 0).backoff(without_jitter(fixed(30))));
    for _ in 0..2 {
        world.reconcile();
        take(&mut world, Exit(1));
        world.reconcile();
        world.pass(SignedDuration::from_secs(30));
    }
    world.server = Server::Rejects(COUNT);
    let world = play_in(
        world,
        &[
            (Look, "Running 3/2/0 Error 1E- 2E-"),
            (Pass(3000), "Pending 2/2/0 PodRejected [Stalled] 2E-"),
            (Api(Server::Accepts), "Pending 2/2/0 PodRejected [Stalled] 2E-"),
            (Pass(1000), "Pending 3/2/0 PodRejected 2E- 3P"),
        ],
    );
    assert_eq!(world.status().current.unwrap().rejections, 0);
}

#[test]
fn no_second_pod_makes_room_while_the_first_is_there() {
    let mut world = World::new(task().max_retries(5).retention(2, 0).backoff(without_jitter(fixed(30))));
    for _ in 0..2 {
        world.reconcile();
        take(&mut world, Exit(1));
        world.reconcile();
        world.pass(SignedDuration::from_secs(30));
    }
    world.server = Server::Rejects(COUNT);
    world.reconcile();
    take(&mut world, Blind(true));
    for wait in [3000, 1000, 60_000, 60_000] {
        take(&mut world, Pass(wait));
        world.reconcile();
        assert_eq!(world.status().current.unwrap().removed_pod_uid.as_deref(), Some("pod-1-1"), "{wait}");
        assert!(world.gist().ends_with(" 2E-"), "{}", world.gist());
    }
}

#[test]
fn a_pod_makes_room_as_soon_as_no_creation_of_it_can_be_on_its_way() {
    let mut world = World::new(task().max_retries(5).retention(1, 0).backoff(without_jitter(fixed(1))));
    world.reconcile();
    take(&mut world, Exit(1));
    world.reconcile();
    world.server = Server::Rejects(COUNT);
    let mut world = play_in(
        world,
        &[
            (Pass(1000), "Running 2/1/0 Error 1E"),
            (Pass(3000), "Pending 1/1/0 PodRejected [Stalled] 1E"),
            (Pass(15_999), "Pending 1/1/0 PodRejected [Stalled] 1E"),
            (Pass(1), "Pending 1/1/0 PodRejected [Stalled]"),
        ],
    );
    world.server = Server::Accepts;
    play_in(world, &[(Pass(1000), "Pending 2/1/0 PodRejected 2P")]);
    // With nothing that could go, it is tried ever later, as under any quota.
    let mut world = World::new(task());
    world.server = Server::Rejects(COUNT);
    world.reconcile();
    world.pass(SignedDuration::from_secs(3));
    world.reconcile();
    world.pass(world.requeue.unwrap());
    world.reconcile();
    assert!(world.requeue.unwrap() > SignedDuration::from_millis(1250));
}

#[test]
fn that_no_operator_was_there_is_not_held_against_an_attempt() {
    let mut world = World::new(timed(10));
    world.server = Server::IsSlow;
    world.reconcile();
    world.restart();
    world.server = Server::Accepts;
    play_in(world, &[(Pass(60_000), "Running 1/0/0 [Reconciling] 1P")]);
}
