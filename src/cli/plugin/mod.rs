//! `kubectl retryable`: the program under another name.

mod act;
mod complete;
mod connect;
mod create;
mod error;
mod explain;
mod fetch;
mod follow;
mod logs;
mod output;
mod queue;
mod read;
mod schedule;
mod send;
mod version;
mod wait;
mod watch;

use super::{convert, simulate};
use clap::{Parser, Subcommand};
use connect::Connection;
use error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The program's name as a plugin of kubectl.
const PLUGIN: &str = "kubectl-retryable";
/// The name by which kubectl asks it to complete a command line.
const COMPLETION: &str = "kubectl_complete-retryable";

/// See and steer RetryableTasks, TaskQueues and TaskSchedules.
#[derive(Debug, Parser)]
#[command(name = "kubectl retryable", bin_name = "kubectl retryable", version, max_term_width = 100)]
#[command(after_help = "Examples:
  kubectl retryable list -A --state Failed
  kubectl retryable why import-orders
  kubectl retryable errors -A
  kubectl retryable run-again --fingerprint k8x2bfwz --state Failed --rate 10/m")]
struct Plugin {
    #[command(flatten)]
    connection: Connection,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List tasks
    #[command(after_help = "Examples:
  kubectl retryable list
  kubectl retryable list -A --state Failed,Waiting --sort next-retry
  kubectl retryable list --reason OOMKilled -o name")]
    List(read::ListArgs),
    /// Show a task, and its attempts with the waits between them
    #[command(after_help = "Examples:
  kubectl retryable get import-orders
  kubectl retryable get import-orders --watch")]
    Get(read::GetArgs),
    /// Say in one sentence why a task is where it is
    #[command(after_help = "Examples:
  kubectl retryable why import-orders")]
    Why(read::WhyArgs),
    /// Group failures by their cause
    #[command(after_help = "Examples:
  kubectl retryable errors
  kubectl retryable errors -A -o wide
  kubectl retryable list --fingerprint k8x2bfwz")]
    Errors(read::ErrorsArgs),
    /// Print the log of an attempt, and follow into the next one
    #[command(after_help = "Examples:
  kubectl retryable logs import-orders
  kubectl retryable logs import-orders --attempt 1
  kubectl retryable logs import-orders --all -f")]
    Logs(logs::LogsArgs),
    /// Wait until tasks have ended: exit code 0 if all succeeded, 1 if one failed, 2 after the time-out
    #[command(after_help = "Examples:
  kubectl retryable wait import-orders --timeout 1h")]
    Wait(wait::WaitArgs),
    /// Show on which nodes attempts run
    #[command(after_help = "Examples:
  kubectl retryable workers -A
  kubectl retryable workers -o json")]
    Workers(read::WorkersArgs),
    /// Start the next attempt without its wait
    #[command(after_help = "Examples:
  kubectl retryable retry-now import-orders
  kubectl retryable retry-now -l team=shop --state Waiting --rate 10/m")]
    RetryNow(act::ActArgs),
    /// Run again, now or once the task has ended
    #[command(after_help = "Examples:
  kubectl retryable run-again import-orders
  kubectl retryable run-again --fingerprint k8x2bfwz --state Failed --rate 10/m --yes")]
    RunAgain(act::RunAgainArgs),
    /// End a task
    #[command(after_help = "Examples:
  kubectl retryable cancel import-orders
  kubectl retryable cancel -l team=shop --dry-run")]
    Cancel(act::ActArgs),
    /// Let no attempt run until the task is resumed
    #[command(after_help = "Examples:
  kubectl retryable suspend import-orders")]
    Suspend(act::ActArgs),
    /// Let a suspended task go on
    #[command(after_help = "Examples:
  kubectl retryable resume --state Suspended --rate 1/s")]
    Resume(act::ActArgs),
    /// Create a task; its name makes that safe to repeat
    #[command(after_help = "Examples:
  kubectl retryable create import-orders --image busybox:1 -- sh -c 'exit 0'
  kubectl retryable create import-orders --image shop/import:1.4 --max-retries 5 --submit-timeout 5m --wait")]
    Create(create::CreateArgs),
    /// See and hold TaskQueues
    Queue(queue::QueueArgs),
    /// See and trigger TaskSchedules
    Schedule(schedule::ScheduleArgs),
    /// Show what a manifest would do, without a cluster
    #[command(after_help = "Examples:
  kubectl retryable simulate task.yaml --exit-code 75")]
    Simulate(simulate::SimulateArgs),
    /// Convert a Job, a CronJob, or an Argo Workflow of one step
    #[command(after_help = "Examples:
  kubectl retryable convert job.yaml
  kubectl retryable convert --from job/import-orders")]
    Convert(convert::ConvertArgs),
    /// Show the versions of this program, the operator and the definitions
    #[command(after_help = "Examples:
  kubectl retryable version
  kubectl retryable version --client -o json")]
    Version(version::VersionArgs),
}

