//! The examples of `ValidatingAdmissionPolicy`, on a real API server.

use crate::support::{Scene, eventually, kubectl, sh};
use serde_json::{Value, json};

/// The answer to a manifest that is tried without being stored.
fn answer(scene: &Scene, manifest: &Value) -> Result<String, String> {
    scene.try_apply(manifest, &["--dry-run=server"]).result()
}

#[tokio::test]
async fn policies_refuse_what_they_say_and_nothing_else() {
    let scene = Scene::new("policies").await;
    let queue = || json!({"queue": {"name": "mail"}, "maxRetries": 20});
    scene.apply(&sh("before", "true", &json!({"suspend": true})));
    // They hold in namespaces with this label alone, so that no other test sees them.
    kubectl(&["label", "namespace", &scene.namespace, "team=policies"]).ok();
    kubectl(&["apply", "--server-side", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/policies")]).ok();
    let refused = async |what: &str, manifest: &Value, words: &str| {
        eventually(what, async || match answer(&scene, manifest) {
            Err(said) if said.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    };
    let schedule = |spec: &Value| {
        let mut task = json!({"image": "busybox"});
        task.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "template": {"spec": task}}})
    };
    let no_queue = "name a TaskQueue in spec.queue.name";
    let too_many = "maxRetries is 21, and at most 20 here";
    let many = json!({"queue": {"name": "mail"}, "maxRetries": 21});
    refused("a task without a queue is refused", &sh("none", "true", &json!({})), no_queue).await;
    refused("a schedule without a queue is refused", &schedule(&json!({})), no_queue).await;
    refused("a task with many retries is refused", &sh("many", "true", &many), too_many).await;
    refused("a schedule with many retries is refused", &schedule(&many), too_many).await;
    answer(&scene, &sh("fine", "true", &queue())).unwrap();
    answer(&scene, &schedule(&queue())).unwrap();
    // What was there before can still be asked something.
    scene.ask("before", "cancel", "1");
    assert!(answer(&scene, &sh("before", "false", &json!({"suspend": true}))).unwrap_err().contains(no_queue));
}
