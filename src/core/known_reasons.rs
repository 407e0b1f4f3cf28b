//! The known reasons with which attempts end.

use super::did_you_mean::nearest;

/// The container's reason when it ran out of memory.
pub const OOM_KILLED: &str = "OOMKilled";

/// Reasons that no rule can match: `classify` decides such ends before it looks at the rules.
pub const DECIDED_BEFORE: [&str; 7] =
    ["Completed", "Suspended", "Cancelled", "DeadlineExceeded", "SpecChanged", "RetryNow", "QueueDrained"];

/// Reasons of attempts that never started, or that the operator stopped. Rules do not see an exit code of them.
const WITHOUT_EXIT_CODE: [&str; 22] = [
    "AttemptTimeout",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "FailedAttachVolume",
    "FailedCreate",
    "FailedCreatePodSandBox",
    "FailedMount",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "Lost",
    "PodNameConflict",
    "PodRejected",
    "RegistryUnavailable",
    "RunContainerError",
    "SchedulingGated",
    "SignatureValidationFailed",
    "StartupTimeout",
    "Unhealthy",
    "Unschedulable",
];

/// The operator's reasons, and those of the kubelet, the scheduler, the controllers and the runtimes. Newer versions of
/// these, and device plugins, may have others.
pub const KNOWN: [&str; 63] = [
    "AppArmor",
    "AttemptTimeout",
    "Cancelled",
    "Completed",
    "ContainerCannotRun",
    "ContainerStatusUnknown",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CreatePodSandboxError",
    "DeadlineExceeded",
    "DeletionByPodGC",
    "DeletionByTaintManager",
    "ErrImageNeverPull",
    "ErrImagePull",
    "Error",
    "Evicted",
    "EvictionByEvictionAPI",
    "FailedAttachVolume",
    "FailedCreate",
    "FailedCreatePodSandBox",
    "FailedMount",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "Lost",
    "NodeAffinity",
    "NodeLost",
    "NodePorts",
    "NodeShutdown",
    "NoMatchingWorkload",
    "NotAdmitted",
    "OOMKilled",
    "OutOfcpu",
    "OutOfephemeral-storage",
    "OutOfmemory",
    "OutOfpods",
    "PodDeadlineExceeded",
    "PodDeleted",
    "PodNameConflict",
    "PodRejected",
    "PreemptionByScheduler",
    "Preempting",
    "QueueDrained",
    "RegistryUnavailable",
    "RetryNow",
    "RunContainerError",
    "SchedulingGated",
    "SignatureValidationFailed",
    "SpecChanged",
    "StartError",
    "StartupTimeout",
    "Suspended",
    "SysctlForbidden",
    "Terminated",
    "TerminationByKubelet",
    "TopologyAffinityError",
    "UnexpectedAdmissionError",
    "Unhealthy",
    "Unknown",
    "Unschedulable",
    "PostStartHookError",
    "WorkloadDeleted",
    "WorkloadEvicted",
];

/// Whether rules see neither an exit code nor a signal of an attempt with that reason.
pub fn has_no_exit_code(reason: &str) -> bool {
    WITHOUT_EXIT_CODE.contains(&reason)
}

/// The known reason that an unknown one may mean. None if it is known, or not similar to any.
pub fn meant(reason: &str) -> Option<&'static str> {
    nearest(reason, &KNOWN).filter(|known| *known != reason)
}

#[cfg(test)]
mod tests;
