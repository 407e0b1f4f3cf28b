//! Failures by their cause: forty failures of three causes are three rows.

use super::frame::{Frame, filters};
use super::list::cause_text;
use super::mark::Mark;
use super::{Link, Look};
use crate::api::State;
use crate::core::end_text::reason_and_code;
use crate::ui::query::{Paging, Place, Query, page_of, task_link};
use crate::ui::record::{Cause, FailureRecord, Key, TaskRecord};
use crate::ui::text::{When, count, counted};
use askama::Template;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

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
    nothing: &'static str,
}

struct Row {
    id: String,
    count: String,
    /// Reason and exit code.
    what: String,
    error_type: Option<String>,
    message: String,
    tasks: Link,
    /// How many of the tasks are in which state.
    states: Vec<(Mark, Link)>,
    examples: Vec<Link>,
    first: Option<When>,
    last: Option<When>,
}

/// The failures of one cause.
pub struct Group<'a> {
    /// The cause.
    pub cause: &'a Cause,
    /// How many failures there are.
    pub count: usize,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    message: &'a str,
    /// The tasks that have it, with their last failure of it.
    tasks: BTreeMap<&'a Key, (&'a TaskRecord, Option<Timestamp>)>,
}

/// The failures that pass, by their cause: the most frequent first, and of two as frequent the later.
pub fn groups<'a>(
    tasks: impl Iterator<Item = (&'a Key, &'a TaskRecord)>,
    passes: impl Fn(&FailureRecord) -> bool,
) -> Vec<Group<'a>> {
    let mut groups: HashMap<&str, Group> = HashMap::new();
    for (key, task) in tasks {
        for failure in task.failures.iter().filter(|failure| passes(failure)) {
            let cause = &*failure.cause;
            let new = || Group { cause, count: 0, first: None, last: None, message: "", tasks: BTreeMap::new() };
            groups.entry(&cause.id).or_insert_with(new).add(key, task, failure);
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| (Reverse(group.count), Reverse(group.last), &group.cause.id));
    groups
}

impl<'a> Group<'a> {
    fn add(&mut self, key: &'a Key, task: &'a TaskRecord, failure: &'a FailureRecord) {
        let time = failure.time;
        if time.is_some() && (self.first.is_none() || time < self.first) {
            self.first = time;
        }
        if self.message.is_empty() || time >= self.last {
            self.message = failure.message();
        }
        self.count += 1;
        self.last = self.last.max(time);
        let (_, last) = self.tasks.entry(key).or_insert((task, time));
        *last = (*last).max(time);
    }
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
        is(node, failure.node.as_deref())
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
        nothing: if look.query.is_filtered() { "No failure matches." } else { "No attempt has failed." },
    }
}

fn row(look: Look, group: &Group) -> Row {
    let fingerprint = &group.cause.fingerprint;
    let with = |state: Option<Mark>| {
        look.query
            .with(|query| {
                query.error = Some(group.cause.id.clone());
                (query.reason, query.node) = (None, None);
                query.state = state.map(|mark| mark.word.to_owned());
            })
            .link(Place::Tasks)
    };
    let mut by_state: Vec<(Mark, usize)> = Vec::new();
    for (task, _) in group.tasks.values() {
        let mark = Mark::of_task(task.state);
        match by_state.iter_mut().find(|(known, _)| *known == mark) {
            Some((_, number)) => *number += 1,
            None => by_state.push((mark, 1)),
        }
    }
    by_state.sort_by_key(|(mark, number)| (mark.word != Mark::of_task(State::Failed).word, Reverse(*number)));
    let states =
        by_state.into_iter().map(|(mark, number)| (mark, Link { text: count(number), href: with(Some(mark)) }));
    let mut newest: Vec<(&&Key, Option<Timestamp>)> = group.tasks.iter().map(|(key, (_, last))| (key, *last)).collect();
    newest.sort_by_key(|(key, last)| (Reverse(*last), **key));
    let example = |key: &Key| Link { text: key.name.to_string(), href: task_link(&key.namespace, &key.name) };
    Row {
        id: group.cause.id.clone(),
        count: count(group.count),
        what: reason_and_code(&fingerprint.reason, fingerprint.exit_code),
        error_type: fingerprint.error_type.clone(),
        message: group.message.to_owned(),
        tasks: Link { text: count(group.tasks.len()), href: with(None) },
        states: states.collect(),
        examples: newest.into_iter().take(EXAMPLES).map(|(key, _)| example(key)).collect(),
        first: group.first.map(|at| look.when(at)),
        last: group.last.map(|at| look.when(at)),
    }
}
