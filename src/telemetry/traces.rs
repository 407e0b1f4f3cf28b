//! Sends spans to a collector by OTLP over HTTP, as JSON (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! Best effort: nobody waits for a collector. Spans that it does not take in time are dropped, and counted.

mod otlp;

pub use otlp::{Attribute, Span};

use super::metrics::SpanCounters;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use kube::client::Body;
use kube::{Client, Config};
use std::time::Duration;
use tokio::sync::mpsc;

/// Spans that may wait to be sent. More are dropped.
const QUEUE: usize = 2048;
/// Spans in one request.
const BATCH: usize = 256;
/// How long the collector may take to answer. Spans that come meanwhile wait.
const LIMIT: Duration = Duration::from_secs(5);

/// The collector's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no address.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {endpoint:?} is not an address such as http://collector:4318")]
    Address {
        /// As it was given.
        endpoint: String,
    },
    /// No client could be made for it.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: no client can be made for {endpoint}")]
    Client {
        /// As it was given.
        endpoint: String,
        /// Why.
        source: kube::Error,
    },
}

/// Where spans go. Never waits.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Sender>);

#[derive(Clone, Debug)]
struct Sender {
    spans: mpsc::Sender<Span>,
    counters: SpanCounters,
}

impl Traces {
    /// Whether spans are sent anywhere.
    pub fn are_sent(&self) -> bool {
        self.0.is_some()
    }

    /// Sends a span.
    pub fn send(&self, span: Span) {
        let Some(Sender { spans, counters }) = &self.0 else { return };
        if spans.try_send(span).is_err() {
            counters.dropped(1);
        }
    }
}

/// Where spans go for that collector, such as `http://collector:4318`, and the future that sends them, to be spawned.
///
/// # Errors
/// When the address cannot be used.
pub fn exporter(
    endpoint: &str,
    counters: SpanCounters,
) -> Result<(Traces, impl Future<Output = ()> + Send + 'static), Error> {
    let address = || Error::Address { endpoint: endpoint.to_owned() };
    let uri: Uri = endpoint.trim_end_matches('/').parse().map_err(|_| address())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(address());
    }
    let mut config = Config::new(uri);
    (config.default_retry, config.connect_timeout) = (false, Some(LIMIT));
    if config.cluster_url.scheme_str() == Some("http") {
        // Else the client looks for the system's certificates, and the image has none.
        config.root_cert = Some(Vec::new());
    }
    let client = Client::try_from(config).map_err(|source| Error::Client { endpoint: endpoint.to_owned(), source })?;
    let (spans, mut waiting) = mpsc::channel(QUEUE);
    let counted = counters.clone();
    let sending = async move {
        let (mut batch, mut is_failing) = (Vec::new(), false);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            match post(&client, &batch).await {
                Ok(()) => {
                    counted.sent(batch.len());
                    is_failing = false;
                }
                Err(error) => {
                    counted.dropped(batch.len());
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(error, "the collector does not take spans; they are dropped until it does");
                    }
                }
            }
            batch.clear();
        }
    };
    Ok((Traces(Some(Sender { spans, counters })), sending))
}

async fn post(client: &Client, spans: &[Span]) -> Result<(), String> {
    let request = Request::post("/v1/traces")
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(otlp::request(spans).to_string().into_bytes()))
        .map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(LIMIT, client.send(request)).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?;
    let status = answer.map_err(|error| error.to_string())?.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
}

#[cfg(test)]
mod tests;
