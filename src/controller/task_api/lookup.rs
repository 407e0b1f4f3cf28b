//! Reads from the API server what the caches may not have yet: the task, a Pod, the Events of a Pod.

use super::TaskApi;
use crate::api::RetryableTask;
use crate::controller::{CachedTask, Error};
use crate::core::decide::{PodLookup, PodRef};
use crate::core::dependency::TaskFact;
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::pod_warning::{PodWarning, newest_warning};
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use std::sync::atomic::Ordering;

/// Most Events of one Pod that are read. The kubelet counts repeated ones in one Event.
const MAX_EVENTS: u32 = 100;

impl TaskApi<'_> {
    /// The task as the API server has it; `None` if there is none of that name.
    ///
    /// # Errors
    /// When the request failed.
    pub async fn read_task(&self) -> Result<Option<RetryableTask>, Error> {
        let live = self.tasks().get_opt(&self.key.name).await;
        let mut live = live.map_err(Error::request(self.key, "cannot read the task"))?;
        if let Some(live) = live.as_mut() {
            live.managed_fields_mut().clear();
        }
        Ok(live)
    }

    /// The same, as the cache holds it.
    ///
    /// # Errors
    /// When the request failed.
    pub async fn read_cached_task(&self) -> Result<Option<CachedTask>, Error> {
        let api: Api<CachedTask> = Api::namespaced(self.context.settings.client.clone(), &self.key.namespace);
        api.get_opt(&self.key.name).await.map_err(Error::request(self.key, "cannot read the task"))
    }

    /// What is to be known of another task of the namespace; `None` if there is none of that name.
    ///
    /// # Errors
    /// When the request failed.
    pub async fn look_up_other(&self, name: &str) -> Result<Option<TaskFact>, Error> {
        let others: Api<CachedTask> = Api::namespaced(self.context.settings.client.clone(), &self.key.namespace);
        let found =
            others.get_opt(name).await.map_err(Error::request(self.key, "cannot look up a task of spec.after"))?;
        // Of one that this version cannot read only the UID is known: it has not ended as far as we can tell.
        Ok(found.map(|found| match found.task() {
            Ok(task) => TaskFact::of(&task),
            Err(_) => TaskFact { uid: found.uid().unwrap_or_default(), ..TaskFact::default() },
        }))
    }

    /// The UID of the task that has the name now.
    ///
    /// # Errors
    /// When the request failed.
    pub async fn read_task_uid(&self) -> Result<Option<String>, kube::Error> {
        Ok(self.tasks().get_metadata_opt(&self.key.name).await?.and_then(|task| task.uid()))
    }

    /// Looks a Pod of the task up. A Pod that is found goes to the cache.
    ///
    /// # Errors
    /// When the request failed.
    pub async fn look_up_pod(&self, task_uid: &str, pod_name: &str) -> Result<PodLookup, Error> {
        let known = self.context.pod_cache.uid_of(self.key, pod_name);
        let found = self.pods().get_opt(pod_name).await;
        let Some(found) = found.map_err(Error::request(self.key, "cannot look the Pod up"))? else {
            if let Some(known) = known {
                self.context.pod_cache.answered_not_found(self.key, pod_name, &known);
            }
            return Ok(PodLookup::NotFound);
        };
        let is_owned = PodSnapshot::of(&found).is_some_and(|snapshot| snapshot.owned && snapshot.task_uid == task_uid);
        if !is_owned {
            return Ok(PodLookup::NotOwned);
        }
        self.context.pod_cache.answered(&found, self.context.now());
        Ok(PodLookup::Found)
    }

    /// The newest Warning Event about the Pod, if there is one.
    ///
    /// # Errors
    /// When the request failed. The log says so once.
    pub async fn newest_warning(&self, pod: &PodRef) -> Result<Option<PodWarning>, kube::Error> {
        let events: Api<Event> = Api::namespaced(self.context.settings.client.clone(), &self.key.namespace);
        let selector = format!("involvedObject.uid={},type=Warning", pod.uid);
        match events.list(&ListParams::default().fields(&selector).limit(MAX_EVENTS)).await {
            Ok(list) => Ok(newest_warning(&list.items)),
            Err(error) => {
                if !self.context.events_are_unreadable.swap(true, Ordering::Relaxed) {
                    tracing::warn!(key = %self.key, %error, "cannot read Events: what keeps Pods from starting is reported without them");
                }
                Err(error)
            }
        }
    }
}
