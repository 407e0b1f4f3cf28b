//! The patch that removes our finalizer from a Pod.

use crate::api::FINALIZER;
use kube::api::Patch;
use serde_json::{Value, json};

/// Removes our finalizer from the Pod of that UID, and no other finalizer, whatever the list is by then.
pub fn removal(pod_uid: &str) -> Patch<Value> {
    Patch::Strategic(json!({"metadata": {"uid": pod_uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}))
}

#[cfg(test)]
mod tests;
