//! Sixty tasks in an outage, in which the service answers when the test says so: what it sees can be stated exactly,
//! however slow the machine is.

use super::service::{Mode, Request, Service};
use super::{queue, queue_status};
use crate::support::oracle::no_rule_of_queues_is_broken;
use crate::support::record::{FleetRecord, SeenVersion};
use crate::support::{Operator, Scene, eventually};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::{
    Action, Circuit, CircuitState, HistoryEntry, RetryableTask, RetryableTaskStatus, State, TaskQueue,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TASKS: usize = 60;
/// `maxConcurrent`.
const SLOTS: usize = 10;
/// `openAfter.tasks`.
const FAILURES: usize = 5;
/// With one failure less than that they are the percentage at which it opens.
const SUCCESSES: usize = FAILURES - 1;
/// `probes.atATime`, and one more has to succeed.
const PROBES: usize = 3;
/// `recoverySeconds`: one slot more each second.
const RECOVERY: usize = SLOTS - PROBES;

#[tokio::test]
async fn the_service_sees_what_its_queue_states_whenever_the_operator_dies() {
    let scene = Scene::new("queue-fleet").await;
    let record = FleetRecord::of(&scene).await;
    let mut outage = Outage::begin(&scene).await;
    outage.opens().await;
    let opened = outage.calls;
    outage.probes_fail().await;
    let reopened = outage.calls;
    outage.probes_succeed().await;
    let closed = outage.calls;
    outage.slots_grow().await;
    let tasks = all_succeed(&scene).await;

    let service = &outage.service;
    assert_eq!(service.most_at_a_time(), SLOTS, "{:#?}", service.requests());
    each_says_what_it_got(&tasks, &service.requests());
    let seen = Seen::of(&record.sights());
    assert_eq!(seen.failed_when_opened, FAILURES);
    let callers = service.callers();
    let called = |from: usize, to: usize| callers[from..to].iter().cloned().collect::<BTreeSet<String>>();
    assert_eq!(seen.probes(1), called(opened, reopened));
    assert_eq!(seen.probes(2), called(reopened, closed));
    no_more_calls_than_slots(&service.requests(), seen.closed(), closed);
    let retries: i32 = tasks.iter().map(|(_, status)| status.retries).sum();
    let ignored: i32 = tasks.iter().map(|(_, status)| status.ignored).sum();
    assert_eq!(usize::try_from(retries).unwrap(), FAILURES + SLOTS - 1, "what ran when it opened is charged");
    assert_eq!(usize::try_from(ignored).unwrap(), PROBES, "probes are not");
    no_rule_of_queues_is_broken(&scene, &record).await;
}

/// The outage, step by step.
struct Outage<'a> {
    operator: Option<Operator>,
    service: Service,
    scene: &'a Scene,
    /// How many calls there may have been.
    calls: usize,
}

impl<'a> Outage<'a> {
    /// Sixty tasks, each with one retry.
    async fn begin(scene: &'a Scene) -> Self {
        let service = Service::start(scene).await;
        service.set(Mode::Held);
        let breaker = json!({
            "failures": {"errorTypes": ["Unavailable"]}, "openAfter": {"tasks": FAILURES, "percent": 50, "withinSeconds": 86400},
            "openSeconds": 3, "maxOpenSeconds": 3, "probes": {"atATime": PROBES, "successes": PROBES + 1, "passAfterSeconds": 86400},
            "recoverySeconds": RECOVERY,
        });
        scene.apply(&queue("api", &json!({"maxConcurrent": SLOTS, "circuitBreaker": breaker})));
        let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
        let spec = json!({"maxRetries": 1, "backoff": backoff, "queue": {"name": "api"}});
        let tasks: Vec<Value> = (0..TASKS).map(|n| service.task(&format!("caller-{n}"), &spec)).collect();
        scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": tasks}));
        Self { operator: Some(scene.operator().await), service, scene, calls: 0 }
    }

