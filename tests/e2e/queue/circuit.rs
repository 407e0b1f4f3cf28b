//! The service is down, and its queue's circuit opens.

use super::service::{Mode, Request, Service};
use super::{queue, queue_status, until_queue};
use crate::support::oracle::no_rule_of_queues_is_broken;
use crate::support::record::FleetRecord;
use crate::support::{Scene, eventually, sh};
use retryable_tasks::api::{Action, CircuitState, State, TaskQueueStatus};
use serde_json::json;

fn circuit(state: CircuitState, trip: i32) -> impl Fn(&TaskQueueStatus) -> bool {
    move |status| status.circuit.as_ref().is_some_and(|circuit| circuit.state == state && circuit.trip >= trip)
}

#[tokio::test]
async fn an_outage_stops_all_calls_but_probes_and_costs_no_task_its_retries() {
    let scene = Scene::new("queue-outage").await;
    let record = FleetRecord::of(&scene).await;
    let service = Service::start(&scene).await;
    service.set(Mode::Down);
    let operator = scene.operator().await;
    let breaker = json!({
        "failures": {"errorTypes": ["Unavailable"]}, "openAfter": {"tasks": 3, "percent": 50},
        "openSeconds": 10, "probes": {"atATime": 1, "successes": 2}, "recoverySeconds": 5,
    });
    scene.apply(&queue("api", &json!({"maxConcurrent": 3, "circuitBreaker": breaker})));
    let names: Vec<String> = (0..8).map(|n| format!("caller-{n}")).collect();
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    for name in &names {
        scene.apply(&service.task(name, &json!({"maxRetries": 3, "backoff": backoff, "queue": {"name": "api"}})));
    }
    let opened = until_queue(&scene, "api", "an open circuit", circuit(CircuitState::Open, 1)).await;
    let note = scene.event("api", "CircuitOpened").await;
    assert!(note.contains("tasks failed: Unavailable"), "{note}");
    assert!(opened.conditions.iter().any(|condition| condition.type_ == "CircuitOpen" && condition.status == "True"));
    // what ran when it opened has ended
    eventually("the last attempts to end", async || {
        let running = queue_status(&scene, "api").await.running.unwrap_or_default();
        let begun = service.requests();
        let ended = begun.iter().filter(|request| !request.begins()).count() * 2 == begun.len();
        if ended && running == "0/3" { Ok(()) } else { Err(running) }
    })
    .await;
    let calls = service.callers().len();
    operator.kill_9();
    let _operator = scene.operator().await;
    // the next thing that happens is one probe, which fails
    let reopened = until_queue(&scene, "api", "a circuit that is open again", circuit(CircuitState::Open, 2)).await;
    let callers = service.callers();
    assert_eq!(callers.len(), calls + 1, "while it was open, others called: {callers:?}");
    assert_eq!(reopened.circuit.as_ref().unwrap().reopenings, 1);
    let probe = scene.task(&callers[calls]).await.status.unwrap();
    let last = probe.history.last().unwrap();
    assert_eq!((last.rule.as_deref(), last.action), (Some("circuit"), Action::Ignore), "{probe:#?}");

    service.set(Mode::Up);
    until_queue(&scene, "api", "a closed circuit", circuit(CircuitState::Closed, 2)).await;
    for name in &names {
        let status = scene.finished(name).await;
        assert_eq!((status.state, status.retries <= 2), (Some(State::Succeeded), true), "{name}: {status:#?}");
    }
    scene.event("api", "CircuitHalfOpened").await;
    scene.event("api", "CircuitClosed").await;
    assert!(service.most_at_a_time() <= 3, "{:#?}", service.requests());
    no_rule_of_queues_is_broken(&scene, &record).await;
}

