//! Effects: watches, one reconcile (gather → decide → apply), events, leader election, Pods whose task is gone. No
//! policy lives here.
//!
//! - [`run`]: one scope (all namespaces, or one) from its watches to its reconciles.
//! - [`reconcile`]: the loop of decide and apply for one task.
//! - [`timers`] and [`lanes`]: when a task is looked at again, and which of those that are to be looked at go first.
//! - [`apply`]: the requests that a plan asks for, in fixed order.
//! - [`kept`], [`cache`] and [`memory`]: what the watches have shown of tasks and of Pods, and what this process remembers beyond it.
//! - [`orphans`] and [`release`]: Pods that must be freed from the finalizer because their task, or the operator, goes away.
//! - [`tell`]: Events, metrics and log lines.
//! - [`client`] and [`lease`]: the API server's client, and leader election.

pub mod apply;
pub mod cache;
pub mod client;
mod error;
pub mod kept;
pub mod lanes;
pub mod lease;
pub mod memory;
pub mod orphans;
pub mod reconcile;
pub mod release;
pub mod run;
#[cfg(test)]
mod scripted;
pub mod tell;
pub mod timers;
pub mod watch;

pub use error::Error;
pub use kept::Kept;

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
    pub fn reference(&self) -> ObjectRef<Kept> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_chart_gives_as_many_places_as_the_program_has_by_itself() {
        let values: serde_json::Value =
            serde_yaml_ng::from_str(include_str!("../../charts/retryable-tasks/values.yaml")).unwrap();
        assert_eq!(values["controller"]["concurrency"], super::CONCURRENCY);
    }
}
