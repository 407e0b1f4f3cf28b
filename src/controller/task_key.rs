//! The name of a task in its namespace.

use super::CachedTask;
use kube_runtime::reflector::ObjectRef;
use std::fmt;

/// A task's place: the key of everything that is kept by task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl TaskKey {
    /// The reference that the store knows the task by.
    pub fn reference(&self) -> ObjectRef<CachedTask> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
