//! The history of a task: one entry for each ended attempt, bounded in number and bytes.

use super::Wait;
use super::attempt_end::AttemptEnd;
use super::draft::Draft;
use crate::api::HistoryEntry;
use crate::core::classify::Verdict;
use crate::core::message::most_stored_bytes;
use crate::core::pod_snapshot::Outcome;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// Most bytes of JSON that the history takes, however long its messages: what is older is dropped.
const MAX_HISTORY_BYTES: usize = 48 * 1024;

pub(super) fn entry(
    draft: &Draft,
    end: &AttemptEnd,
    outcome: &Outcome,
    verdict: &Verdict,
    wait: Option<Wait>,
    message: Option<String>,
) -> HistoryEntry {
    let Outcome { container, exit_code, signal, reason, report, finished, .. } = outcome;
    HistoryEntry {
        attempt: draft.current.number,
        pod_name: end.pod_name.clone(),
        pod_uid: end.pod_uid.clone(),
        node_name: end.node_name.clone(),
        container: container.clone(),
        start_time: Some(Time(end.started)),
        finish_time: Some(Time(*finished)),
        exit_code: *exit_code,
        signal: *signal,
        reason: reason.clone(),
        error_type: report.error_type().cloned(),
        error_types: Some(&report.error_types).filter(|types| types.len() > 1).cloned().unwrap_or_default(),
        retry_after_seconds: report.retry_after_seconds,
        message,
        rule: verdict.rule.clone(),
        action: verdict.action,
        delay_milliseconds: wait.map(Wait::milliseconds),
        generation: end.generation,
        memory: end.memory.clone().filter(|_| draft.situation.task.spec.on_out_of_memory.is_some()),
        avoided_nodes: draft.current.avoided_nodes.clone(),
        override_from: draft.current.override_from,
        run: draft.status.run.map(|run| run.number),
        queue: draft.current.queue.as_ref().map(|slot| slot.name.clone()),
    }
}

pub(super) fn remember(draft: &mut Draft, entry: HistoryEntry) {
    let limit = usize::try_from(draft.situation.task.spec.history_limit).unwrap_or(0);
    let history = &mut draft.status.history;
    history.push(Arc::new(entry));
    let mut bytes = 0;
    let fitting = history.iter().rev().take_while(|entry| {
        bytes += most_bytes(entry);
        bytes <= MAX_HISTORY_BYTES
    });
    let excess = history.len().saturating_sub(limit.min(fitting.count()));
    history.drain(..excess);
    let dropped = i32::try_from(excess).unwrap_or(i32::MAX);
    draft.status.history_dropped = draft.status.history_dropped.saturating_add(dropped);
}

/// Most bytes that an entry takes in the API server's store, and few more than it does take. To write it out would take
/// longer than all the rest of the decision.
pub(super) fn most_bytes(entry: &HistoryEntry) -> usize {
    const QUOTES_COLON_COMMA: usize = 4;
    const TIME: usize = "\"-009999-01-01T00:00:00Z\"".len();
    const LONGEST_ACTION: usize = "\"Complete\"".len();
    #[rustfmt::skip]
    let HistoryEntry {
        pod_name, pod_uid, node_name, container, reason, error_type, error_types, retry_after_seconds, message, rule, memory,
        avoided_nodes, queue, attempt, start_time, finish_time, exit_code, signal, action: _, delay_milliseconds, generation,
        override_from, run,
    } = entry;
    let field = |name: &str| name.len() + QUOTES_COLON_COMMA;
    let digits = |n: i64| n.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1) + usize::from(n < 0);
    let text = |name, text: Option<&String>| text.map_or(0, |text| field(name) + most_stored_bytes(text));
    let number = |name, number: Option<i64>| number.map_or(0, |number| field(name) + digits(number));
    let small = |name, small: Option<i32>| number(name, small.map(i64::from));
    let time = |name, time: Option<&Time>| time.map_or(0, |_| field(name) + TIME);
    let texts = text("podName", Some(pod_name))
        + text("podUID", pod_uid.as_ref())
        + text("nodeName", node_name.as_ref())
        + text("container", container.as_ref())
        + text("reason", Some(reason))
        + text("errorType", error_type.as_ref())
        + text("message", message.as_ref())
        + text("rule", rule.as_ref())
        + text("memory", memory.as_ref())
        + text("queue", queue.as_ref());
    let numbers = small("attempt", Some(*attempt))
        + small("exitCode", *exit_code)
        + small("signal", *signal)
        + number("retryAfterSeconds", *retry_after_seconds)
        + number("delayMilliseconds", *delay_milliseconds)
        + number("generation", *generation)
        + small("overrideFrom", *override_from)
        + small("run", *run);
    let times = time("startTime", start_time.as_ref()) + time("finishTime", finish_time.as_ref());
    let list = |name, items: &[String]| match items {
        [] => 0,
        items => field(name) + items.iter().map(|item| most_stored_bytes(item) + 1).sum::<usize>(),
    };
    let lists = list("avoidedNodes", avoided_nodes) + list("errorTypes", error_types);
    texts + numbers + times + lists + field("action") + LONGEST_ACTION + 2
}

/// What the history has of the attempt before the current one.
pub(super) fn entry_before<'a>(draft: &'a mut Draft) -> Option<&'a mut HistoryEntry> {
    let (number, run) = (draft.current.number, draft.status.run.map(|run| run.number));
    let is_before = |entry: &&mut Arc<HistoryEntry>| entry.attempt.saturating_add(1) == number && entry.run == run;
    draft.status.history.last_mut().filter(is_before).map(Arc::make_mut)
}
