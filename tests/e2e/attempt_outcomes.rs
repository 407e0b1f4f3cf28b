//! How containers end, and the outcome that is recorded.

use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::{Record, assert_waits};
use crate::support::{Scene, eventually, sh, task};
use k8s_openapi::api::core::v1::Pod;
use retryable_tasks::api::{Action, ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::json;

/// Number, exit code, reason and action of each attempt.
fn ends(status: &RetryableTaskStatus) -> Vec<(i32, Option<i32>, &str, Action)> {
    status.history.iter().map(|e| (e.attempt, e.exit_code, e.reason.as_str(), e.action)).collect()
}

fn messages(status: &RetryableTaskStatus) -> Vec<&str> {
    status.history.iter().map(|entry| entry.message.as_deref().unwrap_or_default()).collect()
}

/// Reason and message of a condition that is true.
fn condition(status: &RetryableTaskStatus, type_: ConditionType) -> (String, String) {
    let found = condition_list::find(&status.conditions, type_).unwrap_or_else(|| panic!("no {type_:?}: {status:#?}"));
    assert_eq!(found.status, "True", "{found:?}");
    (found.reason.clone(), found.message.clone())
}

#[tokio::test]
async fn exit_0_is_success() {
    let scene = Scene::new("exit-0").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("easy", "echo done", &json!({})));
    let status = scene.finished("easy").await;
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 1, 0));
    assert_eq!(ends(&status), [(1, Some(0), "Completed", Action::Complete)]);
    let output = ("Succeeded".into(), "attempt 1 succeeded".into());
    assert_eq!(condition(&status, ConditionType::Complete), output);
    assert_eq!(condition(&status, ConditionType::Finished), output);
    assert_eq!(scene.event("easy", "Succeeded").await, "attempt 1 succeeded");
    assert_eq!(status.last_failure, None);
}

#[tokio::test]
async fn exit_3_with_two_retries_is_three_attempts() {
    let scene = Scene::new("exit-3").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "hopeless").await;
    let script = "echo the depot is closed, said $RETRYABLE_ATTEMPT; exit 3";
    scene.apply(&sh("hopeless", script, &json!({"maxRetries": 2})));
    let versions = record.until_finished().await;
    let late = assert_waits(&scene, &versions);
    eprintln!("from due to the Pod's creation: {late:?}");
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Failed), 3, 2));
    let failed = |n, action| (n, Some(3), "Error", action);
    assert_eq!(ends(status), [failed(1, Action::Retry), failed(2, Action::Retry), failed(3, Action::Fail)]);
    let output = |n: i32| format!("the depot is closed, said {n}");
    assert_eq!(messages(status), [output(1), output(2), output(3)]);
    let end = "maxRetries (2) exhausted after 3 attempts; the last ended with Error, exit code 3: \
               the depot is closed, said 3";
    for type_ in [ConditionType::Failed, ConditionType::Finished, ConditionType::Stalled] {
        assert_eq!(condition(status, type_), ("RetriesExhausted".into(), end.into()));
    }
    assert_eq!(scene.event("hopeless", "RetriesExhausted").await, end);
    let failures = scene.event("hopeless", "AttemptFailed").await;
    assert!(
        failures.contains("ended with Error, exit code 3; attempt") && failures.contains(" is due in "),
        "{failures}"
    );
}

#[tokio::test]
async fn the_third_attempt_may_succeed() {
    let scene = Scene::new("third").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "lucky").await;
    let script = "echo attempt $RETRYABLE_ATTEMPT; test $RETRYABLE_ATTEMPT -ge 3";
    scene.apply(&sh("lucky", script, &json!({})));
    let versions = record.until_finished().await;
    assert_waits(&scene, &versions);
    let status = versions.last().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 3, 2));
    let failed = |n| (n, Some(1), "Error", Action::Retry);
    assert_eq!(ends(status), [failed(1), failed(2), (3, Some(0), "Completed", Action::Complete)]);
    assert_eq!(&messages(status)[..2], ["attempt 1", "attempt 2"]);
    assert_eq!(condition(status, ConditionType::Complete).1, "attempt 3 succeeded");
}

