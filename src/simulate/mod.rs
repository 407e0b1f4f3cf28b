//! Simulates a task without a cluster: the operator's own decisions ([`crate::core::decide`]), on Pods whose ends are
//! given and with a simulated clock. There is no policy here.

mod budget;
mod jitter_uid;
pub mod manifest;
pub mod outage;
mod outcomes;
mod pods;
mod run;
pub mod schedule;
mod table;

use crate::api::{Action, Completion, RetryableTask};
use crate::core::known_reasons;
use crate::core::main_container::{containers, main_container_name, name_of};
use jitter_uid::JitterPick;
use run::{Play, SimulatedCluster};
use serde::Serialize;

pub use outcomes::{Outcome, Outcomes, OutcomesError};
pub use table::tables;

/// The simulation of one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// The task's name.
    pub name: String,
    /// The task's namespace, if the manifest has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The attempts in their order.
    pub attempts: Vec<Attempt>,
    /// The fallback, if it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// The end of the task.
    pub end: End,
    /// Further remarks, in sentences.
    pub notes: Vec<String>,
}

/// One attempt: the wait before it, how it ends, and what follows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: i32,
    /// The shortest wait before it, in milliseconds.
    pub earliest_milliseconds: i64,
    /// The mean wait before it, in milliseconds.
    pub expected_milliseconds: i64,
    /// The longest wait before it, in milliseconds.
    pub latest_milliseconds: i64,
    /// The time from the task's start to the attempt's start, with mean waits, in milliseconds.
    pub start_milliseconds: i64,
    /// How long it takes, in milliseconds.
    pub run_milliseconds: i64,
    /// Why it ends, as in the history.
    pub reason: String,
    /// The exit code, where a container ends.
    pub exit_code: Option<i32>,
    /// The signal that ends the container.
    pub signal: Option<i32>,
    /// The kind of error in the termination report.
    pub error_type: Option<String>,
    /// The checkpoint that the next attempt gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The message in the history.
    pub message: Option<String>,
    /// The memory of its main container. Only with `spec.onOutOfMemory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// `fromAttempt` of the last of `spec.overrides` that applies to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_from: Option<i32>,
    /// The rule that matches its end.
    pub rule: Option<String>,
    /// What follows.
    pub action: Action,
    /// The budget that is charged, or that is exhausted.
    pub budget: Option<BudgetUse>,
}

/// The fallback: the Pod that runs when the task has failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// The time from the task's start to the fallback's start, with mean waits, in milliseconds.
    pub start_milliseconds: i64,
    /// How long it takes, in milliseconds.
    pub run_milliseconds: i64,
    /// Why it ends.
    pub reason: String,
    /// The exit code, where a container ends.
    pub exit_code: Option<i32>,
    /// The message in the status.
    pub message: Option<String>,
}

/// How far a budget is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetUse {
    /// `maxRetries`, or the name of a rule.
    pub name: String,
    /// How much of it is used.
    pub used: i32,
    /// How large it is.
    pub limit: i32,
}

/// How a simulation ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// The condition that ends the task, or why the simulation ends without one.
    #[serde(rename = "type")]
    pub type_: EndType,
    /// The condition's reason.
    pub reason: Option<String>,
    /// The condition's message, or why the simulation ends without a condition.
    pub message: String,
    /// The budget whose exhaustion ends the task.
    pub exhausted_budget: Option<String>,
    /// The time since the task's start, with mean waits, in milliseconds.
    pub at_milliseconds: i64,
}

/// The condition that ends a task, or why the simulation ends without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EndType {
    /// An attempt succeeds.
    Complete,
    /// The task fails.
    Failed,
    /// The task goes on beyond the limit of the simulation.
    NotFollowed,
    /// The task waits for ever.
    NeverEnds,
}

/// Why a task cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template gives a Pod that this version cannot read.
    #[error("the Pod of attempt {number} cannot be read: {source}")]
    Pod {
        /// The attempt.
        number: i32,
        /// Why not.
        source: serde_json::Error,
    },
    /// The decisions do not end although no time passes. This is a bug.
    #[error("the reconcile did not converge at attempt {0}")]
    NoConvergence(i32),
}

