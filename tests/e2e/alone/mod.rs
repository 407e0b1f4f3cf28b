//! Faults of the whole cluster.

mod component_failures;
mod unreadable_task;
mod watch_expired;

use crate::support::gates::Gates;
use crate::support::oracle::{ExpectedRun, has_no_finalizer, nothing_more_is_written};
use crate::support::record::Record;
use crate::support::{Operator, Scene, eventually, machine};
use jiff::Timestamp;
use kube::ResourceExt;
use retryable_tasks::api::{RetryableTaskStatus, State};

/// Tasks in every state, under one operator, when a part of the cluster is killed.
///
/// - `ends-well` and `ends-badly` run, and their attempts end while that part is down;
/// - `runs-through` runs, and its attempt ends later;
/// - `waits` waits, and is due while that part is down;
/// - `starts` was just applied.
struct InFlight<'a> {
    scene: &'a Scene,
    gates: Gates,
    records: Vec<(&'static str, i32, Record)>,
    /// The first Pods of those whose attempts end while that part is down: name and UID.
    ending: Vec<(&'static str, String)>,
    due: Timestamp,
    _operator: Operator,
}

impl<'a> InFlight<'a> {
    async fn new(scene: &'a Scene) -> Self {
        let operator = scene.operator().await;
        let gates = Gates::new(scene);
        let mut records = Vec::new();
        for (name, failures, delay) in
            [("ends-well", 0, 1), ("ends-badly", 2, 1), ("runs-through", 1, 1), ("waits", 1, 15)]
        {
            records.push((name, failures, Record::of(scene, name).await));
            scene.apply(&gates.task(name, failures, delay));
        }
        records.push(("starts", 1, Record::of(scene, "starts").await));
        for (name, attempt) in
            [("ends-badly", 2), ("ends-badly", 3), ("runs-through", 2), ("waits", 2), ("starts", 1), ("starts", 2)]
        {
            gates.open(name, attempt);
        }
        let mut ending = Vec::new();
        for name in ["ends-well", "ends-badly", "runs-through", "waits"] {
            ending.push((name, scene.running(name, 1).await.uid().unwrap()));
        }
        ending.retain(|(name, _)| name.starts_with("ends-"));
        gates.open("waits", 1);
        let waits = |status: &RetryableTaskStatus| status.state == Some(State::Waiting);
        let due = scene.status("waits", "its wait", waits).await.next_retry_time.unwrap().0;
        scene.apply(&gates.task("starts", 1, 1));
        Self { scene, gates, records, ending, due, _operator: operator }
    }

    /// Lets those attempts end now.
    async fn end_some(&self) {
        for (name, pod) in &self.ending {
            self.gates.passed(name, 1).await;
            eventually("its process to end", async || {
                if machine::runs_in(pod, "/gates/") { Err(format!("{name} runs")) } else { Ok(()) }
            })
            .await;
        }
    }

    /// Asserts, with every part running again, that each task ends as it would without the fault.
    async fn are_recorded(self, life: impl Fn(i32) -> ExpectedRun) -> Vec<RetryableTaskStatus> {
        self.gates.open("runs-through", 1);
        let mut recorded = Vec::new();
        for (name, failures, record) in &self.records {
            recorded.push(life(*failures).is_recorded(self.scene, record).await);
            has_no_finalizer(self.scene, name).await;
        }
        nothing_more_is_written(self.scene).await;
        recorded
    }
}
