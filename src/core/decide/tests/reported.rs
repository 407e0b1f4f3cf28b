//! How an end is judged and reported by what the kubelet reports of it.

use super::deadlines::{failed, failure_counts, last};
use super::story::Step::{Kubelet, Look, Pass, Say};
use super::story::play;
use crate::api::{Action, FailureRule, OnOutOfMemory, RetryableTask};
use crate::core::decide::Transition;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end, fixed, task, waiting};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn with_rules(task: RetryableTask, rules: Value) -> RetryableTask {
    let rules: Vec<FailureRule> = serde_json::from_value(rules).unwrap();
    task.change(|task| task.spec.rules = Some(rules))
}

fn stack_trace(pod: Pod) -> Pod {
    let trace = format!(
        "{}java.io.IOException: HTTP 429 Too Many Requests\n{}",
        "INFO a step of the import has been done\n".repeat(20),
        "\tat com.example.orders.Importer.step(Importer.java:1)\n".repeat(20)
    );
    pod.ended(end(1).saying(&trace))
}

#[test]
fn a_rule_sees_all_of_the_message_and_what_it_matched_is_kept() {
    let rules = json!([{"name": "rate-limited", "when": {"message": "Too Many Requests"}, "action": "Fail"}]);
    let world = play(
        with_rules(task(), rules),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(stack_trace), "Failed 1/0/0 Error [Failed Finished Stalled] 1E"),
        ],
    );
    let line = "java.io.IOException: HTTP 429 Too Many Requests";
    assert_eq!(last(&world), ("Error".into(), Some("rate-limited".into()), Action::Fail));
    assert_eq!(world.status().message.as_deref(), Some(line));
    assert!(failed(&world).1.ends_with(&format!("exit code 1: {line}")), "{:?}", failed(&world));
    let kept = world.status().history[0].message.clone().unwrap();
    assert!(kept.contains(line) && kept.len() <= 1024, "{kept}");
}

#[test]
fn one_line_says_why_and_comes_back_after_a_hold_up() {
    let world = play(
        task().backoff(fixed(1)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Say(1, "starting\nFATAL: no such table\n"), "Waiting 1/1/0 due 1000 Error 1E"),
            (Pass(1000), "Running 2/1/0 Error 1E 2P"),
            (
                Kubelet(|pod| pod.on_node("n").container("task", waiting("ErrImagePull", "no such image"))),
                "Pending 2/1/0 ErrImagePull 1E 2P",
            ),
            (Kubelet(BuildPod::running), "Running 2/1/0 Error 1E 2R"),
        ],
    );
    let line = Some("FATAL: no such table");
    let status = world.status();
    assert_eq!(status.message.as_deref(), line);
    assert_eq!(status.last_failure.unwrap().message.as_deref(), line);
    assert_eq!(status.history[0].message.as_deref(), Some("starting\nFATAL: no such table"), "the history has all");
    let told = world.told.iter().find_map(|transition| match transition {
        Transition::Ended { line, .. } => line.as_deref(),
        _ => None,
    });
    assert_eq!(told, line, "for the Event");
}

fn out_of_cpu(pod: Pod) -> Pod {
    pod.on_node("node-1").phase("Failed").because("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu")
}

#[test]
fn a_pod_that_the_kubelet_turned_away_is_the_startup_budgets() {
    let task = task().max_retries(0).backoff(fixed(1));
    let world = play(
        task.change(|task| task.spec.budgets = serde_json::from_value(json!({"startup": 1})).unwrap()),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(out_of_cpu), "Waiting 1/0/0 due 1000 OutOfcpu 1E"),
            (Pass(1000), "Running 2/0/0 OutOfcpu 1E 2P"),
            (Kubelet(out_of_cpu), "Failed 2/0/0 OutOfcpu [Failed Finished Stalled] 1E 2E"),
        ],
    );
    assert_eq!(failure_counts(&world), [("startup".into(), 2)]);
    assert_eq!(last(&world), ("OutOfcpu".into(), Some("startup".into()), Action::Fail));
    assert_eq!(failed(&world).0, "BudgetExhausted");
}

#[test]
fn a_success_during_which_a_process_ran_out_of_memory_stays_one() {
    let task = task().change(|task| {
        task.spec.on_out_of_memory = Some(OnOutOfMemory::default());
        task.spec.resources = Some(json!({"limits": {"memory": "24Mi"}}));
    });
    let world = play(
        task,
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (Kubelet(|pod| pod.ended(end(0).reason("OOMKilled"))), "Succeeded 1/0/0 [Complete Finished] 1E"),
        ],
    );
    let status = world.status();
    assert_eq!(last(&world), ("OOMKilled".into(), None, Action::Complete));
    assert_eq!((status.memory_raises, status.last_failure), (0, None));
    let complete = status.conditions.iter().find(|condition| condition.type_ == "Complete").unwrap();
    assert_eq!(
        complete.message,
        "attempt 1 succeeded; a process in its container ran out of memory (OOMKilled), though the container exited with 0"
    );
}

#[test]
fn the_pods_own_deadline_is_not_the_tasks() {
    let rules = json!([{"name": "slow", "when": {"reasons": ["PodDeadlineExceeded"]}, "action": "Ignore"}]);
    let world = play(
        with_rules(task(), rules).backoff(fixed(1)),
        &[
            (Look, "Running 1/0/0 [Reconciling] 1P"),
            (
                Kubelet(|pod| pod.ended(end(143)).phase("Failed").because("DeadlineExceeded", "active too long")),
                "Waiting 1/0/1 due 1000 PodDeadlineExceeded 1E",
            ),
        ],
    );
    assert_eq!(last(&world), ("PodDeadlineExceeded".into(), Some("slow".into()), Action::Ignore));
    assert_eq!(world.status().message.as_deref(), Some("active too long"));
}
