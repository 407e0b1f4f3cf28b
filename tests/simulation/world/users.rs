//! People who create tasks, edit them, suspend and resume them, delete them and create them again.

use super::plan::{Plan, spec};
use crate::{
    random::Random,
    server::{Key, Resource, Server, Verb},
};
use retryable_tasks::api::{ANNOTATION_CANCEL, ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN};
use serde_json::{Value, json};

/// Creates one of the plan's tasks, and meddles with it until trouble ends.
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
        meddle(&server, &key, &mut random).await;
    }
    // What is left suspended would wait for ever; half of it is resumed, the other half must keep still.
    if random.chance(500) {
        patch(&server, &key, json!({"spec": {"suspend": false}}));
    }
}

async fn meddle(server: &Server, key: &Key, random: &mut Random) {
    match random.below(13) {
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
            // Somebody else who writes the same object again and again.
            for n in 0..random.below(40) {
                patch(server, key, json!({"metadata": {"annotations": {"seen": n.to_string()}}}));
                tokio::time::sleep(random.skewed(200)).await;
            }
        }
        6 | 7 => {
            let policy = random.pick(&["Background", "Foreground", "Orphan"]);
            let _ = server.user(Verb::Delete, key, json!({"propagationPolicy": policy}));
            tokio::time::sleep(random.skewed(60_000)).await;
            create(server, key, spec(random, true));
        }
        8 => {
            let _ = server.user(Verb::Delete, key, json!({}));
            create(server, key, spec(random, true));
        }
        9 => create(server, key, spec(random, true)),
        _ => {
            let request =
                random.pick(&[ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN, ANNOTATION_RUN_AGAIN, ANNOTATION_CANCEL]);
            patch(server, key, json!({"metadata": {"annotations": {request: random.next().to_string()}}}));
        }
    }
}

/// Does nothing where there is such a task.
#[allow(clippy::needless_pass_by_value)] // it is made for this
fn create(server: &Server, key: &Key, spec: Value) {
    let metadata = json!({"name": key.name, "namespace": key.namespace});
    let task =
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": metadata, "spec": spec});
    if let Err(error) = server.user(Verb::Create, key, task) {
        assert_eq!(error.code, 409, "a task of the simulation is not admitted: {error:?}");
    }
}

/// Does nothing where there is no such task.
fn patch(server: &Server, key: &Key, change: Value) {
    if let Err(error) = server.user(Verb::Patch, key, change) {
        assert_eq!(error.code, 404, "an edit of the simulation is not admitted: {error:?}");
    }
}
