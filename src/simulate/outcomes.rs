//! How simulated attempts end, as users write it.

use crate::api::{EndReason, StopReason};
use crate::core::known_reasons;
use crate::core::slot::Slot;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The largest `times`: more attempts than any simulation has.
const MAX_TIMES: usize = 100_000;

/// How one attempt ends. Without any field: at once, with exit code 1.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Outcome {
    /// Exit code of the main container, 0 to 255. Default: 0 with the reason Completed, 128 + signal, 137 if the
    /// container is killed (OOMKilled, Evicted, a disruption), else 1.
    pub exit_code: Option<i32>,
    /// The signal that ends the container, 1 to 64.
    pub signal: Option<i32>,
    /// The reason, as in the history.
    pub reason: Option<String>,
    /// The termination message. A JSON object is a termination report.
    pub message: Option<String>,
    /// Of the termination report: the kind of error.
    pub error_type: Option<String>,
    /// Of the termination report: the kinds of error, the most specific first.
    pub error_types: Option<Vec<String>>,
    /// Of the termination report: the shortest wait before the next attempt, in seconds.
    pub retry_after_seconds: Option<i64>,
    /// Of the termination report: a retry cannot help.
    pub do_not_retry: Option<bool>,
    /// Of the termination report: the result of the work.
    pub result: Option<Value>,
    /// Of the termination report: which part of the work failed, though the rest is done.
    pub partial: Option<Value>,
    /// Of the termination report: from where the next attempt can go on.
    pub checkpoint: Option<Value>,
    /// How long the main container runs before it ends, in seconds.
    pub run_seconds: f64,
    /// Whether the cluster ended the Pod: drain, preemption, eviction.
    pub disrupted: bool,
    /// Types of further Pod conditions that are true.
    pub pod_conditions: Vec<String>,
    /// How many attempts in a row end like this. Default 1.
    pub times: Option<usize>,
    /// Whether this is the end of the fallback instead of an attempt.
    pub fallback: bool,
}

/// How the attempts end, in their order, and how the fallback ends. The last attempt's outcome repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    attempts: Vec<Outcome>,
    /// None: the fallback succeeds.
    fallback: Option<Outcome>,
}

