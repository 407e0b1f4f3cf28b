//! An Argo CronWorkflow of one step becomes a schedule of tasks.

use super::super::cron_job::{history, overlap, times};
use super::super::notes::Notes;
use super::super::read::Source;
use super::super::{Options, Output, job, mapping, metadata};
use super::fields::Fields;
use super::task_spec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_yaml_ng::{Mapping, Value};

/// The schedule.
pub(in super::super) fn convert(source: &Source, options: Options) -> Vec<Output> {
    let (mut notes, mut of_task) = (Notes::new(""), Notes::new(""));
    let mut head = Fields::new(source.yaml.clone(), "");
    for known in ["apiVersion", "kind", "metadata", "status"] {
        head.take(known);
    }
    let object_meta: ObjectMeta = job::typed(&source.json["metadata"], "metadata", &mut notes);
    let mut metadata = metadata::convert(&object_meta, &mut notes);
    metadata::shorten(&mut metadata, &mut notes);
    let mut cron = head.object("spec").unwrap_or_else(|| Fields::new(Value::Null, "spec"));
    head.refuse_rest(&mut notes);

    let mut spec = Mapping::new();
    let schedules = cron.list("schedules", &mut notes);
    let schedule = cron.text("schedule").into_iter();
    let schedules: Vec<String> =
        schedule.chain(schedules.iter().filter_map(Value::as_str).map(ToOwned::to_owned)).collect();
    let zone = cron.text("timezone");
    times(&schedules, zone.as_deref(), ("spec.schedule", "spec.timezone"), &mut spec, &mut notes);
    let policy = cron.text("concurrencyPolicy").filter(|policy| !policy.is_empty());
    // Unlike a CronJob's, it drops the times that it skips.
    let overlap = if policy.as_deref() == Some("Forbid") { "Skip" } else { overlap(policy.as_deref(), &mut notes) };
    spec.insert("overlap".into(), overlap.into());
    spec.insert("missed".into(), missed(cron.seconds("startingDeadlineSeconds", &mut notes), &mut notes).into());
    if cron.take("suspend") == Some(Value::Bool(true)) {
        spec.insert("suspend".into(), true.into());
    }
    let mut limit = |key: &str| cron.seconds(key, &mut notes).and_then(|limit| i32::try_from(limit).ok());
    let limits = (limit("successfulJobsHistoryLimit"), limit("failedJobsHistoryLimit"));
    spec.insert("history".into(), history(limits).into());

    let mut template = Mapping::new();
    if let Some(labels) = cron.object("workflowMetadata") {
        template.insert("metadata".into(), labels.into_map().into());
    }
    match cron.object("workflowSpec") {
        Some(workflow) => {
            template.insert("spec".into(), task_spec(workflow, options, &mut of_task).into());
        }
        None => notes.refuse("spec.workflowSpec", "a schedule starts something: give it"),
    }
    spec.insert("template".into(), template.into());
    cron.refuse_rest(&mut notes);
    let manifest = metadata::manifest("TaskSchedule", metadata, spec);
    vec![Output { manifest, notes: vec![(&["spec"], notes), (&["spec", "template", "spec"], of_task)] }]
}

/// Argo starts no time that has passed, unless there is a deadline.
fn missed(deadline: Option<i64>, notes: &mut Notes) -> Mapping {
    match deadline.filter(|seconds| *seconds > 0) {
        None => {
            notes.comment("missed", "As Argo without startingDeadlineSeconds.");
            mapping([("policy", "Skip".into())])
        }
        Some(seconds) => super::super::cron_job::missed(Some(seconds), notes),
    }
}
