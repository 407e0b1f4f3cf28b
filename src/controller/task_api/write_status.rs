//! Writes the task's status.

use super::TaskApi;
use super::api_error::{code, is_deleted_or_changed, rejection};
use crate::api::{RetryableTask, RetryableTaskStatus};
use crate::controller::Error;
use crate::core::decide::unreadable;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::error_boundary::InvalidObject;

/// What became of a status write.
pub enum Written {
    /// It is stored. The task as it is now.
    Done(Box<RetryableTask>),
    /// The task has changed since it was read. The API server's message.
    Conflict(String),
    /// The task is deleted.
    Deleted,
}

impl TaskApi<'_> {
    /// Writes `status` if the task is still the one that was read, and if this process may write.
    ///
    /// # Errors
    /// When this process does not lead, or the request failed.
    pub async fn write_status(&self, task: &RetryableTask, status: RetryableTaskStatus) -> Result<Written, Error> {
        if !self.may_write() {
            return Err(Error::NotLeading(self.key.clone()));
        }
        let next = RetryableTask { status: Some(status), ..task.clone() };
        match self.tasks().replace_status(&self.key.name, &PostParams::default(), &next).await {
            Ok(mut stored) => {
                stored.managed_fields_mut().clear();
                Ok(Written::Done(Box::new(stored)))
            }
            // A webhook may answer so too.
            Err(error)
                if code(&error) == Some(404) && self.read_task().await?.is_none_or(|live| live.uid() != task.uid()) =>
            {
                Ok(Written::Deleted)
            }
            Err(error) if code(&error) == Some(409) => Ok(Written::Conflict(rejection(&error).message)),
            Err(error) => Err(Error::request(self.key, "cannot write the status")(error)),
        }
    }

    /// Writes into the status of a task that this version cannot read why it cannot. The rest of the status stays as it
    /// is. Nothing is written if it says so already, or if the task has changed since.
    ///
    /// # Errors
    /// When a request failed.
    pub async fn mark_unreadable(&self, invalid: &InvalidObject, message: &str) -> Result<(), kube::Error> {
        let resource = ApiResource::erase::<RetryableTask>(&());
        let client = self.context.settings.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.key.namespace, &resource);
        let Some(mut live) = api.get_opt(&self.key.name).await? else { return Ok(()) };
        let has_changed = live.metadata.resource_version != invalid.metadata.resource_version;
        if has_changed || live.metadata.deletion_timestamp.is_some() {
            return Ok(()); // the watch shows the change
        }
        let before = live.data.get("status").cloned().unwrap_or_default();
        let now = (self.context.now(), live.metadata.generation);
        let Some(after) = unreadable(&before, message, now) else { return Ok(()) };
        live.data["status"] = after;
        if !self.may_write() {
            return Ok(()); // the next leader does it
        }
        match api.replace_status(&self.key.name, &PostParams::default(), &live).await {
            Ok(_) => Ok(()),
            Err(error) if is_deleted_or_changed(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
