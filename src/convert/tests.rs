//! Each manifest in `tests/convert` with what becomes of it; `WRITE_CONVERTED=1` writes it anew, to be read and committed.

use super::{Admissions, ConvertError, Converted, Kind, Options};
use crate::admission::Notation;
use crate::simulate::{self, Outcomes};
use std::path::PathBuf;
use std::sync::LazyLock;

const BEFORE: Options = Options { modern: false, expand: false };
const MODERN: Options = Options { modern: true, expand: false };
const EXPAND: Options = Options { modern: false, expand: true };

/// Compiling its rules takes longer than all the rest.
static ADMISSIONS: LazyLock<Admissions> = LazyLock::new(Admissions::new);

fn convert(text: &str, options: Options) -> Result<Converted, ConvertError> {
    super::convert(text, options, &ADMISSIONS)
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/convert")).join(name)
}

fn source(name: &str) -> String {
    std::fs::read_to_string(file(&format!("{name}.yaml"))).unwrap()
}

/// What the command prints to standard error, with its exit code first.
fn said(converted: &Converted) -> String {
    let word = |kind| if kind == Kind::Difference { "differs" } else { "note" };
    let notes = converted.notes.iter();
    let notes = notes.map(|note| format!("{}: {}: {}: {}\n", word(note.kind), note.title, note.path, note.text));
    let skipped = converted.skipped.iter().map(|line| format!("{line}\n"));
    let code = if converted.differs() { "exit code 2\n" } else { "exit code 0\n" };
    std::iter::once(code.to_owned()).chain(skipped).chain(notes).collect()
}

/// The reasons for which a manifest is refused.
fn refused(text: &str, options: Options) -> Vec<String> {
    match convert(text, options) {
        Err(ConvertError::Refused(objects)) => objects.into_iter().flat_map(|object| object.reasons).collect(),
        other => panic!("{text}\nis not refused: {other:#?}"),
    }
}

#[test]
fn each_manifest_becomes_what_stands_beside_it() {
    let cases = [
        ("digits.job", BEFORE, "digits"),
        ("digits.job", MODERN, "digits-modern"),
        ("failure-policy.job", BEFORE, "failure-policy"),
        ("printed.job", BEFORE, "printed"),
        ("in-place.job", BEFORE, "in-place"),
        ("several.job", BEFORE, "several"),
        ("indexed.job", EXPAND, "indexed-expand"),
        ("backoff.workflow", BEFORE, "backoff"),
        ("expression.workflow", BEFORE, "expression"),
        ("script.workflow", MODERN, "script"),
        ("minutely.cronjob", BEFORE, "minutely"),
        ("nightly.cronjob", BEFORE, "nightly"),
        ("zoned.cronjob", MODERN, "zoned"),
        ("hourly.cronworkflow", MODERN, "hourly"),
    ];
    for (from, options, to) in cases {
        let converted = convert(&source(from), options).unwrap_or_else(|error| panic!("{from}: {error}"));
        for (extension, text) in [("task.yaml", converted.yaml.clone()), ("notes", said(&converted))] {
            let file = file(&format!("{to}.{extension}"));
            if std::env::var_os("WRITE_CONVERTED").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(text, expected, "{}", file.display());
        }
    }
}

#[test]
fn the_page_shows_what_is_printed() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/convert.md")).unwrap();
    let without_its_comment = source("digits.job").split_once('\n').unwrap().1.to_owned();
    for (options, input) in [(BEFORE, without_its_comment), (MODERN, String::new())] {
        let printed = convert(&source("digits.job"), options).unwrap().yaml;
        assert!(page.contains(&input) && page.contains(&printed), "docs/convert.md is to have:\n{input}\n{printed}");
    }
}

/// The waits that `simulate` shows of a manifest: earliest, latest, in milliseconds.
fn waits(yaml: &str) -> Vec<(i64, i64)> {
    let manifest: serde_json::Value = serde_yaml_ng::from_str(yaml).unwrap();
    let task = ADMISSIONS.tasks.admit(&manifest, Notation::Json).unwrap();
    let simulation = simulate::simulate(&task, &Outcomes::default(), 50).unwrap();
    let json = serde_json::to_value(&simulation).unwrap();
    let number = |attempt: &serde_json::Value, key: &str| attempt[key].as_i64().unwrap();
    let attempts = json["attempts"].as_array().unwrap();
    attempts.iter().map(|one| (number(one, "earliestMilliseconds"), number(one, "latestMilliseconds"))).collect()
}

