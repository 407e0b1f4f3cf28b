//! Requests by annotation of a schedule. A value is acknowledged once; another value is another request.

use super::draft::Draft;
use super::due::between;
use super::interval;
use super::rejected::{backfill_in_doubt, give_up_rejected, last_rejection};
use super::situation::Transition;
use super::task::{patched, triggered_name};
use super::times::left_behind;
use super::timetable::Timetable;
use crate::api::{
    ANNOTATION_BACKFILL, ANNOTATION_RESUME, ANNOTATION_TRIGGER, Acknowledged, Backfill, Overlap, PlannedRun,
    RetryableTaskSpec, RunCause,
};
use crate::core::message::{MAX_WORD_BYTES, short};
use crate::core::{annotations, hash, validate};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::Value;

/// Most times of one backfill.
const MAX_BACKFILL: usize = 1000;
/// Most bytes of the changes that a trigger asks for.
const MAX_PATCH_BYTES: usize = 8192;
/// Most runs that wait for a trigger's turn.
const MAX_TRIGGERS: usize = 10;

/// What an annotation of a schedule can request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Start a run now.
    Trigger,
    /// End the pause after failures.
    Resume,
    /// Start the times of an interval that has passed.
    Backfill,
}

impl Request {
    const ALL: [Self; 3] = [Self::Trigger, Self::Resume, Self::Backfill];

    /// The annotation that asks for it.
    pub const fn annotation(self) -> &'static str {
        match self {
            Self::Trigger => ANNOTATION_TRIGGER,
            Self::Resume => ANNOTATION_RESUME,
            Self::Backfill => ANNOTATION_BACKFILL,
        }
    }

    /// Its word in Events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "Trigger",
            Self::Resume => "Resume",
            Self::Backfill => "Backfill",
        }
    }
}

/// Takes up all requests.
pub(super) fn take_up(draft: &mut Draft, timetable: &Timetable) {
    for request in Request::ALL {
        let Some((value, key)) = pending(draft, request) else { continue };
        let effect = match request {
            Request::Trigger => trigger(draft, &value),
            Request::Resume => resume(draft),
            Request::Backfill => backfill(draft, timetable, &value),
        };
        acknowledge(draft, request, key, effect);
    }
    unknown(draft);
}

/// The value of a request that has not been acknowledged, and what is stored of it.
fn pending(draft: &Draft, request: Request) -> Option<(String, String)> {
    let value = draft.situation.schedule.metadata.annotations.as_ref()?.get(request.annotation())?;
    let key = acknowledged_as(value);
    let known = draft.status.acknowledged.iter().find(|known| known.annotation == request.annotation());
    known.is_none_or(|known| known.value != key).then(|| (value.clone(), key))
}

/// What is stored of the value of a request: a long one is told from others by a hash.
pub fn acknowledged_as(value: &str) -> String {
    if value.len() <= MAX_WORD_BYTES {
        return value.to_owned();
    }
    format!("{} #{}", short(value, 100), hash::name(value, 10))
}

fn acknowledge(draft: &mut Draft, request: Request, value: String, effect: String) {
    let annotation: String = request.annotation().into();
    draft.status.acknowledged.retain(|known| known.annotation != annotation);
    let time = Time(draft.situation.now);
    draft.status.acknowledged.push(Acknowledged { annotation, value, time, effect: effect.clone() });
    draft.transitions.push(Transition::Acknowledged { request, effect });
}

fn trigger(draft: &mut Draft, value: &str) -> String {
    let schedule = draft.situation.schedule;
    let patch = match patch_of(value, &schedule.spec.template.spec) {
        Ok(patch) => patch,
        Err(problem) => return format!("no effect: {problem}"),
    };
    // One that has no effect leaves what was refused to be tried again.
    if schedule.spec.overlap != Overlap::Skip || draft.status.runs.is_empty() && draft.status.waiting.is_empty() {
        give_up_rejected(draft, "request");
    }
    let first = draft.unfinished().next().map(|(name, _)| name.to_owned());
    if let (Overlap::Skip, Some(active)) = (schedule.spec.overlap, &first) {
        return match last_rejection(draft).filter(|(planned, _)| planned.name == *active) {
            Some((_, rejected)) => {
                format!("no effect: {active} is still to be created: {} (overlap Skip)", rejected.message)
            }
            None => format!("no effect: {active} has not ended (overlap Skip)"),
        };
    }
    let before = draft.status.waiting.iter().take_while(|run| run.cause == RunCause::Trigger).count();
    if before >= MAX_TRIGGERS {
        return format!("no effect: {before} requested runs wait already");
    }
    let (name, uid) = (schedule.metadata.name.as_deref().unwrap_or_default(), schedule.metadata.uid.as_deref());
    let name = triggered_name(name, uid.unwrap_or_default(), value, draft.situation.now);
    let now = Timestamp::from_second(draft.situation.now.as_second()).unwrap_or(draft.situation.now);
    let run = PlannedRun { name: name.clone(), scheduled_time: Some(Time(now)), cause: RunCause::Trigger, patch };
    draft.status.waiting.insert(before, run);
    match (first, schedule.spec.overlap) {
        (None, _) | (_, Overlap::Allow) => format!("{name} starts"),
        (Some(active), Overlap::Replace) => format!("{name} replaces {active}"),
        (Some(active), Overlap::Skip | Overlap::Queue) => format!("{name} waits for the end of {active}"),
    }
}

