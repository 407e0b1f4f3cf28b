//! One task: what is known of it, and its attempts with the waits between them.

use super::table::{Style, Table, or_dash, wrapped};
use super::tasks::state;
use crate::api::{Action, Fallback, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::decide::is_finished;
use crate::core::excerpt;
use crate::core::time::{human, until};
use crate::core::why::Why;
use jiff::{SignedDuration, Timestamp};
use std::fmt::Write;

/// Where the values of facts begin.
const INDENT: usize = 12;
/// What begins the table of attempts.
const FIRST_HEADER: &str = "ATTEMPT ";

/// The text cut to so many lines: the oldest attempts go first.
pub fn fitted(text: &str, height: usize) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| line.starts_with(FIRST_HEADER)).map_or(lines.len(), |header| header + 1);
    let surplus = lines.len().saturating_sub(height).min(lines.len().saturating_sub(first + 1));
    lines.drain(first..first + surplus);
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// The task in full.
pub fn text(task: &RetryableTask, why: &Why, style: Style, now: Timestamp) -> String {
    let none = RetryableTaskStatus::default();
    let status = task.status.as_ref().unwrap_or(&none);
    let mut text = String::new();
    let mut facts = facts(task, status);
    facts.push(("Why", why.sentence.clone()));
    facts.extend(why.hints.iter().map(|hint| ("", hint.clone())));
    for (name, value) in facts {
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        let value = wrapped(&value, INDENT, style.width);
        let _ = writeln!(text, "{name:<INDENT$}{value}"); // a String cannot fail
    }
    let table = attempts(task, status, now);
    if !table.rows.is_empty() {
        let _ = write!(text, "\n{}", table.draw(Style { no_header: false, ..style }));
    }
    text
}

/// Why a task is where it is, with what to do beside it. `name` says of which task, where there are several.
pub fn sentence(name: Option<&str>, why: &Why) -> String {
    let Why { sentence: _, hints } = why;
    let sentence = why.text();
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let hints: String = hints.iter().flat_map(|hint| ["  ", hint.as_str(), "\n"]).collect();
    format!("{name}{sentence}\n{hints}")
}

fn facts(task: &RetryableTask, status: &RetryableTaskStatus) -> Vec<(&'static str, String)> {
    let spec = &task.spec;
    let text = |text: &Option<String>| or_dash(text.clone());
    let retries =
        format!("{} of {} charged, {} attempts not charged", status.retries, spec.max_retries, status.ignored);
    let mut facts = vec![
        ("Name", text(&task.metadata.name)),
        ("Namespace", text(&task.metadata.namespace)),
        ("State", state(task)),
        ("Attempts", status.attempts.to_string()),
        ("Retries", retries),
    ];
    let more = [
        ("Run", status.run.map(|run| run.number.to_string())),
        ("Queue", spec.queue.as_ref().map(|queue| queue.name.clone())),
        ("Duration", status.duration.clone()),
        ("Result", status.result.clone()),
        ("Checkpoint", status.checkpoint.clone().filter(|_| !is_finished(&status.conditions))),
    ];
    facts.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts
}

fn attempts(task: &RetryableTask, status: &RetryableTaskStatus, now: Timestamp) -> Table {
    let mut table =
        Table::new(&["ATTEMPT", "STARTED", "RAN", "REASON", "EXIT-CODE", "RULE", "ACTION", "WAIT", "NODE", "MESSAGE"]);
    table.dispensable = &["NODE", "RULE", "STARTED", "EXIT-CODE", "ACTION", "RAN"];
    if status.history_dropped > 0 {
        let mut row = vec![format!("1-{}", status.history_dropped)];
        row.resize(table.header.len() - 1, "-".into());
        row.push("dropped from the history (historyLimit)".into());
        table.rows.push(row);
    }
    table.rows.extend(status.history.iter().map(|entry| ended(entry)));
    table.rows.extend(current(task, status, now));
    table.rows.extend(status.fallback.as_ref().map(|fallback| of_fallback(fallback, now)));
    table
}

fn ended(entry: &HistoryEntry) -> Vec<String> {
    let HistoryEntry { attempt, node_name, start_time, finish_time, exit_code, reason, rule, action, .. } = entry;
    let started = start_time.as_ref().map(|at| at.0);
    let ran = started.zip(finish_time.as_ref()).map(|(started, finished)| human(until(started, finished.0)));
    let line = entry.message.as_deref().and_then(|text| match entry.exit_code {
        Some(_) if entry.error_type.is_none() => excerpt::last_line(text),
        _ => excerpt::first_line(text),
    });
    let action = if *action == Action::Unknown { None } else { Some(format!("{action:?}")) };
    vec![
        attempt.to_string(),
        or_dash(started.map(clock)),
        or_dash(ran),
        reason.clone(),
        or_dash(*exit_code),
        or_dash(rule.clone()),
        or_dash(action),
        or_dash(entry.delay_milliseconds.map(|wait| human(SignedDuration::from_millis(wait)))),
        or_dash(node_name.clone()),
        or_dash(line),
    ]
}

/// The attempt that waits, runs, or cannot start.
fn current(task: &RetryableTask, status: &RetryableTaskStatus, now: Timestamp) -> Option<Vec<String>> {
    let current = status.current.as_ref().filter(|current| !current.fallback)?;
    let created = current.create_time.as_ref().filter(|_| current.pod_name.is_some()).map(|at| at.0);
    let wait = current.due_time.as_ref().filter(|due| current.pod_name.is_none() && due.0 > now);
    let hold_up = current.hold_up.as_ref();
    let what =
        if created.is_some() && hold_up.is_none() && current.rejections == 0 { "Running".into() } else { state(task) };
    Some(vec![
        current.number.to_string(),
        or_dash(created.map(clock)),
        or_dash(created.map(|created| human(until(created, now)))),
        hold_up.map_or(what, |hold_up| hold_up.reason.clone()),
        "-".into(),
        "-".into(),
        "-".into(),
        or_dash(wait.map(|due| format!("{} left", human(until(now, due.0))))),
        "-".into(),
        or_dash(hold_up.and_then(|hold_up| hold_up.message.clone())),
    ])
}

fn of_fallback(fallback: &Fallback, now: Timestamp) -> Vec<String> {
    let Fallback { state, pod_name: _, pod_uid: _, node_name, start_time, finish_time, exit_code, reason, message } =
        fallback;
    let started = start_time.as_ref().map(|at| at.0);
    let ran = started.map(|started| human(until(started, finish_time.as_ref().map_or(now, |at| at.0))));
    let line = message.as_deref().and_then(excerpt::last_line);
    vec![
        "fallback".into(),
        or_dash(started.map(clock)),
        or_dash(ran),
        reason.clone().unwrap_or_else(|| format!("{state:?}")),
        or_dash(*exit_code),
        "-".into(),
        "-".into(),
        "-".into(),
        or_dash(node_name.clone()),
        or_dash(line),
    ]
}

/// The time of an attempt, to the second.
fn clock(at: Timestamp) -> String {
    format!("{at:.0}")
}
