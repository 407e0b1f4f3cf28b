//! The command line: run | crd | remove-finalizers | self-test | simulate | convert | ui; and, by the program's name, the plugin of kubectl.

mod convert;
mod kubeconfig;
mod login;
pub mod plugin;
mod run_operator;
mod self_test;
mod simulate;
mod ui;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use retryable_tasks::controller::{CONCURRENCY, remove_finalizers};
use retryable_tasks::telemetry::metrics::check_label_key;
use retryable_tasks::{api, controller, telemetry};
use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;

/// Longest time that `remove-finalizers` may take.
const REMOVE_FINALIZERS_LIMIT: Duration = Duration::from_secs(240);

/// A Kubernetes operator for work that must be retried.
#[derive(Debug, Parser)]
#[command(version)]
#[command(
    after_help = "Under the name kubectl-retryable it is a plugin: kubectl retryable list, why, errors, logs, run-again, …"
)]
pub struct Cli {
    /// Level (off, error, warn, info, debug, trace) or directives such as info,kube=debug
    #[arg(long, env = "RETRYABLE_LOG", default_value = "info", global = true)]
    log_level: String,

    /// The format of the log
    #[arg(long, env = "RETRYABLE_LOG_FORMAT", default_value = "text", global = true)]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// For programs: one JSON object per line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator
    Run(RunArgs),
    /// Print the CustomResourceDefinitions as YAML
    Crd(CrdArgs),
    /// Remove the finalizer from the tasks' Pods, before the operator is uninstalled
    RemoveFinalizers(RemoveFinalizersArgs),
    /// Run a task to its end, to check that the operator works
    SelfTest(SelfTestArgs),
    /// Show the schedule of a task's attempts and what follows which failure, or the next starts of a schedule, without a
    /// cluster
    Simulate(simulate::SimulateArgs),
    /// Convert a Job, a CronJob, or an Argo Workflow of one step, without a cluster
    Convert(convert::ConvertArgs),
    /// Serve a page that shows tasks, failures, queues and schedules in a browser
    Ui(ui::UiArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Namespaces to watch, separated by commas; all namespaces if not given
    #[arg(long, env = "RETRYABLE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// The namespace that the operator runs in. The Lease is there, and Pods there get no finalizer
    #[arg(long, env = "POD_NAMESPACE")]
    operator_namespace: Option<String>,

    /// The name of this process in the Lease and in Events; the host's name if not given
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,

    /// Stand by while another replica leads
    #[arg(long, env = "RETRYABLE_LEADER_ELECT")]
    leader_elect: bool,

    /// The name of the Lease
    #[arg(long, env = "RETRYABLE_LEASE_NAME", default_value = "retryable-tasks")]
    lease_name: String,

    /// How long a standby must see the Lease unchanged before it takes over, in seconds
    #[arg(long, env = "RETRYABLE_LEASE_DURATION_SECONDS", default_value_t = 15)]
    lease_duration_seconds: u64,

    /// How long the leader may lead after its last renewal of the Lease, in seconds; less than the lease duration
    #[arg(long, env = "RETRYABLE_RENEW_DEADLINE_SECONDS", default_value_t = 10)]
    renew_deadline_seconds: u64,

    /// The time between two tries to acquire or renew the Lease, in seconds; less than two thirds of the renew deadline
    #[arg(long, env = "RETRYABLE_RETRY_PERIOD_SECONDS", default_value_t = 2)]
    retry_period_seconds: u64,

    /// The address and port of /metrics, /healthz and /readyz
    #[arg(long, env = "RETRYABLE_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: String,

    /// How many tasks are reconciled at the same time in each watched scope; up to four times that number are added for
    /// tasks that are due
    #[arg(long, env = "RETRYABLE_CONCURRENCY", default_value_t = CONCURRENCY, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// How long a watch or the controller's loop may make no progress before the liveness probe fails, in seconds; a
    /// watch is renewed every 290 s
    #[arg(long, env = "RETRYABLE_WATCH_STALL_SECONDS", default_value_t = 400)]
    watch_stall_seconds: u64,

    /// How long finished tasks are kept whose spec has no ttlSecondsAfterFinished, in seconds. It applies to tasks that
    /// are new when the operator sees them. They are kept for ever if not given
    #[arg(long, env = "RETRYABLE_DEFAULT_TTL_SECONDS_AFTER_FINISHED", value_parser = clap::value_parser!(i32).range(0..))]
    default_ttl_seconds_after_finished: Option<i32>,

    /// Labels of tasks that their counters get too, separated by commas, such as team,example.com/app. Of each, 200 values at
    /// most are told apart, further ones count as other
    #[arg(long, env = "RETRYABLE_METRICS_TASK_LABELS", value_delimiter = ',', value_parser = check_label_key)]
    metrics_task_labels: Vec<String>,

    /// Whether the metrics of tasks have the label namespace: false for clusters with thousands of namespaces
    #[arg(long, env = "RETRYABLE_METRICS_NAMESPACE_LABEL", default_value_t = true, action = ArgAction::Set)]
    metrics_namespace_label: bool,

    /// The collector that gets spans of the tasks by OTLP over HTTP, such as http://collector:4318; none are sent if not given
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

#[derive(Debug, Args)]
struct CrdArgs {
    /// The plural of one resource; all definitions if not given
    #[arg(value_parser = api::RESOURCES)]
    resource: Option<String>,
}

#[derive(Debug, Args)]
struct RemoveFinalizersArgs {
    /// Namespaces of the Pods, separated by commas; all namespaces if not given
    #[arg(long, env = "RETRYABLE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// The operator's Deployment: scale it to zero first, and wait until its Pods have ended
    #[arg(long, requires = "operator_namespace")]
    deployment: Option<String>,

    /// The namespace of the operator's Deployment
    #[arg(long, env = "POD_NAMESPACE")]
    operator_namespace: Option<String>,
}

#[derive(Debug, Args)]
struct SelfTestArgs {
    /// The namespace to run the task in
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,

    /// The image to run: the operator's own
    #[arg(long)]
    image: String,

    /// How long the task may take, in seconds
    #[arg(long, default_value_t = 120)]
    timeout_seconds: u64,
}

impl Cli {
    /// Executes the subcommand. Errors go to standard error.
    pub fn execute(self) -> ExitCode {
        if let Command::Convert(args) = &self.command {
            return convert::convert(args);
        }
        match self.dispatch() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                print_error(error.as_ref());
                ExitCode::FAILURE
            }
        }
    }

