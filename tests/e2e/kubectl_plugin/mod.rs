//! `kubectl retryable` on a real cluster: through kubectl itself, which finds it on the `PATH`.

mod why;

use crate::queue::queue;
use crate::support::cluster::program;
use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::proxy::{Proxy, Treatment};
use crate::support::{Scene, eventually, sh};
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::State;
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// A folder in which the program has its names as a plugin.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("retryable-tasks-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["kubectl-retryable", "kubectl_complete-retryable"] {
        let _ = std::fs::remove_file(folder.join(name));
        symlink(program().get_program(), folder.join(name)).unwrap();
    }
    folder
});

pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// `kubectl retryable VERB` in the namespace of the scene.
pub fn kubectl(scene: &Scene, args: &[&str]) -> Command {
    let mut path = OsString::from(&*FOLDER);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("kubectl");
    // A plugin's options come after its name.
    command.arg("retryable").args(args.iter().take(1)).args(["--namespace", &scene.namespace]);
    command.args(args.iter().skip(1)).env("PATH", path).stdin(Stdio::null());
    command
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a verb while the world goes on.
pub async fn say(scene: &Scene, args: &[&str]) -> Said {
    let mut command = kubectl(scene, args);
    tokio::task::spawn_blocking(move || said(&mut command)).await.unwrap()
}

#[tokio::test]
async fn logs_follow_into_the_next_attempt_and_waiting_tells_the_end() {
    let scene = Scene::new("plugin-logs").await;
    let _operator = scene.operator().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    // One stream: the runtime may swap lines of two.
    let script = "echo try $RETRYABLE_ATTEMPT; test $RETRYABLE_ATTEMPT = 2 || { echo 'no order 17'; exit 3; }";
    scene.apply(&sh("follows", script, &json!({"backoff": backoff, "podRetention": {"failed": 2}})));
    let (logs, wait) = tokio::join!(say(&scene, &["logs", "follows", "-f"]), say(&scene, &["wait", "follows"]));
    assert_eq!((logs.code, &*logs.out), (Some(0), "try 1\nno order 17\ntry 2\n"), "{}", logs.err);
    assert!(logs.err.contains("--- attempt 1 ended with Error, exit code 3: no order 17"), "{}", logs.err);
    assert_eq!((wait.code, &*wait.out), (Some(0), "follows: Succeeded: attempt 2 succeeded\n"));
    let all = say(&scene, &["logs", "follows", "--all"]).await;
    assert_eq!((all.code, &*all.out), (Some(0), "try 1\nno order 17\ntry 2\n"), "{}", all.err);
    assert_eq!(say(&scene, &["logs", "follows", "--attempt", "1"]).await.out, "try 1\nno order 17\n");

    scene.apply(&sh("fails", "exit 3", &json!({"maxRetries": 0})));
    assert_eq!(say(&scene, &["wait", "fails"]).await.code, Some(1));
    scene.apply(&sh("runs", UNTIL_STOPPED, &json!({})));
    let late = say(&scene, &["wait", "runs", "--timeout", "1s"]).await;
    assert_eq!((late.code, &*late.err), (Some(2), "error: after 1 s, 1 of 1 had not ended: runs\n"));
}

#[tokio::test]
async fn requests_have_their_effect_and_say_which() {
    let scene = Scene::new("plugin-requests").await;
    let _operator = scene.operator().await;
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 3600, "jitter": {"mode": "None"}});
    let script = "test $RETRYABLE_ATTEMPT -gt 1 || { echo cannot reach 10.1.2.3 >&2; exit 3; }";
    for name in ["one", "two", "three"] {
        scene.apply(&sh(name, script, &json!({"backoff": backoff, "maxRetries": 1})));
    }
    for name in ["one", "two", "three"] {
        scene.status(name, "its wait", |status| status.state == Some(State::Waiting)).await;
    }
    let why = say(&scene, &["why", "one"]).await.out;
    assert!(why.starts_with("Attempt 2 waits for its back-off and starts at "), "{why}");
    assert!(
        why.contains(": attempt 1 ended with Error, exit code 3: cannot reach 10.1.2.3; 1 of 1 retries are charged."),
        "{why}"
    );
    let errors = say(&scene, &["errors", "--no-headers"]).await.out;
    let row: Vec<&str> = errors.split_whitespace().collect();
    assert_eq!(
        (errors.lines().count(), row[1], row[2], row[7..].join(" ")),
        (1, "3", "3", "cannot reach #".into()),
        "{errors}"
    );

    assert_eq!(say(&scene, &["retry-now", "one"]).await.out, "one: the wait for attempt 2 was skipped\n");
    assert_eq!(say(&scene, &["cancel", "two"]).await.out, "two: the task was cancelled\n");
    assert_eq!(say(&scene, &["suspend", "three"]).await.out, "three: it is suspended\n");
    let why = say(&scene, &["why", "three"]).await.out;
    assert!(why.starts_with("It has been suspended for ") && why.contains("attempt 2 is due at "), "{why}");
    assert_eq!(say(&scene, &["resume", "three"]).await.out, "three: it goes on\n");
    assert_eq!(scene.finished("one").await.state, Some(State::Succeeded));
    assert_eq!(scene.finished("two").await.state, Some(State::Cancelled));

    // By its cause: those that have not succeeded.
    let again = say(&scene, &["run-again", "--fingerprint", row[0], "--yes"]).await;
    let mut lines: Vec<&str> = again.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        (again.code, &*lines),
        (Some(0), &["three: it runs again once it has ended", "two: run 2 begins with attempt 2"][..]),
        "{}",
        again.err
    );
    assert_eq!(scene.finished("two").await.run.unwrap().number, 2);
}