/// Why a list of outcomes is invalid.
#[derive(Debug, thiserror::Error)]
pub enum OutcomesError {
    /// Not a list.
    #[error("not a list of outcomes: give exit codes, reasons, or objects such as {{exitCode: 75, runSeconds: 10}}")]
    NotAList,
    /// An empty list.
    #[error("the list of outcomes is empty: give how the first attempt ends, such as [1], or give no list")]
    Empty,
    /// Neither YAML nor JSON.
    #[error("{0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// An outcome with an unknown field, or with a value of the wrong type.
    #[error("outcome {number}: {source}")]
    Field {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An outcome that is impossible.
    #[error("outcome {number}: {problem}")]
    Impossible {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

impl Outcomes {
    /// These outcomes. If there are none, every attempt fails at once with exit code 1.
    pub fn new(outcomes: Vec<Outcome>) -> Result<Self, OutcomesError> {
        for (index, outcome) in outcomes.iter().enumerate() {
            if let Some(problem) = outcome.problem() {
                return Err(OutcomesError::Impossible { number: index + 1, problem });
            }
        }
        let (fallback, attempts): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| outcome.fallback);
        let attempts = attempts.into_iter().flat_map(|outcome| {
            let times = outcome.times.unwrap_or(1);
            std::iter::repeat_n(outcome, times)
        });
        Ok(Self { attempts: attempts.collect(), fallback: fallback.into_iter().next_back() })
    }

    /// Reads a YAML or JSON list.
    pub fn parse(text: &str) -> Result<Self, OutcomesError> {
        let Value::Array(items) = serde_yaml_ng::from_str(text)? else { return Err(OutcomesError::NotAList) };
        if items.is_empty() {
            return Err(OutcomesError::Empty);
        }
        let outcomes = items.into_iter().enumerate().map(|(index, item)| match item {
            Value::Object(_) => {
                serde_json::from_value(item).map_err(|source| OutcomesError::Field { number: index + 1, source })
            }
            Value::Number(number) => Ok(Outcome::word(&number.to_string())),
            Value::String(word) => Ok(Outcome::word(&word)),
            _ => Err(OutcomesError::NotAList),
        });
        Self::new(outcomes.collect::<Result<_, _>>()?)
    }

    /// How the attempt or the fallback ends.
    pub(super) fn outcome(&self, slot: Slot) -> Outcome {
        if slot.fallback {
            return self.fallback.clone().unwrap_or_else(|| Outcome::word("0"));
        }
        let index = usize::try_from(slot.number.saturating_sub(1)).unwrap_or(0);
        self.attempts.get(index).or(self.attempts.last()).cloned().unwrap_or_default()
    }
}

/// What an outcome does to the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The main container runs and ends, and the Pod with it.
    Ends,
    /// The kubelet fails the Pod while it runs.
    Killed,
    /// The kubelet rejects the Pod.
    RejectedByKubelet,
    /// The main container does not start.
    NotStarting,
    /// No node is found, or the Pod is not created.
    Unscheduled,
    /// The main container runs until it is stopped.
    RunsOn,
    /// The user deletes the Pod.
    Deleted,
    /// The Pod's node is lost, and the Pod is deleted for that.
    NodeLost,
    /// The Pod no longer exists, and nobody saw its end.
    Lost,
}

/// What is wrong with a reason: no Pod ends with it, or it is misspelt.
fn reason_problem(reason: &str) -> Option<String> {
    match reason {
        "Suspended" | "Cancelled" | "SpecChanged" | "RetryNow" => Some(format!(
            "{reason} is the reason of an attempt that the operator stopped on request: no Pod ends with it"
        )),
        "Unscheduled" | "ContainerCreating" | "PodInitializing" => Some(format!(
            "{reason} is a stage of a Pod's start, and no attempt ends with it: give what keeps the Pod from starting, \
             such as FailedMount, or StartupTimeout"
        )),
        _ => known_reasons::meant(reason).map(|meant| format!("unknown reason {reason}: did you mean {meant}?")),
    }
}

impl Outcome {
    /// Reads an exit code or a reason.
    pub fn word(word: &str) -> Self {
        match word.parse() {
            Ok(code) => Self { exit_code: Some(code), ..Self::default() },
            Err(_) => Self { reason: Some(word.into()), ..Self::default() },
        }
    }

    fn problem(&self) -> Option<String> {
        if let Some(code) = self.exit_code.filter(|code| !(0..=255).contains(code)) {
            return Some(format!("invalid exit code {code}: use 0 to 255"));
        }
        if let Some(signal) = self.signal.filter(|signal| !(1..=64).contains(signal)) {
            return Some(format!("unknown signal {signal}: use 1 to 64"));
        }
        if self.reason.as_deref() == Some("") {
            return Some("the reason is empty".into());
        }
        if let Some(problem) = self.reason.as_deref().and_then(reason_problem) {
            return Some(problem);
        }
        if self.reason.as_deref() == Some(StopReason::DeadlineExceeded.as_str()) {
            let pods = EndReason::PodDeadlineExceeded.as_str();
            return Some(format!(
                "DeadlineExceeded is the task's own deadline: give spec.activeDeadlineSeconds, and runSeconds here; \
                 {pods} is that of the Pod"
            ));
        }
        if !(0.0..=1e9).contains(&self.run_seconds) {
            return Some(format!("runSeconds {} is not a time from 0 to 1000000000", self.run_seconds));
        }
        if let Some(times) = self.times.filter(|times| !(1..=MAX_TIMES).contains(times)) {
            return Some(format!("times {times} is not a number from 1 to {MAX_TIMES}"));
        }
        let has_end = self.exit_code.is_some() || self.signal.is_some();
        let never_ends = matches!(
            self.course(),
            Course::RejectedByKubelet
                | Course::NotStarting
                | Course::Unscheduled
                | Course::RunsOn
                | Course::NodeLost
                | Course::Lost
        );
        let reason = self.reason.as_deref().unwrap_or_default();
        (has_end && never_ends).then(|| format!("with {reason} no container ends: remove exitCode and signal"))
    }

