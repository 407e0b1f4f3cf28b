//! The garbage collector: owner references, and the finalizers `foregroundDeletion` and `orphan`.

use super::{
    Server, State,
    delete::{FOREGROUND, ORPHAN},
    route::Verb,
    store::{Actor, Key},
};
use crate::random::Random;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// Collects garbage for as long as the world exists. Each round comes some time after its cause: usually soon, sometimes
/// minutes later.
pub async fn collect_garbage(server: Server, seed: u64) {
    let mut random = Random::fork(seed, "collector");
    let wake = server.lock().store.collect.clone();
    loop {
        wake.notified().await;
        let most = if random.chance(50) { 120_000 } else { 3_000 };
        tokio::time::sleep(random.skewed(most)).await;
        server.lock().collect();
    }
}

impl State {
    /// One round.
    fn collect(&mut self) {
        let objects: Vec<(Key, Arc<Value>)> = self.store.objects().map(|(k, o)| (k.clone(), o.clone())).collect();
        let live: BTreeSet<&str> = objects.iter().filter_map(|(_, o)| o["metadata"]["uid"].as_str()).collect();
        let waiting: BTreeSet<&str> = objects
            .iter()
            .filter(|(_, object)| waits_for(object, FOREGROUND))
            .filter_map(|(_, object)| object["metadata"]["uid"].as_str())
            .collect();
        for (key, owner) in &objects {
            if waits_for(owner, ORPHAN) {
                self.orphan(key, owner, &objects);
            } else if waits_for(owner, FOREGROUND) {
                self.finish_foreground(key, owner, &objects);
            }
        }
        for (key, object) in &objects {
            let owners: Vec<&Value> = object["metadata"]["ownerReferences"].as_array().into_iter().flatten().collect();
            let uid = |reference: &Value| reference["uid"].as_str().unwrap_or("").to_string();
            let absent = |reference: &&&Value| !live.contains(uid(reference).as_str());
            let solid = |reference: &&&Value| !absent(reference) && !waiting.contains(uid(reference).as_str());
            let leaving = owners.iter().any(|reference| waiting.contains(uid(reference).as_str()));
            if owners.is_empty() || owners.iter().any(|reference| solid(&reference)) {
                self.strip(key, object, |reference| absent(&&reference));
            } else if leaving || owners.iter().all(|reference| absent(&reference)) {
                self.discard(key, object);
            }
        }
    }

    fn discard(&mut self, key: &Key, object: &Value) {
        if object["metadata"]["deletionTimestamp"].is_null() {
            let body = json!({"propagationPolicy": "Background", "preconditions": {"uid": object["metadata"]["uid"]}});
            self.write(Actor::Manager, Verb::Delete, key, body, false);
        }
    }

    /// Removes the unwanted owner references of an object.
    fn strip(&mut self, key: &Key, object: &Value, unwanted: impl Fn(&Value) -> bool) {
        let references: Vec<Value> = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let kept: Vec<&Value> = references.iter().filter(|reference| !unwanted(reference)).collect();
        if kept.len() < references.len() {
            let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
            let body = json!({"metadata": {"ownerReferences": kept, "uid": object["metadata"]["uid"]}});
            self.write(Actor::Manager, Verb::Patch, key, body, false);
        }
    }

    fn orphan(&mut self, key: &Key, owner: &Value, objects: &[(Key, Arc<Value>)]) {
        let uid = &owner["metadata"]["uid"];
        for (dependent, object) in objects.iter().filter(|(_, object)| owned_by(object, uid)) {
            self.strip(dependent, object, |reference| reference["uid"] == *uid);
        }
        self.remove_finalizer(key, ORPHAN);
    }

    fn finish_foreground(&mut self, key: &Key, owner: &Value, objects: &[(Key, Arc<Value>)]) {
        let uid = &owner["metadata"]["uid"];
        let blocks = |reference: &Value| reference["uid"] == *uid && reference["blockOwnerDeletion"] == json!(true);
        let blocked = objects.iter().any(|(_, object)| {
            object["metadata"]["ownerReferences"].as_array().is_some_and(|list| list.iter().any(blocks))
        });
        if !blocked {
            self.remove_finalizer(key, FOREGROUND);
        }
    }

    fn remove_finalizer(&mut self, key: &Key, finalizer: &str) {
        let Some(object) = self.store.get(key) else { return };
        let mut list = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        list.retain(|f| f != finalizer);
        let list = if list.is_empty() { Value::Null } else { Value::Array(list) };
        let body = json!({"metadata": {"finalizers": list}});
        self.write(Actor::Manager, Verb::Patch, key, body, false);
    }
}

/// Whether the object is being deleted and has this finalizer.
fn waits_for(object: &Value, finalizer: &str) -> bool {
    let has = object["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|f| f == finalizer));
    has && object["metadata"]["deletionTimestamp"].is_string()
}

fn owned_by(object: &Value, uid: &Value) -> bool {
    object["metadata"]["ownerReferences"].as_array().is_some_and(|list| list.iter().any(|r| r["uid"] == *uid))
}
