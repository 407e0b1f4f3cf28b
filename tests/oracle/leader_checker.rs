//! Who leads may create, and nobody else.

use super::{Trace, Violation};

/// A creation that is asked for when another process has the Lease comes from a leader that woke up late and did not
/// look. One that was asked for in time may still land later: that is the stated residual of invariant 2.
pub fn check(trace: &Trace, found: &mut Vec<Violation>) {
    if trace.leaders.is_empty() {
        return;
    }
    for write in trace.writes.iter().filter(|write| write.kind == "Pod" && write.verb == "create") {
        let held = trace.leaders.iter().rev().find(|(since, _)| *since <= write.called);
        let leader = held.and_then(|(_, leader)| *leader);
        if leader != Some(write.by) {
            let text = format!(
                "{} was asked for at {:?} by process {}, when the leader was {leader:?}",
                write.object, write.called, write.by
            );
            found.push(Violation::new("only a leader creates Pods", text));
        }
    }
}