    /// Closed: one failure is missing when the operator dies.
    async fn opens(&mut self) {
        let pending = self.held(SLOTS, SLOTS).await;
        self.answer(&pending[..SUCCESSES], Mode::Up);
        let pending = self.held(SUCCESSES, SLOTS).await;
        self.answer(&pending[..FAILURES - 1], Mode::Down);
        let pending = self.held(FAILURES - 1, SLOTS).await;
        self.replace_operator().await;
        self.answer(&pending[..1], Mode::Down);
        self.tripped(1).await;
        self.answer(&pending[1..], Mode::Down);
    }

    /// Half-open: the operator dies while the probes run.
    async fn probes_fail(&mut self) {
        let probes = self.held(PROBES, PROBES).await;
        self.replace_operator().await;
        self.answer(&probes, Mode::Down);
        self.tripped(2).await;
    }

    /// Half-open again: the first success makes room for the probe that is still needed.
    async fn probes_succeed(&mut self) {
        let probes = self.held(PROBES, PROBES).await;
        self.answer(&probes[..1], Mode::Up);
        let probes = self.held(1, PROBES).await;
        self.answer(&probes, Mode::Up);
    }

    /// Closed again: nobody is answered, so only further slots let further calls through. The operator dies meanwhile.
    async fn slots_grow(&mut self) {
        let closed = self.calls;
        eventually("a further slot", async || {
            let calls = self.service.callers().len();
            if calls > closed + PROBES { Ok(()) } else { Err(calls) }
        })
        .await;
        self.replace_operator().await;
        self.held(SLOTS, SLOTS).await;
        self.service.set(Mode::Up);
    }

    async fn replace_operator(&mut self) {
        self.operator.take().unwrap().kill_9();
        self.operator = Some(self.scene.operator().await);
    }

    fn answer(&self, tasks: &[String], mode: Mode) {
        for task in tasks {
            self.service.answer(task, mode);
        }
    }

    /// Waits until there have been so many further calls, and no more, and `pending` are not answered. Returns whose.
    async fn held(&mut self, further: usize, pending: usize) -> Vec<String> {
        self.calls += further;
        eventually("the calls", async || {
            let calls = self.calls();
            let tasks = self.service.pending();
            if (calls, tasks.len()) == (self.calls, pending) { Ok(tasks) } else { Err(format!("{calls}, {tasks:?}")) }
        })
        .await
    }

    /// How many calls there have been. There may be [`Self::calls`].
    fn calls(&self) -> usize {
        let requests = self.service.requests();
        let calls = requests.iter().filter(|request| request.begins()).count();
        assert!(calls <= self.calls, "{calls} calls, and there may be {}: {requests:#?}", self.calls);
        calls
    }

    /// Waits until the circuit has opened so often, without a further call. It may be half-open by then.
    async fn tripped(&self, trip: i32) {
        eventually("the circuit to open", async || {
            let calls = self.service.callers().len();
            let circuit = queue_status(self.scene, "api").await.circuit.unwrap_or_default();
            if circuit.trip >= trip {
                return Ok(());
            }
            assert!(calls <= self.calls, "{calls} calls, and it should have opened after {}: {circuit:#?}", self.calls);
            Err(format!("{circuit:?}"))
        })
        .await;
    }
}

async fn all_succeed(scene: &Scene) -> Vec<(String, RetryableTaskStatus)> {
    eventually("all to succeed", async || {
        let tasks = scene.tasks().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let of = |task: RetryableTask| (task.name_any(), task.status.unwrap_or_default());
        let tasks: Vec<_> = tasks.items.into_iter().map(of).collect();
        let (failed, left) = (count(&tasks, State::Failed), TASKS - count(&tasks, State::Succeeded));
        assert_eq!(failed, 0, "{tasks:#?}");
        if left == 0 { Ok(tasks) } else { Err(format!("{left} have not")) }
    })
    .await
}

