//! The HTTP server of `/metrics`, `/healthz` and `/readyz`.

use std::{fmt::Write as _, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use super::{Telemetry, metrics};

/// How long open connections may take to end after the shutdown was asked for.
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

/// Listens on `address`, a host or IP and a port (0 for any free one).
///
/// # Errors
/// When the address is invalid or taken; the error names it.
pub async fn bind(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address: address.to_owned(), source })
}

/// Serves until `shutdown` resolves, then ends within three seconds even if a client holds its connection open.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    telemetry: Arc<Telemetry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Bind { address: "the listener".into(), source })?;
    let (stop, stopped) = watch::channel(());
    let asked = async move {
        shutdown.await;
        drop(stop);
    };
    let ended = |mut stopped: watch::Receiver<()>| async move { while stopped.changed().await.is_ok() {} };
    let server = axum::serve(listener, router(telemetry)).with_graceful_shutdown(ended(stopped.clone()));
    tokio::select! {
        result = server.into_future() => result.map_err(|source| Error::Serve { address, source }),
        () = async { asked.await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

fn router(telemetry: Arc<Telemetry>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_live))
        .route("/readyz", get(show_ready))
        .with_state(telemetry)
}

async fn show_metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    match telemetry.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
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
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn shows_metrics_and_health_until_shut_down() {
        let telemetry = Arc::new(Telemetry::new(Duration::ZERO));
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { stopped.await.unwrap() };
        let server = tokio::spawn(serve(listener, telemetry.clone(), shutdown));

        telemetry.metrics.set_leader(true);
        let metrics = get(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
        assert!(metrics.contains("\nretryabletask_leader 1\n"), "{metrics}");

        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));

        telemetry.health.leading();
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("the caches are not filled yet\n"), "{ready}");

        // With a limit of zero every watch is stalled as soon as any time has passed.
        telemetry.health.watching(Some("team-a"), "pods");
        let live = get(address, "/healthz").await;
        assert!(live.starts_with("HTTP/1.1 503") && live.contains("the watch of team-a/pods"), "{live}");

        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_holds_on_does_not_hold_up_the_end() {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let telemetry = Arc::new(Telemetry::new(Duration::ZERO));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, telemetry, async move { stopped.await.unwrap() }));
        // Half a request: the server waits for the rest of it.
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = bind(&address).await.unwrap_err().to_string();
        assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
        let error = bind("nonsense").await.unwrap_err().to_string();
        assert!(error.contains("cannot listen on nonsense"), "{error}");
    }
}
