//! The verbs that show: list, get, why, errors, workers.

use super::connect::{Cluster, Connection, Scope};
use super::error::Error;
use super::fetch::{self, Found, list as fetch_list};
use super::follow::Follow;
use super::output::{Output, Show, height, note, out, problems, style};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::{LABEL_TASK_NAME, RetryableTask, TaskQueue};
use retryable_tasks::core::fingerprint::{failures, group};
use retryable_tasks::core::queue::place::places;
use retryable_tasks::core::why::{Known, KnownQueue, Why, why as why_of};
use retryable_tasks::plugin::progress::{End, Watched};
use retryable_tasks::plugin::tasks::{self, Filter, SortBy, unknown_state};
use retryable_tasks::plugin::{errors as error_rows, timeline, workers as worker_rows};
use serde_json::json;
use std::time::Duration;

/// How often the times of a watched task are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// Clears a terminal's window, and leaves what has scrolled out of it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Which tasks are meant.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// By labels, such as team=shop
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(super) selector: Option<String>,

    /// By state: Failed, Waiting, …; several are separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STATE")]
    pub(super) state: Vec<String>,

    /// By reason: OOMKilled, ImagePullBackOff, RetriesExhausted, …
    #[arg(long, value_delimiter = ',', value_name = "REASON")]
    pub(super) reason: Vec<String>,

    /// By the cause of the failure, as `errors` names it
    #[arg(long, value_delimiter = ',', value_name = "FINGERPRINT")]
    pub(super) fingerprint: Vec<String>,
}

impl Which {
    pub(super) fn filter(&self) -> Result<Filter, Error> {
        if let Some(problem) = unknown_state(&self.state) {
            return Err(Error::Usage(problem));
        }
        Ok(Filter { states: self.state.clone(), reasons: self.reason.clone(), fingerprints: self.fingerprint.clone() })
    }

    pub(super) fn params(&self) -> ListParams {
        self.selector.as_ref().map_or_else(ListParams::default, |selector| ListParams::default().labels(selector))
    }

    /// Whether nothing narrows down what is meant.
    pub(super) fn is_all(&self) -> bool {
        let Self { selector, state, reason, fingerprint } = self;
        selector.is_none() && state.is_empty() && reason.is_empty() && fingerprint.is_empty()
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Which,

    /// The order
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,

    #[command(flatten)]
    show: Show,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Sort {
    /// By namespace and name
    #[default]
    Name,
    /// The youngest first
    Age,
    /// By state
    State,
    /// The next to start first
    NextRetry,
    /// Those with the most attempts first
    Attempts,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Name of the task
    name: String,

    /// Follow the task to its end: redrawn on a terminal, else a line for each change
    #[arg(long, short)]
    watch: bool,

    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// Names of tasks
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Args)]
pub(super) struct ErrorsArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Args)]
pub(super) struct WorkersArgs {
    /// No line of headers
    #[arg(long)]
    no_headers: bool,
}

/// The tasks that are meant.
pub(super) async fn chosen(cluster: &Cluster, which: &Which) -> Result<Found<RetryableTask>, Error> {
    let filter = which.filter()?;
    let mut found = fetch_list::<RetryableTask>(cluster, &which.params()).await?;
    found.items.retain(|task| filter.takes(task));
    Ok(found)
}

pub(super) async fn list(connection: &Connection, args: &ListArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let Found { items: mut all, problems: unread } = chosen(&cluster, &args.which).await?;
    let by = match args.sort {
        Sort::Name => SortBy::Name,
        Sort::Age => SortBy::Age,
        Sort::State => SortBy::State,
        Sort::NextRetry => SortBy::NextRetry,
        Sort::Attempts => SortBy::Attempts,
    };
    tasks::sort(&mut all, by);
    let now = Timestamp::now();
    args.show.objects(&all, |wide| tasks::table(&all, cluster.has_many(), wide, now), &none(&cluster, "tasks"))?;
    Ok(problems(&unread))
}

/// As kubectl says that there is nothing.
pub(super) fn none(cluster: &Cluster, what: &str) -> String {
    match &cluster.scope {
        Scope::All => format!("No {what} found."),
        Scope::Namespaces(namespaces) => format!("No {what} found in {} namespace.", namespaces.join(", ")),
    }
}

pub(super) async fn get(connection: &Connection, args: &GetArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    if args.watch {
        return watch(&cluster, &args.name).await;
    }
    let mut task: RetryableTask = fetch::get(&cluster, &args.name).await?;
    task.metadata.managed_fields = None;
    match args.show.output {
        Output::Json | Output::Yaml => args.show.value(&task)?,
        Output::Name => out(&format!("{}\n", super::output::name_of(&task)))?,
        Output::Table | Output::Wide => {
            let why = explain(&cluster, &task).await;
            out(&timeline::text(&task, &why, args.show.style(), Timestamp::now()))?;
        }
    }
    Ok(0)
}

/// The lines with the time.
fn stamped(lines: &[String], now: Timestamp) -> String {
    let now = format!("{now:.0} ");
    lines.iter().flat_map(|line| [now.as_str(), line, "\n"]).collect()
}

