//! An API server for tests of the page, and stores without one.

use super::auth::Auth;
use super::cache::Cache;
use super::lookups::{Operator, Replicas};
use super::record::{Key, PodRecord, TaskRecord};
use super::server::{App, router};
use super::store::{Store, Watched};
use crate::api::{RetryableTask, TaskQueue, TaskSchedule};
use crate::core::testing::{at, task_with};
use axum::Router;
use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use kube_runtime::watcher::Event;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tower::{ServiceExt, service_fn};

/// All namespaces.
pub const ALL: [Watched; 1] = [None];

/// What the API server has, and whom it knows.
#[derive(Clone, Default)]
pub struct Cluster {
    pub tasks: Vec<Value>,
    pub queues: Vec<Value>,
    pub schedules: Vec<Value>,
    pub pods: Vec<Value>,
    /// The users, by token.
    pub users: Vec<(&'static str, &'static str)>,
    /// Who may list in which namespace. An empty namespace is all.
    pub rights: Vec<(&'static str, &'static str)>,
    /// Answers nothing but errors.
    pub is_away: bool,
}

/// An API server that can be changed while it runs, and the requests that it got.
#[derive(Clone, Default)]
pub struct Server {
    pub cluster: Arc<Mutex<Cluster>>,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn of(cluster: Cluster) -> Self {
        Self { cluster: Arc::new(Mutex::new(cluster)), ..Self::default() }
    }

    pub fn change(&self, change: impl FnOnce(&mut Cluster)) {
        change(&mut self.cluster.lock().unwrap());
    }