#[test]
fn the_waits_are_those_of_the_job_controller_and_of_the_kubelet() {
    let seconds = |all: &[i64]| all.iter().map(|s| (s * 1000, s * 1000)).collect::<Vec<_>>();
    let never = source("digits.job").replace("backoffLimit: 4", "backoffLimit: 8");
    let converted = convert(&never, BEFORE).unwrap();
    assert_eq!(waits(&converted.yaml), seconds(&[0, 10, 20, 40, 80, 160, 320, 600, 600]));
    let in_place = source("in-place.job").replace("suspend: true", "backoffLimit: 8");
    let converted = convert(&in_place, BEFORE).unwrap();
    assert_eq!(waits(&converted.yaml), seconds(&[0, 0, 10, 20, 40, 80, 160, 300, 300]));
}

const HEAD: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\n";
const CONTAINER: &str = "{name: c, image: i}";

/// A Job with these fields in its spec, and in its Pod's.
fn job(spec: &str, pod: &str) -> String {
    let pod = if pod.is_empty() { format!("restartPolicy: Never, containers: [{CONTAINER}]") } else { pod.to_owned() };
    let comma = if spec.is_empty() { "" } else { ", " };
    format!("{HEAD}spec: {{{spec}{comma}template: {{spec: {{{pod}}}}}}}")
}

#[test]
fn what_cannot_be_is_refused_with_its_path_and_what_to_do() {
    let cases = [
        (
            job("completions: 5", ""),
            "spec.completions: a task has one Pod at a time: convert with --expand, which makes 5 tasks of it",
        ),
        (
            job("parallelism: 3", ""),
            "spec.parallelism: a task has one Pod at a time. Without completions these Pods share a queue of their own: create one task for each piece of work",
        ),
        (job("parallelism: 0", ""), "spec.parallelism: 0 holds the Job: remove it, and set spec.suspend to true"),
        (
            job("completionMode: Indexed, completions: 1", ""),
            "spec.completionMode: a task has one Pod at a time: convert with --expand, which makes 1 tasks of it",
        ),
        (job("completionMode: Random", ""), "spec.completionMode: there is no mode \"Random\""),
        (
            job("backoffLimitPerIndex: 1", ""),
            "spec.backoffLimitPerIndex: a task has no indexes: convert with --expand, or use backoffLimit",
        ),
        (job("maxFailedIndexes: 1", ""), "spec.maxFailedIndexes: a task knows nothing of other tasks: remove it"),
        (
            job("successPolicy: {rules: [{succeededCount: 1}]}", ""),
            "spec.successPolicy: a task has one Pod at a time, which must succeed: remove it",
        ),
        (
            job("managedBy: example.org/queue", ""),
            "spec.managedBy: example.org/queue runs this Job, and knows no tasks: remove it",
        ),
        (
            job("scheduling: {schedulingPolicy: {gang: {minCount: 2}}}", ""),
            "spec.scheduling: a task has one Pod at a time, and no gang: remove it",
        ),
        (
            job("activeDeadlineSeconds: 0", ""),
            "spec.activeDeadlineSeconds: a task's is a time from 1 to 2147483647: 0 is none",
        ),
        (
            job("activeDeadlineSeconds: 3000000000", ""),
            "spec.activeDeadlineSeconds: a task's is a time from 1 to 2147483647: 3000000000 is none",
        ),
    ];
    are_refused(&cases);
    let many = refused(&job("completions: 1001", ""), EXPAND);
    assert_eq!(many, ["spec.completions: --expand makes 1 to 1000 tasks of a Job, not 1001: make them by a script"]);
    let none = refused(&job("completionMode: Indexed", ""), EXPAND);
    assert_eq!(none, ["spec.completions: an Indexed Job has completions: give them"]);
}

