//! The `simulate` command: shows the schedule of a task without a cluster.

mod outage;

use clap::{Args, ValueEnum};
use outage::OutageArgs;
use retryable_tasks::simulate::manifest::{Invalid, ManifestError, Manifests};
use retryable_tasks::simulate::outage::OutageSimulation;
use retryable_tasks::simulate::schedule::{ScheduleSimulation, starts};
use retryable_tasks::simulate::{self, Outcome, Outcomes, OutcomesError, Simulation, tables};
use serde::Serialize;
use std::io::{self, Read, Write};

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// The manifest, YAML or JSON; - means standard input
    file: String,

    /// Exit code of every attempt
    #[arg(long, value_name = "CODE", conflicts_with_all = ["outcomes", "outcomes_from"], value_parser = clap::value_parser!(u8))]
    exit_code: Option<u8>,

    /// Reason of every attempt, such as OOMKilled, Evicted, ImagePullBackOff, AttemptTimeout
    #[arg(long, conflicts_with_all = ["outcomes", "outcomes_from"])]
    reason: Option<String>,

    /// Termination message of every attempt; a JSON object is a termination report
    #[arg(long, conflicts_with_all = ["outcomes", "outcomes_from"])]
    message: Option<String>,

    /// How long every attempt runs before it ends, in seconds; with --outage 5 if not given
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["outcomes", "outcomes_from"])]
    run_seconds: Option<f64>,

    /// How the attempts end, in their order: exit codes and reasons, separated by commas; the last one repeats
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',')]
    outcomes: Vec<String>,

    /// A file that says how the attempts end, a YAML or JSON list; - means standard input
    #[arg(long, value_name = "FILE", conflicts_with = "outcomes")]
    outcomes_from: Option<String>,

    /// How many attempts to simulate at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    attempts: u16,

    /// How many starts of a schedule to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    starts: u16,

    /// The time from which on the starts of a schedule are shown, as RFC 3339, such as 2026-10-24T00:00:00Z; now if not
    /// given
    #[arg(long, value_name = "TIME")]
    from: Option<jiff::Timestamp>,

    #[command(flatten)]
    outage: OutageArgs,

    /// The format of the output
    #[arg(long, short, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs; times are milliseconds
    Json,
}

/// The JSON output.
#[derive(Serialize)]
struct Document<'a> {
    tasks: &'a [Simulation],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    schedules: &'a [ScheduleSimulation],
    #[serde(skip_serializing_if = "Option::is_none")]
    outages: Option<&'a [OutageSimulation]>,
}

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{file}: {why}")]
    Read { file: String, why: io::Error },
    #[error("{file}: {why}")]
    Manifest { file: String, why: ManifestError },
    #[error("{file}: {why}")]
    Outcomes { file: String, why: OutcomesError },
    #[error("{0}")]
    Outcome(OutcomesError),
    #[error("the manifest and the outcomes cannot both come from standard input")]
    BothFromStandardInput,
    #[error("the manifest and the queue cannot both come from standard input: put them into one file")]
    QueueFromStandardInput,
    #[error(
        "RetryableTask {task} names TaskQueue {queue}, which is not in {file}: add it, or give its file with --queue"
    )]
    NoSuchQueue { task: String, queue: String, file: String },
    #[error("RetryableTask {task} names no queue, and there are several: set spec.queue.name")]
    WhichQueue { task: String },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Simulation(#[from] simulate::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Simulates the tasks and schedules in a file and prints the result.
pub(super) fn simulate(args: &SimulateArgs) -> Result<(), Error> {
    if args.file == "-" && args.outcomes_from.as_deref() == Some("-") {
        return Err(Error::BothFromStandardInput);
    }
    if args.file == "-" && args.outage.queue.as_deref() == Some("-") {
        return Err(Error::QueueFromStandardInput);
    }
    let invalid = |why| Error::Manifest { file: name_of(&args.file), why };
    let manifests = Manifests::read(&read(&args.file)?).map_err(invalid)?;
    for skipped in &manifests.skipped {
        print_note(skipped);
    }
    let admitted = manifests.admit()?;
    let outcomes = outcomes(args)?;
    let limit = usize::from(args.attempts);
    let outages = args.outage.simulate(&admitted, &args.file, every(args).as_ref(), limit)?;
    // In an outage each task is shown with its copies.
    let tasks = if outages.is_some() { &[] } else { admitted.tasks.as_slice() };
    let simulations: Vec<Simulation> =
        tasks.iter().map(|task| simulate::simulate(task, &outcomes, limit)).collect::<Result<_, _>>()?;
    let from = args.from.unwrap_or_else(jiff::Timestamp::now);
    let schedules: Vec<ScheduleSimulation> =
        admitted.schedules.iter().filter_map(|schedule| starts(schedule, from, args.starts.into()).ok()).collect();
    let text = match args.output {
        Output::Json => {
            let document = Document { tasks: &simulations, schedules: &schedules, outages: outages.as_deref() };
            serde_json::to_string_pretty(&document)? + "\n"
        }
        Output::Table => {
            let of_schedules = schedules.iter().map(ToString::to_string);
            let of_tasks = (!simulations.is_empty()).then(|| tables(&simulations, outcomes != Outcomes::default()));
            let of_outages = outages.iter().flatten().map(ToString::to_string);
            of_schedules.chain(of_tasks).chain(of_outages).collect::<Vec<_>>().join("\n")
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // The reader, such as `head`, has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn outcomes(args: &SimulateArgs) -> Result<Outcomes, Error> {
    let SimulateArgs { outcomes, outcomes_from, .. } = args;
    if let Some(file) = outcomes_from {
        return Outcomes::parse(&read(file)?).map_err(|why| Error::Outcomes { file: name_of(file), why });
    }
    if !outcomes.is_empty() {
        return Outcomes::new(outcomes.iter().map(|word| Outcome::word(word)).collect()).map_err(Error::Outcome);
    }
    every(args).map_or_else(|| Ok(Outcomes::default()), |every| Outcomes::new(vec![every]).map_err(Error::Outcome))
}

/// How every attempt ends, if that is said.
fn every(args: &SimulateArgs) -> Option<Outcome> {
    let SimulateArgs { exit_code, reason, message, run_seconds, .. } = args;
    if exit_code.is_none() && reason.is_none() && message.is_none() && run_seconds.is_none() {
        return None;
    }
    Some(Outcome {
        exit_code: exit_code.map(i32::from),
        reason: reason.clone(),
        message: message.clone(),
        run_seconds: run_seconds.unwrap_or(0.0),
        ..Outcome::default()
    })
}

fn name_of(file: &str) -> String {
    if file == "-" { "standard input" } else { file }.to_owned()
}

fn read(file: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read = match file {
        "-" => io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut opened| opened.read_to_string(&mut text)),
    };
    read.map_err(|why| Error::Read { file: name_of(file), why })?;
    Ok(text)
}

#[allow(clippy::print_stderr)] // standard output has the simulation
fn print_note(note: &str) {
    eprintln!("{note}");
}
