//! Tasks of a `TaskQueue` start in its order, within its limits, and not while its service is down.
//!
//! All is recomputed from what was stored: slots from the tasks' statuses, verdicts from their histories, the circuit from the queue's
//! status. Nothing of the operator's own reckoning is used.
//!
//! - [`record`]: the trace's queues, and who held and awaited their slots when.
//! - [`slots`]: how many hold a slot, and who must.
//! - [`circuit`]: who starts while the circuit is open or half-open, or the queue is held.
//! - [`verdict`]: what the histories say of the service.
//! - [`order`]: who starts before whom, and when.
//! - [`progress`]: what can start does, and a circuit goes on.
//! - [`said`]: what a task says of its wait.

mod circuit;
mod order;
mod progress;
mod record;
mod said;
mod slots;
mod verdict;

use super::{Trace, Violation, record::TaskRecord};
use record::Queues;

/// Whether the task waits for a slot of its queue at the end: the rules on queues say whether it may.
pub use record::is_queued;

pub fn check(trace: &Trace, tasks: &[TaskRecord], violations: &mut Vec<Violation>) {
    let queues = Queues::of(trace, tasks);
    if queues.holds.is_empty() && queues.all.is_empty() {
        return;
    }
    slots::check(&queues, violations);
    circuit::check(&queues, violations);
    verdict::check(&queues, violations);
    order::check(&queues, violations);
    progress::check(&queues, violations);
    said::check(&queues, violations);
}
