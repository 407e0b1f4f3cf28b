//! Carries requests from a client to the server and answers back, with faults.

use super::{
    Reply, Server, State,
    error::ApiError,
    resource::Resource,
    route::{Call, Verb},
    store::Actor,
    watch::Subscription,
};
use crate::{faults::Fault, process::Gate};
use bytes::Bytes;
use futures::{future::BoxFuture, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::Value;
use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;

/// The body of an answer.
pub type Answer = UnsyncBoxBody<Bytes, io::Error>;
type Outcome = io::Result<Response<Answer>>;

/// One request of a process under test.
#[derive(Clone, Debug)]
pub struct Record {
    /// Age of the world when the process asked for it.
    pub called: Duration,
    /// Age of the world when it was sent: later, when the process was stopped in between.
    pub sent: Duration,
    /// Age of the world when the server carried it out; None if it never arrived.
    pub done: Option<Duration>,
    /// Which process sent it.
    pub client: u32,
    /// What it asked for.
    pub verb: Verb,
    /// Of which resource.
    pub resource: Resource,
    /// Whether only of its status.
    pub status: bool,
    /// Namespace and name (of a create: the body's); empty where there is none.
    pub object: String,
    /// What was written; Null for a read.
    pub body: Value,
    /// What went wrong with it.
    pub fault: Fault,
    /// The server's answer, whether or not it reached the client; 0 without one.
    pub code: u16,
    /// The version that it made, where it changed anything.
    pub version: Option<u64>,
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { called, sent, done, client, verb, resource, status, object, body, fault, code, version } = self;
        let status = if *status { "/status" } else { "" };
        write!(
            f,
            "{:12.6} client {client}: {verb:?} {}{status} {object} -> {code}",
            sent.as_secs_f64(),
            resource.plural()
        )?;
        if let Some(version) = version {
            write!(f, " version {version}")?;
        }
        if sent != called {
            write!(f, ", called at {:.6}", called.as_secs_f64())?;
        }
        match done {
            Some(done) => write!(f, ", done at {:.6}", done.as_secs_f64())?,
            None => write!(f, ", not done")?,
        }
        if *fault != Fault::None {
            write!(f, ", {fault:?}")?;
        }
        if body.is_null() { Ok(()) } else { write!(f, " {body}") }
    }
}

/// At which point of a request a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillMoment {
    /// Before the request is sent.
    Before,
    /// After it was sent and before it is carried out: it is carried out nevertheless.
    InFlight,
    /// After it was done and before the answer is read.
    After,
}

/// The order to kill a process at one of its requests.
#[derive(Clone, Debug)]
pub struct Kill {
    /// The request, counted from now: 1 is the next.
    pub countdown: u64,
    /// Whether only requests count that write, and not to a Lease.
    pub writes_only: bool,
    /// When.
    pub moment: KillMoment,
    /// Whom.
    pub client: u32,
    /// Whether it is stopped (SIGSTOP) instead, until it is resumed.
    pub stops: bool,
}

/// A process's connection to the server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    server: Server,
    gate: Arc<Gate>,
    client: u32,
}

/// What is decided about a request before it is sent.
struct Ticket {
    record: usize,
    there: Duration,
    back: Duration,
    fault: Fault,
    kill: Option<Kill>,
}

impl Endpoint {
    /// The connection of this process.
    pub fn new(server: Server, gate: Arc<Gate>, client: u32) -> Self {
        Self { server, gate, client }
    }

    /// Runs in a tokio task of its own: what a process has handed to its kernel is sent, even if the process dies.
    async fn send(self, request: Request<Body>, called: Duration) -> Outcome {
        self.gate.pass().await;
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let call = match Call::parse(&parts, &body) {
            Ok(call) => call,
            Err(error) => {
                let line = format!("{} {} {}", parts.method, parts.uri, error.message);
                self.server.lock().malformed.push(line);
                return Ok(refusal(&error));
            }
        };
        let ticket = self.server.lock().ticket(&call, self.client, called);
        self.strike(&ticket, KillMoment::Before);
        self.gate.pass().await;
        let (answer, answered) = oneshot::channel();
        // In a tokio task of its own: a client that dies or times out does not undo the request.
        tokio::spawn(self.clone().serve(call, ticket, answer));
        let outcome = match answered.await {
            Ok(outcome) => outcome,
            Err(_) => std::future::pending().await,
        };
        self.gate.pass().await;
        outcome
    }

