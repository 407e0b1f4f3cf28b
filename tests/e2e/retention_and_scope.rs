//! Pod retention, time to live and history limit; the conditions for tools; which namespaces an operator serves.

use crate::support::audit::Audit;
use crate::support::cluster::Turn;
use crate::support::manifest::IMAGE;
use crate::support::record::Record;
use crate::support::scene::attempt_of;
use crate::support::{Operator, Scene, eventually, sh, task};
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::json;

/// Fails four times in a row without waiting.
fn failing(name: &str, more: &serde_json::Value) -> serde_json::Value {
    let mut manifest = sh(name, "echo attempt $RETRYABLE_ATTEMPT; exit 1", more);
    manifest["spec"]["backoff"] = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    manifest
}

/// The attempts whose Pods are left, once no Pod has the finalizer.
async fn kept(scene: &Scene, name: &str, expected: &[i32]) {
    eventually("only the Pods that are to be kept, and free", async || {
        let pods = scene.pods_of(name).await;
        let left: Vec<i32> = pods.iter().map(attempt_of).collect();
        let with_finalizer: Vec<_> =
            pods.iter().filter(|pod| !pod.finalizers().is_empty()).map(ResourceExt::name_any).collect();
        if left == expected && with_finalizer.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} are left, {with_finalizer:?} held"))
        }
    })
    .await;
}

#[tokio::test]
async fn the_newest_pods_are_kept() {
    let scene = Scene::new("retention").await;
    let _operator = scene.operator().await;
    scene.apply(&failing("default", &json!({})));
    scene.apply(&failing("two", &json!({"podRetention": {"failed": 2}})));
    scene.apply(&failing("none", &json!({"podRetention": {"failed": 0}})));
    scene.apply(&sh("good", "true", &json!({})));
    scene.apply(&sh("tidy", "true", &json!({"podRetention": {"succeeded": 0}})));
    let expected: [(&str, &[i32]); 5] =
        [("default", &[4]), ("two", &[3, 4]), ("none", &[]), ("good", &[1]), ("tidy", &[])];
    for (name, expected) in expected {
        scene.finished(name).await;
        kept(&scene, name, expected).await;
    }
    let logs = scene.kubectl(&["logs", &scene.pods_of("default").await[0].name_any()]).ok();
    assert_eq!(logs, "attempt 4\n");
}

#[tokio::test]
async fn a_finished_task_is_deleted_after_its_ttl() {
    let scene = Scene::new("ttl").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("brief", "true", &json!({"ttlSecondsAfterFinished": 2})));
    scene.apply(&failing("at-once", &json!({"ttlSecondsAfterFinished": 0})));
    scene.apply(&sh("stays", "true", &json!({})));
    scene.finished("stays").await;
    for name in ["brief", "at-once"] {
        eventually("the task to be gone", async || {
            scene.tasks().get_opt(name).await.unwrap().map_or(Ok(()), |task| Err(format!("{:#?}", task.status)))
        })
        .await;
        scene.no_pods_of(name).await;
    }
    assert!(scene.event("brief", "Succeeded").await.contains("succeeded"));
    assert!(scene.event("at-once", "RetriesExhausted").await.contains("attempt 4"));
    assert_eq!(scene.task("stays").await.status.unwrap().state, Some(State::Succeeded));
}

/// Tasks that were seen without the default stay, and a spec of their own wins.
#[tokio::test]
async fn the_default_ttl_deletes_new_tasks_whose_spec_has_none() {
    let scene = Scene::new("default-ttl").await;
    let operator = scene.operator().await;
    scene.apply(&sh("seen-before", "true", &json!({})));
    scene.finished("seen-before").await;
    drop(operator);
    let manifest = sh("new", "while ! test -e /tmp/go; do sleep 0.2; done", &json!({}));
    scene.apply(&manifest);
    scene.apply(&sh("keeps-itself", "true", &json!({"ttlSecondsAfterFinished": 3600})));
    let _operator = scene.operator_with(&["--default-ttl-seconds-after-finished=1"]).at_work().await;
    let pod = scene.running("new", 1).await.name_any();
    let task = scene.task("new").await;
    assert_eq!(task.spec.ttl_seconds_after_finished, None, "what was applied stays as it was written");
    assert_eq!(task.status.unwrap().default_ttl_seconds_after_finished, Some(1));
    scene.apply(&manifest);
    assert_eq!(scene.task("new").await.metadata.generation, Some(1), "it changed nothing");
    scene.kubectl(&["exec", &pod, "--", "touch", "/tmp/go"]).ok();
    eventually("the new task to be gone", async || {
        scene.tasks().get_opt("new").await.unwrap().map_or(Ok(()), |task| Err(format!("{:#?}", task.status)))
    })
    .await;
    scene.no_pods_of("new").await;
    scene.finished("keeps-itself").await;
    assert_eq!(scene.task("seen-before").await.status.unwrap().default_ttl_seconds_after_finished, None);
}

