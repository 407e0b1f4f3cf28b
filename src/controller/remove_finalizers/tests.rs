use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::Value;
use tower::service_fn;

use super::*;

/// What the server knows.
#[derive(Default)]
struct Server {
    /// Finalizers of the attempts' Pods, by namespace and name. The UID is the name with `-uid`.
    pods: BTreeMap<(String, String), Vec<String>>,
    /// For how many looks the operator's Pods stay after it was scaled to zero; `None`: it was not scaled.
    stopping: Option<u32>,
    looks: u32,
    scale: Option<Value>,
    /// What the scale tells as its replicas, look by look; then zero.
    replicas: Vec<i32>,
    /// Answers to give instead: the number of times, a part of the request line, the code.
    faults: Vec<(u32, &'static str, u16)>,
    log: Vec<String>,
}

type Shared = Arc<Mutex<Server>>;

const PODS: &str = "/api/v1/namespaces/system/pods";
const SCALE: &str = "/apis/apps/v1/namespaces/system/deployments/operator/scale";

fn shared(pods: &[(&str, &str, &[&str])]) -> Shared {
    let pods = pods.iter().map(|(namespace, name, finalizers)| {
        let finalizers = finalizers.iter().map(|finalizer| (*finalizer).to_owned()).collect();
        (((*namespace).to_owned(), (*name).to_owned()), finalizers)
    });
    let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "operator"},
        "spec": {"replicas": 0}, "status": {"replicas": 1, "selector": "app=operator"}});
    Arc::new(Mutex::new(Server { pods: pods.collect(), scale: Some(scale), ..Server::default() }))
}

fn client(server: &Shared) -> Client {
    let server = server.clone();
    let service = service_fn(move |request: Request<Body>| {
        let server = server.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let (code, answer) = server.lock().unwrap().answer(&parts.method, &parts.uri, &body);
            let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    Client::new(service, "default")
}

fn status(code: u16) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": "Mock", "message": "as told"}))
}

impl Server {
    fn answer(&mut self, method: &Method, uri: &http::Uri, body: &Value) -> (u16, Value) {
        let line = format!("{method} {uri}");
        self.log.push(line.clone());
        let fault = self.faults.iter_mut().find(|(times, part, _)| *times > 0 && line.contains(part));
        if let Some((times, _, code)) = fault {
            *times -= 1;
            return status(*code);
        }
        let query = uri.query().unwrap_or("");
        let parameter = |name| query.split('&').find_map(|pair: &str| pair.strip_prefix(name)).map(str::to_owned);
        let segments: Vec<&str> = uri.path().split('/').skip(1).collect();
        match (method.as_str(), segments.as_slice()) {
            ("PATCH", _) if uri.path() == SCALE => {
                assert_eq!(body["spec"]["replicas"], 0);
                self.stopping.get_or_insert(self.looks);
                let Some(mut scale) = self.scale.clone() else { return status(404) };
                scale["status"]["replicas"] = self.replicas.pop().unwrap_or(0).into();
                (200, scale)
            }
            ("GET", _) if query.contains("app%3Doperator") => {
                assert_eq!(uri.path(), PODS);
                assert!(query.contains("status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"), "{query}");
                let left = self.stopping.unwrap();
                self.stopping = Some(left.saturating_sub(1));
                let pods: Vec<_> = (0..left).map(|n| metadata("system", &format!("operator-{n}"), &[])).collect();
                (200, list(&pods, None))
            }
            ("GET", ["api", "v1", rest @ ..]) => {
                assert!(query.contains("labelSelector=retryable.dev%2Ftask-uid"), "{query}");
                let limit: usize = parameter("limit=").unwrap().parse().unwrap();
                let from: usize = parameter("continue=").map_or(0, |token| token.parse().unwrap());
                let namespace = (rest.len() == 3).then(|| rest[1]);
                let all: Vec<_> =
                    self.pods.iter().filter(|((at, _), _)| namespace.is_none_or(|namespace| at == namespace)).collect();
                let page = all.iter().skip(from).take(limit);
                let page = page.map(|((at, name), finalizers)| metadata(at, name, finalizers)).collect::<Vec<_>>();
                let next = (from + limit < all.len()).then(|| (from + limit).to_string());
                (200, list(&page, next))
            }
            ("PATCH", ["api", "v1", "namespaces", namespace, "pods", name]) => self.patch(namespace, name, body),
            _ => panic!("unexpected request {line}"),
        }
    }

    fn patch(&mut self, namespace: &str, name: &str, body: &Value) -> (u16, Value) {
        let Some(finalizers) = self.pods.get_mut(&(namespace.to_owned(), name.to_owned())) else { return status(404) };
        if body["metadata"]["uid"] != format!("{name}-uid") {
            return status(409);
        }
        let removed = &body["metadata"]["$deleteFromPrimitiveList/finalizers"];
        finalizers.retain(|finalizer| !removed.as_array().unwrap().contains(&json!(finalizer)));
        (200, metadata(namespace, name, finalizers))
    }

    fn patched(&self) -> usize {
        self.log.iter().filter(|line| line.starts_with("PATCH /api/v1/")).count()
    }
}

fn metadata(namespace: &str, name: &str, finalizers: &[String]) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata":
        {"namespace": namespace, "name": name, "uid": format!("{name}-uid"), "finalizers": finalizers}})
}

