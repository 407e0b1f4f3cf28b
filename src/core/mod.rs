//! The policy. It is pure: no client, no clock, no I/O, no panic.
//!
//! `pod_snapshot` reads a Pod, `classify` judges the end of an attempt, `delay` computes the wait, `decide` plans what
//! to do next, and `build_pod` makes the Pod of an attempt.

pub mod annotations;
pub mod attempt_spec;
pub mod build_pod;
pub mod classify;
pub mod condition_list;
pub mod decide;
pub mod delay;
pub mod dependency;
pub mod did_you_mean;
pub mod drive;
pub mod end_text;
pub mod excerpt;
pub mod fingerprint;
pub(crate) mod hash;
pub mod jitter_seed;
pub mod known_reasons;
pub mod kueue;
pub mod main_container;
pub mod memory_raise;
pub mod message;
pub mod past_waits;
pub mod pod_name;
pub mod pod_snapshot;
pub mod pod_warning;
pub mod queue;
mod regex_cache;
pub mod rejection;
pub mod rule_match;
pub mod schedule;
pub mod slot;
pub mod start_at;
pub mod termination_report;
pub mod time;
pub mod trace_context;
pub mod validate;
pub mod why;

#[cfg(test)]
pub(crate) mod testing;
