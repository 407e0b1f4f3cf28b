//! The resources that the server knows, and how each behaves.

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `retryabletasks.retryable.dev`.
    Tasks,
    /// `taskqueues.retryable.dev`.
    Queues,
    /// `taskschedules.retryable.dev`.
    Schedules,
    /// Pods.
    Pods,
    /// Leases.
    Leases,
    /// `events.events.k8s.io`.
    Events,
    /// `events` of the core group. In Kubernetes they are the same objects as those above. Here the operator writes those,
    /// and the cluster writes these.
    ClusterEvents,
    /// Nodes.
    Nodes,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 8] = [
        Self::Tasks,
        Self::Queues,
        Self::Schedules,
        Self::Pods,
        Self::Leases,
        Self::Events,
        Self::ClusterEvents,
        Self::Nodes,
    ];

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Tasks | Self::Queues | Self::Schedules => "retryable.dev",
            Self::Leases => "coordination.k8s.io",
            Self::Events => "events.k8s.io",
            Self::Pods | Self::ClusterEvents | Self::Nodes => "",
        }
    }

    /// The version of the group.
    pub fn version(self) -> &'static str {
        if self.custom() { "v1alpha1" } else { "v1" }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> String {
        let (group, version) = (self.group(), self.version());
        if group.is_empty() { version.into() } else { format!("{group}/{version}") }
    }

    /// `kind` of its objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Tasks => "RetryableTask",
            Self::Queues => "TaskQueue",
            Self::Schedules => "TaskSchedule",
            Self::Pods => "Pod",
            Self::Leases => "Lease",
            Self::Events | Self::ClusterEvents => "Event",
            Self::Nodes => "Node",
        }
    }

    /// Its name in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Tasks => "retryabletasks",
            Self::Queues => "taskqueues",
            Self::Schedules => "taskschedules",
            Self::Pods => "pods",
            Self::Leases => "leases",
            Self::Events | Self::ClusterEvents => "events",
            Self::Nodes => "nodes",
        }
    }

    /// Its name in messages, as in `retryabletasks.retryable.dev`.
    pub fn qualified(self) -> String {
        let (plural, group) = (self.plural(), self.group());
        if group.is_empty() { plural.into() } else { format!("{plural}.{group}") }
    }

    /// Whether it is namespaced.
    pub fn namespaced(self) -> bool {
        self != Self::Nodes
    }

    /// Whether a user-defined resource: no strategic merge, items of a list with their kind.
    pub fn custom(self) -> bool {
        matches!(self, Self::Tasks | Self::Queues | Self::Schedules)
    }

    /// Whether it has a status subresource.
    pub fn has_status(self) -> bool {
        matches!(self, Self::Tasks | Self::Queues | Self::Schedules | Self::Pods | Self::Nodes)
    }

    /// Whether `metadata.generation` counts the changes of its spec.
    pub fn has_generation(self) -> bool {
        matches!(self, Self::Tasks | Self::Queues | Self::Schedules | Self::Pods)
    }

    /// Whether it has managed fields: those of whose objects somebody reads them.
    pub fn has_managed_fields(self) -> bool {
        self == Self::Schedules
    }

    /// Whether a PUT without resourceVersion overwrites unconditionally.
    pub fn unconditional_update(self) -> bool {
        matches!(self, Self::Pods | Self::Events | Self::ClusterEvents | Self::Nodes)
    }

    /// The resource of this group, version and plural.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.group() == group && r.version() == version && r.plural() == plural)
    }
}
