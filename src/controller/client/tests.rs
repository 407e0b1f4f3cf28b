use std::{
    convert::Infallible,
    future::{IntoFuture as _, pending},
    sync::Mutex,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

fn is_timeout(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<NoAnswer>())
}

type Seen = Arc<Mutex<Vec<String>>>;

fn telemetry() -> Arc<Telemetry> {
    Arc::new(Telemetry::new(Duration::from_secs(400)))
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team-a"}})
}

/// A server that answers everything with `code` and `body` and notes what it was asked.
fn server(code: u16, body: Value, telemetry: Arc<Telemetry>) -> (Client, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let service = service_fn(move |request: Request<Body>| {
        log.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let response = answer(code, &body);
        async move { Ok::<_, Infallible>(response) }
    });
    (client_with(service, "default", telemetry), seen)
}

fn hanging(telemetry: Arc<Telemetry>) -> Client {
    let service = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    client_with(service, "default", telemetry)
}

fn counted(telemetry: &Telemetry, labels: &str) -> bool {
    let line = format!("retryabletask_api_requests_total{{{labels}}} 1");
    telemetry.metrics.encode().unwrap().lines().any(|shown| shown == line)
}

#[tokio::test]
async fn writes_give_the_server_their_limit_and_reads_do_not() {
    let (client, seen) = server(200, pod(), telemetry());
    let pods: Api<Pod> = Api::namespaced(client, "team-a");
    let pod: Pod = serde_json::from_value(pod()).unwrap();
    let strict = PatchParams { field_manager: Some("me".into()), ..PatchParams::default() };
    pods.get("p").await.unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    pods.replace_status("p", &PostParams::default(), &pod).await.unwrap();
    pods.patch("p", &strict, &Patch::Merge(json!({}))).await.unwrap();
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "GET /api/v1/namespaces/team-a/pods/p",
            "POST /api/v1/namespaces/team-a/pods?timeout=10s",
            "PUT /api/v1/namespaces/team-a/pods/p/status?timeout=10s",
            "PATCH /api/v1/namespaces/team-a/pods/p?&fieldManager=me&timeout=10s",
            "DELETE /api/v1/namespaces/team-a/pods/p?timeout=10s",
        ]
    );
}

#[test]
fn the_limit_is_appended_to_any_address_once() {
    for (before, after) in [
        ("/a", "/a?timeout=10s"),
        ("/a?", "/a?timeout=10s"),
        ("/a?b=c", "/a?b=c&timeout=10s"),
        ("/a?timeout=3s", "/a?timeout=3s"),
        ("https://host:6443/a?b=c", "https://host:6443/a?b=c&timeout=10s"),
    ] {
        let mut uri: Uri = before.parse().unwrap();
        limit_on_server(&mut uri);
        assert_eq!(uri.to_string(), after);
    }
}

