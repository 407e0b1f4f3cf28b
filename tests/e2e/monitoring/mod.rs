//! A storm of failures, as the people on call see it: alerts that fire and resolve, dashboards with data.

mod prometheus;

use crate::support::kubectl::run;
use crate::support::memory_group::MemoryGroup;
use crate::support::{Operator, Scene, eventually, sh, task};
use prometheus::{Prometheus, check_metrics};
use serde_json::{Value, json};
use std::process::Command;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/retryable-tasks");
/// The time over which the alerts look back here, so that they resolve within the test.
const WINDOW: &str = "40s";

/// The chart's alerts, as quick as its values can make them.
fn rules() -> Value {
    let quick = json!({
        "RetryableTasksFailing": {"window": WINDOW, "threshold": 3},
        "RetryableTasksFailureBurst": {"window": WINDOW, "threshold": 3},
        "RetryableTasksCircuitOpen": {"for": "2s"},
        "RetryableTasksPending": {"for": "1s", "threshold": 2},
        "RetryableTasksQueueHeld": {"for": "1s"},
    });
    let values = json!({"metrics": {
        "runbookUrl": "https://example.com/runbooks", "prometheusRule": {"enabled": true, "alerts": quick},
    }});
    let args = ["template", "retryable-tasks", CHART, "--show-only=templates/prometheusrule.yaml", "--values=-"];
    let rendered = run(Command::new("helm").args(args), &values.to_string()).ok();
    let mut rendered: Value = serde_yaml_ng::from_str(&rendered).unwrap();
    rendered["spec"].take()
}

/// The expressions of a dashboard, each with its panel's title; those of its variables too.
fn expressions(dashboard: &str) -> Vec<(String, String)> {
    let file = format!("{CHART}/files/dashboards/{dashboard}.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of_panel = |panel: &Value| {
        let title = text(&panel["title"]);
        list(&panel["targets"]).iter().map(|target| (title.clone(), text(&target["expr"]))).collect::<Vec<_>>()
    };
    let of_variable = |variable: &Value| {
        let query = variable["query"]["query"].as_str()?;
        let (series, label) = query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ").unwrap();
        Some((text(&variable["name"]), format!("count by ({label}) ({series})")))
    };
    let variables = list(&dashboard["templating"]["list"]);
    list(&dashboard["panels"]).iter().flat_map(of_panel).chain(variables.iter().filter_map(of_variable)).collect()
}

/// Whether the expression of a panel gives a number.
fn has_data(prometheus: &Prometheus, namespace: &str, expression: &str) -> Result<bool, String> {
    let variables = [("$__rate_interval", "10m"), ("$__range", "10m"), ("$namespace", namespace), ("$queue", ".*")];
    let expression = variables.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    let is_number = |series: &Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
    Ok(prometheus.query(&expression)?.iter().any(is_number))
}

/// What fails, recovers, waits and is stuck.
fn storm(scene: &Scene) {
    let object = |kind: &str, name: &str, spec: &Value| {
        scene.apply(&json!({
            "apiVersion": "retryable.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        }));
    };
    let breaker = json!({"openAfter": {"tasks": 2, "percent": 50}, "openSeconds": 2, "maxOpenSeconds": 600});
    object("TaskQueue", "service", &json!({"maxConcurrent": 2, "circuitBreaker": breaker}));
    object("TaskQueue", "held", &json!({"stopPolicy": "Hold"}));
    let run = json!({"image": "busybox:1", "command": ["true"]});
    object("TaskSchedule", "minutely", &json!({"schedule": "* * * * *", "template": {"spec": run}}));
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    for n in 0..6 {
        scene.apply(&sh(&format!("fails-{n}"), "sleep 1; exit 1", &json!({"maxRetries": 1, "backoff": backoff})));
    }
    for n in 0..2 {
        let script = "sleep 1; test $RETRYABLE_ATTEMPT -ge 2";
        scene.apply(&sh(&format!("recovers-{n}"), script, &json!({"backoff": backoff})));
    }
    for n in 0..4 {
        let spec = json!({"maxRetries": 50, "backoff": backoff, "queue": {"name": "service"}});
        scene.apply(&sh(&format!("calls-{n}"), "exit 1", &spec));
    }
    scene.apply(&task("stuck", &json!({"image": "none.invalid/nothing:1"})));
}

#[tokio::test]
async fn alerts_fire_and_resolve_and_dashboards_have_data() {
    let scene = Scene::new("monitoring").await;
    let namespace = scene.namespace.as_str();
    let group = MemoryGroup::new(namespace);
    group.limit(1 << 30);
    let operator = Operator::spawn_in(&group, &scene.operator_user(), namespace, &[]).at_work().await;
    let prometheus = Prometheus::start(&operator, &rules());
    eventually("the first scrape", async || {
        let leads = prometheus.query("retryabletask_leader == 1")?;
        if leads.is_empty() { Err("nobody leads".to_owned()) } else { Ok(()) }
    })
    .await;
    storm(&scene);

    let of_storm = [("namespace", namespace), ("reason", "RetriesExhausted")];
    let mut silent = vec![
        ("RetryableTasksFailing", of_storm),
        ("RetryableTasksFailureBurst", [("namespace", namespace), ("reason", "Error")]),
        ("RetryableTasksCircuitOpen", [("namespace", namespace), ("queue", "service")]),
        ("RetryableTasksQueueHeld", [("namespace", namespace), ("queue", "held")]),
        ("RetryableTasksPending", [("namespace", namespace), ("severity", "warning")]),
    ];
    let mut texts = json!(null);
    eventually("the alerts", async || {
        silent.retain(|(alert, labels)| match prometheus.firing(alert, labels) {
            None => true,
            Some(mut fires) => {
                if *labels == of_storm {
                    texts = fires["annotations"].take();
                }
                false
            }
        });
        if silent.is_empty() { Ok(()) } else { Err(format!("these have not fired: {silent:?}")) }
    })
    .await;
    assert_eq!(texts["summary"], format!("Tasks fail in {namespace} (RetriesExhausted)."));
    assert_eq!(texts["runbook_url"], "https://example.com/runbooks#retryabletasksfailing");
    eventually("its end", async || match prometheus.firing("RetryableTasksFailing", &of_storm) {
        None => Ok(()),
        Some(alert) => Err(alert),
    })
    .await;
    assert_eq!(prometheus.firing("RetryableTasksNoLeader", &[]), None);

    for dashboard in ["tasks", "operator"] {
        let expressions = expressions(dashboard);
        assert!(expressions.len() > 10, "{dashboard}");
        for (title, expression) in expressions {
            eventually(&format!("data of the panel {title:?} of {dashboard}"), async || {
                match has_data(&prometheus, namespace, &expression) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(format!("none for {expression}")),
                    Err(error) => panic!("{title:?} of {dashboard}: {error}"),
                }
            })
            .await;
        }
    }
    let groups = prometheus.ask("rules", &[]).unwrap()["groups"][0]["rules"].clone();
    let unhealthy: Vec<&Value> = groups.as_array().unwrap().iter().filter(|rule| rule["health"] != "ok").collect();
    assert!(unhealthy.is_empty(), "{unhealthy:#?}");
    assert_eq!(check_metrics(&operator.get("/metrics").1), "", "what promtool finds");
}