#[tokio::test]
async fn a_task_is_created_once_through_an_outage() {
    let scene = Scene::new("plugin-outage").await;
    let _operator = scene.operator().await;
    let proxy = Proxy::start().await;
    let outage = Arc::new(AtomicBool::new(true));
    let (is_away, mut tries) = (outage.clone(), 0);
    // The server is away; then it creates the task, and the answer is lost.
    proxy.control(move |asked| {
        if asked.method == "POST" {
            tries += 1;
        }
        match (is_away.load(Ordering::SeqCst), tries) {
            (true, 3) => {
                is_away.store(false, Ordering::SeqCst);
                Treatment::LoseAnswer
            }
            (true, _) => Treatment::Refuse(503),
            (false, _) => Treatment::Pass,
        }
    });
    let config = proxy.kubeconfig().to_str().unwrap().to_owned();
    let args = [
        "create",
        "once",
        "--kubeconfig",
        &config,
        "--image",
        "docker.io/library/busybox:1",
        "--submit-timeout",
        "5m",
        "--wait",
        "--command",
        "--",
        "true",
    ];
    let created = say(&scene, &args).await;
    let expected = "retryabletask.retryable.dev/once exists, unchanged\nonce: Succeeded: attempt 1 succeeded\n";
    assert_eq!((created.code, &*created.out), (Some(0), expected), "{}", created.err);
    assert!(!outage.load(Ordering::SeqCst));
    let all = scene.tasks().list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["once"]);
}

#[tokio::test]
async fn whoever_has_rights_in_one_namespace_uses_it_there() {
    let scene = Scene::new("plugin-rights").await;
    let other = scene.beside("plugin-rights-other").await;
    let _operator = scene.operator().await;
    let user = format!("someone-{}", scene.namespace);
    scene
        .kubectl(&[
            "create",
            "role",
            "tasks",
            "--verb=get,list,watch,create,patch",
            "--resource=retryabletasks.retryable.dev",
        ])
        .ok();
    scene.kubectl(&["create", "rolebinding", "tasks", "--role=tasks", &format!("--user={user}")]).ok();
    let args = [
        "create",
        "mine",
        "--as",
        &user,
        "--image",
        "docker.io/library/busybox:1",
        "--wait",
        "--command",
        "--",
        "true",
    ];
    let mine = say(&scene, &args).await;
    assert_eq!(mine.code, Some(0), "{}{}", mine.out, mine.err);
    let both = format!("{},{}", scene.namespace, other.namespace);
    let list =
        said(Command::new(FOLDER.join("kubectl-retryable")).args(["list", "-n", &both, "--as", &user, "-o", "name"]));
    assert_eq!((list.code, &*list.out), (Some(1), "retryabletask.retryable.dev/mine\n"));
    assert_eq!(list.err, format!("error: you may not list retryabletasks in these namespaces: {}\n", other.namespace));
    let forbidden = say(&other, &["why", "mine", "--as", &user]).await;
    assert!(forbidden.code == Some(1) && forbidden.err.contains("cannot get resource"), "{}", forbidden.err);
}

