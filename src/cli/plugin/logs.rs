//! `logs`: what attempts print.

use super::connect::{Cluster, Connection};
use super::error::Error;
use super::fetch;
use super::follow::Follow;
use super::output::{note, out, write};
use clap::Args;
use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};
use retryable_tasks::api::RetryableTask;
use retryable_tasks::core::main_container::main_container_name;
use retryable_tasks::core::slot::Slot;
use retryable_tasks::plugin::create::back_off;
use retryable_tasks::plugin::inputs;
use retryable_tasks::plugin::logs::{Place, has_ended, may_print, next_after, pod_of, slots};
use retryable_tasks::plugin::progress::{End, Watched};
use std::collections::HashSet;
use std::io;
use std::pin::pin;
use std::time::Duration;

/// How soon a Pod whose container has not started is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Name of the task
    #[arg(value_parser = inputs::task)]
    name: String,

    /// The attempt; the latest if not given
    #[arg(long, value_name = "N", conflicts_with = "all")]
    attempt: Option<i32>,

    /// All attempts whose Pods still exist
    #[arg(long)]
    all: bool,

    /// Go on with what is printed from now on, and with the next attempts, until the task ends
    #[arg(long, short)]
    follow: bool,

    /// The container; the main one if not given
    #[arg(long, short, value_name = "NAME")]
    container: Option<String>,

    /// How many lines of each log, from its end
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,

    /// With the time of each line
    #[arg(long)]
    timestamps: bool,
}

/// What is printed of which Pods.
struct Printer<'a> {
    tasks: Api<RetryableTask>,
    pods: Api<Pod>,
    events: Api<Event>,
    args: &'a LogsArgs,
    name: &'a str,
    seen: HashSet<String>,
    watched: Watched,
    /// Whether it is worth saying whose log it is.
    with_titles: bool,
}

pub(super) async fn logs(connection: &Connection, args: &LogsArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let task: RetryableTask = fetch::get(&cluster, &args.name).await?;
    let namespace = cluster.namespace()?.to_owned();
    let mut printer = Printer {
        tasks: Api::namespaced(cluster.client.clone(), &namespace),
        pods: Api::namespaced(cluster.client.clone(), &namespace),
        events: Api::namespaced(cluster.client.clone(), &namespace),
        args,
        name: &args.name,
        seen: HashSet::new(),
        watched: Watched::default(),
        with_titles: args.all || args.follow,
    };
    let chosen = choose(&cluster, &task, args)?;
    if args.follow {
        return printer.follow(&cluster, task, chosen).await;
    }
    let mut found = false;
    for slot in chosen {
        found |= printer.print(&task, slot, false).await?;
    }
    if !found {
        note("error: none of these Pods exists any more: podRetention says how many are kept");
    }
    Ok(u8::from(!found))
}

/// The attempts that are meant, oldest first.
fn choose(cluster: &Cluster, task: &RetryableTask, args: &LogsArgs) -> Result<Vec<Slot>, Error> {
    let all = slots(task);
    if args.all {
        return Ok(all);
    }
    let chosen = match args.attempt {
        Some(number) => all.iter().find(|slot| slot.number == number && !slot.fallback).copied(),
        None => all.last().copied(),
    };
    match (chosen, args.attempt) {
        (Some(slot), _) => Ok(vec![slot]),
        (None, None) if args.follow => Ok(Vec::new()),
        (None, Some(number)) if args.follow && task.status.as_ref().is_none_or(|status| status.attempts < number) => {
            Ok(vec![Slot { number, fallback: false }])
        }
        (None, Some(number)) => {
            let count = task.status.as_ref().map_or(0, |status| status.attempts);
            Err(Error::Usage(format!("attempt {number} is not in the history: the task has started {count} so far")))
        }
        (None, None) => {
            let name = cluster.as_argument(&args.name)?;
            Err(Error::Usage(format!("no attempt has been started: kubectl retryable why {name} says why")))
        }
    }
}

