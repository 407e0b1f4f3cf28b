//! The page in a real browser, against the operator: what a person does with it, who may see what, and what is shown while
//! the API server is away. The browser is driven by the scripts beside this file; `prepare` brings what they need.
//!
//! Pictures of every page, light, dark, narrow and zoomed, are in the folder `page` of the tests' temporary files.

use crate::queue::{queue, until_queue};
use crate::support::kubectl::run;
use crate::support::operator::{free_address, http_get, log_folder};
use crate::support::proxy::{Proxy, Treatment};
use crate::support::{Scene, TIMEOUT, cluster, eventually, kubectl_with, sh, task};
use retryable_tasks::api::{CircuitState, TaskQueueStatus};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/page");
static TOOLS: OnceLock<(String, String)> = OnceLock::new();

/// The folder with the packages, and the browser.
fn tools() -> &'static (String, String) {
    TOOLS.get_or_init(|| {
        let said = run(&mut Command::new(format!("{FOLDER}/prepare")), "").ok();
        let (tools, browser) = said.trim().split_once('\n').unwrap();
        (tools.to_owned(), browser.to_owned())
    })
}

/// A script of the browser, at that address, for the scene's namespace.
fn browser(scene: &Scene, script: &str, url: &str) -> Command {
    let (tools, browser) = tools();
    let mut node = Command::new("node");
    node.arg(format!("{FOLDER}/{script}"))
        .env("PAGE_TOOLS", tools)
        .env("PAGE_BROWSER", browser)
        .env("PAGE_URL", url)
        .env("PAGE_NAMESPACE", &scene.namespace)
        .env("PAGE_PICTURES", Path::new(env!("CARGO_TARGET_TMPDIR")).join("page"));
    node
}

/// Runs a script to its end, while what the test has going goes on.
async fn browse(mut script: Command) {
    tokio::task::spawn_blocking(move || run(&mut script, "").ok()).await.unwrap();
}

/// The page as a process. It dies with this value.
struct Page {
    process: Child,
    url: String,
}

impl Page {
    /// Serves the scene's namespace, in the name of the account that the chart makes for it, with `more` arguments.
    async fn serve(scene: &Scene, more: &[&str], kubeconfig: Option<&Path>) -> Self {
        Self::serve_at(free_address(), scene, more, kubeconfig).await
    }

    async fn serve_at(address: String, scene: &Scene, more: &[&str], kubeconfig: Option<&Path>) -> Self {
        grant(scene);
        let log = std::fs::File::create(log_folder().join(format!("{}-page.log", scene.namespace))).unwrap();
        let process = cluster::program()
            .args(["ui", "--namespaces", &scene.namespace, "--operator-namespace", &scene.home])
            .args(["--http-address", &address])
            .args(more)
            .env("KUBE_RS_DEBUG_IMPERSONATE_USER", format!("system:serviceaccount:{}:retryable-tasks-ui", scene.home))
            .envs(kubeconfig.map(|path| ("KUBECONFIG", path)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        eventually("the page to be served", async || TcpStream::connect(&address)).await;
        Self { process, url: format!("http://{address}/") }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Gives the page the rights that the chart gives it.
fn grant(scene: &Scene) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/retryable-tasks");
    let namespaces = format!("watch.namespaces={{{}}}", scene.namespace);
    let render = ["template", "retryable-tasks", chart, "--show-only=templates/ui.yaml", "--namespace", &scene.home];
    let settings = ["--set", &namespaces, "--set", "crds.install=false,ui.enabled=true"];
    let all = run(Command::new("helm").args(render).args(settings), "").ok();
    let is_right = |part: &&str| !part.contains("kind: Deployment") && !part.contains("kind: Service\n");
    let rights: Vec<&str> = all.split("---\n").filter(is_right).collect();
    kubectl_with(&["apply", "-f", "-"], &rights.join("---\n")).ok();
}

/// A task whose attempts run until a file is there, and fail before the second.
fn gated() -> Value {
    let script = "while ! test -e /tmp/go; do sleep 0.1; done; test $RETRYABLE_ATTEMPT -ge 2";
    sh("gated", script, &json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}}))
}

