//! The same work as a RetryableTask and as a batch/v1 Job.

use crate::cluster::{NODES, kubectl};
use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How many are created at the same time.
const CREATIONS: usize = 32;
/// Job's first wait, in seconds. Each further one is twice as long.
pub const JOB_BACKOFF_SECONDS: i32 = 10;
/// The name of the work's `TaskQueue`.
pub const QUEUE: &str = "queue";

/// The kind of object that runs the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    Task,
    Job,
}

impl Kind {
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Task => "retryabletasks",
            Self::Job => "jobs",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Task => ApiResource::from_gvk(&GroupVersionKind::gvk("retryable.dev", "v1alpha1", "RetryableTask")),
            Self::Job => ApiResource::from_gvk(&GroupVersionKind::gvk("batch", "v1", "Job")),
        }
    }
}

/// Work that fails on each attempt.
#[derive(Clone, Debug)]
pub struct Work {
    /// How long each attempt runs, as a Go duration.
    pub duration: String,
    /// How often it is retried.
    pub retries: i32,
    /// The back-off of the task. A Job has its own.
    pub backoff: Value,
    /// The spec of the `TaskQueue` that the tasks have, if they have one.
    pub queue: Option<Value>,
}

impl Work {
    /// Fails ten times, with a wait of about five seconds each time.
    pub fn that_fails_often() -> Self {
        let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 5});
        Self { duration: "1s".into(), retries: 9, backoff, queue: None }
    }

    /// Retried with Job's waits, and with the task's default jitter.
    pub fn as_a_job_waits(retries: i32) -> Self {
        let backoff =
            json!({"strategy": "Exponential", "initialDelaySeconds": JOB_BACKOFF_SECONDS, "maxDelaySeconds": 600});
        Self { duration: "1s".into(), retries, backoff, queue: None }
    }

    /// Fails once, and waits for an hour.
    pub fn that_waits() -> Self {
        let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": 3600});
        Self { duration: "1s".into(), retries: 3, backoff, queue: None }
    }

    /// The manifest of the task or Job with this index. Its Pods name their node: this leaves out the scheduler, which
    /// treats all Pods alike.
    fn manifest(&self, kind: Kind, index: usize) -> Value {
        let metadata = json!({"annotations": {
            "simulate.retryable.dev/duration": self.duration,
            "simulate.retryable.dev/exit-code": "1",
        }});
        let node = format!("simulated-{}", index % NODES + 1);
        let mut spec = match kind {
            Kind::Task => json!({
                "image": "none", "maxRetries": self.retries, "backoff": self.backoff,
                "template": {"metadata": metadata, "spec": {"nodeName": node}},
            }),
            Kind::Job => json!({
                "backoffLimit": self.retries,
                "template": {"metadata": metadata, "spec": {
                    "nodeName": node, "restartPolicy": "Never", "containers": [{"name": "task", "image": "none"}],
                }},
            }),
        };
        if self.queue.is_some() {
            spec["queue"] = json!({"name": QUEUE});
        }
        let resource = kind.resource();
        json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name(index)}, "spec": spec})
    }

    /// Creates the queue, if the tasks have one.
    pub fn create_queue(&self, namespace: &str) -> Result<()> {
        let Some(spec) = &self.queue else { return Ok(()) };
        let metadata = json!({"name": QUEUE, "namespace": namespace});
        let queue =
            json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskQueue", "metadata": metadata, "spec": spec});
        kubectl(&["apply", "-f", "-"], &queue.to_string()).map(drop)
    }

    /// Creates those of `indices`: one per `pace`, or as fast as the API server accepts them.
    pub async fn create(
        &self,
        client: &Client,
        (kind, namespace): (Kind, &str),
        indices: std::ops::Range<usize>,
        pace: Option<Duration>,
    ) -> Result<()> {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
        let create = |index| {
            let (api, manifest) = (api.clone(), self.manifest(kind, index));
            async move {
                anyhow::Ok(api.create(&PostParams::default(), &serde_json::from_value(manifest)?).await.map(drop)?)
            }
        };
        match pace {
            None => stream::iter(indices).map(create).buffer_unordered(CREATIONS).try_collect().await,
            Some(pace) => {
                let mut ticks = tokio::time::interval(pace);
                for index in indices {
                    ticks.tick().await;
                    create(index).await?;
                }
                Ok(())
            }
        }
    }
}

/// The name of the task or Job with this index.
pub fn name(index: usize) -> String {
    format!("work-{index:05}")
}
