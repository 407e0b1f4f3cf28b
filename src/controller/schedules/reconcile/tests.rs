use super::Reconcile;
use crate::api::TaskSchedule;
use crate::controller::TaskKey;
use crate::controller::dependents::Dependents;
use crate::controller::schedules::Context;
use crate::controller::schedules::process_state::ProcessStates;
use crate::controller::schedules::run_cache::RunCache;
use crate::controller::scripted_server::{self, refusal};
use crate::controller::work_queue::WorkQueue;
use crate::core::testing::NAMESPACE;
use kube_runtime::reflector::store;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn the_name_of_a_run_is_held_although_the_answer_to_its_record_is_lost() {
    // The task is created; what becomes of the status, nobody says.
    let (scripted, requests) = scripted_server::context(Arc::new(|request| match request {
        post if post.starts_with("POST") => {
            let metadata = json!({"name": "nightly-1", "namespace": NAMESPACE, "uid": "of-the-run"});
            (201, json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "metadata": metadata}))
        }
        _ => refusal(500, "InternalError"),
    }));
    let settings = scripted.settings.clone();
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
    let mut schedule: TaskSchedule = serde_json::from_value(json!({
        "metadata": {"name": "nightly", "namespace": NAMESPACE, "uid": "of-the-schedule"},
        "spec": {"schedule": "0 * * * *", "timeZone": "Etc/UTC", "suspend": true, "template": {"spec": {"image": "a"}}},
    }))
    .unwrap();
    let key = TaskKey { namespace: NAMESPACE.into(), name: "nightly".into() };
    let run = TaskKey { namespace: NAMESPACE.into(), name: "nightly-1".into() };
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
