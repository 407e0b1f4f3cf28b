//! Tasks that wait: for a time, for others, for a queue.

use super::*;

pub(super) fn waiting_cases() -> Vec<Case> {
    let wait = |more: Value| {
        let mut wait = json!({"from": second(70), "action": "Retry"});
        merge(&mut wait, &more);
        json!({"state": "Waiting", "retries": 1, "lastFailure": failure(),
            "current": {"number": 2, "dueTime": second(108), "wait": wait}})
    };
    let due = at(108);
    vec![
        case(
            "Waiting",
            json!({}),
            wait(json!({"charged": true})),
            format!("Attempt 2 waits for its back-off and starts at {due:.0}, in 8s: attempt 1 ended with Error, exit code 3: connection refused; 1 of 3 retries are charged"),
        )
        .hint(SKIP),
        case(
            "Waiting by a rule",
            json!({}),
            wait(json!({"rule": "transient"})),
            format!("Attempt 2 waits for its back-off and starts at {due:.0}, in 8s: attempt 1 ended with Error, exit code 3: connection refused; rule transient matched, and this retry is not charged to maxRetries"),
        )
        .hint(SKIP),
        case(
            "Waiting as the attempt asked",
            json!({}),
            wait(json!({"charged": true, "retryAfterSeconds": 38})),
            format!("Attempt 2 waits for the delay that the failed attempt asked for and starts at {due:.0}, in 8s: attempt 1 ended with Error, exit code 3: connection refused; 1 of 3 retries are charged"),
        )
        .hint(SKIP),
        case(
            "Waiting for startAt",
            json!({"startAt": second(3700)}),
            json!({"state": "Waiting", "current": {"number": 1, "dueTime": second(3700), "startAt": second(3700)}}),
            format!("Attempt 1 starts at {:.0}, in 1h0m, as spec.startAt says", at(3700)),
        ),
        case(
            "due",
            json!({}),
            json!({"state": "Waiting", "current": {"number": 2, "dueTime": second(98)}}),
            "Attempt 2 was due 2s ago, and is about to start",
        ),
        case(
            "due long ago",
            json!({}),
            json!({"state": "Waiting", "current": {"number": 2, "dueTime": second(30)}}),
            "Attempt 2 was due 1m10s ago, and is about to start",
        )
        .hint("It is late: check that the operator runs."),
        case(
            "about to run again",
            json!({}),
            json!({"state": "Pending", "current": {"number": 5}, "run": {"number": 2, "firstAttempt": 5}}),
            "Attempt 5 (run 2) is due, and about to start",
        ),
        case(
            "Blocked",
            json!({"afterTimeoutSeconds": 60}),
            json!({"state": "Blocked", "current": {"number": 1, "blockedTime": second(95)},
                "conditions": [condition("Blocked", true, "DependencyPending", "waits for extract, which must succeed, and does not exist")]}),
            "Attempt 1 waits for extract, which must succeed, and does not exist, for 5s now",
        )
        .hint(&format!("It fails at {:.0}, in 55s if they have not ended by then (afterTimeoutSeconds).", at(155))),
        case(
            "Suspended",
            json!({"suspend": true}),
            json!({"state": "Suspended", "suspendedTime": second(40), "current": {"number": 2}, "lastFailure": failure()}),
            "It has been suspended for 1m0s, and attempt 2 starts once it is resumed; attempt 1 ended with Error, exit code 3: connection refused",
        )
        .hint(RESUME),
        case(
            "Suspended, with tasks before it and a queue",
            json!({"suspend": true, "after": [{"task": "extract"}], "queue": {"name": "mail"}}),
            json!({"state": "Suspended", "suspendedTime": second(40), "current": {"number": 1}}),
            "It has been suspended for 1m0s, and attempt 1 starts once it is resumed, after the tasks of spec.after, when TaskQueue mail lets it",
        )
        .hint(RESUME),
        case(
            "Suspended during its back-off",
            json!({"suspend": true, "after": [{"task": "extract"}]}),
            json!({"state": "Suspended", "suspendedTime": second(40), "current": {"number": 2, "dueTime": second(108)}}),
            format!("It has been suspended for 1m0s, and attempt 2 is due at {due:.0}, in 8s, unless it is still suspended then"),
        )
        .hint(RESUME),
    ]
}

