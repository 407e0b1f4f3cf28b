//! A batch/v1 CronJob becomes a schedule of tasks.

use super::notes::Notes;
use super::read::Source;
use super::{Options, Output, job, mapping, metadata};
use k8s_openapi::api::batch::v1::CronJobSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value as Json;
use serde_yaml_ng::{Mapping, Value};

/// Finished Jobs that a CronJob keeps unless it says otherwise.
const SUCCESSFUL_JOBS: i32 = 3;
const FAILED_JOBS: i32 = 1;
/// How late a run of a schedule may be, at least and at most, in seconds.
const EARLIEST_MISSED: i64 = 60;
const LATEST_MISSED: i64 = 2_592_000;

/// The schedule.
pub(super) fn convert(source: &Source, options: Options) -> Vec<Output> {
    let (mut notes, mut of_task) = (Notes::new(""), Notes::new("spec.jobTemplate."));
    let object_meta: ObjectMeta = job::head(source, &mut notes);
    let mut metadata = metadata::convert(&object_meta, &mut notes);
    metadata::shorten(&mut metadata, &mut notes);
    let json = &source.json["spec"];
    let typed: CronJobSpec = job::typed(&without_template(json), "spec", &mut notes);
    let CronJobSpec {
        concurrency_policy,
        failed_jobs_history_limit,
        job_template: _, // below, from the source itself
        schedule,
        starting_deadline_seconds,
        successful_jobs_history_limit,
        suspend,
        time_zone,
    } = &typed;
    let mut spec = Mapping::new();
    let paths = ("spec.schedule", "spec.timeZone");
    times(std::slice::from_ref(schedule), time_zone.as_deref(), paths, &mut spec, &mut notes);
    spec.insert("overlap".into(), overlap(concurrency_policy.as_deref(), &mut notes).into());
    spec.insert("missed".into(), missed(*starting_deadline_seconds, &mut notes).into());
    if suspend.unwrap_or_default() {
        let text = "a CronJob that is resumed starts the newest time that passed; a schedule starts none of them";
        notes.differs("spec.suspend", Some("suspend"), text);
        spec.insert("suspend".into(), true.into());
    }
    let limits = (*successful_jobs_history_limit, *failed_jobs_history_limit);
    spec.insert("history".into(), history(limits).into());

    let yaml = source.yaml.get("spec").and_then(|spec| spec.get("jobTemplate")).cloned().unwrap_or_default();
    match template(&yaml, &json["jobTemplate"], options, &mut of_task) {
        Some(template) => spec.insert("template".into(), template.into()),
        None => return vec![Output { manifest: Mapping::new(), notes: vec![(&[], notes), (&[], of_task)] }],
    };
    let manifest = metadata::manifest("TaskSchedule", metadata, spec);
    vec![Output { manifest, notes: vec![(&["spec"], notes), (&["spec", "template", "spec"], of_task)] }]
}

/// The template is read by itself, so that its notes have its paths.
fn without_template(json: &Json) -> Json {
    let mut json = json.clone();
    if let Some(map) = json.as_object_mut() {
        map.remove("jobTemplate");
    }
    json
}

/// Finished runs to keep.
pub(super) fn history((succeeded, failed): (Option<i32>, Option<i32>)) -> Mapping {
    mapping([
        ("succeeded", succeeded.unwrap_or(SUCCESSFUL_JOBS).into()),
        ("failed", failed.unwrap_or(FAILED_JOBS).into()),
    ])
}

