//! Reading objects, also from a server that is behind.

use super::{Reply, State, error::ApiError, route::Call, store::Key};
use serde_json::{Value, json};
use std::sync::Arc;

impl State {
    pub(super) fn get(&self, call: &Call, behind: Option<u64>) -> Result<Reply, ApiError> {
        let key =
            Key::new(call.resource, call.namespace.clone().unwrap_or_default(), call.name.clone().unwrap_or_default());
        let object = match (call.version()?, behind) {
            // Only a reader that takes any version is served by a server that is behind.
            (Some(wanted), Some(behind)) if wanted <= behind => self.store.get_at(&key, behind),
            _ => self.store.get(&key).cloned(),
        };
        let object = object.ok_or_else(|| ApiError::not_found(call.resource, &key.name))?;
        Ok(Reply::Object(200, view(call, &object)))
    }

    pub(super) fn list(&self, call: &Call, behind: Option<u64>) -> Result<Reply, ApiError> {
        let wanted = call.version()?;
        let exact = call.parameter("resourceVersionMatch") == Some("Exact");
        let version = match (wanted, behind) {
            (Some(version), _) if exact => version,
            (wanted, Some(behind)) if wanted.is_none_or(|wanted| wanted <= behind) => behind,
            _ => self.store.version(),
        };
        if exact && version < self.store.compacted() {
            return Err(ApiError::expired(version, self.store.compacted()));
        }
        let kind = call.resource.kind();
        let items: Vec<Value> = self.snapshot(call, version).iter().map(|object| item(call, object)).collect();
        let (list, api_version) = if call.metadata_only {
            ("PartialObjectMetadataList".to_string(), "meta.k8s.io/v1".to_string())
        } else {
            (format!("{kind}List"), call.resource.api_version())
        };
        let metadata = json!({"resourceVersion": version.to_string()});
        let list = json!({"kind": list, "apiVersion": api_version, "metadata": metadata, "items": items});
        Ok(Reply::Object(200, Arc::new(list)))
    }

    /// The objects that the call selects, as they were at the version.
    pub(super) fn snapshot(&self, call: &Call, version: u64) -> Vec<Arc<Value>> {
        let mut objects = self.store.all_at(call.resource, version);
        objects.retain(|object| selected(call, object));
        objects
    }
}

/// Whether the call's namespace and selectors take this object.
pub fn selected(call: &Call, object: &Value) -> bool {
    let namespace = call.namespace.as_deref();
    namespace.is_none_or(|ns| object["metadata"]["namespace"] == ns) && call.selector.matches(object)
}

/// The object as the call wants to see it.
pub fn view(call: &Call, object: &Arc<Value>) -> Arc<Value> {
    if !call.metadata_only {
        return object.clone();
    }
    let metadata = object["metadata"].clone();
    Arc::new(json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}))
}

/// The object as an item of a list. The items of built-in lists do not say their kind.
fn item(call: &Call, object: &Arc<Value>) -> Value {
    let mut item = (*view(call, object)).clone();
    if let (false, Some(map)) = (call.resource.custom() || call.metadata_only, item.as_object_mut()) {
        map.remove("kind");
        map.remove("apiVersion");
    }
    item
}
