//! What breaks without each right.

use super::{Place, Right, granted};
use crate::support::manifest::{IMAGE, UNTIL_STOPPED};
use crate::support::{Operator, Scene, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use retryable_tasks::api::{ConditionType, FINALIZER, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::pod_name::pod_name;
use serde_json::json;

/// How many operators are tried side by side.
const AT_A_TIME: usize = 6;
/// A lease that a busy machine can renew.
const ELECT: [&str; 6] = [
    "--leader-elect",
    "--lease-duration-seconds=15",
    "--renew-deadline-seconds=10",
    "--retry-period-seconds=1",
    "--identity=lacking",
    "--operator-namespace",
];

#[tokio::test]
async fn without_any_one_right_something_breaks_and_is_reported() {
    let scene = Scene::new("granted").await;
    let rights = granted(&scene);
    drop(scene);
    assert!(rights.len() > 10, "{rights:#?}");
    for some in rights.chunks(AT_A_TIME) {
        std::thread::scope(|threads| {
            for right in some {
                threads.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(is_needed(right));
                    eprintln!("without {right}: shown");
                });
            }
        });
    }
}

async fn is_needed(right: &Right) {
    let place = &Place::without(right).await;
    match right.to_string().as_str() {
        "get retryabletasks" => a_refused_pod_is_not_tried_again(place).await,
        "list retryabletasks" | "list pods" => it_never_gets_ready(place).await,
        "watch retryabletasks" => new_tasks_are_not_seen(place).await,
        "delete retryabletasks" => a_finished_task_stays(place).await,
        "update retryabletasks/status" => no_attempt_is_begun(place).await,
        "update retryabletasks/finalizers" => a_pod_that_blocks_its_owners_deletion_is_refused(place).await,
        "list taskqueues" => a_task_with_a_queue_waits_and_others_do_not(place).await,
        "watch taskqueues" => a_new_queue_is_not_seen(place).await,
        "update taskqueues/status" => a_queue_has_no_status(place).await,
        "create retryabletasks" => no_run_is_created(place, "cannot create resource").await,
        "patch retryabletasks" => a_run_is_not_replaced(place).await,
        "get taskschedules" => who_owns_a_finished_task_cannot_be_told(place).await,
        "list taskschedules" => schedules_are_not_served(place).await,
        "watch taskschedules" => new_schedules_are_not_seen(place).await,
        "update taskschedules/status" => no_run_is_planned(place).await,
        "update taskschedules/finalizers" => no_run_is_created(place, "cannot set blockOwnerDeletion").await,
        "get pods" => what_has_the_pods_name_cannot_be_told(place).await,
        "watch pods" => an_end_is_not_seen(place).await,
        "create pods" => no_pod_is_created(place).await,
        "patch pods" => an_ended_pod_stays_held(place).await,
        "delete pods" => a_pod_that_has_not_started_stays(place).await,
        "create events" => no_event_is_told(place).await,
        "list events" => why_a_pod_hangs_is_not_told(place).await,
        "create leases" | "get leases" => it_never_leads(place).await,
        "update leases" => it_loses_the_lease(place).await,
        other => panic!("the chart grants `{other}`, and nothing here shows that it is needed"),
    }
}

/// A schedule that starts a run at once, and none by itself.
fn triggered(name: &str, spec: &serde_json::Value) -> serde_json::Value {
    let mut all = json!({"schedule": "0 0 1 1 *", "template": {"spec": {"image": IMAGE, "command": ["true"]}}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let annotations = json!({"retryable.dev/trigger": "1"});
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule",
           "metadata": {"name": name, "annotations": annotations}, "spec": all})
}

async fn no_run_is_created(place: &Place, why: &str) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&triggered("yearly", &json!({})));
    let said = scene.event("yearly", "TaskRejected").await;
    assert!(said.contains(why), "{said}");
    drop(operator);
}

async fn a_run_is_not_replaced(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    let runs = json!({"spec": {"image": IMAGE, "command": ["sh", "-c", UNTIL_STOPPED]}});
    scene.apply(&triggered("yearly", &json!({"overlap": "Replace", "template": runs})));
    scene.event("yearly", "RunStarted").await;
    scene.kubectl(&["annotate", "taskschedule", "yearly", "--overwrite", "retryable.dev/trigger=2"]).ok();
    place.denied(&operator, 2).await;
}

async fn who_owns_a_finished_task_cannot_be_told(place: &Place) {
    let operator = place.scene.operator().await;
    let runs = json!({"spec": {"image": IMAGE, "command": ["true"], "ttlSecondsAfterFinished": 0}});
    place.scene.apply(&triggered("yearly", &json!({"template": runs})));
    place.denied(&operator, 1).await;
}

/// Tasks are served all the same.
async fn schedules_are_not_served(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&triggered("yearly", &json!({})));
    place.denied(&operator, 2).await;
    assert!(operator.log().contains("cannot list TaskSchedules"), "{}", operator.log());
    scene.apply(&sh("served", "true", &json!({})));
    scene.finished("served").await;
    assert_eq!(operator.get("/readyz").0, 200);
}

