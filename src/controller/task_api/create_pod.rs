//! Creates the Pod of an attempt or of the fallback.

use super::TaskApi;
use super::api_error::{message_of, rejection};
use crate::api::RetryableTask;
use crate::controller::Error;
use crate::core::build_pod::pod;
use crate::core::decide::PodLookup;
use crate::core::rejection::{Refusal, Rejection};
use crate::core::slot::Slot;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// What became of a Pod's creation.
pub enum Created {
    /// The Pod was created, with this UID.
    Done(String),
    /// The Pod existed already, and belongs to the task.
    Adopted,
    /// It was not created, or it is unknown whether it was.
    Rejected(Rejection),
}

impl TaskApi<'_> {
    /// Creates the Pod of an attempt or of the fallback, if this process may write.
    ///
    /// # Errors
    /// When this process does not lead.
    pub async fn create_pod(&self, task: &RetryableTask, slot: Slot) -> Result<Created, Error> {
        let body = pod(task, slot, self.context.holds_pods_in(&self.key.namespace));
        let name = body.pointer("/metadata/name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        if !self.may_write() {
            return Err(Error::NotLeading(self.key.clone()));
        }
        match self.post_pod(&body).await {
            Ok(created) => {
                self.context.pod_cache.answered(&created, self.context.now());
                Ok(Created::Done(created.uid().unwrap_or_default()))
            }
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                let exists = kube::Error::Api(status);
                Ok(self.adopt(&task.uid().unwrap_or_default(), &name, &exists).await)
            }
            Err(error) => Ok(Created::Rejected(rejection(&error))),
        }
    }

    /// Finds out whose Pod has the name.
    async fn adopt(&self, task_uid: &str, name: &str, exists: &kube::Error) -> Created {
        match self.look_up_pod(task_uid, name).await {
            Ok(PodLookup::Found) => Created::Adopted,
            // It was deleted in between, or a webhook chose this answer.
            Ok(PodLookup::NotFound) => Created::Rejected(rejection(exists)),
            Ok(PodLookup::NotOwned) => Created::Rejected(Rejection {
                answer: Refusal::NameConflict,
                message: format!(
                    "a Pod that is not this task's has the name {name}: delete it, or run the task under another name"
                ),
            }),
            Err(error) => Created::Rejected(Rejection { answer: Refusal::NoAnswer, message: message_of(&error) }),
        }
    }

    /// With strict field validation, a misspelt field of the template is a rejection. Otherwise it would be dropped.
    async fn post_pod(&self, body: &serde_json::Value) -> Result<Pod, kube::Error> {
        let path = format!("/api/v1/namespaces/{}/pods?fieldValidation=Strict", self.key.namespace);
        let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(bytes)
            .map_err(kube::Error::HttpError)?;
        self.context.settings.client.request(request).await
    }
}
