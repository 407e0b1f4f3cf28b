//! Deletes Pods and tasks, and removes the finalizer from Pods.

use super::TaskApi;
use super::api_error::{code, is_deleted_or_changed, is_denied};
use crate::api::{ANNOTATION_SCHEDULED_TIME, RetryableTask, TaskSchedule};
use crate::controller::{Error, finalizer};
use crate::core::decide::PodRef;
use crate::core::schedule::is_within;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};

impl TaskApi<'_> {
    /// Removes the finalizer from Pods, then deletes Pods. A failure at one Pod does not keep the others. False if any
    /// failed.
    ///
    /// A Pod that is in both lists goes at once in this order. Deleted with its finalizer it would stay, and its kubelet
    /// would read and delete it too.
    pub async fn cleanup(&self, delete: &[PodRef], remove_finalizer: &[PodRef]) -> bool {
        let mut ok = true;
        for pod in remove_finalizer {
            ok &= self.log_failure("cannot remove the finalizer from the Pod", pod, &self.remove_finalizer(pod).await);
        }
        for pod in delete {
            ok &= self.log_failure("cannot delete the Pod", pod, &self.delete_pod(pod).await);
        }
        ok
    }

    fn log_failure(&self, what: &'static str, pod: &PodRef, result: &Result<(), kube::Error>) -> bool {
        if let Err(error) = result {
            self.context.settings.telemetry.metrics.reconcile_failed("cleanup");
            tracing::warn!(key = %self.key, pod = pod.name, %error, "{what}; trying again later");
        }
        result.is_ok()
    }

    /// Deletes the Pod of that UID.
    ///
    /// # Errors
    /// When the request failed, unless the Pod is deleted.
    pub async fn delete_pod(&self, pod: &PodRef) -> Result<(), kube::Error> {
        let preconditions = Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None });
        match self.pods().delete(&pod.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
            Ok(answer) => {
                if let Some(deleting) = answer.left() {
                    self.context.pod_cache.changed(&deleting, self.context.now());
                }
                Ok(())
            }
            Err(error) => self.unless_deleted(pod, error).await,
        }
    }

    /// Removes our finalizer from the Pod of that UID. Those of others stay.
    ///
    /// # Errors
    /// When the request failed, unless the Pod is deleted.
    pub async fn remove_finalizer(&self, pod: &PodRef) -> Result<(), kube::Error> {
        match self.pods().patch(&pod.name, &PatchParams::default(), &finalizer::removal(&pod.uid)).await {
            Ok(changed) => {
                self.context.pod_cache.changed(&changed, self.context.now());
                Ok(())
            }
            Err(error) => self.unless_deleted(pod, error).await,
        }
    }

    /// Deletes the task if it is still the one that was read. False if its schedule has yet to record its end, or if its
    /// creation may come a second time: until then its name must not become free, nor its end be lost.
    ///
    /// # Errors
    /// When a request failed.
    pub async fn delete_task(&self, task: &RetryableTask) -> Result<bool, Error> {
        if self.is_awaited_by_schedule(task).await? {
            return Ok(false);
        }
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: task.uid(), resource_version: task.resource_version() }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.tasks().delete(&self.key.name, &parameters).await {
            Ok(_) => Ok(true),
            Err(error) if is_deleted_or_changed(&error) => Ok(true),
            Err(error) => Err(Error::request(self.key, "cannot delete the task after its time to live")(error)),
        }
    }

    /// Whether the schedule that owns the task may create it, or has yet to record that it has ended.
    async fn is_awaited_by_schedule(&self, task: &RetryableTask) -> Result<bool, Error> {
        let is_schedule = |owner: &&OwnerReference| owner.controller == Some(true) && owner.kind == "TaskSchedule";
        let Some(owner) = task.owner_references().iter().find(is_schedule) else { return Ok(false) };
        let schedules: Api<TaskSchedule> = Api::namespaced(self.context.settings.client.clone(), &self.key.namespace);
        let schedule = match schedules.get_opt(&owner.name).await {
            Ok(schedule) => schedule.filter(|schedule| schedule.uid().as_ref() == Some(&owner.uid)),
            // Without the right to read schedules, this operator serves none.
            Err(kube::Error::Api(status)) if status.code == 403 => None,
            Err(error) => return Err(Error::request(self.key, "cannot read the task's schedule")(error)),
        };
        let Some(schedule) = schedule else { return Ok(false) };
        if self.context.dependents.may_be_created(self.key) {
            return Ok(true);
        }
        let status = schedule.status.unwrap_or_default();
        let is_active = status.runs.iter().any(|run| Some(&run.uid) == task.metadata.uid.as_ref());
        // A backfill leaves out the times whose task is there.
        let time = task.annotations().get(ANNOTATION_SCHEDULED_TIME).and_then(|time| time.parse().ok());
        let is_ahead = status.backfill.is_some_and(|backfill| is_within(&backfill, time));
        Ok(is_active || is_ahead || status.creating.is_some_and(|planned| Some(planned.name) == task.metadata.name))
    }

    /// The error, unless the Pod is deleted: no Pod has its name, or one with another UID. A conflict means that, or that
    /// others write at the same time; a webhook may answer as if the Pod were deleted. A read tells which.
    pub(super) async fn unless_deleted(&self, pod: &PodRef, error: kube::Error) -> Result<(), kube::Error> {
        let is_deleted = match code(&error) {
            Some(404) if !is_denied(&error) => true,
            Some(404 | 409) => {
                self.pods().get_metadata_opt(&pod.name).await?.and_then(|live| live.uid()) != Some(pod.uid.clone())
            }
            _ => false,
        };
        if !is_deleted {
            return Err(error);
        }
        self.context.pod_cache.answered_not_found(self.key, &pod.name, &pod.uid);
        Ok(())
    }
}
