//! Assertions about a task that has ended: it ran as expected, and no rule of the oracle is broken.

use super::audit::{Audit, Request};
use super::manifest::sh;
use super::record::{Evidence, FleetRecord, Record, SeenVersion, assert_waits_by};
use super::scene::Scene;
use super::trace::trace;
use super::wait::eventually;
use crate::oracle::{Violation, judge};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::ResourceExt;
use retryable_tasks::api::{FINALIZER, MAIN_CONTAINER, RetryableTask, RetryableTaskStatus, State};
use serde_json::json;

/// The messages that attempts leave.
#[derive(Clone, Copy, Debug)]
enum Messages {
    /// Failed attempts leave "attempt" and their number.
    Said,
    /// Nothing.
    None,
    /// The same, but the container runtime may have lost the message and the exit code of the first.
    Perhaps,
}

/// How a task is expected to run: some failures with exit code 1, and then success.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedRun {
    failures: i32,
    words: Messages,
    evidence: Evidence,
    refused: bool,
}

impl ExpectedRun {
    /// This number of failures, each with "attempt" and its number as message.
    pub const fn of(failures: i32) -> Self {
        Self { failures, words: Messages::Said, evidence: Evidence::Whole, refused: false }
    }

    /// Attempts leave no message, as on simulated nodes.
    pub const fn silent(self) -> Self {
        Self { words: Messages::None, ..self }
    }

    /// The container runtime was down when the first attempt ended. It may have lost message and exit code (255, in
    /// containerd 2). Then that attempt counts as a failure, even if it was a success.
    pub const fn perhaps_unknown(self) -> Self {
        Self { words: Messages::Perhaps, ..self }
    }

    /// The API server or its store was killed meanwhile.
    pub const fn interrupted(self) -> Self {
        Self { evidence: Evidence::Interrupted, ..self }
    }

    /// The test makes the API server refuse some of the operator's writes.
    pub const fn refused(self) -> Self {
        Self { refused: true, ..self }
    }

    /// Waits for the end, and asserts that each attempt is recorded once, with its outcome, in the history and the
    /// counters. With whole evidence it asserts the rules of the oracle, except those about convergence, promptness and
    /// leaders. Otherwise it asserts that delays were kept and that the history matches the Pods that are left.
    pub async fn is_recorded(self, scene: &Scene, record: &Record) -> RetryableTaskStatus {
        let Self { failures, words, evidence, refused } = self;
        let versions = record.until_finished().await;
        let status = last(&versions);
        let is_unknown = matches!(words, Messages::Perhaps) && ended_unknown(&status);
        let failures = if is_unknown { failures.max(1) } else { failures };
        let code = |n: i32| if n == 1 && is_unknown { UNKNOWN } else { i32::from(n <= failures) };
        let output = |n: i32| match words {
            Messages::Said | Messages::Perhaps if n <= failures => Some(format!("attempt {n}")),
            Messages::Said | Messages::Perhaps | Messages::None => None,
        };
        let expected: Vec<_> = (1..=failures + 1).map(|n| (n, Some(code(n)), output(n))).collect();
        let recorded = status.history.iter().map(|entry| {
            let lost = matches!(words, Messages::Perhaps) && entry.attempt == 1 && entry.message.is_none();
            let recorded = if lost { output(entry.attempt) } else { entry.message.clone() };
            (entry.attempt, entry.exit_code, recorded.filter(|_| entry.attempt <= failures))
        });
        assert_eq!(recorded.collect::<Vec<_>>(), expected, "{status:#?}");
        assert_eq!(
            (status.state, status.attempts, status.retries, status.ignored),
            (Some(State::Succeeded), failures + 1, failures, 0)
        );
        match evidence {
            Evidence::Whole => no_rule_is_broken(scene, record, refused).await,
            Evidence::Interrupted => {
                assert_waits_by(evidence, scene, &versions);
                agrees_with_pods(scene, versions.last().unwrap()).await;
            }
        }
        status
    }
}

/// The exit code that a container runtime reports for a container whose end it has missed.
const UNKNOWN: i32 = 255;

/// Whether the first attempt ended while its container runtime was down, so that its exit code is unknown.
pub fn ended_unknown(status: &RetryableTaskStatus) -> bool {
    status.history.first().is_some_and(|entry| entry.exit_code == Some(UNKNOWN) && entry.reason == "Unknown")
}

