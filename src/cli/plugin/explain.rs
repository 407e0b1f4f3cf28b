//! Why a task is where it is: what of its queue is to be known for that.

use super::connect::{Cluster, Scope};
use super::fetch;
use super::read::of_queue;
use jiff::Timestamp;
use kube::ResourceExt;
use retryable_tasks::api::{RetryableTask, TaskQueue};
use retryable_tasks::core::queue::place::{Place, places};
use retryable_tasks::core::why::{Known, KnownQueue, Why, is_about_queue, why};

/// What was found of the queue of a task.
pub(super) enum QueueLookUp {
    /// It does not matter, or cannot be read.
    Unknown,
    /// There is none of that name.
    Missing,
    /// The queue, and the task's place in its line.
    Found(Box<TaskQueue>, Option<Place>),
}

impl QueueLookUp {
    /// Looks the queue up, if the task is in its line: that costs a list of all its tasks.
    pub(super) async fn of(cluster: &Cluster, task: &RetryableTask) -> Self {
        let name = task.spec.queue.as_ref().map(|queue| &*queue.name).filter(|_| is_about_queue(task));
        let Some(name) = name else { return Self::Unknown };
        let scope = Scope::Namespaces(vec![task.namespace().unwrap_or_default()]);
        let here = Cluster { client: cluster.client.clone(), scope, options: String::new() };
        let queue = match fetch::get::<TaskQueue>(&here, name).await {
            Ok(queue) => queue,
            Err(error) if error.is_not_found() => return Self::Missing,
            Err(_) => return Self::Unknown,
        };
        let others = of_queue(&here, name).await.unwrap_or_default();
        let place = places(name, &others, Timestamp::now()).get(task.uid().unwrap_or_default().as_str()).copied();
        Self::Found(Box::new(queue), place)
    }

    /// Why the task is where it is, as it is now.
    pub(super) fn explain(&self, task: &RetryableTask, cluster: &Cluster) -> Why {
        let queue = match self {
            Self::Unknown => KnownQueue::Unknown,
            Self::Missing => KnownQueue::Missing,
            Self::Found(queue, place) => KnownQueue::Found { queue, place: *place },
        };
        why(task, &Known { now: Timestamp::now(), queue, options: &cluster.options })
    }
}
