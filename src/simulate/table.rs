//! Simulations as tables, for people.

use super::{Attempt, BudgetUse, EndType, Fallback, Simulation};
use std::fmt::Write;

const GAP: &str = "   ";

/// What the columns of times mean.
const LEGEND: &str = "EARLIEST, EXPECTED, LATEST: the wait before the attempt. START: the expected time from the \
    task's start to the attempt's.\n";

/// The simulations as tables and sentences. `with_ends`: with the ends of the attempts, instead of the waits alone.
pub fn tables(simulations: &[Simulation], with_ends: bool) -> String {
    let tables: Vec<String> = simulations.iter().map(|simulation| table(simulation, with_ends)).collect();
    format!("{}\n{LEGEND}", tables.join("\n"))
}

fn table(simulation: &Simulation, with_ends: bool) -> String {
    let Simulation { name, namespace, attempts, fallback, end, notes } = simulation;
    let mut text = String::new();
    let title = namespace.as_ref().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
    let assumption = if with_ends { "" } else { ", if every attempt fails at once with exit code 1" };
    let mut header = vec!["ATTEMPT", "EARLIEST", "EXPECTED", "LATEST", "START"];
    if with_ends {
        header.extend(["REASON", "EXIT-CODE", "RULE", "ACTION", "BUDGET"]);
        header.extend(attempts.iter().any(|attempt| attempt.memory.is_some()).then_some("MEMORY"));
    }
    let columns = header.len();
    let header = header.into_iter().map(ToOwned::to_owned).collect();
    let rows = attempts.iter().map(row).chain(fallback.as_ref().map(fallback_row));
    let rows = rows.map(|row| row.into_iter().take(columns).collect());
    let lines = aligned(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
    let after = format!("after {} and {}", counted(attempts.len()), duration(end.at_milliseconds));
    let (what, message) = match end.type_ {
        EndType::Complete | EndType::Failed => {
            let reason = end.reason.as_deref().unwrap_or_default();
            (format!("{:?} {after}: {reason}", end.type_), end.message.clone())
        }
        EndType::NotFollowed | EndType::NeverEnds => (format!("No end {after}"), end.message.clone()),
    };
    let _ = write!(text, "{title}{assumption}\n\n{lines}\n{what}\n  {message}\n"); // a String cannot fail
    for note in notes {
        let _ = writeln!(text, "  {note}");
    }
    text
}

/// `1 attempt`, `2 attempts`.
pub(super) fn counted(attempts: usize) -> String {
    format!("{attempts} attempt{}", if attempts == 1 { "" } else { "s" })
}

/// All columns. The caller drops those that are not shown.
fn row(attempt: &Attempt) -> Vec<String> {
    let waits = [attempt.earliest_milliseconds, attempt.expected_milliseconds, attempt.latest_milliseconds];
    let times = waits.into_iter().chain([attempt.start_milliseconds]).map(duration);
    let budget = attempt.budget.as_ref().map(|BudgetUse { name, used, limit }| format!("{name} {used}/{limit}"));
    let end = [
        attempt.reason.clone(),
        or_dash(attempt.exit_code.map(|code| code.to_string())),
        or_dash(attempt.rule.clone()),
        format!("{:?}", attempt.action),
        or_dash(budget),
        or_dash(attempt.memory.clone()),
    ];
    std::iter::once(attempt.attempt.to_string()).chain(times).chain(end).collect()
}

fn fallback_row(fallback: &Fallback) -> Vec<String> {
    let Fallback { start_milliseconds, run_milliseconds: _, reason, exit_code, message: _ } = fallback;
    let dash = || or_dash(None);
    let start = [dash(), dash(), dash(), duration(*start_milliseconds)];
    let end = [reason.clone(), or_dash(exit_code.map(|code| code.to_string())), dash(), dash(), dash(), dash()];
    std::iter::once("fallback".into()).chain(start).chain(end).collect()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A duration without rounding: `0.75s`, `45s`, `1m7.5s`, `2h0m5s`, `3d4h0m0s`.
pub(super) fn duration(milliseconds: i64) -> String {
    let total = milliseconds.max(0);
    let (days, hours, minutes) = (total / 86_400_000, total / 3_600_000 % 24, total / 60_000 % 60);
    let (seconds, fraction) = (total / 1000 % 60, total % 1000);
    let seconds = match fraction {
        0 => format!("{seconds}s"),
        _ => format!("{}s", format!("{seconds}.{fraction:03}").trim_end_matches('0')),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => seconds,
        (0, 0, _) => format!("{minutes}m{seconds}"),
        (0, _, _) => format!("{hours}h{minutes}m{seconds}"),
        _ => format!("{days}d{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests;
