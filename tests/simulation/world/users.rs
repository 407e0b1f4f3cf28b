//! Users who create, edit, suspend, resume, delete and recreate tasks.

use super::{
    plan::{Plan, spec},
    queues::{new_spec, queue_ref},
};
use crate::{
    random::Random,
    server::{Key, Resource, Server, Verb},
};
use retryable_tasks::{
    api::{ANNOTATION_CANCEL, ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN, LABEL_TASK_UID},
    core::pod_name::pod_name,
};
use serde_json::{Value, json};

/// Creates one of the plan's tasks, and changes it until the faults end.
pub async fn own(server: Server, plan: Plan, index: usize) {
    let (namespace, name, spec) = plan.tasks[index].clone();
    let key = Key::new(Resource::Tasks, namespace, name);
    let mut random = Random::fork(plan.seed, &format!("user/{}", key.name));
    tokio::time::sleep(random.skewed(20_000)).await;
    create(&server, &key, spec);
    if !plan.users {
        return;
    }
    loop {
        tokio::time::sleep(random.skewed(240_000)).await;
        if server.lock().store.clock.elapsed() >= plan.trouble {
            break;
        }
        meddle(&server, &plan, &key, &mut random).await;
    }
    // Half of the suspended tasks are resumed. The others stay suspended, and must not be written any more.
    if random.chance(500) {
        patch(&server, &key, json!({"spec": {"suspend": false}}));
    }
}

async fn meddle(server: &Server, plan: &Plan, key: &Key, random: &mut Random) {
    if !plan.queues.is_empty() && random.chance(100) {
        // What an attempt holds stays; the next one asks the new queue, or none.
        let queue = if random.chance(700) { queue_ref(random, false) } else { Value::Null };
        return patch(server, key, json!({"spec": {"queue": queue}}));
    }
    match random.below(15) {
        0..=2 => {
            let suspended = server.lock().store.get(key).is_some_and(|task| task["spec"]["suspend"] == json!(true));
            patch(server, key, json!({"spec": {"suspend": !suspended}}));
        }
        3 | 4 => {
            let mut edit = spec(random, true);
            if let Some(edit) = edit.as_object_mut() {
                edit.remove("suspend");
            }
            patch(server, key, json!({"spec": edit}));
        }
        5 => {
            // Another writer of the same object.
            for n in 0..random.below(40) {
                touch(server, key, &n.to_string());
                tokio::time::sleep(random.skewed(200)).await;
            }
        }
        6 | 7 => {
            let policy = random.pick(&["Background", "Foreground", "Orphan"]);
            let _ = server.user(Verb::Delete, key, json!({"propagationPolicy": policy}));
            tokio::time::sleep(random.skewed(60_000)).await;
            create(server, key, new_spec(plan, random));
        }
        8 => {
            let _ = server.user(Verb::Delete, key, json!({}));
            create(server, key, new_spec(plan, random));
        }
        9 if server.lock().store.get(key).is_some_and(|task| task["status"]["completionTime"].is_string()) => {
            // A time to live that comes after the end, or changes then.
            patch(server, key, json!({"spec": {"ttlSecondsAfterFinished": random.below(600)}}));
        }
        9 => create(server, key, new_spec(plan, random)),
        10 => take_name(server, key, random).await,
        11 => copy_pod(server, key, random).await,
        _ => {
            let request =
                random.pick(&[ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN, ANNOTATION_RUN_AGAIN, ANNOTATION_CANCEL]);
            patch(server, key, json!({"metadata": {"annotations": {request: random.next().to_string()}}}));
        }
    }
}

/// A foreign Pod has the name of an attempt for a while.
async fn take_name(server: &Server, key: &Key, random: &mut Random) {
    let Some(task) = server.lock().store.get(key).cloned() else { return };
    let uid = task["metadata"]["uid"].as_str().unwrap_or("");
    let number = task["status"]["current"]["number"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(1);
    let next = i32::from(random.chance(700));
    let name = pod_name(&key.name, uid, number.saturating_add(next));
    let spec = json!({"containers": [{"name": "main", "image": "registry.example/other:1"}]});
    lend(server, key, random, json!({"metadata": {"name": name}, "spec": spec})).await;
}

/// A user copies a Pod of the task, with its labels and owner, under another name.
async fn copy_pod(server: &Server, key: &Key, random: &mut Random) {
    let pod = {
        let state = server.lock();
        let Some(uid) = state.store.get(key).map(|task| task["metadata"]["uid"].clone()) else { return };
        let mut pods = state.store.all(Resource::Pods).map(|(_, pod)| pod);
        pods.find(|pod| pod["metadata"]["labels"][LABEL_TASK_UID] == uid).cloned()
    };
    let Some(pod) = pod else { return };
    let old = &pod["metadata"];
    let name = format!("{}-copy", old["name"].as_str().unwrap_or(""));
    let metadata = json!({"name": name, "labels": old["labels"], "ownerReferences": old["ownerReferences"]});
    let mut spec = pod["spec"].clone();
    spec.as_object_mut().map(|spec| spec.remove("nodeName"));
    lend(server, key, random, json!({"metadata": metadata, "spec": spec})).await;
}

/// Creates a Pod in the task's namespace, and deletes it some time later. Does nothing if the Pod exists.
async fn lend(server: &Server, task: &Key, random: &mut Random, mut pod: Value) {
    (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
    let key = Key::new(Resource::Pods, task.namespace.clone(), pod["metadata"]["name"].as_str().unwrap_or(""));
    let Ok(pod) = server.user(Verb::Create, &key, pod) else { return };
    tokio::time::sleep(random.skewed(200_000)).await;
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}});
    // The garbage collector may have deleted it first.
    let _ = server.user(Verb::Delete, &key, options);
}

/// Does nothing if the task exists.
#[allow(clippy::needless_pass_by_value)] // callers build it in place
fn create(server: &Server, key: &Key, spec: Value) {
    let metadata = json!({"name": key.name, "namespace": key.namespace});
    let task =
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": metadata, "spec": spec});
    if let Err(error) = server.user(Verb::Create, key, task) {
        assert_eq!(error.code, 409, "a task of the simulation is not admitted: {error:?}");
    }
}

/// Writes an annotation without meaning, which causes a reconcile.
pub fn touch(server: &Server, key: &Key, value: &str) {
    patch(server, key, json!({"metadata": {"annotations": {"seen": value}}}));
}

/// Does nothing if there is no such task.
fn patch(server: &Server, key: &Key, change: Value) {
    if let Err(error) = server.user(Verb::Patch, key, change) {
        assert_eq!(error.code, 404, "an edit of the simulation is not admitted: {error:?}");
    }
}
