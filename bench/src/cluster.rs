//! The cluster of the benchmark, and the operator on it.

use crate::process::Process;
use anyhow::{Context, Result, ensure};
use kube::Client;
use retryable_tasks::controller::CONCURRENCY;
use retryable_tasks::controller::work_queue::DUE_CONCURRENCY_FACTOR;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many nodes are simulated.
pub const NODES: usize = 10;
/// The time limit of steps that usually take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The port of the operator's metrics on the first cluster. A second operator uses the next port, and so do those of other
/// clusters: else one would take the answers of another's operator for its own.
const FIRST_PORT: u16 = 19_180;

/// The limits of the Job controller's requests to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Its defaults: 20 requests a second, bursts of 30, 5 Jobs at the same time.
    Default,
    /// No limit on requests, like the operator, and the operator's concurrency (for due and other tasks together).
    Lifted,
}

impl Limits {
    fn flags(self) -> String {
        let (requests, burst, at_a_time) = match self {
            Self::Default => (20, 30, 5),
            Self::Lifted => (100_000, 100_000, (1 + DUE_CONCURRENCY_FACTOR) * CONCURRENCY),
        };
        format!("--kube-api-qps={requests} --kube-api-burst={burst} --concurrent-job-syncs={at_a_time}")
    }
}

/// An empty cluster.
pub struct Cluster {
    pub client: Client,
    program: PathBuf,
}

