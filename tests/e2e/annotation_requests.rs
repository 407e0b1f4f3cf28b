//! Requests by annotation: retry now, run again, cancel.

use crate::support::manifest::UNTIL_STOPPED;
use crate::support::record::Record;
use crate::support::{Scene, eventually, sh, task};
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, RetryableTask, RetryableTaskStatus, Run, State, StopReason};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

fn is(state: State) -> impl Fn(&RetryableTaskStatus) -> bool {
    move |status| status.state == Some(state)
}

/// Attempts are an hour apart.
fn an_hour() -> Value {
    json!({"strategy": "Fixed", "initialDelaySeconds": 3600, "jitter": {"mode": "None"}})
}

fn at_once() -> Value {
    json!({"strategy": "Fixed", "initialDelaySeconds": 0})
}

/// Annotation, value and effect of every acknowledged request.
fn acknowledged(status: &RetryableTaskStatus) -> Vec<(&str, &str, &str)> {
    let all = status.acknowledged.iter();
    all.map(|acknowledged| {
        (acknowledged.annotation.as_str(), acknowledged.value.as_str(), acknowledged.effect.as_str())
    })
    .collect()
}

/// Attempt, run, reason and action of each entry of the history.
fn ends(status: &RetryableTaskStatus) -> Vec<(i32, Option<i32>, &str, Action)> {
    status.history.iter().map(|entry| (entry.attempt, entry.run, entry.reason.as_str(), entry.action)).collect()
}

/// Why the task was cancelled: the message of its conditions.
#[track_caller]
fn cancelled(status: &RetryableTaskStatus) -> &str {
    assert_eq!(status.state, Some(State::Cancelled), "{status:#?}");
    assert!(status.current.is_none() && status.next_retry_time.is_none(), "{status:#?}");
    let [failed, finished] =
        [ConditionType::Failed, ConditionType::Finished].map(|type_| condition_list::find(&status.conditions, type_));
    for condition in [failed.unwrap(), finished.unwrap()] {
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "Cancelled"), "{condition:?}");
    }
    assert_eq!(acknowledged(status), [("retryable.dev/cancel", "please", "the task was cancelled")]);
    &failed.unwrap().message
}

/// What `kubectl get` has in the column STATE.
fn state_shown(scene: &Scene, name: &str) -> String {
    let shown = scene.kubectl(&["get", "rt", name, "--no-headers"]).ok();
    shown.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

/// Causes a reconcile of the task and waits for it.
async fn looked_at(scene: &Scene, name: &str, history_limit: i32) -> RetryableTaskStatus {
    scene.patch_spec(name, &json!({"historyLimit": history_limit}));
    let generation = scene.task(name).await.metadata.generation;
    scene.status(name, "another look", |status| status.observed_generation == generation).await
}

#[tokio::test]
async fn retry_now_skips_the_wait_once_for_each_value() {
    let scene = Scene::new("retry-now").await;
    let operator = scene.operator().await;
    scene.apply(&sh("patient", "test $RETRYABLE_ATTEMPT -ge 3", &json!({"backoff": an_hour()})));
    scene.status("patient", "its wait", is(State::Waiting)).await;
    scene.ask("patient", "retry-now", "1");
    let second = |status: &RetryableTaskStatus| status.state == Some(State::Waiting) && status.history.len() == 2;
    let status = scene.status("patient", "the wait after attempt 2", second).await;
    let first = ("retryable.dev/retry-now", "1", "the wait for attempt 2 was skipped");
    assert_eq!(acknowledged(&status), [first]);
    assert_eq!(scene.event("patient", "RetryNow").await, first.2);
    assert!(status.next_retry_time.is_some(), "{status:#?}");

    // The annotation stays, and does not skip another wait, neither in this process nor in the next.
    assert!(second(&looked_at(&scene, "patient", 30).await));
    operator.kill_9();
    let _operator = scene.operator().await;
    let status = looked_at(&scene, "patient", 31).await;
    assert!(second(&status) && acknowledged(&status) == [first], "{status:#?}");

    scene.ask("patient", "retry-now", "2");
    let status = scene.finished("patient").await;
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 3, 2));
    assert_eq!(acknowledged(&status), [("retryable.dev/retry-now", "2", "the wait for attempt 3 was skipped")]);
    let meant: Vec<_> = status.history.iter().map(|entry| entry.delay_milliseconds).collect();
    assert_eq!(meant, [Some(3_600_000), Some(3_600_000), None], "the history says how long the wait was to be");
    scene.ask("patient", "retry-now", "3");
    let too_late = |status: &RetryableTaskStatus| acknowledged(status)[0].1 == "3";
    let after = scene.status("patient", "the answer", too_late).await;
    assert_eq!((acknowledged(&after)[0].2, after.attempts), ("the task had ended", 3));
}

