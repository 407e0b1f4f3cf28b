//! A batch/v1 Job becomes a task.

use super::notes::Notes;
use super::pod_template::{PodTemplate, RestartPolicy};
use super::read::Source;
use super::{Options, Output, failure_policy, mapping, metadata};
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_yaml_ng::{Mapping, Value};

/// A Job's own default of backoffLimit.
const BACKOFF_LIMIT: i32 = 6;
/// As long as a wait may be: for ever, in practice.
const A_YEAR: i64 = 31_536_000;
/// Most tasks that --expand makes of a Job.
const MAX_TASKS: i32 = 1000;
/// What a Job's Pod says of its place among the others.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Seconds that the kubelet waits before it restarts a container: at once, then from 10 s to 5 min.
const KUBELET_DELAYS: [i32; 7] = [0, 10, 20, 40, 80, 160, 300];

/// The tasks of a Job: one, or one for each completion.
pub(super) fn convert(source: &Source, options: Options) -> Vec<Output> {
    let mut notes = Notes::new("");
    let object_meta: ObjectMeta = head(source, &mut notes);
    let metadata = metadata::convert(&object_meta, &mut notes);
    of_the_status(&source.json["status"], &mut notes);
    let spec = source.yaml.get("spec").cloned().unwrap_or_default();
    let queue = object_meta.labels.as_ref().is_some_and(|labels| labels.contains_key("kueue.x-k8s.io/queue-name"));
    if queue && source.json["spec"]["suspend"] == true {
        let text = "Kueue suspends a Job until there is room, and resumes it; nobody resumes the task: set it to false";
        notes.differs("spec.suspend", Some("suspend"), text);
    }
    let Some(tasks) = tasks(&spec, &source.json["spec"], options, &mut notes) else {
        return vec![Output::refused(notes)];
    };
    let several = tasks.count.is_some();
    let of = |index: i32| {
        let (mut metadata, mut spec) = (metadata.clone(), tasks.spec.clone());
        if several {
            number(&mut metadata, &mut spec, index);
        }
        let manifest = metadata::manifest("RetryableTask", metadata, spec);
        Output { manifest, notes: vec![(&["spec"], notes.clone())] }
    };
    (0..tasks.count.unwrap_or(1)).map(of).collect()
}

/// What all objects have beside their spec.
pub(super) fn head(source: &Source, notes: &mut Notes) -> ObjectMeta {
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    for key in source.json.as_object().into_iter().flat_map(|map| map.keys()) {
        if !known.contains(&key.as_str()) {
            notes.refuse(key, "unknown field: remove it");
        }
    }
    if source.version != "batch/v1" {
        let text = format!("{} is no version of a {} that is served: use batch/v1", source.version, source.kind);
        notes.refuse("apiVersion", &text);
    }
    typed(&source.json["metadata"], "metadata", notes)
}

/// What a Job's spec becomes.
pub(super) struct Tasks {
    /// Of the task, or of each.
    pub(super) spec: Mapping,
    /// How many tasks there are, if the Job has completions.
    pub(super) count: Option<i32>,
}

/// The value as this type. What the type does not know is refused, whether it is misspelt or newer than this program.
pub(super) fn typed<T: DeserializeOwned + serde::Serialize + Default>(json: &Json, path: &str, notes: &mut Notes) -> T {
    if json.is_null() {
        return T::default();
    }
    match serde_json::from_value::<T>(json.clone()) {
        Ok(typed) => {
            let known = serde_json::to_value(&typed).unwrap_or_default();
            refuse_unknown(json, &known, path, notes);
            typed
        }
        Err(error) => {
            notes.refuse(path, &error.to_string());
            T::default()
        }
    }
}

