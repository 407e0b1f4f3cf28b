//! Tasks that have ended.

use super::*;

pub(super) fn ended_cases() -> Vec<Case> {
    let failed = |name: &'static str, message: &str| {
        case(
            name,
            json!({}),
            ended("Failed", "Failed", name, message),
            format!("Failed with {name} 1m0s ago, after 12s: {message}"),
        )
    };
    vec![
        case(
            "Succeeded",
            json!({}),
            ended("Complete", "Succeeded", "Succeeded", "attempt 4 succeeded"),
            "Succeeded 1m0s ago, after 12s: attempt 4 succeeded",
        ),
        case(
            "PartiallySucceeded",
            json!({}),
            ended("Complete", "Succeeded", "PartiallySucceeded", "attempt 4 succeeded in part: 8 of 10"),
            "Succeeded in part 1m0s ago, after 12s: attempt 4 succeeded in part: 8 of 10",
        ),
        case(
            "Cancelled",
            json!({}),
            ended("Failed", "Cancelled", "Cancelled", "cancelled by the user before attempt 4"),
            "Cancelled 1m0s ago, after 12s: cancelled by the user before attempt 4",
        ),
        failed(
            "RetriesExhausted",
            "maxRetries (3) exhausted after 4 attempts; the last ended with Error, exit code 3: boom; the fallback succeeded",
        ),
        failed("BudgetExhausted", "retry budget of rule transient exhausted after 4 attempts"),
        failed("RuleFailed", "attempt 4 matched rule fatal, whose action is Fail"),
        failed("DoNotRetry", "attempt 4 returned doNotRetry"),
        failed("DeadlineExceeded", "activeDeadlineSeconds passed during attempt 4"),
        failed("QueueTimeout", "attempt 4 waited 5m for TaskQueue mail, longer than queue.maxWaitSeconds"),
        failed("DependencyFailed", "extract, which must succeed, has failed"),
        failed("DependencyTimeout", "afterTimeoutSeconds passed before attempt 1: waits for extract"),
        case(
            "to be deleted",
            json!({"ttlSecondsAfterFinished": 90}),
            ended("Complete", "Succeeded", "Succeeded", "attempt 4 succeeded"),
            "Succeeded 1m0s ago, after 12s: attempt 4 succeeded",
        )
        .hint(&format!("It is deleted at {:.0}, in 30s (ttlSecondsAfterFinished 90).", at(130))),
        case(
            "over its time to live",
            json!({"ttlSecondsAfterFinished": 60}),
            ended("Complete", "Succeeded", "Succeeded", "attempt 4 succeeded"),
            "Succeeded 1m0s ago, after 12s: attempt 4 succeeded",
        )
        .hint("Its time to live is over: it is about to be deleted."),
    ]
}
