//! The verbs that act: retry-now, run-again, cancel, suspend, resume.

use super::connect::{Cluster, Connection, Scope};
use super::error::Error;
use super::fetch;
use super::output::{note, out, problems};
use super::read::{Which, chosen, none};
use clap::Args;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use retryable_tasks::api::RetryableTask;
use retryable_tasks::plugin::inputs::{self, Rate};
use retryable_tasks::plugin::requests::{Action, Progress};
use retryable_tasks::plugin::tasks;
use serde_json::Value;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// How often a request is made anew because the task has changed in the meantime.
const CONFLICTS: u32 = 5;
/// How often it is looked whether the operator has acted.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How many tasks are named before it is asked whether all are meant.
const NAMED: usize = 10;

#[derive(Debug, Args)]
pub(super) struct ActArgs {
    /// Names of tasks
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    which: Which,

    /// Show which tasks are meant, and change none
    #[arg(long)]
    dry_run: bool,

    /// Do not ask. Tasks that are named are not asked for
    #[arg(long, short)]
    yes: bool,

    /// How fast, such as 10/m: many tasks that start at once are a load
    #[arg(long, value_parser = Rate::parse, value_name = "RATE")]
    rate: Option<Rate>,

    /// How long to wait for the operator to act on each
    #[arg(long, value_parser = inputs::duration, value_name = "TIME", default_value = "60s")]
    timeout: Duration,
}

#[derive(Debug, Args)]
pub(super) struct RunAgainArgs {
    /// Without the checkpoint that was reported
    #[arg(long)]
    pub(super) from_start: bool,

    #[command(flatten)]
    pub(super) args: ActArgs,
}

/// Asks it of the tasks that are meant, and prints the effect on each.
pub(super) async fn act(connection: &Connection, action: Action, args: &ActArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let (mut meant, unread) = meant(&cluster, args).await?;
    tasks::sort(&mut meant, tasks::SortBy::Name);
    if meant.is_empty() {
        note(&none(&cluster, "tasks that are meant"));
        return Ok(problems(&unread));
    }
    let with_namespace = cluster.has_many();
    if args.dry_run {
        for task in &meant {
            let does = action.needless(task).map_or_else(|| action.verb().to_owned(), |why| format!("nothing: {why}"));
            out(&format!("{}: {does} (dry run)\n", title(task, with_namespace)))?;
        }
        return Ok(problems(&unread));
    }
    if args.names.is_empty() && !args.yes {
        confirm(action, &meant, with_namespace)?;
    }
    let mut code = problems(&unread);
    let mut next = Instant::now();
    for task in meant {
        if let Some(why) = action.needless(&task) {
            out(&format!("{}: no effect: {why}\n", title(&task, with_namespace)))?;
            continue;
        }
        tokio::time::sleep_until(next).await;
        if let Some(Rate { interval }) = args.rate {
            next = Instant::now() + interval;
        }
        match one(&cluster, action, task.clone(), args.timeout).await {
            Ok(Progress::Done(effect) | Progress::Later(effect)) => {
                out(&format!("{}: {effect}\n", title(&task, with_namespace)))?;
            }
            Ok(Progress::Pending) => {
                let limit = args.timeout.as_secs();
                note(&format!(
                    "error: {}: requested, but no operator has acted on it within {limit} s",
                    title(&task, with_namespace)
                ));
                code = 1;
            }
            // One that is forbidden or gone keeps none of the others from being changed.
            Err(error) if error.answer().is_some() => {
                note(&format!("error: {error}"));
                code = 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(code)
}

fn title(task: &RetryableTask, with_namespace: bool) -> String {
    let namespace = task.namespace().filter(|_| with_namespace).map(|namespace| format!("{namespace}/"));
    format!("{}{}", namespace.unwrap_or_default(), task.name_any())
}

/// The tasks that are meant, and what could not be read.
async fn meant(cluster: &Cluster, args: &ActArgs) -> Result<(Vec<RetryableTask>, Vec<String>), Error> {
    match (args.names.is_empty(), args.which.is_all()) {
        (true, true) => Err(Error::Usage(
            "name the tasks, or say which are meant: -l LABELS, --state STATE, --reason REASON or --fingerprint FINGERPRINT".into(),
        )),
        (false, false) => Err(Error::Usage("give either names or -l, --state, --reason, --fingerprint".into())),
        (true, false) => chosen(cluster, &args.which).await.map(|found| (found.items, found.problems)),
        (false, true) => {
            let mut tasks = Vec::new();
            for name in &args.names {
                tasks.push(fetch::get(cluster, name).await?);
            }
            Ok((tasks, Vec::new()))
        }
    }
}

/// Asks whether all of them are meant.
fn confirm(action: Action, meant: &[RetryableTask], with_namespace: bool) -> Result<(), Error> {
    let count = meant.len();
    let verb = action.verb();
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(format!("{verb} of {count} task(s): give --yes, since nobody can be asked here")));
    }
    for task in meant.iter().take(NAMED) {
        note(&format!("  {}", title(task, with_namespace)));
    }
    if count > NAMED {
        note(&format!("  … and {} more", count - NAMED));
    }
    let mut stderr = io::stderr();
    let all = if count == 1 { "this task".to_owned() } else { format!("these {count} tasks") };
    write!(stderr, "{verb} of {all}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(&*answer.trim().to_ascii_lowercase(), "y" | "yes") {
        return Ok(());
    }
    Err(Error::Usage("nothing was changed".into()))
}

/// Asks it of one task, and waits for the effect.
async fn one(cluster: &Cluster, action: Action, task: RetryableTask, limit: Duration) -> Result<Progress, Error> {
    let namespace = task.namespace().unwrap_or_default();
    let here = Cluster { client: cluster.client.clone(), scope: Scope::Namespaces(vec![namespace.clone()]) };
    let api: Api<RetryableTask> = Api::namespaced(cluster.client.clone(), &namespace);
    let (id, name) = (new_id(), task.name_any());
    let mut task = task;
    let mut nth = 0;
    let mut task = loop {
        if let Some(why) = action.needless(&task) {
            return Ok(Progress::Done(format!("no effect: {why}")));
        }
        match patched(&api, &name, &action.patch(&task, &id)).await {
            Err(error) if error.answer().is_some_and(|status| status.code == 409) && nth < CONFLICTS => {
                nth += 1;
                let newer: RetryableTask = fetch::get(&here, &name).await?;
                if newer.uid() != task.uid() {
                    return Ok(Progress::Done("no effect: another task has its name now".into()));
                }
                task = newer;
            }
            result => break result?,
        }
    };
    let deadline = Instant::now() + limit;
    loop {
        let progress = action.progress(&task, &id);
        if progress != Progress::Pending || Instant::now() >= deadline {
            return Ok(progress);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        task = match fetch::get(&here, &name).await {
            Ok(task) => task,
            // It was done, and deleted at once: ttlSecondsAfterFinished 0.
            Err(error) if error.is_not_found() => return Ok(Progress::Done("it was deleted".into())),
            Err(error) if error.answer().is_some_and(|status| status.code < 500 && status.code != 429) => {
                return Err(error);
            }
            Err(_) => task,
        };
    }
}

/// A request is one of its own by a random value: two people who ask at the same time ask twice.
pub(super) fn new_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

async fn patched(api: &Api<RetryableTask>, name: &str, patch: &Value) -> Result<RetryableTask, Error> {
    let params = PatchParams { field_manager: Some("kubectl-retryable".into()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Merge(patch)).await.map_err(Error::of(format!("patch RetryableTask {name}")))
}
