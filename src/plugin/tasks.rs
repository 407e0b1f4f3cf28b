//! Tasks in a list, and which of them are meant.

use super::table::{Table, or_dash};
use crate::api::{ConditionType, RetryableTask, RetryableTaskStatus, State};
use crate::core::condition_list;
use crate::core::fingerprint::last_failure;
use crate::core::time::{human, until};
use jiff::Timestamp;
use std::cmp::Reverse;

/// Which tasks are meant, beside what the API server selects. Empty lists select all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// States, in any case: `Failed`, `waiting`.
    pub states: Vec<String>,
    /// Reasons: of the last failure, of what keeps the task from starting, or of its end.
    pub reasons: Vec<String>,
    /// Short names of the fingerprints that `errors` shows.
    pub fingerprints: Vec<String>,
}

impl Filter {
    /// Whether it leaves everything in.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the task is meant.
    pub fn takes(&self, task: &RetryableTask) -> bool {
        let Self { states, reasons, fingerprints } = self;
        let is_one_of = |wanted: &[String], words: &[String]| {
            wanted.is_empty() || words.iter().any(|word| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(word)))
        };
        is_one_of(states, &[state(task)])
            && (reasons.is_empty() || is_one_of(reasons, &all_reasons(task)))
            && (fingerprints.is_empty()
                || last_failure(task).is_some_and(|failure| fingerprints.contains(&failure.fingerprint().name())))
    }
}

/// The states that can be asked for.
pub const STATES: [&str; 9] =
    ["Pending", "Blocked", "Running", "Waiting", "Queued", "Suspended", "Succeeded", "Failed", "Cancelled"];

/// The states that are none, with what may have been meant.
pub fn unknown_state(states: &[String]) -> Option<String> {
    let is_known = |state: &&String| STATES.iter().any(|known| known.eq_ignore_ascii_case(state));
    let unknown = states.iter().find(|state| !is_known(state))?;
    Some(format!("invalid state {unknown:?}: use one of {}", STATES.join(", ")))
}

/// The task's state in one word. `New` until an operator has seen it.
pub fn state(task: &RetryableTask) -> String {
    match task.status.as_ref().and_then(|status| status.state) {
        None => "New".into(),
        Some(State::Unknown) => "Unknown".into(),
        Some(state) => format!("{state:?}"),
    }
}

fn all_reasons(task: &RetryableTask) -> Vec<String> {
    let Some(status) = &task.status else { return Vec::new() };
    let of_conditions = [ConditionType::Failed, ConditionType::Complete, ConditionType::Stalled]
        .into_iter()
        .filter_map(|type_| condition_list::find(&status.conditions, type_))
        .map(|condition| condition.reason.clone());
    let last = status.last_failure.as_ref().map(|failure| failure.reason.clone());
    of_conditions.chain(status.reason.clone()).chain(last).collect()
}

/// In which order tasks are shown. The option `--sort` has these words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SortBy {
    /// By namespace and name
    #[default]
    Name,
    /// The youngest first
    Age,
    /// By state, and by name within one
    State,
    /// The next to start first
    NextRetry,
    /// Those with the most attempts first
    Attempts,
}

/// Brings tasks into that order.
pub fn sort(tasks: &mut [RetryableTask], by: SortBy) {
    let name = |task: &RetryableTask| (task.metadata.namespace.clone(), task.metadata.name.clone());
    let status = |task: &RetryableTask| task.status.clone().unwrap_or_default();
    tasks.sort_by_cached_key(name);
    match by {
        SortBy::Name => {}
        SortBy::Age => {
            let created = |task: &RetryableTask| task.metadata.creation_timestamp.as_ref().map(|created| created.0);
            tasks.sort_by_cached_key(|task| Reverse(created(task)));
        }

        SortBy::State => tasks.sort_by_cached_key(state),
        SortBy::NextRetry => {
            tasks.sort_by_cached_key(|task| status(task).next_retry_time.map_or(Timestamp::MAX, |at| at.0));
        }
        SortBy::Attempts => tasks.sort_by_cached_key(|task| Reverse(status(task).attempts)),
    }
}

/// The tasks as rows. `wide`: with more columns.
pub fn table(tasks: &[RetryableTask], with_namespace: bool, wide: bool, now: Timestamp) -> Table {
    let mut header = vec!["NAME", "STATE", "ATTEMPTS", "LAST-REASON", "NEXT-RETRY", "AGE"];
    if wide {
        header.extend(["DURATION", "EXIT-CODE", "QUEUE", "IMAGE", "MESSAGE"]);
    }
    if with_namespace {
        header.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&header);
    table.dispensable = &["IMAGE", "QUEUE", "DURATION", "EXIT-CODE", "LAST-REASON", "NEXT-RETRY"];
    table.rows = tasks.iter().map(|task| row(task, with_namespace, wide, now)).collect();
    table
}

fn row(task: &RetryableTask, with_namespace: bool, wide: bool, now: Timestamp) -> Vec<String> {
    let none = RetryableTaskStatus::default();
    let status = task.status.as_ref().unwrap_or(&none);
    let namespace = with_namespace.then(|| or_dash(task.metadata.namespace.clone()));
    let mut cells: Vec<String> = namespace.into_iter().collect();
    cells.extend([
        or_dash(task.metadata.name.clone()),
        state(task),
        status.attempts.to_string(),
        or_dash(status.reason.clone()),
        or_dash(status.next_retry_time.as_ref().map(|at| in_time(at.0, now))),
        or_dash(task.metadata.creation_timestamp.as_ref().map(|at| age(at.0, now))),
    ]);
    if wide {
        cells.extend([
            or_dash(status.duration.clone()),
            or_dash(status.last_failure.as_ref().and_then(|failure| failure.exit_code)),
            or_dash(task.spec.queue.as_ref().map(|queue| queue.name.clone())),
            or_dash(task.spec.image.clone()),
            or_dash(status.message.clone()),
        ]);
    }
    cells
}

/// How long ago, as people read it.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    human(until(at, now))
}

/// How far a time to come is, such as `in 8s`; `now` once it has come.
pub fn in_time(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "now".into() } else { format!("in {}", human(until(now, at))) }
}
