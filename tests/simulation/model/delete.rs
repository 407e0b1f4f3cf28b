//! Deleting objects, and the garbage collector.

use super::{World, calm, code, pod, pod_key, task, task_key, typed};
use crate::server::{Actor, FOREGROUND, Key, Resource, Verb, collect_garbage};
use kube::api::{DeleteParams, Preconditions};
use serde_json::{Value, json};
use std::time::Duration;

const OURS: &str = "retryable.dev/attempt";

/// Adds a Pod, bound to a node and in a phase if asked for.
fn add_pod(world: &World, name: &str, finalizers: &[&str], phase: Option<&str>, owners: &[&Value]) -> Key {
    let key = pod_key(name);
    world.server.user(Verb::Create, &key, pod(name, finalizers, owners)).unwrap();
    if let Some(phase) = phase {
        let mut state = world.server.lock();
        assert!(state.write(Actor::Scheduler, Verb::Patch, &key, json!({"spec": {"nodeName": "n"}}), false));
        assert!(state.write(Actor::Kubelet, Verb::Patch, &key, json!({"status": {"phase": phase}}), true));
    }
    key
}

fn remove_finalizers(world: &World, key: &Key) {
    world.server.user(Verb::Patch, key, json!({"metadata": {"finalizers": null}})).unwrap();
}

#[test]
fn a_pod_that_is_unscheduled_or_ended_is_deleted_at_once() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        for (name, phase) in [("unscheduled", None), ("ended", Some("Failed"))] {
            let key = add_pod(&world, name, &[], phase, &[]);
            pods.delete(name, &DeleteParams::default()).await.unwrap();
            assert!(world.object(&key).is_none(), "{name}");
        }
    });
}

#[test]
fn a_running_pod_waits_for_its_kubelet() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        let key = add_pod(&world, "p", &[], Some("Running"), &[]);
        let generation = world.object(&key).unwrap()["metadata"]["generation"].as_i64().unwrap();
        pods.delete("p", &DeleteParams::default()).await.unwrap();
        let metadata = world.object(&key).unwrap()["metadata"].clone();
        assert_eq!(metadata["deletionGracePeriodSeconds"], 30);
        assert_eq!(metadata["generation"], generation + 1, "a deletion is a new generation");
        let due: jiff::Timestamp = metadata["deletionTimestamp"].as_str().unwrap().parse().unwrap();
        assert!((29..=30).contains(&(due - world.clock.now()).get_seconds()), "the deletion time includes the grace");
        let version = metadata["resourceVersion"].clone();
        pods.delete("p", &DeleteParams::default().grace_period(40)).await.unwrap();
        assert_eq!(world.object(&key).unwrap()["metadata"]["resourceVersion"], version, "grace cannot be prolonged");
        pods.delete("p", &DeleteParams::default().grace_period(5)).await.unwrap();
        assert_eq!(world.object(&key).unwrap()["metadata"]["deletionGracePeriodSeconds"], 5);
        pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
        assert!(world.object(&key).is_none());
    });
}

#[test]
fn an_object_stays_until_its_last_finalizer_is_removed() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        let key = add_pod(&world, "p", &[OURS], None, &[]);
        pods.delete("p", &DeleteParams::default()).await.unwrap();
        assert_eq!(world.object(&key).unwrap()["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(code(pods.create(&kube::api::PostParams::default(), &typed(pod("p", &[], &[]))).await), 409);
        let more = json!({"metadata": {"finalizers": [OURS, "late.dev/x"]}});
        assert_eq!(world.server.user(Verb::Patch, &key, more).unwrap_err().code, 422);
        remove_finalizers(&world, &key);
        assert!(world.object(&key).is_none());

        let key = add_pod(&world, "q", &[OURS], Some("Running"), &[]);
        pods.delete("q", &DeleteParams::default()).await.unwrap();
        remove_finalizers(&world, &key);
        assert!(world.object(&key).is_some(), "the kubelet has not ended it yet");
        pods.delete("q", &DeleteParams::default().grace_period(0)).await.unwrap();
        assert!(world.object(&key).is_none());
    });
}

#[test]
fn preconditions_guard_a_delete() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        let key = add_pod(&world, "p", &[], None, &[]);
        let metadata = world.object(&key).unwrap()["metadata"].clone();
        let text = |field: &str| metadata[field].as_str().map(ToString::to_string);
        let delete = |uid: Option<String>, version: Option<String>| {
            DeleteParams::default().preconditions(Preconditions { uid, resource_version: version })
        };
        assert_eq!(code(pods.delete("p", &delete(Some("another".into()), None)).await), 409);
        assert_eq!(code(pods.delete("p", &delete(text("uid"), Some("1".into()))).await), 409);
        pods.delete("p", &delete(text("uid"), text("resourceVersion"))).await.unwrap();
        assert_eq!(code(pods.delete("p", &delete(text("uid"), None)).await), 404);
    });
}

/// A task with a Pod that has our finalizer and one without. The task is deleted in this way, and the collector has run.
async fn cascade(world: &World, propagation: &str) -> (Key, Key, Key) {
    tokio::spawn(collect_garbage(world.server.clone(), 1));
    let owner = task_key("t");
    let task = world.server.user(Verb::Create, &owner, task("t")).unwrap();
    let with_finalizer = add_pod(world, "with-finalizer", &[OURS], Some("Failed"), &[&task]);
    let without_finalizer = add_pod(world, "without-finalizer", &[], Some("Failed"), &[&task]);
    world.server.user(Verb::Delete, &owner, json!({"propagationPolicy": propagation})).unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    (owner, with_finalizer, without_finalizer)
}

#[test]
fn background_deletion_takes_the_owner_first() {
    calm(|world: World| async move {
        let (owner, with_finalizer, without_finalizer) = cascade(&world, "Background").await;
        assert!(world.object(&owner).is_none() && world.object(&without_finalizer).is_none());
        assert!(world.object(&with_finalizer).unwrap()["metadata"]["deletionTimestamp"].is_string());
        remove_finalizers(&world, &with_finalizer);
        assert!(world.object(&with_finalizer).is_none());
    });
}

#[test]
fn foreground_deletion_keeps_the_owner_until_the_dependents_are_gone() {
    calm(|world: World| async move {
        let (owner, with_finalizer, without_finalizer) = cascade(&world, "Foreground").await;
        assert!(world.object(&without_finalizer).is_none());
        assert_eq!(world.finalizers(&owner), json!([FOREGROUND]));
        assert_eq!(world.object(&owner).unwrap()["metadata"]["generation"], 2);
        remove_finalizers(&world, &with_finalizer);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(world.object(&with_finalizer).is_none() && world.object(&owner).is_none());
    });
}

#[test]
fn orphaning_leaves_the_dependents_without_owner() {
    calm(|world: World| async move {
        let (owner, with_finalizer, without_finalizer) = cascade(&world, "Orphan").await;
        assert!(world.object(&owner).is_none());
        for key in [with_finalizer, without_finalizer] {
            let metadata = world.object(&key).unwrap()["metadata"].clone();
            assert!(metadata["ownerReferences"].is_null() && metadata["deletionTimestamp"].is_null());
        }
    });
}

#[test]
fn an_object_created_for_a_deleted_owner_is_collected() {
    calm(|world: World| async move {
        tokio::spawn(collect_garbage(world.server.clone(), 1));
        let owner = task_key("t");
        let task = world.server.user(Verb::Create, &owner, task("t")).unwrap();
        world.server.user(Verb::Delete, &owner, Value::Null).unwrap();
        let key = add_pod(&world, "p", &[], None, &[&task]);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(world.object(&key).is_none());
    });
}
