//! Every stored version of a task and its Pods, or of all tasks and queues, as watches show them.

use super::audit::{Outcome, Request};
use super::scene::Scene;
use super::wait::{eventually, within};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{Config, Event, watcher};
use retryable_tasks::api::{
    ConditionType, CurrentAttempt, LABEL_TASK_NAME, RetryableTask, RetryableTaskStatus, TaskQueue,
};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::delay::delay;
use retryable_tasks::core::jitter_seed::jitter_seed;
use retryable_tasks::core::pod_name::pod_name;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// How complete the record of a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The record has every version, the audit log every request.
    Whole,
    /// The API server or its store was killed meanwhile: versions may be missing, and a request that it was at work on
    /// may be in the store and not in the audit log, or there as one that failed.
    Interrupted,
}

/// A version of an object, as a watch showed it.
#[derive(Clone, Debug)]
pub struct SeenVersion {
    /// Whether the object went with it.
    pub deleted: bool,
    /// The object.
    pub object: Value,
}

/// Versions as they come.
type Sights = Arc<Mutex<Vec<SeenVersion>>>;

/// Keeps what a watch shows.
fn keep<K: Serialize>(sights: Sights) -> impl Fn(&K, bool) + Send + 'static {
    move |object: &K, deleted| {
        sights.lock().unwrap().push(SeenVersion { deleted, object: serde_json::to_value(object).unwrap() });
    }
}

/// The versions of a task and of its Pods, as they come.
#[derive(Debug)]
pub struct Record {
    versions: Arc<Mutex<Vec<RetryableTask>>>,
    sights: Sights,
    watching: [JoinHandle<()>; 2],
}

/// The versions of all tasks, Pods of tasks and queues of a scene, as they come.
#[derive(Debug)]
pub struct FleetRecord {
    sights: Sights,
    watching: [JoinHandle<()>; 3],
}

impl FleetRecord {
    /// From now on.
    pub async fn of(scene: &Scene) -> Self {
        let sights = Sights::default();
        let (see_task, see_pod, see_queue) = (keep(sights.clone()), keep(sights.clone()), keep(sights.clone()));
        let of_pods = Config::default().labels(LABEL_TASK_NAME);
        let tasks =
            watch(scene.tasks(), Config::default(), move |task: RetryableTask, deleted| see_task(&task, deleted));
        let pods = watch(scene.pods(), of_pods, move |pod: Pod, deleted| see_pod(&pod, deleted));
        let queues = watch(scene.api(), Config::default(), move |queue: TaskQueue, deleted| see_queue(&queue, deleted));
        Self { sights, watching: [tasks.await, pods.await, queues.await] }
    }

    /// Every version so far, those of one object in their order.
    pub fn sights(&self) -> Vec<SeenVersion> {
        self.sights.lock().unwrap().clone()
    }
}

impl Drop for FleetRecord {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

impl Record {
    /// Of the task, from now on; it need not exist yet.
    pub async fn of(scene: &Scene, task: &str) -> Self {
        let (versions, sights) = <(Arc<Mutex<Vec<RetryableTask>>>, Sights)>::default();
        let seen = versions.clone();
        let (see_task, see_pod) = (keep(sights.clone()), keep(sights.clone()));
        let of_task = Config::default().fields(&format!("metadata.name={task}"));
        let tasks = watch(scene.tasks(), of_task, move |task: RetryableTask, deleted| {
            see_task(&task, deleted);
            if !deleted {
                seen.lock().unwrap().push(task);
            }
        });
        let of_pods = Config::default().labels(&format!("{LABEL_TASK_NAME}={task}"));
        let pods = watch(scene.pods(), of_pods, move |pod: Pod, deleted| see_pod(&pod, deleted));
        Self { versions, sights, watching: [tasks.await, pods.await] }
    }

    /// Every version of the task and of its Pods so far, those of one object in their order.
    pub fn sights(&self) -> Vec<SeenVersion> {
        self.sights.lock().unwrap().clone()
    }

    /// All versions up to the task's end, which is waited for.
    pub async fn until_finished(&self) -> Vec<RetryableTask> {
        self.until("the task's end", |status| condition_list::is_true(&status.conditions, ConditionType::Finished))
            .await
    }

