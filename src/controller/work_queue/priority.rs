//! How urgent a reconcile is.

/// How urgent a reconcile is, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The task has reached a time that it waited for: a retry is due, or a limit has passed.
    Due,
    /// The task or one of its Pods has changed.
    Active,
    /// No attempt of the task has begun.
    New,
    /// The work can wait: Pods to delete or to release from the finalizer, progress to report.
    Cleanup,
}

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Due, Self::Active, Self::New, Self::Cleanup];

    /// The name, as the metrics' label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "Due",
            Self::Active => "Active",
            Self::New => "New",
            Self::Cleanup => "Cleanup",
        }
    }
}