#[tokio::test]
async fn retry_now_creates_a_rejected_pod_again_and_has_no_effect_while_one_runs() {
    let scene = Scene::new("retry-now-pod").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("running", UNTIL_STOPPED, &json!({})));
    scene.running("running", 1).await;
    scene.ask("running", "retry-now", "1");
    let answered = |status: &RetryableTaskStatus| !status.acknowledged.is_empty();
    let status = scene.status("running", "the answer", answered).await;
    assert_eq!(acknowledged(&status)[0].2, "no effect: attempt 1 is running");
    assert_eq!((status.state, status.history.len()), (Some(State::Running), 0));

    scene.apply(&sh("rejected", "true", &json!({"template": {"spec": {"serviceAccountName": "later"}}})));
    let refused = |status: &RetryableTaskStatus| status.current.as_ref().is_some_and(|now| now.rejections > 0);
    scene.status("rejected", "a refusal", refused).await;
    let record = Record::of(&scene, "rejected").await;
    scene.ask("rejected", "retry-now", "1");
    let versions = record.until("the answer", answered).await;
    let status = versions.into_iter().filter_map(|task| task.status).find(answered).unwrap();
    assert_eq!(acknowledged(&status)[0].2, "the Pod of attempt 1 is created without further wait");
    scene.kubectl(&["create", "serviceaccount", "later"]).ok();
    let status = scene.finished("rejected").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 1), "{status:#?}");
}

/// Whether the status is that of run `number`, ended.
fn ended(number: i32) -> impl Fn(&RetryableTaskStatus) -> bool {
    move |status| {
        status.run.is_some_and(|run| run.number == number)
            && condition_list::is_true(&status.conditions, ConditionType::Finished)
    }
}

/// The first version of each run but the first, and that there was none in between: either the old run's end or the
/// new run's beginning, in one write.
#[track_caller]
fn beginnings(versions: &[RetryableTask]) -> Vec<RetryableTaskStatus> {
    let statuses: Vec<_> = versions.iter().filter_map(|task| task.status.clone()).collect();
    let mut beginnings = Vec::new();
    for pair in statuses.windows(2) {
        let finished =
            [&pair[0], &pair[1]].map(|status| condition_list::is_true(&status.conditions, ConditionType::Finished));
        if pair[0].run == pair[1].run {
            assert!(!finished[0] || finished[1], "a run ended and went on: {pair:#?}");
        } else {
            assert_eq!(finished, [true, false], "{pair:#?}");
            beginnings.push(pair[1].clone());
        }
    }
    beginnings
}

#[tokio::test]
async fn run_again_has_a_new_budget_and_keeps_the_history() {
    let scene = Scene::new("run-again").await;
    let _operator = scene.operator().await;
    let record = Record::of(&scene, "phoenix").await;
    // The third run succeeds only if its environment has no failure of the second run.
    let script =
        "test $RETRYABLE_ATTEMPT = 5 && exec test -z \"$RETRYABLE_LAST_REASON\"; test $RETRYABLE_ATTEMPT -ge 4";
    scene.apply(&sh("phoenix", script, &json!({"maxRetries": 1, "backoff": at_once()})));
    let first = scene.finished("phoenix").await;
    assert_eq!((first.state, first.run), (Some(State::Failed), None));
    scene.ask("phoenix", "run-again", "after-the-fix");
    let second = scene.status("phoenix", "the end of the second run", ended(2)).await;
    let failed = |attempt, run, action| (attempt, run, "Error", action);
    let before = [failed(1, None, Action::Retry), failed(2, None, Action::Fail), failed(3, Some(2), Action::Retry)];
    let succeeded = |attempt, run| (attempt, Some(run), "Completed", Action::Complete);
    assert_eq!(ends(&second), [&before[..], &[succeeded(4, 2)]].concat());
    assert_eq!((second.state, second.attempts, second.retries), (Some(State::Succeeded), 4, 1));
    let effect = "run 2 begins with attempt 3";
    assert_eq!(acknowledged(&second), [("retryable.dev/run-again", "after-the-fix", effect)]);
    assert_eq!(scene.event("phoenix", "RunAgain").await, effect);

    // After a success too, and once for each value.
    scene.ask("phoenix", "run-again", "once-more");
    let third = scene.status("phoenix", "the end of the third run", ended(3)).await;
    assert_eq!(ends(&third)[4..], [succeeded(5, 3)]);
    assert_eq!((third.state, third.attempts, third.retries), (Some(State::Succeeded), 5, 0));
    let looked = looked_at(&scene, "phoenix", 30).await;
    assert_eq!((looked.run, looked.attempts), (third.run, 5));

    let versions = record.until("the last look", |status| status.observed_generation == Some(2)).await;
    let beginnings = beginnings(&versions);
    let runs: Vec<_> = beginnings.iter().map(|status| status.run.unwrap()).collect();
    assert_eq!(runs, [Run { number: 2, first_attempt: 3 }, Run { number: 3, first_attempt: 5 }]);
    for status in beginnings {
        for ended in [ConditionType::Complete, ConditionType::Failed, ConditionType::Finished, ConditionType::Stalled] {
            assert!(condition_list::find(&status.conditions, ended).is_none(), "{status:#?}");
        }
        assert_eq!((status.retries, &status.completion_time, &status.duration), (0, &None, &None));
        assert_eq!((&status.last_failure, &status.reason, &status.exhausted_budget), (&None, &None, &None));
    }
}