#[test]
fn a_field_or_a_rule_that_no_task_has_is_refused_too() {
    let code = |rule: &str| format!("podFailurePolicy: {{rules: [{{action: FailJob, onExitCodes: {{{rule}}}}}]}}");
    let cases = [
        (job("backoffLimit: many", ""), "spec: invalid type: string \"many\", expected i32"),
        (job("backofLimit: 3", ""), "spec.backofLimit: unknown field: remove it, or correct its name"),
        (
            job("", "restartPolicy: Never, containers: []"),
            "what comes of it: spec: Invalid value: nothing to run: set spec.image, or give spec.template.spec.containers a container",
        ),
        (
            job("", "restartPolicy: Always, containers: [{name: c, image: i}]"),
            "spec.template.spec.restartPolicy: a Job's is Never or OnFailure, and this is Always: set one of them",
        ),
        (
            job("", "containers: [{name: c, image: i}]"),
            "spec.template.spec.restartPolicy: a Job's is Never or OnFailure, and this is not given: set one of them",
        ),
        (
            job("", "restartPolicy: Never, containers: [{name: c, image: i, restartPolicy: OnFailure}]"),
            "spec.template.spec.containers[0].restartPolicy: an attempt runs its containers once, and the operator does the retrying: remove it",
        ),
        (
            job("", "restartPolicy: Never, containers: [{name: c, image: i, restartPolicyRules: [{action: Restart}]}]"),
            "spec.template.spec.containers[0].restartPolicyRules: an attempt runs its containers once: remove them, and let the task's rules decide by exit code",
        ),
        (
            job("", "restartPolicy: Never, imagePullPolice: Always, containers: [{name: c, image: i}]"),
            "spec.template.spec.imagePullPolice: unknown field: remove it, or correct its name",
        ),
        (
            job(&code("operator: In, values: [3], containerName: other"), ""),
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: a rule matches the container that decides, which is \"c\": remove the rule, or make \"other\" the main container by the annotation kubectl.kubernetes.io/default-container of the template",
        ),
        (
            job(&code("operator: In, values: [0, 256]"), ""),
            "spec.podFailurePolicy.rules[0].onExitCodes.values: no failure ends with one of these: use codes from 1 to 255",
        ),
        (
            job(&code("operator: Is, values: [3]"), ""),
            "spec.podFailurePolicy.rules[0].onExitCodes.operator: there is no operator \"Is\": use In or NotIn",
        ),
        (
            job("podFailurePolicy: {rules: [{action: FailIndex, onPodConditions: [{type: X}]}]}", ""),
            "spec.podFailurePolicy.rules[0].action: FailIndex is for indexed Jobs: convert with --expand",
        ),
        (
            job("podFailurePolicy: {rules: [{action: Stop, onPodConditions: [{type: X}]}]}", ""),
            "spec.podFailurePolicy.rules[0].action: there is no action \"Stop\"",
        ),
        (
            job("podFailurePolicy: {rules: [{action: Count}]}", ""),
            "spec.podFailurePolicy.rules[0]: a rule has either onExitCodes or onPodConditions: give one of them",
        ),
        (
            job("podFailurePolicy: {rules: [{action: Count, onPodConditions: [{type: X, status: \"False\"}]}]}", ""),
            "spec.podFailurePolicy.rules[0].onPodConditions[0].status: a rule matches conditions that are true, not \"False\": remove the pattern",
        ),
        (
            job("", "").replace("batch/v1", "batch/v1beta1"),
            "apiVersion: batch/v1beta1 is no version of a Job that is served: use batch/v1",
        ),
        (format!("{}\nspecs: 1", job("", "")), "specs: unknown field: remove it"),
    ];
    are_refused(&cases);
}

fn are_refused(cases: &[(String, &str)]) {
    for (manifest, reason) in cases {
        let reasons = refused(manifest, BEFORE);
        assert!(reasons.iter().any(|said| said == reason), "{manifest}\nwanted: {reason}\nsaid: {reasons:#?}");
    }
}

