//! Each manifest in `tests/convert` with what becomes of it; `WRITE_CONVERTED=1` writes it anew, to be read and committed.

mod refusals;

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
        ("growing.workflow", BEFORE, "growing"),
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

#[test]
fn a_name_that_is_too_long_for_a_schedule_is_shortened() {
    let named = |name: &str| {
        let manifest = source("nightly.cronjob").replace("name: nightly", &format!("name: {name}"));
        let converted = convert(&manifest, BEFORE).unwrap();
        let yaml: serde_json::Value = serde_yaml_ng::from_str(&converted.yaml).unwrap();
        let said = said(&converted).lines().find(|line| line.contains("metadata.name")).map(ToOwned::to_owned);
        (yaml["metadata"]["name"].as_str().unwrap().to_owned(), said)
    };
    let fits = "n".repeat(49);
    assert_eq!(named(&fits), (fits.clone(), None));
    // 52 characters are the most of a CronJob.
    let (first, said) = named("import-the-orders-of-yesterday-into-the-warehouse-eu");
    let (second, _) = named("import-the-orders-of-yesterday-into-the-warehouse-us");
    assert!(first.len() <= 49 && first.starts_with("import-the-orders-of-yesterday-into-the-war"), "{first}");
    assert_ne!(first, second);
    let said = said.unwrap();
    assert!(said.starts_with("differs: CronJob") && said.contains(&first), "{said}");
    let (dashed, _) = named(&format!("{}-{}", "n".repeat(42), "m".repeat(9)));
    assert!(dashed.starts_with(&format!("{}-", "n".repeat(42))) && !dashed.contains("--"), "{dashed}");
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

#[test]
fn a_patch_that_the_exit_handler_had_too_is_told() {
    let patched = source("backoff.workflow").replace(
        "  onExit: tell\n",
        "  onExit: tell\n  podSpecPatch: 'containers: [{name: main, resources: {limits: {memory: 1Gi}}}]'\n",
    );
    let converted = convert(&patched, BEFORE).unwrap();
    let expected = "differs: Workflow \"fetch-\": spec.podSpecPatch: it holds for the exit handler too, and not for onFailure: write its resources into that container\n";
    assert!(said(&converted).contains(expected), "{}", said(&converted));
    assert_eq!(converted.yaml.matches("memory: 1Gi").count(), 1, "{}", converted.yaml);
}