    pub(super) fn course(&self) -> Course {
        match self.reason.as_deref().unwrap_or_default() {
            "Evicted" | "Terminated" | "NodeShutdown" | "Preempting" | "PodDeadlineExceeded" => Course::Killed,
            "UnexpectedAdmissionError"
            | "NodeAffinity"
            | "OutOfcpu"
            | "OutOfmemory"
            | "OutOfpods"
            | "OutOfephemeral-storage"
            | "TopologyAffinityError"
            | "NodePorts"
            | "SysctlForbidden"
            | "AppArmor" => Course::RejectedByKubelet,
            // What waits for a Pod's creation has no limit of its own either.
            "Unschedulable" | "SchedulingGated" | "PodRejected" | "FailedCreate" | "PodNameConflict" => {
                Course::Unscheduled
            }
            "AttemptTimeout" => Course::RunsOn,
            "PodDeleted" => Course::Deleted,
            "NodeLost" => Course::NodeLost,
            "Lost" => Course::Lost,
            reason if known_reasons::has_no_exit_code(reason) => Course::NotStarting,
            _ => Course::Ends,
        }
    }

    /// The reason of the condition DisruptionTarget, if the cluster ends the Pod.
    pub(super) fn disruption(&self) -> Option<&str> {
        const DISRUPTIONS: [&str; 5] = [
            "EvictionByEvictionAPI",
            "DeletionByTaintManager",
            "PreemptionByScheduler",
            "TerminationByKubelet",
            "DeletionByPodGC",
        ];
        let reason = self.reason.as_deref();
        let named = reason.and_then(|reason| DISRUPTIONS.into_iter().find(|known| *known == reason));
        let of_kubelet = matches!(reason, Some("Terminated" | "NodeShutdown" | "Preempting"));
        let disrupted = self.disrupted || self.pod_conditions.iter().any(|type_| type_ == "DisruptionTarget");
        let kubelets = self.course() == Course::Killed;
        let general = if kubelets { "TerminationByKubelet" } else { "EvictionByEvictionAPI" };
        named.or((disrupted || of_kubelet).then_some(general))
    }

    pub(super) fn code(&self) -> i32 {
        let by_signal = self.signal.map(|signal| 128 + signal);
        let killed = matches!(self.course(), Course::Killed | Course::Deleted) || self.disruption().is_some();
        self.exit_code.or(by_signal).unwrap_or(match self.reason.as_deref() {
            Some("Completed") => 0,
            Some("OOMKilled") => 137,
            Some("StartError" | "ContainerCannotRun") => 128,
            _ if killed => 137,
            _ => 1,
        })
    }

    /// The container's termination message.
    pub(super) fn termination_message(&self) -> Option<String> {
        let Self {
            message,
            error_type,
            error_types,
            retry_after_seconds,
            do_not_retry,
            result,
            partial,
            checkpoint,
            ..
        } = self;
        let mut report = Map::new();
        let mut add = |key: &str, value: Option<Value>| report.extend(value.map(|value| (key.to_owned(), value)));
        add("errorType", error_type.clone().map(Value::from));
        add("errorTypes", error_types.clone().map(Value::from));
        add("retryAfterSeconds", retry_after_seconds.map(Value::from));
        add("doNotRetry", do_not_retry.map(Value::from));
        add("result", result.clone());
        add("partial", partial.clone());
        add("checkpoint", checkpoint.clone());
        if report.is_empty() {
            return message.clone();
        }
        report.extend(message.clone().map(|message| ("message".to_owned(), message.into())));
        Some(Value::Object(report).to_string())
    }
}
