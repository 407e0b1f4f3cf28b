//! The task of a run.

use super::timetable::Timetable;
use crate::api::{
    ANNOTATION_SCHEDULED_TIME, GROUP, LABEL_SCHEDULE_NAME, LABEL_SCHEDULE_UID, PlannedRun, RunCause, TaskSchedule,
    TaskTemplate, TemplateMetadata,
};
use crate::core::{hash, time};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// The name of the task for that time of the schedule, in UTC, where no time comes twice. It has 14 characters more than
/// the schedule's.
pub fn name_of(schedule: &str, at: Timestamp) -> String {
    format!("{schedule}-{}", TimeZone::UTC.to_datetime(at).strftime("%Y%m%d-%H%M"))
}

/// The name of the task of a trigger: as long as the others.
pub fn triggered_name(schedule: &str, uid: &str, value: &str, now: Timestamp) -> String {
    format!("{schedule}-manual-{}", hash::name(&format!("{uid}/{value}/{now}"), 6))
}

/// The task of a run, as it is sent to the API server.
pub fn task(schedule: &TaskSchedule, run: &PlannedRun, timetable: &Timetable, now: Timestamp) -> Value {
    let name = schedule.metadata.name.as_deref().unwrap_or_default();
    let uid = schedule.metadata.uid.as_deref().unwrap_or_default();
    let TaskTemplate { metadata, spec: _ } = &schedule.spec.template;
    let TemplateMetadata { labels, annotations } = metadata.clone().unwrap_or_default();
    let own = |key: &str| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    let kept = |all: std::collections::BTreeMap<String, String>| -> Map<String, Value> {
        all.into_iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key, value.into())).collect()
    };
    let (mut labels, mut annotations) = (kept(labels), kept(annotations));
    labels.insert(LABEL_SCHEDULE_NAME.into(), name.into());
    labels.insert(LABEL_SCHEDULE_UID.into(), uid.into());
    let scheduled = run.scheduled_time.as_ref().map(|time| written(time.0, timetable.zone()));
    annotations.extend(scheduled.map(|time| (ANNOTATION_SCHEDULED_TIME.into(), time.into())));
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "RetryableTask",
        "metadata": {
            "name": run.name,
            "namespace": schedule.metadata.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1alpha1"),
                "kind": "TaskSchedule",
                "name": name,
                "uid": uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": spec(schedule, run, timetable, now),
    })
}

/// A time as people of the zone write it: RFC 3339 with the zone's offset.
pub fn written(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn spec(schedule: &TaskSchedule, run: &PlannedRun, timetable: &Timetable, now: Timestamp) -> Value {
    let mut spec = patched(&schedule.spec.template.spec, run.patch.as_deref());
    let next = match run.cause {
        RunCause::Schedule | RunCause::Trigger if schedule.spec.end_before_next => {
            let after = run.scheduled_time.as_ref().map_or(now, |time| time.0);
            timetable.next(after.max(time::plus(now, -timetable.splay())))
        }
        RunCause::Schedule | RunCause::Trigger | RunCause::Backfill => None,
    };
    if let Some(next) = next {
        let left = time::until(now, timetable.start_of(next)).as_secs().max(1);
        at_most(&mut spec, "activeDeadlineSeconds", left);
        // That one counts from the first attempt: nothing that the run waits for before it may take longer either.
        if let Some(queue) = spec.get_mut("queue").filter(|queue| queue.is_object()) {
            at_most(queue, "maxWaitSeconds", left);
        }
        if spec["after"].as_array().is_some_and(|after| !after.is_empty()) {
            at_most(&mut spec, "afterTimeoutSeconds", left);
        }
    }
    spec
}

fn at_most(object: &mut Value, field: &str, limit: i64) {
    let own = object[field].as_i64().unwrap_or(i64::MAX);
    object[field] = own.min(limit).into();
}

/// The template's spec with the changes of a JSON merge patch (RFC 7386).
pub fn patched(spec: &Value, patch: Option<&str>) -> Value {
    let mut spec = spec.clone();
    if let Some(patch) = patch.and_then(|patch| serde_json::from_str(patch).ok()) {
        merge(&mut spec, patch);
    }
    spec
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(&key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}
