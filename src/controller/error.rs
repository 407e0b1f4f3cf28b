//! What can go wrong in a reconcile.

use super::TaskKey;
use std::time::Duration;

/// Why a reconcile failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("{task}: {what}: {source}")]
    Request {
        /// The task.
        task: TaskKey,
        /// What could not be done.
        what: &'static str,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// Others wrote the status at the same time, again and again.
    #[error("{0}: others keep writing its status; trying again")]
    Conflict(TaskKey),
    /// This process does not lead, or no longer does.
    #[error("{0}: this process does not hold the lease")]
    NotLeading(TaskKey),
    /// The reconcile took too long.
    #[error("{task}: the reconcile took longer than {} s", .limit.as_secs())]
    Timeout {
        /// The task.
        task: TaskKey,
        /// The limit.
        limit: Duration,
    },
    /// A defect of the operator: a panic.
    #[error("{task}: the reconcile panicked: {message}")]
    Panic {
        /// The task.
        task: TaskKey,
        /// The panic's message.
        message: String,
    },
    /// A defect of the operator: the decisions never settled.
    #[error("{0}: the reconcile did not converge")]
    NoConvergence(TaskKey),
}

impl Error {
    /// The kind, as the metric's label.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Conflict(_) => "conflict",
            Self::NotLeading(_) => "not-leading",
            Self::Timeout { .. } => "timeout",
            Self::Panic { .. } => "panic",
            Self::NoConvergence(_) => "no-convergence",
        }
    }

    pub(super) fn request(task: &TaskKey, what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        let task = task.clone();
        move |source| Self::Request { task, what, source: Box::new(source) }
    }
}