#[tokio::test]
async fn max_retries_0_runs_once() {
    let scene = Scene::new("once").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("once", "echo no >&2; exit 9", &json!({"maxRetries": 0})));
    let status = scene.finished("once").await;
    assert_eq!(ends(&status), [(1, Some(9), "Error", Action::Fail)]);
    assert_eq!((status.attempts, status.retries), (1, 0));
    let end = "the only attempt failed (maxRetries 0); the last ended with Error, exit code 9: no";
    assert_eq!(condition(&status, ConditionType::Failed), ("RetriesExhausted".into(), end.into()));
}

#[tokio::test]
async fn out_of_memory_is_recorded() {
    let scene = Scene::new("oom").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "hungry").await;
    let limited = json!({"maxRetries": 1, "resources": {"limits": {"memory": "16Mi"}}});
    scene.apply(&sh("hungry", "exec dd if=/dev/zero of=/dev/null bs=200M count=1", &limited));
    let status = scene.finished("hungry").await;
    let killed = |n, action| (n, Some(137), "OOMKilled", action);
    assert_eq!(ends(&status), [killed(1, Action::Retry), killed(2, Action::Fail)]);
    assert!(status.history.iter().all(|entry| entry.signal == Some(9)), "{:#?}", status.history);
    let (_, end) = condition(&status, ConditionType::Failed);
    assert!(end.contains("the last ended with OOMKilled, exit code 137"), "{end}");
    no_rule_is_broken(&scene, &record, false).await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_shown_while_it_waits() {
    let scene = Scene::new("no-image").await;
    let _operator = scene.operator().await;
    let never = json!({"spec": {"containers": [{"name": "task", "imagePullPolicy": "Never"}]}});
    scene.apply(&task("absent", &json!({"image": "registry.invalid/absent:1", "template": never})));
    scene.apply(&task("refused", &json!({"image": "127.0.0.1:9/refused:1", "maxRetries": 0})));
    let pending = |reasons: &'static [&'static str]| {
        move |status: &RetryableTaskStatus| {
            status.state == Some(State::Pending) && status.reason.as_deref().is_some_and(|r| reasons.contains(&r))
        }
    };
    let absent = scene.status("absent", "ErrImageNeverPull", pending(&["ErrImageNeverPull"])).await;
    assert!(absent.message.as_deref().unwrap_or_default().contains("registry.invalid/absent:1"), "{absent:#?}");
    let refused = scene.status("refused", "a pull that fails", pending(&["ErrImagePull", "ImagePullBackOff"])).await;
    assert!(refused.message.as_deref().unwrap_or_default().contains("127.0.0.1:9/refused:1"), "{refused:#?}");
    let shown = scene.kubectl(&["get", "rt", "absent", "--no-headers"]).ok();
    let cells: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(cells[..4], ["absent", "Pending", "1", "ErrImageNeverPull"]);

    // It goes on when the user corrects the image in time.
    scene.patch_spec("absent", &json!({"image": IMAGE, "args": ["true"]}));
    let status = scene.finished("absent").await;
    assert_eq!(status.history.iter().map(|e| e.action).collect::<Vec<_>>(), [Action::Ignore, Action::Complete]);
    assert_eq!(status.history[0].reason, "SpecChanged");
}

#[tokio::test]
async fn a_failed_init_container_is_named() {
    let scene = Scene::new("init").await;
    let _operator = scene.operator().await;
    let prepare = json!({"name": "prepare", "image": IMAGE,
        "terminationMessagePolicy": "FallbackToLogsOnError", "command": ["sh", "-c", "echo no disk; exit 7"]});
    let template = json!({"spec": {"initContainers": [prepare]}});
    scene.apply(&sh("unprepared", "true", &json!({"maxRetries": 0, "template": template})));
    let status = scene.finished("unprepared").await;
    assert_eq!(ends(&status), [(1, Some(7), "Error", Action::Fail)]);
    assert_eq!(status.history[0].container.as_deref(), Some("prepare"));
    assert_eq!(messages(&status), ["no disk"]);
}

