//! A stored task that the operator cannot deserialize, among healthy ones. Admission refuses such a task, so it must have
//! been stored under an older definition.

use crate::support::cluster::program;
use crate::support::kubectl::run;
use crate::support::oracle::{ExpectedRun, has_no_finalizer, nothing_more_is_written};
use crate::support::record::Record;
use crate::support::{Scene, eventually, kubectl, kubectl_with, sh};
use serde_json::{Value, json};

const NAME: &str = "poison";
const WRONG: &str = "as many as it takes";

/// The definition lets everything in, until this is dropped.
struct Lax;

impl Lax {
    fn new() -> Self {
        let mut definition: Value = serde_yaml_ng::from_str(&strict()).unwrap();
        for version in definition["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]["openAPIV3Schema"] = anything();
        }
        let lax = Self;
        apply(&definition.to_string());
        lax
    }
}

/// Only the fields that can be selected have a type.
fn anything() -> Value {
    let object = |properties: Value| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties});
    let queue = object(json!({"name": {"type": "string"}}));
    object(json!({"spec": object(json!({"queue": queue})), "status": object(json!({"state": {"type": "string"}}))}))
}

impl Drop for Lax {
    fn drop(&mut self) {
        apply(&strict());
    }
}

fn strict() -> String {
    run(program().args(["crd", "retryabletasks"]), "").ok()
}

fn apply(definition: &str) {
    let args = ["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-"];
    kubectl_with(&args, definition).ok();
}

fn poison() -> Value {
    let mut task = sh(NAME, "true", &json!({}));
    task["spec"]["maxRetries"] = WRONG.into();
    task
}

#[tokio::test]
async fn an_unreadable_task_is_reported_and_delays_no_other() {
    let scene = Scene::alone("poison").await;
    let unlucky = |name: &str| crate::faults::unlucky(name, 1, 1);
    let early = Record::of(&scene, "early").await;
    let operator = scene.operator().await;
    let lax = Lax::new();
    eventually("the poison to be let in", async || scene.try_apply(&poison(), &["--validate=false"]).result()).await;
    scene.apply(&unlucky("early"));
    drop(lax);
    eventually("the definition to be strict again", async || {
        let mut other = poison();
        other["metadata"]["name"] = "other".into();
        match scene.try_apply(&other, &["--dry-run=server", "--validate=false"]).result() {
            Ok(let_in) => Err(let_in),
            Err(problem) if problem.contains("spec.maxRetries") => Ok(()),
            Err(problem) => Err(problem),
        }
    })
    .await;
    // One operator has it in its watch, and one in its first list. A change of the definition ends all watches, the
    // record's too.
    ExpectedRun::of(1).interrupted().is_recorded(&scene, &early).await;
    is_told_to_be_unreadable(&scene).await;
    operator.kill_9();
    let late = Record::of(&scene, "late").await;
    let _operator = scene.operator().await;
    scene.apply(&unlucky("late"));
    ExpectedRun::of(1).is_recorded(&scene, &late).await;
    is_told_to_be_unreadable(&scene).await;
    for name in ["early", "late"] {
        has_no_finalizer(&scene, name).await;
    }

    // A record reads it too, so it is cured first, and may have begun before anybody watches.
    scene.patch_spec(NAME, &json!({"maxRetries": 1}));
    let cured = Record::of(&scene, NAME).await;
    ExpectedRun::of(0).interrupted().is_recorded(&scene, &cured).await;
    has_no_finalizer(&scene, NAME).await;
    nothing_more_is_written(&scene).await;
}

async fn is_told_to_be_unreadable(scene: &Scene) {
    eventually("the poison's owner to be told", async || {
        let task = kubectl(&["get", "retryabletask", NAME, "--namespace", &scene.namespace, "-o", "json"]).ok();
        let task: Value = serde_json::from_str(&task).unwrap();
        let conditions = task["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let stalled = |one: &Value| one["type"] == "Stalled" && one["status"] == "True";
        let recorded = conditions.iter().find(|one| stalled(one));
        let says =
            recorded.is_some_and(|one| one["message"].as_str().is_some_and(|words| words.contains("cannot read")));
        if says { Ok(()) } else { Err(task["status"].to_string()) }
    })
    .await;
}
