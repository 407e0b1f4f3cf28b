//! A task as the cache keeps it: as the JSON that the API server sent, which takes less memory than its parts as values,
//! and less time to take in.

use crate::api::RetryableTask;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A task that was watched. What it says is read when it is looked at, so that one that cannot be read does not hide the
/// others.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the task is known by, and no more.
    metadata: ObjectMeta,
    is_new: bool,
    /// The task without its `managedFields`.
    json: Box<str>,
}

impl Kept {
    /// The task, or why it cannot be read.
    pub fn task(&self) -> Result<RetryableTask, Box<InvalidObject>> {
        serde_json::from_str(&self.json).map_err(|error| {
            let whole = serde_json::from_str(&self.json).ok().and_then(|Meta { metadata }| metadata);
            let metadata = whole.unwrap_or_else(|| self.metadata.clone());
            Box::new(InvalidObject { error: error.to_string(), metadata })
        })
    }

    /// Whether nothing of it has begun.
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}

/// The parts of an object as they are written.
type Parts = BTreeMap<String, Box<RawValue>>;

/// The metadata of an object whose rest may be anything.
#[derive(Deserialize)]
struct Meta {
    metadata: Option<ObjectMeta>,
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

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut task = Parts::deserialize(deserializer)?;
        let metadata = task.get("metadata").ok_or_else(|| D::Error::missing_field("metadata"))?;
        let Names { name, namespace, uid, resource_version } = read(metadata)?;
        let mut whole: Parts = read(metadata)?;
        whole.remove("managedFields");
        task.insert("metadata".into(), serde_json::value::to_raw_value(&whole).map_err(D::Error::custom)?);
        let is_nothing = |status: Option<Begun>| status.is_none_or(|begun| begun.is_nothing());
        let is_new = task.get("status").is_none_or(|status| serde_json::from_str(status.get()).is_ok_and(is_nothing));
        Ok(Self {
            metadata: ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() },
            is_new,
            json: serde_json::to_string(&task).map_err(D::Error::custom)?.into(),
        })
    }
}

fn read<'de, T: Deserialize<'de>, E: Error>(part: &'de RawValue) -> Result<T, E> {
    serde_json::from_str(part.get()).map_err(E::custom)
}

impl Resource for Kept {
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
mod tests {
    use super::Kept;
    use crate::api::{RetryableTask, RetryableTaskStatus};
    use crate::core::decide::nothing_has_begun;
    use kube::ResourceExt;
    use serde_json::{Value, json};

    fn kept(manifest: &Value) -> Kept {
        // As it comes: RawValue tells a text from a value.
        serde_json::from_str(&manifest.to_string()).unwrap()
    }

    fn manifest() -> Value {
        json!({
            "apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask",
            "metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "generation": 2,
                         "annotations": {"retryable.dev/cancel": "now"}, "managedFields": [{"manager": "kubectl"}]},
            "spec": {"image": "busybox", "template": {"spec": {"nodeName": "n"}}},
        })
    }

    #[test]
    fn a_task_comes_out_as_it_went_in_but_for_who_wrote_which_field() {
        let mut manifest = manifest();
        manifest["status"] = json!({"attempts": 1, "state": "Waiting", "nextRetryTime": "2026-11-22T10:00:07.130001Z",
            "current": {"number": 2, "dueTime": "2026-11-22T10:00:07.130001Z"},
            "history": [{"attempt": 1, "podName": "a-x-1", "reason": "Error", "action": "Retry", "exitCode": 3}]});
        let mut before: RetryableTask = serde_json::from_value(manifest.clone()).unwrap();
        assert_eq!(before.managed_fields().len(), 1);
        before.managed_fields_mut().clear();
        for kept in [kept(&manifest), serde_json::from_value(manifest).unwrap()] {
            let after = kept.task().unwrap();
            assert_eq!(after.metadata.managed_fields.iter().flatten().count(), 0);
            assert_eq!(after.annotations(), before.annotations());
            assert_eq!(after.metadata.generation, before.metadata.generation);
            assert_eq!(after.spec, before.spec);
            assert_eq!(after.status, before.status);
            let names = (kept.name_any(), kept.namespace(), kept.uid(), kept.resource_version());
            assert_eq!(names, ("a".into(), Some("b".into()), Some("c".into()), Some("7".into())));
        }
    }

    #[test]
    fn a_task_is_new_as_long_as_nothing_of_it_has_begun() {
        assert!(kept(&manifest()).is_new());
        let with = |status: &Value| {
            let mut manifest = manifest();
            manifest["status"] = status.clone();
            kept(&manifest)
        };
        let begun = json!({"attempt": 1, "podName": "a-x-1", "reason": "Error", "action": "Retry"});
        for status in [
            json!({}),
            json!({"observedGeneration": -1}), // what the schema gives a task that nobody has seen
            json!({"history": []}),
            json!({"current": null, "startTime": null}),
            json!({"current": {"number": 1}}),
            json!({"startTime": "2026-11-22T10:00:07Z"}),
            json!({"history": [begun]}),
        ] {
            let read: RetryableTaskStatus = serde_json::from_value(status.clone()).unwrap();
            assert_eq!(with(&status).is_new(), nothing_has_begun(&read), "{status}");
        }
        assert!(with(&Value::Null).is_new());
        assert!(!with(&json!("odd")).is_new(), "whatever it is, it is not none");
    }

    #[test]
    fn a_task_that_cannot_be_read_says_why() {
        let mut manifest = manifest();
        manifest["spec"] = json!({"maxRetries": "many"});
        let invalid = kept(&manifest).task().unwrap_err();
        assert!(invalid.error.contains("many"), "{}", invalid.error);
        assert_eq!(invalid.metadata.generation, Some(2), "all that is known of it");
    }
}
