//! How an attempt ended: which container decides, the reason, the message, the time.

use super::pod_status::{PodView, end, plain};
use super::{
    DEADLINE_EXCEEDED, DISRUPTION_TARGET, DeletionDeadline, FORCED_DELETION_BOUND, LOST_NODE_BOUND, Outcome,
    PastDeadline, TERMINATION_TARGET,
};
use crate::api::EndReason;
use crate::core::known_reasons::OOM_KILLED;
use crate::core::message;
use crate::core::termination_report::termination_report;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, PodCondition, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The reason of a container of which the kubelet lost track.
const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";

impl<'a> PodView<'a> {
    pub(super) fn outcome(&self) -> Outcome {
        let never_started = self.never_ran();
        // For a container that never ran the kubelet writes an end without meaning.
        let decisive = self.decisive().filter(|_| !never_started);
        let terminated = decisive.map(|(_, terminated)| terminated);
        let disruption = self.disruption();
        let succeeded = self.succeeded();
        let raw = terminated.and_then(|terminated| terminated.message.as_deref()).unwrap_or_default();
        let mut report = termination_report(raw, self.containers());
        let is_log = !report.is_report;
        let raw = message::full(raw);
        let (text, raw_report) = match report.message.take() {
            Some(message) => (Some(message), raw),
            None => (raw, None),
        };
        let text = match (report.unread.take(), text) {
            (Some(unread), Some(text)) if raw_report.is_some() => Some(format!("{text}\n{unread}")),
            (Some(unread), Some(text)) => Some(format!("{unread}\n{text}")),
            (unread, text) => unread.or(text),
        };
        let of_pod = self.pod_message();
        let (cause, of_pod) = if self.has_reason(succeeded) { (of_pod, None) } else { (None, of_pod) };
        Outcome {
            succeeded,
            container: decisive.and_then(|(name, _)| plain(Some(name))),
            exit_code: terminated.map(|terminated| terminated.exit_code),
            signal: terminated.and_then(signal),
            reason: if succeeded { self.success_reason() } else { self.failure_reason() },
            cause,
            is_log: is_log && text.is_some(),
            message: text.or(of_pod),
            raw_report,
            report,
            started: terminated.and_then(|terminated| self.at(terminated.started_at.as_ref())),
            finished: self.finish_time(),
            disrupted: disruption.is_some(),
            conditions: self.true_conditions(),
            never_started,
            stopped: false,
            past_deadline: self.past_deadline(),
        }
    }

    /// The end that decides: that of the container that failed first, else the main container's, else that of an init
    /// container that failed.
    fn decisive(&self) -> Option<(&'a str, &'a ContainerStateTerminated)> {
        let deciding = self.deciding().into_iter().flatten().filter_map(end);
        let failed = deciding.filter(|(_, terminated)| terminated.exit_code != 0);
        let time =
            |(_, end): &(&str, &ContainerStateTerminated)| end.finished_at.as_ref().map_or(Timestamp::MAX, |t| t.0);
        let failed_init = || {
            let ends = self.init_statuses().filter_map(end);
            ends.into_iter().find(|(name, end)| end.exit_code != 0 && !self.is_native_sidecar(name))
        };
        failed.min_by_key(time).or_else(|| self.status_of(self.main_name()).and_then(end)).or_else(failed_init)
    }

    /// Whether the containers' ends already decide the outcome.
    pub(super) fn is_decided(&self) -> bool {
        let ends: Vec<_> = self.deciding().into_iter().map(|status| status.and_then(end)).collect();
        ends.iter().all(Option::is_some) || ends.iter().flatten().any(|(_, end)| end.exit_code != 0)
    }

    /// Whether the reason of a failure is that of the Pod or of its disruption.
    fn has_reason(&self, succeeded: bool) -> bool {
        let disruption = self.disruption().and_then(|condition| condition.reason.as_deref());
        !succeeded && (plain(self.status.reason.as_deref()).is_some() || plain(disruption).is_some())
    }