/// The changes of the template that the value asks for, if it is a JSON object.
fn patch_of(value: &str, template: &Value) -> Result<Option<String>, String> {
    if !value.trim_start().starts_with('{') {
        return Ok(None);
    }
    if value.len() > MAX_PATCH_BYTES {
        return Err(format!("the value has more than {MAX_PATCH_BYTES} bytes"));
    }
    if let Err(error) = serde_json::from_str::<Value>(value) {
        return Err(format!("the value begins like JSON and is none: {error}"));
    }
    match template_problem(&patched(template, Some(value))) {
        Some(problem) => Err(format!("the task with these changes is invalid: {problem}")),
        None => Ok(Some(value.to_owned())),
    }
}

/// What is wrong with a task's spec, as a message to its author.
pub(super) fn template_problem(spec: &Value) -> Option<String> {
    match serde_json::from_value::<RetryableTaskSpec>(spec.clone()) {
        Ok(spec) => validate::problem(&spec),
        Err(error) => Some(error.to_string()),
    }
}

fn resume(draft: &mut Draft) -> String {
    if !draft.is_paused() {
        return "no effect: the schedule is not paused".into();
    }
    draft.status.consecutive_failures = 0;
    if draft.situation.schedule.spec.suspend {
        return "the pause is over, but the schedule is suspended (spec.suspend)".into();
    }
    "the schedule goes on".into()
}

fn backfill(draft: &mut Draft, timetable: &Timetable, value: &str) -> String {
    let before = draft.status.backfill.as_ref();
    let before = before.map(|old| format!(" instead of {}", old.interval)).unwrap_or_default();
    if matches!(value.trim(), "" | "stop" | "none") {
        draft.status.backfill = None;
        return match backfill_in_doubt(draft) {
            Some(name) => {
                format!("the backfill is stopped, but {name} may still start: its creation was requested already")
            }
            None if before.is_empty() => "no effect: no backfill is going on".into(),
            None => "the backfill is stopped".into(),
        };
    }
    let (from, until) = match interval::parse(value, timetable.zone()) {
        Ok(interval) => interval,
        Err(problem) => return format!("no effect: {problem}"),
    };
    // Later times are the schedule's own.
    let until = until.min(left_behind(draft));
    let after = from.checked_sub(SignedDuration::from_micros(1)).unwrap_or(from);
    let count = between(timetable, (after, until)).take(MAX_BACKFILL + 1).count();
    if count > MAX_BACKFILL {
        return format!("no effect: {value} has more than {MAX_BACKFILL} times: choose a shorter interval");
    }
    if count == 0 {
        return format!("no effect: the schedule had no time in {value}");
    }
    let (after, until) = (Some(MicroTime(after)), Some(MicroTime(until)));
    draft.status.backfill =
        Some(Backfill { interval: short(value, MAX_WORD_BYTES), after, until, started: 0, existing: 0 });
    if count == 1 {
        return format!("1 time of {value} starts{before}, unless its task exists");
    }
    format!("{count} times of {value} start one after another{before}; those whose task exists are left out")
}

fn unknown(draft: &mut Draft) {
    let requests = Request::ALL.map(Request::annotation);
    let stored = draft.situation.schedule.metadata.annotations.as_ref();
    let (now, acknowledged) = (draft.situation.now, &mut draft.status.acknowledged);
    for effect in annotations::acknowledge_unknown(stored, &requests, &[], now, acknowledged) {
        draft.transitions.push(Transition::UnknownAnnotation { effect });
    }
}
