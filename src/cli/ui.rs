//! The `ui` command: serves the page.

use super::kubeconfig::KubeconfigArgs;
use super::login;
use super::run_operator::stop_signal;
use clap::{Args, ValueEnum};
use retryable_tasks::controller::client;
use retryable_tasks::telemetry::{Telemetry, http};
use retryable_tasks::ui::auth::Auth;
use retryable_tasks::ui::cache::Cache;
use retryable_tasks::ui::lookups::{Operator, Replicas};
use retryable_tasks::ui::server::{App, router};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct UiArgs {
    /// The address and port of the page; with --auth none a loopback address
    #[arg(long, env = "RETRYABLE_UI_ADDRESS", default_value = "127.0.0.1:8082")]
    http_address: String,

    /// Who may see what
    #[arg(long, env = "RETRYABLE_UI_AUTH", default_value = "none")]
    auth: AuthMode,

    #[command(flatten)]
    kubeconfig: KubeconfigArgs,

    /// Namespaces to show, separated by commas; all namespaces if not given
    #[arg(long, env = "RETRYABLE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// The namespace that the operator runs in, to show its replicas
    #[arg(long, env = "POD_NAMESPACE")]
    operator_namespace: Option<String>,

    /// The labels of the operator's Pods
    #[arg(
        long,
        env = "RETRYABLE_OPERATOR_SELECTOR",
        default_value = "app.kubernetes.io/name=retryable-tasks,app.kubernetes.io/component=controller"
    )]
    operator_selector: String,

    /// The name of the operator's Lease
    #[arg(long, env = "RETRYABLE_LEASE_NAME", default_value = "retryable-tasks")]
    lease_name: String,
}

/// Who may see what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    /// Whoever reaches the page sees all that this process may list. It listens on a loopback address only
    None,
    /// Whoever has a bearer token of the cluster sees the namespaces in which the token may list RetryableTasks
    Token,
}

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster configuration that can be used.
    #[error(
        "no cluster can be reached by this configuration: {0}. Give --context or --kubeconfig, set KUBECONFIG, or run in a Pod"
    )]
    Config(String),
    /// The client could not be made.
    #[error("the cluster configuration cannot be used: {0}")]
    Client(String),
    /// The address of the HTTP server cannot be used.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// Others could reach a page that asks nobody who they are.
    #[error(
        "{0} is no loopback address: with --auth none the page shows everything to whoever reaches it. Listen on 127.0.0.1, or use --auth token"
    )]
    NotLoopback(SocketAddr),
    /// Signals cannot be received, or the listener has no address.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Serves the page until SIGTERM or SIGINT.
pub async fn serve(args: UiArgs) -> Result<(), Error> {
    let UiArgs { http_address, auth, kubeconfig, namespaces, operator_namespace, operator_selector, lease_name } = args;
    let listener = http::bind(&http_address).await?;
    let address = listener.local_addr()?;
    if auth == AuthMode::None && !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let stop = stop_signal()?;
    let config = kubeconfig.config().await.map_err(Error::Config)?;
    let telemetry = Arc::new(Telemetry::new(Duration::MAX));
    let program = config.auth_info.exec.clone();
    let failed = |error| Error::Client(login::problem(&error, program.as_ref()));
    let client = client::client(config, telemetry).map_err(failed)?;
    let namespaces: BTreeSet<String> = namespaces.into_iter().filter(|namespace| !namespace.is_empty()).collect();
    let is_of_cluster = namespaces.is_empty();
    let watched = if is_of_cluster { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let auth = match auth {
        AuthMode::None => Auth::Open,
        AuthMode::Token => Auth::by_token(client.clone(), is_of_cluster, operator_namespace.clone()),
    };
    let cache = Cache::new(client.clone(), watched, jiff::Timestamp::now);
    let operator =
        operator_namespace.map(|namespace| Operator { namespace, selector: operator_selector, lease: lease_name });
    let app = App {
        cache: cache.clone(),
        auth,
        client,
        clock: jiff::Timestamp::now,
        replicas: Replicas::of(operator),
        options: kubeconfig.options(),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the page is at http://{address}/");
    tokio::select! {
        result = http::serve_routes(listener, router(app), stop) => Ok(result?),
        () = cache.forget_when_idle() => Ok(()),
    }
}
