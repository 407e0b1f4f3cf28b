//! Which ends of attempts are failures of the service that a queue protects.

use crate::api::{Action, HistoryEntry, ServiceFailures, StopReason, When};
use crate::core::classify::{DISRUPTION, OUT_OF_MEMORY, STARTUP, Verdict};
use crate::core::pod_snapshot::Outcome;
use crate::core::rule_match;
use crate::core::termination_report::TerminationReport;
use jiff::Timestamp;

/// The name of the rule in the history if a probe failed because the service did: it is not charged.
pub const CIRCUIT: &str = "circuit";

/// Whether an end of that kind is a failure of the service.
pub fn matches(failures: &ServiceFailures, outcome: &Outcome) -> bool {
    !outcome.succeeded && rule_match::all_match(&when(failures), outcome)
}

/// The same for an end that the history has.
pub fn matches_entry(failures: &ServiceFailures, entry: &HistoryEntry) -> bool {
    let is_own_stop = entry.action == Action::Ignore && entry.rule.is_none();
    !is_own_stop && matches(failures, &outcome(entry))
}

/// Whether a probe is not charged for its end: the service has failed it, and it would cost the task a retry. `None`: every
/// failure that is charged is one of the service.
pub fn spares(failures: Option<&ServiceFailures>, outcome: &Outcome, verdict: &Verdict) -> bool {
    let Verdict { action, rule, exhausted, .. } = verdict;
    let costs = *action == Action::Retry || exhausted.is_some();
    costs && failures.map_or(!is_of_the_cluster(rule.as_deref()), |failures| matches(failures, outcome))
}

/// Whether the rule is a built-in one: the failure says nothing of a service.
pub(super) fn is_of_the_cluster(rule: Option<&str>) -> bool {
    [DISRUPTION, OUT_OF_MEMORY, STARTUP].into_iter().any(|built_in| rule == Some(built_in))
}

/// What is wrong with the matchers, as a message to their author. Admission rejects most of it.
pub fn problem(failures: &ServiceFailures) -> Option<String> {
    rule_match::when_problem(&when(failures))
}

fn when(failures: &ServiceFailures) -> When {
    let ServiceFailures { preset, exit_codes, not_exit_codes, signals, reasons, error_types, message } =
        failures.clone();
    When { preset, exit_codes, not_exit_codes, signals, reasons, error_types, message, pod_conditions: None }
}

/// The end, as far as the history keeps it.
fn outcome(entry: &HistoryEntry) -> Outcome {
    let stops = [StopReason::AttemptTimeout, StopReason::StartupTimeout];
    Outcome {
        succeeded: entry.action == Action::Complete,
        container: entry.container.clone(),
        exit_code: entry.exit_code,
        signal: entry.signal,
        reason: entry.reason.clone(),
        cause: None,
        message: entry.message.clone(),
        raw_report: None,
        is_log: false,
        report: TerminationReport {
            error_types: match &entry.error_types[..] {
                [] => entry.error_type.iter().cloned().collect(),
                all => all.to_vec(),
            },
            ..TerminationReport::default()
        },
        started: None,
        finished: entry.finish_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
        disrupted: false,
        conditions: Vec::new(),
        never_started: false,
        stopped: stops.iter().any(|stop| stop.as_str() == entry.reason),
        past_deadline: None,
    }
}

#[cfg(test)]
mod tests;
