//! An API server for tests that answers by a script.

use super::context::Context;
use super::work_queue::WorkQueue;
use super::{Settings, TaskKey, report};
use crate::core::testing::{NAME, NAMESPACE, at};
use crate::telemetry::Telemetry;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tower::service_fn;

/// From method and path to the code and body of the answer.
pub type Script = Arc<dyn Fn(&str) -> (u16, Value) + Send + Sync>;

/// The requests so far, as method and path.
pub type Requests = Arc<Mutex<Vec<String>>>;

/// The key of the tests' task.
pub fn key() -> TaskKey {
    TaskKey { namespace: NAMESPACE.into(), name: NAME.into() }
}

/// A context whose API server answers by this script, and the requests that it gets.
pub fn context(script: Script) -> (Context, Requests) {
    let requests = Requests::default();
    let log = requests.clone();
    let service = service_fn(move |request: Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri().path());
        let (code, body) = script(&line);
        log.lock().unwrap().push(line);
        let body = Body::from(body.to_string().into_bytes());
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap()))
    });
    let settings = Settings {
        client: Client::new(service, NAMESPACE),
        telemetry: Arc::new(Telemetry::new(Duration::from_secs(400))),
        clock: Arc::new(|| at(0)),
        may_write: Arc::new(|| true),
        own_namespace: None,
        concurrency: 1,
        default_ttl_seconds: None,
        identity: "test".into(),
    };
    let (orphans, _) = mpsc::unbounded_channel();
    let (reporter, _) = report::reporter(&settings);
    let work_queue = Arc::new(WorkQueue::new(settings.concurrency, &settings.telemetry.metrics));
    (Context::new(settings, Arc::default(), orphans, work_queue, reporter), requests)
}

/// A refusal.
pub fn refusal(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "as told"}))
}

/// An object of which only the metadata is asked for.
pub fn metadata(uid: &str) -> (u16, Value) {
    let metadata = json!({"name": NAME, "namespace": NAMESPACE, "uid": uid});
    (200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}))
}