    /// All versions up to one whose status is as `is` wants it, which is waited for; `what` names that.
    pub async fn until(&self, what: &str, is: impl Fn(&RetryableTaskStatus) -> bool) -> Vec<RetryableTask> {
        eventually(&format!("the record of {what}"), async || {
            let versions = self.versions.lock().unwrap();
            let last = versions.last().and_then(|task| task.status.as_ref());
            if last.is_some_and(&is) { Ok(versions.clone()) } else { Err(format!("{last:#?}")) }
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
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

/// Calls `see` with every version from now on, and whether the object was deleted. Misses nothing after this returns.
async fn watch<K>(api: Api<K>, config: Config, see: impl Fn(K, bool) + Send + 'static) -> JoinHandle<()>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = watcher(api, config).default_backoff().boxed();
    let begun = async { while !matches!(events.next().await, Some(Ok(Event::InitDone))) {} };
    within("the first list", begun).await;
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => see(object, false),
                Ok(Event::Delete(object)) => see(object, true),
                Ok(Event::Init | Event::InitDone) | Err(_) => {}
            }
        }
    })
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

/// Asserts of a task that ended: the waits are the ones that the pure function gives for this task, no attempt was
/// started before its wait was over, and none twice. Answers how late each retry's Pod was created.
pub fn assert_waits(scene: &Scene, versions: &[RetryableTask]) -> Vec<SignedDuration> {
    assert_waits_by(Evidence::Whole, scene, versions)
}

/// As [`assert_waits`], as far as the evidence allows.
pub fn assert_waits_by(evidence: Evidence, scene: &Scene, versions: &[RetryableTask]) -> Vec<SignedDuration> {
    let task = versions.last().unwrap();
    let (name, uid) = (task.metadata.name.as_deref().unwrap(), task.metadata.uid.as_deref().unwrap());
    let status = task.status.as_ref().unwrap();
    let whole = evidence == Evidence::Whole;
    let due = due_times(versions);
    let starts = starts(evidence, scene, name, uid, status);
    let mut late = Vec::new();
    let (mut retry, backoff) = (0, task.spec.backoff.as_ref());
    for pair in status.history.windows(2) {
        let [ended, next] = pair else { unreachable!("windows of two") };
        retry += 1;
        let wait = delay(backoff, retry, jitter_seed(uid, ended.attempt));
        assert_eq!(ended.delay_milliseconds, i64::try_from(wait.as_millis()).ok(), "the wait after {ended:#?}");
        let earliest = ended.finish_time.as_ref().unwrap().0 + wait;
        let due = due.get(&next.attempt).copied();
        assert!(due.is_some() || !whole, "no version tells when attempt {} was due", next.attempt);
        let due = due.unwrap_or(earliest);
        assert!(due >= earliest, "attempt {} was due at {due}, and its wait over at {earliest}", next.attempt);
        let Some(start) = starts.get(&next.attempt) else { continue };
        assert!(start.decided >= due, "attempt {} was due at {due} and started: {start:?}", next.attempt);
        late.push(start.created.duration_since(due));
    }
    late
}

/// How an attempt was started, by the times when the API server took the requests in.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// The status that names the attempt: a Pod is created after it only.
    decided: Timestamp,
    /// The Pod.
    created: Timestamp,
}

/// How each attempt was started, by its number. Fails if one was twice, or if the evidence is whole and one never.
///
/// A request whose client is gone before the answer is in the audit log as timed out, stored or not: the answer counts
/// only where it is one.
fn starts(
    evidence: Evidence,
    scene: &Scene,
    task: &str,
    uid: &str,
    status: &RetryableTaskStatus,
) -> BTreeMap<i32, Start> {
    let requests = scene.operators_requests(scene.audit);
    let is_creation = |request: &Request, name: &str| request.kind() == "create pods" && request.name == name;
    let of = |number: i32| {
        let pod = pod_name(task, uid, number);
        let made: Vec<_> = requests.iter().filter(|r| is_creation(r, &pod) && r.outcome() == Outcome::Done).collect();
        assert!(made.len() <= 1, "the Pod of attempt {number} was created more than once: {made:#?}");
        let first = requests.iter().position(|r| is_creation(r, &pod) && r.outcome() != Outcome::Refused);
        let whole = evidence == Evidence::Whole;
        assert!(first.is_some() || !whole, "the Pod of attempt {number} was not created");
        let sent = requests[first?].received;
        let created = made.first().map_or(sent, |made| made.received);
        let is_status = |r: &&Request| r.kind() == "update retryabletasks/status" && r.name == task;
        let stored = requests[..first?].iter().rev().filter(is_status).find(|r| r.outcome() != Outcome::Refused);
        assert!(stored.is_some() || !whole, "no Pod is created before a status is stored, and {pod} was");
        Some((number, Start { decided: stored.map_or(sent, |stored| stored.received), created }))
    };
    status.history.iter().filter_map(|entry| of(entry.attempt)).collect()
}

/// When the API server took in the creation of each attempt's Pod, by the audit log. Fails if one was created twice.
pub fn creations(scene: &Scene, task: &str, uid: &str, status: &RetryableTaskStatus) -> BTreeMap<i32, Timestamp> {
    let starts = starts(Evidence::Whole, scene, task, uid, status);
    starts.into_iter().map(|(number, start)| (number, start.created)).collect()
}
