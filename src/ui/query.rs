//! The query of a URL: what a list is filtered by, and which of its pages is shown. The links between pages are made of it.

use super::text::count;
use crate::api::State;
use form_urlencoded::Serializer;
use std::fmt::Write as _;

/// Rows of a page.
pub const ROWS: usize = 50;
/// Rows of a page whose rows have many parts: so no page has more than 2,000 nodes.
const FEWER_ROWS: usize = 30;

/// What stands for no node. No node has that name.
pub const NO_NODE: &str = "-";

/// The pages, by the last part of their URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What has not ended.
    Now,
    /// Failures by their cause.
    Errors,
    /// What has failed.
    Failed,
    /// All tasks.
    Tasks,
    /// Queues.
    Queues,
    /// Schedules.
    Schedules,
    /// Nodes and replicas.
    Workers,
    /// One task.
    Task,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Now, Self::Errors, Self::Failed, Self::Tasks, Self::Queues, Self::Schedules, Self::Workers, Self::Task];

    /// The last part of its URL. That of the first page is empty.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Now => "",
            Self::Errors => "errors",
            Self::Failed => "failed",
            Self::Tasks => "tasks",
            Self::Queues => "queues",
            Self::Schedules => "schedules",
            Self::Workers => "workers",
            Self::Task => "task",
        }
    }

    /// What it is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Now => "Now",
            Self::Errors => "Errors",
            Self::Failed => "Failed",
            Self::Tasks => "All tasks",
            Self::Queues => "Queues",
            Self::Schedules => "Schedules",
            Self::Workers => "Workers",
            Self::Task => "Task",
        }
    }
}

/// What a list can be filtered by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The namespace.
    pub namespace: Option<String>,
    /// The name of one task, on its own page.
    pub name: Option<String>,
    /// A part of a task's name.
    pub text: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The TaskQueue.
    pub queue: Option<String>,
    /// The schedule.
    pub schedule: Option<String>,
    /// Why a task failed, or has not started.
    pub reason: Option<String>,
    /// The cause of a failure.
    pub error: Option<String>,
    /// The node that an attempt runs or failed on; [`NO_NODE`]: none.
    pub node: Option<String>,
    /// The page, from 1.
    pub page: usize,
}

/// What stands for it in the URL.
const NAMES: [&str; 9] = ["namespace", "name", "q", "state", "queue", "schedule", "reason", "error", "node"];

impl Query {
    /// The query of a URL. What it does not know is left out; of a name that comes twice the last counts.
    pub fn parse(text: &str) -> Self {
        let mut query = Self { page: 1, ..Self::default() };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if name == "page" {
                query.page = value.parse().unwrap_or(1).max(1);
            } else if let Some(index) = NAMES.iter().position(|known| *known == name) {
                *query.fields_mut()[index] = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            }
        }
        query
    }

    fn fields_mut(&mut self) -> [&mut Option<String>; 9] {
        let Self { namespace, name, text, state, queue, schedule, reason, error, node, page: _ } = self;
        [namespace, name, text, state, queue, schedule, reason, error, node]
    }

    fn fields(&self) -> [&Option<String>; 9] {
        let Self { namespace, name, text, state, queue, schedule, reason, error, node, page: _ } = self;
        [namespace, name, text, state, queue, schedule, reason, error, node]
    }

    /// The same, on the first page, after a change.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = Self { page: 1, ..self.clone() };
        change(&mut changed);
        changed
    }

    /// Nothing but the namespace.
    #[must_use]
    pub fn in_namespace(&self) -> Self {
        Self { namespace: self.namespace.clone(), page: 1, ..Self::default() }
    }

    /// Nothing but that namespace.
    pub fn of_namespace(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), page: 1, ..Self::default() }
    }

    /// What is set, as it stands in the URL and in a form, without the page.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        NAMES.into_iter().zip(self.fields()).filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// The relative URL of that place with this query.
    pub fn link(&self, place: Place) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.pairs());
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        let query = query.finish();
        let mut link = format!("./{}", place.path());
        if !query.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(link, "?{query}");
        }
        link
    }

    /// Whether the list is filtered by anything but the namespace.
    pub fn is_filtered(&self) -> bool {
        self.with(|query| query.namespace = None).pairs().next().is_some()
    }

    /// The state that it asks for. `None` if it asks for none, `Some(None)` if there is no such state.
    pub fn wanted_state(&self) -> Option<Option<State>> {
        self.state.as_deref().map(state_of)
    }
}

/// The state of that name.
fn state_of(name: &str) -> Option<State> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok().filter(|state| *state != State::Unknown)
}

/// The relative URL of a task's page.
pub fn task_link(namespace: &str, name: &str) -> String {
    Query { name: Some(name.to_owned()), ..Query::of_namespace(namespace) }.link(Place::Task)
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// How many rows the list has.
    pub total: usize,
    /// The number of the first row that is shown, from 1; 0 if there is none.
    pub first: usize,
    /// The number of the last row that is shown.
    pub last: usize,
    /// The page before.
    pub newer: Option<String>,
    /// The page after.
    pub older: Option<String>,
}

impl Paging {
    /// How many rows the list has, as people read it.
    pub fn total_text(&self) -> String {
        count(self.total)
    }
}

/// The rows of the query's page, and where in the list they are. A page beyond the end is the last one.
pub fn page_of<T>(rows: Vec<T>, query: &Query, place: Place) -> (Vec<T>, Paging) {
    let total = rows.len();
    let rows_of_a_page = match place {
        Place::Errors | Place::Queues | Place::Schedules | Place::Task => FEWER_ROWS,
        Place::Now | Place::Failed | Place::Tasks | Place::Workers => ROWS,
    };
    let pages = total.div_ceil(rows_of_a_page).max(1);
    let page = query.page.clamp(1, pages);
    let skipped = (page - 1) * rows_of_a_page;
    let shown: Vec<T> = rows.into_iter().skip(skipped).take(rows_of_a_page).collect();
    let link = |page| Query { page, ..query.clone() }.link(place);
    let paging = Paging {
        total,
        first: if shown.is_empty() { 0 } else { skipped + 1 },
        last: skipped + shown.len(),
        newer: (page > 1).then(|| link(page - 1)),
        older: (page < pages).then(|| link(page + 1)),
    };
    (shown, paging)
}

#[cfg(test)]
mod tests;
