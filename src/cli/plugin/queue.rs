//! `queue`: TaskQueues.

use super::connect::{Cluster, Connection};
use super::error::Error;
use super::fetch::{self, Found};
use super::output::{Output, Show, name_of, out, problems};
use super::read::{none, of_queue};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use kube::api::ListParams;
use retryable_tasks::api::{StopPolicy, TaskQueue};
use retryable_tasks::plugin::{inputs, queues};
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List queues
    #[command(after_help = "Examples:
  kubectl retryable queue list -A")]
    List(#[command(flatten)] Show),
    /// Show a queue, and the tasks in its line
    #[command(after_help = "Examples:
  kubectl retryable queue get mail")]
    Get(GetArgs),
    /// Let no attempt of its tasks start
    #[command(after_help = "Examples:
  kubectl retryable queue hold mail
  kubectl retryable queue hold mail --drain")]
    Hold(HoldArgs),
    /// Let attempts start again
    #[command(after_help = "Examples:
  kubectl retryable queue resume mail")]
    Resume(NameArgs),
}

#[derive(Debug, Args)]
struct NameArgs {
    /// Name of the queue
    #[arg(value_parser = inputs::queue)]
    name: String,
}

#[derive(Debug, Args)]
struct GetArgs {
    /// Name of the queue
    #[arg(value_parser = inputs::queue)]
    name: String,

    /// How many tasks of its line to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Args)]
struct HoldArgs {
    /// Name of the queue
    #[arg(value_parser = inputs::queue)]
    name: String,

    /// Also stop the attempts that run; they are recorded and not charged
    #[arg(long)]
    drain: bool,
}

pub(super) async fn queue(connection: &Connection, args: &QueueArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    match &args.verb {
        Verb::List(show) => list(&cluster, show).await,
        Verb::Get(args) => get(&cluster, args).await,
        Verb::Hold(HoldArgs { name, drain: false }) => set(&cluster, name, StopPolicy::Hold).await,
        Verb::Hold(HoldArgs { name, drain: true }) => set(&cluster, name, StopPolicy::HoldAndDrain).await,
        Verb::Resume(NameArgs { name }) => set(&cluster, name, StopPolicy::None).await,
    }
}

async fn list(cluster: &Cluster, show: &Show) -> Result<u8, Error> {
    let Found { mut items, problems: unread } = fetch::list::<TaskQueue>(cluster, &ListParams::default()).await?;
    items.sort_by_cached_key(|queue| (queue.metadata.namespace.clone(), queue.metadata.name.clone()));
    let now = Timestamp::now();
    show.objects(&items, |wide| queues::table(&items, cluster.has_many(), wide, now), &none(cluster, "queues"))?;
    Ok(problems(&unread))
}

async fn get(cluster: &Cluster, args: &GetArgs) -> Result<u8, Error> {
    let mut queue: TaskQueue = fetch::get(cluster, &args.name).await?;
    queue.metadata.managed_fields = None;
    if args.show.is_value() {
        args.show.value(&queue)?;
    } else if args.show.output == Output::Name {
        out(&format!("{}\n", name_of(&queue)))?;
    } else {
        let tasks = of_queue(cluster, &args.name).await?;
        out(&queues::text(&queue, &tasks, args.limit, args.show.style(), Timestamp::now()))?;
    }
    Ok(0)
}

async fn set(cluster: &Cluster, name: &str, policy: StopPolicy) -> Result<u8, Error> {
    let patch = json!({"spec": {"stopPolicy": policy}});
    let queue: TaskQueue = fetch::patch(cluster, name, &patch).await?;
    let effect = match policy {
        StopPolicy::None => "attempts start",
        StopPolicy::Hold => "held: no attempt starts",
        StopPolicy::HoldAndDrain => "held and drained: no attempt starts, and those that run are stopped",
    };
    out(&format!("{}: {effect}\n", name_of(&queue)))?;
    Ok(0)
}
