//! Creating and changing objects.

use super::{World, calm, code, pod, pod_key, task, task_key, typed};
use crate::server::{Actor, Denial, Key, Resource, Schema, Verb};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::time::Duration;

fn params() -> PostParams {
    PostParams::default()
}

#[test]
fn create_fills_in_the_systems_metadata() {
    calm(|world: World| async move {
        let mut given = pod("p", &[], &[]);
        given["metadata"]["uid"] = json!("mine");
        given["metadata"]["generation"] = json!(7);
        given["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
        given["status"] = json!({"phase": "Failed"});
        let pods = world.api(Resource::Pods);
        let made = pods.create(&params(), &typed(given)).await.unwrap();
        assert_ne!(made.uid().unwrap(), "mine");
        assert_eq!(made.metadata.generation, Some(1));
        assert!(made.metadata.deletion_timestamp.is_none());
        let created = made.creation_timestamp().unwrap().0;
        assert_eq!(created.subsec_nanosecond(), 0, "times in metadata are whole seconds");
        assert!((world.clock.now() - created).get_seconds() < 2);
        assert_eq!(made.data["status"]["phase"], "Pending");
        assert_eq!(made.data["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(code(pods.create(&params(), &typed(pod("p", &[], &[]))).await), 409);
        let mut versioned = pod("q", &[], &[]);
        versioned["metadata"]["resourceVersion"] = json!("5");
        assert_eq!(code(pods.create(&params(), &typed(versioned)).await), 500);
    });
}

#[test]
fn invalid_objects_are_refused() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        let mut bad = pod("p", &[], &[]);
        bad["spec"]["containers"] = json!([]);
        assert_eq!(code(pods.create(&params(), &typed(bad)).await), 422);
        assert_eq!(code(pods.create(&params(), &typed(pod("Upper", &[], &[]))).await), 422);
        let mut labelled = pod("p", &[], &[]);
        labelled["metadata"]["labels"]["long"] = json!("x".repeat(64));
        assert_eq!(code(pods.create(&params(), &typed(labelled)).await), 422);
        let mut typo = pod("p", &[], &[]);
        typo["spec"]["containers"][0]["imagePulPolicy"] = json!("Always");
        let strict = |pod: Value| {
            let request = http::Request::post("/api/v1/namespaces/default/pods?fieldValidation=Strict");
            world.client.request::<Value>(request.body(pod.to_string().into_bytes()).unwrap())
        };
        assert_eq!(code(strict(typo).await), 400);
        strict(pod("p", &[], &[])).await.unwrap();
        let event =
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "r"});
        assert_eq!(code(world.api(Resource::Events).create(&params(), &typed(event)).await), 422);
    });
}

#[test]
fn update_needs_the_version_that_was_read() {
    calm(|world: World| async move {
        let made = world.server.user(Verb::Create, &task_key("t"), task("t")).unwrap();
        let changed = |value: &Value, message: &str| {
            let mut new = value.clone();
            new["status"] = json!({"message": message});
            typed(new)
        };
        let tasks = world.api(Resource::Tasks);
        let first = tasks.replace_status("t", &params(), &changed(&made, "one")).await.unwrap();
        assert_eq!(first.data["status"]["message"], "one");
        assert_eq!(code(tasks.replace_status("t", &params(), &changed(&made, "two")).await), 409);
        let mut unversioned = changed(&made, "three");
        unversioned.metadata.resource_version = None;
        assert_eq!(code(tasks.replace_status("t", &params(), &unversioned).await), 422);
        let mut other = changed(&made, "four");
        other.metadata.resource_version = first.resource_version();
        other.metadata.uid = Some("another".into());
        assert_eq!(code(tasks.replace_status("t", &params(), &other).await), 409);
        assert_eq!(code(tasks.replace_status("u", &params(), &typed(task("u"))).await), 404);
    });
}

#[test]
fn a_write_that_changes_nothing_makes_no_version() {
    calm(|world: World| async move {
        world.server.user(Verb::Create, &task_key("t"), task("t")).unwrap();
        let tasks = world.api(Resource::Tasks);
        let mut read = tasks.get("t").await.unwrap();
        read.data["status"] = json!({"message": "m"});
        let once = tasks.replace_status("t", &params(), &read).await.unwrap();
        let twice = tasks.replace_status("t", &params(), &once).await.unwrap();
        assert_eq!(once.resource_version(), twice.resource_version());
        assert_ne!(once.resource_version(), read.resource_version());
    });
}

