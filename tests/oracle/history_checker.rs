//! The history says what really happened, and waits are kept.

use super::{
    Change, Trace, Violation,
    record::{PodRecord, TaskRecord, is_deleting, is_past_deadline, main_end},
    totals_checker::is_charged,
};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::{
        Action, CurrentAttempt, HistoryEntry, MAIN_CONTAINER, RetryableTask, RetryableTaskStatus, State, StopReason,
    },
    core::{decide::slot_of, delay, identity::jitter_seed},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Most bytes of a message in JSON: 1 KiB and the quotes.
const MOST_MESSAGE_BYTES: usize = 1_026;

pub fn check(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    one_way(story, found);
    bounded(story, found);
    follows_spec(story, found);
    replaced(trace, story, found);
    for (version, entry) in story.entries.values() {
        truth(trace, story, *version, entry, found);
        if trace.clock.is_empty() {
            own_doing(story, *version, entry, found);
        }
        delay(story, *version, *version, entry, found);
        let (last, changed) = &story.last_entries[&entry.attempt];
        if last != version {
            delay(story, *version, *last, changed, found);
        }
        waited(trace, story, *version, changed, found);
    }
}

/// The history is cut to its limit as it grows, and so is what it quotes.
fn bounded(story: &TaskRecord, found: &mut Vec<Violation>) {
    let mut say =
        |rule: &'static str, text: String| found.push(Violation::new(rule, format!("{}: {text}", story.name)));
    let mut newest = 0;
    for (at, task) in &story.versions {
        let history = task.status.as_ref().map(|status| status.history.as_slice()).unwrap_or_default();
        let last = history.last().map_or(0, |entry| entry.attempt);
        let limit = usize::try_from(task.spec.history_limit).unwrap_or(0);
        if last > newest && history.len() > limit {
            say("the history keeps its limit", format!("at {at:?} it has {} entries of {limit}", history.len()));
        }
        newest = last.max(newest);
    }
    for (_, entry) in story.entries.values() {
        let bytes = serde_json::to_vec(&entry.message).map_or(0, |json| json.len());
        if bytes > MOST_MESSAGE_BYTES {
            say("messages are short", format!("the message of attempt {} has {bytes} bytes", entry.attempt));
        }
    }
}