/// When the times of a schedule are, or of several. `paths` are those of schedule and zone.
pub(super) fn times(
    schedules: &[String],
    time_zone: Option<&str>,
    (path, path_of_zone): (&str, &str),
    spec: &mut Mapping,
    notes: &mut Notes,
) {
    let mut zone = time_zone.filter(|zone| !zone.is_empty()).map(ToOwned::to_owned);
    let field = if schedules.len() == 1 { "schedule" } else { "schedules" };
    let mut all: Vec<Value> = vec![];
    for schedule in schedules {
        let schedule = schedule.trim();
        let prefix = ["CRON_TZ=", "TZ="].iter().find_map(|prefix| schedule.strip_prefix(prefix));
        let fields = match prefix.and_then(|rest| rest.split_once(char::is_whitespace)) {
            Some((prefix, fields)) => {
                notes.remark(path, None, "the zone that stands before the schedule is in timeZone");
                if zone.as_deref().is_some_and(|zone| zone != prefix) {
                    notes.refuse(path, "a schedule has one time zone: make one of each");
                }
                zone = Some(prefix.to_owned());
                fields.trim()
            }
            None => schedule,
        };
        if fields.starts_with("@every") {
            let text = "@every counts from when the controller started: write five fields, such as */5 * * * *";
            notes.refuse(path, text);
        }
        if both_days(fields) {
            let text = "where one of both days has a *, as */2 does, both must match; here one of them is enough";
            notes.differs(path, Some(field), text);
        }
        // Elsewhere a question mark is no more than a star.
        all.push(fields.replace('?', "*").into());
    }
    match all.as_slice() {
        [one] => spec.insert("schedule".into(), one.clone()),
        _ => spec.insert("schedules".into(), all.into()),
    };
    if zone.is_none() {
        let text = "without one it is that of the controller, which is UTC in most clusters";
        notes.differs(path_of_zone, Some("timeZone"), text);
    } else if !zone.as_deref().is_some_and(is_utc) {
        let text = "where clocks are put forward, a fixed time that does not exist runs when the clock changes, and is not skipped";
        notes.differs(path_of_zone, Some("timeZone"), text);
    }
    spec.insert("timeZone".into(), zone.unwrap_or_else(|| "Etc/UTC".into()).into());
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Etc/UTC" | "Etc/GMT" | "GMT" | "Etc/UCT" | "Zulu" | "Etc/Zulu")
}

/// Whether both days are restricted, one of them by a step from `*`.
fn both_days(fields: &str) -> bool {
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [_, _, day, _, weekday] = fields.as_slice() else { return false };
    let is_open = |field: &str| matches!(field, "*" | "?" | "*/1");
    let is_step = |field: &str| field.contains('*') || field.contains('?');
    !is_open(day) && !is_open(weekday) && (is_step(day) || is_step(weekday))
}

/// What happens when a run has not ended.
pub(super) fn overlap(policy: Option<&str>, notes: &mut Notes) -> &'static str {
    match policy {
        None | Some("Allow") => "Allow",
        Some("Forbid") => {
            let text = "As Forbid, which starts the newest time that it skipped when the run has ended. Skip drops it.";
            notes.comment("overlap", text);
            "Queue"
        }
        Some("Replace") => {
            let text = "what runs is deleted, and the next starts at once; here the next starts when it has ended, and it \
                        stays as Cancelled";
            notes.differs("spec.concurrencyPolicy", Some("overlap"), text);
            "Replace"
        }
        Some(other) => {
            notes.refuse(
                "spec.concurrencyPolicy",
                &format!("there is no policy {other:?}: use Allow, Forbid or Replace"),
            );
            "Skip"
        }
    }
}

/// What happens with times that passed while nothing was started.
pub(super) fn missed(deadline: Option<i64>, notes: &mut Notes) -> Mapping {
    let within = deadline.unwrap_or(LATEST_MISSED).clamp(EARLIEST_MISSED, LATEST_MISSED);
    match deadline {
        None => notes.comment("missed", "As a CronJob without startingDeadlineSeconds; 30 days are the most."),
        Some(seconds) if seconds != within => {
            let text = format!(
                "a run may be {within} s late, not {seconds} s: {EARLIEST_MISSED} to {LATEST_MISSED} s are allowed"
            );
            notes.differs("spec.startingDeadlineSeconds", Some("missed"), &text);
        }
        Some(_) => {}
    }
    mapping([("policy", "Latest".into()), ("withinSeconds", within.into())])
}

/// The template of the tasks.
fn template(yaml: &Value, json: &Json, options: Options, notes: &mut Notes) -> Option<Mapping> {
    for key in json.as_object().into_iter().flat_map(|map| map.keys()) {
        if !matches!(key.as_str(), "metadata" | "spec") {
            notes.refuse(key, "unknown field: remove it, or correct its name");
        }
    }
    let object_meta: ObjectMeta = job::typed(&json["metadata"], "metadata", notes);
    let tasks = job::tasks(&yaml.get("spec").cloned().unwrap_or_default(), &json["spec"], options, notes)?;
    if tasks.count.is_some() {
        notes.refuse("spec.completions", "a schedule starts one task at a time: make one schedule of each completion");
        return None;
    }
    let metadata = metadata::of_template(&object_meta);
    let mut template = Mapping::new();
    if !metadata.is_empty() {
        template.insert("metadata".into(), metadata.into());
    }
    template.insert("spec".into(), tasks.spec.into());
    Some(template)
}