#[tokio::test]
async fn kubectl_completes_the_names_of_tasks() {
    let scene = Scene::new("plugin-complete").await;
    scene.apply(&sh("import-orders", "true", &json!({"suspend": true})));
    let mut command = kubectl(&scene, &[]);
    let mut complete = Command::new("kubectl");
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path).unwrap().to_owned();
    complete.args(["__complete", "retryable", "why", "--namespace", &scene.namespace, "imp"]).env("PATH", path);
    let completed = said(&mut complete);
    assert_eq!(completed.out, "import-orders\n:4\n", "{}", completed.err);
    assert!(said(command.arg("--help")).out.contains("Usage: kubectl retryable"));
}

#[tokio::test]
async fn queues_and_schedules_are_steered() {
    let scene = Scene::new("plugin-steer").await;
    let _operator = scene.operator().await;
    scene.apply(&queue("mail", &json!({"maxConcurrent": 1})));
    let held = say(&scene, &["queue", "hold", "mail"]).await;
    assert_eq!(held.out, "taskqueue.retryable.dev/mail: held: no attempt starts\n", "{}", held.err);
    scene.apply(&sh("letter", UNTIL_STOPPED, &json!({"queue": {"name": "mail", "priority": 3}})));
    scene.status("letter", "its place in the line", |status| status.state == Some(State::Queued)).await;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown = say(&scene, &["queue", "get", "mail"]).await.out;
    assert!(shown.contains("Starts:     Held\n") && words(&shown).ends_with(&words("1 letter 3 - Held")), "{shown}");
    say(&scene, &["queue", "resume", "mail"]).await;
    let pod = scene.running("letter", 1).await;
    let node = pod.spec.unwrap().node_name.unwrap();
    let workers = say(&scene, &["workers", "--no-headers"]).await.out;
    assert_eq!(words(&workers), [&*node, "1", "0", "0", "letter"]);

    let template = json!({"spec": {"image": IMAGE, "command": ["sh", "-c"], "args": ["exit 3"], "maxRetries": 0}});
    let spec = json!({"schedule": "0 0 1 1 *", "splaySeconds": 86400, "pauseAfterFailures": 1, "template": template});
    let metadata = json!({"name": "yearly"});
    scene.apply(
        &json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": metadata, "spec": spec}),
    );
    let triggered = say(&scene, &["schedule", "trigger", "yearly"]).await;
    assert!(triggered.code == Some(0) && triggered.out.starts_with("yearly: "), "{}{}", triggered.out, triggered.err);
    eventually("the pause to be shown", async || {
        let list = say(&scene, &["schedule", "list", "-o", "wide", "--no-headers"]).await.out;
        if list.contains(" Paused ") { Ok(()) } else { Err(list) }
    })
    .await;
    assert_eq!(say(&scene, &["schedule", "resume", "yearly"]).await.code, Some(0));
    let passed = "2025-12-31/2026-01-02";
    let started = say(&scene, &["schedule", "backfill", "yearly", passed]).await;
    let effect = format!("yearly: 1 time of {passed} starts, unless its task exists\n");
    assert_eq!((started.code, started.out), (Some(0), effect), "{}", started.err);
    let again = say(&scene, &["schedule", "backfill", "yearly", passed]).await;
    assert!(again.code == Some(1) && again.err.starts_with("error: already requested ("), "{}", again.err);
    let well = say(&scene, &["schedule", "trigger", "yearly", "--patch", r#"{"args": ["true"]}"#]).await;
    assert_eq!(well.code, Some(0), "{}{}", well.out, well.err);
    let next = say(&scene, &["schedule", "next", "yearly", "--starts", "1", "-o", "json"]).await.out;
    let next: serde_json::Value = serde_json::from_str(&next).unwrap();
    assert!(next["starts"][0]["utc"].as_str().unwrap().ends_with("-01-01T00:00:00Z"), "{next}");
    eventually("the start as the operator says it", async || {
        // The run of the backfill fails too, and pauses the schedule again.
        say(&scene, &["schedule", "resume", "yearly"]).await;
        let column = scene.kubectl(&["get", "tsch", "yearly", "-o", "jsonpath={.status.nextScheduleTime}"]).ok();
        if next["starts"][0]["start"] == json!(column) { Ok(()) } else { Err(format!("{column} and {next}")) }
    })
    .await;

    let version = say(&scene, &["version"]).await;
    let definitions: Vec<&str> = version.out.lines().filter(|line| line.starts_with("Definition:")).collect();
    let same = |kind: &str| format!("Definition:  {kind}.retryable.dev: as this program knows it");
    assert_eq!(definitions, ["retryabletasks", "taskqueues", "taskschedules"].map(same), "{}", version.err);
    assert_eq!(version.code, Some(0), "{}", version.err);
}