fn count(tasks: &[(String, RetryableTaskStatus)], state: State) -> usize {
    tasks.iter().filter(|(_, status)| status.state == Some(state)).count()
}

/// The history of each task has the answers that the service has given to it.
fn each_says_what_it_got(tasks: &[(String, RetryableTaskStatus)], requests: &[Request]) {
    for (name, status) in tasks {
        let given: Vec<u16> = requests.iter().filter(|it| it.task == *name).filter_map(|it| it.code).collect();
        let said: Vec<u16> = status.history.iter().map(|entry| if is_failure(entry) { 503 } else { 200 }).collect();
        assert_eq!(said, given, "{name}: {status:#?}");
    }
}

fn is_failure(entry: &HistoryEntry) -> bool {
    let failed = entry.action != Action::Complete;
    assert_eq!(failed, entry.error_type.as_deref() == Some("Unavailable"), "{entry:#?}");
    failed
}

/// What is stored of the circuit, version by version.
struct Seen {
    circuits: Vec<Circuit>,
    /// Failures in the histories when it was stored as open for the first time.
    failed_when_opened: usize,
}

impl Seen {
    fn of(sights: &[SeenVersion]) -> Self {
        let version = |sight: &SeenVersion| -> u64 {
            sight.object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
        };
        let mut ordered: Vec<&SeenVersion> = sights.iter().collect();
        ordered.sort_by_key(|sight| version(sight));
        let (mut circuits, mut failed_when_opened) = (Vec::<Circuit>::new(), None);
        let mut failed = BTreeSet::new();
        for SeenVersion { object, .. } in ordered {
            if let Some(task) = parsed::<RetryableTask>(object, "RetryableTask") {
                let name = task.name_any();
                let history = task.status.unwrap_or_default().history;
                let ends = history.iter().filter(|entry| is_failure(entry)).map(|entry| entry.attempt);
                failed.extend(ends.map(|attempt| (name.clone(), attempt)));
            }
            let queue = parsed::<TaskQueue>(object, "TaskQueue");
            if let Some(circuit) = queue.and_then(|queue| queue.status?.circuit) {
                if circuit.state == CircuitState::Open {
                    failed_when_opened = failed_when_opened.or(Some(failed.len()));
                }
                circuits.push(circuit);
            }
        }
        Self { circuits, failed_when_opened: failed_when_opened.unwrap() }
    }

    /// The tasks that it names as probes after it has opened so often.
    fn probes(&self, trip: i32) -> BTreeSet<String> {
        let circuits = self.circuits.iter().filter(|circuit| circuit.trip == trip);
        circuits.flat_map(|circuit| &circuit.probes).map(|probe| probe.task.clone()).collect()
    }

    /// When it has closed at last.
    fn closed(&self) -> Timestamp {
        let last = self.circuits.last().unwrap();
        assert_eq!(last.state, CircuitState::Closed);
        last.since.as_ref().unwrap().0
    }
}

fn parsed<K: DeserializeOwned>(object: &Value, kind: &str) -> Option<K> {
    (object["kind"] == kind).then(|| serde_json::from_value(object.clone()).unwrap())
}

/// After the first `before` calls there are no more at a time than slots since the circuit has closed. A call begins
/// after its slot is taken, and ends before that is free.
fn no_more_calls_than_slots(requests: &[Request], closed: Timestamp, before: usize) {
    let closed = Service::clock(closed);
    let mut ordered: Vec<&Request> = requests.iter().collect();
    ordered.sort_by_key(|request| (request.at, request.begins()));
    let (mut calls, mut pending) = (0usize, 0usize);
    for request in ordered {
        if !request.begins() {
            pending -= 1;
            continue;
        }
        (calls, pending) = (calls + 1, pending + 1);
        let seconds = usize::try_from(request.at.saturating_sub(closed) / 1000).unwrap();
        let slots = (PROBES + seconds).min(SLOTS);
        assert!(calls <= before || pending <= slots, "{pending} calls of {slots}, {seconds} s after it closed");
    }
}
