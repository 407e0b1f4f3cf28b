//! Deterministic simulation: the operator against an API server in memory. All faults are drawn from one seed.
//!
//! - [`determinism`], [`random`], [`clock`], [`process`]: the same seed gives the same run; processes can be killed or
//!   stopped at any step.
//! - [`server`] and [`faults`]: the API server, and the faults between it and its clients.
//! - [`cluster`]: the scheduler, the kubelets, the Pod garbage collector, and users who disrupt Pods.
//! - [`world`]: one run with all of this, the operator and its users.
//! - [`oracle`]: the rules that every run must keep, here and on the real cluster.
//! - [`schedules`]: the test that runs many worlds, and the replay of one.
//! - [`model`]: tests of the simulated server and cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // it is all test code

mod clock;
mod cluster;
mod determinism;
mod faults;
mod model;
#[path = "../oracle/mod.rs"]
mod oracle;
mod process;
mod random;
mod schedules;
mod server;
mod world;

/// Worlds allocate many small JSON values. With the system's allocator that takes a fifth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