#[tokio::test]
async fn a_retry_after_holds_the_whole_queue() {
    let scene = Scene::new("queue-429").await;
    let service = Service::start(&scene).await;
    service.set(Mode::Limits);
    let _operator = scene.operator().await;
    let breaker = json!({"failures": {"errorTypes": ["RateLimited"]}});
    scene.apply(&queue("api", &json!({"maxConcurrent": 1, "circuitBreaker": breaker})));
    for name in ["first", "second"] {
        scene.apply(&service.task(name, &json!({"queue": {"name": "api"}})));
    }
    eventually("the first call", async || if service.callers().is_empty() { Err("none") } else { Ok(()) }).await;
    service.set(Mode::Up);
    for name in ["first", "second"] {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded));
    }
    let requests = service.requests();
    let begun: Vec<u64> = requests.iter().filter(|request| request.begins()).map(|request| request.at).collect();
    // the second call, whoever made it, came 5 s after the end of the attempt that was refused
    let refused = requests.iter().find(|request| !request.begins()).unwrap().at;
    assert!(begun[1] >= refused + 5_000, "{requests:#?}");
    assert_eq!(begun.len(), 3);
}

/// The circuit of a queue without limits, while the operator dies in each of its states.
#[tokio::test]
async fn who_waited_comes_back_one_by_one_even_if_the_operator_dies_and_other_queues_go_on() {
    let scene = Scene::new("queue-herd").await;
    let record = FleetRecord::of(&scene).await;
    let service = Service::start(&scene).await;
    service.set(Mode::Down);
    let operator = scene.operator().await;
    let breaker = json!({
        "failures": {"errorTypes": ["Unavailable"]}, "openAfter": {"tasks": 3, "percent": 50},
        "openSeconds": 5, "probes": {"atATime": 1, "successes": 1}, "recoverySeconds": 40,
    });
    scene.apply(&queue("api", &json!({"circuitBreaker": breaker})));
    scene.apply(&queue("other", &json!({"maxConcurrent": 1, "circuitBreaker": breaker})));
    let names: Vec<String> = (0..10).map(|n| format!("caller-{n}")).collect();
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    let spec = json!({"maxRetries": 20, "backoff": backoff, "queue": {"name": "api"}});
    for name in &names {
        scene.apply(&service.task(name, &spec));
    }
    // open: nothing of this queue starts, and another one's does
    until_queue(&scene, "api", "an open circuit", circuit(CircuitState::Open, 1)).await;
    scene.apply(&sh("elsewhere", "true", &json!({"queue": {"name": "other"}})));
    assert_eq!(scene.finished("elsewhere").await.state, Some(State::Succeeded));
    assert_eq!(queue_status(&scene, "other").await.circuit.unwrap_or_default().state, CircuitState::Closed);
    until_queue(&scene, "api", "all to wait", |status| status.queued == 10 && status.running.as_deref() == Some("0"))
        .await;
    operator.kill_9();

    // half-open: what runs is what the status names, whoever leads
    let calls = service.callers().len();
    service.set(Mode::Slow);
    let operator = scene.operator().await;
    let half_open = until_queue(&scene, "api", "a half-open circuit", circuit(CircuitState::HalfOpen, 1)).await;
    let [probe] = half_open.circuit.as_ref().unwrap().probes.as_slice() else { panic!("{half_open:#?}") };
    eventually("the probe's call", async || {
        let callers = service.callers();
        if callers.len() > calls { Ok(()) } else { Err(format!("{callers:?}")) }
    })
    .await;
    operator.kill_9();
    let operator = scene.operator().await;
    until_queue(&scene, "api", "a closed circuit", circuit(CircuitState::Closed, 1)).await;
    operator.kill_9();
    service.set(Mode::Up);
    let _operator = scene.operator().await;

    // closed: those who waited are spread
    for name in &names {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded), "{name}");
    }
    let begun: Vec<_> = service.requests().into_iter().filter(Request::begins).collect();
    assert_eq!(begun[calls].task, probe.task, "{begun:#?}");
    let after = &begun[calls + 1..];
    assert_eq!(after.len(), 9, "each of the others calls once: {begun:#?}");
    let (first, last) = (after.first().unwrap().at, after.last().unwrap().at);
    assert!(last - first >= 5_000, "they came within {} ms: {after:#?}", last - first);
    no_rule_of_queues_is_broken(&scene, &record).await;
}
