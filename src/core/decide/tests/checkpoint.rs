//! A checkpoint goes from attempt to attempt.

use super::story::Step::{Ask, Drain, Exit, Kubelet, Look, Pass, Restart, Resume, Run, Say, Suspend};
use super::story::{Step, play, take};
use super::world::World;
use crate::api::RetryableTask;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, task, task_with};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

const ROW_7: &str = r#"{"checkpoint": {"row": 7}}"#;

/// `RETRYABLE_CHECKPOINT` of the newest Pod.
fn given(world: &World) -> Option<String> {
    let pod =
        world.pods.values().max_by_key(|pod| pod.metadata.labels.as_ref().unwrap()["retryable.dev/attempt"].clone());
    let env = pod?.spec.as_ref()?.containers[0].env.clone()?;
    env.into_iter().find(|variable| variable.name == "RETRYABLE_CHECKPOINT")?.value
}

fn at_once(retries: i32) -> RetryableTask {
    task().max_retries(retries).backoff(fixed(0))
}

fn after(task: RetryableTask, steps: &[Step]) -> World {
    let mut world = World::new(task);
    world.reconcile();
    for step in steps {
        take(&mut world, *step);
        world.reconcile();
    }
    world
}

/// What the Pod after those steps is given.
fn given_after(steps: &[Step]) -> Option<String> {
    given(&after(at_once(9), steps))
}

#[test]
fn the_next_attempt_gets_what_the_last_one_that_spoke_has_said() {
    let row_7 = Some(r#"{"row":7}"#.to_owned());
    let dollar = Say(1, r#"{"checkpoint": "$(HOME) $5"}"#);
    let too_long: &'static str = format!(r#"{{"checkpoint": "{}"}}"#, "x".repeat(1025)).leak();
    assert_eq!(given_after(&[]), None);
    assert_eq!(given_after(&[Say(1, ROW_7)]), row_7);
    assert_eq!(given_after(&[Say(1, ROW_7), Exit(1)]), row_7, "an attempt that says nothing keeps it");
    assert_eq!(given_after(&[Say(1, ROW_7), Say(1, too_long)]), row_7, "one that is too long changes nothing");
    assert_eq!(given_after(&[Say(1, ROW_7), Say(1, r#"{"checkpoint": ""}"#)]), None, "an empty one clears it");
    assert_eq!(given_after(&[Say(1, ROW_7), dollar]).as_deref(), Some("$$(HOME) $$5"), "no reference to a variable");
    let world = after(at_once(9), &[Say(1, ROW_7), Say(1, too_long)]);
    let said = world.status().history[1].message.clone().unwrap();
    assert!(said.starts_with("checkpoint is 1025 bytes long"), "{said}");
}

#[test]
fn it_survives_disruption_memory_raises_suspension_and_a_restart() {
    fn out_of_memory(pod: Pod) -> Pod {
        pod.ended(end(137).reason("OOMKilled").saying(ROW_7))
    }
    fn told_on_term(pod: Pod) -> Pod {
        pod.ended(end(143).saying(ROW_7)).past_its_deadline()
    }
    let row_7 = Some(r#"{"row":7}"#.to_owned());
    assert_eq!(given_after(&[Say(1, ROW_7), Drain]), row_7);
    assert_eq!(
        given_after(&[Run, Suspend, Kubelet(told_on_term), Resume]),
        row_7,
        "what a stopped attempt says counts"
    );
    assert_eq!(given_after(&[Say(1, ROW_7), Suspend, Exit(143), Restart, Resume]), row_7);
    let raise = json!({"image": "x", "resources": {"limits": {"memory": "64Mi"}}, "onOutOfMemory": {}});
    let world = after(task_with(raise).backoff(fixed(0)), &[Kubelet(out_of_memory)]);
    assert_eq!((given(&world), world.status().memory_raises), (row_7, 1));
}

#[test]
fn the_fallback_gets_it_and_does_not_change_it() {
    let spec = json!({"image": "x", "maxRetries": 0, "onFailure": {"args": ["--tidy"]}});
    let world = after(task_with(spec), &[Say(1, ROW_7)]);
    let fallback = world.pods.values().find(|pod| pod.metadata.name.as_ref().unwrap().ends_with("-fallback")).unwrap();
    let env = fallback.spec.as_ref().unwrap().containers[0].env.clone().unwrap();
    assert!(env.iter().any(|it| it.name == "RETRYABLE_CHECKPOINT" && it.value.as_deref() == Some(r#"{"row":7}"#)));
    let mut world = world;
    take(&mut world, Say(0, r#"{"checkpoint": "tidy"}"#));
    world.reconcile();
    assert_eq!(world.status().checkpoint.as_deref(), Some(r#"{"row":7}"#));
}

#[test]
fn success_clears_it_and_another_run_keeps_it_unless_told_otherwise() {
    let success = play(
        at_once(1),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(1, ROW_7), "Running 2/1/0 Error 1E 2P"),
            (Say(0, ROW_7), "Succeeded 2/1/0 Error [Complete Finished] 1E 2E"),
        ],
    );
    assert_eq!(success.status().checkpoint, None);
    let in_part = Say(0, r#"{"checkpoint": [3], "partial": {"failed": 1}}"#);
    assert_eq!(given_after(&[in_part, Ask("run-again", "a")]).as_deref(), Some("[3]"), "the rest is still to do");
    let again = |value| {
        let world = after(at_once(0), &[Say(1, ROW_7), Pass(60_000), Ask("run-again", value)]);
        (given(&world), world.status().acknowledged[0].effect.clone())
    };
    let effect = |from: &str| format!("run 2 begins with attempt 2, {from} the checkpoint");
    assert_eq!(again("1"), (Some(r#"{"row":7}"#.into()), effect("from")));
    assert_eq!(again("from-start"), (None, effect("without")));
    assert_eq!(again("2026-11-30 from-start"), (None, effect("without")));
}
