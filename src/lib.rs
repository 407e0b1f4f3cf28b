//! A Kubernetes operator for work that must be retried.

pub mod api;
pub mod core;
