use super::Reconcile;
use crate::api::TaskSchedule;
use crate::controller::TaskKey;
use crate::controller::dependents::Dependents;
use crate::controller::schedules::Context;
use crate::controller::schedules::process_state::ProcessStates;
use crate::controller::schedules::run_cache::RunCache;
use crate::controller::scripted_server::{self, Requests, Script, refusal};
use crate::controller::work_queue::WorkQueue;
use crate::core::testing::NAMESPACE;
use kube_runtime::reflector::store;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn context(script: Script) -> (Context, Requests) {
    let (scripted, requests) = scripted_server::context(script);
    let settings = scripted.settings;
    let (reporter, _) = crate::controller::report::reporter(&settings);
    let context = Context {
        store: store().0,
        runs: RunCache::default(),
        dependents: Arc::new(Dependents::default()),
        states: ProcessStates::default(),
        work_queue: WorkQueue::new(1, &settings.telemetry.metrics),
        reporter,
        settings,
    };
    (context, requests)
}

fn schedule() -> Value {
    json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule",
        "metadata": {"name": "nightly", "namespace": NAMESPACE, "uid": "of-the-schedule"},
        "spec": {"schedule": "0 * * * *", "timeZone": "Etc/UTC", "suspend": true, "template": {"spec": {"image": "a"}}},
    })
}

fn key(name: &str) -> TaskKey {
    TaskKey { namespace: NAMESPACE.into(), name: name.into() }
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_run_is_held_although_the_answer_to_its_record_is_lost() {
    // The task is created; what becomes of the status, nobody says.
    let (context, requests) = context(Arc::new(|request| match request {
        post if post.starts_with("POST") => {
            let metadata = json!({"name": "nightly-1", "namespace": NAMESPACE, "uid": "of-the-run"});
            (201, json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": metadata}))
        }
        _ => refusal(500, "InternalError"),
    }));
    let mut schedule: TaskSchedule = serde_json::from_value(schedule()).unwrap();
    let (key, run) = (key("nightly"), key("nightly-1"));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(!context.dependents.may_be_created(&run));
    // The status as it is decided first, with a run that is being created.
    let plan = Reconcile::new(&key, &schedule, &context).decide();
    let crate::core::schedule::Plan::WriteStatus(mut status, _) = plan else { panic!("{plan:?}") };
    status.creating = serde_json::from_value(json!({"name": "nightly-1", "cause": "Trigger"})).unwrap();
    schedule.status = Some(*status);
    assert!(Reconcile::new(&key, &schedule, &context).run().await.is_err());
    assert!(context.dependents.may_be_created(&run), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_conflict_it_decides_by_the_status_that_is_stored() {
    // Another process has recorded a run, which no watch has shown yet.
    let (context, requests) = context(Arc::new(|request| match request {
        get if get.starts_with("GET") && get.ends_with("/taskschedules/nightly") => {
            let mut live = schedule();
            live["status"] = json!({"runs": [{"name": "nightly-1", "uid": "of-the-run", "cause": "Trigger"}]});
            (200, live)
        }
        put if put.starts_with("PUT") => refusal(409, "Conflict"),
        _ => refusal(404, "NotFound"),
    }));
    let schedule: TaskSchedule = serde_json::from_value(schedule()).unwrap();
    assert!(Reconcile::new(&key("nightly"), &schedule, &context).run().await.is_err(), "each write is a conflict");
    let requests = requests.lock().unwrap();
    let looks_up = |request: &&String| request.starts_with("GET") && request.ends_with("/retryabletasks/nightly-1");
    assert!(requests.iter().find(looks_up).is_some(), "{requests:#?}");
}
