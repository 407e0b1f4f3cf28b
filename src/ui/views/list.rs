//! The lists of tasks: what has not ended, what has failed, and all.

use super::frame::{Frame, filters};
use super::mark::Mark;
use super::{Link, Look};
use crate::api::State;
use crate::core::end_text::reason_and_code;
use crate::ui::query::{NO_NODE, Paging, Place, Query, page_of, task_link};
use crate::ui::record::{Key, TaskRecord};
use crate::ui::text::{When, count};
use askama::Template;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

/// The states, in the order in which they are shown.
const STATES: [State; 10] = [
    State::Running,
    State::Waiting,
    State::Queued,
    State::Blocked,
    State::Pending,
    State::Suspended,
    State::Failed,
    State::Cancelled,
    State::Succeeded,
    State::Unknown,
];

/// Most reasons that have a chip: the most frequent ones.
const MAX_REASONS: usize = 20;

/// A list of tasks.
#[derive(Template)]
#[template(path = "list.html")]
pub struct ListPage {
    frame: Frame,
    heading: &'static str,
    chips: Vec<Chip>,
    filters: Vec<Link>,
    rows: Vec<Row>,
    paging: Paging,
    /// What to say if there is none.
    nothing: String,
    /// What the column with the time is called.
    time_column: &'static str,
}

/// A part of the list, and how many are in it.
struct Chip {
    mark: Option<Mark>,
    text: String,
    count: String,
    href: String,
    is_current: bool,
}

/// A task in the list.
struct Row {
    href: String,
    namespace: String,
    name: String,
    mark: Mark,
    /// How many were started. Empty if that is not known.
    attempts: String,
    /// How many retries are charged, and how many may be.
    retries: String,
    /// Since when it has run or waited, when it is due, or when it has ended.
    when: Option<When>,
    queue: Option<Link>,
    /// The reason, with the exit code.
    reason: String,
    message: String,
}

/// The list at that place.
pub fn list(look: Look, place: Place) -> ListPage {
    let nodes = look.query.node.as_deref().map(|node| tasks_on(look, node));
    let is_in = |state: State| match place {
        Place::Now => !crate::ui::record::is_end(state),
        Place::Failed => state == State::Failed,
        _ => true,
    };
    // Of the list without the state and the reason: so their counts say how many there would be.
    let wide: Vec<(&Key, &TaskRecord)> = look
        .tasks()
        .filter(|(key, task)| is_in(task.state) && matches(look.query, key, task, nodes.as_ref()))
        .collect();
    let chips = if place == Place::Failed { reasons(look, &wide) } else { states(look, place, &wide) };
    let wanted = look.query.wanted_state();
    let reason = look.query.reason.as_deref();
    let mut tasks: Vec<(&Key, &TaskRecord)> = wide
        .into_iter()
        .filter(|(_, task)| wanted.is_none_or(|wanted| wanted == Some(task.state)))
        .filter(|(_, task)| reason.is_none_or(|reason| has_reason(task, reason)))
        .collect();
    if place == Place::Failed {
        tasks.sort_by_key(|(_, task)| Reverse(task.ended));
    } else {
        tasks.sort_by_key(|(_, task)| order(task));
    }
    let (tasks, paging) = page_of(tasks, look.query, place);
    ListPage {
        frame: Frame::of(look, place, place.title()),
        heading: place.title(),
        chips,
        filters: filters(look, place, |id| cause_text(look, id)),
        rows: tasks.into_iter().map(|(key, task)| row(look, key, task)).collect(),
        paging,
        nothing: nothing(look, place),
        time_column: match place {
            Place::Now => "Since, or due",
            Place::Failed => "Failed",
            _ => "Since, due or ended",
        },
    }
}

fn nothing(look: Look, place: Place) -> String {
    if look.query.is_filtered() {
        return "No task matches. Remove a filter, or look in another namespace.".into();
    }
    let text = match place {
        Place::Now => "Nothing runs, waits or is queued.",
        Place::Failed => "No task has failed.",
        _ => "There is no task.",
    };
    text.into()
}

/// Running ones first, the longest of them first; then those that wait, by their time; then those that are held back.
fn order(task: &TaskRecord) -> (usize, Option<jiff::Timestamp>, Reverse<Option<jiff::Timestamp>>) {
    let rank = STATES.iter().position(|state| *state == task.state).unwrap_or(STATES.len());
    let first = if task.state == State::Waiting { task.next } else { task.since };
    (rank, first.filter(|_| !task.is_finished()), Reverse(task.ended))
}

/// The tasks that have an attempt on that node now, or on none.
fn tasks_on(look: Look, node: &str) -> HashSet<Key> {
    let there = look.pods().filter(|(_, pod)| !pod.has_ended && pod.node.as_deref().unwrap_or(NO_NODE) == node);
    there.map(|(key, pod)| Key { namespace: key.namespace.clone(), name: pod.task.clone() }).collect()
}

