//! A task as the cache keeps it: as JSON, which takes less memory than its parts as values.

use crate::api::RetryableTask;
use crate::core::decide::nothing_has_begun;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use std::borrow::Cow;

/// A task as it comes: one that cannot be read must not hide the others.
type Guarded = DeserializeGuard<RetryableTask>;

/// A task that was watched. Each is made as it is read, so that of a whole list only this is in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Guarded")]
pub struct Kept {
    /// What the task is known by, and no more.
    metadata: ObjectMeta,
    is_new: bool,
    json: Result<Box<[u8]>, Box<InvalidObject>>,
}

impl Kept {
    /// The task, or why it cannot be read.
    pub fn task(&self) -> Result<RetryableTask, Box<InvalidObject>> {
        match &self.json {
            Ok(json) => serde_json::from_slice(json).map_err(|error| self.invalid(&error)),
            Err(invalid) => {
                Err(Box::new(InvalidObject { error: invalid.error.clone(), metadata: invalid.metadata.clone() }))
            }
        }
    }

    /// Whether nothing of it has begun.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    fn invalid(&self, error: &serde_json::Error) -> Box<InvalidObject> {
        Box::new(InvalidObject { error: error.to_string(), metadata: self.metadata.clone() })
    }
}

impl From<Guarded> for Kept {
    fn from(mut task: Guarded) -> Self {
        task.managed_fields_mut().clear();
        let whole = task.meta();
        let metadata = ObjectMeta {
            name: whole.name.clone(),
            namespace: whole.namespace.clone(),
            uid: whole.uid.clone(),
            resource_version: whole.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let is_new = task.0.as_ref().is_ok_and(|task| task.status.as_ref().is_none_or(nothing_has_begun));
        let mut kept = Self { metadata, is_new, json: Ok(Box::default()) };
        kept.json = match task.0 {
            Ok(task) => match serde_json::to_vec(&task) {
                Ok(json) => Ok(json.into()),
                Err(error) => Err(kept.invalid(&error)),
            },
            Err(invalid) => Err(Box::new(invalid)),
        };
        kept
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
    use super::{Guarded, Kept};
    use kube::ResourceExt;
    use serde_json::{Value, json};

    fn kept(manifest: Value) -> Kept {
        serde_json::from_value(manifest).unwrap()
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
        let mut guarded: Guarded = serde_json::from_value(manifest).unwrap();
        let kept = Kept::from(guarded.clone());
        guarded.managed_fields_mut().clear();
        let (before, after) = (guarded.0.unwrap(), kept.task().unwrap());
        assert_eq!(after.metadata, before.metadata);
        assert_eq!(after.spec, before.spec);
        assert_eq!(after.status, before.status);
        assert_eq!((kept.name_any(), kept.namespace(), kept.uid()), ("a".into(), Some("b".into()), Some("c".into())));
    }

    #[test]
    fn a_task_is_new_until_something_of_it_has_begun() {
        let mut manifest = manifest();
        assert!(kept(manifest.clone()).is_new());
        manifest["status"] = json!({"observedGeneration": -1});
        assert!(kept(manifest.clone()).is_new(), "what the schema gives a task that nobody has seen");
        manifest["status"] = json!({"current": {"number": 1}});
        assert!(!kept(manifest).is_new());
    }

    #[test]
    fn a_task_that_cannot_be_read_says_why() {
        let mut manifest = manifest();
        manifest["spec"] = json!({"maxRetries": "many"});
        let kept = kept(manifest);
        assert!(!kept.is_new());
        let invalid = kept.task().unwrap_err();
        assert!(invalid.error.contains("many"), "{}", invalid.error);
        assert_eq!(invalid.metadata.generation, Some(2), "all that is known of it");
    }
}