#[test]
fn status_and_spec_are_written_separately() {
    calm(|world: World| async move {
        let key = task_key("t");
        world.server.user(Verb::Create, &key, task("t")).unwrap();
        let tasks = world.api(Resource::Tasks);
        let mut read = tasks.get("t").await.unwrap();
        read.data["status"] = json!({"state": "Running"});
        read.data["spec"]["image"] = json!("smuggled");
        read.metadata.labels = Some([("a".to_string(), "b".to_string())].into());
        read.metadata.finalizers = Some(vec!["x.dev/y".into()]);
        tasks.replace_status("t", &params(), &read).await.unwrap();
        let now = world.object(&key).unwrap();
        assert_eq!(now["status"]["state"], "Running");
        assert_eq!(now["spec"]["image"], "a");
        assert!(now["metadata"]["labels"].is_null() && now["metadata"]["finalizers"].is_null());
        assert_eq!(now["metadata"]["generation"], 1, "a status write is no new generation");
        let mut edit = now.clone();
        edit["spec"]["image"] = json!("b");
        edit["status"] = json!({"state": "Forged"});
        let edited = world.server.user(Verb::Update, &key, edit).unwrap();
        assert_eq!((&edited["spec"]["image"], &edited["status"]["state"]), (&json!("b"), &json!("Running")));
        assert_eq!(edited["metadata"]["generation"], 2);
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        let labelled = world.server.user(Verb::Patch, &key, label).unwrap();
        assert_eq!(labelled["metadata"]["generation"], 2, "metadata is no new generation");
    });
}

#[test]
fn a_merge_patch_merges_removes_and_checks_the_version() {
    calm(|world: World| async move {
        let key = task_key("t");
        let made = world.server.user(Verb::Create, &key, task("t")).unwrap();
        let stale =
            json!({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"image": "c"}});
        let patched =
            world.server.user(Verb::Patch, &key, json!({"spec": {"maxRetries": null, "args": ["x"]}})).unwrap();
        assert_eq!(patched["spec"], json!({"image": "a", "args": ["x"]}));
        assert_eq!(world.server.user(Verb::Patch, &key, stale).unwrap_err().code, 409);
    });
}

#[test]
fn of_a_scheduled_pod_only_the_deadline_can_change_and_only_be_lowered() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        pods.create(&params(), &typed(pod("p", &[], &[]))).await.unwrap();
        world.server.user(Verb::Patch, &pod_key("p"), json!({"spec": {"nodeName": "node-1"}})).unwrap();
        let patch = async |spec: Value| {
            pods.patch("p", &PatchParams::default(), &Patch::Strategic(json!({"spec": spec}))).await
        };
        let deadline = |seconds: i64| json!({"activeDeadlineSeconds": seconds});
        for (seconds, accepted) in [(60, true), (61, false), (1, true), (0, false), (2, false)] {
            let answer = patch(deadline(seconds)).await;
            assert_eq!(answer.is_ok(), accepted, "{seconds}");
            assert!(accepted || code(answer) == 422, "{seconds}");
        }
        assert_eq!(code(patch(json!({"activeDeadlineSeconds": null})).await), 422);
        assert_eq!(code(patch(json!({"terminationGracePeriodSeconds": 1})).await), 422);
    });
}

#[test]
fn a_strategic_patch_removes_one_finalizer_of_the_right_pod() {
    calm(|world: World| async move {
        let pods = world.api(Resource::Pods);
        let finalizers = ["retryable.dev/attempt", "other.dev/x"];
        let made = pods.create(&params(), &typed(pod("p", &finalizers, &[]))).await.unwrap();
        let patch = |uid: &str| {
            let remove = json!({"$deleteFromPrimitiveList/finalizers": ["retryable.dev/attempt"], "uid": uid});
            Patch::Strategic(json!({"metadata": remove}))
        };
        let wrong = pods.patch("p", &PatchParams::default(), &patch("another")).await;
        assert_eq!(code(wrong), 422, "another UID is an immutable field to the API server, and not a conflict");
        let right = pods.patch("p", &PatchParams::default(), &patch(&made.uid().unwrap())).await.unwrap();
        assert_eq!(right.finalizers(), ["other.dev/x"]);
        let again = pods.patch("p", &PatchParams::default(), &patch(&made.uid().unwrap())).await.unwrap();
        assert_eq!(again.resource_version(), right.resource_version());
        assert_eq!(code(pods.patch("q", &PatchParams::default(), &patch("u")).await), 404);
        let tasks = world.api(Resource::Tasks);
        assert_eq!(code(tasks.patch("t", &PatchParams::default(), &patch("u")).await), 415);
    });
}

