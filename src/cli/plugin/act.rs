//! The verbs that act: retry-now, run-again, cancel, suspend, resume.

use super::connect::{Cluster, Connection, Scope};
use super::error::Error;
use super::fetch;
use super::output::{note, out, problems};
use super::read::{Which, chosen, none};
use super::send::{Looks, Request, Sent, new_id, send};
use clap::Args;
use futures::{StreamExt, future, stream};
use kube::ResourceExt;
use retryable_tasks::api::RetryableTask;
use retryable_tasks::plugin::inputs::{self, Pace, Rate};
use retryable_tasks::plugin::requests::{Action, Progress};
use retryable_tasks::plugin::tasks;
use serde_json::Value;
use std::cell::Cell;
use std::io::{self, BufRead, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// The more tasks are waited for, the less often it is looked at each: at most fifty a second.
const LOOKS_APART: Duration = Duration::from_millis(20);
/// How many requests are under way at a time.
const UNDER_WAY: usize = 16;
/// How many tasks are named before it is asked whether all are meant.
const NAMED: usize = 10;

#[derive(Debug, Args)]
pub(super) struct ActArgs {
    /// Names of tasks
    #[arg(value_name = "NAME", value_parser = inputs::task)]
    names: Vec<String>,

    #[command(flatten)]
    which: Which,

    /// Show which tasks are meant, and change none
    #[arg(long)]
    dry_run: bool,

    /// Skip the confirmation; tasks given by name need none
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
    if meant.is_empty() && !unread.is_empty() {
        return Ok(problems(&unread));
    }
    if meant.is_empty() {
        note(&none(&cluster, "matching tasks"));
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
    let failed = all(&cluster, action, meant, args).await?;
    Ok(problems(&unread).max(u8::from(failed)))
}

/// Asks it of all, and says what came of it as soon as it is known. Answers whether one has failed.
async fn all(cluster: &Cluster, action: Action, meant: Vec<RetryableTask>, args: &ActArgs) -> Result<bool, Error> {
    let with_namespace = cluster.has_many();
    let (began, mut pace, is_away) = (Instant::now(), Pace::new(args.rate), Cell::new(false));
    let paced = stream::iter(meant).take_while(|_| future::ready(!is_away.get())).then(|task| {
        let at = action.needless(&task).is_none().then(|| began + pace.next(began.elapsed()));
        async move {
            tokio::time::sleep_until(at.unwrap_or(began)).await;
            task
        }
    });
    let sent = paced.map(|task| async {
        let (title, asked) = (title(&task, with_namespace), Asked::of(cluster, action, &task, args.timeout));
        let sent = send(&asked.here, &asked.name, &asked, task, asked.deadline).await;
        (title, asked, sent)
    });
    // Whatever is waited for holds up no request: any number of tasks may take long to stop.
    let awaited = Cell::new(0);
    let effects = sent.buffer_unordered(UNDER_WAY).map(|(title, asked, sent)| {
        let awaited = &awaited;
        async move { (title, asked.effect(sent, awaited).await) }
    });
    let mut effects = pin!(effects.buffer_unordered(usize::MAX));
    let (mut failed, mut fatal) = (false, None);
    while let Some((title, effect)) = effects.next().await {
        match effect {
            Ok(Progress::Done(effect) | Progress::Later(effect) | Progress::Stopping(effect)) => {
                out(&format!("{title}: {effect}\n"))?;
            }
            Ok(Progress::Pending) => {
                let limit = args.timeout.as_secs();
                note(&format!("error: {title}: requested, but no operator has acted on it within {limit} s"));
                failed = true;
            }
            // One that is forbidden or gone keeps none of the others from being changed.
            Err(error) if error.is_refusal() => {
                note(&format!("error: {error}"));
                failed = true;
            }
            // Those that were asked meanwhile are still told of.
            Err(error) => {
                is_away.set(true);
                fatal = fatal.or(Some(error));
            }
        }
    }
    fatal.map_or(Ok(failed), Err)
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
            let (mut tasks, mut problems) = (Vec::new(), Vec::new());
            for name in &args.names {
                match fetch::get(cluster, name).await {
                    Ok(task) => tasks.push(task),
                    // One that is forbidden or gone keeps none of the others from being meant.
                    Err(error) if error.is_refusal() => problems.push(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
            Ok((tasks, problems))
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

/// What is asked of one task.
struct Asked {
    here: Cluster,
    action: Action,
    id: String,
    name: String,
    uid: Option<String>,
    /// Until when the operator is waited for.
    deadline: Instant,
}

impl Asked {
    fn of(cluster: &Cluster, action: Action, task: &RetryableTask, limit: Duration) -> Self {
        let scope = Scope::Namespaces(vec![task.namespace().unwrap_or_default()]);
        Self {
            here: Cluster { client: cluster.client.clone(), scope, options: cluster.options.clone() },
            action,
            id: new_id(),
            name: task.name_any(),
            uid: task.uid(),
            deadline: Instant::now() + limit,
        }
    }

    /// The effect of what was sent. `awaited` counts the tasks that are waited for.
    async fn effect(&self, sent: Result<Sent<RetryableTask>, Error>, awaited: &Cell<u32>) -> Result<Progress, Error> {
        let needless = |why: &str| Ok(Progress::Done(format!("no effect: {why}")));
        let task = match sent? {
            Sent::Stored(task) => *task,
            Sent::Needless(why) => return needless(why),
            Sent::Replaced => return needless("another task has its name now"),
        };
        awaited.set(awaited.get().saturating_add(1));
        let progress = self.awaited(task, awaited).await;
        awaited.set(awaited.get().saturating_sub(1));
        progress
    }

    /// Waits until the operator has acted, or the time is over.
    async fn awaited(&self, mut task: RetryableTask, awaited: &Cell<u32>) -> Result<Progress, Error> {
        let mut looks = Looks::until(self.deadline);
        loop {
            let progress = self.action.progress(&task, &self.id);
            let waits = matches!(progress, Progress::Pending | Progress::Stopping(_));
            if !waits || looks.are_over() {
                return Ok(progress);
            }
            looks.next(LOOKS_APART.saturating_mul(awaited.get())).await;
            task = match fetch::get::<RetryableTask>(&self.here, &self.name).await {
                Ok(newer) if newer.uid() == self.uid => newer,
                // It was done, and deleted at once: ttlSecondsAfterFinished 0.
                Ok(_) => return Ok(Progress::Done("it was deleted".into())),
                Err(error) if error.is_not_found() => return Ok(Progress::Done("it was deleted".into())),
                Err(error) if error.is_transient() => task,
                Err(error) => return Err(error),
            };
        }
    }
}

impl Request for Asked {
    type Object = RetryableTask;

    fn needless(&self, task: &RetryableTask) -> Option<&'static str> {
        self.action.needless(task)
    }

    fn patch(&self, task: &RetryableTask) -> Value {
        self.action.patch(task, &self.id)
    }

    fn is_stored(&self, task: &RetryableTask) -> bool {
        self.action.is_stored(task, &self.id)
    }
}
