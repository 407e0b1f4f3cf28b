//! Delays are those of the spec, and are kept.

use super::{
    Trace, Violation,
    history_checker::decisive,
    record::{PodRecord, TaskRecord, main_end},
    totals_checker::is_charged,
};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::{Action, HistoryEntry, State},
    core::{delay, jitter_seed::jitter_seed},
};
use serde_json::Value;
use std::time::Duration;

pub fn check(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    follows_spec(record, violations);
    for (version, entry) in record.entries.values() {
        delay_follows_spec(record, *version, *version, entry, violations);
        let (last, changed) = &record.last_entries[&entry.attempt];
        if last != version {
            delay_follows_spec(record, *version, *last, changed, violations);
        }
        wait_is_kept(trace, record, *version, changed, violations);
    }
}

/// The delay is the one that [`delay::delay`] computes from the spec of that version. The budget that the attempt was
/// charged to was decided in version `closed`.
fn delay_follows_spec(
    record: &TaskRecord,
    closed: usize,
    version: usize,
    entry: &HistoryEntry,
    violations: &mut Vec<Violation>,
) {
    let (_, task) = &record.versions[version];
    let status = task.status.clone().unwrap_or_default();
    let suspended = entry.action == Action::Ignore && entry.rule.is_none();
    let follows = matches!(entry.action, Action::Retry | Action::Ignore) && !suspended;
    let rule = task.spec.rules.iter().flatten().find(|rule| Some(&rule.name) == entry.rule.as_ref());
    let backoff = rule.and_then(|rule| rule.backoff.as_ref()).or(task.spec.backoff.as_ref());
    let jitter_seed = jitter_seed(&record.uid, entry.attempt);
    let requested = record.pod_of(entry).filter(|_| entry.exit_code.is_some()).and_then(requested_wait);
    let class = status.failure_counts.iter().find(|class| Some(&class.name) == entry.rule.as_ref());
    let nth =
        class.filter(|_| !is_charged(&record.versions[closed].1, entry)).map_or(status.retries, |class| class.count);
    let expected = match requested {
        _ if !follows => None,
        Some(seconds) => Some(delay::DelayRange::requested(seconds, backoff).pick(jitter_seed)),
        None => Some(delay::delay(backoff, nth, jitter_seed)),
    };
    let expected = expected.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
    if entry.delay_milliseconds != expected {
        let (name, attempt) = (&record.name, entry.attempt);
        let text = format!("{name}: attempt {attempt}: the delay should be {expected:?}; the entry is {entry:?}");
        violations.push(Violation::new("a delay is the one that the spec gives", text));
    }
}

/// The due time of a waiting task follows its spec, once the operator has observed that spec.
fn follows_spec(record: &TaskRecord, violations: &mut Vec<Violation>) {
    for (at, task) in &record.versions {
        let Some(status) = task.status.as_ref().filter(|status| status.state == Some(State::Waiting)) else { continue };
        let Some(current) = &status.current else { continue };
        let (Some(wait), Some(due)) = (&current.wait, &current.due_time) else { continue };
        if status.observed_generation != task.metadata.generation {
            continue;
        }
        let rule = task.spec.rules.iter().flatten().find(|rule| Some(&rule.name) == wait.rule.as_ref());
        let backoff = rule.and_then(|rule| rule.backoff.as_ref()).or(task.spec.backoff.as_ref());
        let class = status.failure_counts.iter().find(|class| Some(&class.name) == wait.rule.as_ref());
        let nth = class.filter(|_| !wait.charged).map_or(status.retries, |class| class.count);
        let jitter_seed = jitter_seed(&record.uid, current.number - 1);
        let delay = match wait.retry_after_seconds {
            Some(seconds) => delay::DelayRange::requested(seconds, backoff).pick(jitter_seed),
            None => delay::delay(backoff, nth, jitter_seed),
        };
        if wait.from.0 + delay != due.0 {
            let text = format!("{}: at {at:?} it waits {delay:?} from {:?}, until {:?}", record.name, wait.from, due);
            violations.push(Violation::new("a waiting task follows its spec", text));
        }
    }
}

/// The delay that the task requested in its termination report.
fn requested_wait(pod: &PodRecord) -> Option<i64> {
    let message = pod.ends().find_map(decisive)?["message"].as_str()?;
    let report: Value = serde_json::from_str(message).ok()?;
    let requested = &report["retryAfterSeconds"];
    let number = requested.as_f64().or_else(|| requested.as_str()?.parse().ok()).filter(|seconds| *seconds >= 0.0)?;
    #[allow(clippy::cast_possible_truncation)] // `as` saturates
    requested.as_i64().or(Some(number.ceil() as i64))
}

/// The next attempt starts after the delay, by the true time. A process reads its wall clock when it decides a delay, or
/// takes one over from another process. If that clock is ahead, the wait is shorter by as much. If it is behind, the
/// attempt may count as ended when it began.
fn wait_is_kept(
    trace: &Trace,
    record: &TaskRecord,
    version: usize,
    entry: &HistoryEntry,
    violations: &mut Vec<Violation>,
) {
    let next = record.counted().find(|pod| pod.slot() == (entry.attempt + 1).into());
    let (Some(next), Some(delay), Some(pod)) = (next, entry.delay_milliseconds, record.pod_of(entry)) else { return };
    let Some(finished) = finish(trace, pod) else { return };
    let closed = record.versions[version].0;
    if record.wait_was_skipped(closed, next.created()) {
        return;
    }
    let process_started = trace.clock.iter().find(|mark| mark.process_started && mark.at > closed).map(|mark| mark.at);
    let marks = trace
        .clock
        .iter()
        .filter(|mark| mark.at <= closed || process_started.is_some_and(|process_started| process_started <= mark.at));
    let marks = marks.filter(|mark| (finished..next.created()).contains(&mark.at)).map(|mark| mark.ahead);
    let (low, high) = marks
        .chain([trace.ahead(finished)])
        .fold((SignedDuration::ZERO, SignedDuration::ZERO), |(low, high), ahead| (low.min(ahead), high.max(ahead)));
    // Creation times are cut to whole seconds.
    let (from, cut) = if low.is_negative() {
        (pod.created().min(finished), Duration::from_secs(1))
    } else {
        (finished, Duration::ZERO)
    };
    let wait = Duration::from_millis(u64::try_from(delay).unwrap_or(0));
    let earliest = (from + wait).saturating_sub(cut + high.unsigned_abs());
    if next.created() < earliest {
        let text = format!(
            "{}: attempt {} ended at {finished:?}, its wait is {delay} ms, and Pod {} was created at {:?}; the clock was ahead by {low} to {high}",
            record.name,
            entry.attempt,
            next.name,
            next.created()
        );
        violations.push(Violation::new("an attempt waits for its time", text));
    }
}

/// When the attempt ended, as the Pod shows it (cut to whole seconds): its main container, else the last that ended.
fn finish(trace: &Trace, pod: &PodRecord) -> Option<Duration> {
    let last = pod.ends().next()?;
    let all = ["initContainerStatuses", "containerStatuses"].into_iter();
    let all = all.flat_map(|list| last["status"][list].as_array().into_iter().flatten());
    let all = all.filter_map(|s| s["state"]["terminated"]["finishedAt"].as_str()?.parse::<Timestamp>().ok());
    let main = main_end(last).and_then(|end| end["finishedAt"].as_str()?.parse().ok());
    let since_start: SignedDuration = main.or(all.max())?.duration_since(trace.start);
    Some(Duration::try_from(since_start).unwrap_or_default())
}