#[tokio::test]
async fn cancelled_while_it_runs_it_gets_its_grace_period() {
    let scene = Scene::new("cancel-run").await;
    let operator = scene.operator().await;
    // Longer than a Pod that is killed without grace. Its last output and its own exit code show that it had its grace.
    let tidy = "trap 'sleep 5; echo tidied up; exit 7' TERM; : >/dev/shm/ready; while :; do sleep 1 & wait $!; done";
    let grace = json!({"spec": {"terminationGracePeriodSeconds": 100}});
    scene.apply(&sh("tidy", tidy, &json!({"backoff": at_once(), "template": grace})));
    let pod = scene.running("tidy", 1).await;
    scene.ready(&pod.name_any()).await;
    scene.ask("tidy", "cancel", "please");
    // Killed after the intent is stored. Whether the Pod is being deleted by then makes no difference.
    let intended = |status: &RetryableTaskStatus| {
        status.current.as_ref().is_none_or(|now| now.stop_reason == Some(StopReason::Cancelled))
    };
    scene.status("tidy", "the intent to stop it", intended).await;
    operator.kill_9();
    let _operator = scene.operator().await;
    let status = scene.finished("tidy").await;
    let message = cancelled(&status);
    assert!(message.starts_with("cancelled by the user during attempt 1"), "{message}");
    assert_eq!(ends(&status), [(1, None, "Cancelled", Action::Fail)]);
    let entry = &status.history[0];
    assert_eq!((entry.exit_code, entry.message.as_deref()), (Some(7), Some("tidied up")), "{entry:#?}");
    assert_eq!((entry.pod_uid.as_ref(), status.attempts, status.retries), (pod.uid().as_ref(), 1, 0));
    assert_eq!(state_shown(&scene, "tidy"), "Cancelled");
    assert_eq!(scene.event("tidy", "Cancelled").await, message);
    let pods = scene.pods_of("tidy").await;
    assert!(pods.iter().all(|other| other.uid() == pod.uid()), "{pods:#?}");
}

#[tokio::test]
async fn cancelled_while_it_waits_or_is_suspended_or_before_it_began() {
    let scene = Scene::new("cancel-idle").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("waiting", "echo nobody home; exit 4", &json!({"backoff": an_hour()})));
    scene.apply(&sh("suspended", "true", &json!({"suspend": true})));
    // A copy of a cancelled task has the annotation from the start.
    let mut copy = sh("copy", "true", &json!({}));
    copy["metadata"]["annotations"] = json!({"retryable.dev/cancel": "please"});
    scene.apply(&copy);
    scene.status("waiting", "its wait", is(State::Waiting)).await;
    scene.status("suspended", "its suspension", is(State::Suspended)).await;
    for name in ["waiting", "suspended"] {
        scene.ask(name, "cancel", "please");
    }
    let status = scene.finished("waiting").await;
    let cause =
        "cancelled by the user before attempt 2; the last cause: attempt 1 ended with Error, exit code 4: nobody home";
    assert_eq!((cancelled(&status), status.attempts), (cause, 1));
    assert_eq!(state_shown(&scene, "waiting"), "Cancelled");
    for name in ["suspended", "copy"] {
        let status = scene.finished(name).await;
        assert_eq!((cancelled(&status), status.attempts), ("cancelled by the user before attempt 1", 0), "{name}");
        assert!(scene.pods_of(name).await.is_empty(), "{name}");
    }
    // A cancelled task can run again: the cancellation is acknowledged and does not count twice.
    scene.patch_spec("suspended", &json!({"suspend": false}));
    scene.ask("suspended", "run-again", "1");
    let status = scene.status("suspended", "the end of its run", ended(2)).await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 1), "{status:#?}");
}

