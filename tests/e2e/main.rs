//! The operator on a real cluster: real API server, real kubelet, real containers, driven with kubectl.
//!
//! `make e2e` brings the cluster up and runs all of it. By hand: `eval "$(tests/cluster/cluster env)"`, then
//! `cargo test --test e2e -- --test-threads=8`. Most of a test's time is waiting, so many run side by side; each has a
//! namespace and an operator process of its own.

// clippy.toml allows these in test functions; here the helpers are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::large_futures)]

mod adapt;
mod admission;
mod alone;
mod chart;
mod columns;
mod corrected;
mod crash;
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
mod stopped;
mod support;
mod suspend;
mod termination_report;
mod writes;
