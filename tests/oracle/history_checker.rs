//! The history matches what happened.

use super::{
    Change, Trace, Violation,
    record::{PodRecord, TaskRecord, is_deleting, is_past_deadline, main_end},
};
use jiff::Timestamp;
use retryable_tasks::{
    api::{
        Action, CurrentAttempt, HistoryEntry, MAIN_CONTAINER, RetryableTask, RetryableTaskStatus, RuleAction,
        StopReason,
    },
    core::decide::slot_of,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The maximum size of a message in JSON: 1 KiB and the quotes.
const MOST_MESSAGE_BYTES: usize = 1_026;

pub fn check(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    recorded_stays(record, violations);
    bounded(record, violations);
    started_is_kept(trace, record, violations);
    for (version, entry) in record.entries.values() {
        matches_pod(trace, record, *version, entry, violations);
        if trace.clock.is_empty() {
            own_stop(record, *version, entry, violations);
        }
    }
}

/// A history that grows is cut to its limit, and messages are cut too.
fn bounded(record: &TaskRecord, violations: &mut Vec<Violation>) {
    let mut say =
        |rule: &'static str, text: String| violations.push(Violation::new(rule, format!("{}: {text}", record.name)));
    let mut newest = 0;
    for (at, task) in &record.versions {
        let history = task.status.as_ref().map(|status| status.history.as_slice()).unwrap_or_default();
        let last = history.last().map_or(0, |entry| entry.attempt);
        let limit = usize::try_from(task.spec.history_limit).unwrap_or(0);
        if last > newest && history.len() > limit {
            say("the history keeps its limit", format!("at {at:?} it has {} entries of {limit}", history.len()));
        }
        newest = last.max(newest);
    }
    for (_, entry) in record.entries.values() {
        let bytes = serde_json::to_vec(&entry.message).map_or(0, |json| json.len());
        if bytes > MOST_MESSAGE_BYTES {
            say("messages are short", format!("the message of attempt {} has {bytes} bytes", entry.attempt));
        }
    }
}

/// An entry, a counter or the end of a task does not change once it is recorded.
fn recorded_stays(record: &TaskRecord, violations: &mut Vec<Violation>) {
    let mut say = |text: String| {
        violations.push(Violation::new("what is recorded does not change", format!("{}: {text}", record.name)));
    };
    for pair in record.versions.windows(2) {
        let status = |task: &RetryableTask| task.status.clone().unwrap_or_default();
        let (at, before, after) = (pair[1].0, status(&pair[0].1), status(&pair[1].1));
        // An attempt has begun once it has had a Pod.
        let has_begun = |current: &CurrentAttempt| {
            let mut pods = record.counted().filter(|pod| pod.slot() == slot_of(current));
            current.pod_name.is_some() && pods.any(|pod| pod.created() <= at)
        };
        let waits = before.current.as_ref().is_some_and(|current| !has_begun(current));
        for entry in &after.history {
            let Some(old) = before.history.iter().find(|old| old.attempt == entry.attempt) else { continue };
            // A deadline that passes during the wait, or a lowered limit, cancels the retry.
            let ended = HistoryEntry { action: entry.action, delay_milliseconds: None, ..(**old).clone() };
            let ends = matches!(entry.action, Action::Fail | Action::Complete);
            let taken_back = matches!(old.action, Action::Retry | Action::Ignore) && ends && **entry == ended;
            // A changed spec changes the delay.
            let moved = HistoryEntry { delay_milliseconds: entry.delay_milliseconds, ..(**old).clone() };
            let follows = entry.delay_milliseconds.is_some() && old.delay_milliseconds.is_some() && **entry == moved;
            if old != entry && !(waits && (taken_back || follows)) {
                say(format!("at {at:?} the entry of attempt {} went from {old:?} to {entry:?}", entry.attempt));
            }
        }
        let runs = |s: &RetryableTaskStatus| s.run.map_or(1, |run| run.number);
        let again = runs(&after) == runs(&before) + 1 && before.completion_time.is_some();
        // A cancelled retry is not charged.
        let goes_on = |s: &RetryableTaskStatus| s.current.as_ref().is_some_and(|current| !current.fallback);
        let abandoned = waits && !goes_on(&after);
        for ((what, old), (_, new)) in numbers(&before).into_iter().zip(numbers(&after)).skip(if again { 2 } else { 0 })
        {
            let least = if abandoned && matches!(what, "retries" | "ignored") { old - 1 } else { old };
            if new < least {
                say(format!("at {at:?} {what} went from {old} to {new}"));
            }
        }
        let end = |s: &RetryableTaskStatus| s.completion_time.as_ref().map(|time| (time.0, s.state));
        if !again && end(&before).is_some() && end(&before) != end(&after) {
            say(format!("at {at:?} a task that had ended went from {:?} to {:?}", before.state, after.state));
        }
    }
    let mut uids = BTreeMap::new();
    for (_, entry) in record.entries.values() {
        if let Some(other) = entry.pod_uid.as_ref().and_then(|uid| uids.insert(uid, entry.attempt)) {
            say(format!("attempts {other} and {} have the same Pod", entry.attempt));
        }
    }
}

/// Counters that never decrease.
fn numbers(status: &RetryableTaskStatus) -> [(&'static str, i32); 4] {
    let closed = i32::try_from(status.history.len()).unwrap_or(0) + status.history_dropped;
    [
        ("retries", status.retries),
        ("ignored", status.ignored),
        ("historyDropped", status.history_dropped),
        ("history and historyDropped", closed),
    ]
}

/// The termination that decides: the main container's, else that of an init container that failed.
pub fn decisive(pod: &Value) -> Option<&Value> {
    let failed = |s: &&Value| s["state"]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
    let mut init = pod["status"]["initContainerStatuses"].as_array().into_iter().flatten();
    main_end(pod).or_else(|| init.find(failed).map(|s| &s["state"]["terminated"]))
}

/// A history entry matches its Pod.
fn matches_pod(
    trace: &Trace,
    record: &TaskRecord,
    version: usize,
    entry: &HistoryEntry,
    violations: &mut Vec<Violation>,
) {
    let mut say = |text: String| {
        let text = format!("{}: attempt {}: {text}; the entry is {entry:?}", record.name, entry.attempt);
        violations.push(Violation::new("a history entry matches its Pod", text));
    };
    if entry.pod_uid.is_none() {
        without_pod(trace, record, version, entry).into_iter().for_each(say);
        return;
    }
    let Some(pod) = record.pod_of(entry) else { return say("there never was such a Pod".into()) };
    if pod.number != entry.attempt || pod.name != entry.pod_name {
        say(format!("the Pod is {} of attempt {}", pod.name, pod.number));
    }
    let ends: Vec<&Value> = pod.ends().collect();
    let stop = record.stop_before(version, entry.attempt);
    let vanished = !record.has_finalizers && pod.deleted_at.is_some();
    if (vanished || !ends.is_empty())
        && stop
            .as_ref()
            .is_some_and(|(stop, cause)| entry.reason == stop.as_str() || Some(&entry.reason) == cause.as_ref())
    {
        return; // the operator stopped it, so its exit code says nothing
    }
    match entry.reason.as_str() {
        "Lost" if record.has_finalizers => return say("the Pod had the finalizer, so its end was visible".into()),
        "Lost" if pod.deleted_at.is_none() => return say("the Pod still exists".into()),
        "Lost" => return,
        _ if ends.is_empty() => return say(format!("the Pod has not ended: {}", pod.last()["status"])),
        _ => {}
    }
    let codes: Vec<Option<i64>> = ends.iter().map(|pod| decisive(pod)?["exitCode"].as_i64()).collect();
    if !codes.contains(&entry.exit_code.map(i64::from)) {
        say(format!("exit codes shown: {codes:?}"));
    }
    let abandoned = pod.abandoned.map(|_| "NodeLost");
    let reasons: Vec<&str> = ends.iter().flat_map(|pod| reasons(pod)).chain(abandoned).collect();
    if !reasons.contains(&entry.reason.as_str()) {
        say(format!("reasons shown: {reasons:?}"));
    }
    let main_decides = stop.is_some_and(|(stop, _)| stop == StopReason::TaskEnded);
    for fault in verdict(record, pod, (entry, main_decides), &ends, &codes) {
        say(fault.into());
    }
}

/// The faults of an entry without a Pod: the creation must have failed until the spec's limit was over.
fn without_pod(trace: &Trace, record: &TaskRecord, version: usize, entry: &HistoryEntry) -> Vec<String> {
    let namespace = record.name.split('/').next().unwrap_or("");
    let object = format!("{namespace}/{}", entry.pod_name);
    let creations = || trace.writes.iter().filter(|w| w.kind == "Pod" && w.verb == "create" && w.object == object);
    let limit = record.versions[version].1.spec.startup_timeout_seconds;
    let before = version.checked_sub(1).and_then(|before| record.versions[before].1.status.as_ref()?.current.as_ref());
    let decided = before.and_then(|current| current.create_time.as_ref()).map(|time| time.0);
    let ended = entry.finish_time.as_ref().map(|time| time.0);
    // Times in the history are cut to whole seconds.
    let most = decided.zip(ended).map(|(decided, ended)| ended.duration_since(decided).as_secs() + 1);
    let known = ["PodRejected", "FailedCreate", "PodNameConflict"].contains(&entry.reason.as_str());
    let faults = [
        (!known, "the reason is not that of a failed creation".to_string()),
        (record.counted().any(|pod| pod.slot() == entry.attempt.into()), "the attempt has a Pod".into()),
        (creations().all(|write| (200..300).contains(&write.code)), "no creation failed".into()),
        (limit.is_none(), "the spec gives no limit".into()),
        (
            limit.is_some_and(|limit| most.is_none_or(|most| most < i64::from(limit))),
            format!("it had {most:?} s of {limit:?}"),
        ),
    ];
    faults.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect()
}

/// A Pod that ran until the operator stopped it is recorded with the reason for the stop.
fn own_stop(record: &TaskRecord, version: usize, entry: &HistoryEntry, violations: &mut Vec<Violation>) {
    let Some((stop, cause)) = record.stop_before(version, entry.attempt) else { return };
    let current = version.checked_sub(1).and_then(|before| record.versions[before].1.status.as_ref()?.current.as_ref());
    let Some(since) = current.and_then(|current| current.stop_time.as_ref()) else { return };
    let Some(end) = record.pod_of(entry).and_then(|pod| pod.ends().next()) else { return };
    let finished = main_end(end).and_then(|end| end["finishedAt"].as_str()?.parse::<Timestamp>().ok());
    let stopped = (is_deleting(end) || is_past_deadline(end)) && finished.is_some_and(|finished| finished >= since.0);
    // The operator's deletion adds no `DisruptionTarget`: a Pod that has it was disrupted.
    let stopped = stopped && !(stop.replaces() && is_disrupted(end));
    let recorded = entry.reason == stop.as_str() || Some(&entry.reason) == cause.as_ref();
    if stopped && stop != StopReason::TaskEnded && !recorded {
        let text =
            format!("{}: attempt {} was stopped for {stop:?}; the entry is {entry:?}", record.name, entry.attempt);
        violations.push(Violation::new("an attempt that the operator stopped is recorded as stopped", text));
    }
}

/// The faults of the entry's verdict, given how its Pod ended. With `main_decides` the operator stopped only containers
/// that ran on after the main one: then the deadline that it set says nothing about the attempt.
fn verdict(
    record: &TaskRecord,
    pod: &PodRecord,
    (entry, main_decides): (&HistoryEntry, bool),
    ends: &[&Value],
    codes: &[Option<i64>],
) -> Vec<&'static str> {
    let complete = entry.action == Action::Complete;
    let rule = entry.rule.as_deref();
    let whole = |pod: &&Value| pod["status"]["reason"].is_null() || main_decides && is_past_deadline(pod);
    let clean = |pod: &&Value| !is_disrupted(pod) && whole(pod);
    let succeeded = codes.iter().all(|code| *code == Some(0)) && ends.iter().all(clean) && pod.abandoned.is_none();
    let has_rules = |task: &RetryableTask| task.spec.rules.as_ref().is_some_and(|rules| !rules.is_empty());
    let by_rule = record.versions.iter().any(|(_, task)| completes(task, entry));
    let plain = !record.versions.iter().any(|(_, task)| has_rules(task));
    let disrupted = ends.iter().all(|pod| is_disrupted(pod));
    let known = matches!(rule, Some("disruption" | "doNotRetry"));
    let turned_away =
        |pod: &&Value| pod["status"]["reason"].is_string() && pod["status"]["containerStatuses"].is_null();
    let never_ran = ends.iter().all(turned_away) && pod.abandoned.is_none();
    let faults = [
        (complete && !by_rule && !codes.contains(&Some(0)), "it did not exit with 0"),
        (!complete && succeeded, "it exited with 0"),
        (plain && !complete && disrupted && !known, "it was disrupted"),
        (plain && never_ran && !disrupted && rule != Some("startup"), "it never ran"),
        (rule == Some("disruption") && !ends.iter().any(|pod| is_disrupted(pod)), "it was not disrupted"),
    ];
    faults.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect()
}

/// Whether the entry's rule has the action Complete there.
fn completes(task: &RetryableTask, entry: &HistoryEntry) -> bool {
    let mut rules = task.spec.rules.iter().flatten();
    rules.any(|rule| Some(&rule.name) == entry.rule.as_ref() && rule.action == RuleAction::Complete)
}

fn is_disrupted(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|c| is_of_disruption(c) && c["status"] == "True")
}