/// Follows the task to its end: in place on a terminal, line by line elsewhere.
async fn watch(cluster: &Cluster, name: &str) -> Result<u8, Error> {
    let mut follow = Follow::new(cluster, name)?;
    let Some(mut task) = follow.next().await? else {
        return Err(Error::Usage(format!("RetryableTask {}/{name} does not exist", cluster.namespace()?)));
    };
    let mut watched = Watched::default();
    loop {
        let now = Timestamp::now();
        // Only a terminal has a width.
        let style = style();
        if style.width.is_some() {
            let why = explain(cluster, &task).await;
            let text = timeline::text(&task, &why, style, now);
            // The last line is the cursor's.
            out(&format!("{CLEAR}{}", timeline::fitted(&text, height().saturating_sub(1))))?;
        } else {
            let lines = watched.lines(&task, now);
            out(&stamped(&lines, now))?;
        }
        if End::of(&task).is_some() {
            return Ok(0);
        }
        // Else it is drawn anew as it was: its times have changed.
        if let Ok(next) = tokio::time::timeout(REDRAW, follow.next()).await {
            let Some(next) = next? else {
                note("the task was deleted");
                return Ok(1);
            };
            task = next;
        }
    }
}

pub(super) async fn why(connection: &Connection, args: &WhyArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let mut all = Vec::new();
    for name in &args.names {
        let task: RetryableTask = fetch::get(&cluster, name).await?;
        let Why { sentence, hints } = explain(&cluster, &task).await;
        if args.show.is_value() {
            let namespace = task.namespace();
            all.push(json!({"namespace": namespace, "name": name, "sentence": sentence, "hints": hints}));
            continue;
        }
        let name = if args.names.len() == 1 { String::new() } else { format!("{name}: ") };
        let hints: String = hints.iter().flat_map(|hint| ["  ", hint.as_str(), "\n"]).collect();
        out(&format!("{name}{sentence}.\n{hints}"))?;
    }
    if args.show.is_value() {
        args.show.value(&json!({"tasks": all}))?;
    }
    Ok(0)
}

/// Why the task is where it is. What cannot be read of its queue is not said.
async fn explain(cluster: &Cluster, task: &RetryableTask) -> Why {
    let now = Timestamp::now();
    let is_over = End::of(task).is_some();
    let Some(name) = task.spec.queue.as_ref().map(|queue| &*queue.name).filter(|_| !is_over) else {
        return why_of(task, &Known { now, queue: KnownQueue::Unknown });
    };
    let namespace = task.namespace().unwrap_or_default();
    let here = Cluster { client: cluster.client.clone(), scope: Scope::Namespaces(vec![namespace]) };
    let queue = match fetch::get::<TaskQueue>(&here, name).await {
        Ok(queue) => queue,
        Err(error) if error.is_not_found() => return why_of(task, &Known { now, queue: KnownQueue::Missing }),
        Err(_) => return why_of(task, &Known { now, queue: KnownQueue::Unknown }),
    };
    let others = of_queue(&here, name).await.unwrap_or_default();
    let place = places(name, &others, now).get(task.uid().unwrap_or_default().as_str()).copied();
    why_of(task, &Known { now, queue: KnownQueue::Found { queue: &queue, place } })
}

/// The tasks that name the queue.
pub(super) async fn of_queue(cluster: &Cluster, queue: &str) -> Result<Vec<RetryableTask>, Error> {
    let params = ListParams::default().fields(&format!("spec.queue.name={queue}"));
    Ok(fetch_list::<RetryableTask>(cluster, &params).await?.items)
}

pub(super) async fn errors(connection: &Connection, args: &ErrorsArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let Found { items, problems: unread } = chosen(&cluster, &args.which).await?;
    let groups = group(items.iter().flat_map(failures));
    let show = &args.show;
    match show.output {
        Output::Json | Output::Yaml => show.value(&error_rows::json(&groups))?,
        Output::Name => out(&groups.iter().map(|group| group.fingerprint.name() + "\n").collect::<String>())?,
        Output::Table | Output::Wide if groups.is_empty() => note(&none(&cluster, "failures")),
        Output::Table | Output::Wide => {
            let wide = show.output == Output::Wide;
            let table = error_rows::table(&groups, cluster.has_many(), wide, Timestamp::now());
            out(&table.draw(show.style()))?;
        }
    }
    Ok(problems(&unread))
}

pub(super) async fn workers(connection: &Connection, args: &WorkersArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let params = ListParams::default().labels(LABEL_TASK_NAME);
    let Found { items, problems: unread } = fetch_list::<Pod>(&cluster, &params).await?;
    let table = worker_rows::table(&items, cluster.has_many());
    if table.rows.is_empty() {
        note(&none(&cluster, "attempts"));
    } else {
        out(&table.draw(retryable_tasks::plugin::table::Style { no_header: args.no_headers, ..style() }))?;
    }
    Ok(problems(&unread))
}