impl Cluster {
    /// Stops the running cluster, and starts one that has nothing but the definitions of tasks and queues.
    pub async fn fresh(program: &Path, limits: Limits) -> Result<Self> {
        cluster(&["down"], limits)?;
        cluster(&["simulate", &NODES.to_string()], limits)?;
        for resource in ["retryabletasks", "taskqueues"] {
            let definition = run(Command::new(program).args(["crd", resource]), "")?;
            kubectl(&["apply", "--server-side", "-f", "-"], &definition)?;
            // `kubectl wait` fails on a definition that has no conditions yet.
            let began = Instant::now();
            while let Err(error) = kubectl(&["get", resource, "--all-namespaces"], "") {
                ensure!(
                    began.elapsed() < PATIENCE,
                    "the definition was applied, but the API server does not serve it: {error:#}"
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let client = Client::try_default().await?;
        Ok(Self { client, program: program.to_owned() })
    }

    /// Creates a namespace that is ready for Pods.
    pub fn namespace(&self, name: &str) -> Result<()> {
        kubectl(&["create", "namespace", name], "")?;
        kubectl(&["--namespace", name, "wait", "--for=create", "serviceaccount/default", "--timeout=60s"], "")?;
        Ok(())
    }

    /// Creates a service account for an operator in the namespace `home`, with the chart's RBAC rules for `scope`
    /// (None: all namespaces).
    pub fn account(&self, home: &str, scope: Option<&str>) -> Result<PathBuf> {
        kubectl(&["create", "namespace", home], "")?;
        let mut render = Command::new("helm");
        render.args(["template", "retryable-tasks", "charts/retryable-tasks", "--namespace", home]);
        render.args(["--show-only=templates/rbac.yaml", "--show-only=templates/serviceaccount.yaml"]);
        if let Some(scope) = scope {
            render.args(["--set", &format!("watch.namespaces={{{scope}}}")]);
        }
        kubectl(&["apply", "-f", "-"], &run(render.args(["--set", "crds.install=false"]), "")?)?;
        let token = kubectl(&["--namespace", home, "create", "token", "retryable-tasks", "--duration=24h"], "")?;
        let config = kubectl(&["config", "view", "--raw", "--minify", "--output=json"], "")?;
        let mut config: Value = serde_json::from_str(&config)?;
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = folder()?.join(format!("{home}.kubeconfig"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// A client with that account.
    pub async fn client_of(&self, kubeconfig: &Path) -> Result<Client> {
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
        let options = kube::config::KubeConfigOptions::default();
        Ok(Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)?)
    }

    /// Starts an operator with that account and waits until its caches are synced.
    pub async fn operator(&self, kubeconfig: &Path, more: &[&str]) -> Result<Operator> {
        let mut operator = Operator::spawn(&self.program, kubeconfig, 0, more)?;
        operator.ready().await?;
        Ok(operator)
    }

    /// The same as [`Cluster::operator`], beside another operator.
    pub async fn second_operator(&self, kubeconfig: &Path, more: &[&str]) -> Result<Operator> {
        let mut operator = Operator::spawn(&self.program, kubeconfig, 1, more)?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Starts an operator without waiting.
    pub fn spawn(&self, kubeconfig: &Path) -> Result<Operator> {
        Operator::spawn(&self.program, kubeconfig, 0, &[])
    }
}

/// Stops the cluster.
pub fn down() -> Result<()> {
    cluster(&["down"], Limits::Lifted).map(drop)
}

/// A running operator. It is killed when this value is dropped.
pub struct Operator {
    child: Child,
    port: u16,
}

impl Operator {
    /// Starts one without waiting.
    pub fn spawn(program: &Path, kubeconfig: &Path, nth: u16, more: &[&str]) -> Result<Self> {
        let port = FIRST_PORT + 2 * cluster_number() + nth;
        let log = File::create(operator_log(nth)?)?;
        let child = Command::new(program)
            .args(["run", "--http-address", &format!("127.0.0.1:{port}")])
            .args(more)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, port })
    }

    /// Waits until its caches are synced.
    pub async fn ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while http("GET", self.port, "/readyz", "").is_err() {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the operator ended with {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "the operator is not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The sum of a metric's values over all its labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = http("GET", self.port, "/metrics", "")?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        Ok(page.lines().filter(of_name).filter_map(value).sum())
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of all values under a prefix in etcd, and their number.
pub fn stored(prefix: &str) -> Result<(usize, usize)> {
    let end = format!("{}0", prefix.strip_suffix('/').context("a prefix ends with a slash")?); // '0' follows '/'
    let query = json!({"key": base64(prefix), "range_end": base64(&end)}).to_string();
    let answer: Value = serde_json::from_str(&http("POST", etcd_port(), "/v3/kv/range", &query)?)?;
    let values = answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let length = |encoded: &str| encoded.len() / 4 * 3 - encoded.bytes().rev().take_while(|byte| *byte == b'=').count();
    let bytes = values.iter().filter_map(|pair| pair["value"].as_str()).map(length).sum();
    Ok((bytes, values.len()))
}

/// All bytes that have been written to etcd.
pub fn put_into_etcd() -> Result<f64> {
    let page = http("GET", etcd_port(), "/metrics", "")?;
    let line = page.lines().find(|line| line.starts_with("etcd_debugging_mvcc_total_put_size_in_bytes "));
    let value = line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, value)| value.parse().ok());
    value.context("etcd does not tell how much was put into it")
}

fn etcd_port() -> u16 {
    2379 + 100 * cluster_number()
}

fn cluster_number() -> u16 {
    std::env::var("CLUSTER_NUMBER").unwrap_or_default().parse().unwrap_or(0)
}

/// Standard base64. The standard library does not have it.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            encoded.push(if place <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    encoded
}

/// A minimal HTTP client for local ports: returns the body of an answer with the status 200.
fn http(method: &str, port: u16, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.split_whitespace().nth(1) == Some("200"), "{path}: {}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}

fn cluster(args: &[&str], limits: Limits) -> Result<String> {
    let mut command = Command::new("tests/cluster/cluster");
    run(
        command.args(args).env("CLUSTER_CONTROLLER_MANAGER_FLAGS", limits.flags()).env("CLUSTER_AUDIT_BODIES", "false"),
        "",
    )
}

/// The output of kubectl.
pub fn kubectl(args: &[&str], input: &str) -> Result<String> {
    run(Command::new("kubectl").args(args), input)
}

/// The log of the operator with this number, from its last start on.
pub fn operator_log(nth: u16) -> Result<PathBuf> {
    Ok(folder()?.join(format!("operator-{nth}.log")))
}

fn folder() -> Result<PathBuf> {
    Ok(PathBuf::from(std::env::var_os("CLUSTER_DIR").context("CLUSTER_DIR is not set")?).join("log"))
}

fn run(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
