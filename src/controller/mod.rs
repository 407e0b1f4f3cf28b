//! Effects: watches, one reconcile (gather → decide → apply), events, leader election, Pods whose task is gone. No
//! policy lives here.
//!
//! - [`main_loop`]: one scope (all namespaces, or one) from its watches to its reconciles.
//! - [`reconcile`]: the loop of decide and apply for one task.
//! - [`work_queue`]: which task is reconciled next, by priority, now or after a delay.
//! - [`apply`]: the requests that a plan asks for, in fixed order.
//! - [`task_cache`], [`pod_cache`] and [`process_state`]: what the watches have shown of tasks and of Pods, and what this process remembers beyond it.
//! - [`orphaned_pods`] and [`remove_finalizers`]: Pods that must be freed from the finalizer because their task, or the operator, goes away.
//! - [`report`]: Events, metrics and log lines.
//! - [`client`] and [`lease`]: the API server's client, and leader election.

pub mod apply;
pub mod client;
mod error;
pub mod lease;
pub mod main_loop;
pub mod orphaned_pods;
pub mod pod_cache;
pub mod process_state;
pub mod reconcile;
pub mod remove_finalizers;
pub mod report;
#[cfg(test)]
mod scripted_server;
pub mod task_cache;
pub mod watch;
pub mod work_queue;

pub use error::Error;
pub use task_cache::CachedTask;

use crate::telemetry::Telemetry;
use jiff::Timestamp;
use kube::Client;
use kube_runtime::reflector::ObjectRef;
use std::fmt;
use std::sync::Arc;

/// The wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Whether this process may write now. Asked right before every creation of a Pod and every write of a status.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// How many tasks are reconciled at a time unless told otherwise.
pub const CONCURRENCY: u16 = 64;

/// What a controller needs from outside.
#[derive(Clone)]
pub struct Settings {
    /// The client of the API server.
    pub client: Client,
    /// Metrics and health.
    pub telemetry: Arc<Telemetry>,
    /// The wall clock.
    pub clock: Clock,
    /// Whether this process leads.
    pub may_write: MayWrite,
    /// The namespace that the operator runs in. Its Pods get no finalizer: the namespace's end would take the operator
    /// first.
    pub own_namespace: Option<String>,
    /// How many tasks are reconciled at a time, and beside them up to four times that number that are due.
    pub concurrency: u16,
    /// The name that Events carry as their reporting instance.
    pub identity: String,
}

/// A task's place: the key of everything that is kept by task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl TaskKey {
    /// The reference that the store knows the task by.
    pub fn reference(&self) -> ObjectRef<CachedTask> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
