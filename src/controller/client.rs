//! The client of the API server: it retries nothing, limits the time of every call, counts it, and reports it to the
//! health probe.
//!
//! A client that retries a write could create a Pod twice, although the operator decided so once. A call without a limit
//! could stop the controller for ever. This layer is below all requests, so it settles both in one place.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::header::{HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use crate::telemetry::Telemetry;

/// Time from sending a write to the head of its answer. The request carries the same limit for the server.
pub const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Time from sending a read of one object to the head of its answer.
pub const READ_LIMIT: Duration = Duration::from_secs(10);
/// Time from sending a list or watch to the head of its answer; the events of a watch may go on for longer.
pub const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Time to open a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Silence on a connection within an answer. Longer than the 295 s after which a watch ends itself.
const SILENCE_LIMIT: Duration = Duration::from_secs(330);

/// The API server did not begin to answer in time. The request may have taken effect, or may still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer to {verb} {resource} within {} s", .limit.as_secs_f64())]
pub struct NoAnswer {
    /// The verb of the request.
    pub verb: &'static str,
    /// The plural of the resource, with the subresource after a slash.
    pub resource: String,
    /// The limit that passed.
    pub limit: Duration,
}

/// What went wrong, for people: the API server's own words, else the innermost cause. The layers between say nothing.
pub fn error_text(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return match &*status.message {
            "" => format!("{} ({})", status.reason, status.code),
            message => message.to_owned(),
        };
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A client of the cluster that `config` describes.
///
/// # Errors
/// When the credentials or certificates cannot be used.
pub fn client(mut config: Config, telemetry: Arc<Telemetry>) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_LIMIT);
    config.read_timeout = Some(SILENCE_LIMIT);
    config.reset_reader_on_write = true;
    let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    Ok(ClientBuilder::try_from(config)?.with_layer(&CallLayer::new(telemetry)).build())
}

/// A client of `service`, with the same limits and counts as [`client`].
pub fn client_with<S, B>(service: S, default_namespace: &str, telemetry: Arc<Telemetry>) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(CallLayer::new(telemetry).layer(service), default_namespace)
}

/// Limits and reports every call to the service below it.
#[derive(Debug, Clone)]
pub struct CallLayer {
    telemetry: Arc<Telemetry>,
}

impl CallLayer {
    /// A layer that reports to `telemetry`.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, telemetry: self.telemetry.clone() }
    }
}

/// The service that [`CallLayer`] makes.
#[derive(Debug, Clone)]
pub struct Calls<S> {
    inner: S,
    telemetry: Arc<Telemetry>,
}

impl<S, B> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = Call::of(request.method(), request.uri());
        if call.is_write() {
            limit_on_server(request.uri_mut());
        }
        let sent = Instant::now();
        let answer = tokio::time::timeout(call.limit(), self.inner.call(request));
        let telemetry = self.telemetry.clone();
        Box::pin(async move {
            let (result, code) = match answer.await {
                Ok(Ok(response)) => {
                    let status = response.status();
                    if status.is_success() && call.is_list_or_watch() {
                        telemetry.health.watch_answered(call.namespace.as_deref(), &call.resource);
                    }
                    (Ok(response), status.as_str().to_owned())
                }
                Ok(Err(error)) => (Err(error.into()), "error".to_owned()),
                Err(_) => (Err(call.no_answer().into()), "timeout".to_owned()),
            };
            let microseconds = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(
                verb = call.verb,
                resource = call.resource,
                code,
                microseconds,
                "request to the API server"
            );
            telemetry.metrics.api_request(call.verb, &call.resource, &code);
            result
        })
    }
}

/// What a request is about, read from its method and URI.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    verb: &'static str,
    resource: String,
    namespace: Option<String>,
}

impl Call {
    fn of(method: &Method, uri: &Uri) -> Self {
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let resources = match segments.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let (namespace, path) = match resources {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (resource, named) = match path {
            [] => ("none".to_owned(), true),
            [plural] => ((*plural).to_owned(), false),
            [plural, _name] => ((*plural).to_owned(), true),
            [plural, _name, sub, ..] => (format!("{plural}/{sub}"), true),
        };
        Self { verb: verb(method, uri, named), resource, namespace }
    }

    fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    fn is_list_or_watch(&self) -> bool {
        matches!(self.verb, "list" | "watch")
    }

    fn limit(&self) -> Duration {
        match self.verb {
            "list" | "watch" => LIST_LIMIT,
            "get" => READ_LIMIT,
            _ => WRITE_LIMIT,
        }
    }

    fn no_answer(&self) -> NoAnswer {
        NoAnswer { verb: self.verb, resource: self.resource.clone(), limit: self.limit() }
    }
}

fn verb(method: &Method, uri: &Uri, named: bool) -> &'static str {
    match (method.as_str(), named) {
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        (_, true) => "get",
        (_, false) if has_parameter(uri, |pair| matches!(pair, "watch=true" | "watch=1")) => "watch",
        (_, false) => "list",
    }
}

fn has_parameter(uri: &Uri, is_it: impl Fn(&str) -> bool) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(is_it))
}

/// Gives the server the same limit, so that a write does not take effect long after we gave up.
fn limit_on_server(uri: &mut Uri) {
    if has_parameter(uri, |pair| pair.starts_with("timeout=")) {
        return;
    }
    let separator = match uri.query() {
        None => "?",
        Some("") => "",
        Some(_) => "&",
    };
    let limited = format!("{}{separator}timeout={}s", path_and_query(uri), WRITE_LIMIT.as_secs());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = limited.parse().ok();
    // The parameter is digits and letters, so the URI stays valid. Without it our own limit still holds.
    if parts.path_and_query.is_some()
        && let Ok(limited) = Uri::from_parts(parts)
    {
        *uri = limited;
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

#[cfg(test)]
mod tests;
