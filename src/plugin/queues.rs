//! TaskQueues as rows.

use super::table::{Style, Table, or_dash};
use super::tasks::{age, in_time};
use crate::api::{Circuit, RetryableTask, StopPolicy, TaskQueue, TaskQueueStatus};
use crate::core::queue::place::places;
use jiff::Timestamp;
use std::fmt::Write;

/// Queues as rows. `wide`: with what the circuit opened for.
pub fn table(queues: &[TaskQueue], with_namespace: bool, wide: bool, now: Timestamp) -> Table {
    let mut header = vec!["NAME", "RUNNING", "QUEUED", "WAITING", "CIRCUIT", "OPEN-FOR", "STARTS", "AGE"];
    header.extend(wide.then_some("CAUSE"));
    if with_namespace {
        header.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&header);
    table.rows = queues.iter().map(|queue| row(queue, with_namespace, wide, now)).collect();
    table
}

fn row(queue: &TaskQueue, with_namespace: bool, wide: bool, now: Timestamp) -> Vec<String> {
    let none = TaskQueueStatus::default();
    let status = queue.status.as_ref().unwrap_or(&none);
    let circuit = status.circuit.as_ref();
    let mut cells: Vec<String> =
        with_namespace.then(|| or_dash(queue.metadata.namespace.clone())).into_iter().collect();
    cells.extend([
        or_dash(queue.metadata.name.clone()),
        or_dash(status.running.clone()),
        status.queued.to_string(),
        status.waiting.to_string(),
        or_dash(circuit.map(|circuit| circuit.state.as_str())),
        or_dash(circuit.and_then(|circuit| circuit.until.as_ref()).map(|until| in_time(until.0, now))),
        starts(queue).into(),
        or_dash(queue.metadata.creation_timestamp.as_ref().map(|at| age(at.0, now))),
    ]);
    cells.extend(wide.then(|| or_dash(circuit.and_then(|circuit| circuit.cause.clone()))));
    cells
}

/// Whether attempts may start, by the spec.
fn starts(queue: &TaskQueue) -> &'static str {
    match queue.spec.stop_policy {
        StopPolicy::None => "yes",
        StopPolicy::Hold => "Held",
        StopPolicy::HoldAndDrain => "HeldAndDrained",
    }
}

/// One queue, with the first tasks of its line.
pub fn text(queue: &TaskQueue, tasks: &[RetryableTask], limit: usize, style: Style, now: Timestamp) -> String {
    let none = TaskQueueStatus::default();
    let status = queue.status.as_ref().unwrap_or(&none);
    let name = queue.metadata.name.as_deref().unwrap_or_default();
    let mut facts = vec![
        ("Name", name.to_owned()),
        ("Namespace", or_dash(queue.metadata.namespace.clone())),
        ("Running", or_dash(status.running.clone())),
        ("Queued", status.queued.to_string()),
        ("Waiting", status.waiting.to_string()),
        ("Starts", starts(queue).to_owned()),
    ];
    if let Some(Circuit { state, until, cause, trip, .. }) = &status.circuit {
        facts.push(("Circuit", format!("{}, opened {}", state.as_str(), times(*trip))));
        facts.extend(until.as_ref().map(|until| ("Probes", in_time(until.0, now))));
        facts.extend(cause.clone().map(|cause| ("Cause", cause)));
    }
    let mut text = String::new();
    for (name, value) in facts {
        let _ = writeln!(text, "{:<12}{value}", format!("{name}:")); // a String cannot fail
    }
    let line = line(name, tasks, now);
    if !line.rows.is_empty() {
        let rows = line.rows.iter().take(limit).cloned().collect();
        let shown = Table { rows, ..line.clone() };
        let _ = write!(text, "\n{}", shown.draw(Style { no_header: false, ..style }));
        if line.rows.len() > limit {
            let _ = writeln!(text, "… and {} more", line.rows.len() - limit);
        }
    }
    text
}

/// The tasks that wait for the queue, in the order in which they start.
fn line(queue: &str, tasks: &[RetryableTask], now: Timestamp) -> Table {
    let places = places(queue, tasks, now);
    let place = |task: &RetryableTask| places.get(task.metadata.uid.as_deref().unwrap_or_default()).copied();
    let mut waiting: Vec<_> = tasks.iter().filter_map(|task| Some((place(task)?.nth, task))).collect();
    waiting.sort_by_key(|(nth, _)| *nth);
    let mut table = Table::new(&["PLACE", "TASK", "PRIORITY", "FAIRNESS-KEY", "REASON"]);
    table.rows = waiting
        .into_iter()
        .map(|(nth, task)| {
            let queue = task.spec.queue.as_ref();
            vec![
                nth.to_string(),
                or_dash(task.metadata.name.clone()),
                or_dash(queue.map(|queue| queue.priority)),
                or_dash(queue.and_then(|queue| queue.fairness_key.clone())),
                or_dash(task.status.as_ref().and_then(|status| status.reason.clone())),
            ]
        })
        .collect();
    table
}

fn times(number: i32) -> String {
    if number == 1 { "once".into() } else { format!("{number} times") }
}
