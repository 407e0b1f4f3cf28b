//! Stops the Pod of the current attempt.

use super::TaskApi;
use super::api_error::is_deleted_or_changed;
use crate::controller::Error;
use crate::core::decide::{PodRef, STOP_DEADLINE_SECONDS, StopMethod};
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::rejection::is_of_this_change;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

impl TaskApi<'_> {
    /// Stops the current attempt's Pod, with the Pod's own grace period. False if it is to be replaced and has started, or
    /// has changed in between.
    ///
    /// # Errors
    /// When the request failed, unless the Pod is deleted.
    pub async fn stop_pod(&self, pod: &PodRef, method: StopMethod) -> Result<bool, Error> {
        let stopped = match method {
            StopMethod::Deadline => self.set_deadline(pod).await,
            StopMethod::Deletion => self.delete_pod(pod).await,
            StopMethod::Replacement => return self.delete_if_pending(pod).await,
        };
        stopped.map(|()| true).map_err(Error::request(self.key, "cannot stop the Pod"))
    }

    /// Lets the kubelet end the Pod, which stays. Deletes a Pod whose deadline the API server refuses to change.
    async fn set_deadline(&self, pod: &PodRef) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {"uid": pod.uid}, "spec": {"activeDeadlineSeconds": STOP_DEADLINE_SECONDS}});
        match self.pods().patch(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(stopping) => {
                self.context.pod_cache.changed(&stopping, self.context.now());
                Ok(())
            }
            Err(error) if is_refusal(&error) => {
                tracing::warn!(key = %self.key, pod = pod.name, %error, "cannot set a deadline on the Pod; deleting it instead");
                self.delete_pod(pod).await
            }
            Err(error) => self.unless_deleted(pod, error).await,
        }
    }

    /// Deletes the Pod if its main container has not started. False if it has, or if the Pod has changed in between; the
    /// cache is up to date then. The precondition on the version keeps a Pod that has started from being deleted.
    ///
    /// # Errors
    /// When a request failed.
    async fn delete_if_pending(&self, pod: &PodRef) -> Result<bool, Error> {
        let failed = || Error::request(self.key, "cannot replace the Pod");
        let Some(found) = self.pods().get_opt(&pod.name).await.map_err(failed())? else {
            self.context.pod_cache.answered_not_found(self.key, &pod.name, &pod.uid);
            return Ok(false);
        };
        self.context.pod_cache.answered(&found, self.context.now());
        if found.metadata.uid.as_ref() != Some(&pod.uid)
            || !PodSnapshot::of(&found).is_some_and(|snapshot| snapshot.can_be_replaced())
        {
            return Ok(false);
        }
        let preconditions = Some(Preconditions { uid: found.uid(), resource_version: found.resource_version() });
        match self.pods().delete(&pod.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
            Ok(answer) => {
                if let Some(deleting) = answer.left() {
                    self.context.pod_cache.changed(&deleting, self.context.now());
                }
                Ok(true)
            }
            Err(error) if is_deleted_or_changed(&error) => Ok(false),
            Err(error) => Err(failed()(error)),
        }
    }
}

/// Whether the API server refuses this change however often it is sent.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_of_this_change(status.code, &status.reason, &status.message))
}
