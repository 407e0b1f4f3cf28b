//! `why` has a right sentence for the states that a real cluster brings tasks into. Those that need faults or luck are pure tests.

use super::say;
use crate::queue::queue;
use crate::support::manifest::UNTIL_STOPPED;
use crate::support::{Scene, TIMEOUT, eventually, sh};
use serde_json::{Value, json};

/// Ignores the signal to stop, and is process 1 of its container.
const STUBBORN: &str = "trap '' TERM; : >/dev/shm/ready; while :; do sleep 1; done";

/// A task, and what is said of it in the end.
struct Case {
    name: &'static str,
    script: &'static str,
    spec: Value,
    begins: &'static str,
    has: &'static str,
}

fn case(name: &'static str, script: &'static str, spec: Value) -> Case {
    Case { name, script, spec, begins: "", has: "" }
}

impl Case {
    fn says(mut self, begins: &'static str, has: &'static str) -> Self {
        (self.begins, self.has) = (begins, has);
        self
    }
}

/// Tasks that wait, without a Pod.
fn waiting() -> Vec<Case> {
    let in_queue = |name: &str| json!({"queue": {"name": name}});
    let far = "2099-01-01T00:00:00Z";
    vec![
        case("later", "true", json!({"startAt": far}))
            .says("Attempt 1 starts at 2099-01-01T00:00:00Z, in ", ", as spec.startAt says."),
        case("held", "true", json!({"suspend": true}))
            .says("It has been suspended for ", ", and attempt 1 starts once it is resumed."),
        case("blocked", "true", json!({"after": [{"task": "held"}]}))
            .says("Attempt 1 waits for held, which must succeed, for ", " now."),
        case("queued", "true", in_queue("held")).says(
            "Attempt 1 is due and has waited for ",
            " for TaskQueue held: stopPolicy is Hold: no attempt starts; it is number 1 of 1 in line.",
        ),
        case("in-line", "true", in_queue("one")).says(
            "Attempt 1 is due and has waited for ",
            " for TaskQueue one: 1/1 attempts run; it is number 1 of 1 in line.",
        ),
        case("rated", "true", in_queue("slow")).says(
            "Attempt 1 is due and has waited for ",
            " for TaskQueue slow: startRate of TaskQueue slow allows no further start yet; 0 attempts run; it is number 1 of 1 in line.",
        ),
        case("behind", "true", json!({"suspend": true, "after": [{"task": "held"}], "queue": {"name": "one"}})).says(
            "It has been suspended for ",
            ", and attempt 1 starts once it is resumed, after the tasks of spec.after, when TaskQueue one lets it.",
        ),
        case("lost", "true", in_queue("none"))
            .says("Attempt 1 cannot start: there is no TaskQueue none in namespace ", ""),
        case(
            "invalid",
            "true",
            json!({"rules": [{"name": "quoted", "action": "Fail", "when": {"message": r"\Qa\E"}}]}),
        )
        .says("Attempt 1 cannot start, because the spec is not valid: ", "rule \"quoted\""),
        case("hen", "true", json!({"after": [{"task": "egg"}]})).says("Attempt 1 cannot start: these tasks wait for one another: ", "hen"),
        case("egg", "true", json!({"after": [{"task": "hen"}]})).says("Attempt 1 cannot start: these tasks wait for one another: ", "hen"),
        case("account", "true", json!({"template": {"spec": {"serviceAccountName": "nobody"}}})).says(
            "Attempt 1 cannot start, because the API server rejects its Pod: ",
            "serviceaccount \"nobody\" not found; ",
        ),
        case(
            "quota",
            "true",
            json!({"resources": {"requests": {"example.org/seat": "1"}, "limits": {"example.org/seat": "1"}}}),
        )
        .says(
            "Attempt 1 cannot start, because the API server rejects its Pod: ",
            "exceeded quota: seats, requested: requests.example.org/seat=1",
        ),
        case("dependent", "true", json!({"after": [{"task": "later"}], "afterTimeoutSeconds": 1}))
            .says("Failed with DependencyTimeout ", "later"),
        case("impatient", "true", json!({"queue": {"name": "closed", "maxWaitSeconds": 1}}))
            .says("Failed with QueueTimeout ", "TaskQueue closed"),
    ]
}

