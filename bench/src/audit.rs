//! Follows the API server's audit log: who requested what, and when.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the log is read while the benchmark waits for something.
const INTERVAL: Duration = Duration::from_millis(100);

/// The origin of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator whose account is in this namespace.
    Operator(String),
    /// The controller of batch/v1 Jobs.
    JobController,
    /// The simulated nodes.
    Nodes,
    /// Any other client.
    Other,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Request {
    pub who: Who,
    pub verb: String,
    /// The plural, with the subresource after a slash.
    pub resource: String,
    pub namespace: String,
    /// Empty if the API server generates the name.
    pub name: String,
    pub code: u16,
    /// When the API server received the request.
    pub received: Timestamp,
    /// When it had sent the answer.
    pub answered: Timestamp,
}

impl Request {
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    pub fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    /// The verb and the resource.
    pub fn kind(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource && self.code < 300
    }

    /// How long the API server took, in milliseconds.
    pub fn millis(&self) -> f64 {
        millis_between(self.received, self.answered)
    }
}

/// The time between two timestamps, in milliseconds.
pub fn millis_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

/// The log from a certain point on.
pub struct Log {
    file: File,
    rest: Vec<u8>,
    /// All requests so far except watches, in the order of their answers.
    pub requests: Vec<Request>,
    /// Open watches, by their client.
    pub watches: Vec<(Who, i64)>,
    /// How often the nodes have reported on each Pod: once when it runs, and once when it has ended.
    reports: HashMap<String, u32>,
    /// How many Pods the nodes have reported as running, and as ended.
    pub running: usize,
    pub ended: usize,
}

impl Log {
    /// The log from now on.
    pub fn from_now() -> Result<Self> {
        Self::open(SeekFrom::End(0))
    }

    /// The log from the start of the cluster.
    pub fn from_start() -> Result<Self> {
        Self::open(SeekFrom::Start(0))
    }

    fn open(from: SeekFrom) -> Result<Self> {
        let path = PathBuf::from(std::env::var_os("CLUSTER_AUDIT_LOG").context("CLUSTER_AUDIT_LOG is not set")?);
        let mut file = File::open(&path).with_context(|| format!("{}", path.display()))?;
        file.seek(from)?;
        let (requests, watches, reports) = (Vec::new(), Vec::new(), HashMap::new());
        Ok(Self { file, rest: Vec::new(), requests, watches, reports, running: 0, ended: 0 })
    }

    /// Reads what has been written since.
    pub fn read(&mut self) -> Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.take(serde_json::from_slice(line)?);
        }
        Ok(())
    }

    fn take(&mut self, line: Line) {
        let who = who(&line.user.username, line.user_agent.as_deref().unwrap_or_default());
        if line.verb == "watch" {
            let change = if line.stage == "ResponseStarted" { 1 } else { -1 };
            match self.watches.iter_mut().find(|(keeper, _)| *keeper == who) {
                Some((_, open)) => *open += change,
                None => self.watches.push((who, change)),
            }
            return;
        }
        if line.stage != "ResponseComplete" {
            return;
        }
        let object = line.object_ref.unwrap_or_default();
        let resource = match object.subresource {
            Some(subresource) => format!("{}/{subresource}", object.resource),
            None => object.resource,
        };
        let request = Request {
            who,
            verb: line.verb,
            resource,
            namespace: object.namespace,
            name: object.name,
            code: line.response_status.map_or(0, |status| status.code),
            received: line.request_received_timestamp,
            answered: line.stage_timestamp,
        };
        if request.who == Who::Nodes && request.is("patch", "pods/status") {
            let reports = self.reports.entry(format!("{}/{}", request.namespace, request.name)).or_default();
            *reports += 1;
            self.running += usize::from(*reports == 1);
            self.ended += usize::from(*reports == 2);
        }
        self.requests.push(request);
    }

    /// How many requests match `is`.
    pub fn count(&self, is: impl Fn(&Request) -> bool) -> usize {
        self.requests.iter().filter(|request| is(request)).count()
    }

    /// Reads until `is` holds, for at most `limit`.
    pub async fn until(&mut self, what: &str, limit: Duration, is: impl Fn(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            self.read()?;
            if is(self) {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < limit, "waited {} s in vain for {what}", limit.as_secs());
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Reads until `who` has written nothing for `quiet`. An error if that takes longer than `limit`.
    pub async fn until_quiet(&mut self, who: &Who, quiet: Duration, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let (mut seen, mut since) = (0, Instant::now());
        while began.elapsed() < limit {
            self.read()?;
            let writes = self.count(|request| request.who == *who && request.is_write());
            if writes != seen {
                (seen, since) = (writes, Instant::now());
            }
            if since.elapsed() >= quiet {
                return Ok(());
            }
            tokio::time::sleep(INTERVAL).await;
        }
        anyhow::bail!("{who:?} goes on writing")
    }

    /// How many watches are open.
    pub fn open_watches(&self, who: &Who) -> i64 {
        self.watches.iter().find(|(keeper, _)| keeper == who).map_or(0, |(_, open)| *open)
    }
}

fn who(user: &str, agent: &str) -> Who {
    if agent.starts_with("kwok") {
        return Who::Nodes;
    }
    match user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
        Some(("kube-system", "job-controller")) => Who::JobController,
        Some((namespace, "retryable-tasks")) => Who::Operator(namespace.to_owned()),
        _ => Who::Other,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    user_agent: Option<String>,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: Option<String>,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}
