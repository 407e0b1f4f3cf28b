//! Reads the API server's audit log.

use super::cluster;
use jiff::Timestamp;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

/// The audit log from some point on.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    from: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and answered so.
    Done,
    /// It was answered that it will not be done.
    Refused,
    /// Unknown: its client disconnected, or the API server timed out waiting for its store.
    Unknown,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// get, list, watch, create, update, patch, delete.
    pub verb: String,
    /// The API group, empty for the core's.
    pub group: String,
    /// The plural, with the subresource after a slash.
    pub resource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name, where the request has one.
    pub name: String,
    /// Who asked, or in whose name.
    pub user: String,
    /// The status code of the answer; 0 without one.
    pub code: u64,
    /// When the API server took it in.
    pub received: Timestamp,
    /// What was sent, where the log has it (see the audit policy of the cluster): not if nothing was, and not if the
    /// request was answered before that was read. Then a creation has no name either.
    pub sent: Option<Value>,
    /// The version of the object in the answer, where the log has it.
    pub version: Option<u64>,
}

impl Request {
    /// What became of it.
    pub fn outcome(&self) -> Outcome {
        match self.code {
            200..300 => Outcome::Done,
            0 | 500.. => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }

    /// Whether it is a creation that was refused before its name was read.
    pub fn is_nameless(&self) -> bool {
        self.verb == "create" && self.name.is_empty()
    }

    /// Whether it wrote something, or tried to.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it asked for what a watch would have told.
    pub fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    /// The verb and the resource.
    pub fn kind(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }
}

impl Audit {
    /// From now on.
    pub fn from_now() -> Self {
        Self { from: std::fs::metadata(cluster::audit_log()).unwrap().len() }
    }

    /// The requests about `namespace`, in the order of their answers.
    pub fn of(self, namespace: &str) -> Vec<Request> {
        self.at(&["ResponseComplete", "Panic"], namespace)
    }

    /// The watches of `namespace` that were begun, whether they have ended or not.
    pub fn watches_of(self, namespace: &str) -> Vec<Request> {
        self.at(&["ResponseStarted"], namespace).into_iter().filter(|request| request.verb == "watch").collect()
    }

    fn at(self, stages: &[&str], namespace: &str) -> Vec<Request> {
        let path = cluster::audit_log();
        let mut file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.seek(SeekFrom::Start(self.from)).unwrap();
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        lines.filter(|line| line.contains(namespace)).filter_map(|line| request(&line, stages, namespace)).collect()
    }
}

/// What the log says instead of an answer, with code 200, of a request whose client was gone before there was one.
const NO_ANSWER: &str = "Connection closed early";

/// The request that a line of the log tells of, if it is about the namespace and at one of the stages.
pub fn request(line: &str, stages: &[&str], namespace: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    if !stages.contains(&text("/stage").as_str()) || text("/objectRef/namespace") != namespace {
        return None;
    }
    let subresource = text("/objectRef/subresource");
    let slash = if subresource.is_empty() { "" } else { "/" };
    let answered = text("/responseStatus/message") != NO_ANSWER;
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).filter(|_| answered);
    let impersonated = text("/impersonatedUser/username");
    Some(Request {
        verb: text("/verb"),
        group: text("/objectRef/apiGroup"),
        resource: format!("{}{slash}{subresource}", text("/objectRef/resource")),
        // A creation is sent to the collection; its name is in the object, and for some versions only there.
        namespace: namespace.to_owned(),
        name: text("/objectRef/name"),
        user: if impersonated.is_empty() { text("/user/username") } else { impersonated },
        code: code.unwrap_or(0),
        received: text("/requestReceivedTimestamp").parse().ok()?,
        sent: event.get("requestObject").cloned(),
        version: text("/responseObject/metadata/resourceVersion").parse().ok(),
    })
}