#[test]
fn of_a_workflow_too() {
    const STEP: &str = "container: {image: i}";
    let workflow = |spec: &str, step: &str| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: w}}\n\
             spec: {{entrypoint: a, {spec} templates: [{{name: a, {step}}}]}}"
        )
    };
    let retry = |strategy: &str| workflow("", &format!("{STEP}, retryStrategy: {{{strategy}}}"));
    let cases = [
        (
            workflow("", "steps: []"),
            "spec.templates[name=a].steps: a task runs one container: make a task of each; order, loops and data between them stay with Argo",
        ),
        (
            workflow("", "dag: {tasks: []}"),
            "spec.templates[name=a].dag: a task runs one container: make a task of each; order, loops and data between them stay with Argo",
        ),
        (
            workflow("entrypoint: b,", STEP).replace("entrypoint: a, ", ""),
            "spec.entrypoint: there is no template \"b\" in spec.templates: give its name",
        ),
        (
            workflow("synchronization: {mutex: {name: m}},", STEP),
            "spec.synchronization: a task has nothing like it: remove it",
        ),
        (
            workflow("", &format!("{STEP}, inputs: {{artifacts: [{{name: x}}]}}")),
            "spec.templates[name=a].inputs.artifacts: a task has nothing like it: remove it",
        ),
        (
            workflow("", "container: {image: '{{inputs.parameters.tag}}'}"),
            "spec.templates[name=a].container.image: {{inputs.parameters.tag}} has no value here: write one in its place",
        ),
        (
            workflow("", "script: {image: i, command: [java], source: x}"),
            "spec.templates[name=a].script.command: put the script into a ConfigMap, and run it from there",
        ),
        (retry("limit: many"), "spec.templates[name=a].retryStrategy.limit: \"many\" is no number: give one"),
        (
            retry("retryPolicy: OnTransientError"),
            "spec.templates[name=a].retryStrategy.retryPolicy: OnTransientError has no counterpart: use a rule on the message of the failure",
        ),
        (
            retry("expression: lastRetry.duration > 3"),
            "spec.templates[name=a].retryStrategy.expression: comparisons of lastRetry.exitCode with numbers can be had: write rules on exit codes by hand",
        ),
        (
            retry("backoff: {duration: soon}"),
            "spec.templates[name=a].retryStrategy.backoff.duration: \"soon\" is no duration such as 30 or 1m30s: give one",
        ),
        (
            retry("limit: 1, colour: red"),
            "spec.templates[name=a].retryStrategy.colour: a task has nothing like it: remove it",
        ),
    ];
    for (manifest, reason) in cases {
        let reasons = refused(&manifest, BEFORE);
        assert!(reasons.iter().any(|said| said == reason), "{manifest}\nwanted: {reason}\nsaid: {reasons:#?}");
    }
}

#[test]
fn of_a_cron_job_too() {
    let cron_job = |spec: &str, job: &str| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: x}}\n\
             spec: {{{spec} jobTemplate: {{spec: {{{job}template: {{spec: {{restartPolicy: Never, containers: [{CONTAINER}]}}}}}}}}}}"
        )
    };
    let cases = [
        (
            cron_job("schedule: '@every 5m',", ""),
            "spec.schedule: @every counts from when the controller started: write five fields, such as */5 * * * *",
        ),
        (
            cron_job("schedule: '* * * * *', concurrencyPolicy: Never,", ""),
            "spec.concurrencyPolicy: there is no policy \"Never\": use Allow, Forbid or Replace",
        ),
        (
            cron_job("schedule: '* * * * *', colour: red,", ""),
            "spec.colour: unknown field: remove it, or correct its name",
        ),
        (
            cron_job("schedule: '* * * * *',", "completions: 3, "),
            "spec.jobTemplate.spec.completions: a task has one Pod at a time: convert with --expand, which makes 3 tasks of it",
        ),
        (
            cron_job("schedule: '* * * * *',", "managedBy: a, "),
            "spec.jobTemplate.spec.managedBy: a runs this Job, and knows no tasks: remove it",
        ),
    ];
    for (manifest, reason) in cases {
        let reasons = refused(&manifest, BEFORE);
        assert!(reasons.iter().any(|said| said == reason), "{manifest}\nwanted: {reason}\nsaid: {reasons:#?}");
    }
    let expanded = refused(&cron_job("schedule: '* * * * *',", "completions: 3, "), EXPAND);
    assert_eq!(
        expanded,
        [
            "spec.jobTemplate.spec.completions: a schedule starts one task at a time: make one schedule of each completion"
        ]
    );
    let never = refused(&cron_job("schedule: '0 0 31 2 *',", ""), BEFORE);
    assert!(never[0].contains("never comes"), "{never:?}");
    let long = "n".repeat(50);
    let named =
        refused(&cron_job("schedule: '* * * * *',", "").replace("{name: x}", &format!("{{name: {long}}}")), BEFORE);
    assert!(named[0].contains("use at most 49"), "{named:?}");
}

