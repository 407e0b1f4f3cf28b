//! Deleting objects: preconditions, grace, finalizers, propagation.

use super::{
    Reply, State,
    error::ApiError,
    resource::Resource,
    route::Call,
    store::{Actor, ChangeKind, Key},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// The collector strips the owner references of the dependents before the object goes.
pub const ORPHAN: &str = "orphan";
/// The collector deletes the dependents before the object goes.
pub const FOREGROUND: &str = "foregroundDeletion";

/// How a deletion proceeds.
enum Grace {
    /// The object has no grace period, or it is over.
    None,
    /// It is to be deleted after this many seconds.
    Begin(i64),
    /// It is being deleted already, and this request does not shorten that.
    Pending,
}

impl State {
    pub(super) fn delete(&mut self, actor: Actor, call: &Call) -> Result<Reply, ApiError> {
        let (key, old) = self.existing(call)?;
        let options = Options::read(call);
        options.check(&key, &old)?;
        self.policies.admit(actor, call, &key.name, self.store.clock.elapsed())?;
        let grace = grace(key.resource, &old, options.grace);
        if matches!(grace, Grace::Pending) {
            return Ok(Reply::Object(200, old));
        }
        let mut new = (*old).clone();
        let finalizers = finalizers(&old, options.propagation.as_deref());
        let waits = !finalizers.is_empty();
        if waits {
            new["metadata"]["finalizers"] = json!(finalizers);
        } else if let Some(metadata) = new["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
        match grace {
            Grace::Begin(seconds) => self.mark_deleted(&mut new, &old, seconds),
            Grace::None | Grace::Pending if waits => self.mark_deleted(&mut new, &old, 0),
            Grace::None | Grace::Pending => {}
        }
        let kept = matches!(grace, Grace::Begin(1..)) || waits;
        let mut stored = old.clone();
        if new != *old && (kept || matches!(grace, Grace::Begin(_))) {
            stored = self.commit(actor, ChangeKind::Modified, key.clone(), new).object;
        }
        if kept {
            return Ok(Reply::Object(200, stored));
        }
        let gone = self.commit(actor, ChangeKind::Deleted, key.clone(), (*stored).clone()).object;
        if key.resource == Resource::Pods {
            return Ok(Reply::Object(200, gone));
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": key.name, "kind": key.resource.plural(), "group": key.resource.group(), "uid": gone["metadata"]["uid"]},
        });
        Ok(Reply::Object(200, Arc::new(status)))
    }

    /// Marks the object as being deleted.
    fn mark_deleted(&self, new: &mut Value, old: &Value, grace: i64) {
        let metadata = &mut new["metadata"];
        let first = !old["metadata"]["deletionTimestamp"].is_string();
        let generation = old["metadata"]["generation"].as_i64();
        if let (true, Some(generation)) = (first, generation) {
            metadata["generation"] = json!(generation + 1);
        }
        let seconds = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let due = if first {
            self.store.stamp(seconds)
        } else {
            shortened(old, grace).unwrap_or_else(|| self.store.stamp(seconds))
        };
        metadata["deletionTimestamp"] = json!(due);
        metadata["deletionGracePeriodSeconds"] = json!(grace);
    }
}

/// The deletion time of an object whose grace period is shortened to this.
fn shortened(old: &Value, grace: i64) -> Option<String> {
    let due: jiff::Timestamp = old["metadata"]["deletionTimestamp"].as_str()?.parse().ok()?;
    let before = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    Some(super::store::stamp(due + jiff::SignedDuration::from_secs(grace - before)))
}

fn grace(resource: Resource, old: &Value, asked: Option<i64>) -> Grace {
    if resource != Resource::Pods {
        return Grace::None;
    }
    if old["metadata"]["deletionTimestamp"].is_string() {
        let left = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        return match asked {
            _ if left == 0 => Grace::None,
            Some(asked) if asked.max(0) < left => Grace::Begin(asked.max(0)),
            _ => Grace::Pending,
        };
    }
    let own = old["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
    let unscheduled = old["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let ended = matches!(old["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    let seconds = asked.unwrap_or(own);
    Grace::Begin(match seconds {
        _ if unscheduled || ended => 0,
        ..0 => 1,
        seconds => seconds,
    })
}

/// The finalizers of an object that is being deleted: its own, and the collector's where the propagation asks for it.
fn finalizers(old: &Value, propagation: Option<&str>) -> Vec<String> {
    let has = |f: &str| old["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|x| x == f));
    let given = old["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut list: Vec<String> = given.filter(|f| *f != ORPHAN && *f != FOREGROUND).map(ToString::to_string).collect();
    let (orphan, foreground) = match propagation {
        Some("Orphan") => (true, false),
        Some("Foreground") => (false, true),
        Some(_) => (false, false),
        None => (has(ORPHAN), has(FOREGROUND)),
    };
    list.extend(orphan.then(|| ORPHAN.to_string()));
    list.extend(foreground.then(|| FOREGROUND.to_string()));
    list
}

/// What a DELETE asks for.
struct Options {
    grace: Option<i64>,
    propagation: Option<String>,
    uid: Option<String>,
    version: Option<String>,
}

impl Options {
    fn read(call: &Call) -> Self {
        let text = |value: &Value| value.as_str().map(ToString::to_string);
        let parameter = |name: &str| call.parameter(name).map(ToString::to_string);
        let body = &call.body;
        Self {
            grace: body["gracePeriodSeconds"].as_i64().or_else(|| parameter("gracePeriodSeconds")?.parse().ok()),
            propagation: text(&body["propagationPolicy"]).or_else(|| parameter("propagationPolicy")),
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
        }
    }

    fn check(&self, key: &Key, old: &Value) -> Result<(), ApiError> {
        let wanted = [("UID", "uid", &self.uid), ("ResourceVersion", "resourceVersion", &self.version)];
        for (label, field, wanted) in wanted {
            if let Some(wanted) = wanted
                && old["metadata"][field] != wanted.as_str()
            {
                let found = &old["metadata"][field];
                let why = format!(
                    "the {label} in the precondition ({wanted}) does not match the {label} in record ({found})"
                );
                return Err(ApiError::conflict(key.resource, &key.name, &why));
            }
        }
        Ok(())
    }
}