#[tokio::test]
async fn a_native_sidecar_does_not_decide() {
    let scene = Scene::new("sidecar").await;
    let _operator = scene.operator().await;
    let sidecar = json!({"name": "proxy", "image": IMAGE, "restartPolicy": "Always",
        "command": ["sh", "-c", UNTIL_STOPPED]});
    let template = json!({"spec": {"initContainers": [sidecar]}});
    scene.apply(&sh("good", "true", &json!({"template": template})));
    scene.apply(&sh("bad", "exit 5", &json!({"template": template, "maxRetries": 0})));
    let good = scene.finished("good").await;
    assert_eq!(ends(&good), [(1, Some(0), "Completed", Action::Complete)]);
    let bad = scene.finished("bad").await;
    assert_eq!(ends(&bad), [(1, Some(5), "Error", Action::Fail)]);
    assert_eq!(bad.history[0].container.as_deref(), Some("task"));
}

#[tokio::test]
async fn a_container_that_runs_on_is_stopped() {
    let scene = Scene::new("outlived").await;
    let _operator = scene.operator().await;
    let other = json!({"name": "mesh", "image": IMAGE,
        "command": ["sh", "-c", UNTIL_STOPPED]});
    let containers = json!([{"name": "task"}, other]);
    let template = json!({"spec": {"terminationGracePeriodSeconds": 5, "containers": containers}});
    scene.apply(&sh("good", "true", &json!({"template": template})));
    scene.apply(&sh("bad", "echo broken; exit 5", &json!({"template": template, "maxRetries": 0})));
    let good = scene.finished("good").await;
    assert_eq!(ends(&good), [(1, Some(0), "Completed", Action::Complete)]);
    let bad = scene.finished("bad").await;
    assert_eq!(ends(&bad), [(1, Some(5), "Error", Action::Fail)]);
    assert_eq!((bad.history[0].container.as_deref(), messages(&bad)[0]), (Some("task"), "broken"));
    let note = scene.event("good", "ContainersStopped").await;
    assert!(note.contains("these still run: mesh"), "{note}");
    for name in ["good", "bad"] {
        eventually("the other container to be stopped", async || {
            let pods = scene.pods_of(name).await;
            if pods.iter().any(runs) { Err(format!("{pods:#?}")) } else { Ok(()) }
        })
        .await;
    }
}

#[tokio::test]
async fn with_all_containers_none_is_stopped_and_the_first_failure_gives_the_reason() {
    let scene = Scene::new("all-containers").await;
    let _operator = scene.operator().await;
    let other = |script: &str| json!({"name": "upload", "image": IMAGE, "command": ["sh", "-c", script]});
    let spec = |script: &str| {
        let template = json!({"spec": {"containers": [{"name": "task"}, other(script)]}});
        json!({"completion": "AllContainers", "maxRetries": 0, "template": template})
    };
    // It runs on for longer than a container may that does not decide the outcome.
    scene.apply(&sh("fails-late", "echo made the report", &spec("sleep 6; echo the upload was refused; exit 9")));
    scene.apply(&sh("both-fail", "sleep 4; exit 3", &spec("echo first; exit 9")));
    scene.apply(&sh("succeeds-late", "true", &spec("sleep 6")));
    let mut limited = spec("sleep 600");
    limited["attemptTimeoutSeconds"] = json!(5);
    limited["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    scene.apply(&sh("runs-on", "true", &limited));
    for name in ["fails-late", "both-fail"] {
        let failed = scene.finished(name).await;
        assert_eq!(ends(&failed), [(1, Some(9), "Error", Action::Fail)], "{name}");
        assert_eq!(failed.history[0].container.as_deref(), Some("upload"), "{name}");
    }
    assert_eq!(messages(&scene.finished("fails-late").await)[0], "the upload was refused");
    assert_eq!(ends(&scene.finished("succeeds-late").await), [(1, Some(0), "Completed", Action::Complete)]);
    assert_eq!(scene.finished("runs-on").await.history[0].reason, "AttemptTimeout");
}

fn runs(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    statuses.iter().any(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
}
