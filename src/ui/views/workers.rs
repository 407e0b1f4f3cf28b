//! Where attempts run, and the operator's replicas.

use super::frame::Frame;
use super::mark::Mark;
use super::{Link, Look};
use crate::ui::query::{NO_NODE, Paging, Place, page_of};
use crate::ui::text::When;
use askama::Template;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// Nodes, and replicas.
#[derive(Template)]
#[template(path = "workers.html")]
pub struct WorkersPage {
    frame: Frame,
    nodes: Vec<Node>,
    paging: Paging,
    replicas: Vec<ReplicaRow>,
    /// Why no replicas are shown.
    no_replicas: Option<String>,
}

/// A replica of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its Pod.
    pub pod: String,
    /// The node that it runs on.
    pub node: String,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether the Lease names it. `None` if there is no Lease.
    pub leads: Option<bool>,
    /// How often its container was restarted.
    pub restarts: i32,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// Its image.
    pub image: String,
}

struct ReplicaRow {
    replica: Replica,
    mark: Mark,
    started: Option<When>,
}

#[derive(Default)]
struct Counts<'a> {
    running: usize,
    starting: usize,
    failures: usize,
    reasons: HashMap<&'a str, usize>,
}

struct Node {
    name: String,
    /// Attempts whose Pod has not ended.
    attempts: Option<Link>,
    /// Those of them that have not started.
    starting: usize,
    failures: Option<Link>,
    /// The most frequent reason of the failures.
    reason: String,
}

/// The page of nodes and replicas: busy nodes first.
pub fn workers(look: Look, replicas: Result<Vec<Replica>, String>) -> WorkersPage {
    let mut nodes: BTreeMap<&str, Counts> = BTreeMap::new();
    for (_, pod) in look.pods().filter(|(_, pod)| !pod.has_ended) {
        let counts = nodes.entry(pod.node.as_deref().unwrap_or(NO_NODE)).or_default();
        if pod.is_running {
            counts.running += 1;
        } else {
            counts.starting += 1;
        }
    }
    for failure in look.tasks().flat_map(|(_, task)| &task.failures) {
        if let Some(node) = failure.node.as_deref() {
            let counts = nodes.entry(node).or_default();
            counts.failures += 1;
            *counts.reasons.entry(&failure.cause.fingerprint.reason).or_default() += 1;
        }
    }
    let mut rows: Vec<(&str, Counts)> = nodes.into_iter().collect();
    rows.sort_by_key(|(name, counts)| (std::cmp::Reverse(counts.running + counts.starting), *name));
    let (rows, paging) = page_of(rows, look.query, Place::Workers);
    let (replicas, no_replicas) = match replicas {
        Ok(replicas) => (replicas, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    WorkersPage {
        frame: Frame::of(look, Place::Workers, "Workers"),
        nodes: rows.into_iter().map(|(name, counts)| node(look, name, counts)).collect(),
        paging,
        replicas: replicas.into_iter().map(|replica| replica_row(look, replica)).collect(),
        no_replicas,
    }
}

fn node(look: Look, name: &str, counts: Counts) -> Node {
    let Counts { running, starting, failures, reasons } = counts;
    let here = look.query.in_namespace().with(|query| query.node = Some(name.to_owned()));
    let most = reasons.into_iter().max_by_key(|(reason, number)| (*number, std::cmp::Reverse(*reason)));
    Node {
        name: node_text(name),
        attempts: Link::count(running + starting, &here, Place::Now),
        starting,
        failures: Link::count(failures, &here, Place::Errors),
        reason: most.map(|(reason, _)| reason.to_owned()).unwrap_or_default(),
    }
}

/// As people say it.
pub fn node_text(name: &str) -> String {
    if name == NO_NODE { "no node yet".into() } else { name.to_owned() }
}

fn replica_row(look: Look, replica: Replica) -> ReplicaRow {
    let mark = match replica.leads {
        Some(true) => Mark::LEADS,
        Some(false) if replica.is_ready => Mark::STANDS_BY,
        None if replica.is_ready => Mark::READY,
        Some(false) | None => Mark::NOT_READY,
    };
    ReplicaRow { mark, started: replica.started.map(|at| look.when(at)), replica }
}
