//! The status of a task in short.

use retryable_tasks::api::{ConditionType, RetryableTaskStatus, State};
use retryable_tasks::core::condition_list;

/// Why the task failed: reason and message of its condition.
#[track_caller]
pub fn failed(status: &RetryableTaskStatus) -> (&str, &str) {
    assert_eq!(status.state, Some(State::Failed), "{status:#?}");
    let failed = condition_list::find(&status.conditions, ConditionType::Failed).unwrap();
    assert_eq!(failed.status, "True");
    (&failed.reason, &failed.message)
}

/// How often each rule has matched.
pub fn classes(status: &RetryableTaskStatus) -> Vec<(&str, i32)> {
    status.failure_counts.iter().map(|class| (class.name.as_str(), class.count)).collect()
}