#[test]
fn one_that_is_refused_keeps_all_others_back_and_all_is_told() {
    let file = [job("", ""), job("completions: 5, parallelism: 0", ""), job("managedBy: a", "")].join("\n---\n");
    let Err(error) = convert(&file, BEFORE) else { panic!("not refused") };
    let expected = "\
Job \"x\" cannot be converted:
* spec.parallelism: 0 holds the Job: remove it, and set spec.suspend to true
Job \"x\" cannot be converted:
* spec.managedBy: a runs this Job, and knows no tasks: remove it";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_without_a_job_says_what_is_in_it() {
    let error = convert("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}", BEFORE).unwrap_err();
    assert_eq!(error.to_string(), "contains no Job, CronJob, Workflow or CronWorkflow\nskipped: Pod \"n/p\"");
    assert_eq!(convert("", BEFORE).unwrap_err().to_string(), "contains no Job, CronJob, Workflow or CronWorkflow");
    assert_eq!(
        convert("a: 1", BEFORE).unwrap_err().to_string(),
        "document 1 has no kind: it is not a Kubernetes object"
    );
    assert!(convert("a: b: c", BEFORE).unwrap_err().to_string().starts_with("invalid YAML: "));
}

#[test]
fn json_and_the_list_of_the_api_server_are_read_too() {
    let item = r#"{"metadata": {"name": "x"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}"#;
    let list = format!(r#"{{"apiVersion": "batch/v1", "kind": "JobList", "items": [{item}, {item}]}}"#);
    let converted = convert(&list, BEFORE).unwrap();
    assert_eq!(converted.yaml.matches("kind: RetryableTask").count(), 2);
    assert!(!converted.differs());
}

#[test]
fn what_belongs_to_others_and_what_runs_is_told() {
    let owned = HEAD.replace("{name: x}", "{name: x, finalizers: [example.org/hold, foregroundDeletion], ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: u}]}");
    let text = job("", "").replace(HEAD, &owned) + "\nstatus: {active: 1}";
    let told = said(&convert(&text, BEFORE).unwrap());
    let expected = "\
exit code 2
differs: Job \"x\": metadata.finalizers: example.org/hold is left out: who sets it knows no tasks
differs: Job \"x\": metadata.ownerReferences: it belongs to CronJob nightly, the task to nobody: convert the CronJob instead, or delete it
note: Job \"x\": status.active: the Job runs: delete it before the task is created, or both do the work
";
    assert_eq!(told, expected);
}

#[test]
fn what_other_tools_do_with_a_job_is_told() {
    let metadata = "{name: x, labels: {kueue.x-k8s.io/queue-name: q}, annotations: {helm.sh/hook: pre-install}}";
    let text = job("suspend: true", "").replace("{name: x}", metadata);
    let expected = "\
exit code 2
differs: Job \"x\": metadata.annotations: helm.sh/hook makes its tool wait for a Job's end; whether it waits for a task's is to be tried
differs: Job \"x\": spec.suspend: Kueue suspends a Job until there is room, and resumes it; nobody resumes the task: set it to false
";
    assert_eq!(said(&convert(&text, BEFORE).unwrap()), expected);
}

#[test]
fn text_that_looks_like_a_field_gets_no_comment() {
    let script = "|\n            spec:\n              budgets: none\n            budgets: none";
    let text = format!(
        "{HEAD}spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - name: c\n          image: i\n          args:\n          - {script}\n"
    );
    let yaml = convert(&text, BEFORE).unwrap().yaml;
    assert_eq!(yaml.matches("# As a Job, which counts drains").count(), 1, "{yaml}");
}
