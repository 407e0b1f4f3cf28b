//! What must be true of a task in the end, whatever happened to it: that it had the life that it was made for, and that
//! the rules hold that the simulation is judged by too.

use super::audit::{Audit, Request};
use super::manifest::sh;
use super::record::{Evidence, Record, assert_waits_by};
use super::scene::Scene;
use super::trace::trace;
use super::wait::eventually;
use crate::oracle::{Violation, judge};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::ResourceExt;
use retryable_tasks::api::{FINALIZER, MAIN_CONTAINER, RetryableTask, RetryableTaskStatus, State};
use serde_json::json;

/// What attempts leave in words.
#[derive(Clone, Copy, Debug)]
enum Words {
    /// Those that fail say "attempt" and their number.
    Said,
    /// Nothing.
    None,
    /// They say so too, but the container runtime may have lost that of the first, and how it ended.
    Perhaps,
}

/// The life that a task was made for: so many failures with exit code 1, and then success.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    failures: i32,
    words: Words,
    evidence: Evidence,
    refused: bool,
}

impl Life {
    /// So many failures, each of which says "attempt" and its number.
    pub const fn of(failures: i32) -> Self {
        Self { failures, words: Words::Said, evidence: Evidence::Whole, refused: false }
    }

    /// Attempts that say nothing, as on simulated nodes.
    pub const fn silent(self) -> Self {
        Self { words: Words::None, ..self }
    }

    /// The container runtime was dead when the first attempt ended. It may have lost its words, and all that is known of
    /// its end (exit code 255, as containerd 2 has it): then that counts as one more failure if it was none.
    pub const fn perhaps_unknown(self) -> Self {
        Self { words: Words::Perhaps, ..self }
    }

    /// The API server or its store was killed meanwhile.
    pub const fn interrupted(self) -> Self {
        Self { evidence: Evidence::Interrupted, ..self }
    }

    /// The test sees to it that the API server refuses some of the operator's writes.
    pub const fn refused(self) -> Self {
        Self { refused: true, ..self }
    }

    /// Waits for the end, and asserts that the story is told as if nothing had been: each attempt once, with its own
    /// outcome, after its wait, in the books and in the counters. Where the evidence is whole, the rules hold that
    /// the simulation knows, but for those of rest, promptness and leaders; elsewhere the waits were kept, and the books
    /// agree with the Pods that are left.
    pub async fn is_told(self, scene: &Scene, record: &Record) -> RetryableTaskStatus {
        let Self { failures, words, evidence, refused } = self;
        let versions = record.until_finished().await;
        let status = last(&versions);
        let is_unknown = matches!(words, Words::Perhaps) && ended_unknown(&status);
        let failures = if is_unknown { failures.max(1) } else { failures };
        let code = |n: i32| if n == 1 && is_unknown { UNKNOWN } else { i32::from(n <= failures) };
        let said = |n: i32| match words {
            Words::Said | Words::Perhaps if n <= failures => Some(format!("attempt {n}")),
            Words::Said | Words::Perhaps | Words::None => None,
        };
        let expected: Vec<_> = (1..=failures + 1).map(|n| (n, Some(code(n)), said(n))).collect();
        let told = status.history.iter().map(|entry| {
            let lost = matches!(words, Words::Perhaps) && entry.attempt == 1 && entry.message.is_none();
            let told = if lost { said(entry.attempt) } else { entry.message.clone() };
            (entry.attempt, entry.exit_code, told.filter(|_| entry.attempt <= failures))
        });
        assert_eq!(told.collect::<Vec<_>>(), expected, "{status:#?}");
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

/// What a container runtime says instead of the exit code of a container whose end it has missed.
const UNKNOWN: i32 = 255;

/// Whether the first attempt ended while its container runtime was dead, which does not know how.
pub fn ended_unknown(status: &RetryableTaskStatus) -> bool {
    status.history.first().is_some_and(|entry| entry.exit_code == Some(UNKNOWN) && entry.reason == "Unknown")
}

/// Asserts that the task's record breaks no rule, once what must come to an end has.
pub async fn no_rule_is_broken(scene: &Scene, record: &Record, refused: bool) {
    eventually("a record that breaks no rule", async || {
        let trace = trace(scene, record, refused);
        assert!(trace.changes.iter().any(|change| change.by_operator), "the audit log does not tell who wrote what");
        let (violations, _) = judge(&trace);
        if violations.is_empty() { Ok(()) } else { Err(list(&violations)) }
    })
    .await;
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation:?}")).collect::<Vec<_>>().join("\n")
}

/// Asserts that the operator, which is at work, writes nothing about the tasks that are there while another one lives its
/// whole life beside them.
pub async fn nothing_more_is_written(scene: &Scene) {
    const WITNESS: &str = "witness";
    let audit = Audit::from_now();
    scene.apply(&sh(WITNESS, "true", &json!({})));
    scene.finished(WITNESS).await;
    is_free(scene, WITNESS).await;
    let requests = scene.operators_requests(audit);
    let is_of = |r: &Request| ["retryabletasks/status", "pods"].contains(&r.resource.as_str());
    // A creation that was refused before it was read may be the witness's.
    let of_an_object = |r: &&Request| r.is_write() && is_of(r) && !r.is_nameless();
    let (witness, more): (Vec<_>, Vec<_>) =
        requests.iter().filter(of_an_object).partition(|request| request.name.starts_with(WITNESS));
    assert!(!witness.is_empty(), "the log does not tell of the witness");
    assert!(more.is_empty(), "after the end: {more:#?}");
}

/// Asserts that the books tell of every Pod that is left of the task, and tell its end as the Pod shows it: with
/// words if it has any.
pub async fn agrees_with_pods(scene: &Scene, task: &RetryableTask) {
    let history = task.status.as_ref().map_or(&[][..], |status| &status.history);
    for pod in scene.pods_of(&task.name_any()).await {
        let (name, uid) = (pod.name_any(), pod.uid());
        let told: Vec<_> = history.iter().filter(|entry| entry.pod_uid == uid).collect();
        let [entry] = told[..] else { panic!("Pod {name} is told of {} times: {history:#?}", told.len()) };
        let shown = main_end(&pod).map(|end| (end.exit_code, end.reason.clone()));
        let told = entry.exit_code.map(|code| (code, Some(entry.reason.clone())));
        assert_eq!(told, shown, "Pod {name} and {entry:#?}");
        if entry.exit_code.is_some_and(|code| code != 0) {
            let said = main_end(&pod).and_then(|end| end.message.as_deref()).unwrap_or_default().trim();
            assert_eq!(
                entry.message.as_deref().unwrap_or_default().is_empty(),
                said.is_empty(),
                "Pod {name}: {said:?}, {entry:#?}"
            );
        }
    }
}

/// How the Pod's main container has ended.
fn main_end(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref().unwrap_or_default();
    statuses.iter().find(|status| status.name == MAIN_CONTAINER)?.state.as_ref()?.terminated.as_ref()
}

/// Waits until no Pod of the task has the operator's finalizer.
pub async fn is_free(scene: &Scene, task: &str) {
    eventually("the Pods to be free", async || {
        let pods = scene.pods_of(task).await;
        let held = |pod: &&Pod| pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        let held: Vec<_> = pods.iter().filter(held).map(ResourceExt::name_any).collect();
        if held.is_empty() { Ok(()) } else { Err(format!("{held:?} are held")) }
    })
    .await;
}

fn last(versions: &[RetryableTask]) -> RetryableTaskStatus {
    versions.last().and_then(|task| task.status.clone()).unwrap()
}