pub(super) fn queue_cases() -> Vec<Case> {
    let condition = |reason: &str, message: &str| json!({"conditions": [condition("Queued", true, reason, message)]});
    let circuit = |state: &str| json!({"circuit": {"state": state, "until": second(160), "cause": "12 of 14 tasks failed"}, "running": "0/3"});
    let begin = "Attempt 2 is due and has waited for 1m0s for TaskQueue mail:";
    vec![
        case(
            "Queued",
            mail(),
            in_queue(&condition("QueueFull", "slots of TaskQueue mail in use: all 3")),
            format!("{begin} slots of TaskQueue mail in use: all 3"),
        ),
        case("Queued, nothing said", mail(), in_queue(&json!({})), format!("{begin} nothing has been said of why yet, which takes up to 30 s")),
        case("Queued, 3 of 3 run", mail(), in_queue(&json!({})), format!("{begin} 3/3 attempts run; it is number 4 of 31 in line"))
            .queue(json!({"running": "3/3"})),
        case(
            "Queued, rate",
            mail(),
            in_queue(&condition("RateLimited", "startRate of TaskQueue mail allows no further start yet")),
            format!("{begin} startRate of TaskQueue mail allows no further start yet; 1/3 attempts run; it is number 4 of 31 in line"),
        )
        .queue(json!({"running": "1/3"})),
        case(
            "Queued, all retries run",
            mail(),
            in_queue(&condition("RetriesFull", "all slots of TaskQueue mail for retries are in use: 1")),
            format!("{begin} all slots of TaskQueue mail for retries are in use: 1; 1/3 attempts run; it is number 4 of 31 in line"),
        )
        .queue(json!({"running": "1/3"})),
        case(
            "Queued, the slots grow again",
            mail(),
            in_queue(&condition("Recovering", "the slots of TaskQueue mail grow again, and all open ones are in use")),
            format!("{begin} the slots of TaskQueue mail grow again, and all open ones are in use; 1/1 attempts run; it is number 4 of 31 in line"),
        )
        .queue(json!({"running": "1/1"})),
        case(
            "Queued, the rate is no longer why",
            mail(),
            in_queue(&condition("RateLimited", "startRate of TaskQueue mail allows no further start yet")),
            format!("{begin} 3/3 attempts run; it is number 4 of 31 in line"),
        )
        .queue(json!({"running": "3/3"})),
        case(
            "Queued, circuit open",
            mail(),
            in_queue(&condition("QueueFull", "old")),
            format!("{begin} its circuit is open (12 of 14 tasks failed), the first probes start at {:.0}, in 1m0s; it is number 4 of 31 in line", at(160)),
        )
        .queue(circuit("Open")),
        case(
            "Queued, circuit half open",
            mail(),
            in_queue(&json!({})),
            format!("{begin} its circuit is half open (12 of 14 tasks failed), and probes alone start; it is number 4 of 31 in line"),
        )
        .queue(circuit("HalfOpen")),
        case(
            "Queued, held",
            mail(),
            in_queue(&json!({})),
            format!("{begin} stopPolicy is Hold: no attempt starts; it is number 4 of 31 in line"),
        )
        .queue(condition_of_queue("Held", "stopPolicy is Hold: no attempt starts")),
        case("Queued, no queue", mail(), in_queue(&json!({})), "Attempt 2 has waited for 1m0s for TaskQueue mail, which does not exist")
            .queue(Value::Null)
            .hint("Create it, or change spec.queue."),
        case(
            "Queued with a limit",
            json!({"queue": {"name": "mail", "maxWaitSeconds": 90}}),
            in_queue(&json!({})),
            format!("{begin} 1/3 attempts run; it is number 4 of 31 in line"),
        )
        .queue(json!({"running": "1/3", "circuit": {"state": "Closed"}}))
        .hint(&format!("It fails at {:.0}, in 30s if it has not started by then (queue.maxWaitSeconds).", at(130))),
        case(
            "due in a queue",
            mail(),
            in_queue(&json!({"state": "Waiting"})),
            format!("{begin} 3/3 attempts run; it is number 4 of 31 in line"),
        )
        .queue(json!({"running": "3/3"})),
    ]
}

pub(super) fn condition_of_queue(reason: &str, message: &str) -> Value {
    json!({"running": "0/3", "conditions": [condition("Active", false, reason, message)]})
}