/// Tasks whose Pods cannot start, or run.
fn with_a_pod() -> Vec<Case> {
    let fallback = json!({"maxRetries": 0, "onFailure": {"command": ["sh", "-c", UNTIL_STOPPED]}});
    vec![
        case("nowhere", "true", json!({"template": {"spec": {"nodeSelector": {"no": "where"}}}}))
            .says("Attempt 1 has not started: Pod nowhere-", " waits, because no node takes it: 0/"),
        case("no-image", "true", json!({"image": "example.org/none:1", "template": {"spec": {"containers": [{"name": "task", "imagePullPolicy": "Never"}]}}}))
            .says("Attempt 1 has not started: Pod no-image-", " waits, because its image cannot be pulled (ErrImageNeverPull): "),
        case("gated", "true", json!({"template": {"spec": {"schedulingGates": [{"name": "example.org/wait"}]}}}))
            .says("Attempt 1 has not started: Pod gated-", " waits, because "),
        case("runs", UNTIL_STOPPED, json!({"queue": {"name": "one"}}))
            .says("Attempt 1 runs in Pod runs-", ", created "),
        case("back-off", "echo no route to 10.1.2.3; exit 3", json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 3600}}))
            .says("Attempt 2 waits for its back-off and starts at ", ": attempt 1 ended with Error, exit code 3: no route to 10.1.2.3; 1 of 3 retries are charged."),
        case("asked", r#"echo '{"retryAfterSeconds": 3600}' >/dev/termination-log; exit 1"#, json!({}))
            .says("Attempt 2 waits for the delay that the failed attempt asked for and starts at ", ": attempt 1 ended with Error, exit code 1"),
        case("probing", "exit 3", json!({"queue": {"name": "down"}, "maxRetries": 1, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}}))
            .says("Attempt 2 is due and has waited for ", " for TaskQueue down: its circuit is open ("),
        case("fallback", "exit 3", fallback)
            .says("The fallback runs in Pod fallback-", "; the task has failed: RetriesExhausted: the only attempt failed (maxRetries 0)"),
    ]
}

