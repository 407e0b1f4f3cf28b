//! Every write of a task's life, hit by every fault: the process killed before or after it, its answer lost.

use super::{through, unlucky};
use crate::support::cluster::Turn;
use crate::support::manifest::simulated;
use crate::support::oracle::ExpectedRun;
use crate::support::proxy::{Asked, Proxy, Treatment};
use crate::support::record::Record;
use crate::support::{Scene, eventually};
use futures::StreamExt;
use kube::ResourceExt;
use retryable_tasks::api::RetryableTask;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Failures before the success on the real node, and on simulated ones.
const FAILURES: i32 = 1;
const SIMULATED_FAILURES: i32 = 3;
/// Scenes side by side.
const SCENES: usize = 8;

/// What happens at a write.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The operator is killed before it is sent.
    KilledBefore,
    /// The operator is killed after it was stored, and before the answer.
    KilledAfter,
    /// It is stored, and the answer is lost.
    AnswerLost,
}

/// Where the attempts run.
#[derive(Clone, Copy, Debug)]
pub enum Nodes {
    Real,
    Simulated,
}

impl Nodes {
    fn task(self) -> (Value, ExpectedRun) {
        match self {
            Self::Real => (unlucky("unlucky", FAILURES, 0), ExpectedRun::of(FAILURES)),
            Self::Simulated => {
                let at_once = json!({"simulate.retryable.dev/duration": "1ms"});
                let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 0});
                let more = json!({"backoff": backoff, "podRetention": {"failed": 0}});
                let task = simulated("unlucky", SIMULATED_FAILURES, &at_once, &more);
                (task, ExpectedRun::of(SIMULATED_FAILURES).silent())
            }
        }
    }
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::KilledBefore, Self::KilledAfter, Self::AnswerLost];

    pub fn treatment(self) -> Treatment {
        match self {
            Self::KilledBefore => Treatment::Hang,
            Self::KilledAfter => Treatment::PassAndHang,
            Self::AnswerLost => Treatment::LoseAnswer,
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter)
    }
}

/// Lets the operator bring a task to its end, with the fault at its write `at`. Answers the versions of the task if there
/// was such a write.
pub async fn suffer(turn: &Turn, nodes: Nodes, at: usize, fault: Fault) -> Option<Vec<RetryableTask>> {
    let scene = Scene::in_turn(turn, "write-fault").await;
    let proxy = Proxy::start().await;
    let hit = Arc::new(AtomicBool::new(false));
    let marked = hit.clone();
    proxy.control(move |asked: &Asked| {
        if asked.write == Some(at) && !marked.swap(true, Ordering::SeqCst) {
            return fault.treatment();
        }
        Treatment::Pass
    });
    let record = Record::of(&scene, "unlucky").await;
    let mut operator = through(&proxy, &scene);
    let (task, life) = nodes.task();
    scene.apply(&task);
    eventually("the fault, or the end without it", async || {
        let done = hit.load(Ordering::SeqCst) || is_over(&scene, &record).await;
        if done { Ok(()) } else { Err(format!("{:#?}", record.latest().and_then(|task| task.status))) }
    })
    .await;
    if fault.kills() && hit.load(Ordering::SeqCst) {
        operator.kill_9();
        operator = through(&proxy, &scene);
    }
    life.is_recorded(&scene, &record).await;
    eventually("the Pods to be free", async || if is_over(&scene, &record).await { Ok(()) } else { Err("held") }).await;
    drop(operator);
    if hit.load(Ordering::SeqCst) { Some(record.until_finished().await) } else { None }
}

/// Whether the task has ended and no Pod has the finalizer: nothing more will be written.
async fn is_over(scene: &Scene, record: &Record) -> bool {
    let ended = record.latest().and_then(|task| task.status).is_some_and(|status| status.completion_time.is_some());
    let pods = scene.pods_of("unlucky").await;
    ended && pods.iter().all(|pod| pod.finalizers().is_empty()) && pods.len() == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_critical() {
    let turn = &Turn::shared();
    // How many writes there are follows from the run itself: the faults go on until one comes too late to hit any.
    for first in (0..).step_by(2) {
        let cases = (first..first + 2).flat_map(|at| Fault::ALL.map(|fault| (at, fault)));
        let hits: Vec<_> = futures::stream::iter(cases)
            .map(|(at, fault)| async move { (at, fault, suffer(turn, Nodes::Real, at, fault).await.is_some()) })
            .buffer_unordered(SCENES)
            .collect()
            .await;
        if let Some((at, ..)) = hits.iter().find(|(.., hit)| !hit) {
            assert!(*at >= 8, "two attempts take eight writes at least, and there was no write {at}: {hits:?}");
            return;
        }
    }
}
