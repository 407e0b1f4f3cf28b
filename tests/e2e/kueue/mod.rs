//! Attempts that wait for quota and make way, on a real cluster: with Kueue itself (`make kueue`), else with a double of it
//! that does to Pods what Kueue does.

mod double;
mod installed;

use crate::support::manifest::UNTIL_STOPPED;
use crate::support::oracle::no_rule_is_broken;
use crate::support::record::Record;
use crate::support::{Scene, eventually, sh};
use double::Double;
use installed::Installed;
use kube::ResourceExt;
use retryable_tasks::api::{Action, ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use serde_json::{Value, json};

const QUEUE: &str = "kueue.x-k8s.io/queue-name";
const PRIORITY: &str = "kueue.x-k8s.io/priority-class";
const GATE: &str = "kueue.x-k8s.io/admission";
/// The priority class that preempts.
const URGENT: &str = "urgent";
/// Why Kueue stops a Pod for one of a higher priority.
const PREEMPTED: &str = "WorkloadEvictedDueToPreempted";

/// Whoever shares out a quota of one Pod.
struct Kueue {
    installed: Option<Installed>,
    _double: Option<Double>,
}

impl Kueue {
    /// For the tasks of the scene.
    async fn start(scene: &Scene) -> Self {
        match std::env::var("KUEUE_CHART") {
            Ok(chart) => Self { installed: Some(Installed::install(scene, &chart).await), _double: None },
            Err(_) => Self { installed: None, _double: Some(Double::start(scene)) },
        }
    }

    /// A task under the quota.
    fn task(&self, name: &str, script: &str, priority: Option<&str>, backoff_seconds: i32) -> Value {
        let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": backoff_seconds});
        let resources = json!({"requests": {"cpu": "10m", "memory": "8Mi"}});
        let mut task = sh(name, script, &json!({"backoff": backoff, "resources": resources}));
        let labels = &mut task["metadata"]["labels"];
        labels[QUEUE] = "team-a".into();
        if let Some(priority) = priority {
            labels[PRIORITY] = priority.into();
        }
        if self.installed.is_none() {
            task["spec"]["template"]["spec"]["schedulingGates"] = json!([{"name": GATE}]);
        }
        task
    }
}

fn is_gated(status: &RetryableTaskStatus) -> bool {
    status.state == Some(State::Pending) && status.reason.as_deref() == Some("SchedulingGated")
}

#[tokio::test]
async fn quota_makes_tasks_wait_preemption_is_not_charged_and_a_retry_in_back_off_holds_none() {
    let scene = Scene::new("kueue").await;
    let kueue = Kueue::start(&scene).await;
    let _operator = scene.operator().await;
    quota_and_preemption(&scene, &kueue).await;
    task_queue_first(&scene, &kueue).await;
    // while Kueue is still there: its finalizers go with the Pods
    scene.kubectl(&["delete", "retryabletasks", "--all"]).ok();
    eventually("the Pods to be gone", async || {
        let left = scene.kubectl(&["get", "pods", "--output=name"]).ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    if let Some(installed) = &kueue.installed {
        let left = installed.workloads();
        assert!(left.is_empty(), "{left}");
    }
}

async fn quota_and_preemption(scene: &Scene, kueue: &Kueue) {
    let preempted = Record::of(scene, "preempted").await;
    let script = format!("test $RETRYABLE_ATTEMPT = 2 && exit 0; {UNTIL_STOPPED}");
    scene.apply(&kueue.task("preempted", &script, None, 1));
    scene.running("preempted", 1).await;

    // whoever waits says for what, and can be cancelled and suspended meanwhile
    for name in ["waits", "cancelled"] {
        scene.apply(&kueue.task(name, "true", None, 1));
        let gated = scene.status(name, "its gate", is_gated).await;
        assert!(gated.message.as_ref().is_some_and(|message| message.contains(GATE)), "{gated:#?}");
    }
    scene.ask("cancelled", "cancel", "1");
    let cancelled = scene.finished("cancelled").await;
    let failed = condition_list::find(&cancelled.conditions, ConditionType::Failed).unwrap();
    assert_eq!((failed.reason.as_str(), cancelled.retries), ("Cancelled", 0));
    scene.patch_spec("waits", &json!({"suspend": true}));
    scene.status("waits", "its suspension", |status| status.state == Some(State::Suspended)).await;
    scene.patch_spec("waits", &json!({"suspend": false}));
    scene.status("waits", "its gate again", is_gated).await;

    // one of a higher priority takes the quota, and gives it back when it waits for its retry
    scene.apply(&kueue.task("urgent", "test $RETRYABLE_ATTEMPT = 2", Some(URGENT), 86_400));
    let waiting = scene.status("urgent", "its retry", |status| status.state == Some(State::Waiting)).await;
    assert_eq!((waiting.attempts, waiting.retries), (1, 1), "{waiting:#?}");
    for name in ["waits", "preempted"] {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded), "{name}");
    }
    let status = scene.task("preempted").await.status.unwrap();
    let [first, second] = status.history.as_slice() else { panic!("{status:#?}") };
    assert_eq!((first.reason.as_str(), first.action), (PREEMPTED, Action::Ignore));
    assert_eq!((status.retries, status.ignored, second.action), (0, 1, Action::Complete));
    assert_eq!(scene.task("urgent").await.status.unwrap().state, Some(State::Waiting));

    // its retry asks for quota anew
    scene.ask("urgent", "retry-now", "1");
    assert_eq!(scene.finished("urgent").await.state, Some(State::Succeeded));
    no_rule_is_broken(scene, &preempted, false).await;

    // a task that is deleted while its Pod is gated leaves nothing behind
    scene.apply(&kueue.task("holds", UNTIL_STOPPED, None, 1));
    scene.running("holds", 1).await;
    scene.apply(&kueue.task("deleted", "true", None, 1));
    scene.status("deleted", "its gate", is_gated).await;
    scene.kubectl(&["delete", "retryabletasks", "deleted"]).ok();
    scene.no_pods_of("deleted").await;
}

/// The task `holds` has the quota.
async fn task_queue_first(scene: &Scene, kueue: &Kueue) {
    scene.apply(&crate::queue::queue("api", &json!({"maxConcurrent": 1})));
    let of_queue = |name: &str, script: &str| {
        let mut task = kueue.task(name, script, None, 1);
        task["spec"]["queue"] = json!({"name": "api"});
        task
    };
    scene.apply(&of_queue("first", "true"));
    scene.status("first", "its gate", is_gated).await;
    // the slot is held behind the gate: who comes next has no Pod
    scene.apply(&of_queue("second", "true"));
    let queued = scene.status("second", "its queue", |status| status.state == Some(State::Queued)).await;
    assert_eq!((queued.reason.as_deref(), scene.pods_of("second").await.len()), (Some("QueueFull"), 0));
    scene.ask("holds", "cancel", "1");
    for name in ["first", "second"] {
        assert_eq!(scene.finished(name).await.state, Some(State::Succeeded), "{name}");
    }
    let pod = scene.pods_of("first").await.pop().unwrap();
    assert_eq!(pod.labels().get(QUEUE).map(String::as_str), Some("team-a"));
}
