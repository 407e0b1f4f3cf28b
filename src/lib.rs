//! A Kubernetes operator for work that must be retried.
//!
//! - [`api`]: what users write and read. Types, schema and admission rules.
//! - [`admission`]: what the API server says of a manifest, without one.
//! - [`core`]: pure decisions. What a Pod says, what its end means, how long to wait, what to do next.
//! - [`controller`]: effects. Watches, the reconcile, leader election.
//! - [`simulate`]: what would become of a task: the same decisions, on Pods whose ends are given.
//! - [`telemetry`]: logs, metrics, health.

pub mod admission;
pub mod api;
pub mod controller;
pub mod core;
pub mod simulate;
pub mod telemetry;
