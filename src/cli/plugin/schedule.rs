//! `schedule`: TaskSchedules.

use super::connect::{Cluster, Connection};
use super::error::Error;
use super::fetch::{self, Found};
use super::output::{Show, ShowValue, note, out, problems};
use super::read::none;
use super::send::{Looks, Request, Sent, new_id, send};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use kube::api::ListParams;
use retryable_tasks::api::{ANNOTATION_BACKFILL, ANNOTATION_RESUME, ANNOTATION_TRIGGER, TaskSchedule};
use retryable_tasks::core::schedule::acknowledged_as;
use retryable_tasks::plugin::requests::effect;
use retryable_tasks::plugin::{inputs, schedules};
use retryable_tasks::simulate::schedule::next_starts;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Args)]
pub(super) struct ScheduleArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List schedules
    #[command(after_help = "Examples:
  kubectl retryable schedule list -A")]
    List(#[command(flatten)] Show),
    /// Show the next starts
    #[command(after_help = "Examples:
  kubectl retryable schedule next nightly --starts 3")]
    Next(NextArgs),
    /// Start a run now
    #[command(after_help = "Examples:
  kubectl retryable schedule trigger nightly
  kubectl retryable schedule trigger nightly --patch '{\"maxRetries\": 0}'")]
    Trigger(TriggerArgs),
    /// Start the times of an interval that has passed
    #[command(after_help = "Examples:
  kubectl retryable schedule backfill nightly 2026-11-01/2026-11-07
  kubectl retryable schedule backfill nightly stop")]
    Backfill(BackfillArgs),
    /// Go on after a pause for failures
    #[command(after_help = "Examples:
  kubectl retryable schedule resume nightly")]
    Resume(ActArgs),
}

#[derive(Debug, Args)]
struct NextArgs {
    /// Name of the schedule
    #[arg(value_parser = inputs::schedule)]
    name: String,

    /// How many starts to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    starts: u16,

    #[command(flatten)]
    show: ShowValue,
}

#[derive(Debug, Args)]
struct ActArgs {
    /// Name of the schedule
    #[arg(value_parser = inputs::schedule)]
    name: String,

    /// How long to wait for the operator to act
    #[arg(long, value_parser = inputs::duration, value_name = "TIME", default_value = "60s")]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct TriggerArgs {
    #[command(flatten)]
    act: ActArgs,

    /// What is different in this run: a JSON merge patch of the task's spec
    #[arg(long, value_name = "JSON")]
    patch: Option<String>,
}

#[derive(Debug, Args)]
struct BackfillArgs {
    /// Name of the schedule
    #[arg(value_parser = inputs::schedule)]
    name: String,

    /// The interval, such as 2026-11-01/2026-11-07; stop ends a backfill that goes on
    interval: String,

    /// How long to wait for the operator to act
    #[arg(long, value_parser = inputs::duration, value_name = "TIME", default_value = "60s")]
    timeout: Duration,
}

pub(super) async fn schedule(connection: &Connection, args: &ScheduleArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    match &args.verb {
        Verb::List(show) => list(&cluster, show).await,
        Verb::Next(args) => next(&cluster, args).await,
        Verb::Trigger(TriggerArgs { act: ActArgs { name, timeout }, patch }) => {
            let value = triggered(patch.as_deref())?;
            request(&cluster, name, ANNOTATION_TRIGGER, &value, *timeout).await
        }
        Verb::Backfill(BackfillArgs { name, interval, timeout }) => {
            request(&cluster, name, ANNOTATION_BACKFILL, interval, *timeout).await
        }
        Verb::Resume(ActArgs { name, timeout }) => {
            request(&cluster, name, ANNOTATION_RESUME, &new_id(), *timeout).await
        }
    }
}

