//! The operator on a real cluster: real API server, real kubelet, real containers, driven with kubectl.
//!
//! `make e2e` brings clusters up and runs all of it. By hand: `eval "$(tests/cluster/cluster env)"`, then
//! `cargo test --test e2e -- --test-threads=8`. Each test has a namespace and an operator process of its own.
//!
//! `tests/e2e/run` runs them in groups, by the module that a test is in:
//! - `alone`, at any depth: it stops parts of the cluster, or changes what others rest on. One at a time, on a second
//!   cluster.
//! - [`simulated`]: it needs simulated nodes. Side by side, when those elsewhere have ended.
//! - [`crowd`]: it fills the machine, and asks how much happens in a second. When all others have ended.
//! - Elsewhere: side by side. Most of a test's time is waiting.

// clippy.toml allows these in test functions; here the helpers are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::large_futures)]

mod admission;
mod after;
mod alone;
mod annotation_requests;
mod attempt_outcomes;
mod backoff_delays;
mod chart;
mod convert;
mod crowd;
mod deadlines;
mod deletion;
mod failure_rules;
mod fallback;
mod faults;
mod gitops;
mod hold_up;
mod hostile;
mod kubectl_columns;
mod kubectl_plugin;
mod kubelet_reports;
mod kueue;
mod leader_election;
mod memory_limit;
mod monitoring;
mod node_selection;
mod operator_killed;
#[path = "../oracle/mod.rs"]
mod oracle;
mod overrides_and_memory;
mod page;
mod pod_disruption;
mod pod_rejection;
mod policies;
mod probes_metrics_logs;
mod python_package;
mod queue;
mod retention_and_scope;
mod rights;
mod schedules;
mod simulated;
mod spec_changes;
mod start_at;
mod stop_pod;
mod support;
mod suspend;
mod termination_report;
mod write_count;
