//! The HTTP server of `/metrics`, `/healthz` and `/readyz`.

use std::{fmt::Write as _, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use super::{Telemetry, metrics};

/// How long open connections may take to end after the shutdown has begun.
const GRACE: Duration = Duration::from_secs(3);

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address as it was given.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The server stopped by itself.
    #[error("the server on {address} failed: {source}")]
    Serve {
        /// The address it listened on.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Listens on `address`: a host name or IP, and a port. Port 0 means any free one.
///
/// # Errors
/// When the address is invalid or taken; the error names it.
pub async fn bind(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address: address.to_owned(), source })
}

/// Serves until `shutdown` resolves. Then it ends within three seconds, even if a client keeps its connection open.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    telemetry: Arc<Telemetry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    serve_routes(listener, router(telemetry), shutdown).await
}

/// As [`serve`], with other routes.
///
/// # Errors
/// When the listener fails.
pub async fn serve_routes(
    listener: TcpListener,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Bind { address: "the listener".into(), source })?;
    let (stop, stopped) = watch::channel(());
    let shutdown = async move {
        shutdown.await;
        drop(stop);
    };
    let ended = |mut stopped: watch::Receiver<()>| async move { while stopped.changed().await.is_ok() {} };
    let server = axum::serve(listener, routes).with_graceful_shutdown(ended(stopped.clone()));
    tokio::select! {
        result = server.into_future() => result.map_err(|source| Error::Serve { address, source }),
        () = async { shutdown.await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

fn router(telemetry: Arc<Telemetry>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_live))
        .route("/readyz", get(show_ready))
        .with_state(telemetry)
}

async fn show_metrics(State(telemetry): State<Arc<Telemetry>>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_open_metrics = accepted.into_iter().any(|value| value.contains("application/openmetrics-text"));
    match telemetry.metrics_text() {
        Ok(text) if wants_open_metrics => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Ok(text) => ([(CONTENT_TYPE, metrics::PLAIN_CONTENT_TYPE)], metrics::plain_text(&text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn show_live(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, String) {
    match telemetry.health.live() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(stalled) => {
            let text = stalled.iter().fold(String::new(), |mut text, one| {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{one}");
                text
            });
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn show_ready(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, String) {
    match telemetry.health.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests;
