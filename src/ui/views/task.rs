//! One task: where it is and why, its attempts over time, what to do, and its YAML.

use super::frame::Frame;
use super::mark::Mark;
use super::timeline::{Timeline, timeline};
use super::{Link, Look};
use crate::api::{
    ANNOTATION_CANCEL, ANNOTATION_RETRY_NOW, ANNOTATION_RUN_AGAIN, LABEL_SCHEDULE_NAME, RetryableTask,
    RetryableTaskStatus, State,
};
use crate::core::queue::place::{Place as PlaceInLine, place};
use crate::core::why::{Known, KnownQueue, why};
use crate::ui::query::{Place, Query};
use crate::ui::record::{Key, is_end};
use crate::ui::redact::yaml;
use crate::ui::text::{When, exact};
use askama::Template;
use serde_json::Value;

/// Most conditions that are shown. The operator itself writes fewer.
const MAX_CONDITIONS: usize = 20;

/// One task.
#[derive(Template)]
#[template(path = "task.html")]
pub struct TaskPage {
    frame: Frame,
    namespace: String,
    name: String,
    list: String,
    body: Body,
}

enum Body {
    /// There is none of that name, or it may not be seen: both say the same.
    Missing,
    /// The API server could not be asked.
    Unavailable(String),
    Found(Box<Found>),
}

struct Found {
    mark: Mark,
    /// Why this version cannot read it.
    problem: Option<String>,
    why: String,
    hints: Vec<String>,
    facts: Vec<Fact>,
    timeline: Option<Timeline>,
    conditions: Vec<ConditionRow>,
    /// How many conditions there are beside those.
    more_conditions: usize,
    commands: Vec<Command>,
    yaml: String,
}

struct Fact {
    name: &'static str,
    text: String,
    href: Option<String>,
    when: Option<When>,
}

struct ConditionRow {
    kind: String,
    status: String,
    reason: String,
    message: String,
    since: When,
}

struct Command {
    id: usize,
    what: &'static str,
    text: String,
}

/// What the API server has of the task.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The task.
    Found(Value),
    /// There is none.
    Missing,
    /// It could not be asked.
    Unavailable(String),
}

/// The page of the task that the query names.
pub fn task(look: Look, answer: Answer) -> TaskPage {
    let namespace = look.query.namespace.clone().unwrap_or_default();
    let name = look.query.name.clone().unwrap_or_default();
    let body = match answer {
        Answer::Missing => Body::Missing,
        Answer::Unavailable(error) => Body::Unavailable(error),
        Answer::Found(object) => Body::Found(Box::new(found(look, object))),
    };
    let title = format!("{namespace}/{name}");
    let list = Query::of_namespace(&namespace).link(Place::Tasks);
    TaskPage { frame: Frame::of(look, Place::Task, title), namespace, name, list, body }
}

fn found(look: Look, object: Value) -> Found {
    // Its serde is that of the API: what cannot be read is told, and shown as YAML.
    let read: Result<RetryableTask, _> = serde_json::from_value(object.clone());
    let yaml = yaml(object);
    match read {
        Ok(task) => readable(look, &task, yaml),
        Err(error) => Found {
            mark: Mark::UNREADABLE,
            problem: Some(error.to_string()),
            why: String::new(),
            hints: Vec::new(),
            facts: Vec::new(),
            timeline: None,
            conditions: Vec::new(),
            more_conditions: 0,
            commands: Vec::new(),
            yaml,
        },
    }
}

fn readable(look: Look, task: &RetryableTask, yaml: String) -> Found {
    let none = RetryableTaskStatus::default();
    let status = task.status.as_ref().unwrap_or(&none);
    let why = why(task, &Known { now: look.now, queue: queue(look, task), options: look.options });
    let conditions = status.conditions.iter().take(MAX_CONDITIONS).map(|condition| ConditionRow {
        kind: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: look.when(condition.last_transition_time.0),
    });
    Found {
        mark: status.state.map_or(Mark::NEW, Mark::of_task),
        problem: None,
        why: why.text(),
        hints: why.hints,
        facts: facts(look, task, status),
        timeline: Some(timeline(look, task)),
        conditions: conditions.collect(),
        more_conditions: status.conditions.len().saturating_sub(MAX_CONDITIONS),
        commands: commands(look, task, status),
        yaml,
    }
}

/// Where the task is in the line of its queue, if it waits there. Its line is in its own namespace, whose tasks the viewer may see.
fn place_in_line(look: Look, task: &RetryableTask, queue: &str) -> Option<PlaceInLine> {
    let namespace = task.metadata.namespace.as_deref().filter(|_| look.store.tasks.is_listed(look.watched))?;
    let tasks = look.store.tasks.of_namespace(namespace).filter_map(|(_, task)| task.in_line.as_deref());
    place(queue, task.metadata.uid.as_deref()?, tasks, look.now)
}

