//! The Python package in a container: what its termination report becomes in the task's status.

use crate::support::kubectl::run;
use crate::support::{Scene, eventually, task};
use retryable_tasks::api::{Action, ConditionType, HistoryEntry, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::OnceLock;

const IMAGE: &str = "docker.io/library/python-task:1";
static LOADED: OnceLock<()> = OnceLock::new();

/// Packs the machine's Python with the package and the tests' jobs, once, and loads the image.
fn load_image() {
    LOADED.get_or_init(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let (script, archive) = (
            format!("{root}/tests/e2e/python_package/pack_image.py"),
            format!("{}/python.tar", env!("CARGO_TARGET_TMPDIR")),
        );
        let [package, jobs] =
            ["sdk/python/src", "tests/e2e/python_package/jobs"].map(|folder| format!("{root}/{folder}"));
        run(Command::new("python3").args([&script, IMAGE, &archive, &package, &jobs]), "").ok();
        run(Command::new(format!("{root}/tests/cluster/cluster")).args(["image", &archive]), "").ok();
    });
}

/// A task that runs a function of `jobs.py`, with more fields of its spec in `more`.
fn python(name: &str, function: &[&str], more: &Value) -> Value {
    let args = [&["-m", "retryable_task"], function].concat();
    let mut manifest = task(name, &json!({"image": IMAGE, "args": args, "maxRetries": 0}));
    manifest["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manifest
}

#[tokio::test]
async fn exceptions_choose_the_rule_and_the_delay_and_what_is_returned_is_the_result() {
    load_image();
    let scene = Scene::new("python-retries").await;
    let _operator = scene.operator().await;
    let rules =
        json!([{"name": "network", "when": {"errorTypes": ["ConnectionError"]}, "action": "Retry", "maxRetries": 5}]);
    let backoff = json!({"initialDelaySeconds": 0, "jitter": {"mode": "None"}});
    scene.apply(&python("load", &["jobs:load", "2026-11-22"], &json!({"rules": rules, "backoff": backoff})));
    let status = scene.finished("load").await;
    assert_eq!(status.state, Some(State::Succeeded), "{status:#?}");
    let [first, second, _] = status.history.as_slice() else { panic!("{:#?}", status.history) };
    let rule = |entry: &HistoryEntry| (entry.rule.clone(), entry.error_type.clone());
    let network = (Some("network".to_owned()), Some("Unavailable".to_owned()));
    assert_eq!((rule(first), rule(second)), (network.clone(), network));
    assert_eq!(first.message.as_deref(), Some("Unavailable: orders-db:5432 refused (jobs.py:18 in load)"));
    assert_eq!((first.delay_milliseconds, second.delay_milliseconds), (Some(0), Some(2000)));
    assert_eq!(status.result.as_deref(), Some(r#"{"attempt":3,"checkpoint":{"row":7},"day":"2026-11-22"}"#));
}

#[tokio::test]
async fn do_not_retry_ends_the_task() {
    load_image();
    let scene = Scene::new("python-refuses").await;
    let _operator = scene.operator().await;
    scene.apply(&python("refuse", &["jobs:refuse"], &json!({"maxRetries": 5})));
    let status = scene.finished("refuse").await;
    let failed = condition_list::find(&status.conditions, ConditionType::Failed).unwrap();
    assert_eq!((failed.reason.as_str(), status.history.len()), ("DoNotRetry", 1));
    assert_eq!(status.history[0].action, Action::Fail);
}

#[tokio::test]
async fn sigterm_reaches_the_first_process_of_a_container() {
    load_image();
    let scene = Scene::new("python-stops").await;
    let _operator = scene.operator().await;
    scene.apply(&python(
        "wait",
        &["jobs:wait"],
        &json!({"template": {"spec": {"terminationGracePeriodSeconds": 120}}}),
    ));
    let pod = scene.running("wait", 1).await.metadata.name.unwrap();
    eventually("the function to run", async || {
        let log = scene.kubectl(&["logs", &pod]).ok();
        if log.contains("ready") { Ok(()) } else { Err(log) }
    })
    .await;
    scene.ask("wait", "cancel", "1");
    let status = scene.finished("wait").await;
    let only = &status.history[0];
    assert_eq!((only.reason.as_str(), only.exit_code), ("Cancelled", Some(143)), "{only:#?}");
    assert!(only.message.as_deref().is_some_and(|message| message.starts_with("stopped by SIGTERM (jobs.py:")));
}
