//! A task as the cache keeps it: as JSON, which takes less memory than its parts as values. It is written while it is
//! read, so that no value of it is made before somebody looks at it.

mod text;

use crate::api::RetryableTask;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::{DeserializeSeed, Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use text::Text;

/// A task that was watched. What it says is read when it is looked at, so that one that cannot be read does not hide the
/// others.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the task is known by, and no more.
    metadata: ObjectMeta,
    is_new: bool,
    /// The task without its `managedFields`.
    json: Box<[u8]>,
}

impl Kept {
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

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = Vec::new();
        Text::of_object(&mut json).deserialize(deserializer)?;
        let Meta { metadata } = serde_json::from_slice(&json).map_err(D::Error::custom)?;
        let Names { name, namespace, uid, resource_version } = metadata;
        // A status that cannot be read is not none.
        let is_new =
            serde_json::from_slice(&json).is_ok_and(|Status { status }| status.is_none_or(|begun| begun.is_nothing()));
        let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(Self { metadata, is_new, json: json.into() })
    }
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
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::{Value, json};

    fn kept(manifest: &Value) -> Kept {
        serde_json::from_value(manifest.clone()).unwrap()
    }

    /// As a list has it, and as a watch does, with its type before the object and after it.
    fn as_it_comes(manifest: &Value) -> [Kept; 3] {
        let list = format!(
            r#"{{"apiVersion": "retryable.dev/v1alpha1", "kind": "List", "metadata": {{}}, "items": [{manifest}]}}"#
        );
        let mut listed: ObjectList<Kept> = serde_json::from_str(&list).unwrap();
        let watched = [
            format!(r#"{{"type": "ADDED", "object": {manifest}}}"#),
            format!(r#"{{"object": {manifest}, "type": "ADDED"}}"#),
        ];
        let [type_first, type_last] = watched.map(|event| match serde_json::from_str(&event).unwrap() {
            WatchEvent::Added(kept) => kept,
            other => panic!("{other:?}"),
        });
        [listed.items.remove(0), type_first, type_last]
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
        for kept in as_it_comes(&manifest) {
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
        let kept = kept(&manifest);
        assert!(kept.is_new());
        let invalid = kept.task().unwrap_err();
        assert!(invalid.error.contains("many"), "{}", invalid.error);
        assert_eq!(invalid.metadata.generation, Some(2), "all that is known of it");
    }
}
