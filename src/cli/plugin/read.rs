//! The verbs that show: list, get, why, errors, workers.

use super::connect::{Cluster, Connection, Scope};
use super::error::Error;
use super::explain::QueueLookUp;
use super::fetch::{self, Found, list as fetch_list};
use super::output::{Output, Show, note, out, problems};
use super::watch::watch;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::{LABEL_TASK_NAME, RetryableTask};
use retryable_tasks::core::fingerprint::{failures, group};
use retryable_tasks::core::why::Why;
use retryable_tasks::plugin::inputs;
use retryable_tasks::plugin::tasks::{self, Filter, SortBy, unknown_state};
use retryable_tasks::plugin::{errors as error_rows, timeline, workers as worker_rows};
use serde_json::json;

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
    sort: SortBy,

    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Name of the task
    #[arg(value_parser = inputs::task)]
    name: String,

    /// Follow the task to its end: redrawn on a terminal, else a line for each change; -o json and yaml print each version
    #[arg(long, short)]
    watch: bool,

    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// Names of tasks
    #[arg(required = true, value_name = "NAME", value_parser = inputs::task)]
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
    #[command(flatten)]
    show: Show,
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
    tasks::sort(&mut all, args.sort);
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
        return watch(&cluster, &args.name, &args.show).await;
    }
    let mut task: RetryableTask = fetch::get(&cluster, &args.name).await?;
    task.metadata.managed_fields = None;
    match args.show.output {
        Output::Json | Output::Yaml => args.show.value(&task)?,
        Output::Name => out(&format!("{}\n", super::output::name_of(&task)))?,
        Output::Table | Output::Wide => {
            let why = QueueLookUp::of(&cluster, &task).await.explain(&task, &cluster);
            out(&timeline::text(&task, &why, args.show.style(), Timestamp::now()))?;
        }
    }
    Ok(0)
}

pub(super) async fn why(connection: &Connection, args: &WhyArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for name in &args.names {
        let task: RetryableTask = match fetch::get(&cluster, name).await {
            Ok(task) => task,
            Err(error) if error.is_refusal() => {
                unread.push(error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let why = QueueLookUp::of(&cluster, &task).await.explain(&task, &cluster);
        if args.show.is_value() {
            let (namespace, Why { sentence, hints }) = (task.namespace(), why);
            all.push(json!({"namespace": namespace, "name": name, "sentence": sentence, "hints": hints}));
            continue;
        }
        out(&timeline::sentence((args.names.len() > 1).then_some(name.as_str()), &why))?;
    }
    if args.show.is_value() {
        args.show.value(&json!({"tasks": all}))?;
    }
    Ok(problems(&unread))
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
    let nodes = worker_rows::nodes(&items);
    let show = &args.show;
    match show.output {
        Output::Json | Output::Yaml => show.value(&worker_rows::json(&nodes))?,
        Output::Name => {
            let names = nodes.iter().filter_map(|node| node.name.as_ref());
            out(&names.flat_map(|name| ["node/", name, "\n"]).collect::<String>())?;
        }
        Output::Table | Output::Wide if nodes.is_empty() => note(&none(&cluster, "attempts")),
        Output::Table | Output::Wide => {
            let wide = show.output == Output::Wide;
            out(&worker_rows::table(&nodes, cluster.has_many(), wide).draw(show.style()))?;
        }
    }
    Ok(problems(&unread))
}
