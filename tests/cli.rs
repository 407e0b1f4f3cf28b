//! The command line as people and programs meet it: `simulate` and `convert` need no cluster.

#![allow(clippy::unwrap_used)]

#[path = "cli/outage.rs"]
mod outage;

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

const TASK: &str = "
apiVersion: retryable.dev/v1alpha1
kind: RetryableTask
metadata: {name: import-orders, namespace: shop}
spec:
  image: registry.example/import:1.4
  maxRetries: 2
  rules:
    - name: rate-limited
      when: {message: (?i)too many requests}
      action: Retry
      maxRetries: 1
      backoff: {strategy: Fixed, initialDelaySeconds: 30}
";

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// What `simulate` says to that standard input.
fn simulate(input: &str, args: &[&str]) -> Said {
    said("simulate", input, args)
}

/// What a command says to that standard input.
fn said(command: &str, input: &str, args: &[&str]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_retryable-tasks"))
        .args([command, "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command line that is refused ends the program before it has read anything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn the_schedule_of_a_task_to_the_letter() {
    let Said { code, out, err } = simulate(TASK, &[]);
    let expected = "\
shop/import-orders, if every attempt fails at once with exit code 1

ATTEMPT   EARLIEST   EXPECTED   LATEST   START
1         0s         0s         0s       0s
2         0.75s      1s         1.25s    1s
3         1.5s       2s         2.5s     3s

Failed after 3 attempts and 3s: RetriesExhausted
  maxRetries (2) exhausted after 3 attempts; the last ended with Error, exit code 1

EARLIEST, EXPECTED, LATEST: the wait before the attempt. START: the expected time from the task's start to the attempt's.
";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), expected, ""));
}

#[test]
fn what_follows_a_failure_to_the_letter() {
    let Said { code, out, .. } = simulate(TASK, &["--exit-code", "75", "--message", "HTTP 429 Too Many Requests"]);
    let expected = "\
shop/import-orders

ATTEMPT   EARLIEST   EXPECTED   LATEST   START   REASON   EXIT-CODE   RULE           ACTION   BUDGET
1         0s         0s         0s       0s      Error    75          rate-limited   Retry    rate-limited 1/1
2         22.5s      30s        37.5s    30s     Error    75          rate-limited   Fail     rate-limited 1/1

Failed after 2 attempts and 30s: BudgetExhausted
  retry budget of rule rate-limited exhausted after 2 attempts; the last ended with Error, exit code 75: HTTP 429 Too Many Requests

EARLIEST, EXPECTED, LATEST: the wait before the attempt. START: the expected time from the task's start to the attempt's.
";
    assert_eq!((code, out.as_str()), (Some(0), expected));
}

#[test]
fn programs_get_the_same_facts_in_milliseconds() {
    let Said { out, .. } = simulate(TASK, &["--outcomes", "75,OOMKilled,0", "-o", "json"]);
    let read: Value = serde_json::from_str(&out).unwrap();
    let task = &read["tasks"][0];
    assert_eq!((&task["name"], &task["namespace"]), (&"import-orders".into(), &"shop".into()));
    let second = &task["attempts"][1];
    let expected = serde_json::json!({
        "attempt": 2, "earliestMilliseconds": 750, "expectedMilliseconds": 1000, "latestMilliseconds": 1250,
        "startMilliseconds": 1000, "runMilliseconds": 0, "reason": "OOMKilled", "exitCode": 137, "signal": 9,
        "errorType": null, "message": null, "rule": "outOfMemory", "action": "Retry",
        "budget": {"name": "maxRetries", "used": 2, "limit": 2},
    });
    assert_eq!(second, &expected);
    let expected = serde_json::json!({
        "type": "Complete", "reason": "Succeeded", "message": "attempt 3 succeeded", "exhaustedBudget": null,
        "atMilliseconds": 3000,
    });
    assert_eq!(task["end"], expected);
}

#[test]
fn all_that_is_wrong_is_told_and_nothing_else() {
    let bad = TASK.replace("maxRetries: 2", "maxRetrys: 2\n  historyLimit: 101");
    let Said { code, out, err } = simulate(&format!("{bad}---{TASK}"), &["-o", "json"]);
    let expected = "\
error: RetryableTask \"import-orders\" is invalid:
* unknown field \"spec.maxRetrys\"
* spec.historyLimit: Invalid value: 101: historyLimit goes from 0 to 100
";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", expected));
}

