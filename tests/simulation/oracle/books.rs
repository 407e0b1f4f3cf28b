//! The history says what really happened, totals add up, waits are kept, budgets too.

use super::{
    Trace, Violation,
    story::{PodStory, Story},
};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::{Action, HistoryEntry, RetryableTask, RetryableTaskStatus},
    core::{backoff, identity::dice},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Disruptions that are not charged.
const DISRUPTIONS: i32 = 10;

pub fn check(trace: &Trace, story: &Story, found: &mut Vec<Violation>) {
    one_way(story, found);
    for (version, entry) in story.entries.values() {
        truth(story, entry, found);
        delay(story, *version, entry, found);
        waited(trace, story, entry, found);
    }
    totals(story, found);
}

/// What is written into the books stays as it was written.
fn one_way(story: &Story, found: &mut Vec<Violation>) {
    let mut say =
        |text: String| found.push(Violation::new("the books are written once", format!("{}: {text}", story.name)));
    let none = RetryableTaskStatus::default();
    for pair in story.versions.windows(2) {
        let status = |task: &RetryableTask| task.status.clone().unwrap_or_else(|| none.clone());
        let (at, before, after) = (pair[1].0, status(&pair[0].1), status(&pair[1].1));
        for entry in &after.history {
            let (_, first) = &story.entries[&entry.attempt];
            if first != entry {
                say(format!(
                    "at {at:?} the entry of attempt {} was changed from {first:?} to {entry:?}",
                    entry.attempt
                ));
            }
        }
        let numbers = |s: &RetryableTaskStatus| {
            let closed = i32::try_from(s.history.len()).unwrap_or(0) + s.history_dropped;
            [("retries", s.retries), ("ignored", s.ignored), ("dropped", s.history_dropped), ("closed", closed)]
        };
        for ((what, old), (_, new)) in numbers(&before).into_iter().zip(numbers(&after)) {
            if new < old {
                say(format!("at {at:?} {what} went from {old} to {new}"));
            }
        }
        let ended = |s: &RetryableTaskStatus| s.completion_time.is_some();
        if ended(&before)
            && (!ended(&after) || before.state != after.state || before.completion_time != after.completion_time)
        {
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

/// How a container ended, as the Pod shows it: exit code, reason, message, finish time.
fn container_end<'a>(pod: &'a Value, list: &str, wanted: impl Fn(&Value) -> bool) -> Option<&'a Value> {
    let statuses = pod["status"][list].as_array().into_iter().flatten();
    statuses.filter(|s| wanted(s)).find_map(|s| s["state"].get("terminated"))
}

/// The end that decides: the main container's, else that of an init container that failed.
fn decisive(pod: &Value) -> Option<&Value> {
    let main = container_end(pod, "containerStatuses", |s| s["name"] == "task");
    main.or_else(|| {
        container_end(pod, "initContainerStatuses", |s| {
            s["state"]["terminated"]["exitCode"].as_i64().is_some_and(|c| c != 0)
        })
    })
}

/// An entry tells what its Pod shows.
fn truth(story: &Story, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let mut say = |text: String| {
        let text = format!("{}: attempt {}: {text}; the entry is {entry:?}", story.name, entry.attempt);
        found.push(Violation::new("an entry tells what its Pod shows", text));
    };
    let Some(pod) = story.pod_of(entry) else { return say("there never was such a Pod".into()) };
    if pod.number != entry.attempt || pod.name != entry.pod_name {
        say(format!("the Pod is {} of attempt {}", pod.name, pod.number));
    }
    if entry.reason == "Lost" {
        if story.held {
            say("the Pod was held, and its end could be seen".into());
        } else if pod.gone.is_none() {
            say("the Pod is there".into());
        }
        return;
    }
    let ends: Vec<&Value> = shown_ends(pod);
    let codes: Vec<Option<i64>> =
        ends.iter().map(|pod| decisive(pod).and_then(|end| end["exitCode"].as_i64())).collect();
    if ends.is_empty() {
        return say(format!("the Pod has not ended: {}", pod.last()["status"]));
    }
    if !codes.contains(&entry.exit_code.map(i64::from)) {
        say(format!("exit codes shown: {codes:?}"));
    }
    if entry.reason == "Suspended" {
        return;
    }
    let disrupted = ends.iter().all(|pod| is_disrupted(pod));
    let complete = entry.action == Action::Complete;
    if complete && !codes.contains(&Some(0)) {
        say("it did not exit with 0".into());
    }
    let clean = |pod: &&Value| !is_disrupted(pod) && pod["status"]["reason"].is_null();
    if !complete && codes == [Some(0)] && ends.iter().all(clean) {
        say("it exited with 0".into());
    }
    if disrupted
        && !complete
        && entry.rule.as_deref() != Some("disruption")
        && entry.rule.as_deref() != Some("doNotRetry")
    {
        say("it was disrupted".into());
    }
    if entry.rule.as_deref() == Some("disruption") && !ends.iter().any(|pod| is_disrupted(pod)) {
        say("it was not disrupted".into());
    }
    let reasons: Vec<&str> = ends.iter().flat_map(|pod| reasons(pod)).collect();
    if !reasons.contains(&entry.reason.as_str()) {
        say(format!("reasons shown: {reasons:?}"));
    }
}

/// The versions of a Pod that show its end: terminal, or with the main container ended while others run on.
fn shown_ends(pod: &PodStory) -> Vec<&Value> {
    pod.ends().collect()
}

fn is_disrupted(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "DisruptionTarget" && c["status"] == "True")
}