    fn disruption(&self) -> Option<&'a PodCondition> {
        let is_true = |type_| self.condition(type_).filter(|condition| condition.status == "True");
        is_true(DISRUPTION_TARGET).or_else(|| is_true(TERMINATION_TARGET))
    }

    /// The message of the Pod, else of its disruption.
    fn pod_message(&self) -> Option<String> {
        let disruption = self.disruption().and_then(|condition| condition.message.as_deref());
        self.status.message.as_deref().and_then(message::full).or_else(|| disruption.and_then(message::full))
    }

    /// How many containers share the space for termination messages.
    fn containers(&self) -> usize {
        let PodSpec { containers, init_containers, ephemeral_containers, .. } = self.spec;
        containers.len()
            + init_containers.as_ref().map_or(0, Vec::len)
            + ephemeral_containers.as_ref().map_or(0, Vec::len)
    }

    /// Whether the Pod failed before any of its containers ran: the kubelet rejected or abandoned it. A Pod that was
    /// deleted first failed because of that, and does not count.
    fn never_ran(&self) -> bool {
        let failed = self.status.phase.as_deref() == Some("Failed");
        let only_deleted =
            self.pod.metadata.deletion_timestamp.is_some() && plain(self.status.reason.as_deref()).is_none();
        failed && !only_deleted && !self.all_statuses().any(was_made)
    }

    fn past_deadline(&self) -> Option<Box<PastDeadline>> {
        let PodStatus { phase, reason, .. } = self.status;
        if (phase.as_deref(), reason.as_deref()) != (Some("Failed"), Some(DEADLINE_EXCEEDED)) {
            return None;
        }
        let status = PodStatus { reason: None, message: None, ..self.status.clone() };
        let outcome = PodView { pod: self.pod, spec: self.spec, status: &status }.outcome();
        Some(Box::new(PastDeadline { seconds: self.spec.active_deadline_seconds, outcome }))
    }

    /// When the operator abandons a Pod that is being deleted: after its grace period and the time that a healthy node
    /// needs to report its end.
    pub(super) fn deletion_deadline(&self) -> Option<Box<DeletionDeadline>> {
        let deadline = self.pod.metadata.deletion_timestamp.as_ref()?.0;
        let forced = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        let bound = if forced { FORCED_DELETION_BOUND } else { LOST_NODE_BOUND };
        let grace = SignedDuration::from_secs(self.pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0));
        let at = plus(deadline, bound);
        let deletion_deadline = |outcome| Some(Box::new(DeletionDeadline { at, grace, bound, outcome }));
        let outcome = self.outcome();
        if self.is_decided() {
            return deletion_deadline(outcome);
        }
        let reason =
            if forced || outcome.disrupted { outcome.reason.clone() } else { EndReason::NodeLost.as_str().into() };
        let unreported = || Some("the Pod was deleted, and its node has not reported its end".into());
        let message = outcome.message.clone().or_else(|| if outcome.cause.is_none() { unreported() } else { None });
        deletion_deadline(Outcome { succeeded: false, reason, message, finished: at, ..outcome })
    }

    /// Whether every container that decides exited with 0. It is no success if the kubelet failed the whole Pod while
    /// they ran (eviction, the Pod's own deadline): containers often exit with 0 on SIGTERM before their work is done.
    fn succeeded(&self) -> bool {
        let ends: Option<Vec<_>> = self.deciding().into_iter().map(|status| status.and_then(end)).collect();
        let Some(ends) = ends else { return false };
        let pod_failed = self.status.phase.as_deref() == Some("Failed")
            && self.status.reason.as_deref().is_some_and(|reason| !reason.is_empty());
        let ended_before = || {
            let disruption = self.condition(DISRUPTION_TARGET).and_then(|c| c.last_transition_time.as_ref());
            let is_before = |finished: &Time| disruption.is_some_and(|disrupted| finished.0 < disrupted.0);
            ends.iter().all(|(_, end)| end.finished_at.as_ref().is_some_and(is_before))
        };
        ends.iter().all(|(_, end)| end.exit_code == 0) && (!pod_failed || ended_before())
    }

    /// A container that exits with 0 succeeded, even if one of its processes ran out of memory. The reason shows it.
    fn success_reason(&self) -> String {
        let mut ends = self.deciding().into_iter().flatten().filter_map(end);
        let ran_out = ends.any(|(_, end)| end.reason.as_deref() == Some(OOM_KILLED));
        if ran_out { OOM_KILLED } else { EndReason::Completed.as_str() }.into()
    }

    fn failure_reason(&self) -> String {
        let disruption = self.disruption();
        let container = self.decisive().and_then(|(_, terminated)| terminated.reason.as_deref());
        let own = plain(self.status.reason.as_deref());
        // `DeadlineExceeded` is the reason of the task's own deadline.
        own.map(
            |reason| if reason == "DeadlineExceeded" { EndReason::PodDeadlineExceeded.as_str().into() } else { reason },
        )
        .or_else(|| plain(disruption.and_then(|c| c.reason.as_deref())))
        .or_else(|| plain(container).filter(|reason| !is_vague(reason) || !self.was_killed_by_deletion()))
        .unwrap_or_else(|| {
            let is_deleted = self.pod.metadata.deletion_timestamp.is_some();
            if is_deleted { EndReason::PodDeleted } else { EndReason::Error }.as_str().into()
        })
    }

    /// Whether the Pod was deleted, and the kubelet's SIGTERM or SIGKILL then ended its container.
    fn was_killed_by_deletion(&self) -> bool {
        let killed = self.decisive().and_then(|(_, terminated)| signal(terminated)).is_some_and(|n| n == 9 || n == 15);
        let finished = self.decisive().and_then(|(_, terminated)| terminated.finished_at.as_ref());
        let deleted = self.killing_began();
        killed && deleted.is_some_and(|deleted| finished.is_none_or(|finished| finished.0 >= deleted))
    }

    /// The earliest time at which the kubelet may have sent the signal. A second deletion with a grace period of 0
    /// hides when the first one began.
    fn killing_began(&self) -> Option<Timestamp> {
        let began = self.deletion_began()?;
        let hidden = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        let grace = self.spec.termination_grace_period_seconds.filter(|_| hidden).unwrap_or(0);
        Some(plus(began, SignedDuration::from_secs(grace.saturating_neg())))
    }

    fn deletion_began(&self) -> Option<Timestamp> {
        let deadline = self.pod.metadata.deletion_timestamp.as_ref()?;
        let grace = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        Some(plus(deadline.0, SignedDuration::from_secs(grace.saturating_neg())))
    }

    /// The finish time, as the Job controller computes it: the latest end of a container, else when the Pod stopped
    /// being ready or its deletion began, else its creation.
    fn finish_time(&self) -> Timestamp {
        let ended = |status: &'a ContainerStatus| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref();
        let containers = self.all_statuses().filter_map(|status| self.at(ended(status))).max();
        let unready = self
            .condition("Ready")
            .filter(|c| c.status == "False")
            .and_then(|c| self.at(c.last_transition_time.as_ref()));
        containers.or(unready.max(self.deletion_began())).unwrap_or(self.created())
    }

    fn true_conditions(&self) -> Vec<String> {
        let all = self.status.conditions.iter().flatten();
        all.filter(|condition| condition.status == "True").map(|condition| condition.type_.clone()).collect()
    }
}

