//! The process's probes, metrics, logs and traces.

use crate::support::manifest::UNTIL_STOPPED;
use crate::support::{Operator, Scene, eventually, sh};
use retryable_tasks::api::{RetryableTaskStatus, State};
use retryable_tasks::core::schedule::database_version;
use retryable_tasks::core::trace_context::trace_id;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn the_probes_and_the_metrics_answer() {
    let scene = Scene::new("probes").await;
    let operator = scene.operator_with(&["--metrics-task-labels", "team"]).at_work().await;
    assert_eq!(operator.get("/healthz"), (200, "ok\n".into()));
    assert_eq!(operator.get("/readyz"), (200, "ok\n".into()));
    assert_eq!(operator.get("/nothing").0, 404);
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1, "jitter": {"mode": "None"}});
    scene.apply(&sh("good", "true", &json!({})));
    scene.apply(&sh("bad", "exit 1", &json!({"maxRetries": 1, "backoff": backoff})));
    scene.apply(&sh("stopped", UNTIL_STOPPED, &json!({})));
    scene.running("stopped", 1).await;
    scene.patch_spec("stopped", &json!({"suspend": true}));
    scene.finished("good").await;
    scene.finished("bad").await;
    let suspended = |status: &RetryableTaskStatus| status.state == Some(State::Suspended);
    scene.status("stopped", "its suspension", suspended).await;
    let expected = [
        r#"retryabletask_attempts_total{IN,result="Succeeded",reason="Completed",retry="false"} 1"#,
        r#"retryabletask_attempts_total{IN,result="Failed",reason="Error",retry="false"} 1"#,
        r#"retryabletask_attempts_total{IN,result="Failed",reason="Error",retry="true"} 1"#,
        r#"retryabletask_attempts_total{IN,result="Ignored",reason="Suspended",retry="false"} 1"#,
        r#"retryabletask_finished_total{IN,result="Succeeded",reason="Succeeded",retried="false"} 1"#,
        r#"retryabletask_finished_total{IN,result="Failed",reason="RetriesExhausted",retried="true"} 1"#,
        r#"retryabletask_tasks{OF,state="Succeeded"} 1"#,
        r#"retryabletask_tasks{OF,state="Failed"} 1"#,
        r#"retryabletask_tasks{OF,state="Suspended"} 1"#,
        r#"retryabletask_tasks{OF,state="Running"} 0"#,
        "retryabletask_retry_delay_seconds_sum 1.0",
        "retryabletask_retry_delay_seconds_count 1",
        "retryabletask_retry_lag_seconds_count 1",
        "retryabletask_leader 1",
        concat!("retryabletask_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",tzdata=\"ZONES\"} 1"),
        r#"retryabletask_api_requests_total{verb="create",resource="pods",code="201"} 4"#,
    ];
    let of = format!(r#"namespace="{}""#, scene.namespace);
    let expected = expected.map(|line| {
        line.replace("IN", &format!(r#"{of},queue="",label_team="""#))
            .replace("OF", &of)
            .replace("ZONES", database_version())
    });
    eventually("the metrics", async || {
        let (code, text) = operator.get("/metrics");
        let missing: Vec<&String> = expected.iter().filter(|line| !text.lines().any(|l| l == *line)).collect();
        if code == 200 && missing.is_empty() { Ok(()) } else { Err(format!("{missing:#?} are not in\n{text}")) }
    })
    .await;
    assert!(operator.terminate().await.success());
}

#[tokio::test]
async fn logs_in_json_name_the_task_and_its_trace() {
    let scene = Scene::new("logs").await;
    let operator = Operator::spawn(&scene.operator_user(), &scene.namespace, &["--log-format", "json"]).at_work().await;
    scene.apply(&sh("logged", "echo no disk; exit 3", &json!({"maxRetries": 0})));
    scene.finished("logged").await;
    let uid = scene.task("logged").await.metadata.uid.unwrap();
    let log = operator.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    let of_task: Vec<String> = log.lines().filter(|line| line.contains(r#""logged""#)).map(ToOwned::to_owned).collect();
    assert!(of_task.len() > 3, "{log}");
    for line in &of_task {
        assert!(line.contains(&trace_id(&uid)) && line.contains(&scene.namespace), "{line}");
    }
    let ended = lines.iter().find(|line| line.to_string().contains("the attempt ended")).expect("it is told");
    let fields = ended.to_string();
    for part in [r#""attempt":1"#, r#""reason":"Error""#, r#""exit_code":3"#, "no disk"] {
        assert!(fields.contains(part), "{part} is not in {fields}");
    }
}

/// A collector of traces on this machine. Its address, and the spans that it was sent.
async fn collector() -> (String, Arc<Mutex<Vec<Value>>>) {
    let spans = Arc::new(Mutex::new(Vec::new()));
    let taken = spans.clone();
    let take = async move |body: String| {
        let mut request: Value = serde_json::from_str(&body).unwrap();
        let sent = request["resourceSpans"][0]["scopeSpans"][0]["spans"].take();
        taken.lock().unwrap().extend(sent.as_array().cloned().unwrap_or_default());
        "{}"
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (address, spans)
}

#[tokio::test]
async fn a_collector_gets_each_attempt_under_the_id_that_its_pod_has() {
    let (scene, (address, spans)) = (Scene::new("traces").await, collector().await);
    let _operator = scene.operator_with(&["--otlp-endpoint", &address]).at_work().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1, "jitter": {"mode": "None"}});
    scene.apply(&sh("traced", "echo $TRACEPARENT; exit 1", &json!({"maxRetries": 1, "backoff": backoff})));
    let status = scene.finished("traced").await;
    let named = |name: &str| -> Vec<Value> {
        spans.lock().unwrap().iter().filter(|span| span["name"] == *name).cloned().collect()
    };
    eventually("the spans", async || {
        if named("task").len() == 1 { Ok(()) } else { Err(format!("{:?}", spans.lock().unwrap())) }
    })
    .await;
    let (root, attempts, waits) = (named("task").remove(0), named("attempt"), named("back-off"));
    assert_eq!((attempts.len(), waits.len()), (2, 1));
    for (span, entry) in attempts.iter().zip(&status.history) {
        let [trace, id] = [&span["traceId"], &span["spanId"]].map(|id| id.as_str().unwrap());
        assert_eq!(
            entry.message.as_deref().unwrap().trim(),
            format!("00-{trace}-{id}-01"),
            "what its program was told"
        );
        assert_eq!(span["parentSpanId"], root["spanId"]);
        assert_eq!(span["status"]["code"], 2, "{span}");
    }
    assert_eq!((waits[0]["parentSpanId"].clone(), root["parentSpanId"].clone()), (root["spanId"].clone(), Value::Null));
}

/// A collector that takes connections and never answers. Its address; it hangs as long as the other value is kept.
async fn hanging_collector() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let hanging = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
        }
    });
    (address, hanging)
}

#[tokio::test]
async fn a_collector_that_hangs_costs_its_spans_and_nothing_else() {
    let (scene, (address, hanging)) = (Scene::new("traces-hang").await, hanging_collector().await);
    let operator = scene.operator_with(&["--otlp-endpoint", &address]).at_work().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0, "jitter": {"mode": "None"}});
    for number in 0..5 {
        scene.apply(&sh(&format!("traced-{number}"), "test $RETRYABLE_ATTEMPT -ge 3", &json!({"backoff": backoff})));
    }
    for number in 0..5 {
        let status = scene.finished(&format!("traced-{number}")).await;
        assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 3));
    }
    // Each task has its root and three attempts at least. None waits for ever, and none was taken.
    eventually("the spans to be dropped", async || {
        let text = operator.get("/metrics").1;
        let count = |result: &str| {
            let name = format!("retryabletask_spans_total{{result=\"{result}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).and_then(|number| number.parse::<u32>().ok())
        };
        let counts = (count("Sent"), count("Dropped"));
        if counts.0 == Some(0) && counts.1 >= Some(20) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert!(operator.log().contains("the collector does not take spans"), "the log does not say so");
    assert!(operator.terminate().await.success(), "it does not end because the collector hangs");
    hanging.abort();
}