/// Three causes behind forty failures. One of the messages is hostile.
fn failing() -> Vec<Value> {
    let fails = |name: &str, number: usize, script: &str, retries: i32| {
        let env = json!([{"name": "PASSWORD", "value": "hunter2"}]);
        let backoff = json!({"initialDelaySeconds": 1, "maxDelaySeconds": 1, "jitter": {"percent": 50}});
        let more = json!({"maxRetries": retries, "backoff": backoff, "env": env, "podRetention": {"failed": 0}});
        sh(&format!("{name}-{number}"), script, &more)
    };
    let red = |number| {
        let script = format!("echo connect to orders-db-{number} failed after ${{RETRYABLE_ATTEMPT}}00 ms; exit 111");
        fails("red", number, &script, 3)
    };
    let hostile =
        |number| fails("hostile", number, "echo '<img src=x onerror=alert(1)><script>alert(2)</script>'; exit 2", 2);
    let full = |number| {
        let mut task = fails("full", number, NO_SPACE, 0);
        task["spec"]["queue"] = json!({"name": "disk"});
        task
    };
    (0..5).map(red).chain((0..4).map(hostile)).chain((0..7).map(full)).collect()
}

const NO_SPACE: &str = "echo no space left on device; exit 28";

/// One that is held, one with a slot taken, and one whose circuit opens when all its tasks have failed.
fn queues() -> Vec<Value> {
    let breaker = json!({"openAfter": {"tasks": 7, "percent": 50}, "openSeconds": 86400});
    vec![
        queue("closed", &json!({"stopPolicy": "Hold"})),
        queue("orders", &json!({"maxConcurrent": 4})),
        queue("disk", &json!({"maxConcurrent": 10, "circuitBreaker": breaker})),
    ]
}

/// One whose run succeeds, and one that is paused since its run fails. Both are asked for a run at once.
fn schedules() -> Vec<Value> {
    let schedule = |name: &str, script: &str, more: Value| {
        let mut spec = json!({"schedule": "30 2 1 1 *", "timeZone": "Europe/Berlin",
            "template": {"spec": sh(name, script, &json!({"maxRetries": 0}))["spec"]}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule",
            "metadata": {"name": name, "annotations": {"retryable.dev/trigger": "1"}}, "spec": spec})
    };
    vec![schedule("yearly", "true", json!({})), schedule("broken", NO_SPACE, json!({"pauseAfterFailures": 1}))]
}

/// A Pod as that of a replica: the operator itself is a process of this machine.
fn replica(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels":
            {"app.kubernetes.io/name": "retryable-tasks", "app.kubernetes.io/component": "controller"}},
        "spec": {"terminationGracePeriodSeconds": 0,
            "containers": [{"name": "operator", "image": "busybox:1", "command": ["sleep", "3600"]}]}})
}

#[tokio::test]
async fn a_person_finds_causes_sees_why_and_follows() {
    let scene = Scene::with_home("page-person").await;
    let elect = ["--leader-elect", "--operator-namespace", &scene.home, "--identity", "operator-0"];
    let _operator = scene.operator_with(&elect).at_work().await;
    for name in ["operator-0", "operator-1"] {
        kubectl_with(&["apply", "--namespace", &scene.home, "-f", "-"], &replica(name).to_string()).ok();
    }
    let nowhere = json!({"spec": {"nodeSelector": {"no": "node"}}});
    let queued = sh("held", "true", &json!({"queue": {"name": "closed"}}));
    let manifests = [
        queued,
        sh("long", "sleep 3600", &json!({"queue": {"name": "orders"}})),
        sh("after-held", "true", &json!({"after": [{"task": "held"}]})),
        sh("much-later", "true", &json!({"startAt": "2126-01-01T00:00:00Z"})),
        sh("nowhere", "true", &json!({"template": nowhere})),
        gated(),
    ];
    for manifest in queues().iter().chain(&manifests).chain(&failing()).chain(&schedules()) {
        scene.apply(manifest);
    }
    let is_open = |status: &TaskQueueStatus| status.circuit.as_ref().is_some_and(|now| now.state == CircuitState::Open);
    until_queue(&scene, "disk", "an open circuit", is_open).await;
    scene.apply(&sh("late", "true", &json!({"queue": {"name": "disk"}})));
    let page = Page::serve(&scene, &[], None).await;
    browse(browser(&scene, "person.mjs", &page.url)).await;
}

