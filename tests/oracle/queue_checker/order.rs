//! Who starts before whom, and when.

use super::super::Violation;
use super::record::{Hold, QueueRecord, Queues, Waiting, state, task_at, waiting};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::api::{CircuitState, RetryableTask};
use std::time::Duration;

/// Waiting time that counts as much as one priority.
const AGING: i64 = 600;
/// How long a task must have waited to be in the line for certain, if nothing delays the operator.
const IN_LINE: Duration = Duration::from_secs(5);

pub fn check(queues: &Queues, violations: &mut Vec<Violation>) {
    for queue in &queues.all {
        for hold in queues.holds_of(queue).filter(|hold| hold.slot.grant_time.is_some()) {
            not_early(queues, hold, violations);
            if queues.trace.prompt && !hold.slot.probe {
                in_order(queues, queue, hold, violations);
            }
        }
    }
    for task in queues.tasks {
        for (index, (at, object)) in task.versions.iter().enumerate().skip(1) {
            timed_out(queues, &task.name, (&task.versions[index - 1].1, object), *at, violations);
        }
    }
}

/// Q12: the attempt starts, and its queue lets it, no sooner than it is due. A wait that a user skipped is none.
///
/// A queue's clock is one that does not jump. Where clocks jump, the rule «an attempt waits for its time» has the bounds.
fn not_early(queues: &Queues, hold: &Hold, violations: &mut Vec<Violation>) {
    let Some((before_at, before)) = hold.version.checked_sub(1).map(|before| &hold.task.versions[before]) else {
        return;
    };
    let current = before.status.as_ref().and_then(|status| status.current.as_ref());
    let current = current.filter(|current| current.number == hold.attempt && current.pod_name.is_none());
    let Some(due) = current.and_then(|current| current.due_time.as_ref()).map(|due| due.0) else { return };
    let granted = hold.slot.grant_time.as_ref().map_or(due, |granted| granted.0);
    let is_early = due > queues.date(hold.from) || due > granted;
    if is_early && queues.has_true_clock() && !hold.task.wait_was_skipped(*before_at, hold.from) {
        let text = format!(
            "{}: attempt {} is due at {due}, is granted a slot at {granted} and starts at {:?}",
            hold.task.name, hold.attempt, hold.from
        );
        violations.push(Violation::new("a queue adds to a delay and never shortens it", text));
    }
}

/// Where a task stands: since when one of priority 0 would have waited that stands there, in seconds.
fn rank(task: &RetryableTask, waiting: &Waiting) -> f64 {
    let priority = task.spec.queue.as_ref().map_or(0, |queue| queue.priority);
    #[allow(clippy::cast_precision_loss)] // seconds and their fractions are exact enough
    let since = waiting.since.as_microsecond() as f64 / 1e6;
    since - f64::from(priority) * f64::from(i32::try_from(AGING).unwrap_or(i32::MAX))
}

fn key(task: &RetryableTask) -> &str {
    task.spec.queue.as_ref().and_then(|queue| queue.fairness_key.as_deref()).unwrap_or("")
}

/// The levels that a task with this rank can have around this time: each ten minutes are one.
fn levels(rank: f64, at: Timestamp) -> (i64, i64) {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // as above
    let level = |at: Timestamp| ((at.as_microsecond() as f64 / 1e6 - rank) / AGING as f64).floor() as i64;
    (level(at - SignedDuration::from_secs(1)), level(at + SignedDuration::from_secs(1)))
}

