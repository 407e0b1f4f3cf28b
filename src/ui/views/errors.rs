//! Failures by their cause: forty failures of three causes are three rows.

use super::frame::{Frame, filters};
use super::list::cause_text;
use super::mark::Mark;
use super::{Link, Look};
use crate::api::State;
use crate::core::end_text::reason_and_code;
use crate::core::fingerprint::{Counted, Tally, tally};
use crate::ui::query::{NO_NODE, Paging, Place, Query, page_of, task_link};
use crate::ui::record::{Cause, FailureRecord, Key, TaskRecord};
use crate::ui::text::{When, count, counted};
use askama::Template;
use jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::hash::{Hash, Hasher};

/// Tasks that are named in a row.
const EXAMPLES: usize = 3;

/// The causes.
#[derive(Template)]
#[template(path = "errors.html")]
pub struct ErrorsPage {
    frame: Frame,
    filters: Vec<Link>,
    rows: Vec<Row>,
    paging: Paging,
    /// How many failures there are, and of how many causes.
    failures: String,
    causes: String,
    /// The options by which kubectl means this cluster, each after a space.
    options: String,
    nothing: &'static str,
}

struct Row {
    /// The fingerprint, as `kubectl retryable` takes it.
    id: String,
    count: String,
    /// Reason and exit code.
    what: String,
    error_type: Option<String>,
    message: String,
    /// Its tasks.
    tasks: Link,
    /// How many of the tasks are in which state.
    states: Vec<(Mark, Link)>,
    examples: Vec<Link>,
    first: Option<When>,
    last: Option<When>,
}

/// A cause. Each is kept once, so it is known by its place in memory.
#[derive(Clone, Copy, Debug)]
pub struct KeptCause<'a>(pub &'a Cause);

impl PartialEq for KeptCause<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for KeptCause<'_> {}

impl Hash for KeptCause<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl Ord for KeptCause<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.fingerprint.cmp(&other.0.fingerprint)
    }
}

impl PartialOrd for KeptCause<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A task. Each is kept once, so it is known by its place in memory.
#[derive(Clone, Copy, Debug)]
pub struct KeptTask<'a> {
    key: &'a Key,
    record: &'a TaskRecord,
}

impl PartialEq for KeptTask<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.key, other.key)
    }
}

/// The failures of one cause.
pub type Group<'a> = Tally<'a, KeptCause<'a>, KeptTask<'a>>;

/// The failures that pass, by their cause, as `kubectl retryable errors` has them.
pub fn groups<'a>(
    tasks: impl IntoIterator<Item = (&'a Key, &'a TaskRecord)>,
    passes: impl Fn(&FailureRecord) -> bool,
) -> Vec<Group<'a>> {
    let failures = tasks
        .into_iter()
        .flat_map(|(key, record)| record.failures.iter().map(move |failure| (KeptTask { key, record }, failure)));
    tally(failures.filter(|(_, failure)| passes(failure)).map(|(task, failure)| Counted {
        cause: KeptCause(&failure.cause),
        task,
        time: failure.time,
        message: failure.message(),
    }))
}

/// The page of the failures by their cause.
pub fn errors(look: Look) -> ErrorsPage {
    let Query { namespace: _, name: _, text, state: _, queue, schedule, reason, error, node, page: _ } = look.query;
    let is =
        |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|wanted| value == Some(wanted));
    let tasks = look.tasks().filter(|(key, task)| {
        is(queue, task.queue.as_deref())
            && is(schedule, task.schedule.as_deref())
            && text.as_deref().is_none_or(|text| key.name.contains(text))
    });
    let groups = groups(tasks, |failure| {
        is(node, Some(failure.node.as_deref().unwrap_or(NO_NODE)))
            && is(reason, Some(&failure.cause.fingerprint.reason))
            && is(error, Some(&failure.cause.id))
    });
    let failures = groups.iter().map(|group| group.count).sum();
    let (groups, paging) = page_of(groups, look.query, Place::Errors);
    ErrorsPage {
        frame: Frame::of(look, Place::Errors, "Errors"),
        filters: filters(look, Place::Errors, |id| cause_text(look, id)),
        rows: groups.iter().map(|group| row(look, group)).collect(),
        failures: counted(failures, "failure", "failures"),
        causes: counted(paging.total, "cause", "causes"),
        paging,
        options: if look.options.is_empty() { String::new() } else { format!(" {}", look.options) },
        nothing: if look.query.is_filtered() { "No failure matches." } else { "No attempt has failed." },
    }
}

fn row(look: Look, group: &Group) -> Row {
    let Tally { cause: KeptCause(cause), count: number, first, last, message, tasks } = group;
    let fingerprint = &cause.fingerprint;
    let with = |state: Option<Mark>| {
        look.query
            .with(|query| {
                query.error = Some(cause.id.clone());
                (query.reason, query.node) = (None, None);
                query.state = state.map(|mark| mark.word.to_owned());
            })
            .link(Place::Tasks)
    };
    let states = states(tasks.iter().map(|(task, _)| task.record.state)).into_iter().map(|(state, number)| {
        let mark = Mark::of_task(state);
        (mark, Link { text: count(number), href: with(Some(mark)) })
    });
    let example = |key: &Key| Link { text: key.name.to_string(), href: task_link(&key.namespace, &key.name) };
    Row {
        id: cause.id.clone(),
        count: count(*number),
        what: reason_and_code(&fingerprint.reason, fingerprint.exit_code),
        error_type: fingerprint.error_type.clone(),
        message: (*message).to_owned(),
        tasks: Link { text: count(tasks.len()), href: with(None) },
        states: states.collect(),
        examples: newest(tasks).into_iter().map(|task| example(task.key)).collect(),
        first: first.map(|at| look.when(at)),
        last: last.map(|at| look.when(at)),
    }
}

/// How many are in which state: failed ones first, then the most frequent.
fn states(all: impl Iterator<Item = State>) -> Vec<(State, usize)> {
    let mut counts: Vec<(State, usize)> = Vec::new();
    for state in all {
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, number)) => *number += 1,
            None => counts.push((state, 1)),
        }
    }
    counts.sort_by_key(|(state, number)| (*state != State::Failed, Reverse(*number)));
    counts
}

/// Those that failed last, without sorting all of them.
fn newest<'a>(tasks: &[(KeptTask<'a>, Option<Timestamp>)]) -> Vec<KeptTask<'a>> {
    let mut found: Vec<(KeptTask, Option<Timestamp>)> = Vec::with_capacity(EXAMPLES + 1);
    for (task, last) in tasks {
        // Of two at the same time the one that comes first stays: they come by their names.
        let place = found.partition_point(|(_, known)| known >= last);
        if place < EXAMPLES {
            found.insert(place, (*task, *last));
            found.truncate(EXAMPLES);
        }
    }
    found.into_iter().map(|(task, _)| task).collect()
}
