//! The effects: watches, requests, Events, leader election. No policy: [`core`](crate::core) decides.
//!
//! - [`main_loop`]: one scope (all namespaces, or one), from its watches to its reconciles.
//! - [`work_queue`]: which task is reconciled next, by priority, now or after a delay.
//! - [`reconcile`]: one reconcile of one task: decide, act, decide again.
//! - [`task_api`]: the requests that concern one task and its Pods.
//! - [`context`]: what the reconciles of one controller share.
//! - [`task_cache`] and [`pod_cache`]: what the watches have shown. [`process_state`]: what this process knows beyond it.
//! - [`queues`]: which attempts may start, where tasks share a TaskQueue.
//! - [`finished_tasks`]: when a finished task is at rest, and when its time to live is over.
//! - [`orphaned_pods`]: removes the finalizer from Pods whose task is deleted. [`remove_finalizers`]: from all Pods, before
//!   an uninstall.
//! - [`schedules`]: the controller of schedules.
//! - [`report`]: log lines, metrics and Events.
//! - [`client`]: what holds for all requests. [`leader_election`]: leader election.

pub mod client;
pub mod context;
pub mod dependents;
mod error;
mod finalizer;
pub mod finished_tasks;
pub mod leader_election;
pub mod main_loop;
pub mod orphaned_pods;
pub mod pod_cache;
pub mod process_state;
pub mod queues;
pub mod reconcile;
pub mod remove_finalizers;
pub mod report;
pub mod schedules;
#[cfg(test)]
mod scripted_server;
mod settings;
pub mod task_api;
pub mod task_cache;
mod task_key;
pub mod watch;
pub mod work_queue;

pub use error::Error;
pub use settings::{CONCURRENCY, Clock, MayWrite, Settings};
pub use task_cache::CachedTask;
pub use task_key::TaskKey;

#[cfg(test)]
mod tests;