fn refuse_unknown(json: &Json, known: &Json, path: &str, notes: &mut Notes) {
    match (json, known) {
        (Json::Object(map), Json::Object(known)) => {
            for (key, value) in map.iter().filter(|(_, value)| !is_empty(value)) {
                let path = format!("{path}.{key}");
                match known.get(key) {
                    Some(known) => refuse_unknown(value, known, &path, notes),
                    None => notes.refuse(&path, "unknown field: remove it, or correct its name"),
                }
            }
        }
        (Json::Array(items), Json::Array(known)) => {
            for (index, (item, known)) in items.iter().zip(known).enumerate() {
                refuse_unknown(item, known, &format!("{path}[{index}]"), notes);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A status is not converted, but says whether the work is done twice.
fn of_the_status(status: &Json, notes: &mut Notes) {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let finished = conditions
        .filter(|condition| condition["status"] == "True")
        .find_map(|condition| condition["type"].as_str().filter(|type_| matches!(*type_, "Complete" | "Failed")));
    match finished {
        Some(type_) => notes.remark("status", None, &format!("the Job is {type_}: the task does the work again")),
        None if status["active"].as_i64().unwrap_or_default() > 0 => {
            notes.remark(
                "status.active",
                None,
                "the Job runs: delete it before the task is created, or both do the work",
            );
        }
        None => {}
    }
}

/// The spec of a task, from that of a Job.
pub(super) fn tasks(source: &Value, json: &Json, options: Options, notes: &mut Notes) -> Option<Tasks> {
    let typed: JobSpec = typed(json, "spec", notes);
    let JobSpec {
        active_deadline_seconds,
        backoff_limit,
        backoff_limit_per_index,
        completion_mode,
        completions,
        managed_by,
        manual_selector,
        max_failed_indexes,
        parallelism,
        pod_failure_policy,
        pod_replacement_policy,
        scheduling,
        selector: _,
        success_policy,
        suspend,
        template,
        ttl_seconds_after_finished,
    } = &typed;
    let refusals = [
        (max_failed_indexes.is_some(), "spec.maxFailedIndexes", "a task knows nothing of other tasks: remove it"),
        (success_policy.is_some(), "spec.successPolicy", "a task has one Pod at a time, which must succeed: remove it"),
        (scheduling.is_some(), "spec.scheduling", "a task has one Pod at a time, and no gang: remove it"),
    ];
    refusals.iter().filter(|(given, ..)| *given).for_each(|(_, path, text)| notes.refuse(path, text));
    if let Some(manager) = managed_by.as_ref().filter(|manager| *manager != "kubernetes.io/job-controller") {
        notes.refuse("spec.managedBy", &format!("{manager} runs this Job, and knows no tasks: remove it"));
    }
    if manual_selector.unwrap_or_default() {
        notes.differs(
            "spec.manualSelector",
            None,
            "a task finds its Pods by labels of its own: Pods that exist are not adopted",
        );
    }
    if pod_replacement_policy.as_deref() == Some("TerminatingOrFailed") {
        let text = "the next attempt follows the end of the last one, as with Failed";
        notes.remark("spec.podReplacementPolicy", None, text);
    }
    let count = count(*completions, *parallelism, completion_mode.as_deref(), options, notes);
    let per_index = limit_per_index(*backoff_limit_per_index, options, notes);
    let limit = per_index.or(*backoff_limit).unwrap_or(BACKOFF_LIMIT);
    if count.is_some() && per_index.is_none() {
        let text =
            format!("the {limit} retries of the Job are for all its Pods together; each task has as many for itself");
        notes.differs("spec.backoffLimit", Some("maxRetries"), &text);
    }

    let pods = PodTemplate::new(template);
    let mut spec = Mapping::new();
    if per_index.is_some() || backoff_limit.is_some() || !options.modern {
        if backoff_limit.is_none() && per_index.is_none() {
            notes.comment("maxRetries", "A Job's backoffLimit is 6 unless given.");
        }
        spec.insert("maxRetries".into(), limit.into());
    }
    if options.modern {
        notes.remark("spec", None, "--modern: the waits and the budgets are a task's defaults, and not a Job's");
    }
    waits(&pods, options, &mut spec, notes);
    if let Some(policy) = pod_failure_policy {
        let rules = failure_policy::convert(policy, &pods, options, notes);
        if !rules.is_empty() {
            spec.insert("rules".into(), rules.into());
        }
    }
    if !options.modern {
        as_before(limit, &mut spec, notes);
    }
    if pods.has_several() {
        notes.comment("completion", "As in a Job, all containers must succeed. MainContainer: the main one decides.");
        spec.insert("completion".into(), "AllContainers".into());
    }
    deadline(*active_deadline_seconds, &mut spec, notes);
    if let Some(seconds) = ttl_seconds_after_finished {
        spec.insert("ttlSecondsAfterFinished".into(), (*seconds).into());
    }
    if suspend.unwrap_or_default() {
        spec.insert("suspend".into(), true.into());
    }
    let own = source.get("template").cloned().unwrap_or_default();
    spec.insert("template".into(), pods.convert(&own, options, notes).into());
    (!notes.are_refusals()).then_some(Tasks { spec, count })
}

/// How many tasks there are, if the Job has several completions.
fn count(
    completions: Option<i32>,
    parallelism: Option<i32>,
    mode: Option<&str>,
    options: Options,
    notes: &mut Notes,
) -> Option<i32> {
    match mode {
        None | Some("NonIndexed" | "Indexed") => {}
        Some(other) => notes.refuse("spec.completionMode", &format!("there is no mode {other:?}")),
    }
    let indexed = mode == Some("Indexed");
    if parallelism == Some(0) {
        notes.refuse("spec.parallelism", "0 holds the Job: remove it, and set spec.suspend to true");
        return None;
    }
    match completions {
        Some(pods) if !(1..=MAX_TASKS).contains(&pods) => {
            let text = format!("--expand makes 1 to {MAX_TASKS} tasks of a Job, not {pods}: make them by a script");
            notes.refuse("spec.completions", &text);
            None
        }
        None if parallelism.is_some_and(|pods| pods > 1) => {
            let text = "a task has one Pod at a time. Without completions these Pods share a queue of their own: \
                        create one task for each piece of work";
            notes.refuse("spec.parallelism", text);
            None
        }
        None | Some(1) if !indexed => None,
        Some(pods) if !options.expand => {
            let text = format!("a task has one Pod at a time: convert with --expand, which makes {pods} tasks of it");
            notes.refuse(if indexed { "spec.completionMode" } else { "spec.completions" }, &text);
            None
        }
        Some(pods) => {
            let at_a_time = parallelism.unwrap_or(1);
            if at_a_time < pods {
                let text = format!("the {pods} tasks start at once, and not {at_a_time} at a time");
                notes.differs("spec.parallelism", None, &text);
            }
            let hosts = if indexed { ", and no Pod has the host name of its index" } else { "" };
            let text = format!("{pods} tasks, each of which ends for itself; no object stands for all of them{hosts}");
            notes.differs("spec.completions", None, &text);
            Some(pods)
        }
        None => {
            notes.refuse("spec.completions", "an Indexed Job has completions: give them");
            None
        }
    }
}

fn limit_per_index(limit: Option<i32>, options: Options, notes: &mut Notes) -> Option<i32> {
    if limit.is_some() && !options.expand {
        notes.refuse("spec.backoffLimitPerIndex", "a task has no indexes: convert with --expand, or use backoffLimit");
    }
    limit
}

/// The waits between attempts: the Job controller's, or the kubelet's where that restarts containers.
fn waits(pods: &PodTemplate, options: Options, spec: &mut Mapping, notes: &mut Notes) {
    let no_jitter = || Value::from(mapping([("mode", "None".into())]));
    let backoff = match pods.restart_policy(notes) {
        RestartPolicy::Never => {
            let text = "As a Job: 10, 20, 40 s … up to 10 min, without jitter. A task's default is 1, 2, 4 s … up to 60 s, ±25 %.";
            if !options.modern {
                notes.comment("backoff", text);
            }
            mapping([("initialDelaySeconds", 10.into()), ("maxDelaySeconds", 600.into()), ("jitter", no_jitter())])
        }
        RestartPolicy::OnFailure => {
            let text = "a Job restarts the container in its Pod: volumes such as emptyDir keep their files, and init \
                        containers do not run again. Here each attempt is a new Pod";
            notes.differs("spec.template.spec.restartPolicy", Some("template"), text);
            let text = "a Job fails when the last retry starts; here the last retry runs to its end";
            notes.differs("spec.backoffLimit", Some("maxRetries"), text);
            if !options.modern {
                notes.comment(
                    "backoff",
                    "As the kubelet restarts containers: at once, then after 10, 20, 40 s … up to 5 min.",
                );
            }
            let delays: Vec<Value> = KUBELET_DELAYS.iter().map(|delay| (*delay).into()).collect();
            mapping([("strategy", "List".into()), ("delaysSeconds", delays.into()), ("jitter", no_jitter())])
        }
    };
    if !options.modern {
        spec.insert("backoff".into(), backoff.into());
    }
}

/// What is not in a Job's spec, and how a Job behaves.
fn as_before(limit: i32, spec: &mut Mapping, notes: &mut Notes) {
    notes.comment(
        "budgets",
        "As a Job, which counts drains and evictions as failures. Without this, ten of them are free.",
    );
    spec.insert("budgets".into(), mapping([("disruptions", 0.into())]).into());
    notes.comment(
        "startupTimeoutSeconds",
        "As a Job, which waits for its image and its volumes for ever. Without this, 10 minutes.",
    );
    spec.insert("startupTimeoutSeconds".into(), A_YEAR.into());
    notes.comment("avoidFailedNodes", "As a Job. Without this, the next attempt prefers another node.");
    spec.insert("avoidFailedNodes".into(), false.into());
    notes.comment("podRetention", "As a Job, which keeps all its Pods. Without this, the newest failed one is kept.");
    spec.insert("podRetention".into(), mapping([("failed", limit.saturating_add(1).into())]).into());
}

fn deadline(seconds: Option<i64>, spec: &mut Mapping, notes: &mut Notes) {
    let Some(seconds) = seconds else { return };
    match i32::try_from(seconds) {
        Ok(seconds) if seconds > 0 => {
            let text = "A task also fails at once when a wait would end later than this.";
            notes.comment("activeDeadlineSeconds", text);
            spec.insert("activeDeadlineSeconds".into(), seconds.into());
        }
        _ => notes.refuse(
            "spec.activeDeadlineSeconds",
            &format!("a task's is a time from 1 to {}: {seconds} is none", i32::MAX),
        ),
    }
}

/// Gives a task of several its name and the variable that a Job's Pods have.
fn number(metadata: &mut Mapping, spec: &mut Mapping, index: i32) {
    for key in ["name", "generateName"] {
        if let Some(name) = metadata.get(key).and_then(Value::as_str) {
            let numbered = if key == "name" { format!("{name}-{index}") } else { format!("{name}{index}-") };
            metadata.insert(key.into(), numbered.into());
        }
    }
    let Some(template) = spec.get_mut("template").and_then(Value::as_mapping_mut) else { return };
    // By labels and annotations, as programs may ask for it.
    if !template.contains_key("metadata") {
        let pod = template.shift_remove("spec").unwrap_or_default();
        *template = mapping([("metadata", Mapping::new().into()), ("spec", pod)]);
    }
    let metadata = template.entry("metadata".into()).or_insert_with(|| Mapping::new().into());
    for kind in ["labels", "annotations"] {
        if let Some(metadata) = metadata.as_mapping_mut() {
            let all = metadata.entry(kind.into()).or_insert_with(|| Mapping::new().into());
            all.as_mapping_mut().map(|all| all.insert(COMPLETION_INDEX.into(), index.to_string().into()));
        }
    }
    for list in ["containers", "initContainers"] {
        let containers = template.get_mut("spec").and_then(|pod| pod.get_mut(list)).and_then(Value::as_sequence_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_mapping_mut) {
            let env = container.entry("env".into()).or_insert_with(|| Vec::<Value>::new().into());
            if let Some(variables) = env.as_sequence_mut() {
                variables.retain(|one| one.get("name").and_then(Value::as_str) != Some("JOB_COMPLETION_INDEX"));
                let variable = [("name", "JOB_COMPLETION_INDEX".into()), ("value", index.to_string().into())];
                // First, since others may refer to it.
                variables.insert(0, mapping(variable).into());
            }
        }
    }
}