fn reasons(pod: &Value) -> Vec<&str> {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let disruption = conditions.filter(|c| c["type"] == "DisruptionTarget").filter_map(|c| c["reason"].as_str());
    let own = pod["status"]["reason"].as_str();
    let container = decisive(pod).and_then(|end| end["reason"].as_str());
    disruption.chain(own).chain(container).chain(["PodDeleted", "Error"]).collect()
}

/// A delay is the one that the pure function gives.
fn delay(story: &Story, version: usize, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let (_, task) = &story.versions[version];
    let status = task.status.clone().unwrap_or_default();
    let follows = status.completion_time.is_none() && entry.reason != "Suspended";
    let backoff = task.spec.backoff.as_ref();
    let dice = dice(&story.uid, entry.attempt);
    let asked = story.pod_of(entry).filter(|_| entry.reason != "Lost").and_then(asked_wait);
    let class = status.classes.iter().find(|class| Some(&class.name) == entry.rule.as_ref());
    let nth = match (entry.action, class) {
        (Action::Ignore, Some(class)) => class.count,
        _ => status.retries,
    };
    let expected = match asked {
        _ if !follows => None,
        Some(seconds) => Some(backoff::delay_asked_for(seconds, backoff, dice)),
        None => Some(backoff::delay(backoff, nth, dice)),
    };
    let expected = expected.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
    if entry.delay_milliseconds != expected {
        let text = format!(
            "{}: attempt {}: the delay should be {expected:?}; the entry is {entry:?}",
            story.name, entry.attempt
        );
        found.push(Violation::new("a delay is the one that the spec gives", text));
    }
}

/// How long the task itself asked to be left alone.
fn asked_wait(pod: &PodStory) -> Option<i64> {
    let message = pod.ends().find_map(decisive)?["message"].as_str()?;
    let word: Value = serde_json::from_str(message).ok()?;
    word["retryAfterSeconds"].as_i64()
}

/// The next attempt starts after the wait, by the true time.
fn waited(trace: &Trace, story: &Story, entry: &HistoryEntry, found: &mut Vec<Violation>) {
    let next = story.counted().find(|pod| pod.number == entry.attempt + 1);
    let (Some(next), Some(delay)) = (next, entry.delay_milliseconds) else { return };
    let Some(finished) = story.pod_of(entry).and_then(|pod| finish(trace, pod)) else { return };
    let earliest = finished + Duration::from_millis(u64::try_from(delay).unwrap_or(0));
    // What fell due while the task was suspended starts at once when it is resumed, and that is after the wait too.
    if next.created() < earliest {
        let text = format!(
            "{}: attempt {} ended at {finished:?}, its wait is {delay} ms, and Pod {} was created at {:?}",
            story.name,
            entry.attempt,
            next.name,
            next.created()
        );
        let rule = if trace.clocks_agree {
            "an attempt waits for its time"
        } else {
            "an attempt waits for its time (clocks jump)"
        };
        found.push(Violation::new(rule, text));
    }
}

/// When the last container ended, by what the Pod shows (whole seconds, cut).
fn finish(trace: &Trace, pod: &PodStory) -> Option<Duration> {
    let last = pod.ends().next()?;
    let ends = ["initContainerStatuses", "containerStatuses"].into_iter();
    let ends = ends.flat_map(|list| last["status"][list].as_array().into_iter().flatten());
    let ends = ends.filter_map(|s| s["state"]["terminated"]["finishedAt"].as_str()?.parse::<Timestamp>().ok());
    let since_start: SignedDuration = ends.max()?.duration_since(trace.start);
    Some(Duration::try_from(since_start).unwrap_or_default())
}

/// Counters agree with the books, and the books with the budgets.
fn totals(story: &Story, found: &mut Vec<Violation>) {
    let status = story.last_status();
    let count = |action: Action| story.entries.values().filter(|(_, e)| e.action == action).count();
    let closed = i32::try_from(story.entries.len()).unwrap_or(0);
    let written = i32::try_from(status.history.len()).unwrap_or(0) + status.history_dropped;
    let mut expect = |what: &str, given: i32, expected: usize| {
        if i32::try_from(expected) != Ok(given) {
            let text = format!("{}: {what} is {given}, and should be {expected}", story.name);
            found.push(Violation::new("totals add up", text));
        }
    };
    // With a limit of 0 the entries were never seen, and only the Pods can tell.
    if written == closed {
        expect("retries", status.retries, count(Action::Retry));
        expect("ignored", status.ignored, count(Action::Ignore));
        let disrupted = story.entries.values().filter(|(_, e)| e.rule.as_deref() == Some("disruption")).count();
        let counted = status.classes.iter().find(|class| class.name == "disruption").map_or(0, |class| class.count);
        expect("classes.disruption", counted, disrupted);
    }
    let rested = status.current.as_ref().is_none_or(|current| current.rejections == 0);
    let numbers: std::collections::BTreeSet<i32> = story.counted().map(|p| p.number).collect();
    if rested && story.deleted().is_none() {
        expect("attempts", status.attempts, numbers.len());
    }
    if status.completion_time.is_some() {
        expect("history and historyDropped", written, numbers.len());
    }
    let most = story.versions.iter().map(|(_, task)| task.spec.max_retries).max().unwrap_or(0);
    let ignored = story
        .entries
        .values()
        .filter(|(_, e)| e.rule.as_deref() == Some("disruption") && e.action == Action::Ignore)
        .count();
    if status.retries > most || i32::try_from(ignored).unwrap_or(0) > DISRUPTIONS {
        let text =
            format!("{}: {} retries of {most}, {ignored} disruptions of {DISRUPTIONS}", story.name, status.retries);
        found.push(Violation::new("attempts stay within their budgets", text));
    }
}
