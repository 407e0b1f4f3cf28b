//! Argo's synchronization: a lock becomes the queue of the task.

use super::super::mapping;
use super::super::notes::Notes;
use super::fields::Fields;
use serde_yaml_ng::{Mapping, Value};

/// The longest name of a TaskQueue.
const MAX_NAME: usize = 63;

/// A lock that a Workflow or its template takes.
struct Lock {
    path: String,
    queue: String,
    /// How many may hold it, in words.
    slots: String,
}

/// The queue in whose line the task is.
pub(super) fn convert(of: [&mut Fields; 2], spec: &mut Mapping, notes: &mut Notes) {
    let mut locks: Vec<Lock> = Vec::new();
    for fields in of {
        let Some(mut found) = fields.object("synchronization") else { continue };
        let mutex = found.object("mutex").map(|it| ("mutex", it));
        let semaphore = found.object("semaphore").map(|it| ("semaphore", it));
        let mut all: Vec<_> = mutex.into_iter().chain(semaphore).collect();
        for (kind, list) in [("mutex", "mutexes"), ("semaphore", "semaphores")] {
            let path = found.path(list);
            let items = found.list(list, notes).into_iter().enumerate();
            all.extend(items.map(|(at, item)| (kind, Fields::new(item, &format!("{path}[{at}]")))));
        }
        locks.extend(all.into_iter().filter_map(|(kind, lock)| read(kind, lock, notes)));
        found.refuse_rest(notes);
    }
    match &*locks {
        [] => {}
        [Lock { path, queue, slots }] => {
            let text = format!(
                "create TaskQueue {queue} with maxConcurrent {slots}: an attempt holds a slot while it runs, and none during its back-off"
            );
            notes.differs(path, Some("queue"), &text);
            spec.insert("queue".into(), mapping([("name", queue.as_str().into())]).into());
        }
        [_, Lock { path, .. }, ..] => notes.refuse(path, "a task has one queue: keep the lock that matters most"),
    }
}

fn read(kind: &str, mut lock: Fields, notes: &mut Notes) -> Option<Lock> {
    let path = lock.path("");
    let path = path.trim_end_matches('.').to_owned();
    // Where the lock is; a task and its queue are in one namespace.
    if lock.take("namespace").is_some() {
        notes.differs(&lock.path("namespace"), None, "a task's queue is in its own namespace: left out");
    }
    let (name, slots) = if kind == "mutex" {
        (lock.text("name"), "1".to_owned())
    } else {
        let mut from = lock.object("configMapKeyRef").unwrap_or_else(|| Fields::new(Value::Null, &path));
        let (map, key) = (from.text("name").unwrap_or_default(), from.text("key").unwrap_or_default());
        from.refuse_rest(notes);
        (Some(format!("{map}-{key}")).filter(|name| name != "-"), format!("as key {key} of ConfigMap {map} says"))
    };
    lock.refuse_rest(notes);
    let Some(queue) = name.as_deref().and_then(queue_name) else {
        notes.refuse(&path, "has no name for a queue: give it a mutex or a semaphore of a ConfigMap's key");
        return None;
    };
    Some(Lock { path, queue, slots })
}

/// A name that a TaskQueue can have.
fn queue_name(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name: String =
        name.to_ascii_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).take(MAX_NAME).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}
