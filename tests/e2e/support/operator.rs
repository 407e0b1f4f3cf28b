//! The operator as a process of its own, so that it can be killed, stopped and started again.

use super::cluster;
use super::memory_group::MemoryGroup;
use super::wait::{LIMIT, eventually};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel hands out, so that no connection takes one between the look and the use.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
static NEXT_LOG: AtomicU16 = AtomicU16::new(1);

/// A running operator. It dies with this value, and its log is printed if the test fails.
#[derive(Debug)]
pub struct Operator {
    process: Child,
    log: PathBuf,
    address: String,
}

impl Operator {
    /// Starts the operator in the name of `user`, for the tasks of `namespaces` (separated by commas), with `more`
    /// arguments.
    pub fn spawn(user: &str, namespaces: &str, more: &[&str]) -> Self {
        Self::spawn_with(user, namespaces, more, None)
    }

    /// As [`Operator::spawn`], with a kubeconfig of its own.
    pub fn spawn_with(user: &str, namespaces: &str, more: &[&str], kubeconfig: Option<&Path>) -> Self {
        let mut program = cluster::program();
        program.envs(kubeconfig.map(|path| ("KUBECONFIG", path)));
        Self::spawn_program(program, user, namespaces, more)
    }

    /// As [`Operator::spawn`], in a control group.
    pub fn spawn_in(group: &MemoryGroup, user: &str, namespaces: &str, more: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#]).arg(group.folder());
        shell.arg(cluster::program().get_program());
        Self::spawn_program(shell, user, namespaces, more)
    }

    fn spawn_program(mut program: Command, user: &str, namespaces: &str, more: &[&str]) -> Self {
        let address = free_address();
        let first = namespaces.split(',').next().unwrap_or_default();
        let log = log_folder().join(format!("{first}-{}.log", NEXT_LOG.fetch_add(1, Ordering::Relaxed)));
        let output = File::create(&log).unwrap();
        let process = program
            .args(["--log-level", "info,retryable_tasks=debug", "run", "--namespaces", namespaces])
            .args(["--http-address", &address])
            .args(more)
            .env("KUBE_RS_DEBUG_IMPERSONATE_USER", user)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { process, log, address }
    }

    /// Waits until it has read all there is.
    pub async fn at_work(self) -> Self {
        self.all_at_work(1).await
    }

    /// Waits until it has read all there is in each of `scopes` namespaces.
    pub async fn all_at_work(mut self, scopes: usize) -> Self {
        eventually("the operator to be at work", async || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the operator ended at once with {status}");
            }
            let filled = self.log().matches("the caches are synced").count();
            let ready = self.get("/readyz");
            if filled == scopes && ready.0 == 200 { Ok(()) } else { Err(format!("{filled} caches, {ready:?}")) }
        })
        .await;
        self
    }

    /// Where it serves its metrics.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status code (0 without an answer) and body of `GET path`.
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(&self.address, path).unwrap_or_default()
    }

    /// Kills it as a crash would: it can do nothing about it.
    pub fn kill_9(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end, as the kubelet does, and waits until it has.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the operator to end", async || self.process.try_wait().unwrap().ok_or("it runs")).await
    }

    /// Sends it a signal, such as STOP or CONT.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name}: {status}");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the operator's log, {}\n{}---", self.log.display(), self.log());
        }
    }
}

/// Where this run's files go.
pub fn log_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An address of this machine that nobody listens on.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn free_port() -> u16 {
    let offset = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap();
    let candidates = (0..PORTS).map(|_| {
        let n = NEXT_PORT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % PORTS;
        FIRST_PORT + n
    });
    let has_no_finalizer = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.into_iter().find(has_no_finalizer).expect("a port is free")
}

/// Enough of HTTP for a probe.
pub fn http_get(address: &str, path: &str) -> Option<(u16, String)> {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// Status code and body of a `POST` of JSON to an address of this machine.
pub fn http_post(address: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let length = body.len();
    http(address, &format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"))
}

/// Status code and body of the answer to a request.
pub fn http(address: &str, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}
