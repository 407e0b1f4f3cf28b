//! The queues: slots, circuit, and what fails most often.

use super::errors::{KeptCause, groups};
use super::frame::Frame;
use super::mark::Mark;
use super::{Link, Look};
use crate::api::{CircuitState, State, StopPolicy, TaskQueue};
use crate::core::end_text::reason_and_code;
use crate::ui::query::{Paging, Place, Query, page_of};
use crate::ui::record::{Key, QueueRecord, TaskRecord};
use crate::ui::text::{When, count};
use askama::Template;
use std::collections::HashMap;

/// Causes that a row names.
const CAUSES: usize = 3;

/// The queues.
#[derive(Template)]
#[template(path = "queues.html")]
pub struct QueuesPage {
    frame: Frame,
    rows: Vec<Row>,
    paging: Paging,
}

struct Row {
    namespace: String,
    name: String,
    /// Why it cannot be read.
    problem: Option<String>,
    /// Attempts under way, and how many may be, as the queue says.
    slots: String,
    /// How full it is, in percent, for a bar.
    percent: Option<i32>,
    running: Option<Link>,
    queued: Option<Link>,
    waiting: Option<Link>,
    marks: Vec<Mark>,
    until: Option<When>,
    /// What the circuit opened for, or what the limits are.
    about: String,
    causes: Vec<Cause>,
}

struct Cause {
    count: String,
    link: Link,
}

/// The page of the queues.
pub fn queues(look: Look) -> QueuesPage {
    let text = look.query.text.as_deref();
    let all: Vec<_> = look.queues().filter(|(key, _)| text.is_none_or(|text| key.name.contains(text))).collect();
    let (shown, paging) = page_of(all, look.query, Place::Queues);
    let mut tasks: HashMap<&Key, Vec<(&Key, &TaskRecord)>> = shown.iter().map(|(key, _)| (*key, Vec::new())).collect();
    for (key, task) in look.tasks() {
        let Some(queue) = &task.queue else { continue };
        let of_queue = Key { namespace: key.namespace.clone(), name: queue.clone() };
        if let Some(tasks) = tasks.get_mut(&of_queue) {
            tasks.push((key, task));
        }
    }
    let tasks_of = |key: &Key| tasks.get(key).map_or(&[][..], Vec::as_slice);
    let rows = shown.iter().map(|(key, queue)| row(look, key, queue, tasks_of(key))).collect();
    QueuesPage { frame: Frame::of(look, Place::Queues, "Queues"), rows, paging }
}

fn row(look: Look, key: &Key, queue: &QueueRecord, here: &[(&Key, &TaskRecord)]) -> Row {
    let of_queue = Query { queue: Some(key.name.to_string()), ..Query::of_namespace(&key.namespace) };
    let tasks = |state: State| {
        let number = here.iter().filter(|(_, task)| task.state == state).count();
        let query = of_queue.with(|query| query.state = Some(Mark::of_task(state).word.into()));
        Link::count(number, &query, Place::Now)
    };
    let causes = groups(here.iter().copied(), |_| true).into_iter().take(CAUSES).map(|group| {
        let KeptCause(cause) = group.cause;
        let fingerprint = &cause.fingerprint;
        let query = of_queue.with(|query| query.error = Some(cause.id.clone()));
        let reason = reason_and_code(&fingerprint.reason, fingerprint.exit_code);
        let text = if fingerprint.pattern.is_empty() { reason } else { fingerprint.pattern.clone() };
        Cause { count: count(group.count), link: Link { text, href: query.link(Place::Errors) } }
    });
    let row = Row {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        problem: queue.as_ref().err().cloned(),
        slots: String::new(),
        percent: None,
        running: tasks(State::Running),
        queued: tasks(State::Queued),
        waiting: tasks(State::Waiting),
        marks: Vec::new(),
        until: None,
        about: String::new(),
        causes: causes.collect(),
    };
    match queue {
        Ok(queue) => with_queue(look, row, queue),
        Err(_) => Row { marks: vec![Mark::UNREADABLE], ..row },
    }
}

fn with_queue(look: Look, row: Row, queue: &TaskQueue) -> Row {
    let Some(status) = &queue.status else {
        return Row { marks: vec![Mark::NEW], about: limits(queue), ..row };
    };
    let circuit = status.circuit.as_ref();
    let mut marks: Vec<Mark> = circuit.map(|circuit| Mark::of_circuit(circuit.state)).into_iter().collect();
    if queue.spec.stop_policy != StopPolicy::None {
        marks.push(Mark::HELD);
    }
    let is_closed = circuit.is_none_or(|circuit| circuit.state == CircuitState::Closed);
    let cause = circuit.and_then(|circuit| circuit.cause.clone()).filter(|_| !is_closed);
    // Without a limit it is the number that the next column has.
    let slots = status.running.clone().filter(|running| running.contains('/')).unwrap_or_default();
    Row {
        percent: percent(&slots),
        slots,
        marks,
        until: circuit.and_then(|circuit| circuit.until.as_ref()).filter(|_| !is_closed).map(|at| look.when(at.0)),
        about: cause.unwrap_or_else(|| limits(queue)),
        ..row
    }
}

/// How full it is, of a text such as `3/20`.
fn percent(slots: &str) -> Option<i32> {
    let (running, slots) = slots.split_once('/')?;
    let (running, slots): (i64, i64) = (running.trim().parse().ok()?, slots.trim().parse().ok()?);
    i32::try_from((running * 100).checked_div(slots)?.clamp(0, 100)).ok()
}

/// The limits that the spec sets.
fn limits(queue: &TaskQueue) -> String {
    let concurrent = queue.spec.max_concurrent.map(|slots| format!("at most {slots} at a time"));
    let retries = queue.spec.retries.as_ref().map(|retries| format!("{} % of them retries", retries.max_percent));
    let rate = queue.spec.start_rate.as_ref().map(|rate| match rate.per_seconds.unwrap_or(1) {
        1 => format!("{} starts a second", rate.starts),
        seconds => format!("{} starts in {seconds} s", rate.starts),
    });
    let limits: Vec<String> = [concurrent, retries, rate].into_iter().flatten().collect();
    let limits = if limits.is_empty() { "no limit".into() } else { limits.join(", ") };
    match queue.spec.stop_policy {
        StopPolicy::None => limits,
        StopPolicy::Hold => format!("nothing starts, as spec.stopPolicy says; {limits}"),
        StopPolicy::HoldAndDrain => {
            format!("nothing starts and what runs is stopped, as spec.stopPolicy says; {limits}")
        }
    }
}
