//! The part of the `simulate` command that plays an outage with many tasks.

use super::{Error, name_of, print_note, read};
use clap::Args;
use jiff::SignedDuration;
use retryable_tasks::api::{RetryableTask, TaskQueue};
use retryable_tasks::simulate::Outcome;
use retryable_tasks::simulate::manifest::{Admitted, Manifests};
use retryable_tasks::simulate::outage::{Outage, OutageSimulation, outage};

/// The longest outage: more than anybody waits for, and little enough to play.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long an attempt runs unless `--run-seconds` says so: one that takes no time holds no slot.
const RUN_SECONDS: f64 = 5.0;

#[derive(Debug, Args)]
pub(super) struct OutageArgs {
    /// Show what becomes of many copies of each task while the service that they call is down for so long, such as 10m or
    /// 1h30m: without a queue, with it, and with its circuit breaker
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["outcomes", "outcomes_from"])]
    outage: Option<SignedDuration>,

    /// A file with the `TaskQueue`, if it is not in the same file; - means standard input
    #[arg(long, value_name = "FILE", requires = "outage")]
    pub(super) queue: Option<String>,

    /// How many copies of each task there are in an outage
    #[arg(long, value_name = "N", default_value_t = 60, requires = "outage", value_parser = clap::value_parser!(u32).range(1..=10000))]
    tasks: u32,

    /// Over how long they are created, evenly; at once if not given
    #[arg(long, value_name = "DURATION", requires = "outage", value_parser = duration)]
    created_over: Option<SignedDuration>,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed = text.parse().ok().filter(|time| (SignedDuration::ZERO..=LONGEST).contains(time));
    parsed.ok_or_else(|| format!("use a time such as 90s, 10m or 1h30m, up to {}h", LONGEST.as_hours()))
}

impl OutageArgs {
    /// What becomes of the tasks in the outage, if there is to be one.
    pub(super) fn simulate(
        &self,
        admitted: &Admitted,
        file: &str,
        failure: Option<&Outcome>,
        attempts: usize,
    ) -> Result<Option<Vec<OutageSimulation>>, Error> {
        let Some(down) = self.outage else { return Ok(None) };
        let given = self.queue.as_deref().map(queues).transpose()?.unwrap_or_default();
        let played = admitted.tasks.iter().map(|task| {
            let mut task = task.clone();
            let queue = self.queue_of(&mut task, &given, &admitted.queues, file)?;
            let setting = Outage {
                queue,
                tasks: self.tasks,
                created_over: self.created_over.unwrap_or_default(),
                down,
                failure: failure.filter(|failure| has_end(failure)).cloned(),
                run_seconds: failure.map(|failure| failure.run_seconds).filter(|run| *run > 0.0).unwrap_or(RUN_SECONDS),
                attempts,
            };
            Ok(outage(&task, &setting)?)
        });
        played.collect::<Result<Vec<_>, Error>>().map(Some)
    }

    /// The queue of the task. One that names none gets the queue of `--queue`.
    fn queue_of(
        &self,
        task: &mut RetryableTask,
        given: &[TaskQueue],
        beside: &[TaskQueue],
        file: &str,
    ) -> Result<Option<TaskQueue>, Error> {
        let task_name = || task.metadata.name.clone().unwrap_or_default();
        let Some(named) = task.spec.queue.as_ref().map(|queue| queue.name.clone()) else {
            let [only] = given else {
                return if given.is_empty() { Ok(None) } else { Err(Error::WhichQueue { task: task_name() }) };
            };
            let name = only.metadata.name.clone().unwrap_or_default();
            print_note(&format!("RetryableTask {} names no queue: it is shown with TaskQueue {name}", task_name()));
            task.spec.queue = Some(retryable_tasks::api::QueueRef { name, ..Default::default() });
            return Ok(Some(only.clone()));
        };
        let found = given.iter().chain(beside).find(|queue| queue.metadata.name.as_ref() == Some(&named));
        let file = self.queue.as_deref().unwrap_or(file);
        let missing = || Error::NoSuchQueue { task: task_name(), queue: named.clone(), file: name_of(file) };
        found.cloned().map(Some).ok_or_else(missing)
    }
}

/// Whether more is said of the failure than how long it takes.
fn has_end(failure: &Outcome) -> bool {
    Outcome { run_seconds: 0.0, ..failure.clone() } != Outcome::default()
}

fn queues(file: &str) -> Result<Vec<TaskQueue>, Error> {
    let invalid = |why| Error::Manifest { file: name_of(file), why };
    let manifests = Manifests::read_queues(&read(file)?).map_err(invalid)?;
    Ok(manifests.admit()?.queues)
}