/// Somebody who may read the tasks of one namespace, and somebody who may read none: their tokens.
fn viewers(scene: &Scene) -> [String; 2] {
    for name in ["reader", "stranger"] {
        scene.kubectl(&["create", "serviceaccount", name]).ok();
    }
    let rules =
        json!([{"apiGroups": ["retryable.dev"], "resources": ["retryabletasks", "taskqueues"], "verbs": ["list"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"}, "rules": rules});
    scene.apply(&role);
    let subject = format!("--serviceaccount={}:reader", scene.namespace);
    scene.kubectl(&["create", "rolebinding", "reader", "--role=reader", &subject]).ok();
    ["reader", "stranger"].map(|name| scene.kubectl(&["create", "token", name]).ok().trim().to_owned())
}

#[tokio::test]
async fn a_token_shows_what_its_owner_may_list_until_it_ends() {
    let scene = Scene::new("page-token").await;
    let other = scene.beside("page-other").await;
    scene.apply(&task("mine", &json!({"image": "busybox:1", "suspend": true})));
    other.apply(&task("secret", &json!({"image": "busybox:1", "suspend": true})));
    let [reader, stranger] = viewers(&scene);
    let namespaces = format!("{},{}", scene.namespace, other.namespace);
    grant(&other);
    let page = Page::serve(&scene, &["--auth", "token", "--namespaces", &namespaces], None).await;
    // Another page, forwarded to another port of this machine.
    let second = Page::serve(&scene, &["--auth", "token"], None).await;
    let mut script = browser(&scene, "token.mjs", &page.url);
    script.env("PAGE_SECOND", &second.url);
    script.env("PAGE_READER", reader).env("PAGE_STRANGER", stranger).env("PAGE_OTHER", &other.namespace);
    browse(script).await;
}

#[tokio::test]
async fn an_api_server_that_is_away_is_told_and_what_was_known_stays() {
    let scene = Scene::new("page-away").await;
    scene.apply(&task("known", &json!({"image": "busybox:1", "suspend": true})));
    let proxy = Proxy::start().await;
    let page = Page::serve(&scene, &[], Some(proxy.kubeconfig())).await;
    let mut script = browser(&scene, "away.mjs", &page.url);
    let flag = log_folder().join(format!("{}-away", scene.namespace));
    script.env("PAGE_AWAY", &flag);
    let seen = flag.clone();
    // The script says when: while its file is there, nothing is handed on.
    proxy.control(move |_| if seen.exists() { Treatment::Refuse(503) } else { Treatment::Pass });
    browse(script).await;
}

/// `kubectl proxy`, to the end of this value.
struct KubectlProxy(Child, String);

impl KubectlProxy {
    async fn start() -> Self {
        let address = free_address();
        let port = address.rsplit_once(':').unwrap().1;
        let proxy = Command::new("kubectl").args(["proxy", "--port", port]).stdout(Stdio::null()).spawn().unwrap();
        eventually("kubectl proxy", async || TcpStream::connect(&address)).await;
        Self(proxy, address)
    }
}

impl Drop for KubectlProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The API server leads to Pods alone. Here a Pod hands on to the page, which is a process of this machine.
#[tokio::test]
async fn it_works_behind_kubectl_proxy() {
    let scene = Scene::new("page-proxy").await;
    scene.apply(&task("mine", &json!({"image": "busybox:1", "suspend": true})));
    let [reader, _] = viewers(&scene);
    // Where Pods see this machine.
    let server = kube::Config::infer().await.unwrap().cluster_url;
    let (host, own) = (server.host().unwrap().to_owned(), free_address());
    let port = own.rsplit_once(':').unwrap().1;
    let _page = Page::serve_at(format!("{host}:{port}"), &scene, &["--auth", "token"], None).await;
    let handing_on = format!("exec nc -ll -p 8080 -e nc {host} {port}");
    let image = ["run", "page", "--image=busybox:1", "--restart=Never", "--port=8080"];
    scene.kubectl(&[&image[..], &["--", "sh", "-c", &handing_on]].concat()).ok();
    scene.kubectl(&["expose", "pod", "page", "--port=80", "--target-port=8080"]).ok();
    scene.kubectl(&["wait", "pod/page", "--for=condition=Ready", TIMEOUT]).ok();
    let proxy = KubectlProxy::start().await;
    let path = format!("/api/v1/namespaces/{}/services/page/proxy/", scene.namespace);
    eventually("the page through the API server", async || match http_get(&proxy.1, &path) {
        Some((401, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let mut script = browser(&scene, "behind_proxy.mjs", &format!("http://{}{path}", proxy.1));
    let api_server = format!("{host}:{}", server.port_u16().unwrap());
    script.env("PAGE_READER", reader).env("PAGE_SERVER", api_server);
    browse(script).await;
}