async fn new_schedules_are_not_seen(place: &Place) {
    let operator = place.scene.operator().await;
    place.denied(&operator, 1).await;
    place.scene.apply(&triggered("late", &json!({})));
    place.denied(&operator, place.denials().len() + 1).await;
    let state = place.scene.kubectl(&["get", "taskschedule", "late", "-o", "jsonpath={.status.state}"]).ok();
    assert_eq!(state, "");
}

async fn no_run_is_planned(place: &Place) {
    let operator = place.scene.operator().await;
    place.scene.apply(&triggered("yearly", &json!({})));
    place.denied(&operator, 2).await;
    assert_eq!(place.scene.kubectl(&["get", "retryabletasks", "-o", "name"]).ok(), "");
}

fn is_stalled(status: &RetryableTaskStatus) -> bool {
    condition_list::is_true(&status.conditions, ConditionType::Stalled)
}

/// Another's Pod of the name that the first attempt's will have. The operator comes afterwards.
async fn in_the_way(scene: &Scene) -> (String, Operator) {
    scene.apply(&sh("taken", "true", &json!({})));
    let uid = scene.task("taken").await.uid().unwrap();
    let name = pod_name("taken", &uid, 1);
    scene.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "containers": [{"name": "other", "image": IMAGE, "command": ["sh", "-c", UNTIL_STOPPED]}]}}));
    (name, scene.operator().await)
}

async fn a_refused_pod_is_not_tried_again(place: &Place) {
    let scene = &place.scene;
    let (name, operator) = in_the_way(scene).await;
    scene.status("taken", "Stalled", is_stalled).await;
    scene.kubectl(&["delete", "pod", &name]).ok();
    place.denied(&operator, place.denials().len() + 1).await;
    assert_eq!(scene.pods_of("taken").await.len(), 0);
    assert_eq!(scene.task("taken").await.status.unwrap().attempts, 0);
}

async fn what_has_the_pods_name_cannot_be_told(place: &Place) {
    let scene = &place.scene;
    let (_, operator) = in_the_way(scene).await;
    place.denied(&operator, 2).await;
    let status = scene.status("taken", "Stalled", is_stalled).await;
    assert_eq!(status.reason.as_deref(), Some("FailedCreate"));
    assert!(
        status.message.as_ref().is_some_and(|output| output.contains(r#"cannot get resource "pods""#)),
        "{status:#?}"
    );
}

/// Neither seen by the operator nor begun.
async fn is_untouched(scene: &Scene, task: &str) {
    let status = scene.task(task).await.status;
    assert_eq!(status.and_then(|status| status.observed_generation), Some(-1));
    assert_eq!(scene.pods_of(task).await.len(), 0);
}

async fn it_never_gets_ready(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator_with(&["--watch-stall-seconds=5"]);
    scene.apply(&sh("waiting", "true", &json!({})));
    place.denied(&operator, 2).await;
    assert_eq!(operator.get("/readyz").0, 503);
    place.is_not_alive(&operator).await;
    is_untouched(scene, "waiting").await;
}

async fn new_tasks_are_not_seen(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator_with(&["--watch-stall-seconds=5"]).at_work().await;
    scene.apply(&sh("late", "true", &json!({})));
    place.denied(&operator, 2).await;
    place.is_not_alive(&operator).await;
    is_untouched(scene, "late").await;
}

async fn an_end_is_not_seen(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator_with(&["--watch-stall-seconds=5"]).at_work().await;
    scene.apply(&sh("short", "true", &json!({})));
    let pod = scene.pod_of("short", 1).await.name_any();
    let succeeded = |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
        phase == Some("Succeeded")
    };
    scene.pod(&pod, "its end", succeeded).await;
    place.denied(&operator, 2).await;
    place.is_not_alive(&operator).await;
    let status = scene.task("short").await.status.unwrap();
    assert!(!condition_list::is_true(&status.conditions, ConditionType::Finished), "{status:#?}");
    assert_eq!(status.history.len(), 0);
}

fn queue(name: &str) -> serde_json::Value {
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}, "spec": {"maxConcurrent": 1}})
}

async fn a_task_with_a_queue_waits_and_others_do_not(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator_with(&["--watch-stall-seconds=5"]).at_work().await;
    scene.apply(&queue("narrow"));
    scene.apply(&sh("queued", "true", &json!({"queue": {"name": "narrow"}})));
    scene.apply(&sh("free", "true", &json!({})));
    assert_eq!(scene.finished("free").await.state, Some(State::Succeeded));
    let status = scene.status("queued", "why it waits", |status| status.state == Some(State::Queued)).await;
    let message = status.message.unwrap_or_default();
    assert!(message.contains("cannot list TaskQueues") && message.contains("forbidden"), "{message}");
    place.denied(&operator, 2).await;
}

async fn a_new_queue_is_not_seen(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator_with(&["--watch-stall-seconds=5"]).at_work().await;
    scene.apply(&queue("narrow"));
    scene.apply(&sh("queued", "true", &json!({"queue": {"name": "narrow"}})));
    place.denied(&operator, 2).await;
    let status = scene.status("queued", "Stalled", is_stalled).await;
    assert_eq!(status.attempts, 0);
}

