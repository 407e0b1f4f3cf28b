//! Creating and changing objects.

use super::{
    Reply, State,
    error::ApiError,
    patch,
    resource::Resource,
    route::{Call, PatchKind, Verb},
    store::{Actor, ChangeKind, Key},
    validation,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Metadata that a client cannot change.
const SYSTEM_FIELDS: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

impl State {
    pub(super) fn create(&mut self, actor: Actor, call: &Call) -> Result<Reply, ApiError> {
        let mut object = call.body.clone();
        validation::well_formed(call, &object)?;
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|v| !v.is_empty()) {
            return Err(ApiError::new(
                500,
                "InternalError",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let prefix = object["metadata"]["generateName"].as_str().map(ToString::to_string);
        if let (Some(prefix), None) = (prefix, object["metadata"]["name"].as_str()) {
            object["metadata"]["name"] = json!(format!("{prefix}{:05x}", self.names.below(0x10_0000)));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or("").to_string();
        let key = Key::new(call.resource, call.namespace.clone().unwrap_or_default(), name.clone());
        if call.parameter("fieldValidation") == Some("Strict") {
            validation::strict(call.resource, &object)?;
        }
        if !key.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(key.namespace);
        }
        let metadata = validation::object(&mut object, "metadata");
        for field in SYSTEM_FIELDS {
            metadata.remove(field);
        }
        metadata.insert("creationTimestamp".into(), json!(self.store.stamp(Duration::ZERO)));
        if call.resource.has_generation() {
            metadata.insert("generation".into(), json!(1));
        }
        if call.resource.has_status() {
            validation::object(&mut object, "").remove("status");
        }
        if call.resource == Resource::Pods {
            validation::pod_defaults(&mut object);
        }
        self.schema.admit(call.resource, &name, &mut object, false)?;
        validation::tidy(&mut object);
        validation::valid(call.resource, &name, &object)?;
        self.policies.admit(actor, call, &name, self.store.clock.elapsed())?;
        if let Some(old) = self.store.get(&key) {
            let terminating = old["metadata"]["deletionTimestamp"].is_string();
            return Err(ApiError::already_exists(call.resource, &name, terminating));
        }
        object["metadata"]["uid"] = json!(self.store.next_uid(&key));
        self.note_manager(actor, call, &mut object);
        let change = self.commit(actor, ChangeKind::Added, key, object);
        Ok(Reply::Object(201, change.object))
    }

    pub(super) fn update(&mut self, actor: Actor, call: &Call) -> Result<Reply, ApiError> {
        validation::well_formed(call, &call.body)?;
        let (key, old) = self.existing(call)?;
        if let Some(uid) = call.body["metadata"]["uid"].as_str()
            && old["metadata"]["uid"] != uid
        {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old["metadata"]["uid"]
            );
            return Err(ApiError::conflict(call.resource, &key.name, &why));
        }
        self.replace(actor, call, key, &old, call.body.clone())
    }

    pub(super) fn patch(&mut self, actor: Actor, call: &Call) -> Result<Reply, ApiError> {
        let (key, old) = self.existing(call)?;
        let mut new = (*old).clone();
        match call.patch {
            PatchKind::Merge => patch::merge(&mut new, &call.body),
            PatchKind::Strategic => patch::strategic(&mut new, &call.body),
        }
        self.replace(actor, call, key, &old, new)
    }

    pub(super) fn existing(&self, call: &Call) -> Result<(Key, Arc<Value>), ApiError> {
        let name = call.name.clone().unwrap_or_default();
        let key = Key::new(call.resource, call.namespace.clone().unwrap_or_default(), name);
        let old = self.store.get(&key).ok_or_else(|| ApiError::not_found(call.resource, &key.name))?;
        let old = old.clone();
        Ok((key, old))
    }

    /// Puts `new` in the place of `old`, as far as the one who writes may.
    fn replace(
        &mut self,
        actor: Actor,
        call: &Call,
        key: Key,
        old: &Arc<Value>,
        mut new: Value,
    ) -> Result<Reply, ApiError> {
        let resource = call.resource;
        match new["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty()) {
            Some(version) if old["metadata"]["resourceVersion"] != version => {
                return Err(ApiError::modified(resource, &key.name));
            }
            None if !resource.unconditional_update() => {
                let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
                return Err(ApiError::invalid(resource, &key.name, why));
            }
            _ => {}
        }
        validation::same_identity(resource, &key.name, &new, old)?;
        for field in SYSTEM_FIELDS {
            let value = old["metadata"].get(field).cloned();
            validation::set(validation::object(&mut new, "metadata"), field, value);
        }
        if call.status {
            let status = new.get("status").cloned();
            new = (**old).clone();
            validation::set(validation::object(&mut new, ""), "status", status);
        } else if resource.has_status() {
            validation::set(validation::object(&mut new, ""), "status", old.get("status").cloned());
        }
        self.schema.admit(resource, &key.name, &mut new, call.status)?;
        validation::tidy(&mut new);
        let managed = old["metadata"].get("managedFields").cloned();
        validation::set(validation::object(&mut new, "metadata"), "managedFields", managed);
        validation::valid_update(resource, &key.name, &new, old)?;
        if resource.has_generation() && validation::spec(&new) != validation::spec(old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = json!(generation + 1);
        }
        self.policies.admit(actor, call, &key.name, self.store.clock.elapsed())?;
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if validation::gone_without_finalizers(&new, old) {
            // The last state that watches are told still has the finalizer: it never was without one.
            self.commit(actor, ChangeKind::Deleted, key, (**old).clone());
            return Ok(Reply::Object(200, Arc::new(new)));
        }
        if new == **old {
            return Ok(Reply::Object(200, old.clone()));
        }
        self.note_manager(actor, call, &mut new);
        let change = self.commit(actor, ChangeKind::Modified, key, new);
        Ok(Reply::Object(200, change.object))
    }

    /// Notes who wrote the object, and when, if somebody reads that of such objects.
    fn note_manager(&self, actor: Actor, call: &Call, object: &mut Value) {
        if call.resource.has_managed_fields() {
            let manager = if matches!(actor, Actor::Client(_)) { "retryable-tasks" } else { "kubectl" };
            validation::note_manager(object, manager, call.status, &self.store.stamp(Duration::ZERO));
        }
    }

    /// Writes in the name of one of the cluster's own components, and tells whether it was accepted.
    pub fn write(&mut self, actor: Actor, verb: Verb, key: &Key, body: Value, status: bool) -> bool {
        let mut call = Call::internal(verb, key.resource, &key.namespace, &key.name, body);
        call.status = status;
        self.execute(actor, &call).is_ok()
    }
}
