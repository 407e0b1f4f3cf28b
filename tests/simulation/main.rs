//! Deterministic simulation: the operator against an API server in memory, with everything that can go wrong drawn from
//! one seed.
//!
//! - [`determinism`], [`random`], [`clock`], [`process`]: one seed, one run; processes that can be killed or stopped at any step.
//! - [`server`] and [`faults`]: the API server, and what goes wrong between it and its clients.
//! - [`cluster`]: the scheduler, the kubelets, the Pod collector, people who meddle with Pods.
//! - [`world`]: all of it together with the operator itself, its users and its misfortunes.
//! - [`oracle`]: what must hold of every run, there and on the real cluster.
//! - [`schedules`]: the test, and how to replay a failure.
//! - [`model`]: tests of the server and the cluster themselves.
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

/// Worlds are made of small JSON values: the system's allocator takes a fifth of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