/// What is written into the books stays as it was written.
fn one_way(story: &TaskRecord, found: &mut Vec<Violation>) {
    let mut say =
        |text: String| found.push(Violation::new("the books are written once", format!("{}: {text}", story.name)));
    for pair in story.versions.windows(2) {
        let status = |task: &RetryableTask| task.status.clone().unwrap_or_default();
        let (at, before, after) = (pair[1].0, status(&pair[0].1), status(&pair[1].1));
        // An attempt has not begun as long as there never was a Pod of it.
        let has_begun = |current: &CurrentAttempt| {
            let mut pods = story.counted().filter(|pod| pod.slot() == slot_of(current));
            current.pod_name.is_some() && pods.any(|pod| pod.created() <= at)
        };
        let waits = before.current.as_ref().is_some_and(|current| !has_begun(current));
        for entry in &after.history {
            let Some(old) = before.history.iter().find(|old| old.attempt == entry.attempt) else { continue };
            // A deadline that passes during the wait, or a lowered limit, takes the wait back.
            let ended = HistoryEntry { action: Action::Fail, delay_milliseconds: None, ..(**old).clone() };
            let taken_back = matches!(old.action, Action::Retry | Action::Ignore) && **entry == ended;
            // A changed spec changes it.
            let moved = HistoryEntry { delay_milliseconds: entry.delay_milliseconds, ..(**old).clone() };
            let follows = entry.delay_milliseconds.is_some() && old.delay_milliseconds.is_some() && **entry == moved;
            if old != entry && !(waits && (taken_back || follows)) {
                say(format!("at {at:?} the entry of attempt {} went from {old:?} to {entry:?}", entry.attempt));
            }
        }
        let runs = |s: &RetryableTaskStatus| s.run.map_or(1, |run| run.number);
        let again = runs(&after) == runs(&before) + 1 && before.completion_time.is_some();
        // A retry that waits and is no longer allowed is not charged.
        let goes_on = |s: &RetryableTaskStatus| s.current.as_ref().is_some_and(|current| !current.fallback);
        let given_up = waits && !goes_on(&after);
        for ((what, old), (_, new)) in numbers(&before).into_iter().zip(numbers(&after)).skip(if again { 2 } else { 0 })
        {
            let least = if given_up && matches!(what, "retries" | "ignored") { old - 1 } else { old };
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
    for (_, entry) in story.entries.values() {
        if let Some(other) = entry.pod_uid.as_ref().and_then(|uid| uids.insert(uid, entry.attempt)) {
            say(format!("attempts {other} and {} have the same Pod", entry.attempt));
        }
    }
}

/// Numbers that never become less.
fn numbers(status: &RetryableTaskStatus) -> [(&'static str, i32); 4] {
    let closed = i32::try_from(status.history.len()).unwrap_or(0) + status.history_dropped;
    [
        ("retries", status.retries),
        ("ignored", status.ignored),
        ("historyDropped", status.history_dropped),
        ("history and historyDropped", closed),
    ]
}

/// The end that decides: the main container's, else that of an init container that failed.
fn decisive(pod: &Value) -> Option<&Value> {
    let failed = |s: &&Value| s["state"]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
    let mut init = pod["status"]["initContainerStatuses"].as_array().into_iter().flatten();
    main_end(pod).or_else(|| init.find(failed).map(|s| &s["state"]["terminated"]))
}

/// An entry tells what its Pod shows.
fn truth(trace: &Trace, story: &TaskRecord, version: usize, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let mut say = |text: String| {
        let text = format!("{}: attempt {}: {text}; the entry is {entry:?}", story.name, entry.attempt);
        found.push(Violation::new("an entry tells what its Pod shows", text));
    };
    if entry.pod_uid.is_none() {
        without_pod(trace, story, version, entry).into_iter().for_each(say);
        return;
    }
    let Some(pod) = story.pod_of(entry) else { return say("there never was such a Pod".into()) };
    if pod.number != entry.attempt || pod.name != entry.pod_name {
        say(format!("the Pod is {} of attempt {}", pod.name, pod.number));
    }
    let ends: Vec<&Value> = pod.ends().collect();
    let stop = story.stop_before(version, entry.attempt);
    let vanished = !story.held && pod.gone.is_some();
    if (vanished || !ends.is_empty())
        && stop
            .as_ref()
            .is_some_and(|(stop, cause)| entry.reason == stop.as_str() || Some(&entry.reason) == cause.as_ref())
    {
        return; // our own doing: what the container made of it says nothing
    }
    match entry.reason.as_str() {
        "Lost" if story.held => return say("the Pod was held, and its end could be seen".into()),
        "Lost" if pod.gone.is_none() => return say("the Pod is there".into()),
        "Lost" => return,
        _ if ends.is_empty() => return say(format!("the Pod has not ended: {}", pod.last()["status"])),
        _ => {}
    }
    let codes: Vec<Option<i64>> = ends.iter().map(|pod| decisive(pod)?["exitCode"].as_i64()).collect();
    if !codes.contains(&entry.exit_code.map(i64::from)) {
        say(format!("exit codes shown: {codes:?}"));
    }
    let given_up = pod.given_up.map(|_| "NodeLost");
    let reasons: Vec<&str> = ends.iter().flat_map(|pod| reasons(pod)).chain(given_up).collect();
    if !reasons.contains(&entry.reason.as_str()) {
        say(format!("reasons shown: {reasons:?}"));
    }
    let main_decides = stop.is_some_and(|(stop, _)| stop == StopReason::TaskEnded);
    for fault in verdict(story, pod, (entry, main_decides), &ends, &codes) {
        say(fault.into());
    }
}

/// What is wrong with an entry that says that its attempt had no Pod: the creation must have failed, for as long as the
/// spec gives it.
fn without_pod(trace: &Trace, story: &TaskRecord, version: usize, entry: &HistoryEntry) -> Vec<String> {
    let namespace = story.name.split('/').next().unwrap_or("");
    let object = format!("{namespace}/{}", entry.pod_name);
    let creations = || trace.writes.iter().filter(|w| w.kind == "Pod" && w.verb == "create" && w.object == object);
    let limit = story.versions[version].1.spec.startup_timeout_seconds;
    let before = version.checked_sub(1).and_then(|before| story.versions[before].1.status.as_ref()?.current.as_ref());
    let decided = before.and_then(|current| current.create_time.as_ref()).map(|time| time.0);
    let ended = entry.finish_time.as_ref().map(|time| time.0);
    // Times in the history are cut to whole seconds.
    let most = decided.zip(ended).map(|(decided, ended)| ended.duration_since(decided).as_secs() + 1);
    let known = ["PodRejected", "FailedCreate", "PodNameConflict"].contains(&entry.reason.as_str());
    let faults = [
        (!known, "the reason is none of a creation that failed".to_string()),
        (story.counted().any(|pod| pod.slot() == entry.attempt.into()), "there is a Pod of it".into()),
        (creations().all(|write| (200..300).contains(&write.code)), "no creation failed".into()),
        (limit.is_none(), "the spec gives no limit".into()),
        (
            limit.is_some_and(|limit| most.is_none_or(|most| most < i64::from(limit))),
            format!("it had {most:?} s of {limit:?}"),
        ),
    ];
    faults.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect()
}

/// The end of a Pod that ran until the operator stopped it is the operator's doing.
fn own_doing(story: &TaskRecord, version: usize, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let Some((stop, cause)) = story.stop_before(version, entry.attempt) else { return };
    let current = version.checked_sub(1).and_then(|before| story.versions[before].1.status.as_ref()?.current.as_ref());
    let Some(since) = current.and_then(|current| current.stop_time.as_ref()) else { return };
    let Some(end) = story.pod_of(entry).and_then(|pod| pod.ends().next()) else { return };
    let finished = main_end(end).and_then(|end| end["finishedAt"].as_str()?.parse::<Timestamp>().ok());
    let stopped = (is_deleting(end) || is_past_deadline(end)) && finished.is_some_and(|finished| finished >= since.0);
    // The deletion by which a Pod is replaced marks no disruption.
    let stopped = stopped && !(stop.replaces() && is_disrupted(end));
    let told = entry.reason == stop.as_str() || Some(&entry.reason) == cause.as_ref();
    if stopped && stop != StopReason::TaskEnded && !told {
        let text =
            format!("{}: attempt {} was stopped for {stop:?}; the entry is {entry:?}", story.name, entry.attempt);
        found.push(Violation::new("our own kill is not the task's", text));
    }
}

/// What is wrong with the entry's verdict, given how its Pod ended; and whether the operator stopped no more than what
/// ran on after the main container, of which the deadline that did it says nothing.
fn verdict(
    story: &TaskRecord,
    pod: &PodRecord,
    (entry, main_decides): (&HistoryEntry, bool),
    ends: &[&Value],
    codes: &[Option<i64>],
) -> Vec<&'static str> {
    let complete = entry.action == Action::Complete;
    let rule = entry.rule.as_deref();
    let whole = |pod: &&Value| pod["status"]["reason"].is_null() || main_decides && is_past_deadline(pod);
    let clean = |pod: &&Value| !is_disrupted(pod) && whole(pod);
    let succeeded = codes.iter().all(|code| *code == Some(0)) && ends.iter().all(clean) && pod.given_up.is_none();
    let has_rules = |task: &RetryableTask| task.spec.rules.as_ref().is_some_and(|rules| !rules.is_empty());
    let plain = !story.versions.iter().any(|(_, task)| has_rules(task));
    let disrupted = ends.iter().all(|pod| is_disrupted(pod));
    let known = matches!(rule, Some("disruption" | "doNotRetry"));
    let turned_away =
        |pod: &&Value| pod["status"]["reason"].is_string() && pod["status"]["containerStatuses"].is_null();
    let never_ran = ends.iter().all(turned_away) && pod.given_up.is_none();
    let faults = [
        (complete && !codes.contains(&Some(0)), "it did not exit with 0"),
        (!complete && succeeded, "it exited with 0"),
        (plain && !complete && disrupted && !known, "it was disrupted"),
        (plain && never_ran && !disrupted && rule != Some("startup"), "it never ran"),
        (rule == Some("disruption") && !ends.iter().any(|pod| is_disrupted(pod)), "it was not disrupted"),
    ];
    faults.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect()
}

fn is_disrupted(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|c| c["type"] == "DisruptionTarget" && c["status"] == "True")
}

fn reasons(pod: &Value) -> Vec<&str> {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let disruption = conditions.filter(|c| c["type"] == "DisruptionTarget").filter_map(|c| c["reason"].as_str());
    let own = pod["status"]["reason"].as_str();
    // The operator has another word for what the kubelet calls as the task's own deadline is called.
    let own = own.map(|own| if own == "DeadlineExceeded" { "PodDeadlineExceeded" } else { own });
    let container = decisive(pod).and_then(|end| end["reason"].as_str());
    disruption.chain(own).chain(container).chain(["PodDeleted", "Error"]).collect()
}

/// A delay is the one that the pure function gives, by the spec at that version of the task. Which budget the attempt
/// was charged to was decided when it was `closed`.
fn delay(story: &TaskRecord, closed: usize, version: usize, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let (_, task) = &story.versions[version];
    let status = task.status.clone().unwrap_or_default();
    let suspended = entry.action == Action::Ignore && entry.rule.is_none();
    let follows = matches!(entry.action, Action::Retry | Action::Ignore) && !suspended;
    let rule = task.spec.rules.iter().flatten().find(|rule| Some(&rule.name) == entry.rule.as_ref());
    let backoff = rule.and_then(|rule| rule.backoff.as_ref()).or(task.spec.backoff.as_ref());
    let jitter_seed = jitter_seed(&story.uid, entry.attempt);
    let asked = story.pod_of(entry).filter(|_| entry.exit_code.is_some()).and_then(asked_wait);
    let class = status.failure_counts.iter().find(|class| Some(&class.name) == entry.rule.as_ref());
    let nth =
        class.filter(|_| !is_charged(&story.versions[closed].1, entry)).map_or(status.retries, |class| class.count);
    let expected = match asked {
        _ if !follows => None,
        Some(seconds) => Some(delay::DelayRange::requested(seconds, backoff).pick(jitter_seed)),
        None => Some(delay::delay(backoff, nth, jitter_seed)),
    };
    let expected = expected.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
    if entry.delay_milliseconds != expected {
        let (name, attempt) = (&story.name, entry.attempt);
        let text = format!("{name}: attempt {attempt}: the delay should be {expected:?}; the entry is {entry:?}");
        found.push(Violation::new("a delay is the one that the spec gives", text));
    }
}

/// The due time of a task that waits is the one that its spec gives, once the operator has seen the spec.
fn follows_spec(story: &TaskRecord, found: &mut Vec<Violation>) {
    for (at, task) in &story.versions {
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
        let jitter_seed = jitter_seed(&story.uid, current.number - 1);
        let delay = match wait.retry_after_seconds {
            Some(seconds) => delay::DelayRange::requested(seconds, backoff).pick(jitter_seed),
            None => delay::delay(backoff, nth, jitter_seed),
        };
        if wait.from.0 + delay != due.0 {
            let text = format!("{}: at {at:?} it waits {delay:?} from {:?}, until {:?}", story.name, wait.from, due);
            found.push(Violation::new("a waiting task follows its spec", text));
        }
    }
}

/// The operator replaces a Pod only as long as its main container has not started, as far as anybody knows. It answers
/// for its own deletions alone: whoever else deletes a Pod that is about to be replaced may do so after it has started,
/// and the operator cannot tell.
fn replaced(trace: &Trace, story: &TaskRecord, found: &mut Vec<Violation>) {
    for (_, entry) in story.entries.values() {
        let replaces = [StopReason::SpecChanged, StopReason::RetryNow].iter().any(|stop| stop.as_str() == entry.reason);
        let Some(pod) = story.pod_of(entry).filter(|_| replaces && entry.action == Action::Ignore) else { continue };
        let of_pod = |change: &&Change| change.object["metadata"]["uid"] == pod.uid;
        let deletion = trace.changes.iter().filter(of_pod).find(|change| change.gone || is_deleting(&change.object));
        let before = pod.versions.iter().take_while(|(_, object)| !is_deleting(object)).last();
        let before = before.filter(|_| deletion.is_some_and(|change| change.by_operator));
        if before.is_some_and(|(_, object)| has_started(object)) {
            let text = format!("{}: Pod {} had started: {}", story.name, pod.name, pod.last()["status"]);
            found.push(Violation::new("a Pod that has started is not replaced", text));
        }
    }
}

/// Whether the main container runs, or has run.
fn has_started(pod: &Value) -> bool {
    let mut statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let main = statuses.find(|status| status["name"] == MAIN_CONTAINER);
    main.is_some_and(|main| main["state"]["running"].is_object() || main["state"]["terminated"].is_object())
}

/// How long the task itself asked to be left alone.
fn asked_wait(pod: &PodRecord) -> Option<i64> {
    let message = pod.ends().find_map(decisive)?["message"].as_str()?;
    let word: Value = serde_json::from_str(message).ok()?;
    let asked = &word["retryAfterSeconds"];
    let number = asked.as_f64().or_else(|| asked.as_str()?.parse().ok()).filter(|seconds| *seconds >= 0.0)?;
    #[allow(clippy::cast_possible_truncation)] // a number beyond the range is its end
    asked.as_i64().or(Some(number.ceil() as i64))
}

/// The next attempt starts after the wait, by the true time. A process goes by its clock when it decides a wait or
/// finds one that another has decided: what the clock is ahead then is missing from the wait, and by one that is behind
/// the attempt may have ended when it began.
fn waited(trace: &Trace, story: &TaskRecord, version: usize, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let next = story.counted().find(|pod| pod.slot() == (entry.attempt + 1).into());
    let (Some(next), Some(delay), Some(pod)) = (next, entry.delay_milliseconds, story.pod_of(entry)) else { return };
    let Some(finished) = finish(trace, pod) else { return };
    let closed = story.versions[version].0;
    if story.was_hurried(closed, next.created()) {
        return;
    }
    let begun = trace.clock.iter().find(|mark| mark.begun && mark.at > closed).map(|mark| mark.at);
    let looks = trace.clock.iter().filter(|mark| mark.at <= closed || begun.is_some_and(|begun| begun <= mark.at));
    let looks = looks.filter(|mark| (finished..next.created()).contains(&mark.at)).map(|mark| mark.ahead);
    let (low, high) = looks
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
            story.name,
            entry.attempt,
            next.name,
            next.created()
        );
        found.push(Violation::new("an attempt waits for its time", text));
    }
}

/// When the attempt ended, by what the Pod shows (whole seconds, cut): its main container, else the last that did.
fn finish(trace: &Trace, pod: &PodRecord) -> Option<Duration> {
    let last = pod.ends().next()?;
    let all = ["initContainerStatuses", "containerStatuses"].into_iter();
    let all = all.flat_map(|list| last["status"][list].as_array().into_iter().flatten());
    let all = all.filter_map(|s| s["state"]["terminated"]["finishedAt"].as_str()?.parse::<Timestamp>().ok());
    let main = main_end(last).and_then(|end| end["finishedAt"].as_str()?.parse().ok());
    let since_start: SignedDuration = main.or(all.max())?.duration_since(trace.start);
    Some(Duration::try_from(since_start).unwrap_or_default())
}
