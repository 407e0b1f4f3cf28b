//! The requests that concern one task and its Pods.
//!
//! Each request is sent once. Whether a request without an answer went through is found out by a read.

mod api_error;
mod cleanup;
mod create_pod;
mod lookup;
mod stop_pod;
mod write_status;

pub use api_error::message_of;
pub use create_pod::Created;
pub use write_status::Written;

use super::TaskKey;
use super::context::Context;
use crate::api::RetryableTask;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

/// The requests that concern one task and its Pods. Answers go to the Pod cache.
#[derive(Clone, Copy)]
pub struct TaskApi<'a> {
    context: &'a Context,
    key: &'a TaskKey,
}

impl<'a> TaskApi<'a> {
    /// The requests of the task with that name.
    pub const fn new(context: &'a Context, key: &'a TaskKey) -> Self {
        Self { context, key }
    }

    fn tasks(&self) -> Api<RetryableTask> {
        Api::namespaced(self.context.settings.client.clone(), &self.key.namespace)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.context.settings.client.clone(), &self.key.namespace)
    }

    fn may_write(&self) -> bool {
        (self.context.settings.may_write)()
    }
}

#[cfg(test)]
mod tests;