/// Asserts that the task's record breaks no rule, once the operator is done with it.
pub async fn no_rule_is_broken(scene: &Scene, record: &Record, refused: bool) {
    no_rule_is_broken_by(scene, || record.sights(), refused).await;
}

/// Asserts that the record of all tasks and queues breaks no rule, once the operator is done with them.
pub async fn no_rule_of_queues_is_broken(scene: &Scene, record: &FleetRecord) {
    let queues = record.sights().iter().filter(|sight| sight.object["kind"] == "TaskQueue").count();
    assert!(queues > 0, "the record has no queue");
    no_rule_is_broken_by(scene, || record.sights(), false).await;
}

async fn no_rule_is_broken_by(scene: &Scene, sights: impl Fn() -> Vec<SeenVersion>, refused: bool) {
    eventually("a record that breaks no rule", async || {
        let trace = trace(scene, sights(), refused);
        assert!(trace.changes.iter().any(|change| change.by_operator), "the audit log does not tell who wrote what");
        let (violations, _) = judge(&trace);
        if violations.is_empty() { Ok(()) } else { Err(list(&violations)) }
    })
    .await;
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation:?}")).collect::<Vec<_>>().join("\n")
}

/// Asserts that the running operator writes nothing about the existing tasks while it runs another one to its end.
pub async fn nothing_more_is_written(scene: &Scene) {
    const WITNESS: &str = "witness";
    // The audit log has a request after its effect can be seen.
    let (audit, began) = (Audit::from_now(), Timestamp::now());
    scene.apply(&sh(WITNESS, "true", &json!({})));
    scene.finished(WITNESS).await;
    has_no_finalizer(scene, WITNESS).await;
    let mut requests = scene.operators_requests(audit);
    requests.retain(|request| request.received >= began);
    let is_of = |r: &Request| ["retryabletasks/status", "pods"].contains(&r.resource.as_str());
    // A creation that was refused before it was read may be the witness's.
    let of_an_object = |r: &&Request| r.is_write() && is_of(r) && !r.is_nameless();
    let (witness, more): (Vec<_>, Vec<_>) =
        requests.iter().filter(of_an_object).partition(|request| request.name.starts_with(WITNESS));
    assert!(!witness.is_empty(), "the audit log has nothing of the witness");
    assert!(more.is_empty(), "after the end: {more:#?}");
}

/// Asserts that every Pod that is left of the task is recorded once, with the exit code and message that it shows.
pub async fn agrees_with_pods(scene: &Scene, task: &RetryableTask) {
    let history = task.status.as_ref().map_or(&[][..], |status| &status.history);
    for pod in scene.pods_of(&task.name_any()).await {
        let (name, uid) = (pod.name_any(), pod.uid());
        let recorded: Vec<_> = history.iter().filter(|entry| entry.pod_uid == uid).collect();
        let [entry] = recorded[..] else { panic!("Pod {name} is told of {} times: {history:#?}", recorded.len()) };
        let shown = main_end(&pod).map(|end| (end.exit_code, end.reason.clone()));
        let recorded = entry.exit_code.map(|code| (code, Some(entry.reason.clone())));
        assert_eq!(recorded, shown, "Pod {name} and {entry:#?}");
        if entry.exit_code.is_some_and(|code| code != 0) {
            let output = main_end(&pod).and_then(|end| end.message.as_deref()).unwrap_or_default().trim();
            assert_eq!(
                entry.message.as_deref().unwrap_or_default().is_empty(),
                output.is_empty(),
                "Pod {name}: {output:?}, {entry:#?}"
            );
        }
    }
}

/// How the Pod's main container has ended.
fn main_end(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref().unwrap_or_default();
    statuses.iter().find(|status| status.name == MAIN_CONTAINER)?.state.as_ref()?.terminated.as_ref()
}

/// Waits until no Pod of the task has the finalizer.
pub async fn has_no_finalizer(scene: &Scene, task: &str) {
    eventually("the Pods to be free", async || {
        let pods = scene.pods_of(task).await;
        let with_finalizer = |pod: &&Pod| pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        let with_finalizer: Vec<_> = pods.iter().filter(with_finalizer).map(ResourceExt::name_any).collect();
        if with_finalizer.is_empty() { Ok(()) } else { Err(format!("{with_finalizer:?} are held")) }
    })
    .await;
}

fn last(versions: &[RetryableTask]) -> RetryableTaskStatus {
    versions.last().and_then(|task| task.status.clone()).unwrap()
}
