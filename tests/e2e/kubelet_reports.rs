//! What is recorded of a kubelet's report: long messages, truncated termination messages, evictions, containers that
//! never started.

use crate::support::events::{classes, failed};
use crate::support::manifest::IMAGE;
use crate::support::{Scene, sh, task};
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, HistoryEntry, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

fn at_once() -> Value {
    json!({"strategy": "Fixed", "initialDelaySeconds": 0})
}

fn message(entry: &HistoryEntry) -> &str {
    entry.message.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn a_rule_matches_a_line_in_the_middle_of_a_stack_trace() {
    let scene = Scene::new("trace").await;
    let _operator = scene.operator().await;
    let script = r#"
        for i in 1 2 3 4 5; do echo "INFO step $i of the import has been done, going on with the next one of them"; done
        echo "java.io.IOException: HTTP 429 Too Many Requests"
        for i in $(seq 18); do echo "	at com.example.orders.Importer.step$i(Importer.java:$i)"; done
        exit 1"#;
    let rule = json!({"name": "rate-limited", "when": {"message": "Too Many Requests"}, "action": "Fail"});
    scene.apply(&sh("trace", script, &json!({"maxRetries": 1, "rules": [rule]})));
    let status = scene.finished("trace").await;
    let line = "java.io.IOException: HTTP 429 Too Many Requests";
    let [entry] = status.history.as_slice() else { panic!("{status:#?}") };
    assert_eq!((entry.rule.as_deref(), entry.action), (Some("rate-limited"), Action::Fail));
    let text = message(entry);
    assert!(text.starts_with("INFO step 1") && text.contains(line) && text.ends_with("(Importer.java:18)"), "{text}");
    assert_eq!(status.message.as_deref(), Some(line));
    assert!(failed(&status).1.ends_with(&format!(": {line}")), "{:?}", failed(&status));
    assert_eq!(scene.event("trace", "RuleFailed").await, failed(&status).1);
}

#[tokio::test]
async fn the_message_is_the_last_meaningful_line() {
    let scene = Scene::new("last-line").await;
    let _operator = scene.operator().await;
    let script = "echo starting; echo loading 40 rows; echo 'FATAL: password expired' >&2; echo ----; echo; exit 1";
    scene.apply(&sh("last", script, &json!({"maxRetries": 1, "backoff": at_once()})));
    let status = scene.finished("last").await;
    let line = "FATAL: password expired";
    assert_eq!(status.message.as_deref(), Some(line));
    assert!(failed(&status).1.ends_with(&format!(": {line}")), "{:?}", failed(&status));
    let event = scene.event("last", "AttemptFailed").await;
    assert!(event.ends_with(&format!(": {line}")), "{event}");
    // The runtime reads standard output and standard error separately, so their order is undefined.
    let mut lines: Vec<_> = message(&status.history[0]).lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["----", line, "loading 40 rows", "starting"]);
    let wide = scene.kubectl(&["get", "rt", "last", "-o", "wide", "--no-headers"]).ok();
    assert!(wide.contains(line) && !wide.contains("starting"), "{wide}");
}

/// A report of more than the kubelet keeps, with what matters at its beginning.
fn report(zeros: usize) -> String {
    format!(
        r#"printf '{{"doNotRetry": true, "message": "row 7", "trace": "%0{zeros}d"}}' 0 > /dev/termination-log; exit 1"#
    )
}