/// Q9: who starts while another waits is of its level or above, and of its level one whose key has no more attempts under way.
///
/// A level is a priority with its waiting time: of two tasks of a level, one has waited at most ten minutes more than the other, a priority
/// counting as ten minutes. So a task is overtaken only by those that stand less than ten minutes behind it, of which there is a bounded
/// number: each starts once. Judged if nothing delays the operator, of tasks that were in the line some seconds before.
fn in_order(queues: &Queues, queue: &QueueRecord, hold: &Hold, violations: &mut Vec<Violation>) {
    let Some(granted) = hold.slot.grant_time.as_ref().map(|granted| granted.0) else { return };
    let at = queues.age(granted);
    let Some(object) = queue.at(at) else { return };
    // Of a queue without limits all start, spread over some time.
    let has_limit = object.spec.max_concurrent.is_some() || object.spec.start_rate.is_some();
    let Some((_, own)) = hold.version.checked_sub(1).map(|before| &hold.task.versions[before]) else { return };
    let Some(own_wait) = waiting(own, granted).filter(|own| own.attempt == hold.attempt) else { return };
    if !has_limit
        || state(Some(object)) == CircuitState::HalfOpen
        || !queue.is_unchanged(at.saturating_sub(IN_LINE), hold.from)
    {
        return;
    }
    let share = object.spec.retries.is_some();
    for other in queues.tasks.iter().filter(|other| other.uid != hold.task.uid) {
        let before = queues.waits(other, queue, at.saturating_sub(IN_LINE));
        let Some(wait) = before.filter(|before| queues.waits(other, queue, hold.from) == Some(*before)) else {
            continue;
        };
        let next = queues.holds_of(queue).find(|next| next.task.uid == other.uid && next.from > hold.from);
        let was_granted =
            next.is_some_and(|next| next.slot.grant_time.as_ref().is_some_and(|first| first.0 <= granted));
        // Retries have a line of their own if their share is limited.
        let Some(object) =
            task_at(other, at).filter(|_| !(was_granted || share && wait.is_retry && !own_wait.is_retry))
        else {
            continue;
        };
        let (first, second) = (rank(own, &own_wait), rank(object, &wait));
        let text = || {
            format!(
                "{}: {} starts attempt {} at {:?}, while {} waits for its attempt {} since {}",
                queue.name, hold.task.name, hold.attempt, hold.from, other.name, wait.attempt, wait.since
            )
        };
        let (low, high) = (levels(first, granted), levels(second, granted));
        if low.1 < high.0 {
            violations.push(Violation::new("overtaking in a queue is bounded", text()));
            return;
        }
        let certain = low.0 == low.1 && low == high;
        if certain && key(own) != key(object) {
            let (least, most) = (of_key(queues, queue, key(own), at).0, of_key(queues, queue, key(object), at).1);
            if least > most {
                let text =
                    format!("{}; of its key at least {least} are under way, of the other's at most {most}", text());
                violations.push(Violation::new("the key with the fewest attempts starts first", text));
                return;
            }
        }
        if certain && key(own) == key(object) && first > second {
            violations.push(Violation::new("who has waited longest starts first", text()));
            return;
        }
    }
}

/// How many attempts of the fairness key were under way or granted around this time: at least, and at most.
fn of_key(queues: &Queues, queue: &QueueRecord, wanted: &str, at: Duration) -> (usize, usize) {
    let around = Duration::from_secs(1);
    let of_key = || queues.holds_of(queue).filter(|hold| key(&hold.task.versions[hold.version].1) == wanted);
    let granted = |hold: &&Hold| hold.slot.grant_time.as_ref().map_or(hold.from, |granted| queues.age(granted.0));
    let least = of_key().filter(|hold| granted(hold) + around < at && hold.until > at + around);
    let most = of_key().filter(|hold| granted(hold) <= at + around && hold.until + around >= at);
    (least.count(), most.count())
}

/// A task fails with `QueueTimeout` when its attempt has waited `maxWaitSeconds`, and not before.
fn timed_out(
    queues: &Queues,
    name: &str,
    (before, after): (&RetryableTask, &RetryableTask),
    at: Duration,
    violations: &mut Vec<Violation>,
) {
    let failed = |object: &RetryableTask| {
        let mut conditions = object.status.iter().flat_map(|status| &status.conditions);
        conditions.any(|condition| condition.reason == "QueueTimeout" && condition.status == "True")
    };
    if failed(before) || !failed(after) || !queues.has_true_clock() {
        return;
    }
    let limit = after.spec.queue.as_ref().and_then(|queue| queue.max_wait_seconds);
    let now = queues.date(at);
    let waited = waiting(before, now).map(|waiting| now.duration_since(waiting.since));
    let is_over = waited.zip(limit).is_some_and(|(waited, limit)| waited >= SignedDuration::from_secs(limit.into()));
    if !is_over {
        let text = format!("{name}: it fails at {at:?}, and has waited {waited:?} of {limit:?} s");
        violations.push(Violation::new("a task waits for its queue as long as it says", text));
    }
}
