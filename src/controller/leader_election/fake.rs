//! A Lease API in memory, with a network in between that can be told to fail.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Client, client::Body};
use serde_json::json;
use tokio::time::sleep;
use tower::service_fn;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is served, a few milliseconds later.
    Served,
    /// The server refuses it with 500 and does nothing.
    Refused,
    /// It never arrives, and no answer comes.
    Swallowed,
    /// It is served this much later, whether or not the client still waits.
    Late(Duration),
    /// It is served, but the answer never comes.
    Unanswered,
}

/// The way from one process to the server.
pub(super) type Network = Arc<dyn Fn() -> Fate + Send + Sync>;

#[derive(Debug, Default)]
struct State {
    lease: Option<Lease>,
    version: u64,
    log: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<State>>);

impl Leases {
    /// A client that reaches this server over `network`.
    pub(super) fn client(&self, network: Network) -> Client {
        let leases = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let (leases, fate) = (leases.clone(), network());
            async move {
                let (delay, answered) = match fate {
                    Fate::Served => (Duration::from_millis(3), true),
                    Fate::Late(delay) => (delay, true),
                    Fate::Unanswered => (Duration::from_millis(3), false),
                    Fate::Refused => return Ok(status(500, "InternalError")),
                    Fate::Swallowed => pending().await,
                };
                // The server goes on when the client has given up.
                let served = tokio::spawn(async move {
                    sleep(delay).await;
                    leases.serve(request).await
                });
                let response = served.await.map_err(io::Error::other);
                if answered { response } else { pending().await }
            }
        });
        Client::new(service, "default")
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let sent: Option<Lease> = (!bytes.is_empty()).then(|| serde_json::from_slice(&bytes).unwrap());
        let mut state = self.0.lock().unwrap();
        let response = state.apply(&parts.method, sent);
        let line = format!("{} {} {}", parts.method, parts.uri.path(), response.status().as_u16());
        state.log.push(line);
        response
    }

    pub(super) fn spec(&self) -> LeaseSpec {
        self.0.lock().unwrap().lease.clone().and_then(|lease| lease.spec).unwrap_or_default()
    }

    pub(super) fn holder(&self) -> String {
        self.spec().holder_identity.unwrap_or_default()
    }

    /// What was served since the last time.
    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    /// Someone deletes the lease by hand.
    pub(super) fn delete(&self) {
        self.0.lock().unwrap().lease = None;
    }

    /// Someone edits a label by hand.
    pub(super) fn label(&self) {
        let mut state = self.0.lock().unwrap();
        let mut lease = state.lease.clone().unwrap();
        let label = ("edited".to_owned(), state.version.to_string());
        lease.metadata.labels = Some([label].into());
        state.store(lease);
    }
}

impl State {
    fn store(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        lease.metadata.uid.get_or_insert_with(|| format!("uid-{}", self.version));
        self.lease = Some(lease.clone());
        lease
    }

    fn apply(&mut self, method: &Method, sent: Option<Lease>) -> Response<Body> {
        match (method.as_str(), &self.lease, sent) {
            ("GET", None, _) | ("PUT", None, Some(_)) => status(404, "NotFound"),
            ("GET", Some(lease), _) => ok(200, lease),
            ("POST", Some(_), Some(_)) => status(409, "AlreadyExists"),
            ("POST", None, Some(lease)) => ok(201, &self.store(lease)),
            ("PUT", Some(old), Some(lease)) => {
                assert!(lease.metadata.resource_version.is_some(), "an update without resourceVersion");
                if old.metadata.resource_version != lease.metadata.resource_version
                    || old.metadata.uid != lease.metadata.uid
                {
                    status(409, "Conflict")
                } else if old.spec == lease.spec && old.metadata == lease.metadata {
                    // As the real one: an update that changes nothing makes no new version.
                    ok(200, old)
                } else {
                    ok(200, &self.store(lease))
                }
            }
            other => panic!("unexpected request {other:?}"),
        }
    }
}

fn ok(code: u16, lease: &Lease) -> Response<Body> {
    Response::builder().status(code).body(Body::from(serde_json::to_vec(lease).unwrap())).unwrap()
}

fn status(code: u16, reason: &str) -> Response<Body> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason});
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}
