//! How far a Pod is on its way to start, as distinct from what is wrong with it.

use crate::api::HoldUp;

/// Whether the reason only says how far a Pod is, and not what is wrong.
pub(super) fn is_stage(hold_up: &HoldUp) -> bool {
    is_stage_reason(&hold_up.reason)
}

pub(super) fn is_stage_reason(reason: &str) -> bool {
    matches!(reason, "Unscheduled" | "ContainerCreating" | "PodInitializing")
}

/// The kubelet says ErrImagePull and ImagePullBackOff in turn for one and the same trouble.
pub(super) fn is_same(stored: &str, now: &str) -> bool {
    const PULL: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];
    stored == now || (PULL.contains(&stored) && PULL.contains(&now))
}