/// A value is acknowledged once, so each has an id: blanks around a JSON object are no part of it.
fn triggered(patch: Option<&str>) -> Result<String, Error> {
    let Some(patch) = patch else { return Ok(new_id()) };
    let read: Value =
        serde_json::from_str(patch).map_err(|error| Error::Usage(format!("--patch is not valid JSON: {error}")))?;
    if !read.is_object() {
        return Err(Error::Usage("--patch is a JSON object, such as {\"maxRetries\": 0}".into()));
    }
    Ok(read.to_string() + &blanks())
}

/// Sixteen blanks that hardly come twice.
fn blanks() -> String {
    (0..16).map(|_| if fastrand::bool() { ' ' } else { '\t' }).collect()
}

async fn list(cluster: &Cluster, show: &Show) -> Result<u8, Error> {
    let Found { mut items, problems: unread } = fetch::list::<TaskSchedule>(cluster, &ListParams::default()).await?;
    items.sort_by_cached_key(|schedule| (schedule.metadata.namespace.clone(), schedule.metadata.name.clone()));
    let now = Timestamp::now();
    show.objects(&items, |wide| schedules::table(&items, cluster.has_many(), wide, now), &none(cluster, "schedules"))?;
    Ok(problems(&unread))
}

async fn next(cluster: &Cluster, args: &NextArgs) -> Result<u8, Error> {
    let schedule: TaskSchedule = fetch::get(cluster, &args.name).await?;
    let shown = next_starts(&schedule, Timestamp::now(), args.starts.into()).map_err(Error::Usage)?;
    if !args.show.print(&shown)? {
        out(&shown.to_string())?;
    }
    Ok(0)
}

/// Annotates the schedule, and prints what the operator has made of it.
async fn request(cluster: &Cluster, name: &str, annotation: &str, value: &str, limit: Duration) -> Result<u8, Error> {
    let (asked, deadline) = (Asked { annotation, value }, Instant::now() + limit);
    let first: TaskSchedule = fetch::get(cluster, name).await?;
    // A value that was acknowledged is not acted upon again, though its annotation is gone.
    if let Some(effect) = asked.effect(&first) {
        note(&format!("error: already requested ({effect}); change the value to request it again"));
        return Ok(1);
    }
    if matches!(send(cluster, name, &asked, first, deadline).await?, Sent::Replaced) {
        return Err(Error::Usage(format!("TaskSchedule {name} was deleted, and another has its name now")));
    }
    let mut looks = Looks::until(deadline);
    loop {
        match fetch::get::<TaskSchedule>(cluster, name).await {
            Ok(schedule) => {
                if let Some(effect) = asked.effect(&schedule) {
                    out(&format!("{name}: {effect}\n"))?;
                    return Ok(0);
                }
            }
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error),
        }
        if looks.are_over() {
            break;
        }
        looks.next(Duration::ZERO).await;
    }
    note(&format!("error: {name}: requested, but no operator has acted on it within {} s", limit.as_secs()));
    Ok(1)
}

/// What is asked of a schedule.
struct Asked<'a> {
    annotation: &'a str,
    value: &'a str,
}

impl Asked<'_> {
    /// What came of it, once it is acknowledged.
    fn effect(&self, schedule: &TaskSchedule) -> Option<String> {
        let acknowledged = schedule.status.as_ref().map(|status| status.acknowledged.as_slice()).unwrap_or_default();
        effect(acknowledged, self.annotation, &acknowledged_as(self.value))
    }
}

impl Request for Asked<'_> {
    type Object = TaskSchedule;

    /// Whether it was requested before is asked once, before it is sent.
    fn needless(&self, _: &TaskSchedule) -> Option<&'static str> {
        None
    }

    fn patch(&self, schedule: &TaskSchedule) -> Value {
        let annotations = json!({self.annotation: self.value});
        json!({"metadata": {"resourceVersion": schedule.metadata.resource_version, "annotations": annotations}})
    }

    fn is_stored(&self, schedule: &TaskSchedule) -> bool {
        let annotations = schedule.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(self.annotation)).is_some_and(|stored| stored == self.value)
    }
}
