//! Pure: no client, no clock, no I/O, no panic. What a Pod says (`observe`), what its end means (`classify`), how long
//! to wait (`backoff`), what to do next (`decide`), and the Pod of an attempt (`pod`).

pub mod backoff;
pub mod classify;
pub mod conditions;
pub mod decide;
pub mod excerpt;
pub mod identity;
pub mod message;
pub mod more_memory;
pub mod observe;
mod pattern;
pub mod pod;
pub mod pod_event;
pub mod reasons;
pub mod rejection;
pub mod rules;
pub mod suggest;
pub mod template;
pub mod termination_report;
pub mod time;
pub mod variant;

#[cfg(test)]
pub(crate) mod testing;
