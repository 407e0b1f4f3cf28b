//! What the status says in short: state, message, conditions.

use super::draft::Draft;
use super::situation::Transition;
use crate::api::{ANNOTATION_RESUME, ConditionReason, ConditionType, ScheduleState};
use crate::core::condition_list;

/// Sets state, message and conditions. `problem` is what is wrong with the spec.
pub(super) fn set(draft: &mut Draft, problem: Option<&str>) {
    let suspended = draft.situation.schedule.spec.suspend;
    let paused = draft.is_paused().then(|| paused_message(draft));
    let blocked = blocked_message(draft);
    let stalled = stalled(draft, problem);
    let said = |text: &Option<String>| text.clone();
    condition(
        draft,
        ConditionType::Suspended,
        suspended.then(|| (ConditionReason::Suspended, "spec.suspend is true".into())),
    );
    condition(draft, ConditionType::Paused, said(&paused).map(|text| (ConditionReason::TooManyFailures, text)));
    condition(draft, ConditionType::Blocked, said(&blocked).map(|text| (ConditionReason::RunActive, text)));
    condition(draft, ConditionType::Stalled, stalled.clone());
    let state = match (&stalled, suspended, &paused) {
        (Some(_), ..) => ScheduleState::Stalled,
        (None, true, _) => ScheduleState::Suspended,
        (None, false, Some(_)) => ScheduleState::Paused,
        (None, false, None) => ScheduleState::Scheduled,
    };
    draft.status.state = Some(state);
    draft.status.active = i32::try_from(draft.status.runs.len()).unwrap_or(i32::MAX);
    if draft.is_stopped() || problem.is_some() {
        draft.status.next_schedule_time = None;
    }
    draft.status.message = stalled.map(|(_, message)| message).or(paused).or(blocked);
}

fn paused_message(draft: &Draft) -> String {
    let count = draft.status.consecutive_failures;
    format!(
        "runs that failed in a row: {count} (pauseAfterFailures): no time starts a run until the schedule is annotated \
         with {ANNOTATION_RESUME}, or a run succeeds"
    )
}

fn blocked_message(draft: &Draft) -> Option<String> {
    let count = draft.status.skipped.overlap_in_a_row;
    let active = draft.status.runs.first().filter(|_| count > 0)?;
    Some(format!("times skipped in a row: {count}, because {} has not ended", active.name))
}

fn stalled(draft: &Draft, problem: Option<&str>) -> Option<(ConditionReason, String)> {
    let rejected = || {
        let rejected = draft.situation.lookups.rejected.as_ref()?;
        let planned = draft.status.creating.as_ref().filter(|planned| planned.name == rejected.name)?;
        let text = format!("the task {} cannot be created: {}", planned.name, rejected.message);
        Some((ConditionReason::TaskRejected, text))
    };
    problem.map(|problem| (ConditionReason::InvalidSpec, problem.to_owned())).or_else(rejected)
}

/// Sets the condition, or ends it. One that begins is reported.
fn condition(draft: &mut Draft, type_: ConditionType, is: Option<(ConditionReason, String)>) {
    let at = (draft.situation.now, draft.situation.schedule.metadata.generation);
    let old = condition_list::find(&draft.status.conditions, type_);
    let Some((reason, message)) = is else {
        // When it ended is when the times began to count again.
        let ended = match type_ {
            ConditionType::Suspended => old.and(Some("spec.suspend is false")),
            ConditionType::Paused => old.and(Some("the pause has ended")),
            _ => None,
        };
        let conditions = &mut draft.status.conditions;
        match ended {
            Some(message) => condition_list::set(conditions, (type_, false), ConditionReason::Resumed, message, at),
            None => condition_list::remove(conditions, type_),
        }
        return;
    };
    let begins = old.is_none_or(|old| old.reason != reason.as_str());
    condition_list::set(&mut draft.status.conditions, (type_, true), reason, &message, at);
    match type_ {
        ConditionType::Paused if begins => draft.transitions.push(Transition::Paused { message }),
        ConditionType::Stalled if begins => draft.transitions.push(Transition::Stalled { reason, message }),
        _ => {}
    }
}