/// Runs the plugin if the program was called by one of its names. The names themselves come first in `args`.
pub fn by_name(args: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(args.first()?).file_stem()?.to_str()?.to_owned();
    match &*name {
        PLUGIN => Some(run(args)),
        COMPLETION => Some(complete::complete(args.get(1..).unwrap_or_default())),
        _ => None,
    }
}

fn run(args: &[OsString]) -> ExitCode {
    let Plugin { connection, verb } = Plugin::parse_from(args);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::Io(error)),
    };
    match runtime.block_on(Box::pin(execute(&connection, verb))) {
        Ok(code) => ExitCode::from(code),
        // The reader, such as `head`, has closed the pipe.
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let code = failed(&error);
            // Whoever has several clusters sees which one was meant.
            if error.is_unanswered()
                && let Some(server) = runtime.block_on(connection.server())
            {
                output::note(&format!("  The API server of this configuration is {server}"));
            }
            code
        }
    }
}

fn failed(error: &Error) -> ExitCode {
    super::print_error(error);
    ExitCode::FAILURE
}

/// Executes a verb. Answers the exit code.
async fn execute(connection: &Connection, verb: Verb) -> Result<u8, Error> {
    use retryable_tasks::plugin::requests::Action;
    match verb {
        Verb::List(args) => Box::pin(read::list(connection, &args)).await,
        Verb::Get(args) => Box::pin(read::get(connection, &args)).await,
        Verb::Why(args) => Box::pin(read::why(connection, &args)).await,
        Verb::Errors(args) => Box::pin(read::errors(connection, &args)).await,
        Verb::Logs(args) => Box::pin(logs::logs(connection, &args)).await,
        Verb::Wait(args) => Box::pin(wait::wait(connection, &args)).await,
        Verb::Workers(args) => Box::pin(read::workers(connection, &args)).await,
        Verb::RetryNow(args) => Box::pin(act::act(connection, Action::RetryNow, &args)).await,
        Verb::RunAgain(act::RunAgainArgs { from_start, args }) => {
            Box::pin(act::act(connection, Action::RunAgain { from_start }, &args)).await
        }
        Verb::Cancel(args) => Box::pin(act::act(connection, Action::Cancel, &args)).await,
        Verb::Suspend(args) => Box::pin(act::act(connection, Action::Suspend, &args)).await,
        Verb::Resume(args) => Box::pin(act::act(connection, Action::Resume, &args)).await,
        Verb::Create(args) => Box::pin(create::create(connection, &args)).await,
        Verb::Queue(args) => Box::pin(queue::queue(connection, &args)).await,
        Verb::Schedule(args) => Box::pin(schedule::schedule(connection, &args)).await,
        Verb::Simulate(args) => simulate::simulate(&args).map(|()| 0).map_err(|error| Error::Other(error.into())),
        Verb::Convert(args) => convert_of(connection, &args).await,
        Verb::Version(args) => version::version(connection, &args).await,
    }
}

/// Converts a file, or what is in the cluster.
async fn convert_of(connection: &Connection, args: &convert::ConvertArgs) -> Result<u8, Error> {
    let Some(from) = args.from() else { return Ok(convert::exit_code(args)) };
    let text = fetch::manifest(&connection.connect().await?, from).await?;
    Ok(convert::exit_code_of(args, from, &text))
}
