//! The operator as people install it: by the chart, or by the plain manifests, from its image.
//!
//! These tests need what `make e2e` prepares: helm, and the image loaded into the node.

mod alone;
mod container_process;
mod definition;
mod examples;
mod leader;
mod page;
mod release;
mod rights;
mod uninstall;
mod upgrade;

use crate::support::{Scene, eventually, kubectl, sh};
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::{LABEL_TASK_UID, RetryableTaskStatus, State};
use serde_json::{Value, json};

/// The image that `make image` packs, as it is loaded into the node.
const IMAGE: &str = "docker.io/library/retryable-tasks:dev";

/// A task whose attempts run until [`let_go`], whereupon they fail before the third.
fn gated(name: &str) -> Value {
    let script = "echo attempt $RETRYABLE_ATTEMPT; \
                  while ! test -e /tmp/go; do sleep 0.2; done; test $RETRYABLE_ATTEMPT -ge 2";
    sh(name, script, &json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 1}}))
}

/// Ends the attempt that runs in `pod`.
#[track_caller]
fn let_go(scene: &Scene, pod: &str) {
    scene.kubectl(&["exec", pod, "--", "touch", "/tmp/go"]).ok();
}

/// A task that fails at once, and succeeds `delay` seconds later.
fn waiting(name: &str, delay: i32) -> Value {
    let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": delay});
    sh(name, "test $RETRYABLE_ATTEMPT -ge 2", &json!({"backoff": backoff}))
}

fn is_waiting(status: &RetryableTaskStatus) -> bool {
    status.state == Some(State::Waiting)
}

/// Names and finalizers of the attempts' Pods that are in the scene's namespace and have any.
async fn with_finalizer(scene: &Scene) -> Vec<(String, Vec<String>)> {
    let attempts = scene.pods().list(&ListParams::default().labels(LABEL_TASK_UID)).await.unwrap();
    let with_finalizer = attempts.iter().filter(|pod| !pod.finalizers().is_empty());
    with_finalizer.map(|pod| (pod.name_any(), pod.finalizers().to_vec())).collect()
}

/// Takes the rights away that the scene gives an operator that is a plain process: these ones bring their own.
fn without_rights(scene: &Scene) {
    for namespace in [&scene.namespace, &scene.home] {
        let rights = ["delete", "roles,rolebindings", "-l", "app.kubernetes.io/name=retryable-tasks", "--namespace"];
        kubectl(&[&rights[..], &[namespace]].concat()).ok();
    }
}

/// Waits until the namespace is gone, having deleted it. Whatever holds an object in it holds it.
async fn namespace_ends(name: &str) {
    kubectl(&["delete", "namespace", name, "--wait=false"]).ok();
    eventually("the namespace's end", async || {
        let left = kubectl(&["get", "namespace", name, "--ignore-not-found", "-o", "yaml"]).ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}