/// Whether the runtime ever created the container. If the kubelet cannot find a container when the Pod ends, it makes
/// up an end for it. It adds a last state only if it had seen the container run.
fn was_made(status: &ContainerStatus) -> bool {
    let known = |state: &ContainerState| {
        let ended = state.terminated.as_ref();
        let invented =
            |end: &ContainerStateTerminated| end.reason.as_deref() == Some(STATUS_UNKNOWN) && end.started_at.is_none();
        state.running.is_some() || ended.is_some_and(|end| !invented(end))
    };
    let has_id = status.container_id.as_deref().is_some_and(|id| !id.is_empty());
    let has_run_before = status.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    has_id || has_run_before || status.state.as_ref().is_some_and(known)
}

/// The reasons of a container that was killed, or of which the kubelet lost track meanwhile: they do not say why.
fn is_vague(reason: &str) -> bool {
    matches!(reason, "Error" | STATUS_UNKNOWN)
}

/// The signal that ended the container. Shells and runtimes report it as exit code 128 + n; Linux has signals up to 64.
fn signal(terminated: &ContainerStateTerminated) -> Option<i32> {
    let reported = terminated.signal.filter(|signal| *signal > 0);
    reported.or_else(|| terminated.exit_code.checked_sub(128).filter(|signal| (1..=64).contains(signal)))
}
