//! What can go wrong in a reconcile.

use super::TaskKey;
use std::time::Duration;

/// A reconcile that did not go through. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("{task}: {what}: {source}")]
    Request {
        /// The task.
        task: TaskKey,
        /// What was tried.
        what: &'static str,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The status kept changing under our hands.
    #[error("{0}: others keep writing its status; trying again")]
    Conflict(TaskKey),
    /// This process does not lead (any more).
    #[error("{0}: this process does not hold the lease")]
    NotLeading(TaskKey),
    /// It took too long.
    #[error("{task}: the reconcile took longer than {} s", .limit.as_secs())]
    Timeout {
        /// The task.
        task: TaskKey,
        /// The limit.
        limit: Duration,
    },
    /// A defect of the operator.
    #[error("{task}: the reconcile panicked: {message}")]
    Panic {
        /// The task.
        task: TaskKey,
        /// What the panic said.
        message: String,
    },
    /// The reconcile did not converge: a defect of the operator.
    #[error("{0}: the reconcile did not converge")]
    NoConvergence(TaskKey),
}

impl Error {
    /// The kind of trouble, as the metric's label.
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