#[tokio::test]
async fn requested_while_no_operator_runs() {
    let scene = Scene::new("asked-down").await;
    let operator = scene.operator().await;
    let spec = json!({"backoff": an_hour()});
    scene.apply(&sh("waiting", "test $RETRYABLE_ATTEMPT -ge 2", &spec));
    scene.apply(&sh("ended", "test $RETRYABLE_ATTEMPT -ge 2", &json!({"maxRetries": 0})));
    scene.apply(&sh("running", UNTIL_STOPPED, &json!({})));
    scene.status("waiting", "its wait", is(State::Waiting)).await;
    scene.finished("ended").await;
    scene.running("running", 1).await;
    operator.kill_9();
    scene.ask("waiting", "retry-now", "1");
    scene.ask("ended", "run-again", "1");
    scene.ask("running", "cancel", "please");
    let operator = scene.operator().await;
    // Killed again as soon as one of them is acknowledged.
    let any = async || {
        for name in ["waiting", "ended", "running"] {
            let status = scene.task(name).await.status.unwrap();
            if !status.acknowledged.is_empty() || status.current.is_some_and(|now| now.stop_reason.is_some()) {
                return Ok(());
            }
        }
        Err("none is")
    };
    eventually("one of them to be heard", any).await;
    operator.kill_9();
    let _operator = scene.operator().await;
    let waiting = scene.finished("waiting").await;
    assert_eq!((waiting.state, waiting.attempts, waiting.retries), (Some(State::Succeeded), 2, 1), "{waiting:#?}");
    let again = scene.status("ended", "the end of its second run", ended(2)).await;
    assert_eq!((again.state, again.attempts, again.retries), (Some(State::Succeeded), 2, 0), "{again:#?}");
    cancelled(&scene.finished("running").await);
}

#[tokio::test]
async fn a_changed_spec_holds_from_the_next_attempt_on_and_the_history_says_which() {
    let scene = Scene::new("edited").await;
    let _operator = scene.operator().await;
    let script = format!("test \"$WORD\" = new && exit 0; {UNTIL_STOPPED}");
    let word = |word: &str| json!([{"name": "WORD", "value": word}]);
    scene.apply(&sh("edited", &script, &json!({"env": word("old"), "backoff": at_once()})));
    let pod = scene.running("edited", 1).await;
    scene.patch_spec("edited", &json!({"env": word("new")}));
    let seen = |status: &RetryableTaskStatus| status.observed_generation == Some(2);
    let status = scene.status("edited", "the new spec to be seen", seen).await;
    assert_eq!((status.state, status.attempts), (Some(State::Running), 1), "the attempt goes on");
    scene.kubectl(&["delete", "pod", &pod.name_any(), "--wait=false"]).ok();
    let status = scene.finished("edited").await;
    assert_eq!(ends(&status), [(1, None, "PodDeleted", Action::Retry), (2, None, "Completed", Action::Complete)]);
    let generations: Vec<_> = status.history.iter().map(|entry| entry.generation).collect();
    assert_eq!(generations, [Some(1), Some(2)]);
}

#[tokio::test]
async fn a_task_that_cannot_run_can_be_cancelled() {
    let scene = Scene::new("cancel-stalled").await;
    let _operator = scene.operator().await;
    let policy = json!({"memoryMultiplier": 2});
    let spec = json!({"image": crate::support::manifest::IMAGE, "command": ["true"], "onOutOfMemory": policy});
    scene.apply(&task("stalled", &spec));
    let stalled = |status: &RetryableTaskStatus| condition_list::is_true(&status.conditions, ConditionType::Stalled);
    scene.status("stalled", "Stalled", stalled).await;
    scene.apply(&sh("rejected", "true", &json!({"template": {"spec": {"serviceAccountName": "nobody"}}})));
    scene.status("rejected", "Stalled", stalled).await;
    for name in ["stalled", "rejected"] {
        scene.ask(name, "cancel", "please");
        let status = scene.finished(name).await;
        assert!(cancelled(&status).starts_with("cancelled by the user before attempt 1"), "{status:#?}");
        assert_eq!((status.attempts, scene.pods_of(name).await.len()), (0, 0));
    }
}
