//! Reports the transitions of a stored status: log lines, metrics, Events.

use super::Context;
use crate::api::{EventReason, RunCause, ScheduleState, TaskSchedule};
use crate::core::message::short;
use crate::core::schedule::{RunResult, Skip, Transition, success_due};
use crate::telemetry::metrics::{ScheduleGauges, SkipReason};
use jiff::SignedDuration;
use kube::{Resource, ResourceExt};
use kube_runtime::events::{Event, EventType};
use std::time::Duration;

/// Most bytes of an Event's note (events.k8s.io/v1).
const MAX_NOTE_BYTES: usize = 1000;

/// Reports the transitions of a schedule.
pub(super) fn report(context: &Context, schedule: &TaskSchedule, transitions: Vec<Transition>) {
    for transition in transitions {
        count(context, schedule, &transition);
        let Some((type_, reason, note)) = event(transition) else { continue };
        tracing::info!(reason, note, "schedule");
        let note = Some(short(&note, MAX_NOTE_BYTES));
        let event = Event { type_, reason: reason.into(), note, action: "Reconcile".into(), secondary: None };
        context.reporter.send(event, schedule.object_ref(&()));
    }
}

/// Shows how the schedule is.
pub(super) fn measure(context: &Context, schedule: &TaskSchedule) {
    let Some(status) = &schedule.status else { return };
    let gauges = ScheduleGauges {
        state: status.state.map(ScheduleState::as_str).unwrap_or_default(),
        next: status.next_schedule_time.as_ref().map(|time| time.0.as_second()),
        last_success: status.last_success_time.as_ref().map(|time| time.0.as_second()),
        success_due: success_due(schedule).map(jiff::Timestamp::as_second),
        consecutive_failures: status.consecutive_failures,
    };
    let metrics = context.settings.telemetry.metrics.schedules();
    metrics.set(&schedule.namespace().unwrap_or_default(), &schedule.name_any(), gauges);
}

fn count(context: &Context, schedule: &TaskSchedule, transition: &Transition) {
    let metrics = context.settings.telemetry.metrics.schedules();
    let (namespace, name) = (schedule.namespace().unwrap_or_default(), schedule.name_any());
    match transition {
        Transition::Started { cause, late, .. } => {
            let late = Some(Duration::try_from(*late).unwrap_or_default()).filter(|_| *cause == RunCause::Schedule);
            metrics.started(&namespace, &name, cause.as_str(), late);
        }
        Transition::Skipped { why, count, .. } => {
            let why = match why {
                Skip::Overlap => SkipReason::Overlap,
                Skip::Missed => SkipReason::Missed,
                Skip::Rejected => SkipReason::Rejected,
            };
            metrics.skipped(&namespace, &name, why, u64::try_from(*count).unwrap_or(0));
        }
        Transition::Ended { .. }
        | Transition::Paused { .. }
        | Transition::Stalled { .. }
        | Transition::Acknowledged { .. }
        | Transition::UnknownAnnotation { .. }
        | Transition::BackfillFinished { .. } => {}
    }
}

/// The Event of a transition, if any: type, reason, note.
fn event(transition: Transition) -> Option<(EventType, &'static str, String)> {
    Some(match transition {
        Transition::Started { name, cause, time, late } => {
            let late = if late >= SignedDuration::from_secs(10) {
                format!(", {} late", crate::core::time::human(late))
            } else {
                String::new()
            };
            let time = time.map(|time| format!(" for {time}")).unwrap_or_default();
            let note = format!("created the task {name}{time} ({}){late}", cause.as_str());
            (EventType::Normal, EventReason::RunStarted.as_str(), note)
        }
        Transition::Ended { name, result: Some(RunResult::Failed) } => {
            (EventType::Warning, EventReason::RunFailed.as_str(), format!("the task {name} has failed"))
        }
        Transition::Ended { .. } => return None,
        Transition::Skipped { message, .. } => (EventType::Warning, EventReason::RunSkipped.as_str(), message),
        Transition::Paused { message } => (EventType::Warning, "Paused", message),
        Transition::Stalled { reason, message } => (EventType::Warning, reason.as_str(), message),
        Transition::Acknowledged { request, effect } => (EventType::Normal, request.as_str(), effect),
        Transition::UnknownAnnotation { effect } => {
            (EventType::Warning, EventReason::UnknownAnnotation.as_str(), effect)
        }
        Transition::BackfillFinished { message } => {
            (EventType::Normal, EventReason::BackfillFinished.as_str(), message)
        }
    })
}
