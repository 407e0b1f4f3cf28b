//! Validation of a spec: what admission cannot see, or an older version of it let through. A task with such a spec
//! stalls with `InvalidSpec`.

use super::{attempt_spec, delay, main_container, rule_match, start_at};
use crate::api::RetryableTaskSpec;

/// The first thing that is wrong with the spec, as a message to its author.
pub fn problem(spec: &RetryableTaskSpec) -> Option<String> {
    let backoff = || spec.backoff.as_ref().and_then(delay::problem).map(|problem| format!("spec.backoff: {problem}"));
    let rules = || rule_match::problem(spec.rules.as_deref().unwrap_or_default());
    let start_at = || spec.start_at.as_deref().and_then(start_at::problem);
    main_container::problem(spec)
        .or_else(start_at)
        .or_else(backoff)
        .or_else(rules)
        .or_else(|| attempt_spec::memory_problem(spec))
}

#[cfg(test)]
mod tests;
