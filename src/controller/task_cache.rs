//! A task as the cache keeps it: as JSON, which takes less memory than its parts as values. It is written while it is
//! read, so that no value of it is made before somebody looks at it.

mod json;

use crate::api::RetryableTask;
use json::JsonCopy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::{DeserializeSeed, Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// A task that was watched. What it says is read when it is looked at, so that one that cannot be read does not hide the
/// others.
#[derive(Clone, Debug)]
pub struct CachedTask {
    /// What the task is known by, and no more.
    metadata: ObjectMeta,
    is_new: bool,
    /// The task without its `managedFields`.
    json: Box<[u8]>,
}

impl CachedTask {
    /// The task, or why it cannot be read.
    pub fn task(&self) -> Result<RetryableTask, Box<InvalidObject>> {
        serde_json::from_slice(&self.json).map_err(|error| {
            let whole = serde_json::from_slice(&self.json).map(|Meta { metadata }| metadata);
            let metadata = whole.unwrap_or_else(|_| self.metadata.clone());
            Box::new(InvalidObject { error: error.to_string(), metadata })
        })
    }

    /// Whether nothing of it has begun.
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}

/// An object's metadata; the rest may be anything.
#[derive(Deserialize)]
struct Meta<M = ObjectMeta> {
    metadata: M,
}

/// What a task is known by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

/// A task's status, as far as it tells whether it has begun.
#[derive(Deserialize)]
struct Status {
    status: Option<Begun>,
}

/// Of a status, what [`nothing_has_begun`](crate::core::decide::nothing_has_begun) asks for: it may have a long history.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Begun {
    start_time: Option<IgnoredAny>,
    current: Option<IgnoredAny>,
    history: Option<Vec<IgnoredAny>>,
}

impl Begun {
    fn is_nothing(&self) -> bool {
        let Self { start_time, current, history } = self;
        start_time.is_none() && current.is_none() && history.as_ref().is_none_or(Vec::is_empty)
    }
}

impl<'de> Deserialize<'de> for CachedTask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = Vec::new();
        JsonCopy::of_object(&mut json).deserialize(deserializer)?;
        let Meta { metadata } = serde_json::from_slice(&json).map_err(D::Error::custom)?;
        let Names { name, namespace, uid, resource_version } = metadata;
        // A status that cannot be read is not none.
        let is_new =
            serde_json::from_slice(&json).is_ok_and(|Status { status }| status.is_none_or(|begun| begun.is_nothing()));
        let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(Self { metadata, is_new, json: json.into() })
    }
}

impl Resource for CachedTask {
    type DynamicType = ();
    type Scope = <RetryableTask as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        RetryableTask::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        RetryableTask::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        RetryableTask::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        RetryableTask::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests;
