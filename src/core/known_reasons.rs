//! The reasons with which attempts end, as far as they are known.

use super::did_you_mean::nearest;

/// The container's reason when it ran out of memory.
pub const OOM_KILLED: &str = "OOMKilled";

/// Reasons that no rule can match: such ends are decided before any rule is asked.
pub const DECIDED_BEFORE: [&str; 6] =
    ["Completed", "Suspended", "Cancelled", "DeadlineExceeded", "SpecChanged", "RetryNow"];

/// Reasons of attempts that never started, or that the operator stopped: rules see no exit code of them.
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

/// The operator's reasons, and those of the kubelet, the scheduler, the controllers and the runtimes. A newer one, or a
/// device plugin, may have others.
pub const KNOWN: [&str; 58] = [
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
];

/// Whether rules see neither exit code nor signal of an attempt with that reason.
pub fn has_no_exit_code(reason: &str) -> bool {
    WITHOUT_EXIT_CODE.contains(&reason)
}

/// The known reason that was meant by one that is not known, if one is near.
pub fn meant(reason: &str) -> Option<&'static str> {
    nearest(reason, &KNOWN).filter(|known| *known != reason)
}

#[cfg(test)]
mod tests;