#[tokio::test]
async fn a_truncated_report_says_so_and_counts_as_far_as_it_is_readable() {
    let scene = Scene::new("cut").await;
    let _operator = scene.operator().await;
    let once = json!({"maxRetries": 1, "backoff": at_once()});
    scene.apply(&sh("big", &report(4100), &once));
    let mut containers = vec![json!({"name": "task"})];
    containers.extend(["b", "c", "d"].map(|name| json!({"name": name, "image": IMAGE, "command": ["true"]})));
    let mut four = once.clone();
    four["template"] = json!({"spec": {"containers": containers}});
    scene.apply(&sh("four", &report(3600), &four));

    let big = scene.finished("big").await;
    assert_eq!(big.history.len(), 2, "{big:#?}");
    for entry in &big.history {
        let text = message(entry);
        assert!(text.starts_with("the termination report was longer than 4,096 bytes"), "{text}");
        assert!(text.contains("could not be read"), "{text}");
    }
    let four = scene.finished("four").await;
    assert_eq!(failed(&four).0, "DoNotRetry");
    let [entry] = four.history.as_slice() else { panic!("{four:#?}") };
    let output = "row 7\nthe termination report was cut at 3,072 bytes (4 containers share 12 KiB)";
    assert!(message(entry).starts_with(output), "{entry:#?}");
    assert_eq!(four.message.as_deref(), Some("row 7"));
}

#[tokio::test]
async fn seconds_may_have_a_fraction() {
    let scene = Scene::new("float").await;
    let _operator = scene.operator().await;
    let say = |seconds: &str| format!("echo '{{\"retryAfterSeconds\": {seconds}}}' > /dev/termination-log; exit 1");
    for (name, seconds) in [("float", "30.0"), ("text", "\"29.5\"")] {
        scene.apply(&sh(name, &say(seconds), &json!({"maxRetries": 1, "backoff": at_once()})));
        let status = scene.status(name, "its wait", |status| status.state == Some(State::Waiting)).await;
        let wait = status.history[0].delay_milliseconds.unwrap();
        assert!((30_000..=37_500).contains(&wait), "{name}: {wait} ms");
    }
}

#[tokio::test]
async fn an_eviction_gives_its_cause_before_the_log() {
    let scene = Scene::new("why-evicted").await;
    let _operator = scene.operator().await;
    let template = json!({"spec": {
        "terminationGracePeriodSeconds": 2,
        "containers": [{"name": "task", "volumeMounts": [{"name": "s", "mountPath": "/scratch"}]}],
        "volumes": [{"name": "s", "emptyDir": {"sizeLimit": "10Mi"}}]}});
    let script = "echo filling; dd if=/dev/zero of=/scratch/f bs=1M count=40; sleep 300";
    scene.apply(&sh("evicted", script, &json!({"maxRetries": 0, "template": template})));
    let status = scene.finished("evicted").await;
    let [entry] = status.history.as_slice() else { panic!("{status:#?}") };
    assert_eq!(entry.reason, "Evicted");
    let cause = "Usage of EmptyDir volume \"s\" exceeds the limit \"10Mi\"";
    assert!(message(entry).starts_with(cause), "{entry:#?}");
    assert!(status.message.as_deref().unwrap_or_default().starts_with(cause), "{status:#?}");
    assert!(failed(&status).1.contains(cause), "{:?}", failed(&status));
}

