//! Any life, to its end: every budget is kept, every attempt is in one counter, and the limits of the history and of
//! memory hold.

use super::story::Step::{Ask, Drain, Exit, Kubelet, Restart, Resume, Run, Say, Suspend};
use super::story::{Step, take};
use super::world::World;
use crate::api::{Action, FailureRule, HistoryEntry, OnOutOfMemory, RetryableTask};
use crate::core::classify::{DISRUPTION, IGNORE_BUDGET};
use crate::core::decide::{Transition, is_finished};
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, task};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;

const RETRY: i32 = 2;
const IGNORE: i32 = 3;

fn out_of_memory(pod: Pod) -> Pod {
    pod.ended(end(137).reason("OOMKilled"))
}

fn some_step() -> impl Strategy<Value = Step> {
    prop::sample::select(vec![
        Run,
        Exit(0),
        Exit(1),
        Exit(1),
        Exit(50),
        Exit(60),
        Exit(60),
        Say(1, r#"{"retryAfterSeconds": 9}"#),
        Drain,
        Drain,
        Kubelet(out_of_memory),
        Suspend,
        Resume,
        Restart,
        Ask("retry-now", "a"),
        Ask("retry-now", "b"),
    ])
}

prop_compose! {
    fn some_task()(max_retries in 0..5i32, history_limit in 0..8i32, out_of_memory in prop::option::of(0..3i32)) -> RetryableTask {
        let rules: Vec<FailureRule> = serde_json::from_value(json!([
            {"name": "own", "when": {"exitCodes": [50]}, "action": "Retry", "maxRetries": RETRY},
            {"name": "free", "when": {"exitCodes": [60]}, "action": "Ignore", "maxRetries": IGNORE},
        ])).unwrap();
        let policy: OnOutOfMemory = serde_json::from_value(json!({"memoryMultiplier": 2, "maxMemory": "256Mi"})).unwrap();
        task().max_retries(max_retries).history_limit(history_limit).backoff(fixed(1)).change(|task| {
            task.spec.rules = Some(rules);
            task.spec.budgets = Some(serde_json::from_value(json!({"outOfMemory": out_of_memory})).unwrap());
            task.spec.resources = Some(json!({"limits": {"memory": "64Mi"}}));
            task.spec.on_out_of_memory = Some(policy);
        })
    }
}

/// Every attempt that ended, whether or not the history still has it.
fn all_ended(world: &World) -> Vec<&HistoryEntry> {
    let ended = world.told.iter().filter_map(|transition| match transition {
        Transition::Ended { entry, .. } => Some(&**entry),
        _ => None,
    });
    ended.collect()
}

fn check(world: &World) -> Result<(), TestCaseError> {
    let (spec, status, ended) = (&world.task.spec, world.status(), all_ended(world));
    let count =
        |f: &dyn Fn(&HistoryEntry) -> bool| i32::try_from(ended.iter().filter(|entry| f(entry)).count()).unwrap();
    let of =
        |rule: &'static str, action| count(&move |entry| entry.rule.as_deref() == Some(rule) && entry.action == action);
    let memory_budget = spec.budgets.as_ref().and_then(|budgets| budgets.out_of_memory);
    let own_memory_retries = if memory_budget.is_some() { of("outOfMemory", Action::Retry) } else { 0 };
    prop_assert!(of("own", Action::Retry) <= RETRY && of("free", Action::Ignore) <= IGNORE);
    prop_assert!(of(DISRUPTION, Action::Ignore) <= IGNORE_BUDGET);
    prop_assert!(memory_budget.is_none_or(|budget| own_memory_retries <= budget));
    let retried = count(&|entry| entry.action == Action::Retry);
    prop_assert_eq!(status.retries, retried - of("own", Action::Retry) - own_memory_retries, "charged once each");
    prop_assert!(status.retries <= spec.max_retries);
    prop_assert_eq!(status.ignored, count(&|entry| entry.action == Action::Ignore));
    for class in &status.failure_counts {
        prop_assert_eq!(class.count, count(&|entry| entry.rule.as_ref() == Some(&class.name)), "{}", class.name);
    }
    let kept = i32::try_from(status.history.len()).unwrap();
    prop_assert!(kept <= spec.history_limit);
    prop_assert_eq!(kept + status.history_dropped, i32::try_from(ended.len()).unwrap());
    prop_assert!((0..=2).contains(&status.memory_raises), "64, 128 and 256 Mi");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_life_exceeds_a_budget(task in some_task(), steps in prop::collection::vec(some_step(), 1..60)) {
        let mut world = World::new(task);
        world.reconcile();
        for step in steps {
            let needs_a_pod = matches!(step, Run | Exit(_) | Say(..) | Drain | Kubelet(_));
            let open = world.status().current.is_some_and(|current| current.pod_name.is_some() && current.stop_reason.is_none());
            if !needs_a_pod || open {
                take(&mut world, step);
            }
            world.reconcile();
            check(&world)?;
            if is_finished(&world.status().conditions) {
                break;
            }
            world.pass(SignedDuration::from_secs(2));
            world.reconcile();
            check(&world)?;
        }
    }
}

#[test]
fn the_next_attempts_get_more_memory_and_keep_it() {
    let mut world = World::new(task().max_retries(9).backoff(fixed(0)).change(|task| {
        task.spec.resources = Some(json!({"limits": {"memory": "64Mi"}}));
        task.spec.on_out_of_memory =
            Some(serde_json::from_value(json!({"memoryMultiplier": "1.5", "maxMemory": "128Mi"})).unwrap());
    }));
    let steps = [Kubelet(out_of_memory), Drain, Exit(1), Kubelet(out_of_memory), Kubelet(out_of_memory), Exit(0)];
    for step in steps {
        world.reconcile();
        take(&mut world, step);
        world.reconcile();
    }
    let status = world.status();
    let memory: Vec<_> = status.history.iter().map(|entry| entry.memory.as_deref().unwrap_or_default()).collect();
    assert_eq!(memory, ["64Mi", "96Mi", "96Mi", "96Mi", "128Mi", "128Mi"]);
    assert_eq!(status.memory_raises, 2, "the limit was reached");
}

#[test]
fn another_container_out_of_memory_is_not_helped_by_more_for_the_main_one() {
    let mut world = World::new(task().change(|task| {
        task.spec.resources = Some(json!({"limits": {"memory": "64Mi"}}));
        task.spec.on_out_of_memory = Some(OnOutOfMemory::default());
    }));
    world.reconcile();
    take(
        &mut world,
        Kubelet(|pod| pod.phase("Failed").init_container("setup", end(137).reason("OOMKilled").into_state())),
    );
    world.reconcile();
    assert_eq!((world.status().retries, world.status().memory_raises), (1, 0));
}