#[test]
fn files_without_a_task_say_what_they_are() {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    let cases = [
        ("", "error: standard input: contains no document\n"),
        ("--- \n# nothing\n", "error: standard input: contains no document\n"),
        (config, "error: standard input: contains no RetryableTask and no TaskSchedule\n"),
        ("just words", "error: standard input: document 1 has no kind: it is not a Kubernetes object\n"),
        (
            "a: b: c",
            "error: standard input: invalid YAML: mapping values are not allowed in this context at line 1 column 5\n",
        ),
        ("a: 1\na: 2", "error: standard input: invalid YAML: duplicate entry with key \"a\"\n"),
    ];
    for (text, words) in cases {
        let Said { code, out, err } = simulate(text, &[]);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", words), "{text}");
    }
    let missing =
        Command::new(env!("CARGO_BIN_EXE_retryable-tasks")).args(["simulate", "not/there.yaml"]).output().unwrap();
    let err = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(
        (missing.status.code(), err.as_str()),
        (Some(1), "error: not/there.yaml: No such file or directory (os error 2)\n")
    );
}

#[test]
fn every_task_of_a_file_is_shown_and_other_kinds_are_told() {
    let old = TASK.replace("v1alpha1", "v1");
    let Said { err, .. } = simulate(&old, &[]);
    assert!(
        err.contains("* apiVersion: no matches for kind \"RetryableTask\" in version \"retryable.dev/v1\""),
        "{err}"
    );
    let second = TASK.replace("import-orders", "second").trim().replace('\n', "\n      ");
    let text = format!(
        "{TASK}---\napiVersion: v1\nkind: List\nitems:\n    - {second}\n    - {{kind: Secret, metadata: {{name: s}}}}\n"
    );
    let Said { code, out, err } = simulate(&text, &[]);
    assert_eq!((code, err.as_str()), (Some(0), "skipped: Secret s\n"));
    let titles: Vec<&str> =
        out.lines().filter_map(|line| line.strip_suffix(", if every attempt fails at once with exit code 1")).collect();
    assert_eq!(titles, ["shop/import-orders", "shop/second"]);
}

#[test]
fn json_manifests_and_scripts_from_a_file() {
    let script = std::env::temp_dir().join(format!("outcomes-{}.yaml", std::process::id()));
    std::fs::write(&script, "- {exitCode: 1, runSeconds: 5}\n- 0\n").unwrap();
    let task = r#"{"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": {"name": "a"}, "spec": {"image": "x\/y"}}"#;
    let Said { code, out, .. } = simulate(task, &["--outcomes-from", script.to_str().unwrap()]);
    std::fs::remove_file(&script).unwrap();
    assert!(code == Some(0) && out.contains("Complete after 2 attempts and 6s: Succeeded"), "{out}");
    let Said { code, err, .. } = simulate(task, &["--outcomes-from", "-"]);
    let words = "error: the manifest and the outcomes cannot both come from standard input\n";
    assert_eq!((code, err.as_str()), (Some(1), words));
}

