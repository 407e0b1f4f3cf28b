//! The name of a task in its namespace.

use super::CachedTask;
use kube_runtime::reflector::ObjectRef;
use std::fmt;

/// Namespace and name of a task: the key of caches and of the work queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl TaskKey {
    /// The key of the task in the store.
    pub fn reference(&self) -> ObjectRef<CachedTask> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
