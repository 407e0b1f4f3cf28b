//! A task that was watched: packed JSON text, which takes less memory than typed values. It is copied while the API
//! server's answer is read, so no values are built before a reconcile needs them.

mod json_copy;
mod packed;

use crate::api::{RetryableTask, State};
use crate::controller::TaskKey;
use crate::telemetry::metrics::TaskPlace;
use jiff::Timestamp;
use json_copy::JsonCopy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use packed::Packed;
use serde::de::{DeserializeSeed, Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// A task that was watched. It is parsed by its reconcile, so a task that cannot be parsed hides no others.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // one for each question, and memory counts
pub struct CachedTask {
    /// Name, namespace, UID and version, nothing else.
    metadata: ObjectMeta,
    is_new: bool,
    has_ended: bool,
    has_queue: bool,
    /// The tasks that it waits for, as long as no attempt of its run has begun.
    waits_for: Box<[String]>,
    is_finished: bool,
    place: TaskPlace,
    /// The task without its `managedFields`.
    json: Packed,
}

impl CachedTask {
    /// Parses the task.
    ///
    /// # Errors
    /// When this version cannot parse it.
    pub fn task(&self) -> Result<RetryableTask, Box<InvalidObject>> {
        let invalid = |error: String, metadata| Box::new(InvalidObject { error, metadata });
        let json = self.json.unpack().map_err(|error| invalid(error.to_string(), self.metadata.clone()))?;
        serde_json::from_slice(&json).map_err(|error| {
            let whole = serde_json::from_slice(&json).map(|Meta { metadata }| metadata);
            invalid(error.to_string(), whole.unwrap_or_else(|_| self.metadata.clone()))
        })
    }

    /// The names of the tasks that it waits for.
    pub fn waits_for(&self) -> &[String] {
        &self.waits_for
    }

    /// What may matter to those that wait for it.
    pub fn milestone(&self) -> Milestone {
        let ObjectMeta { uid, generation, .. } = &self.metadata;
        Milestone { uid: uid.clone(), generation: *generation, is_finished: self.is_finished }
    }

    /// Whether no attempt of it has begun.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether its status has a time of its end.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether it has to do with a TaskQueue.
    pub fn has_queue(&self) -> bool {
        self.has_queue
    }

    /// Where the metrics count it.
    pub fn place(&self) -> TaskPlace {
        self.place
    }

    /// Its namespace and name.
    pub fn key(&self) -> TaskKey {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        TaskKey { namespace: namespace.clone().unwrap_or_default(), name: name.clone().unwrap_or_default() }
    }

    /// Its version as a number; 0 if it is none.
    pub fn version(&self) -> u64 {
        version_of(&self.metadata)
    }
}

/// The object's version as a number, which Kubernetes allows since 1.35 (KEP-5504); 0 if it is none.
pub fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// What of a task may matter to those that wait for it. The same again means that nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    uid: Option<String>,
    generation: Option<i64>,
    is_finished: bool,
}

/// An object's metadata; the rest may be anything.
#[derive(Deserialize)]
struct Meta<M = ObjectMeta> {
    metadata: M,
}

/// The metadata that the cache needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
}

/// A task with as much as says how far it is, and whether it has to do with a queue.
#[derive(Deserialize)]
struct Outline {
    spec: Option<Spec>,
    status: Option<Stage>,
}

/// The parts of a spec that say whether it has a queue, and which tasks it waits for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    queue: Option<IgnoredAny>,
    after: Option<Vec<Named>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    task: String,
}

/// A condition's type, and whether it is true.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Is {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(rename = "lastTransitionTime", default)]
    since: Option<String>,
}

/// The parts of an attempt that say whether it has a queue, and since when it could have run.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Current {
    queue: Option<IgnoredAny>,
    due_time: Option<String>,
    create_time: Option<String>,
}

/// What [`nothing_has_begun`](crate::core::decide::nothing_has_begun) reads, without the parts of a long history, and the
/// time of the end.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stage {
    start_time: Option<IgnoredAny>,
    state: Option<State>,
    current: Option<Current>,
    history: Option<Vec<IgnoredAny>>,
    completion_time: Option<IgnoredAny>,
    conditions: Option<Vec<Is>>,
}

impl Stage {
    fn is_finished(&self) -> bool {
        let is_end = |is: &Is| is.status == "True" && matches!(is.type_.as_str(), "Finished" | "Complete" | "Failed");
        self.conditions.iter().flatten().any(is_end)
    }

    fn is_new(&self) -> bool {
        let Self { start_time, current, history, state: _, completion_time: _, conditions: _ } = self;
        start_time.is_none() && current.is_none() && history.as_ref().is_none_or(Vec::is_empty)
    }

    fn place(&self, created: Option<Timestamp>) -> TaskPlace {
        let state = self.state.unwrap_or(State::Pending);
        let time = |time: &Option<String>| time.as_ref().and_then(|time| time.parse().ok());
        let since = || {
            let current = self.current.as_ref();
            // What stalls a task that is run again is younger than the task.
            let stalled = || self.conditions.iter().flatten().filter_map(|is| time(&is.since)).max();
            let of_attempt = current.and_then(|current| time(&current.create_time).or_else(|| time(&current.due_time)));
            of_attempt.or_else(stalled).or(created)
        };
        TaskPlace { state, pending_since: if state == State::Pending { since() } else { None } }
    }
}

impl<'de> Deserialize<'de> for CachedTask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = Vec::new();
        JsonCopy::of_object(&mut json).deserialize(deserializer)?;
        let Meta { metadata } = serde_json::from_slice(&json).map_err(D::Error::custom)?;
        let Names { name, namespace, uid, resource_version, generation, creation_timestamp } = metadata;
        let metadata = ObjectMeta { name, namespace, uid, resource_version, generation, ..ObjectMeta::default() };
        // A status that cannot be parsed is a status: the task is not new.
        let outline = serde_json::from_slice(&json)
            .map(|Outline { spec, status }| (spec.unwrap_or_default(), status.unwrap_or_default()));
        let Ok((spec, stage)) = outline else {
            let (waits_for, json) = ([].into(), Packed::of(&json));
            return Ok(Self {
                metadata,
                is_new: false,
                has_ended: false,
                has_queue: true,
                waits_for,
                is_finished: false,
                place: TaskPlace { state: State::Unknown, pending_since: None },
                json,
            });
        };
        let has_queue = spec.queue.is_some() || stage.current.as_ref().is_some_and(|current| current.queue.is_some());
        let is_finished = stage.is_finished();
        let has_begun = is_finished || stage.start_time.is_some();
        let after = spec.after.into_iter().flatten().filter(|_| !has_begun);
        Ok(Self {
            metadata,
            is_new: stage.is_new(),
            has_ended: stage.completion_time.is_some(),
            has_queue,
            waits_for: after.map(|named| named.task).collect(),
            is_finished,
            place: stage.place(creation_timestamp.map(|created| created.0)),
            json: Packed::of(&json),
        })
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
