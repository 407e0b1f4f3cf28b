//! The same outage without a queue and with one: what the service is asked for, and what becomes of the tasks.
//!
//! `make outage` runs it at full size and draws what the service saw.

use super::plot::{self, Seen};
use super::service::{Mode, Request, Service};
use super::{queue, queue_status, until_queue};
use crate::support::{Scene, eventually};
use retryable_tasks::api::{CircuitState, ConditionType, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How large the outage is.
struct Size {
    /// Tasks on each side.
    tasks: usize,
    /// How often they retry, and for how long they wait at first and at most.
    retries: i32,
    delay_seconds: (i32, i32),
    /// How long the service is down at least.
    down: Duration,
    open_seconds: i32,
}

/// Waits so long that on a slow machine too several tasks have failed, and the circuit is open, before one has used up its retries.
const SMALL: Size = Size { tasks: 6, retries: 3, delay_seconds: (4, 8), down: Duration::ZERO, open_seconds: 5 };
/// Retries that last for the whole outage: only then there is a herd in the end.
const FULL: Size =
    Size { tasks: 20, retries: 30, delay_seconds: (1, 20), down: Duration::from_secs(120), open_seconds: 20 };

impl Size {
    /// A task of a side. Both have the same back-off.
    fn task(&self, service: &Service, side: &str, number: usize) -> Value {
        let (initial, most) = self.delay_seconds;
        let backoff = json!({"initialDelaySeconds": initial, "maxDelaySeconds": most});
        let mut spec = json!({"maxRetries": self.retries, "backoff": backoff});
        if side == "with" {
            spec["queue"] = json!({"name": "api"});
        }
        service.task(&format!("{side}-{number}"), &spec)
    }
}

/// The calls of a side, in milliseconds.
fn calls(requests: &[Request], side: &str) -> Vec<u64> {
    let of_side = |request: &&Request| request.begins() && request.task.starts_with(&format!("{side}-"));
    requests.iter().filter(of_side).map(|request| request.at).collect()
}

#[tokio::test]
async fn the_same_outage_costs_tasks_without_a_queue_their_retries_and_those_with_one_none() {
    let plot = std::env::var_os("OUTAGE_PLOT").map(PathBuf::from);
    let size = if plot.is_some() { FULL } else { SMALL };
    let scene = Scene::new("queue-same-outage").await;
    let service = Service::start(&scene).await;
    service.set(Mode::Down);
    let _operator = scene.operator().await;
    let breaker = json!({
        "failures": {"errorTypes": ["Unavailable"]}, "openAfter": {"tasks": 3}, "openSeconds": size.open_seconds,
        "maxOpenSeconds": 2 * size.open_seconds, "probes": {"atATime": 1, "successes": 1}, "recoverySeconds": 20,
    });
    scene.apply(&queue("api", &json!({"maxConcurrent": 5, "circuitBreaker": breaker})));
    for number in 0..size.tasks {
        for side in ["without", "with"] {
            scene.apply(&size.task(&service, side, number));
        }
    }
    let is_open = |status: &retryable_tasks::api::TaskQueueStatus| {
        status.circuit.as_ref().is_some_and(|circuit| circuit.state == CircuitState::Open)
    };
    until_queue(&scene, "api", "an open circuit", is_open).await;
    if plot.is_some() {
        tokio::time::sleep(size.down).await; // the outage that is drawn
    } else {
        for number in 0..size.tasks {
            let status = scene.finished(&format!("without-{number}")).await;
            let failed = condition_list::find(&status.conditions, ConditionType::Failed).unwrap();
            assert_eq!(failed.reason, "RetriesExhausted");
        }
    }
    let down = service.requests();
    service.set(Mode::Up);
    eventually("the tasks of the queue to end", async || {
        let status = queue_status(&scene, "api").await;
        if status.queued + status.waiting == 0 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    for number in 0..size.tasks {
        let status = scene.finished(&format!("with-{number}")).await;
        assert_eq!((status.state, status.retries <= 3), (Some(State::Succeeded), true), "{status:#?}");
    }
    let (without, with) = (calls(&down, "without"), calls(&down, "with"));
    assert!(with.len() < without.len(), "{} calls with the queue, {} without", with.len(), without.len());
    let Some(path) = plot else { return };
    for number in 0..size.tasks {
        scene.finished(&format!("without-{number}")).await;
    }
    let all = service.requests();
    let back = down.last().unwrap().at;
    plot::draw(&path, &Seen { without: calls(&all, "without"), with: calls(&all, "with"), back });
}
