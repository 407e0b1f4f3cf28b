//! Kills and restarts the cluster's own processes. Only on the cluster of `tests/cluster`.

use super::operator::http_post;
use super::wait::eventually;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/cluster");

/// Kills a process of the cluster with SIGKILL, and starts what is missing again when told to, at the latest when it is
/// dropped.
#[derive(Debug)]
pub struct Killed {
    repaired: bool,
}

impl Killed {
    /// Kills the component: etcd, apiserver, kubelet, containerd, scheduler or controller-manager.
    pub fn with_9(component: &str) -> Self {
        let pid = pid_of(component);
        let killed = Self { repaired: false };
        let status = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        assert!(status.success(), "kill -KILL {pid}, the {component}: {status}");
        killed
    }

    /// Starts what is missing, and waits until it answers.
    pub fn repair(mut self) {
        self.repaired = true;
        cluster(&["node"]);
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if !self.repaired {
            cluster(&["node"]);
        }
    }
}

fn folder() -> PathBuf {
    std::env::var_os("CLUSTER_DIR").expect("CLUSTER_DIR names the folder of the cluster's state").into()
}

fn pid_of(component: &str) -> String {
    let path = folder().join("run").join(format!("{component}.pid"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split_whitespace().next().expect("a process id").to_owned()
}

/// The ids of all processes that hold a container of the Pod: the shim and the container's own.
pub fn processes_of(pod_uid: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let of_pod = entries.filter(|entry| {
        std::fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(pod_uid))
    });
    of_pod.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Whether a process in a container of the Pod was started with this text among its words.
pub fn runs_in(pod_uid: &str, text: &str) -> bool {
    let words = |pid: &String| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    processes_of(pod_uid).iter().any(|pid| String::from_utf8_lossy(&words(pid)).contains(text))
}

/// Kills, with SIGKILL, everything that holds a container of the Pod.
pub fn kill_containers_of(pod_uid: &str) {
    let kill = |pid: &String| Command::new("kill").args(["-KILL", pid]).output().unwrap().status.success();
    let killed = processes_of(pod_uid).iter().filter(|pid| kill(pid)).count();
    assert!(killed > 0, "the Pod {pod_uid} has no process");
}

/// Adds nodes whose Pods are simulated, as `tests/cluster/simulated-nodes.yaml` tells.
pub fn simulate_nodes() {
    static SIMULATED: OnceLock<()> = OnceLock::new();
    SIMULATED.get_or_init(|| cluster(&["simulate", "3"]));
}

fn cluster(args: &[&str]) {
    let output = Command::new(SCRIPT).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "cluster {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes etcd forget all that objects have been before now.
pub async fn forget_revisions() {
    let number: u16 = std::env::var("CLUSTER_NUMBER").unwrap().parse().unwrap();
    let address = format!("127.0.0.1:{}", 2379 + 100 * number);
    let ask = |path: &str, body: Value| {
        let (code, answer) = http_post(&address, path, &body.to_string()).unwrap_or_default();
        if code == 200 { Ok(serde_json::from_str::<Value>(&answer).unwrap()) } else { Err(format!("{code} {answer}")) }
    };
    eventually("etcd to forget", async || {
        let now = ask("/v3/kv/range", json!({"key": "AA=="}))?;
        ask("/v3/kv/compaction", json!({"revision": now["header"]["revision"], "physical": true}))
    })
    .await;
}
