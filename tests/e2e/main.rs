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

mod adapt;
mod admission;
mod alone;
mod chart;
mod columns;
mod corrected;
mod crash;
mod crowd;
mod delays;
mod deletion;
mod fallback;
mod faults;
mod hold_up;
mod hostile;
mod housekeeping;
mod interference;
mod leader;
mod limits;
mod nodes;
#[path = "../oracle/mod.rs"]
mod oracle;
mod outcomes;
mod probes;
mod rejected;
mod reported;
mod requests;
mod rights;
mod rules;
mod simulated;
mod stopped;
mod support;
mod suspend;
mod termination_report;
mod writes;