impl Printer<'_> {
    /// Prints one attempt after another until the task has ended.
    async fn follow(&mut self, cluster: &Cluster, task: RetryableTask, chosen: Vec<Slot>) -> Result<u8, Error> {
        let mut follow = Follow::new(cluster, self.name)?;
        let mut task = task;
        // What has ended before is not told.
        let _ = self.watched.lines(&task, Timestamp::now());
        self.events(false).await;
        let mut next = chosen.first().copied();
        loop {
            next = next.or_else(|| slots(&task).into_iter().next());
            if let Some(slot) = next.filter(|slot| pod_of(&task, *slot).is_some()) {
                self.print(&task, slot, true).await?;
                // Its end is recorded soon.
                while !has_ended(&task, slot) {
                    let Some(newer) = follow.next().await? else { return Ok(gone()) };
                    task = newer;
                }
                next = next_after(&task, slot);
                self.tell(&task).await;
                if next.is_some() {
                    continue;
                }
                next = Some(Slot { number: slot.number.saturating_add(1), fallback: false });
            }
            if let Some(fallback) = slots(&task).into_iter().find(|slot| slot.fallback)
                && next.is_some_and(|next| !next.fallback && next.number > fallback.number)
            {
                next = Some(fallback);
                continue;
            }
            if End::of(&task).is_some() {
                return Ok(0);
            }
            let Some(newer) = follow.next().await? else { return Ok(gone()) };
            task = newer;
            self.tell(&task).await;
        }
    }

    /// Says what has happened between the attempts.
    async fn tell(&mut self, task: &RetryableTask) {
        self.events(true).await;
        for line in self.watched.lines(task, Timestamp::now()) {
            note(&format!("--- {line}"));
        }
    }

    /// The Warning Events of the task that are new. Who may not read them goes without.
    async fn events(&mut self, tell: bool) {
        let params = ListParams::default().fields(&format!("involvedObject.name={},type=Warning", self.name));
        let Ok(events) = self.events.list(&params).await else { return };
        for event in events.items {
            let is_new = self.seen.insert(event.metadata.uid.clone().unwrap_or_default());
            let reason = event.reason.unwrap_or_default();
            // The end of an attempt is told from the status.
            if is_new && tell && reason != "AttemptFailed" {
                note(&format!("--- {reason}: {}", event.message.unwrap_or_default()));
            }
        }
    }

    /// Prints the log of one Pod. False if there is no such Pod any more.
    async fn print(&self, task: &RetryableTask, slot: Slot, follow: bool) -> Result<bool, Error> {
        let title = if slot.fallback { "the fallback".into() } else { format!("attempt {}", slot.number) };
        let Some(pod) = pod_of(task, slot) else { return Ok(false) };
        if self.with_titles {
            note(&format!("=== {title}, Pod {pod}"));
        }
        let container = self.args.container.clone().unwrap_or_else(|| main_container_name(&task.spec));
        let mut params = LogParams {
            container: Some(container.clone()),
            follow,
            tail_lines: self.args.tail,
            // By its lines' times a log goes on after its connection has broken.
            timestamps: self.args.timestamps || follow,
            ..LogParams::default()
        };
        let mut place = Place::default();
        // Whether a log was read, whether it is asked for the last time, and for how many tries in a row it could not be had.
        let (mut was_read, mut is_last, mut outages) = (false, false, 0);
        loop {
            let why = match self.pods.log_stream(&pod, &params).await {
                Err(why) => why,
                Ok(log) => {
                    let broken = self.copy(log, follow.then_some(&mut place)).await?;
                    if broken.is_none() && (!follow || is_last) {
                        return Ok(true);
                    }
                    was_read = true;
                    let since = place.resume();
                    if since != params.since_time {
                        (is_last, outages) = (false, 0);
                        params = LogParams { since_time: since, tail_lines: None, ..params };
                    }
                    let Some(broken) = broken else {
                        // The log of a Pod without a node is empty, and a stream may end while the container goes on.
                        is_last = !self.prints_more(&pod, &container).await?;
                        continue;
                    };
                    kube::Error::ReadEvents(broken)
                }
            };
            let error = Error::Request { what: format!("get the log of Pod {pod}"), why };
            if error.is_not_found() {
                // The status names the Pod before it exists.
                if !follow || was_read || self.is_over(slot).await? {
                    if self.with_titles && !was_read {
                        note("the Pod no longer exists");
                    }
                    return Ok(was_read);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            } else if follow && error.answer().is_some_and(|status| status.code == 400) {
                // Its container has not started. It may have started and ended since then: its log is asked for once more.
                if is_last {
                    return Ok(true);
                }
                is_last = !self.prints_more(&pod, &container).await?;
            } else if follow && error.is_transient() {
                // Its node may never answer again: that does not keep the next attempt from being followed.
                if is_last {
                    note(&format!("error: {error}"));
                    return Ok(true);
                }
                is_last = self.is_over(slot).await?;
                outages += 1;
                if outages == 1 {
                    note(&format!("--- {error}; trying again"));
                }
                tokio::time::sleep(back_off(outages, fastrand::f64())).await;
            } else {
                return Err(error);
            }
        }
    }

    /// Writes a log as it comes. Answers the error by which its connection broke, if it did.
    async fn copy(&self, log: impl AsyncBufRead, mut place: Option<&mut Place>) -> Result<Option<io::Error>, Error> {
        let mut log = pin!(log);
        let (mut line, mut is_whole) = (Vec::new(), true);
        loop {
            line.clear();
            let read = log.read_until(b'\n', &mut line).await;
            let new = match &mut place {
                // The line comes as a whole when the log is asked for again.
                Some(_) if read.is_err() => None,
                Some(place) if self.args.timestamps => place.take(&line).map(|_| &*line),
                Some(place) => place.take(&line),
                None => Some(&*line),
            };
            if let Some(new) = new.filter(|new| !new.is_empty()) {
                write(new)?;
                is_whole = new.ends_with(b"\n");
            }
            match read {
                Ok(1..) => {}
                Ok(0) => {
                    // What follows is another log.
                    if self.with_titles && !is_whole {
                        out("\n")?;
                    }
                    return Ok(None);
                }
                Err(error) => return Ok(Some(error)),
            }
        }
    }

    /// Whether the end of the attempt is recorded. Not as far as is known while the API server is away.
    async fn is_over(&self, slot: Slot) -> Result<bool, Error> {
        match self.tasks.get_opt(self.name).await.map_err(Error::of(format!("get RetryableTask {}", self.name))) {
            Ok(task) => Ok(task.is_none_or(|task| has_ended(&task, slot))),
            Err(error) if error.is_transient() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits a moment if the container may still print. As far as is known it may while the API server is away.
    async fn prints_more(&self, pod: &str, container: &str) -> Result<bool, Error> {
        let found = match self.pods.get_opt(pod).await.map_err(Error::of(format!("get Pod {pod}"))) {
            Ok(found) => found.is_some_and(|found| may_print(&found, container)),
            Err(error) if error.is_transient() => true,
            Err(error) => return Err(error),
        };
        if found {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(found)
    }
}

fn gone() -> u8 {
    note("the task was deleted");
    1
}