#[test]
fn calls_are_read_from_method_and_address() {
    let tasks = "/apis/retryable.dev/v1alpha1";
    for (method, address, expected) in [
        ("GET", format!("{tasks}/retryabletasks?watch=true&timeoutSeconds=290"), ("watch", "retryabletasks", None)),
        ("GET", format!("{tasks}/retryabletasks?limit=500"), ("list", "retryabletasks", None)),
        ("GET", format!("{tasks}/namespaces/a/retryabletasks"), ("list", "retryabletasks", Some("a"))),
        ("GET", format!("{tasks}/namespaces/a/retryabletasks/t"), ("get", "retryabletasks", Some("a"))),
        (
            "PUT",
            format!("{tasks}/namespaces/a/retryabletasks/t/status"),
            ("update", "retryabletasks/status", Some("a")),
        ),
        ("POST", "/api/v1/namespaces/a/pods".to_owned(), ("create", "pods", Some("a"))),
        ("PATCH", "/api/v1/namespaces/a/pods/p".to_owned(), ("patch", "pods", Some("a"))),
        ("DELETE", "/api/v1/namespaces/a/pods/p".to_owned(), ("delete", "pods", Some("a"))),
        ("DELETE", "/api/v1/namespaces/a/pods".to_owned(), ("deletecollection", "pods", Some("a"))),
        ("GET", "/api/v1/namespaces/a".to_owned(), ("get", "namespaces", None)),
        ("GET", "/api/v1/namespaces".to_owned(), ("list", "namespaces", None)),
        ("GET", "/version".to_owned(), ("get", "none", None)),
        ("GET", "/apis".to_owned(), ("get", "none", None)),
    ] {
        let call = Call::of(&method.parse().unwrap(), &address.parse().unwrap());
        assert_eq!((call.verb, call.resource.as_str(), call.namespace.as_deref()), expected, "{method} {address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let telemetry = telemetry();
    let pods: Api<Pod> = Api::namespaced(hanging(telemetry.clone()), "team-a");

    let begin = Instant::now();
    let error = pods.create(&PostParams::default(), &Pod::default()).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 10);
    assert!(is_timeout(&error), "{error:?}");
    assert!(error.to_string().contains("no answer to create pods within 10 s"), "{error}");

    let begin = Instant::now();
    assert!(is_timeout(&pods.get("p").await.unwrap_err()));
    assert_eq!(begin.elapsed().as_secs(), 10);

    let begin = Instant::now();
    assert!(is_timeout(&pods.list(&ListParams::default()).await.unwrap_err()));
    assert_eq!(begin.elapsed().as_secs(), 30);

    let begin = Instant::now();
    let error = pods.watch(&WatchParams::default(), "1").await.err().unwrap();
    assert!(is_timeout(&error));
    assert_eq!(begin.elapsed().as_secs(), 30);

    assert!(counted(&telemetry, r#"verb="create",resource="pods",code="timeout""#));
    assert!(counted(&telemetry, r#"verb="watch",resource="pods",code="timeout""#));
    assert!(counted(&telemetry, r#"verb="list",resource="pods",code="timeout""#));
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_watch_may_come_later_than_any_limit() {
    let service = service_fn(|_: Request<Body>| async {
        let event = json!({"type": "ADDED", "object": pod()}).to_string();
        let late = futures::stream::once(async move {
            tokio::time::sleep(LIST_LIMIT * 3).await;
            Ok::<_, Infallible>(http_body::Frame::data(bytes::Bytes::from(event + "\n")))
        });
        Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(late)))
    });
    let pods: Api<Pod> = Api::all(client_with(service, "default", telemetry()));
    let mut events = pods.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    assert!(matches!(events.next().await, Some(Ok(kube::api::WatchEvent::Added(_)))));
}

#[tokio::test(start_paused = true)]
async fn answered_lists_and_watches_keep_the_process_live() {
    let telemetry = telemetry();
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []});
    let (client, _) = server(200, list, telemetry.clone());
    let pods: Api<Pod> = Api::namespaced(client, "team-a");
    telemetry.health.watching(Some("team-a"), "pods");
    let almost = Duration::from_secs(399);

    tokio::time::advance(almost).await;
    pods.list(&ListParams::default()).await.unwrap();
    tokio::time::advance(almost).await;
    assert!(telemetry.health.live().is_ok());
    drop(pods.watch(&WatchParams::default(), "1").await.unwrap());
    tokio::time::advance(almost).await;
    assert!(telemetry.health.live().is_ok());

    // Reading one object says nothing about the watch.
    let _ = pods.get("p").await;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(telemetry.health.live().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_is_not_answered() {
    let telemetry = telemetry();
    let refusal = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"});
    let (client, _) = server(403, refusal, telemetry.clone());
    let pods: Api<Pod> = Api::all(client);
    telemetry.health.watching(None, "pods");
    tokio::time::advance(Duration::from_secs(399)).await;
    assert!(matches!(pods.list(&ListParams::default()).await, Err(kube::Error::Api(status)) if status.code == 403));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(telemetry.health.live().is_err());
    assert!(counted(&telemetry, r#"verb="list",resource="pods",code="403""#));
}

#[tokio::test]
async fn a_failing_connection_is_passed_on_and_counted() {
    let telemetry = telemetry();
    let service = service_fn(|_: Request<Body>| async {
        Err::<Response<Body>, _>(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer"))
    });
    let pods: Api<Pod> = Api::all(client_with(service, "default", telemetry.clone()));
    let error = pods.list(&ListParams::default()).await.unwrap_err();
    assert!(!is_timeout(&error) && error.to_string().contains("reset by peer"), "{error}");
    assert!(counted(&telemetry, r#"verb="list",resource="pods",code="error""#));
}

#[tokio::test]
async fn writes_are_sent_once_even_if_the_server_says_try_again() {
    let hits = Arc::new(Mutex::new(0));
    let count = hits.clone();
    let refuse = move || {
        *count.lock().unwrap() += 1;
        let status = json!({"kind": "Status", "status": "Failure", "code": 503, "reason": "x", "message": "later"});
        async move { (http::StatusCode::SERVICE_UNAVAILABLE, status.to_string()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(axum::serve(listener, axum::Router::new().fallback(refuse)).into_future());

    let telemetry = telemetry();
    let client = client(Config::new(address.parse().unwrap()), telemetry.clone()).unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "team-a");
    let result = pods.create(&PostParams::default(), &Pod::default()).await;
    assert!(matches!(&result, Err(kube::Error::Api(status)) if status.code == 503), "{result:?}");
    assert_eq!(*hits.lock().unwrap(), 1);
    assert!(counted(&telemetry, r#"verb="create",resource="pods",code="503""#));
    server.abort();
}
