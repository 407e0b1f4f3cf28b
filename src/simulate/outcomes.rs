//! How attempts end: what people write.

use crate::api::{EndReason, StopReason};
use crate::core::known_reasons;
use crate::core::slot::Slot;
use serde::Deserialize;
use serde_json::{Map, Value};

/// More attempts in a row than any rehearsal plays.
const MOST_TIMES: usize = 100_000;

/// How one attempt ends. Without any field: at once, with exit code 1.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Outcome {
    /// Exit code of the main container, 0 to 255. Unless given: 0 with reason Completed, 128 + signal, 137 where the
    /// container is killed (OOMKilled, Evicted, a disruption), else 1.
    pub exit_code: Option<i32>,
    /// The signal that ends the container, 1 to 64.
    pub signal: Option<i32>,
    /// The container's, the Pod's or the kubelet's word, as in the history.
    pub reason: Option<String>,
    /// The termination message. A JSON object is the task's own word.
    pub message: Option<String>,
    /// The task's own word: what kind of error it is.
    pub error_type: Option<String>,
    /// The task's own word: do not come back earlier.
    pub retry_after_seconds: Option<i64>,
    /// The task's own word: trying again cannot help.
    pub do_not_retry: Option<bool>,
    /// The task's own word: what came out.
    pub result: Option<Value>,
    /// How long the main container runs before it ends, in seconds.
    pub run_seconds: f64,
    /// Whether the cluster ended the Pod: drain, preemption, eviction.
    pub disrupted: bool,
    /// Types of further Pod conditions that are true.
    pub pod_conditions: Vec<String>,
    /// How many attempts in a row end so.
    pub times: Option<usize>,
    /// Whether it is the fallback that ends so, and no attempt.
    pub fallback: bool,
}

/// How the attempts end, one after the other, and the fallback; the last end repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    attempts: Vec<Outcome>,
    /// Without one the fallback succeeds.
    fallback: Option<Outcome>,
}

/// A script that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum OutcomesError {
    /// Not a list.
    #[error("a script is a list of outcomes: exit codes, reasons, or objects such as {{exitCode: 75, runSeconds: 10}}")]
    NotAList,
    /// A list of nothing.
    #[error("the script is empty: leave it out, or write how the first attempt ends, such as [1]")]
    Empty,
    /// Neither YAML nor JSON.
    #[error("{0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// An outcome with a field that there is not, or of the wrong type.
    #[error("outcome {number}: {source}")]
    Field {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An outcome that cannot be.
    #[error("outcome {number}: {problem}")]
    Impossible {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

impl Outcomes {
    /// These outcomes; without any, one that fails at once with exit code 1.
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

    /// A script as a YAML or JSON list.
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

    /// How an attempt, or the fallback, ends.
    pub(super) fn outcome(&self, slot: Slot) -> Outcome {
        if slot.fallback {
            return self.fallback.clone().unwrap_or_else(|| Outcome::word("0"));
        }
        let index = usize::try_from(slot.number.saturating_sub(1)).unwrap_or(0);
        self.attempts.get(index).or(self.attempts.last()).cloned().unwrap_or_default()
    }
}

/// What an outcome does to its Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The main container runs and ends, and the Pod with it.
    Ends,
    /// The kubelet fails the Pod, which has run.
    Killed,
    /// The kubelet turns the Pod away.
    TurnedAway,
    /// The main container does not start.
    Waits,
    /// No node is found, or the Pod is not created.
    Unscheduled,
    /// The main container runs on and on.
    RunsOn,
    /// Somebody deletes the Pod.
    Deleted,
    /// The Pod's node is gone, and the Pod is deleted for it.
    NodeGone,
    /// The Pod is gone without a trace.
    Vanishes,
}

/// What is wrong with a reason: it is the operator's to give, or misspelt.
fn reason_problem(reason: &str) -> Option<String> {
    match reason {
        "Suspended" | "Cancelled" | "SpecChanged" | "RetryNow" => {
            Some(format!("{reason} is what the operator says of an attempt that somebody stopped: no Pod ends so"))
        }
        "Unscheduled" | "ContainerCreating" | "PodInitializing" => Some(format!(
            "{reason} only says how far a Pod is, and no attempt ends so: give what keeps it from starting, such as \
             FailedMount, or StartupTimeout"
        )),
        _ => known_reasons::meant(reason)
            .map(|meant| format!("{reason} is not a reason that is known: did you mean {meant}?")),
    }
}

impl Outcome {
    /// An exit code or a reason.
    pub fn word(word: &str) -> Self {
        match word.parse() {
            Ok(code) => Self { exit_code: Some(code), ..Self::default() },
            Err(_) => Self { reason: Some(word.into()), ..Self::default() },
        }
    }

    fn problem(&self) -> Option<String> {
        if let Some(code) = self.exit_code.filter(|code| !(0..=255).contains(code)) {
            return Some(format!("{code} is no exit code: use 0 to 255"));
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
        if let Some(times) = self.times.filter(|times| !(1..=MOST_TIMES).contains(times)) {
            return Some(format!("times {times} is not a number from 1 to {MOST_TIMES}"));
        }
        let has_end = self.exit_code.is_some() || self.signal.is_some();
        let never_ends = matches!(
            self.course(),
            Course::TurnedAway
                | Course::Waits
                | Course::Unscheduled
                | Course::RunsOn
                | Course::NodeGone
                | Course::Vanishes
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
            | "AppArmor" => Course::TurnedAway,
            // What waits for a Pod's creation has no limit of its own either.
            "Unschedulable" | "SchedulingGated" | "PodRejected" | "FailedCreate" | "PodNameConflict" => {
                Course::Unscheduled
            }
            "AttemptTimeout" => Course::RunsOn,
            "PodDeleted" => Course::Deleted,
            "NodeLost" => Course::NodeGone,
            "Lost" => Course::Vanishes,
            reason if known_reasons::has_no_exit_code(reason) => Course::Waits,
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

    /// What the container leaves as its termination message.
    pub(super) fn termination_message(&self) -> Option<String> {
        let Self { message, error_type, retry_after_seconds, do_not_retry, result, .. } = self;
        let mut word = Map::new();
        let mut say = |key: &str, value: Option<Value>| word.extend(value.map(|value| (key.to_owned(), value)));
        say("errorType", error_type.clone().map(Value::from));
        say("retryAfterSeconds", retry_after_seconds.map(Value::from));
        say("doNotRetry", do_not_retry.map(Value::from));
        say("result", result.clone());
        if word.is_empty() {
            return message.clone();
        }
        word.extend(message.clone().map(|message| ("message".to_owned(), message.into())));
        Some(Value::Object(word).to_string())
    }
}
