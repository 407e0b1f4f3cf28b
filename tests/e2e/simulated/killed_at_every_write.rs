//! The operator killed at every write of a task of four attempts, before and after it is stored. The attempts run on
//! simulated nodes; `faults::faulty_writes` has a sample on the real one.

use crate::faults::faulty_writes::{Fault, Nodes, suffer};
use crate::support::cluster::Turn;
use crate::support::machine;
use crate::write_count::reports;
use futures::StreamExt;

/// Four attempts at no delay: one status before the first Pod, and for each attempt a Pod, a status that ends it and
/// starts the next, and the removal of its finalizer; for each that failed the deletion of its Pod.
const WRITES: usize = 1 + 4 * 3 + 3;
/// Namespaces side by side, each with its own operator.
const AT_A_TIME: usize = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_write_of_four_attempts() {
    machine::simulate_nodes();
    let turn = &Turn::shared();
    let cases = (0..=WRITES).flat_map(|at| [Fault::KilledBefore, Fault::KilledAfter].map(|fault| (at, fault)));
    let hits: Vec<_> = futures::stream::iter(cases)
        .map(|(at, fault)| async move {
            let versions = suffer(turn, Nodes::Simulated, at, fault).await;
            // A write that tells of a Pod that is slow to start comes on top.
            let hit = versions.is_some_and(|versions| at < WRITES || reports(&versions) == 0);
            eprintln!("write {at:2} {fault:?}: {}", if hit { "told as it was" } else { "there was no such write" });
            (at, fault, hit)
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let wrong: Vec<_> = hits.iter().filter(|(at, _, hit)| *hit != (*at < WRITES)).collect();
    assert!(wrong.is_empty(), "{WRITES} writes were to be hit and no other was to be there; not so: {wrong:?}");
}
