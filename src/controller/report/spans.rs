//! The spans of a task's trace: one for each attempt, with its waits beside it, and one for the run around them.

use crate::api::{Action, CurrentAttempt, FallbackState, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::decide::Transition;
use crate::core::slot::Slot;
use crate::core::trace_context::{TaskSpan, span_id, trace_id};
use crate::telemetry::traces::{Attribute, Span};
use jiff::Timestamp;

/// The spans that end with a transition, from the task as it was before it and as it is stored.
pub fn spans<'a>(before: &'a RetryableTask, stored: &'a RetryableTask, transition: &Transition) -> Vec<Span> {
    let trace = Trace::of(stored);
    match transition {
        Transition::Started { slot } => trace.waits(before, *slot),
        Transition::Ended { entry, .. } => trace.attempt(entry).into_iter().collect(),
        Transition::Finished { succeeded, message, .. } => trace.run(*succeeded, message),
        Transition::Rescheduled { .. }
        | Transition::FallingBack { .. }
        | Transition::Acknowledged { .. }
        | Transition::Stalled { .. }
        | Transition::ContainersStopped { .. }
        | Transition::UnknownAnnotation { .. }
        | Transition::MemoryRaiseRejected { .. }
        | Transition::HeldUp { .. } => Vec::new(),
    }
}

struct Trace<'a> {
    task: &'a RetryableTask,
    uid: &'a str,
    status: Option<&'a RetryableTaskStatus>,
}

impl<'a> Trace<'a> {
    fn of(task: &'a RetryableTask) -> Self {
        Self { task, uid: task.metadata.uid.as_deref().unwrap_or_default(), status: task.status.as_ref() }
    }

    fn run_span(&self) -> TaskSpan {
        TaskSpan::Run(self.status.and_then(|status| status.run).map_or(1, |run| run.number))
    }

    fn span(&self, what: TaskSpan, name: &str, (start, end): (Timestamp, Timestamp)) -> Span {
        let run = self.run_span();
        let metadata = &self.task.metadata;
        let attributes = [
            ("k8s.namespace.name", metadata.namespace.as_deref()),
            ("retryable.task.name", metadata.name.as_deref()),
            ("retryable.task.uid", Some(self.uid)),
            ("retryable.queue", self.task.spec.queue.as_ref().map(|queue| queue.name.as_str())),
        ];
        Span {
            trace_id: trace_id(self.uid),
            span_id: span_id(self.uid, what),
            parent: (what != run).then(|| span_id(self.uid, run)),
            name: name.to_owned(),
            start,
            end: end.max(start),
            attributes: attributes.into_iter().filter_map(|(key, value)| Some((key, text(value?)))).collect(),
            error: None,
        }
    }

    /// What the attempt that starts has waited for.
    fn waits(&self, before: &'a RetryableTask, slot: Slot) -> Vec<Span> {
        let current = |task: &'a RetryableTask| {
            let current = task.status.as_ref()?.current.as_ref();
            current.filter(|current| current.number == slot.number && !current.fallback && !slot.fallback)
        };
        let Some(started) = current(self.task) else { return Vec::new() };
        // A wait that is over when the end before it is seen is stored with the start.
        let waited = current(before).unwrap_or(started);
        let CurrentAttempt { due_time, wait, queued_time, .. } = waited;
        let due = due_time.as_ref().map(|due| due.0);
        let begun = started.create_time.as_ref().map(|time| time.0);
        let number = ("retryable.attempt", Attribute::Number(slot.number.into()));
        let mut spans = Vec::new();
        if let Some((wait, end)) = wait.as_ref().zip(due.or(begun)) {
            let end = begun.map_or(end, |begun| end.min(begun));
            spans.push(self.span(TaskSpan::BackOff(slot.number), "back-off", (wait.from.0, end)));
        }
        let granted = started.queue.as_ref().and_then(|slot| slot.grant_time.as_ref()).map(|time| time.0);
        let queued = queued_time.as_ref().map(|time| time.0).or(due);
        if let Some((queued, granted)) = queued.zip(granted).filter(|(queued, granted)| queued < granted) {
            spans.push(self.span(TaskSpan::Queue(slot.number), "queue", (queued, granted)));
        }
        for span in &mut spans {
            span.attributes.push(number.clone());
        }
        spans
    }

    fn attempt(&self, entry: &HistoryEntry) -> Option<Span> {
        let HistoryEntry { attempt, reason, exit_code, error_type, message, action, rule, .. } = entry;
        let end = entry.finish_time.as_ref()?.0;
        let start = entry.start_time.as_ref().map_or(end, |time| time.0);
        let mut span = self.span(TaskSpan::Slot((*attempt).into()), "attempt", (start, end));
        let is_error = matches!(action, Action::Retry | Action::Fail | Action::Unknown);
        let error_type = error_type.as_ref().unwrap_or(reason);
        let texts = [
            ("k8s.pod.name", Some(&entry.pod_name)),
            ("k8s.pod.uid", entry.pod_uid.as_ref()),
            ("k8s.node.name", entry.node_name.as_ref()),
            ("k8s.container.name", entry.container.as_ref()),
            ("error.type", is_error.then_some(error_type)),
            ("retryable.reason", Some(reason)),
            ("retryable.rule", rule.as_ref()),
        ];
        span.attributes.extend(texts.into_iter().filter_map(|(key, value)| Some((key, text(value?)))));
        span.attributes.push(("retryable.action", Attribute::Text(format!("{action:?}"))));
        let numbers = [("retryable.attempt", Some(*attempt)), ("process.exit.code", *exit_code)];
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key, Attribute::Number(number?.into()))));
        span.attributes.extend(numbers);
        span.error = is_error.then(|| message.clone().unwrap_or_else(|| reason.clone()));
        Some(span)
    }

    /// The run that has ended, and its fallback.
    fn run(&self, succeeded: bool, message: &str) -> Vec<Span> {
        let Some((status, end)) = self.status.and_then(|status| Some((status, status.completion_time.as_ref()?.0)))
        else {
            return Vec::new();
        };
        let started = status.start_time.as_ref().map(|time| time.0);
        let created = self.task.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let start = if status.run.is_none() { created.or(started) } else { started };
        let mut run = self.span(self.run_span(), "task", (start.unwrap_or(end), end));
        run.attributes.push(("retryable.attempts", Attribute::Number(status.attempts.into())));
        run.error = (!succeeded).then(|| message.to_owned());
        let mut spans = vec![run];
        if let Some(fallback) = &status.fallback
            && let Some((start, end)) = fallback.start_time.as_ref().zip(fallback.finish_time.as_ref())
        {
            let slot = Slot { number: status.attempts, fallback: true };
            let mut span = self.span(TaskSpan::Slot(slot), "fallback", (start.0, end.0));
            span.attributes.push(("k8s.pod.name", text(&fallback.pod_name)));
            let has_failed = fallback.state == FallbackState::Failed;
            span.error = has_failed.then(|| fallback.reason.clone().unwrap_or_default());
            spans.push(span);
        }
        spans
    }
}

fn text(value: &str) -> Attribute {
    Attribute::Text(value.to_owned())
}

#[cfg(test)]
mod tests;