/// Tasks that end, each in its way.
fn ended() -> Vec<Case> {
    let report = |message: &str, code: i32| format!("echo '{message}' >/dev/termination-log; exit {code}");
    let rule = json!([{"name": "fatal", "action": "Fail", "when": {"exitCodes": [42]}}]);
    let budget = json!([{"name": "flaky", "action": "Retry", "maxRetries": 0, "when": {"exitCodes": [9]}}]);
    let once = json!({"maxRetries": 0});
    vec![
        case("succeeds", "true", json!({})).says("Succeeded ", ": attempt 1 succeeded."),
        case("in-part", report(r#"{"partial": {"failed": 3, "total": 100}}"#, 0).leak(), json!({}))
            .says("Succeeded in part ", "3 of 100"),
        case("fails", "exit 3", once.clone()).says(
            "Failed with RetriesExhausted ",
            ": the only attempt failed (maxRetries 0); the last ended with Error, exit code 3.",
        ),
        case("by-rule", "exit 42", json!({"rules": rule})).says("Failed with RuleFailed ", "fatal"),
        case("budget", "exit 9", json!({"rules": budget})).says("Failed with BudgetExhausted ", "flaky"),
        case("gives-up", report(r#"{"doNotRetry": true}"#, 1).leak(), json!({}))
            .says("Failed with DoNotRetry ", ": attempt 1 returned doNotRetry"),
        case("too-long", UNTIL_STOPPED, json!({"activeDeadlineSeconds": 2}))
            .says("Failed with DeadlineExceeded ", "activeDeadlineSeconds"),
        case("hangs", UNTIL_STOPPED, json!({"maxRetries": 0, "attemptTimeoutSeconds": 1})).says(
            "Failed with RetriesExhausted ",
            ": the only attempt failed (maxRetries 0); the last ended with AttemptTimeout",
        ),
        case("after-failure", "true", json!({"after": [{"task": "fails"}]}))
            .says("Failed with DependencyFailed ", "fails"),
    ]
}

/// Applies them all, and waits for what is to be said of each.
async fn are_said(scene: &Scene, cases: &[Case]) {
    for Case { name, script, spec, .. } in cases {
        scene.apply(&sh(name, script, spec));
    }
    for Case { name, begins, has, .. } in cases {
        eventually(&format!("{name}: {begins}…{has}"), async || {
            let said = say(scene, &["why", name]).await;
            let is_right = said.code == Some(0) && said.out.starts_with(begins) && said.out.contains(has);
            if is_right { Ok(()) } else { Err(said.out + &said.err) }
        })
        .await;
    }
}

#[tokio::test]
async fn every_wait_has_its_sentence() {
    let scene = Scene::new("plugin-why").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "seats"},
        "spec": {"hard": {"requests.example.org/seat": "0"}}});
    scene.apply(&quota);
    for name in ["held", "closed"] {
        scene.apply(&queue(name, &json!({"stopPolicy": "Hold"})));
    }
    scene.apply(&queue("one", &json!({"maxConcurrent": 1})));
    scene.apply(&queue("slow", &json!({"startRate": {"starts": 1, "perSeconds": 3600}})));
    let breaker = json!({"failures": {"exitCodes": [3]}, "openAfter": {"tasks": 1, "percent": 1}, "openSeconds": 3600});
    scene.apply(&queue("down", &json!({"maxConcurrent": 1, "circuitBreaker": breaker})));
    scene.kubectl(&["wait", "resourcequota/seats", "--for=jsonpath={.status.hard}", TIMEOUT]).ok();
    let _operator = scene.operator().await;
    are_said(&scene, &with_a_pod()).await;
    are_said(&scene, &waiting()).await;
}

#[tokio::test]
async fn every_end_has_its_sentence() {
    let scene = Scene::new("plugin-ends").await;
    let _operator = scene.operator().await;
    are_said(&scene, &ended()).await;
}

#[tokio::test]
async fn a_pod_that_does_not_stop_is_named() {
    let scene = Scene::new("plugin-stops").await;
    let _operator = scene.operator().await;
    let patient = json!({"template": {"spec": {"terminationGracePeriodSeconds": 3600}}});
    for name in ["stubborn", "also"] {
        scene.apply(&sh(name, STUBBORN, &patient));
    }
    let mut pods = Vec::new();
    for name in ["stubborn", "also"] {
        let pod = scene.running(name, 1).await.metadata.name.unwrap();
        scene.ready(&pod).await;
        pods.push(pod);
    }
    let suspended = say(&scene, &["suspend", "stubborn", "--timeout", "10s"]).await;
    let expected = format!("stubborn: Pod {} is being stopped; the task is suspended when it has ended\n", pods[0]);
    assert_eq!((suspended.code, suspended.out), (Some(0), expected), "{}", suspended.err);
    let why = say(&scene, &["why", "stubborn"]).await.out;
    let expected = format!(", because the task was suspended: its Pod {} has yet to end.", pods[0]);
    assert!(why.starts_with("Attempt 1 has been stopping for ") && why.contains(&expected), "{why}");
    let cancelled = say(&scene, &["cancel", "also", "--timeout", "10s"]).await;
    let expected = format!("also: Pod {} is being stopped; the task is cancelled when it has ended\n", pods[1]);
    assert_eq!((cancelled.code, cancelled.out), (Some(0), expected), "{}", cancelled.err);
    for pod in pods {
        scene.kubectl(&["delete", "pod", &pod, "--force", "--grace-period=0", "--wait=false"]).ok();
    }
}