/// Simulates a task that was admitted. `script` says how its attempts end. At most `limit` attempts are simulated.
pub fn simulate(task: &RetryableTask, script: &Outcomes, limit: usize) -> Result<Simulation, Error> {
    let outcome = |slot, _| script.outcome(slot);
    let play = |jitter_seed| SimulatedCluster::new(task, &outcome, jitter_seed).play(limit);
    // Decisions depend on the waits only if the task has a deadline.
    let limited = task.spec.active_deadline_seconds.is_some();
    let Play { attempts, fallback, end } = play(if limited { JitterPick::Middle } else { JitterPick::Any })?;
    let mut notes = notes_on(task);
    let bounds = [(JitterPick::Lowest, "shortest"), (JitterPick::Highest, "longest")];
    for (jitter_seed, waits) in bounds.into_iter().filter(|_| limited) {
        let Play { attempts: others, end: other, .. } = play(jitter_seed)?;
        let same = (others.len(), other.type_, &other.reason) == (attempts.len(), end.type_, &end.reason);
        if !same {
            let how = other.reason.unwrap_or(other.message);
            notes.push(format!("with the {waits} waits it ends after {}: {how}", table::counted(others.len())));
        }
    }
    let name = task.metadata.name.clone().unwrap_or_default();
    Ok(Simulation { name, namespace: task.metadata.namespace.clone(), attempts, fallback, end, notes })
}

/// What a simulation leaves out, and what in the task may be a slip.
fn notes_on(task: &RetryableTask) -> Vec<String> {
    let mut notes = Vec::new();
    if task.spec.suspend {
        notes.push("spec.suspend is true: no attempt starts until it is false; this shows what happens then".into());
    }
    if let Some(start_at) = &task.spec.start_at {
        notes.push(format!("spec.startAt is {start_at}: times count from the start of the first attempt"));
    }
    let after: Vec<&str> = task.spec.after.iter().flatten().map(|after| after.task.as_str()).collect();
    if !after.is_empty() {
        let after = after.join(", ");
        notes.push(format!("spec.after names {after}: this shows what happens once that has ended as it must"));
    }
    notes.extend(main_container_note(task));
    notes.extend(unknown_reasons(task));
    notes
}

/// Notes on unknown reasons in rules. They are not faults: a kubelet or a runtime may have reasons of its own.
fn unknown_reasons(task: &RetryableTask) -> Vec<String> {
    let rules = task.spec.rules.iter().flatten();
    let all = rules.flat_map(|rule| {
        let reasons = rule.when.as_ref().and_then(|when| when.reasons.as_ref());
        reasons.into_iter().flatten().map(|reason| (&rule.name, reason))
    });
    let unknown = all.filter(|(_, reason)| !known_reasons::KNOWN.contains(&reason.as_str()));
    let note = |(rule, reason): (&String, &String)| {
        let meant = known_reasons::meant(reason).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        format!("rule {rule} matches the unknown reason {reason}{meant}")
    };
    unknown.map(note).collect()
}

/// A note on which containers decide, if there are several.
fn main_container_note(task: &RetryableTask) -> Option<String> {
    let main = main_container_name(&task.spec);
    let others = containers(task.spec.template.as_ref()).iter().filter_map(name_of).filter(|name| *name != main);
    let others: Vec<&str> = others.collect();
    if others.is_empty() {
        return None;
    }
    let others = others.join(", ");
    Some(match task.spec.completion {
        Completion::MainContainer => {
            format!("the main container is {main}; its end decides, and {others} would be stopped 3s after it")
        }
        Completion::AllContainers => {
            let are = if others.contains(", ") { "are" } else { "is" };
            format!(
                "the main container is {main}; {others} must succeed too, and {are} assumed to exit with 0 when it ends"
            )
        }
    })
}

#[cfg(test)]
mod tests;