fn list(items: &[Value], next: Option<String>) -> Value {
    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1", "continue": next.unwrap_or_default()}, "items": items})
}

fn options(namespaces: &[&str], stop: bool) -> Options {
    let deployment = OperatorDeployment { namespace: "system".into(), name: "operator".into() };
    Options {
        namespaces: namespaces.iter().map(|namespace| (*namespace).to_owned()).collect(),
        deployment: stop.then_some(deployment),
        timeout: Duration::from_secs(60),
    }
}

const OURS: &str = FINALIZER;

#[tokio::test(start_paused = true)]
async fn only_our_finalizer_goes_and_only_where_it_is() {
    let server = shared(&[("a", "p1", &[OURS, "other/one"]), ("a", "p2", &["other/one"]), ("b", "p3", &[OURS])]);
    assert_eq!(remove_finalizers(client(&server), &options(&[], false)).await.unwrap(), 2);
    let server = server.lock().unwrap();
    let left: Vec<_> = server.pods.values().flatten().collect();
    assert_eq!(left, ["other/one", "other/one"]);
    assert_eq!(server.patched(), 2, "a Pod without the finalizer is left alone");
}

#[tokio::test(start_paused = true)]
async fn only_the_given_namespaces_are_touched() {
    let server = shared(&[("a", "p", &[OURS]), ("b", "p", &[OURS]), ("c", "p", &[OURS])]);
    assert_eq!(remove_finalizers(client(&server), &options(&["a", "c"], false)).await.unwrap(), 2);
    let server = server.lock().unwrap();
    assert_eq!(server.pods.values().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0]);
    assert!(server.log.iter().all(|line| line.contains("/namespaces/")), "{:?}", server.log);
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read_and_an_expired_continue_token_starts_again() {
    let server = shared(&[]);
    for n in 0..1_234 {
        server.lock().unwrap().pods.insert(("a".into(), format!("p{n}")), vec![OURS.to_owned()]);
    }
    server.lock().unwrap().faults = vec![(1, "continue=1000", 410)];
    assert_eq!(remove_finalizers(client(&server), &options(&[], false)).await.unwrap(), 1_234);
    let server = server.lock().unwrap();
    assert!(server.pods.values().all(Vec::is_empty));
    assert_eq!(server.patched(), 1_234);
    assert_eq!(server.log.iter().filter(|line| line.starts_with("GET")).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_operator_is_stopped_first() {
    let server = shared(&[("a", "p", &[OURS])]);
    server.lock().unwrap().looks = 3;
    // A moment's trouble anywhere does not matter.
    server.lock().unwrap().faults = vec![(2, "/scale", 503), (1, "app%3Doperator", 500), (2, "PATCH /api/v1", 429)];
    assert_eq!(remove_finalizers(client(&server), &options(&[], true)).await.unwrap(), 1);
    let server = server.lock().unwrap();
    let first = |part: &str| server.log.iter().position(|line| line.contains(part)).unwrap();
    let last = |part: &str| server.log.iter().rposition(|line| line.contains(part)).unwrap();
    assert!(first("/scale") < first("app%3Doperator"), "{:?}", server.log);
    assert!(last("app%3Doperator") < first("task-uid"), "{:?}", server.log);
    assert_eq!(server.log.iter().filter(|line| line.contains("app%3Doperator")).count(), 5, "three Pods, and none");
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_the_operator_that_is_just_being_replaced_is_waited_for() {
    let server = shared(&[("a", "p", &[OURS])]);
    server.lock().unwrap().replicas = vec![1, 1];
    assert_eq!(remove_finalizers(client(&server), &options(&[], true)).await.unwrap(), 1);
    let server = server.lock().unwrap();
    assert_eq!(server.log.iter().filter(|line| line.contains("app%3Doperator")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_does_not_end_keeps_its_pods() {
    let server = shared(&[("a", "p", &[OURS])]);
    server.lock().unwrap().looks = u32::MAX - 1;
    server.lock().unwrap().faults = vec![(u32::MAX, "app%3Doperator", 403)];
    let begin = Instant::now();
    let error = remove_finalizers(client(&server), &options(&[], true)).await.unwrap_err();
    assert!(begin.elapsed() <= Duration::from_secs(60));
    assert!(error.to_string().contains("still runs after"), "{error}");
    assert!(error.to_string().contains("as told (403)"), "{error}");
    assert_eq!(server.lock().unwrap().patched(), 0);

    let stuck = shared(&[("a", "p", &[OURS])]);
    stuck.lock().unwrap().looks = 1_000;
    let mut short = options(&[], true);
    short.timeout = Duration::from_secs(5);
    let error = remove_finalizers(client(&stuck), &short).await.unwrap_err();
    assert!(error.to_string().contains("operator-0, operator-1"), "{error}");
    assert_eq!(stuck.lock().unwrap().patched(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_deployment_needs_no_stopping() {
    let server = shared(&[("a", "p", &[OURS])]);
    server.lock().unwrap().scale = None;
    assert_eq!(remove_finalizers(client(&server), &options(&[], true)).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_cannot_be_stopped_keeps_its_pods() {
    let server = shared(&[("a", "p", &[OURS])]);
    server.lock().unwrap().faults = vec![(u32::MAX, "/scale", 403)];
    let error = remove_finalizers(client(&server), &options(&[], true)).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot scale the Deployment system/operator to 0: as told (403)");
    assert_eq!(server.lock().unwrap().log.len(), 1, "a refusal is not asked again");

    let server = shared(&[("a", "p", &[OURS])]);
    server.lock().unwrap().scale.as_mut().unwrap()["status"]["selector"] = json!("");
    let error = remove_finalizers(client(&server), &options(&[], true)).await.unwrap_err();
    assert!(matches!(error, Error::NoSelector { .. }), "{error}");
    assert_eq!(server.lock().unwrap().patched(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_stubborn_pod_is_reported_and_does_not_keep_the_others() {
    let server = shared(&[("a", "p1", &[OURS]), ("a", "p2", &[OURS]), ("b", "p3", &[OURS])]);
    server.lock().unwrap().faults = vec![(u32::MAX, "PATCH /api/v1/namespaces/a/pods/p2", 500)];
    let error = remove_finalizers(client(&server), &options(&[], false)).await.unwrap_err();
    assert_eq!(error.to_string(), "removed the finalizer from 2 Pods, but 1 failed; the first: a/p2: as told (500)");
    let server = server.lock().unwrap();
    assert_eq!(server.patched(), 2 + usize::try_from(TRIES).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_cannot_be_read_is_reported_and_does_not_keep_the_others() {
    let server = shared(&[("a", "p", &[OURS]), ("b", "p", &[OURS])]);
    server.lock().unwrap().faults = vec![(u32::MAX, "GET /api/v1/namespaces/a/pods", 403)];
    let error = remove_finalizers(client(&server), &options(&["a", "b"], false)).await.unwrap_err();
    let Error::Left { released: 1, failures } = &error else { panic!("{error}") };
    assert_eq!(*failures, ["cannot list the Pods of a: as told (403)"]);
}

/// The Pod goes, or another takes its name, between the list and the patch.
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_meanwhile_is_no_failure() {
    for code in [404, 409] {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        let service = service_fn(move |request: Request<Body>| {
            let line = format!("{} {}", request.method(), request.uri().path());
            let (code, body) = match line.as_str() {
                "GET /api/v1/pods" => (200, list(&[metadata("a", "p", &[OURS.to_owned()])], None)),
                "PATCH /api/v1/namespaces/a/pods/p" => status(code),
                "GET /api/v1/namespaces/a/pods/p" => {
                    let mut other = metadata("a", "p", &[OURS.to_owned()]);
                    other["metadata"]["uid"] = json!("another");
                    (200, other)
                }
                other => panic!("unexpected request {other}"),
            };
            log.lock().unwrap().push(line);
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        assert_eq!(remove_finalizers(Client::new(service, "default"), &options(&[], false)).await.unwrap(), 0);
        assert!(calls.lock().unwrap().len() > 1);
    }
}
