//! A queue as the watch shows it: raw, so that one that cannot be read hides no others.

use super::QueueKey;
use crate::api::TaskQueue;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// A queue that was watched.
#[derive(Clone, Debug, Deserialize)]
pub struct QueueObject {
    metadata: ObjectMeta,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl QueueObject {
    /// The queue.
    ///
    /// # Errors
    /// When this version cannot read it.
    pub fn queue(self) -> Result<TaskQueue, serde_json::Error> {
        let Self { mut metadata, mut rest } = self;
        metadata.managed_fields = None;
        rest.insert("metadata".into(), serde_json::to_value(metadata)?);
        serde_json::from_value(Value::Object(rest))
    }

    /// Its namespace and name.
    pub fn key(&self) -> QueueKey {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        QueueKey { namespace: namespace.clone().unwrap_or_default(), name: name.clone().unwrap_or_default() }
    }
}

impl Resource for QueueObject {
    type DynamicType = ();
    type Scope = <TaskQueue as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        TaskQueue::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TaskQueue::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TaskQueue::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TaskQueue::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