fn matches(query: &Query, key: &Key, task: &TaskRecord, nodes: Option<&HashSet<Key>>) -> bool {
    // The namespace is the look's. State and reason are applied once they are counted. A list has no single name.
    let Query { namespace: _, name: _, text, state: _, queue, schedule, reason: _, error, node: _, page: _ } = query;
    let is =
        |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|wanted| value == Some(wanted));
    text.as_deref().is_none_or(|text| key.name.contains(text))
        && is(queue, task.queue.as_deref())
        && is(schedule, task.schedule.as_deref())
        && error.as_deref().is_none_or(|id| task.failures.iter().any(|failure| failure.cause.id == id))
        && nodes.is_none_or(|nodes| nodes.contains(key))
}

fn has_reason(task: &TaskRecord, reason: &str) -> bool {
    task.failed_for.as_deref() == Some(reason) || task.reason.as_deref() == Some(reason)
}

/// A chip for each state that has tasks, and one for all.
fn states(look: Look, place: Place, tasks: &[(&Key, &TaskRecord)]) -> Vec<Chip> {
    let base = look.query.with(|query| query.state = None);
    let all = Chip {
        mark: None,
        text: "All".into(),
        count: count(tasks.len()),
        href: base.link(place),
        is_current: look.query.state.is_none(),
    };
    let chip = |state: State| {
        let number = tasks.iter().filter(|(_, task)| task.state == state).count();
        let mark = Mark::of_task(state);
        let is_current = look.query.wanted_state() == Some(Some(state));
        (number > 0 || is_current).then(|| Chip {
            mark: Some(mark),
            text: mark.word.into(),
            count: count(number),
            href: base.with(|query| query.state = Some(mark.word.into())).link(place),
            is_current,
        })
    };
    // What cannot be read has no state to ask for.
    let known = STATES.into_iter().filter(|state| *state != State::Unknown);
    std::iter::once(all).chain(known.filter_map(chip)).collect()
}

/// A chip for each reason of the condition `Failed`, and one for all.
fn reasons(look: Look, tasks: &[(&Key, &TaskRecord)]) -> Vec<Chip> {
    let base = look.query.with(|query| query.reason = None);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, task) in tasks {
        if let Some(reason) = task.failed_for.as_deref() {
            *counts.entry(reason).or_default() += 1;
        }
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, number)| Reverse(*number));
    let chip = |reason: Option<&str>, number: usize| Chip {
        mark: None,
        text: reason.unwrap_or("All").to_owned(),
        count: count(number),
        href: base.with(|query| query.reason = reason.map(str::to_owned)).link(Place::Failed),
        is_current: look.query.reason.as_deref() == reason,
    };
    let all = std::iter::once(chip(None, tasks.len()));
    all.chain(counts.into_iter().take(MAX_REASONS).map(|(reason, number)| chip(Some(reason), number))).collect()
}

fn row(look: Look, key: &Key, task: &TaskRecord) -> Row {
    let at = match task.state {
        State::Waiting => task.next,
        State::Unknown => None,
        _ if task.is_finished() => task.ended,
        _ => task.since.or(Some(task.created)),
    };
    let is_known = task.state != State::Unknown;
    let cause = task.reason.as_deref().map(|reason| reason_and_code(reason, task.exit_code)).unwrap_or_default();
    let reason = match &task.failed_for {
        Some(why) if *why != task.reason.clone().unwrap_or_default() && !cause.is_empty() => format!("{why} ← {cause}"),
        Some(why) => why.to_string(),
        None => cause,
    };
    let in_queue = |queue: &str| Query { queue: Some(queue.into()), ..Query::of_namespace(&key.namespace) };
    Row {
        href: task_link(&key.namespace, &key.name),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        mark: Mark::of_task(task.state),
        attempts: if is_known { task.attempts.to_string() } else { String::new() },
        retries: if is_known { format!("{}/{}", task.retries, task.max_retries) } else { String::new() },
        when: at.map(|at| look.when(at)),
        queue: task.queue.as_deref().map(|queue| Link { text: queue.into(), href: in_queue(queue).link(Place::Now) }),
        reason,
        message: task.message.as_deref().unwrap_or_default().to_owned(),
    }
}

/// The cause of that short name, as people say it.
pub fn cause_text(look: Look, id: &str) -> String {
    let found = look.tasks().flat_map(|(_, task)| &task.failures).find(|failure| failure.cause.id == id);
    match found {
        Some(failure) => {
            let fingerprint = &failure.cause.fingerprint;
            let what = reason_and_code(&fingerprint.reason, fingerprint.exit_code);
            if fingerprint.pattern.is_empty() { what } else { format!("{what}: {}", fingerprint.pattern) }
        }
        None => id.to_owned(),
    }
}
