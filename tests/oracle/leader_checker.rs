//! Only the leader creates Pods.

use super::{Trace, Violation};

/// A creation that is requested while another process has the Lease comes from a former leader that did not check it. A
/// creation that was requested in time may land later: that is the stated residual risk of invariant 2.
pub fn check(trace: &Trace, violations: &mut Vec<Violation>) {
    if trace.leaders.is_empty() {
        return;
    }
    for write in trace.writes.iter().filter(|write| write.kind == "Pod" && write.verb == "create") {
        let held = trace.leaders.iter().rev().find(|(since, _)| *since <= write.called);
        let leader = held.and_then(|(_, leader)| *leader);
        if leader != Some(write.by) {
            let text = format!(
                "{} was requested at {:?} by process {}, while the leader was {leader:?}",
                write.object, write.called, write.by
            );
            violations.push(Violation::new("only a leader creates Pods", text));
        }
    }
}