    async fn serve(self, call: Call, ticket: Ticket, answer: oneshot::Sender<Outcome>) {
        tokio::time::sleep(ticket.there).await;
        self.strike(&ticket, KillMoment::InFlight);
        let mut answer = Some(answer);
        let mut reply = |outcome: Outcome| {
            if let Some(answer) = answer.take() {
                // The client may be dead.
                let _ = answer.send(outcome);
            }
        };
        match ticket.fault {
            Fault::DropBefore => return reply(Err(reset())),
            Fault::Hang(false) => return std::future::pending().await,
            Fault::Reject(code) => {
                let error = rejection(code, call.verb);
                self.server.lock().requests[ticket.record].code = code;
                tokio::time::sleep(ticket.back).await;
                return reply(Ok(refusal(&error)));
            }
            Fault::Late(by) => {
                reply(Err(reset()));
                tokio::time::sleep(by).await;
            }
            Fault::None | Fault::ErrorAfterCommit(_) | Fault::DropAfter | Fault::Hang(true) => {}
        }
        let result = self.server.lock().handle(ticket.record, self.client, &call);
        self.strike(&ticket, KillMoment::After);
        tokio::time::sleep(ticket.back).await;
        match ticket.fault {
            Fault::Hang(_) => std::future::pending().await,
            Fault::DropAfter => reply(Err(reset())),
            Fault::ErrorAfterCommit(code) => reply(Ok(refusal(&rejection(code, call.verb)))),
            _ => reply(Ok(match result {
                Ok(Reply::Object(code, object)) => respond(code, Bytes::from(object.to_string())),
                Ok(Reply::Watch(subscription)) => self.stream(subscription),
                Err(error) => refusal(&error),
            })),
        }
    }

    /// Kills or stops the process if this is the moment.
    fn strike(&self, ticket: &Ticket, moment: KillMoment) {
        match &ticket.kill {
            Some(kill) if kill.moment == moment && kill.stops => self.gate.pause(),
            Some(kill) if kill.moment == moment => self.gate.kill(),
            Some(_) | None => {}
        }
    }

    fn stream(&self, subscription: Subscription) -> Response<Answer> {
        let lines = stream::unfold((self.clone(), subscription), |(endpoint, mut subscription)| async move {
            let frame = subscription.next(&endpoint.server).await?;
            endpoint.gate.pass().await;
            Some((frame, (endpoint, subscription)))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl tower::Service<Request<Body>> for Endpoint {
    type Response = Response<Answer>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Outcome>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let called = self.server.lock().store.clock.elapsed();
        let sent = tokio::spawn(self.clone().send(request, called));
        Box::pin(async move {
            match sent.await {
                Ok(outcome) => outcome,
                Err(error) => Err(io::Error::other(error)),
            }
        })
    }
}

impl State {
    /// Records a request and draws its fault.
    fn ticket(&mut self, call: &Call, client: u32, called: Duration) -> Ticket {
        let now = self.store.clock.elapsed();
        let counts = call.verb.writes() && call.resource != Resource::Leases;
        let kill = self.kill.take_if(|kill| {
            kill.countdown -= u64::from(kill.client == client && (counts || !kill.writes_only));
            kill.countdown == 0
        });
        let fault = self.faults.request(call.verb, now);
        let name = call.name.as_deref().or_else(|| call.body["metadata"]["name"].as_str()).unwrap_or("");
        self.requests.push(Record {
            called,
            sent: now,
            done: None,
            client,
            verb: call.verb,
            resource: call.resource,
            status: call.status,
            object: format!("{}/{name}", call.namespace.as_deref().unwrap_or("")),
            body: call.body.clone(),
            fault,
            code: 0,
            version: None,
        });
        let (there, back) = (self.faults.latency(), self.faults.latency());
        Ticket { record: self.requests.len() - 1, there, back, fault, kill }
    }

    fn handle(&mut self, record: usize, client: u32, call: &Call) -> Result<Reply, ApiError> {
        let before = self.store.version();
        let result = self.execute(Actor::Client(client), call);
        let (now, after) = (self.store.clock.elapsed(), self.store.version());
        let record = &mut self.requests[record];
        record.done = Some(now);
        record.version = (after > before).then_some(after);
        record.code = match &result {
            Ok(Reply::Object(code, _)) => *code,
            Ok(Reply::Watch(_)) => 200,
            Err(error) => error.code,
        };
        result
    }
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

fn rejection(code: u16, verb: Verb) -> ApiError {
    match code {
        409 if verb == Verb::Create => {
            let quota = "Operation cannot be fulfilled on resourcequotas \"pods\": the object has been modified; please apply your \
                         changes to the latest version and try again";
            ApiError::new(409, "Conflict", quota)
        }
        409 => ApiError::new(409, "Conflict", "Operation cannot be fulfilled: the object has been modified"),
        429 => {
            let error = ApiError::new(429, "TooManyRequests", "too many requests, please try again later");
            ApiError { retry_after: Some(1), ..error }
        }
        503 => ApiError::new(503, "ServiceUnavailable", "apiserver is shutting down"),
        504 => ApiError::new(504, "Timeout", "request did not complete within the allotted timeout"),
        _ => ApiError::new(500, "InternalError", "Internal error occurred: etcdserver: request timed out"),
    }
}

fn refusal(error: &ApiError) -> Response<Answer> {
    // A load balancer in front of the server answers in its own way.
    let body = if error.code == 503 { "upstream connect error".into() } else { error.status().to_string() };
    let mut response = respond(error.code, Bytes::from(body));
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

fn respond(code: u16, body: Bytes) -> Response<Answer> {
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).expect("an HTTP status");
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
