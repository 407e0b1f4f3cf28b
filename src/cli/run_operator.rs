//! The `run` command: serves HTTP, waits for the lease, runs the controllers, and shuts down.

use super::RunArgs;
use futures::FutureExt;
use futures::future::{Shared, try_join_all};
use retryable_tasks::controller::dependents::Dependents;
use retryable_tasks::controller::leader_election::{self, Elector, Held, Leadership};
use retryable_tasks::controller::main_loop::run as control;
use retryable_tasks::controller::{Settings, client, schedules};
use retryable_tasks::telemetry::metrics::{MetricsSettings, SameLabel};
use retryable_tasks::telemetry::{Telemetry, http, traces};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is to stop.
pub(super) type Stop = Shared<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>;

/// Why the operator could not run, or had to exit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster configuration.
    #[error("no cluster configuration was found: run in a Pod with a service account, or set KUBECONFIG")]
    Config(#[source] kube::config::InferConfigError),
    /// The client could not be made.
    #[error("the cluster configuration cannot be used")]
    Client(#[source] kube::Error),
    /// The labels of the metrics cannot be told apart.
    #[error(transparent)]
    Metrics(#[from] SameLabel),
    /// The collector's address cannot be used.
    #[error(transparent)]
    Traces(#[from] traces::Error),
    /// The address of the HTTP server cannot be used.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The lease's settings are invalid.
    #[error(transparent)]
    Lease(#[from] leader_election::Error),
    /// The lease needs a namespace.
    #[error("--leader-elect needs the namespace of the lease: give --operator-namespace or set POD_NAMESPACE")]
    NoLeaseNamespace,
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(#[from] std::io::Error),
    /// The thread that watches the memory cannot be started.
    #[error("no thread could be started: {0}")]
    Thread(#[source] std::io::Error),
    /// A part of the operator ended because of a bug.
    #[error(transparent)]
    TaskExited(#[from] retryable_tasks::controller::main_loop::TaskExited),
    /// Another process may lead now.
    #[error("the lease was lost: exiting, so that only the replica that holds it acts")]
    LeaseLost,
}

/// Time for sending the last spans.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// Runs the operator until SIGTERM or SIGINT, or until the lease is lost.
pub async fn run(args: RunArgs) -> Result<(), Error> {
    let metrics = MetricsSettings::new(&args.metrics_task_labels, args.metrics_namespace_label)?;
    let mut telemetry = Telemetry::with(Duration::from_secs(args.watch_stall_seconds), metrics);
    let collector = args.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let sending_spans = collector.map(|endpoint| telemetry.send_traces(endpoint)).transpose()?.map(tokio::spawn);
    let telemetry = Arc::new(telemetry);
    let listener = http::bind(&args.http_address).await?;
    let stop = stop_signal()?;
    telemetry.memory.watch().map_err(Error::Thread)?;
    let serving = tokio::spawn(http::serve(listener, telemetry.clone(), stop.clone()));
    let config = kube::Config::infer().await.map_err(Error::Config)?;
    let client = client::client(config, telemetry.clone()).map_err(Error::Client)?;
    let identity = args.identity.clone().unwrap_or_else(host_name);
    let memory_limit = telemetry.memory.in_use().map(|in_use| in_use.limit);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), identity, memory_limit, "starting");

    let result = match elect(&args, &client, &identity, stop.clone()).await? {
        None => Ok(()), // stopped while it waited for the lease
        Some((held, leadership)) => {
            telemetry.metrics.set_leader(true);
            telemetry.health.leading();
            let result = lead(&args, client, &identity, &telemetry, &leadership, &stop).await;
            telemetry.metrics.set_leader(false);
            telemetry.health.stopped();
            release(held).await;
            result
        }
    };
    if result.is_ok() {
        stop.await;
        // The server limits the time of its own shutdown. It has logged its errors.
        let _ = serving.await;
    }
    // It ends once no one is left who sends spans, and those that wait are sent.
    drop(telemetry);
    if let Some(sending) = sending_spans {
        let _ = tokio::time::timeout(LAST_SPANS, sending).await;
    }
    result
}

/// Waits for the lease. None if the process is stopped first.
async fn elect(
    args: &RunArgs,
    client: &kube::Client,
    identity: &str,
    stop: Stop,
) -> Result<Option<(Option<Held>, Leadership)>, Error> {
    if !args.leader_elect {
        return Ok(Some((None, Leadership::always())));
    }
    let settings = leader_election::Settings {
        namespace: args.operator_namespace.clone().ok_or(Error::NoLeaseNamespace)?,
        name: args.lease_name.clone(),
        identity: identity.to_owned(),
        lease_duration: Duration::from_secs(args.lease_duration_seconds),
        renew_deadline: Duration::from_secs(args.renew_deadline_seconds),
        retry_period: Duration::from_secs(args.retry_period_seconds),
    };
    let elector = Elector::new(client.clone(), settings, jiff::Timestamp::now)?;
    tokio::select! {
        held = elector.acquire() => {
            let leadership = held.leadership();
            Ok(Some((Some(held), leadership)))
        }
        () = stop => Ok(None),
    }
}

/// Runs a controller for every scope until the process is stopped. Running reconciles are then finished.
async fn lead(
    args: &RunArgs,
    client: kube::Client,
    identity: &str,
    telemetry: &Arc<Telemetry>,
    leadership: &Leadership,
    stop: &Stop,
) -> Result<(), Error> {
    let valid = leadership.clone();
    let settings = Settings {
        client,
        telemetry: telemetry.clone(),
        clock: Arc::new(jiff::Timestamp::now),
        may_write: Arc::new(move || valid.is_valid()),
        own_namespace: args.operator_namespace.clone(),
        concurrency: args.concurrency,
        default_ttl_seconds: args.default_ttl_seconds_after_finished,
        identity: identity.to_owned(),
    };
    let namespaces: BTreeSet<&String> = args.namespaces.iter().filter(|namespace| !namespace.is_empty()).collect();
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().cloned().map(Some).collect() };
    tracing::info!(?scopes, "leading");
    let controls = scopes.into_iter().map(|scope| {
        let dependents = Arc::new(Dependents::default());
        let tasks = control(settings.clone(), scope.clone(), dependents.clone(), stop.clone());
        let schedules = schedules::run(settings.clone(), scope, dependents, stop.clone());
        async { tokio::try_join!(tasks, schedules) }
    });
    tokio::select! {
        biased;
        () = leadership.lost() => Err(Error::LeaseLost),
        ended = try_join_all(controls) => Ok(ended.map(drop)?),
    }
}

async fn release(held: Option<Held>) {
    let Some(held) = held else { return };
    if let Err(error) = held.release().await {
        tracing::warn!(%error, "the lease could not be released; it expires by itself");
    }
}

/// Resolves at SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<Stop, std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop: Pin<Box<dyn Future<Output = ()> + Send + Sync>> = Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
            _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
        }
    });
    Ok(stop.shared())
}

/// The host's name. In a Pod it is the Pod's name.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "retryable-tasks".into())
}
