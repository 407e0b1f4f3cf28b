//! The reasons that are values of labels. Each value is a series, so there is a bounded number of them.

use crate::api::{ConditionReason, EndReason, StopReason};
use serde::de::value::Error as ValueError;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// The cluster's reasons that are values of labels, beside all of the operator's.
pub(super) const REASONS: &[&str] = &[
    "AppArmor",
    "ContainerCannotRun",
    "ContainerStatusUnknown",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CreatePodSandboxError",
    "DeletionByPodGC",
    "DeletionByTaintManager",
    "DisruptionTarget",
    "ErrImageNeverPull",
    "ErrImagePull",
    "Evicted",
    "EvictionByEvictionAPI",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedMount",
    "ImageInspectError",
    "ImagePullBackOff",
    "InitContainerRestartPolicyForbidden",
    "InvalidImageName",
    "InvalidNodeInfo",
    "NodeAffinity",
    "NodePorts",
    "NoMatchingWorkload",
    "NodeShutdown",
    "NotAdmitted",
    "OOMKilled",
    "OutOfcpu",
    "OutOfephemeral-storage",
    "OutOfmemory",
    "OutOfpods",
    "PodFeatureUnsupported",
    "PodLevelResourcesNotSupported",
    "PodOSNotSupported",
    "PodOSSelectorNodeLabelDoesNotMatch",
    "PostStartHookError",
    "PreCreateHookError",
    "PreStartHookError",
    "PreemptionByScheduler",
    "Preempting",
    "RegistryUnavailable",
    "RunContainerError",
    "SchedulingGated",
    "SignatureValidationFailed",
    "StartError",
    "Stopped",
    "SupplementalGroupsPolicyNotSupported",
    "SysctlForbidden",
    "Terminated",
    "TerminationByKubelet",
    "TopologyAffinityError",
    "UnexpectedAdmissionError",
    "Unhealthy",
    "Unschedulable",
    "VolumeAttachmentLimitExceeded",
    "WorkloadDeleted",
    "WorkloadEvicted",
];

/// The reason itself if it is known, else `Other`. A Pod's reason may be any text, and each would be a new series.
pub fn bounded_reason(reason: &str) -> &'static str {
    let stop = one_of::<StopReason>(reason).filter(|stop| *stop != StopReason::Unknown).map(StopReason::as_str);
    let end = || one_of::<EndReason>(reason).map(EndReason::as_str);
    let condition = || one_of::<ConditionReason>(reason).map(ConditionReason::as_str);
    let known = || REASONS.iter().copied().find(|known| *known == reason);
    stop.or_else(end).or_else(condition).or_else(known).unwrap_or("Other")
}

/// The variant of that name. Variants that are added later are found too.
fn one_of<T: DeserializeOwned>(name: &str) -> Option<T> {
    T::deserialize(IntoDeserializer::<ValueError>::into_deserializer(name)).ok()
}
