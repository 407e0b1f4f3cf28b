//! A Kubernetes operator for work that must be retried.
//!
//! - [`api`]: the resource. Types, schema and admission rules.
//! - [`admission`]: validates a manifest as the API server does, without a cluster.
//! - [`core`]: the policy, without effects. It reads Pods, judges their ends, computes waits and decides what to do next.
//! - [`controller`]: the effects. Watches, the reconcile, leader election.
//! - [`convert`]: a task out of a Job or of an Argo Workflow of one step.
//! - [`plugin`]: what `kubectl retryable` shows and asks for, without effects.
//! - [`simulate`]: the schedule of a task, without a cluster: the same policy, on Pods whose ends are given.
//! - [`telemetry`]: logs, metrics, health.
//! - [`ui`]: the page that shows all of it in a browser.

pub mod admission;
pub mod api;
pub mod controller;
pub mod convert;
pub mod core;
pub mod plugin;
pub mod simulate;
pub mod telemetry;
pub mod ui;
