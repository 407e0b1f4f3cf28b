//! What a controller needs from outside.

use crate::telemetry::Telemetry;
use jiff::Timestamp;
use kube::Client;
use std::sync::Arc;

/// The wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Whether this process may write now. Called right before each Pod is created and each status is written.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// How many tasks are reconciled at a time by default.
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
    /// The operator's namespace. Attempts in it get no finalizer: if the namespace is deleted, the operator ends before it
    /// could remove them.
    pub own_namespace: Option<String>,
    /// How many tasks are reconciled at a time, and beside them up to four times that number that are due.
    pub concurrency: u16,
    /// The `ttlSecondsAfterFinished` of new tasks whose spec has none, in seconds from 0.
    pub default_ttl_seconds: Option<i32>,
    /// The name that Events carry as their reporting instance.
    pub identity: String,
}
