//! Reads manifests: YAML or JSON, several in one file, and lists.

use crate::admission::{Admission, Notation};
use crate::api::{GROUP, RetryableTask, TaskQueue, TaskSchedule};
use serde::Deserialize;
use serde_json::Value;

const TASK: &str = "RetryableTask";
const QUEUE: &str = "TaskQueue";
const SCHEDULE: &str = "TaskSchedule";

/// The tasks and schedules of a file, and what else is in it.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The tasks in their order.
    tasks: Vec<Manifest>,
    /// The queues in their order.
    queues: Vec<Manifest>,
    /// The schedules in their order.
    schedules: Vec<Manifest>,
    /// Messages about objects of other kinds.
    pub skipped: Vec<String>,
}

#[derive(Debug)]
struct Manifest {
    value: Value,
    notation: Notation,
    /// The name in quotes, or the position in the file.
    title: String,
}

/// All that is wrong with the tasks and schedules of a file.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Invalid(pub Vec<Refused>);

/// What is wrong with one object.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {title} is invalid:\n{}", .messages.iter().map(|message| format!("* {message}")).collect::<Vec<_>>().join("\n"))]
pub struct Refused {
    /// Its kind.
    pub kind: &'static str,
    /// Its name in quotes, or its position in the file.
    pub title: String,
    /// Each of its faults, with the path of the field.
    pub messages: Vec<String>,
}

/// Why a file has no tasks to simulate.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Neither YAML nor JSON.
    #[error("invalid YAML: {0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// A document whose keys are not strings.
    #[error("document {number}: {source}")]
    Keys {
        /// Its position in the file, from 1.
        number: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A document that is not a Kubernetes object.
    #[error("document {0} has no kind: it is not a Kubernetes object")]
    NoObject(usize),
    /// No document.
    #[error("contains no document")]
    Empty,
    /// Only objects of other kinds.
    #[error("contains no RetryableTask and no TaskSchedule")]
    NoTask,
    /// A file that is to have a queue, and has none.
    #[error("contains no TaskQueue")]
    NoQueue,
}

/// What of a file is simulated, as the API server would store it.
#[derive(Debug, Default)]
pub struct Admitted {
    /// The tasks in their order.
    pub tasks: Vec<RetryableTask>,
    /// The queues in their order.
    pub queues: Vec<TaskQueue>,
    /// The schedules in their order.
    pub schedules: Vec<TaskSchedule>,
}

impl Manifests {
    /// Reads the text of a file that has tasks or schedules.
    ///
    /// # Errors
    /// It is no manifest, or has neither.
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        let manifests = Self::read_any(text)?;
        let is_empty = manifests.tasks.is_empty() && manifests.schedules.is_empty();
        if is_empty { Err(ManifestError::NoTask) } else { Ok(manifests) }
    }

    /// Reads the text of a file that has queues.
    ///
    /// # Errors
    /// It is no manifest, or has none.
    pub fn read_queues(text: &str) -> Result<Self, ManifestError> {
        let manifests = Self::read_any(text)?;
        if manifests.queues.is_empty() { Err(ManifestError::NoQueue) } else { Ok(manifests) }
    }

    fn read_any(text: &str) -> Result<Self, ManifestError> {
        let (documents, notation) = documents(text)?;
        if documents.is_empty() {
            return Err(ManifestError::Empty);
        }
        let mut manifests = Self::default();
        for (index, document) in documents.into_iter().enumerate() {
            manifests.add(document, notation, index + 1)?;
        }
        Ok(manifests)
    }

    fn add(&mut self, value: Value, notation: Notation, number: usize) -> Result<(), ManifestError> {
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        let name = value["metadata"]["name"].as_str().filter(|name| !name.is_empty());
        match kind.as_str() {
            "" => return Err(ManifestError::NoObject(number)),
            TASK | QUEUE | SCHEDULE => {
                let title = name.map_or_else(|| format!("in document {number}"), |name| format!("\"{name}\""));
                let of_kind = match kind.as_str() {
                    TASK => &mut self.tasks,
                    QUEUE => &mut self.queues,
                    _ => &mut self.schedules,
                };
                of_kind.push(Manifest { value, notation, title });
            }
            "List" | "RetryableTaskList" | "TaskQueueList" | "TaskScheduleList" => {
                for item in value["items"].as_array().into_iter().flatten() {
                    self.add(item.clone(), notation, number)?;
                }
            }
            _ => self.skipped.push(format!("skipped: {kind} {}", name.unwrap_or("without a name"))),
        }
        Ok(())
    }

    /// All as the API server would store it, or everything that is wrong with it.
    ///
    /// # Errors
    /// What is wrong with each.
    pub fn admit(&self) -> Result<Admitted, Invalid> {
        let tasks = (!self.tasks.is_empty()).then(Admission::new);
        let schedules = (!self.schedules.is_empty()).then(Admission::of_schedules);
        let queues = (!self.queues.is_empty()).then(Admission::of_queues);
        let tasks = tasks.map(|of| admit(TASK, &self.tasks, |value, notation| of.admit(value, notation)));
        let schedules =
            schedules.map(|of| admit(SCHEDULE, &self.schedules, |value, notation| of.admit_schedule(value, notation)));
        let queues = queues.map(|of| admit(QUEUE, &self.queues, |value, notation| of.admit_queue(value, notation)));
        let (tasks, mut refused) = tasks.unwrap_or_default();
        let (schedules, of_schedules) = schedules.unwrap_or_default();
        let (queues, of_queues) = queues.unwrap_or_default();
        refused.extend(of_schedules);
        refused.extend(of_queues);
        if refused.is_empty() { Ok(Admitted { tasks, queues, schedules }) } else { Err(Invalid(refused)) }
    }
}

fn admit<K>(
    kind: &'static str,
    manifests: &[Manifest],
    admit: impl Fn(&Value, Notation) -> Result<K, Vec<String>>,
) -> (Vec<K>, Vec<Refused>) {
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    for Manifest { value, notation, title } in manifests {
        let version = value["apiVersion"].as_str().unwrap_or_default();
        let result = if version == format!("{GROUP}/v1alpha1") {
            admit(value, *notation)
        } else {
            Err(vec![format!("apiVersion: no matches for kind \"{kind}\" in version \"{version}\"")])
        };
        match result {
            Ok(object) => admitted.push(object),
            Err(messages) => refused.push(Refused { kind, title: title.clone(), messages }),
        }
    }
    (admitted, refused)
}

fn documents(text: &str) -> Result<(Vec<Value>, Notation), ManifestError> {
    // JSON is read into YAML values too: they reject duplicate keys.
    if text.trim_start().starts_with('{') {
        let stream = serde_json::Deserializer::from_str(text).into_iter::<serde_yaml_ng::Value>();
        if let Ok(documents) = stream.collect::<Result<Vec<_>, _>>() {
            return Ok((into_json(documents)?, Notation::Json));
        }
    }
    let stream = serde_yaml_ng::Deserializer::from_str(text);
    let documents = stream.map(serde_yaml_ng::Value::deserialize).collect::<Result<Vec<_>, _>>()?;
    Ok((into_json(documents)?, Notation::Yaml))
}

fn into_json(documents: Vec<serde_yaml_ng::Value>) -> Result<Vec<Value>, ManifestError> {
    let written = documents.into_iter().filter(|document| !document.is_null()).enumerate();
    let converted = written.map(|(index, mut document)| {
        document.apply_merge()?;
        serde_json::to_value(document).map_err(|source| ManifestError::Keys { number: index + 1, source })
    });
    converted.collect()
}