#[tokio::test]
async fn the_history_is_cut_and_the_cut_is_counted() {
    let scene = Scene::new("history").await;
    let _operator = scene.operator().await;
    scene.apply(&failing("two", &json!({"historyLimit": 2})));
    scene.apply(&failing("none", &json!({"historyLimit": 0})));
    let two = scene.finished("two").await;
    let left: Vec<i32> = two.history.iter().map(|entry| entry.attempt).collect();
    assert_eq!((left, two.history_dropped, two.attempts), (vec![3, 4], 2, 4));
    assert_eq!(two.history[1].action, Action::Fail);
    let none = scene.finished("none").await;
    assert_eq!((none.history.len(), none.history_dropped, none.attempts), (0, 4, 4));
    assert_eq!(none.last_failure.unwrap().message.as_deref(), Some("attempt 4"));
}

#[tokio::test]
async fn the_observed_generation_follows_every_edit_also_after_the_end() {
    let scene = Scene::new("generation").await;
    scene.apply(&sh("edited", "true", &json!({})));
    let fresh = scene.task("edited").await;
    let observed = fresh.status.and_then(|status| status.observed_generation);
    assert_eq!((fresh.metadata.generation, observed), (Some(1), Some(-1)), "unseen: kstatus must not call it current");
    let operator: Operator = scene.operator().await;
    let status = scene.finished("edited").await;
    assert_eq!(status.observed_generation, Some(1));
    scene.patch_spec("edited", &json!({"maxRetries": 7}));
    let after = scene.status("edited", "the edit to be seen", |status| status.observed_generation == Some(2)).await;
    let expected = RetryableTaskStatus { observed_generation: Some(2), ..status };
    assert_eq!(after, expected, "nothing else changes once the task has ended");
    drop(operator);
}

#[tokio::test]
async fn a_task_is_reconciling_until_its_first_pod_exists() {
    let scene = Scene::new("kstatus").await;
    let record = Record::of(&scene, "seen").await;
    let _operator = scene.operator().await;
    scene.apply(&task("seen", &json!({"image": IMAGE, "command": ["true"]})));
    let versions = record.until_finished().await;
    let is_reconciling: Vec<bool> = versions
        .iter()
        .filter_map(|task| task.status.as_ref())
        .filter(|status| status.observed_generation == Some(1))
        .map(|status| condition_list::is_true(&status.conditions, ConditionType::Reconciling))
        .collect();
    assert_eq!((is_reconciling.first(), is_reconciling.last()), (Some(&true), Some(&false)));
}

#[tokio::test]
async fn one_operator_serves_the_namespaces_it_is_given_and_no_other() {
    let scene = Scene::new("ns-one").await;
    let (other, unserved) = (scene.beside("ns-two").await, scene.beside("ns-three").await);
    let namespaces = format!("{},{}", scene.namespace, other.namespace);
    let _operator = Operator::spawn(&scene.operator_user(), &namespaces, &[]).all_at_work(2).await;
    for scene in [&unserved, &scene, &other] {
        scene.apply(&sh("served", "true", &json!({})));
    }
    assert_eq!(scene.finished("served").await.attempts, 1);
    assert_eq!(other.finished("served").await.attempts, 1);
    assert_eq!(unserved.task("served").await.status.and_then(|status| status.observed_generation), Some(-1));
}

#[tokio::test]
async fn two_operators_share_a_cluster_and_touch_nothing_of_each_other() {
    let turn = Turn::shared();
    let scenes = [Scene::in_turn(&turn, "share-one").await, Scene::in_turn(&turn, "share-two").await];
    let audit = Audit::from_now();
    let _operators = [scenes[0].operator().await, scenes[1].operator().await];
    for scene in &scenes {
        for name in ["first", "second"] {
            scene.apply(&failing(name, &json!({"maxRetries": 1})));
        }
    }
    for (scene, other) in [(&scenes[0], &scenes[1]), (&scenes[1], &scenes[0])] {
        for name in ["first", "second"] {
            assert_eq!(scene.finished(name).await.attempts, 2);
        }
        let (own, others) = (scene.operator_user(), other.operator_user());
        let requests = audit.of(&scene.namespace);
        assert!(requests.iter().filter(|request| request.user == own && request.kind() == "create pods").count() == 4);
        let foreign: Vec<_> = requests.iter().filter(|request| request.user == others).collect();
        assert!(foreign.is_empty(), "{foreign:#?}");
    }
}
