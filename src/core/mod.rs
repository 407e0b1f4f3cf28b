//! Pure: no client, no clock, no I/O, no panic. What a Pod says (`observe`), what its end means (`classify`), how long
//! to wait (`backoff`), what to do next (`decide`), and the Pod of an attempt (`pod`).

pub mod attempt_spec;
pub mod build_pod;
pub mod classify;
pub mod condition_list;
pub mod decide;
pub mod delay;
pub mod did_you_mean;
pub mod excerpt;
pub mod identity;
pub mod known_reasons;
pub mod main_container;
pub mod message;
pub mod oom;
pub mod pod_event;
pub mod pod_snapshot;
mod regex_cache;
pub mod rejection;
pub mod rule_match;
pub mod termination_report;
pub mod time;

#[cfg(test)]
pub(crate) mod testing;
