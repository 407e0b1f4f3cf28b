//! Failures by their cause, as rows.

use super::table::{Table, or_dash};
use super::tasks::age;
use crate::core::fingerprint::{ErrorGroup, Fingerprint, TaskId};
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many tasks a row names.
const NAMED_TASKS: usize = 3;

/// The causes as rows. `wide`: with the names of the tasks, and the last message as it is.
pub fn table(groups: &[ErrorGroup], with_namespace: bool, wide: bool, now: Timestamp) -> Table {
    let mut header = vec!["FINGERPRINT", "COUNT", "TASKS", "FIRST", "LAST", "REASON", "EXIT-CODE"];
    header.extend(wide.then_some("NAMES"));
    header.push("MESSAGE");
    let mut table = Table::new(&header);
    table.dispensable = &["NAMES", "FIRST", "TASKS", "EXIT-CODE", "LAST"];
    table.rows = groups.iter().map(|group| row(group, with_namespace, wide, now)).collect();
    table
}

fn row(group: &ErrorGroup, with_namespace: bool, wide: bool, now: Timestamp) -> Vec<String> {
    let ErrorGroup { fingerprint, count, first, last, message, tasks } = group;
    let Fingerprint { reason, exit_code, error_type, pattern } = fingerprint;
    let ago = |at: &Option<Timestamp>| or_dash(at.map(|at| age(at, now)));
    let mut cells = vec![
        fingerprint.name(),
        count.to_string(),
        tasks.len().to_string(),
        ago(first),
        ago(last),
        error_type.as_ref().map_or_else(|| reason.clone(), |error_type| format!("{reason} ({error_type})")),
        or_dash(*exit_code),
    ];
    cells.extend(wide.then(|| names(tasks.iter(), with_namespace)));
    cells.push(if wide { message.clone() } else { pattern.clone() });
    cells
}

fn names<'a>(tasks: impl ExactSizeIterator<Item = &'a TaskId>, with_namespace: bool) -> String {
    let rest = tasks.len().saturating_sub(NAMED_TASKS);
    let name = |TaskId { namespace, name }: &TaskId| {
        if with_namespace { format!("{namespace}/{name}") } else { name.clone() }
    };
    let named: Vec<String> = tasks.take(NAMED_TASKS).map(name).collect();
    let more = if rest > 0 { format!(",+{rest}") } else { String::new() };
    named.join(",") + &more
}

/// The causes for programs.
pub fn json(groups: &[ErrorGroup]) -> Value {
    let one = |group: &ErrorGroup| {
        let ErrorGroup { fingerprint, count, first, last, message, tasks } = group;
        let Fingerprint { reason, exit_code, error_type, pattern } = fingerprint;
        let time = |at: &Option<Timestamp>| at.map(|at| at.to_string());
        let tasks: Vec<Value> =
            tasks.iter().map(|TaskId { namespace, name }| json!({"namespace": namespace, "name": name})).collect();
        json!({"fingerprint": fingerprint.name(), "count": count, "first": time(first), "last": time(last),
            "reason": reason, "exitCode": exit_code, "errorType": error_type, "pattern": pattern,
            "message": message, "tasks": tasks})
    };
    json!({"errors": groups.iter().map(one).collect::<Vec<_>>()})
}
