//! What must hold of a world at all times, and a world in one line.

use super::World;
use crate::api::State;
use crate::core::decide::{Cleanup, Plan, PodRef, STOP_DEADLINE_SECONDS, Settled, StatusWrite, is_finished, slot_of};

use crate::core::pod_snapshot::{PodSnapshot, Progress};
use crate::core::slot::Slot;
use crate::core::testing::at;
use jiff::SignedDuration;
use std::fmt::Write;

impl World {
    pub(super) fn check(&self, plan: &Plan) {
        match plan {
            Plan::WriteStatus(StatusWrite { status, .. }) => {
                assert_ne!(self.task.status.as_ref(), Some(&**status), "a write changes something");
            }
            Plan::CreatePod(slot) => self.check_creation(*slot),
            Plan::Settled(settled) => self.check_settled(settled),
            Plan::LookUpPod(_) | Plan::LookUpTasks(_) | Plan::ReadWarnings(_) | Plan::RefreshTask => {}
        }
    }

    fn check_creation(&self, slot: Slot) {
        let current = self.status().current.unwrap_or_default();
        let finished = is_finished(&self.status().conditions);
        assert_eq!((slot, finished), (slot_of(&current), false), "status before Pod");
        assert_eq!(current.pod_name, Some(self.name_of(slot)), "status before Pod");
        assert!(!self.task.spec.suspend && self.task.metadata.deletion_timestamp.is_none(), "it must not run");
        let asks = self.task.spec.queue.is_some() && !slot.fallback;
        assert_eq!(current.queue.is_some(), asks, "a Pod needs a slot");
        if let Some((due, end, seen_through)) = self.due {
            let by_the_wall = !seen_through && self.wall >= due;
            assert!(self.monotonic >= end || by_the_wall, "too early");
        }
    }

    fn check_settled(&self, settled: &Settled) {
        let Settled { stop, stale_pods, cleanup, delete_task, progress, queue, requeue } = settled;
        let idle = stop.is_none() && stale_pods.is_empty() && cleanup.is_empty() && !delete_task && progress.is_none();
        if idle {
            assert_ne!(requeue.soonest(), Some(SignedDuration::ZERO), "it would decide the same at once: {settled:?}");
        }
        let current = self.status().current.unwrap_or_default();
        let finished = is_finished(&self.status().conditions);
        if queue.is_some() {
            let may_start = !finished && !self.task.spec.suspend && !current.fallback;
            assert!(may_start && current.queue.is_none(), "it asks for a slot that it does not need: {settled:?}");
        }
        let leaving = self.task.metadata.deletion_timestamp.is_some();
        let open = slot_of(&current);
        let slot = |pod: &PodRef| self.process.cache.get(&pod.uid).unwrap().pod.slot();
        let is_closed = |pod: &PodRef| finished || slot(pod) < open;
        if let Some((pod, _)) = stop {
            let intended = current.stop_reason.is_some() && current.pod_uid.as_ref() == Some(&pod.uid);
            assert!(intended && slot(pod) == open, "intent before stop: {settled:?}");
        }
        let Cleanup { delete, remove_finalizer } = cleanup;
        assert!(stale_pods.iter().chain(delete).all(is_closed), "outcome before deletion: {settled:?}");
        let may_lose = |pod: &PodRef| is_closed(pod) || leaving;
        assert!(remove_finalizer.iter().all(may_lose), "outcome before the finalizer is removed: {settled:?}");
    }

    pub(super) fn check_status(&self) {
        let status = self.status();
        let closed = i32::try_from(status.history.len()).unwrap() + status.history_dropped;
        let current = status.current.clone().unwrap_or_default();
        let launched = i32::from(current.pod_name.is_some() && current.rejections == 0 && !current.fallback);
        assert_eq!(status.attempts, closed + launched, "{}", self.gist());
        let finished = is_finished(&status.conditions);
        assert_eq!(
            finished,
            matches!(status.state, Some(State::Succeeded | State::Failed | State::Cancelled)),
            "{}",
            self.gist()
        );
        assert_eq!(finished, status.current.is_none() && status.completion_time.is_some(), "{}", self.gist());
        assert!(finished || current.number == closed + i32::from(!current.fallback), "{}", self.gist());
        assert!(status.history.is_sorted_by(|a, b| a.attempt < b.attempt), "{:?}", status.history);
        assert_eq!(status.observed_generation, self.task.metadata.generation);
        let last = Slot { number: closed, fallback: finished };
        let unclosed = self.pods.values().filter_map(PodSnapshot::of).filter(|pod| pod.slot() > last);
        assert!(unclosed.count() <= 1, "one Pod at a time");
    }

    /// The world in one line: state, attempts/retries/ignored, next due, reason, conditions, Pods. Of a Pod: number,
    /// `f` if it is the fallback, Pending/Running/Ended, `!` if it is being deleted, `x` if it has the deadline that
    /// stops it, `-` if it is not held.
    pub fn gist(&self) -> String {
        let status = self.status();
        let state = status.state.map(|state| format!("{state:?}")).unwrap_or_default();
        let mut text = format!("{state} {}/{}/{}", status.attempts, status.retries, status.ignored);
        if let Some(due) = &status.next_retry_time {
            write!(text, " due {}", due.0.duration_since(at(0)).as_millis()).unwrap();
        }
        text.extend(status.reason.iter().map(|reason| format!(" {reason}")));
        let conditions: Vec<_> = status.conditions.iter().filter(|condition| condition.status == "True").collect();
        let conditions: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        if !conditions.is_empty() {
            write!(text, " [{}]", conditions.join(" ")).unwrap();
        }
        let mut pods: Vec<PodSnapshot> = self.pods.values().filter_map(PodSnapshot::of).collect();
        pods.sort_by_key(PodSnapshot::slot);
        for pod in pods {
            let letter = match pod.progress {
                Progress::Pending(_) => "P",
                Progress::Running => "R",
                Progress::MainContainerExited(_) => "O",
                Progress::Ended(_) => "E",
            };
            let deadline = if pod.active_deadline_seconds == Some(STOP_DEADLINE_SECONDS) { "x" } else { "" };
            let (deleting, free) = (if pod.deleting { "!" } else { "" }, if pod.has_finalizer { "" } else { "-" });
            let fallback = if pod.fallback { "f" } else { "" };
            write!(text, " {}{fallback}{letter}{deadline}{deleting}{free}", pod.number).unwrap();
        }
        text
    }
}