    /// How many requests had this in their path.
    pub fn count(&self, part: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let query = parts.uri.query().unwrap_or_default();
                server.requests.lock().unwrap().push(format!("{} {}?{query}", parts.method, parts.uri.path()));
                if query.contains("watch=true") {
                    // Nothing ever happens.
                    std::future::pending::<()>().await;
                }
                let sent = body.collect().await.unwrap().to_bytes();
                let sent = serde_json::from_slice(&sent).unwrap_or(Value::Null);
                let (code, answer) = server.cluster.lock().unwrap().answer(parts.uri.path(), &sent);
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// The page of this API server.
    pub fn page(&self, auth: impl FnOnce(Client) -> Auth) -> Router {
        let client = self.client();
        let cache = Cache::new(client.clone(), ALL.into(), || at(0));
        let operator = Operator { namespace: "ops".into(), selector: "a=b".into(), lease: "l".into() };
        router(App {
            cache,
            auth: auth(client.clone()),
            client,
            clock: || at(0),
            replicas: Replicas::of(Some(operator)),
            options: String::new(),
        })
    }

    pub fn open_page(&self) -> Router {
        self.page(|_| Auth::Open)
    }

    pub fn page_by_token(&self) -> Router {
        self.page(|client| Auth::by_token(client, true, None))
    }
}

impl Cluster {
    fn answer(&self, path: &str, sent: &Value) -> (u16, Value) {
        if self.is_away {
            return (503, json!({"kind": "Status", "status": "Failure", "code": 503, "message": "etcd is gone"}));
        }
        let list = |items: &Vec<Value>| {
            (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
        };
        match path {
            "/apis/retryable.dev/v1alpha1/retryabletasks" => list(&self.tasks),
            "/apis/retryable.dev/v1alpha1/taskqueues" => list(&self.queues),
            "/apis/retryable.dev/v1alpha1/taskschedules" => list(&self.schedules),
            "/api/v1/pods" | "/api/v1/namespaces/ops/pods" => list(&self.pods),
            "/version" => (200, json!({"major": "1", "minor": "37"})),
            "/apis/authentication.k8s.io/v1/tokenreviews" => (201, self.review_token(sent)),
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => (201, self.review_access(sent)),
            other => self.task(other),
        }
    }

    fn task(&self, path: &str) -> (u16, Value) {
        let is_it = |task: &&Value| {
            let (namespace, name) = (&task["metadata"]["namespace"], &task["metadata"]["name"]);
            let (namespace, name) = (namespace.as_str().unwrap(), name.as_str().unwrap());
            path == format!("/apis/retryable.dev/v1alpha1/namespaces/{namespace}/retryabletasks/{name}")
        };
        let missing =
            json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": path});
        self.tasks.iter().find(is_it).map_or((404, missing), |task| (200, task.clone()))
    }

    fn review_token(&self, sent: &Value) -> Value {
        let token = sent["spec"]["token"].as_str().unwrap();
        let user = self.users.iter().find(|(known, _)| *known == token);
        let status = match user {
            Some((_, user)) => json!({"authenticated": true, "user": {"username": user}}),
            None => json!({"authenticated": false, "error": "token has expired"}),
        };
        json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": sent["spec"], "status": status})
    }

    fn review_access(&self, sent: &Value) -> Value {
        let attributes = &sent["spec"]["resourceAttributes"];
        assert_eq!(attributes["verb"], "list");
        let namespace = attributes["namespace"].as_str().unwrap_or_default();
        let user = sent["spec"]["user"].as_str().unwrap();
        let allowed = self.rights.iter().any(|(who, place)| *who == user && *place == namespace);
        json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": sent["spec"], "status": {"allowed": allowed}})
    }
}

/// The answer to a GET of this path: code, headers and text.
pub async fn get(page: &Router, path: &str, headers: &[(&str, &str)]) -> (u16, http::HeaderMap, String) {
    send(page, "GET", path, headers, "").await
}

/// The answer to a request. Without a `Host` among the headers it is `localhost`.
pub async fn send(
    page: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, http::HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(axum::body::Body::from(body.to_owned())).unwrap();
    let response = page.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(text.to_vec()).unwrap())
}

/// A task in that namespace with that status.
pub fn task(namespace: &str, name: &str, status: &Value) -> RetryableTask {
    let mut task = task_with(json!({"image": "busybox"}));
    task.metadata.namespace = Some(namespace.into());
    task.metadata.name = Some(name.into());
    task.metadata.uid = Some(format!("uid-{name}"));
    task.status = Some(serde_json::from_value(status.clone()).unwrap());
    task
}

/// The same as the API server gives it.
pub fn task_json(namespace: &str, name: &str, status: &Value) -> Value {
    serde_json::to_value(task(namespace, name, status)).unwrap()
}

/// A status with so many failed attempts, all with that message.
pub fn failed(attempts: i32, message: &str) -> Value {
    let entry = |attempt: i32| {
        let (started, finished) = (time(-60 * i64::from(attempt)), time(10 - 60 * i64::from(attempt)));
        json!({"attempt": attempt, "podName": "p", "nodeName": "node-1", "reason": "Error", "exitCode": 1, "message": message,
            "action": "Fail", "startTime": started, "finishTime": finished})
    };
    json!({
        "observedGeneration": 1, "state": "Failed", "attempts": attempts, "reason": "Error", "message": message,
        "lastFailure": {"attempt": attempts, "reason": "Error", "exitCode": 1, "message": message},
        "completionTime": time(0), "history": (1..=attempts).map(entry).collect::<Vec<_>>(),
        "conditions": [{"type": "Failed", "status": "True", "reason": "RetriesExhausted", "message": "m", "lastTransitionTime": time(0)},
            {"type": "Finished", "status": "True", "reason": "RetriesExhausted", "message": "m", "lastTransitionTime": time(0)}],
    })
}

/// A status of a task that is in that state.
pub fn in_state(state: &str) -> Value {
    json!({"observedGeneration": 1, "state": state, "attempts": 1, "current": {"number": 1, "podName": "p"}})
}

/// So many seconds after the origin, as JSON.
pub fn time(seconds: i64) -> String {
    at(seconds).to_string()
}

fn key(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Key {
    Key {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
    }
}

/// A store that has been read.
pub fn store(tasks: &[RetryableTask], queues: &[TaskQueue], schedules: &[TaskSchedule], pods: &[Pod]) -> Store {
    let mut store = Store::default();
    store.tasks.apply(&None, Event::Init);
    for task in tasks {
        let record = TaskRecord::of(task, &mut store.shared);
        store.tasks.apply(&None, Event::InitApply((key(&task.metadata), Some(record))));
    }
    store.tasks.apply(&None, Event::InitDone);
    store.queues.apply(&None, Event::Init);
    for queue in queues {
        store.queues.apply(&None, Event::InitApply((key(&queue.metadata), Some(Ok(Box::new(queue.clone()))))));
    }
    store.queues.apply(&None, Event::InitDone);
    for schedule in schedules {
        let record = Some(Ok(Box::new(schedule.clone())));
        store.schedules.apply(&None, Event::Apply((key(&schedule.metadata), record)));
    }
    for pod in pods {
        let record = PodRecord::of(pod, &mut store.shared);
        store.pods.apply(&None, Event::Apply((key(&pod.metadata), Some(record))));
    }
    store
}
