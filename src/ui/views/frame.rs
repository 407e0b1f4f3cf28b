//! What all pages have: the tabs, the search, and what must be known of what is shown.

use super::workers::node_text;
use super::{Link, Look};
use crate::ui::query::{NO_NODE, Place, Query};
use crate::ui::store::{Kind, Store};
use crate::ui::text::{count, exact};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most namespaces that are offered for choice; more can be typed.
const MAX_CHOICES: usize = 100;
/// Most notices. A page of many namespaces may have one for each of them.
const MAX_NOTICES: usize = 10;

/// What all pages have.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The title of the window.
    pub title: String,
    /// The tabs.
    pub tabs: Vec<Tab>,
    /// The namespace that is shown. Empty for all.
    pub namespace: String,
    /// The namespaces to choose from.
    pub namespaces: Vec<String>,
    /// What stays as it is when the namespace or the search changes, as names and values.
    pub kept: Vec<(&'static str, String)>,
    /// The part of the URL to which the search goes.
    pub action: &'static str,
    /// What is searched for.
    pub text: String,
    /// What must be known of what is shown.
    pub notices: Vec<String>,
    /// The viewer, if somebody is logged in.
    pub user: Option<String>,
    /// When it was shown.
    pub shown: String,
    /// The version of this program.
    pub version: &'static str,
}

/// One of the tabs.
#[derive(Clone, Debug)]
pub struct Tab {
    /// What it is called.
    pub title: &'static str,
    /// The relative URL.
    pub href: String,
    /// How many there are. Empty if that says nothing.
    pub count: String,
    /// Whether it is shown.
    pub is_current: bool,
}

impl Frame {
    /// The frame of a page at that place.
    pub fn of(look: Look, place: Place, title: impl Into<String>) -> Self {
        let list = match place {
            Place::Now | Place::Failed | Place::Tasks | Place::Errors => place,
            Place::Queues | Place::Schedules | Place::Workers | Place::Task => Place::Tasks,
        };
        let is_list = list == place;
        let kept = |(name, value): (&'static str, &str)| (name, value.to_owned());
        let kept = look.query.pairs().filter(|(name, _)| is_list && !matches!(*name, "namespace" | "q")).map(kept);
        Self {
            title: title.into(),
            tabs: tabs(look, place),
            namespace: look.query.namespace.clone().unwrap_or_default(),
            namespaces: namespaces(look),
            kept: kept.collect(),
            action: list.path(),
            text: look.query.text.clone().unwrap_or_default(),
            notices: notices(look),
            user: look.user.map(str::to_owned),
            shown: exact(look.now),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The frame of a page that shows nothing of the cluster.
    pub fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            tabs: Vec::new(),
            namespace: String::new(),
            namespaces: Vec::new(),
            kept: Vec::new(),
            action: "",
            text: String::new(),
            notices: Vec::new(),
            user: None,
            shown: String::new(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn tabs(look: Look, place: Place) -> Vec<Tab> {
    let (mut unfinished, mut failed) = (0, 0);
    for (_, task) in look.tasks() {
        unfinished += usize::from(!task.is_finished());
        failed += usize::from(task.state == crate::api::State::Failed);
    }
    let (queues, schedules) = (look.queues().count(), look.schedules().count());
    let counts = [
        (Place::Now, Some(unfinished)),
        (Place::Errors, None),
        (Place::Failed, Some(failed)),
        (Place::Queues, Some(queues)),
        (Place::Schedules, Some(schedules)),
        (Place::Workers, None),
    ];
    let tab = |(tab, number): (Place, Option<usize>)| Tab {
        title: tab.title(),
        href: look.query.in_namespace().link(tab),
        count: number.map(count).unwrap_or_default(),
        is_current: tab == place,
    };
    counts.into_iter().map(tab).collect()
}

/// The namespaces that have anything that the viewer may see.
fn namespaces(look: Look) -> Vec<String> {
    let Store { tasks, queues, schedules, pods: _, shared: _, problems: _, away: _ } = look.store;
    let seen = |kind: Kind, namespace: &&Arc<str>| look.sight.covers(kind, namespace);
    let of_tasks = tasks.namespaces().filter(|namespace| seen(Kind::Tasks, namespace));
    let of_queues = queues.namespaces().filter(|namespace| seen(Kind::Queues, namespace));
    let of_schedules = schedules.namespaces().filter(|namespace| seen(Kind::Schedules, namespace));
    let all: BTreeSet<&Arc<str>> = of_tasks.chain(of_queues).chain(of_schedules).collect();
    all.into_iter().take(MAX_CHOICES).map(ToString::to_string).collect()
}

fn notices(look: Look) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some((since, error)) = &look.store.away {
        notices.push(format!(
            "The API server has not answered since {}: what is shown may be old. The last answer: {error}",
            exact(*since)
        ));
    }
    let no_problem = look.store.problems.is_empty() && look.store.away.is_none();
    if no_problem && !look.store.tasks.is_listed(look.watched) {
        let sees_all = look.sight.covers_all(Kind::Tasks);
        let so_far = if sees_all { format!(": {} so far", count(look.store.tasks.len())) } else { String::new() };
        notices.push(format!("Reading the tasks from the API server{so_far}."));
    }
    if look.store.away.is_none() {
        let concerns = |kind: Kind, namespace: Option<&str>| {
            namespace.map_or_else(|| look.sight.covers_all(kind), |namespace| look.sight.covers(kind, namespace))
        };
        let problems =
            look.store.problems.iter().filter(|((kind, namespace), _)| concerns(*kind, namespace.as_deref()));
        notices.extend(problems.map(|((kind, namespace), problem)| match namespace {
            Some(namespace) => format!("The {kind} of namespace {namespace} cannot be read: {problem}"),
            None => format!("The {kind} cannot be read: {problem}"),
        }));
    }
    let has_tasks = !look.store.tasks.is_empty() && look.store.tasks.is_listed(look.watched);
    if look.sight.is_blind_to(Kind::Tasks) && look.user.is_some() && has_tasks {
        notices.push(
            "You may list RetryableTasks in none of the namespaces that have some. Ask for the rights of the role view there."
                .to_owned(),
        );
    }
    if notices.len() > MAX_NOTICES {
        let more = notices.split_off(MAX_NOTICES - 1).len();
        notices.push(format!("And {more} more of the kind. The page's log has all of them."));
    }
    notices
}

/// What the list is filtered by, and the list without it.
pub fn filters(look: Look, place: Place, name_of_cause: impl Fn(&str) -> String) -> Vec<Link> {
    let query = look.query;
    let mut filters = Vec::new();
    for (name, value) in query.pairs() {
        let (text, without): (String, Query) = match name {
            "namespace" | "state" | "name" => continue,
            "q" => (format!("name has {value}"), query.with(|query| query.text = None)),
            "queue" => (format!("queue {value}"), query.with(|query| query.queue = None)),
            "schedule" => (format!("schedule {value}"), query.with(|query| query.schedule = None)),
            "reason" => (format!("reason {value}"), query.with(|query| query.reason = None)),
            "node" if value == NO_NODE => (node_text(value), query.with(|query| query.node = None)),
            "node" => (format!("node {value}"), query.with(|query| query.node = None)),
            _ => (format!("error {}", name_of_cause(value)), query.with(|query| query.error = None)),
        };
        filters.push(Link { text, href: without.link(place) });
    }
    filters
}