async fn a_queue_has_no_status(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&queue("narrow"));
    scene.apply(&sh("queued", "true", &json!({"queue": {"name": "narrow"}})));
    assert_eq!(
        scene.finished("queued").await.state,
        Some(State::Succeeded),
        "without a breaker nothing is to be stored first"
    );
    place.denied(&operator, 2).await;
}

async fn a_finished_task_stays(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&sh("short", "true", &json!({"ttlSecondsAfterFinished": 0})));
    scene.finished("short").await;
    place.denied(&operator, 2).await;
    assert_eq!(scene.task("short").await.metadata.deletion_timestamp, None);
}

async fn no_attempt_is_begun(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&sh("unwritten", "true", &json!({})));
    place.denied(&operator, 2).await;
    is_untouched(scene, "unwritten").await;
}

async fn a_pod_that_blocks_its_owners_deletion_is_refused(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&sh("owned", "true", &json!({})));
    let message = scene.event("owned", "PodRejected").await;
    assert!(message.contains("cannot set blockOwnerDeletion"), "{message}");
    // It is a right that no request asks for: the admission of the Pod looks for it.
    let denials = place.denials();
    assert!(denials.iter().all(|denial| denial.kind() == "create pods") && !denials.is_empty(), "{denials:#?}");
    assert_eq!(scene.pods_of("owned").await.len(), 0);
    drop(operator);
}

async fn no_pod_is_created(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&sh("podless", "true", &json!({})));
    place.denied(&operator, 2).await;
    let status = scene.status("podless", "Stalled", is_stalled).await;
    let recorded = status.message.unwrap();
    assert!(recorded.contains(r#"cannot create resource "pods""#), "{recorded}");
    assert_eq!((status.attempts, status.history.len()), (0, 0));
    assert_eq!(scene.event("podless", "PodRejected").await, recorded);
}

/// Fails once and then succeeds; no failed Pod is to be kept.
fn second_time_lucky(name: &str) -> serde_json::Value {
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 1});
    sh(name, "test $RETRYABLE_ATTEMPT = 2", &json!({"backoff": backoff, "podRetention": {"failed": 0}}))
}

async fn an_ended_pod_stays_held(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&second_time_lucky("lucky"));
    let status = scene.finished("lucky").await;
    assert_eq!((status.state, status.attempts), (Some(State::Succeeded), 2), "recording does not wait for it");
    place.denied(&operator, 2).await;
    let first = scene.pod_of("lucky", 1).await;
    assert!(first.metadata.deletion_timestamp.is_some() && first.finalizers() == [FINALIZER], "{first:#?}");
}

async fn a_pod_that_has_not_started_stays(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    let nowhere = json!({"spec": {"nodeSelector": {"retryable.dev/none": "of-them"}}});
    scene.apply(&sh("stubborn", "true", &json!({"template": nowhere})));
    let pod = scene.pod_of("stubborn", 1).await.name_any();
    scene.patch_spec("stubborn", &json!({"suspend": true}));
    place.denied(&operator, 2).await;
    let pod = scene.pods().get(&pod).await.unwrap();
    assert_eq!(pod.metadata.deletion_timestamp, None);
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
}

async fn no_event_is_told(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&second_time_lucky("lucky"));
    assert_eq!(scene.finished("lucky").await.state, Some(State::Succeeded), "it ends, without Events");
    place.denied(&operator, 1).await;
    assert_eq!(scene.events("lucky").await.len(), 0);
}

/// A task whose Pod needs a volume that does not exist.
fn without_its_volume(name: &str) -> serde_json::Value {
    let volume = json!({"name": "data", "configMap": {"name": "missing"}});
    let mounting = json!({"name": "task", "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    sh(name, "true", &json!({"template": {"spec": {"containers": [mounting], "volumes": [volume]}}}))
}

async fn why_a_pod_hangs_is_not_told(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator().await;
    scene.apply(&without_its_volume("hanging"));
    place.denied(&operator, 1).await;
    let held_up = |status: &RetryableTaskStatus| status.state == Some(State::Pending);
    let status = scene.status("hanging", "how far it is", held_up).await;
    assert_eq!(status.reason.as_deref(), Some("ContainerCreating"));
    assert!(operator.log().contains("cannot read Events"), "{}", operator.log());
}

async fn it_never_leads(place: &Place) {
    let scene = &place.scene;
    let operator = scene.operator_with(&[&ELECT[..], &[&scene.home]].concat());
    scene.apply(&sh("waiting", "true", &json!({})));
    place.denied(&operator, 2).await;
    assert!(operator.get("/metrics").1.contains("retryabletask_leader 0"));
    is_untouched(scene, "waiting").await;
}

async fn it_loses_the_lease(place: &Place) {
    let scene = &place.scene;
    let mut operator = scene.operator_with(&[&ELECT[..], &[&scene.home]].concat()).at_work().await;
    place.denied(&operator, 1).await;
    let status = operator.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(operator.log().contains("the lease was lost"), "{}", operator.log());
}
