//! A new task from a command line, and whether one that exists is the same.

use crate::api::GROUP;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What the new task is to be.
#[derive(Clone, Debug, Default)]
pub struct NewTask {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The image.
    pub image: String,
    /// After `--`: the arguments of the image's entrypoint, or the command.
    pub words: Vec<String>,
    /// Whether the words are the command.
    pub is_command: bool,
    /// `spec.maxRetries`.
    pub max_retries: Option<i32>,
    /// `spec.env`.
    pub env: Vec<(String, String)>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// `spec.queue.name`.
    pub queue: Option<String>,
    /// `spec.attemptTimeoutSeconds`.
    pub attempt_timeout: Option<Duration>,
    /// `spec.activeDeadlineSeconds`.
    pub deadline: Option<Duration>,
    /// `spec.ttlSecondsAfterFinished`.
    pub ttl: Option<Duration>,
    /// `spec.suspend`.
    pub suspend: bool,
}

impl NewTask {
    /// The manifest: only what was given, so that the API server's defaults hold.
    pub fn manifest(&self) -> Value {
        let Self { name, namespace, image, words, is_command, max_retries, env, labels, queue, .. } = self;
        let mut spec = Map::from_iter([("image".to_owned(), json!(image))]);
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec.insert(key.to_owned(), value);
            }
        };
        let seconds = |time: &Option<Duration>| time.map(|time| json!(time.as_secs()));
        set(if *is_command { "command" } else { "args" }, (!words.is_empty()).then(|| json!(words)));
        set("maxRetries", max_retries.map(|n| json!(n)));
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        set("env", (!env.is_empty()).then(|| json!(env)));
        set("queue", queue.as_ref().map(|queue| json!({"name": queue})));
        set("attemptTimeoutSeconds", seconds(&self.attempt_timeout));
        set("activeDeadlineSeconds", seconds(&self.deadline));
        set("ttlSecondsAfterFinished", seconds(&self.ttl));
        set("suspend", self.suspend.then_some(Value::Bool(true)));
        let labels: Map<String, Value> = labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let mut metadata = json!({"name": name, "namespace": namespace});
        if !labels.is_empty() {
            metadata["labels"] = Value::Object(labels);
        }
        json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RetryableTask", "metadata": metadata, "spec": spec})
    }
}

/// The first field of what is wanted that the existing object has otherwise, as a path. None if it is the same but for defaults.
pub fn difference(wanted: &Value, existing: &Value) -> Option<String> {
    differs(wanted, existing, "spec")
}

fn differs(wanted: &Value, existing: &Value, path: &str) -> Option<String> {
    match (wanted, existing) {
        (Value::Object(wanted), Value::Object(existing)) => wanted.iter().find_map(|(key, value)| {
            differs(value, existing.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
        }),
        (Value::Array(wanted), Value::Array(existing)) if wanted.len() == existing.len() => wanted
            .iter()
            .zip(existing)
            .enumerate()
            .find_map(|(index, (wanted, existing))| differs(wanted, existing, &format!("{path}[{index}]"))),
        _ => (wanted != existing).then(|| path.to_owned()),
    }
}

/// How often in a row it is tried again after an answer that an API server gives for good, and for a moment after it was away: it serves
/// before it knows who may do what, and which definitions there are.
const LATE_REFUSALS: u32 = 5;

/// A task that is sent until the API server has said yes or no, or the time is over.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    limit: Duration,
    tries: u32,
    refusals: u32,
}

/// What follows a try that has not made the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after that time.
    Again(Duration),
    /// The API server has understood, and refuses: waiting does not help.
    Refused,
    /// The time is over.
    GiveUp,
}

impl Submission {
    /// Gives up after that time.
    pub fn new(limit: Duration) -> Self {
        Self { limit, tries: 0, refusals: 0 }
    }

    /// How many tries there were.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// What follows the try that has just ended. `code` is the API server's answer, if there was one, and it is not that the name is taken; `elapsed` counts from the first try;
    /// `part` from 0 to 1 spreads those who try.
    pub fn failed(&mut self, code: Option<u16>, elapsed: Duration, part: f64) -> Next {
        let was_away = self.tries > self.refusals;
        self.tries = self.tries.saturating_add(1);
        match code {
            Some(401 | 403 | 404) if was_away && self.refusals < LATE_REFUSALS => self.refusals += 1,
            // A conflict is with another request at the same time, such as for the seats of a ResourceQuota.
            Some(408 | 409 | 429) => {}
            Some(400..500) => return Next::Refused,
            Some(_) | None => {}
        }
        let wait = back_off(self.tries, part);
        if elapsed.saturating_add(wait) >= self.limit { Next::GiveUp } else { Next::Again(wait) }
    }
}

/// How long to wait before the nth try, from 1: from half a second, doubling, at most ten. `part` from 0 to 1 spreads those who try.
pub fn back_off(nth: u32, part: f64) -> Duration {
    let most =
        Duration::from_millis(500).saturating_mul(1 << nth.saturating_sub(1).min(5)).min(Duration::from_secs(10));
    most.mul_f64(0.5 + part.clamp(0.0, 1.0) / 2.0)
}