/// The queue of the task, if the viewer may see it and it can be read.
fn queue<'a>(look: Look<'a>, task: &RetryableTask) -> KnownQueue<'a> {
    let (Some(named), Some(namespace)) = (&task.spec.queue, &task.metadata.namespace) else {
        return KnownQueue::Unknown;
    };
    if !look.sight.covers(crate::ui::store::Kind::Queues, namespace) || !look.store.queues.is_listed(look.watched) {
        return KnownQueue::Unknown;
    }
    let key = Key { namespace: namespace.as_str().into(), name: named.name.as_str().into() };
    match look.store.queues.get(&key) {
        Some(Ok(queue)) => KnownQueue::Found { queue, place: place_in_line(look, task, &named.name) },
        Some(Err(_)) => KnownQueue::Unknown,
        None => KnownQueue::Missing,
    }
}

fn facts(look: Look, task: &RetryableTask, status: &RetryableTaskStatus) -> Vec<Fact> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let here = Query::of_namespace(namespace);
    let text = |name, text: String| Fact { name, text, href: None, when: None };
    let link = |name, Link { text, href }: Link| Fact { name, text, href: Some(href), when: None };
    let when = |name, at: Option<jiff::Timestamp>| {
        at.map(|at| Fact { name, text: exact(at), href: None, when: Some(look.when(at)) })
    };
    let queue = task.spec.queue.as_ref().map(|queue| {
        let query = here.with(|query| query.queue = Some(queue.name.clone()));
        link("Queue", Link { text: queue.name.clone(), href: query.link(Place::Now) })
    });
    let labels = task.metadata.labels.as_ref();
    let schedule = labels.and_then(|labels| labels.get(LABEL_SCHEDULE_NAME)).map(|schedule| {
        let query = here.with(|query| query.schedule = Some(schedule.clone()));
        link("Schedule", Link { text: schedule.clone(), href: query.link(Place::Tasks) })
    });
    let retries = format!("{} of {} charged", status.retries, task.spec.max_retries);
    let ignored = (status.ignored > 0).then(|| text("Not charged", status.ignored.to_string()));
    let run = status.run.map(|run| text("Run", run.number.to_string()));
    let named = |name, value: Option<&String>| value.map(|value| text(name, value.clone()));
    let pod = status.current.as_ref().and_then(|current| current.pod_name.as_ref());
    let facts = [
        Some(text("Attempts", status.attempts.to_string())),
        Some(text("Retries", retries)),
        ignored,
        run,
        queue,
        schedule,
        when("Created", task.metadata.creation_timestamp.as_ref().map(|at| at.0)),
        when("Started", status.start_time.as_ref().map(|at| at.0)),
        when("Next attempt", status.next_retry_time.as_ref().map(|at| at.0)),
        when("Ended", status.completion_time.as_ref().map(|at| at.0)),
        named("Took", status.duration.as_ref()),
        named("Pod", pod),
        named("Image", task.spec.image.as_ref()),
        named("Result", status.result.as_ref()),
        named("Checkpoint", status.checkpoint.as_ref()),
    ];
    facts.into_iter().flatten().collect()
}

/// What one can do, to be copied. Names of objects have no character that a shell would read as anything else.
fn commands(look: Look, task: &RetryableTask, status: &RetryableTaskStatus) -> Vec<Command> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (namespace, name) = (text(&task.metadata.namespace), text(&task.metadata.name));
    let request = |annotation: &str| {
        format!("kubectl annotate retryabletask {name} -n {namespace} --overwrite {annotation}=\"$(date +%s)\"")
    };
    let is_finished = status.state.is_some_and(is_end);
    let running = status.current.as_ref().and_then(|current| current.pod_name.as_ref());
    let last = status.history.last().map(|entry| &entry.pod_name).filter(|pod| !pod.is_empty());
    let follow = running.filter(|_| !is_finished).map(|pod| format!("kubectl logs {pod} -n {namespace} --follow"));
    let log = follow.or_else(|| last.map(|pod| format!("kubectl logs {pod} -n {namespace}")));
    let waits = status.state == Some(State::Waiting) || status.state == Some(State::Pending);
    let commands = [
        log.map(|log| ("Read the log", log)),
        Some(("Describe it", format!("kubectl describe retryabletask {name} -n {namespace}"))),
        waits.then(|| ("Retry now", request(ANNOTATION_RETRY_NOW))),
        is_finished.then(|| ("Run it again", request(ANNOTATION_RUN_AGAIN))),
        (!is_finished).then(|| ("Cancel it", request(ANNOTATION_CANCEL))),
    ];
    let numbered = commands.into_iter().flatten().enumerate();
    let of_cluster = |text: String| if look.options.is_empty() { text } else { format!("{text} {}", look.options) };
    numbered.map(|(id, (what, text))| Command { id, what, text: of_cluster(text) }).collect()
}