/// By the cluster, or by whoever shares out its capacity, such as Kueue.
fn is_of_disruption(condition: &Value) -> bool {
    ["DisruptionTarget", "TerminationTarget"].iter().any(|type_| condition["type"] == *type_)
}

fn reasons(pod: &Value) -> Vec<&str> {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let disruption = conditions.filter(|c| is_of_disruption(c)).filter_map(|c| c["reason"].as_str());
    let own = pod["status"]["reason"].as_str();
    // The kubelet's reason is also that of the task's own deadline, so the operator renames it.
    let own = own.map(|own| if own == "DeadlineExceeded" { "PodDeadlineExceeded" } else { own });
    let container = decisive(pod).and_then(|end| end["reason"].as_str());
    disruption.chain(own).chain(container).chain(["PodDeleted", "Error"]).collect()
}

/// The operator replaces a Pod only while its main container has not started, as far as the API server knows. Only the
/// operator's deletions are judged: a user can delete a Pod that is about to be replaced after it has started, and the
/// operator cannot tell.
fn started_is_kept(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    for (_, entry) in record.entries.values() {
        let replaces = [StopReason::SpecChanged, StopReason::RetryNow].iter().any(|stop| stop.as_str() == entry.reason);
        let Some(pod) = record.pod_of(entry).filter(|_| replaces && entry.action == Action::Ignore) else { continue };
        let of_pod = |change: &&Change| change.object["metadata"]["uid"] == pod.uid;
        let deletion = trace.changes.iter().filter(of_pod).find(|change| change.deleted || is_deleting(&change.object));
        let before = pod.versions.iter().take_while(|(_, object)| !is_deleting(object)).last();
        let before = before.filter(|_| deletion.is_some_and(|change| change.by_operator));
        if before.is_some_and(|(_, object)| has_started(object)) {
            let text = format!("{}: Pod {} had started: {}", record.name, pod.name, pod.last()["status"]);
            violations.push(Violation::new("a Pod that has started is not replaced", text));
        }
    }
}

/// Whether the main container runs, or has run.
fn has_started(pod: &Value) -> bool {
    let mut statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let main = statuses.find(|status| status["name"] == MAIN_CONTAINER);
    main.is_some_and(|main| main["state"]["running"].is_object() || main["state"]["terminated"].is_object())
}
