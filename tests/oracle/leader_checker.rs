//! Only the leader creates Pods, and the tasks of schedules.

use super::{Trace, Violation, Write};

/// A creation that is requested while another process has the Lease comes from a former leader that did not check it. A
/// creation that was requested in time may land later: that is the stated residual risk of invariant 2.
pub fn check(trace: &Trace, violations: &mut Vec<Violation>) {
    if trace.leaders.is_empty() {
        return;
    }
    let rule = |write: &Write| match (write.kind, &*write.verb) {
        ("Pod", "create") => Some("only a leader creates Pods"),
        ("RetryableTask", "create") => Some("only a leader creates runs"),
        _ => None,
    };
    for (write, rule) in trace.writes.iter().filter_map(|write| Some((write, rule(write)?))) {
        let held = trace.leaders.iter().rev().find(|(since, _)| *since <= write.called);
        let leader = held.and_then(|(_, leader)| *leader);
        if leader != Some(write.by) {
            let text = format!(
                "{} was requested at {:?} by process {}, while the leader was {leader:?}",
                write.object, write.called, write.by
            );
            violations.push(Violation::new(rule, text));
        }
    }
}
