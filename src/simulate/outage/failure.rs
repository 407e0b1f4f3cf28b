//! An end that a queue takes for a failure of its service.

use crate::api::{Action, HistoryEntry, ServiceFailures};
use crate::core::queue::failures::matches_entry;
use crate::simulate::outcomes::Outcome;

/// An end that these match, as far as one can be made up: no text is for a regular expression. Exit code 1 if there are none.
pub(super) fn of(failures: Option<&ServiceFailures>) -> Outcome {
    let Some(ServiceFailures { preset, exit_codes, not_exit_codes, signals, reasons, error_types, message: _ }) =
        failures
    else {
        return Outcome::default();
    };
    let codes = ServiceFailures {
        preset: *preset,
        exit_codes: exit_codes.clone(),
        not_exit_codes: not_exit_codes.clone(),
        ..ServiceFailures::default()
    };
    let signals = ServiceFailures { signals: signals.clone(), ..ServiceFailures::default() };
    let first = |all: &Option<Vec<String>>| all.as_ref().and_then(|all| all.first().cloned());
    Outcome {
        exit_code: (codes != ServiceFailures::default()).then(|| first_match(&codes, 255, with_code)).flatten(),
        signal: signals.signals.is_some().then(|| first_match(&signals, 64, with_signal)).flatten(),
        reason: first(reasons),
        error_type: first(error_types),
        ..Outcome::default()
    }
}

fn first_match(failures: &ServiceFailures, most: i32, entry: fn(i32) -> HistoryEntry) -> Option<i32> {
    (1..=most).find(|number| matches_entry(failures, &entry(*number)))
}

fn with_code(code: i32) -> HistoryEntry {
    HistoryEntry { exit_code: Some(code), action: Action::Retry, ..HistoryEntry::default() }
}

fn with_signal(signal: i32) -> HistoryEntry {
    HistoryEntry { signal: Some(signal), ..with_code(signal.saturating_add(128)) }
}
