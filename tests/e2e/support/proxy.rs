//! A proxy between an operator and the API server, on loopback, that does with each request what the test says.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use futures::StreamExt;
use http_body_util::BodyExt;
use kube::{Client, Config};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The HTTP method.
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// For a write: how many writes came before it, Events and leases apart.
    pub write: Option<usize>,
    /// What it sends; null if that is nothing, or no JSON.
    pub sent: Value,
}

impl Asked {
    /// Whether it watches objects of that plural.
    pub fn is_watch_of(&self, plural: &str) -> bool {
        self.path.contains("watch=") && self.path.contains(&format!("/{plural}?"))
    }
}

/// What the proxy does with a request.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// Hands it on.
    Pass,
    /// Answers with this code, and hands nothing on.
    Refuse(u16),
    /// Hands it on, and then answers 504.
    LoseAnswer,
    /// Hands it on, and gives no answer at all.
    PassAndHang,
    /// Neither hands it on nor answers.
    Hang,
    /// Hands it on, this much later.
    Delay(Duration),
    /// Hands it on once this number has grown by two: whoever counts has done one thing more, from its beginning to its end.
    Overtaken(watch::Receiver<usize>),
    /// Hands it on once the gate is open, even if whoever asked is gone by then.
    Late(watch::Receiver<bool>),
    /// Hands it on; the answer's body goes no further until the gate is open.
    Gate(watch::Receiver<bool>),
    /// Hands it on; the answer's body breaks off as soon as the gate is open.
    BreakOff(watch::Receiver<bool>),
    /// Answers with this body, and hands nothing on.
    Answer(String),
}

type Control = Box<dyn FnMut(&Asked) -> Treatment + Send>;

struct Inner {
    client: Client,
    control: Mutex<(Control, usize)>,
    expired: AtomicUsize,
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    inner: Arc<Inner>,
    serving: JoinHandle<()>,
    kubeconfig: PathBuf,
}

impl Proxy {
    /// Starts a proxy that hands on everything.
    pub async fn start() -> Self {
        let mut config = Config::infer().await.unwrap();
        config.default_retry = false;
        let control: Control = Box::new(|_| Treatment::Pass);
        let client = Client::try_from(config).unwrap();
        let inner = Arc::new(Inner { client, control: Mutex::new((control, 0)), expired: AtomicUsize::new(0) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // An answer's body follows its head, and would wait for the acknowledgement of that: 40 ms.
        let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
        let app = axum::Router::new().fallback(handle).with_state(inner.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { inner, serving, kubeconfig: kubeconfig(address) }
    }

    /// From now on every request is treated as `control` says; writes are counted from 0 again.
    pub fn control(&self, control: impl FnMut(&Asked) -> Treatment + Send + 'static) {
        *self.inner.control.lock().unwrap() = (Box::new(control), 0);
    }

    /// How many watches the API server has answered with 410: what they ask for is forgotten.
    pub fn expired(&self) -> usize {
        self.inner.expired.load(Ordering::SeqCst)
    }

    /// The file that tells an operator to go through this proxy.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
        // It may be gone with its folder.
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

fn kubeconfig(address: SocketAddr) -> PathBuf {
    let path = super::operator::log_folder().join(format!("proxy-{}.json", address.port()));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

impl Inner {
    fn treatment(&self, request: &http::Request<Bytes>) -> Treatment {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let counts = request.method() != "GET" && !path.contains("/events") && !path.contains("/leases");
        let mut control = self.control.lock().unwrap();
        let (control, writes) = &mut *control;
        let write = counts.then_some(*writes);
        *writes += usize::from(counts);
        let sent = serde_json::from_slice(request.body()).unwrap_or_default();
        control(&Asked { method: request.method().to_string(), path, write, sent })
    }

    fn count_if_expired(&self, expired: bool) {
        self.expired.fetch_add(usize::from(expired), Ordering::SeqCst);
    }

    async fn hand_on(self: &Arc<Self>, request: http::Request<Bytes>) -> Response {
        let (mut parts, body) = request.into_parts();
        parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
        parts.headers.remove("host");
        let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        match self.client.send(request).await {
            Ok(answer) if watches => {
                self.count_if_expired(answer.status() == StatusCode::GONE);
                let proxy = self.clone();
                answer.map(|body| {
                    let chunks = Body::new(body).into_data_stream();
                    Body::from_stream(chunks.inspect(move |chunk| {
                        let is_error = |text: &str| text.contains(r#""ERROR""#) && text.contains(r#""code":410"#);
                        let text = chunk.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
                        proxy.count_if_expired(text.is_ok_and(|text| is_error(&text)));
                    }))
                })
            }
            Ok(answer) => answer.map(Body::new),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    }
}

async fn handle(State(proxy): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request = http::Request::from_parts(parts, body.collect().await.unwrap().to_bytes());
    match proxy.treatment(&request) {
        Treatment::Pass => proxy.hand_on(request).await,
        Treatment::Delay(time) => {
            tokio::time::sleep(time).await;
            proxy.hand_on(request).await
        }
        Treatment::Overtaken(mut count) => {
            let enough = *count.borrow() + 2;
            // Nobody who counts is left: nothing will overtake it.
            let _ = count.wait_for(|now| *now >= enough).await;
            proxy.hand_on(request).await
        }
        Treatment::Late(mut gate) => {
            // This future ends with the connection that it answers.
            let handed_on = tokio::spawn(async move {
                // A gate that is gone is open.
                let _ = gate.wait_for(|open| *open).await;
                proxy.hand_on(request).await
            });
            handed_on.await.unwrap_or_else(|_| refusal(502))
        }
        Treatment::Refuse(code) => refusal(code),
        Treatment::LoseAnswer => {
            proxy.hand_on(request).await;
            refusal(504)
        }
        Treatment::PassAndHang => {
            proxy.hand_on(request).await;
            std::future::pending().await
        }
        Treatment::Hang => std::future::pending().await,
        Treatment::Gate(gate) => proxy.hand_on(request).await.map(|body| {
            let chunks = body.into_data_stream().then(move |chunk| {
                let mut gate = gate.clone();
                // A gate that is gone is open.
                async move {
                    let _ = gate.wait_for(|open| *open).await;
                    chunk
                }
            });
            Body::from_stream(chunks)
        }),
        Treatment::BreakOff(mut gate) => proxy.hand_on(request).await.map(|body| {
            let broken = async move {
                if gate.wait_for(|open| *open).await.is_err() {
                    std::future::pending::<()>().await; // nobody is left who could open it
                }
            };
            Body::from_stream(body.into_data_stream().take_until(Box::pin(broken)))
        }),
        Treatment::Answer(body) => ([("content-type", "application/json")], body).into_response(),
    }
}

/// As the API server writes an error.
fn refusal(code: u16) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Fault",
        "message": "the proxy says so"});
    let code = StatusCode::from_u16(code).unwrap();
    (code, [("content-type", "application/json")], status.to_string()).into_response()
}