    fn dispatch(self) -> Result<(), Box<dyn StdError>> {
        match &self.command {
            Command::Crd(args) => return print_crds(args),
            Command::Simulate(args) => return simulate::simulate(args).map_err(Into::into),
            Command::Run(_)
            | Command::RemoveFinalizers(_)
            | Command::SelfTest(_)
            | Command::Convert(_)
            | Command::Ui(_) => {}
        }
        let format = match self.log_format {
            LogFormat::Text => telemetry::logs::LogFormat::Text,
            LogFormat::Json => telemetry::logs::LogFormat::Json,
        };
        telemetry::logs::init(&self.log_level, format)?;
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            match self.command {
                Command::Run(args) => run_operator::run(args).await.map_err(Into::into),
                Command::Crd(_) | Command::Simulate(_) | Command::Convert(_) => Ok(()),
                Command::Ui(args) => ui::serve(args).await.map_err(Into::into),
                Command::RemoveFinalizers(args) => remove_finalizers_of(args).await,
                Command::SelfTest(args) => {
                    let limit = Duration::from_secs(args.timeout_seconds);
                    self_test::self_test(client().await?, &args.namespace, &args.image, limit).await.map_err(Into::into)
                }
            }
        })
    }
}

async fn client() -> Result<kube::Client, kube::Error> {
    let config = kube::Config::infer().await.map_err(kube::Error::InferConfig)?;
    controller::client::client(config, std::sync::Arc::new(telemetry::Telemetry::new(Duration::MAX)))
}

async fn remove_finalizers_of(args: RemoveFinalizersArgs) -> Result<(), Box<dyn StdError>> {
    let RemoveFinalizersArgs { namespaces, deployment, operator_namespace } = args;
    let deployment = deployment
        .zip(operator_namespace)
        .map(|(name, namespace)| remove_finalizers::OperatorDeployment { namespace, name });
    let options = remove_finalizers::Options { namespaces, deployment, timeout: REMOVE_FINALIZERS_LIMIT };
    remove_finalizers::remove_finalizers(client().await?, &options).await?;
    Ok(())
}

#[allow(clippy::print_stdout)] // this command's output is its purpose
fn print_crds(args: &CrdArgs) -> Result<(), Box<dyn StdError>> {
    let mut separator = "";
    for crd in api::crds() {
        if args.resource.as_ref().is_none_or(|resource| *resource == crd.spec.names.plural) {
            print!("{separator}{}", serde_yaml_ng::to_string(&crd)?);
            separator = "---\n";
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr)] // logging may not work
fn print_error(error: &dyn StdError) {
    let mut said = error.to_string();
    eprintln!("error: {said}");
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        // Some messages end with their cause.
        if !said.ends_with(&text) {
            eprintln!("  caused by: {text}");
            said = text;
        }
        cause = source.source();
    }
}
