//! The `self-test` command: runs a short task to its end and deletes it. `helm test` uses it.

use kube::api::{Api, DeleteParams, PostParams, PropagationPolicy};
use kube::{Client, ResourceExt};
use kube_runtime::wait::await_condition;
use retryable_tasks::api::{ConditionType, MAIN_CONTAINER, RetryableTask};
use retryable_tasks::core::condition_list;
use serde_json::json;
use std::time::Duration;

/// Why the self-test failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused the request or did not answer.
    #[error("{what} failed")]
    Request {
        /// The request.
        what: &'static str,
        /// The client's error.
        source: kube::Error,
    },
    /// The task could not be watched.
    #[error("waiting for the task {task} failed")]
    Wait {
        /// The task.
        task: String,
        /// The watch's error.
        source: kube_runtime::wait::Error,
    },
    /// The task did not end in time: no operator runs, or its Pod does not start.
    #[error("the task {task} has not ended after {} s; its last state: {state}", .limit.as_secs())]
    NotFinished {
        /// The task.
        task: String,
        /// How long the self-test waited.
        limit: Duration,
        /// The state, reason and message in its status.
        state: String,
    },
    /// The task failed.
    #[error("the task {task} failed: {message}")]
    Failed {
        /// The task.
        task: String,
        /// Why.
        message: String,
    },
}

/// Runs `image --version` as a task in `namespace` and waits for its success.
pub async fn self_test(client: Client, namespace: &str, image: &str, limit: Duration) -> Result<(), Error> {
    let tasks: Api<RetryableTask> = Api::namespaced(client, namespace);
    let task = create(&tasks, image).await?;
    let result = wait(&tasks, &task, limit).await;
    let parameters =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    let deleted = tasks.delete(&task, &parameters).await;
    result?;
    deleted.map_err(|source| Error::Request { what: "deleting the task", source })?;
    tracing::info!(task, "the self-test passed");
    Ok(())
}

async fn create(tasks: &Api<RetryableTask>, image: &str) -> Result<String, Error> {
    let refused = |source| Error::Request { what: "creating the task", source };
    let manifest = json!({
        "apiVersion": "retryable.dev/v1alpha1",
        "kind": "RetryableTask",
        "metadata": {"generateName": "self-test-"},
        "spec": {
            "image": image,
            "args": ["--version"],
            "ttlSecondsAfterFinished": 300,
            "template": {"spec": restricted_pod()},
        },
    });
    let task = serde_json::from_value(manifest).map_err(|source| refused(kube::Error::SerdeError(source)))?;
    Ok(tasks.create(&PostParams::default(), &task).await.map_err(refused)?.name_any())
}

/// A Pod that the `restricted` Pod Security Standard allows.
fn restricted_pod() -> serde_json::Value {
    json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": MAIN_CONTAINER,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
        }],
    })
}

async fn wait(tasks: &Api<RetryableTask>, task: &str, limit: Duration) -> Result<(), Error> {
    let finished = |task: Option<&RetryableTask>| {
        let status = task.and_then(|task| task.status.as_ref());
        status.is_some_and(|status| condition_list::is_true(&status.conditions, ConditionType::Finished))
    };
    match tokio::time::timeout(limit, await_condition(tasks.clone(), task, finished)).await {
        Ok(Ok(ended)) => verdict(task, ended.as_ref()),
        Ok(Err(source)) => Err(Error::Wait { task: task.to_owned(), source }),
        Err(_) => {
            let last = tasks.get(task).await.ok().and_then(|task| task.status);
            let state = last.map_or_else(
                || "none, no operator has seen it".to_owned(),
                |status| {
                    format!(
                        "{:?} {} {}",
                        status.state,
                        status.reason.unwrap_or_default(),
                        status.message.unwrap_or_default()
                    )
                },
            );
            Err(Error::NotFinished { task: task.to_owned(), limit, state })
        }
    }
}

fn verdict(name: &str, task: Option<&RetryableTask>) -> Result<(), Error> {
    let all = task.and_then(|task| task.status.as_ref()).map(|status| status.conditions.as_slice()).unwrap_or_default();
    if condition_list::is_true(all, ConditionType::Complete) {
        return Ok(());
    }
    let failed = condition_list::find(all, ConditionType::Failed);
    let message = failed.map(|condition| condition.message.clone()).unwrap_or_default();
    Err(Error::Failed { task: name.to_owned(), message })
}