/// What is written in a file of this tree.
fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The pages that show manifests.
fn pages() -> Vec<String> {
    let folder = |name: &str| {
        let entries = std::fs::read_dir(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let paths =
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md"));
        paths.map(|path| format!("{name}/{}", path.file_name().unwrap().to_str().unwrap())).collect::<Vec<_>>()
    };
    ["docs", "docs/guides", "docs/operations"].into_iter().flat_map(folder).chain(["README.md".into()]).collect()
}

/// The YAML that a page shows, block by block.
fn shown(page: &str) -> Vec<String> {
    let text = read(page);
    let block = |rest: &str| rest.split_once("```").map(|(yaml, _)| yaml.to_owned());
    text.split("```yaml\n").skip(1).filter_map(block).collect()
}

#[test]
fn the_manifests_of_the_pages_are_accepted() {
    let mut seen = 0;
    for page in pages() {
        for yaml in shown(&page) {
            let manifest = match yaml.strip_prefix("spec:\n") {
                Some(spec) => format!(
                    "apiVersion: retryable.dev/v1alpha1\nkind: RetryableTask\nmetadata: {{name: shown}}\n\
                     spec:\n  image: registry.example/shown:1\n  resources: {{limits: {{memory: 1Gi}}}}\n{spec}"
                ),
                None if yaml.starts_with("apiVersion: retryable.dev/") => yaml.clone(),
                None => continue,
            };
            let Said { code, err, .. } = simulate(&manifest, &[]);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{page}:\n{yaml}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen} manifests were found: the pages are elsewhere");
}

#[test]
fn a_guide_shows_a_manifest_that_is_tested() {
    for page in pages().into_iter().filter(|page| page.starts_with("docs/guides/")) {
        let mut tested = 0;
        for yaml in shown(&page).into_iter().filter(|yaml| yaml.starts_with("apiVersion: retryable.dev/")) {
            let name = yaml.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap_or_default();
            let folder = if yaml.contains("kind: TaskSchedule\n") { "schedules" } else { "examples" };
            let path = format!("deploy/{folder}/{name}.yaml");
            assert!(read(&path).ends_with(&yaml), "{page} shows something else than {path}:\n{yaml}");
            assert!(read(&page).contains(&format!("(../../{path})")), "{page} does not name {path}");
            tested += 1;
        }
        assert!(tested > 0, "{page} shows no manifest of deploy/examples");
    }
}

#[test]
fn the_next_starts_of_a_schedule_are_shown_with_the_changes_of_the_clock() {
    let manifest = "apiVersion: retryable.dev/v1alpha1\nkind: TaskSchedule\nmetadata: {name: nightly}\nspec:\n  \
                    schedule: 30 2 * * *\n  timeZone: Europe/Stockholm\n  splaySeconds: 60\n  \
                    template: {spec: {image: busybox}}\n";
    let Said { code, err, out } = simulate(manifest, &["--from", "2027-03-26T12:00:00Z", "--starts", "4"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let expected = "\
nightly: 30 2 * * * in Europe/Stockholm

TIME                        UTC                    ZONE   DST   CLOCK
2027-03-27T02:30:00+01:00   2027-03-27T01:30:00Z   CET    no    -
2027-03-28T03:00:00+02:00   2027-03-28T01:00:00Z   CEST   yes   there is no 02:30: the clock is put forward over it
2027-03-29T02:30:00+02:00   2027-03-29T00:30:00Z   CEST   yes   -
2027-03-30T02:30:00+02:00   2027-03-30T00:30:00Z   CEST   yes   -

Each starts later by one number of seconds from 0 to 60 (splaySeconds), which follows from the schedule's UID.
";
    assert_eq!(out, expected);
    let Said { out, .. } = simulate(manifest, &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["schedules"][0]["starts"].as_array().unwrap().len(), 10);
    assert_eq!(json["schedules"][0]["starts"][0]["start"], serde_json::Value::Null, "it is not known");

    // As `kubectl get -o yaml` prints it: the operator adds the same.
    let stored = manifest.replace("{name: nightly}", "{name: nightly, uid: 5c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10}");
    let Said { out, .. } = simulate(&stored, &["--from", "2027-03-27T01:30:10Z", "--starts", "2"]);
    let expected = "\
nightly: 30 2 * * * in Europe/Stockholm

TIME                        UTC                    START                  ZONE   DST   CLOCK
2027-03-27T02:30:00+01:00   2027-03-27T01:30:00Z   2027-03-27T01:30:16Z   CET    no    -
2027-03-28T03:00:00+02:00   2027-03-28T01:00:00Z   2027-03-28T01:00:16Z   CEST   yes   there is no 02:30: the clock is put forward over it

Each starts 16 s after its time (splaySeconds 60).
";
    assert_eq!(out, expected);
}

#[test]
fn what_is_wrong_with_a_schedule_is_said_as_the_api_server_says_it() {
    let of = |fields: &str| {
        let manifest = format!(
            "apiVersion: retryable.dev/v1alpha1\nkind: TaskSchedule\nmetadata: {{name: nightly}}\nspec:\n{fields}"
        );
        simulate(&manifest, &[]).err
    };
    let task = "  template: {spec: {image: busybox}}\n";
    for (fields, expected) in [
        (format!("  schedule: 60 2 * * *\n{task}"), "the first field is the minute, 0-59"),
        (format!("  schedule: 0 2 * *\n{task}"), "a schedule is five fields (minute 0-59, hour 0-23"),
        (format!("  schedule: '@every 5m'\n{task}"), "instead of @every 5m write */5 * * * *"),
        (format!("  schedule: TZ=UTC 0 2 * * *\n{task}"), "a schedule has no TZ= prefix"),
        (format!("  schedule: 0 2 * * *\n  schedules: ['@daily']\n{task}"), "and not both"),
        (task.to_owned(), "set spec.schedule, or spec.schedules"),
        (format!("  schedule: 0 0 31 2 *\n{task}"), "never comes"),
        (format!("  schedule: '@daily'\n  timeZone: Europe/Atlantis\n{task}"), "is not a time zone"),
        ("  schedule: '@daily'\n  template: {spec: {}}\n".to_owned(), "nothing to run: set spec.image"),
        (
            "  schedule: '@daily'\n  template: {spec: {image: a, maxRetry: 3}}\n".to_owned(),
            "spec.template.spec.maxRetry",
        ),
    ] {
        let said = of(&fields);
        assert!(said.contains(expected), "{fields}: {said}");
    }
}

#[test]
fn the_schedules_of_deploy_are_accepted() {
    let folder = format!("{}/deploy/schedules", env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 2);
    for file in files {
        let Said { code, err, .. } = simulate(&std::fs::read_to_string(&file).unwrap(), &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{}", file.display());
    }
}

#[test]
fn convert_prints_a_manifest_and_says_what_differs() {
    const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: x}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
";
    let Said { code, out, err } = said("convert", JOB, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("apiVersion: retryable.dev/v1alpha1\nkind: RetryableTask\n"), "{out}");
    let Said { code: simulated, .. } = simulate(&out, &[]);
    assert_eq!(simulated, Some(0));

    let Said { code, out, err } = said("convert", &JOB.replace("Never", "OnFailure"), &["--modern"]);
    assert_eq!((code, out.is_empty()), (Some(2), false));
    assert!(err.contains("\ndiffers: Job \"x\": spec.template.spec.restartPolicy: "), "{err}");

    let several = JOB.replacen("spec: {", "spec: {completions: 2, ", 1);
    let refused = "\
error: standard input: Job \"x\" cannot be converted:
* spec.completions: a task has one Pod at a time: convert with --expand, which makes 2 tasks of it
";
    let Said { code, out, err } = said("convert", &several, &[]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", refused));
    let Said { code, out, .. } = said("convert", &several, &["--expand"]);
    assert_eq!((code, out.matches("kind: RetryableTask").count()), (Some(2), 2));
}

#[test]
fn the_page_says_which_context_there_is_not() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-contexts.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n").unwrap();
    let mut page = Command::new(env!("CARGO_BIN_EXE_retryable-tasks"));
    page.args(["ui", "--http-address", "127.0.0.1:0", "--context", "nowhere", "--kubeconfig"]).arg(file);
    let output = page.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("nowhere") && err.contains("Give --context or --kubeconfig"), "{err}");
}

#[test]
fn the_page_names_the_login_program_that_is_missing() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-login.yaml");
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
        clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        users: [{name: a, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-login, interactiveMode: Never}}}]\n";
    std::fs::write(&file, config).unwrap();
    let mut page = Command::new(env!("CARGO_BIN_EXE_retryable-tasks"));
    let output = page.args(["ui", "--http-address", "127.0.0.1:0", "--kubeconfig"]).arg(file).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("no-such-login, which the kubeconfig names to log in with"), "{err}");
}
