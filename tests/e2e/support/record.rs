//! All that a task has been: every version of it that the API server stored, as a watch shows them.

use super::audit::Audit;
use super::scene::Scene;
use super::wait::eventually;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube_runtime::watcher::{Config, Event, watcher};
use retryable_tasks::api::{ConditionType, CurrentAttempt, RetryableTask, RetryableTaskStatus};
use retryable_tasks::core::backoff::delay;
use retryable_tasks::core::conditions;
use retryable_tasks::core::identity::{dice, pod_name};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// The versions of a task, as they come.
#[derive(Debug)]
pub struct Record {
    versions: Arc<Mutex<Vec<RetryableTask>>>,
    watching: JoinHandle<()>,
}

impl Record {
    /// Of the task, from now on; it need not exist yet.
    pub async fn of(scene: &Scene, task: &str) -> Self {
        let versions = Arc::new(Mutex::new(Vec::new()));
        let config = Config::default().fields(&format!("metadata.name={task}"));
        let mut events = watcher(scene.tasks(), config).boxed();
        // Nothing is missed after the first list is complete.
        while !matches!(events.next().await, Some(Ok(Event::InitDone))) {}
        let seen = versions.clone();
        let watching = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(task) | Event::InitApply(task)) = event {
                    seen.lock().unwrap().push(task);
                }
            }
        });
        Self { versions, watching }
    }

    /// All versions up to the task's end, which is waited for.
    pub async fn until_finished(&self) -> Vec<RetryableTask> {
        eventually("the record of the task's end", async || {
            let versions = self.versions.lock().unwrap();
            let last = versions.last().and_then(|task| task.status.as_ref());
            let ended = last.is_some_and(|status| conditions::is_true(&status.conditions, ConditionType::Finished));
            if ended { Ok(versions.clone()) } else { Err(format!("{last:#?}")) }
        })
        .await
    }

    /// The newest version.
    pub fn latest(&self) -> Option<RetryableTask> {
        self.versions.lock().unwrap().last().cloned()
    }

    /// How many versions there were so far.
    pub fn count(&self) -> usize {
        self.versions.lock().unwrap().len()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// When each attempt was due, by its number.
pub fn due_times(versions: &[RetryableTask]) -> BTreeMap<i32, Timestamp> {
    let currents = versions.iter().filter_map(|task| task.status.as_ref()?.current.as_ref());
    let mut due = BTreeMap::new();
    for CurrentAttempt { number, due_time, .. } in currents {
        if let Some(MicroTime(at)) = due_time {
            assert_eq!(*due.entry(*number).or_insert(*at), *at, "attempt {number} was due, and then at another time");
        }
    }
    due
}

/// Asserts of a task that ended: the waits are the ones that the pure function gives for this task, no attempt started
/// before its wait was over, and none twice. Answers how late each retry was.
pub fn assert_waits(scene: &Scene, versions: &[RetryableTask]) -> Vec<SignedDuration> {
    let task = versions.last().unwrap();
    let (name, uid) = (task.metadata.name.as_deref().unwrap(), task.metadata.uid.as_deref().unwrap());
    let status = task.status.as_ref().unwrap();
    let due = due_times(versions);
    let created = creations(scene, name, uid, status);
    let mut late = Vec::new();
    let (mut retry, backoff) = (0, task.spec.backoff.as_ref());
    for pair in status.history.windows(2) {
        let [ended, next] = pair else { unreachable!("windows of two") };
        retry += 1;
        let wait = delay(backoff, retry, dice(uid, ended.attempt));
        assert_eq!(ended.delay_milliseconds, i64::try_from(wait.as_millis()).ok(), "the wait after {ended:#?}");
        let finished = ended.finish_time.as_ref().unwrap().0;
        let (due, started) = (due[&next.attempt], created[&next.attempt]);
        assert!(due >= finished + wait, "attempt {} was due at {due}, {wait:?} after {finished}", next.attempt);
        assert!(started >= due, "attempt {} was due at {due} and started at {started}", next.attempt);
        late.push(started.duration_since(due));
    }
    late
}

/// When the API server took in the creation of each attempt's Pod, by the audit log. Fails if one was created twice.
pub fn creations(scene: &Scene, task: &str, uid: &str, status: &RetryableTaskStatus) -> BTreeMap<i32, Timestamp> {
    let requests = scene.operators_requests(Audit::whole());
    let created: Vec<_> = requests.iter().filter(|r| r.kind() == "create pods" && r.code == 201).collect();
    let of = |number: i32| {
        let name = pod_name(task, uid, number);
        let [only] = created.iter().filter(|request| request.name == name).collect::<Vec<_>>()[..] else {
            panic!("attempt {number} was not created once: {created:#?}")
        };
        (number, only.received)
    };
    status.history.iter().map(|entry| of(entry.attempt)).collect()
}