#[tokio::test]
async fn times_are_not_before_the_pods_creation() {
    let scene = Scene::new("times").await;
    let _operator = scene.operator().await;
    let absent = json!({"image": IMAGE, "command": ["/no/such"]});
    let mut setup = absent.clone();
    setup["name"] = json!("setup");
    let setup = json!({"spec": {"initContainers": [setup]}});
    let fallback = json!({"maxRetries": 0, "onFailure": {"command": ["/no/such"]}});
    scene.apply(&sh("init", "true", &json!({"maxRetries": 0, "template": setup})));
    let mut main = absent.clone();
    main.as_object_mut().unwrap().extend(fallback.as_object().unwrap().clone());
    scene.apply(&task("main", &main));
    for name in ["main", "init"] {
        let created = scene.pod_of(name, 1).await.creation_timestamp().unwrap().0;
        let status = scene.finished(name).await;
        let [entry] = status.history.as_slice() else { panic!("{status:#?}") };
        assert_eq!(entry.reason, "StartError", "{entry:#?}");
        let (start, finish) = (entry.start_time.as_ref().unwrap().0, entry.finish_time.as_ref().unwrap().0);
        assert!(created <= start && start <= finish, "{created}: {entry:#?}");
        if let Some(fallback) = status.fallback {
            let (start, finish) = (fallback.start_time.as_ref().unwrap().0, fallback.finish_time.as_ref().unwrap().0);
            assert!(created <= start && start <= finish, "{created}: {fallback:#?}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_the_kubelet_rejects_is_charged_to_the_startup_budget() {
    let scene = Scene::new("turned-away").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("where", "true", &json!({})));
    let node = scene.finished("where").await.history[0].node_name.clone().unwrap();
    let spec = json!({"image": IMAGE, "command": ["true"], "resources": {"requests": {"cpu": "4k"}}, "maxRetries": 2,
        "budgets": {"startup": 1}, "backoff": at_once(), "template": {"spec": {"nodeName": node}}});
    scene.apply(&task("vast", &spec));
    let status = scene.finished("vast").await;
    let ends: Vec<_> = status.history.iter().map(|e| (e.reason.as_str(), e.rule.as_deref(), e.exit_code)).collect();
    assert_eq!(ends, [("OutOfcpu", Some("startup"), None); 2]);
    assert_eq!((classes(&status), status.retries), (vec![("startup", 2)], 0));
    assert_eq!((failed(&status).0, status.exhausted_budget.as_deref()), ("BudgetExhausted", Some("startup")));
    assert!(message(&status.history[0]).contains("cpu"), "{status:#?}");
}

#[tokio::test]
async fn a_success_during_which_a_child_ran_out_of_memory_says_so() {
    let scene = Scene::new("child-oom").await;
    let operator = scene.operator().await;
    let script = "sh -c 'tail /dev/zero'; echo the child ended with $?; exit 0";
    let spec = json!({"resources": {"limits": {"memory": "24Mi"}}, "onOutOfMemory": {}});
    scene.apply(&sh("parent", script, &spec));
    let status = scene.finished("parent").await;
    let [entry] = status.history.as_slice() else { panic!("{status:#?}") };
    assert_eq!((entry.reason.as_str(), entry.exit_code, entry.action), ("OOMKilled", Some(0), Action::Complete));
    assert_eq!((status.state, status.memory_raises), (Some(State::Succeeded), 0));
    let complete = condition_list::find(&status.conditions, ConditionType::Complete).unwrap();
    assert!(complete.message.contains("ran out of memory"), "{complete:?}");
    assert_eq!(scene.event("parent", "Succeeded").await, complete.message);
    let (of, metrics) = (&scene.namespace, operator.get("/metrics").1);
    let labels = format!(r#"namespace="{of}",queue="",result="Succeeded",reason="OOMKilled",retry="false""#);
    assert!(metrics.lines().any(|line| line == format!("retryabletask_attempts_total{{{labels}}} 1")), "{metrics}");
}

#[tokio::test]
async fn the_pods_own_deadline_has_a_reason_of_its_own() {
    let scene = Scene::new("pod-deadline").await;
    let _operator = scene.operator().await;
    let template = json!({"spec": {"activeDeadlineSeconds": 3, "terminationGracePeriodSeconds": 1}});
    let rule = json!({"name": "slow", "when": {"reasons": ["PodDeadlineExceeded"]}, "action": "Fail"});
    let more = json!({"maxRetries": 3, "template": template, "rules": [rule]});
    scene.apply(&sh("slow", "echo working; sleep 300", &more));
    let status = scene.finished("slow").await;
    let [entry] = status.history.as_slice() else { panic!("{status:#?}") };
    assert_eq!((entry.reason.as_str(), entry.rule.as_deref()), ("PodDeadlineExceeded", Some("slow")));
    assert!(message(entry).starts_with("Pod was active on the node longer than"), "{entry:#?}");
}