#[test]
fn the_operator_can_do_what_its_role_says_and_nothing_else() {
    calm(|world: World| async move {
        world.server.user(Verb::Create, &task_key("t"), task("t")).unwrap();
        let tasks = world.api(Resource::Tasks);
        let read = tasks.get("t").await.unwrap();
        assert_eq!(code(tasks.replace("t", &params(), &read).await), 403);
        assert_eq!(code(world.api(Resource::Nodes).list(&kube::api::ListParams::default()).await), 403);
        let until = Duration::from_secs(60);
        let quota = Denial { until, why: "exceeded quota".into(), ..Denial::of(Verb::Create, Resource::Pods) };
        world.server.lock().policies.denials.push(quota);
        let pods = world.api(Resource::Pods);
        assert_eq!(code(pods.create(&params(), &typed(pod("p", &[], &[]))).await), 403);
        tokio::time::sleep(Duration::from_secs(60)).await;
        pods.create(&params(), &typed(pod("p", &[], &[]))).await.unwrap();
    });
}

#[test]
fn the_schema_prunes_sets_defaults_and_validates() {
    calm(|world: World| async move {
        let status = json!({"type": "object", "properties": {"message": {"type": "string", "maxLength": 3}}});
        let inner = json!({"type": "object", "properties": {"n": {"type": "integer", "default": 1}}});
        let spec = json!({"type": "object", "required": ["image"], "properties": {
            "image": {"type": "string"}, "inner": inner,
            "maxRetries": {"type": "integer", "default": 3, "minimum": 0},
            "template": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let schema = json!({"type": "object", "properties": {"spec": spec, "status": status}});
        let definition = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
        world.server.lock().schema = Schema::of(&definition);
        let key = task_key("t");
        let create = |spec: Value| {
            let mut object = task("t");
            object["spec"] = spec;
            world.server.user(Verb::Create, &key, object)
        };
        assert_eq!(create(json!({})).unwrap_err().code, 422);
        assert_eq!(create(json!({"image": 5})).unwrap_err().code, 422);
        assert_eq!(create(json!({"image": "a", "maxRetries": -1})).unwrap_err().code, 422);
        assert_eq!(create(json!({"image": null})).unwrap_err().code, 422);
        let made = create(json!({"image": "a", "typo": 1, "inner": {}, "template": {"any": 1}})).unwrap();
        assert_eq!(made["spec"], json!({"image": "a", "maxRetries": 3, "inner": {"n": 1}, "template": {"any": 1}}));
        let tasks = world.api(Resource::Tasks);
        let mut read = tasks.get("t").await.unwrap();
        read.data["status"] = json!({"message": "long"});
        assert_eq!(code(tasks.replace_status("t", &params(), &read).await), 422);
        read.data["status"] = json!({"message": "ok", "unknown": true});
        let written = tasks.replace_status("t", &params(), &read).await.unwrap();
        assert_eq!(written.data["status"], json!({"message": "ok"}));
    });
}

#[test]
fn a_recreated_object_is_another_one() {
    calm(|world: World| async move {
        let key: Key = task_key("t");
        let first = world.server.user(Verb::Create, &key, task("t")).unwrap();
        world.server.user(Verb::Delete, &key, Value::Null).unwrap();
        let second = world.server.user(Verb::Create, &key, task("t")).unwrap();
        assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
        let made = world.server.lock().store.changes().iter().filter(|c| c.actor == Actor::User).count();
        assert_eq!(made, 3);
        assert!(world.object(&pod_key("t")).is_none());
    });
}
