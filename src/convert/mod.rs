//! Converts what people have into tasks and schedules: Jobs and CronJobs, and Argo's Workflows of one step. Pure: text in, text and notes out.
//!
//! A source is destructured field by field, so that none is dropped silently. What means something else here is a
//! difference, what cannot be had is refused. What comes out has passed admission.

mod argo;
mod cron_job;
mod failure_policy;
mod job;
mod metadata;
mod notes;
mod pod_template;
mod read;
mod render;

use crate::admission::{Admission, Notation};
use notes::Notes;
use serde_yaml_ng::{Mapping, Value};

pub use notes::{Kind, Note};

/// How to convert.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Take the defaults of a task, instead of behaving as before.
    pub modern: bool,
    /// Make one task of each completion of a Job.
    pub expand: bool,
}

/// What became of a file.
#[derive(Debug, Default)]
pub struct Converted {
    /// The manifests, with comments where the meaning differs.
    pub yaml: String,
    /// What to know, in the order of the file.
    pub notes: Vec<Note>,
    /// Objects of other kinds, in words.
    pub skipped: Vec<String>,
}

impl Converted {
    /// Whether something is not as it was.
    pub fn differs(&self) -> bool {
        self.notes.iter().any(|note| note.kind == Kind::Difference)
    }
}

/// Why nothing is converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// Neither YAML nor JSON.
    #[error("invalid YAML: {0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// A document that is not a Kubernetes object.
    #[error("document {0} has no kind: it is not a Kubernetes object")]
    NoObject(usize),
    /// Nothing that can be converted is in it.
    #[error("{}", [vec![format!("contains no {KINDS}")], skipped.clone()].concat().join("\n"))]
    Nothing {
        /// What is in it, in words.
        skipped: Vec<String>,
    },
    /// Objects that cannot be converted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refused>),
}

const KINDS: &str = "Job, CronJob, Workflow or CronWorkflow";

/// Why an object cannot be converted.
#[derive(Debug, thiserror::Error)]
#[error("{title} cannot be converted:\n{}", .reasons.iter().map(|reason| format!("* {reason}")).collect::<Vec<_>>().join("\n"))]
pub struct Refused {
    /// Its kind and name.
    pub title: String,
    /// Each field with what to do.
    pub reasons: Vec<String>,
}

/// An object to write.
struct Output {
    manifest: Mapping,
    /// What is to be said of it, by where the fields are that the notes are about.
    notes: Vec<(&'static [&'static str], Notes)>,
}

impl Output {
    /// Nothing to write, but why.
    fn refused(notes: Notes) -> Self {
        Self { manifest: Mapping::new(), notes: vec![(&[], notes)] }
    }

    fn is_refused(&self) -> bool {
        self.notes.iter().any(|(_, notes)| notes.are_refusals())
    }
}

/// The validation of what comes out.
pub struct Admissions {
    tasks: Admission,
    schedules: Admission,
}

impl Admissions {
    /// By the definitions that the `crd` subcommand prints.
    pub fn new() -> Self {
        Self { tasks: Admission::new(), schedules: Admission::of_schedules() }
    }
}

impl Default for Admissions {
    fn default() -> Self {
        Self::new()
    }
}

/// Converts all that can be in a file. What comes out has passed `admissions`.
pub fn convert(text: &str, options: Options, admissions: &Admissions) -> Result<Converted, ConvertError> {
    let (mut converted, mut refused) = (Converted::default(), vec![]);
    for source in read::objects(text)? {
        let title = source.title();
        let outputs = match (source.group(), source.kind.as_str()) {
            ("batch", "Job") => job::convert(&source, options),
            ("batch", "CronJob") => cron_job::convert(&source, options),
            ("argoproj.io", "Workflow") => argo::convert(&source, options),
            ("argoproj.io", "CronWorkflow") => argo::convert_cron(&source, options),
            _ => {
                converted.skipped.push(format!("skipped: {title}"));
                continue;
            }
        };
        for mut output in outputs {
            admit(&mut output, admissions);
            if output.is_refused() {
                let reasons = output.notes.into_iter().flat_map(|(_, notes)| notes.into_refusals()).collect();
                refused.push(Refused { title: title.clone(), reasons });
                break;
            }
            render::append(&mut converted.yaml, &output)?;
            let new = output.notes.into_iter().flat_map(|(_, notes)| notes.into_notes(&title));
            for note in new.filter(|note| note.kind != Kind::Comment) {
                // One task of a Job says the same as the next.
                if !converted.notes.contains(&note) {
                    converted.notes.push(note);
                }
            }
        }
    }
    match (refused.is_empty(), converted.yaml.is_empty()) {
        (false, _) => Err(ConvertError::Refused(refused)),
        (true, true) => Err(ConvertError::Nothing { skipped: converted.skipped }),
        (true, false) => Ok(converted),
    }
}

/// Refuses what admission would.
fn admit(output: &mut Output, admissions: &Admissions) {
    if output.is_refused() {
        return;
    }
    let answer = match serde_json::to_value(&output.manifest) {
        Ok(json) if json["kind"] == "TaskSchedule" => {
            admissions.schedules.admit_schedule(&json, Notation::Json).err().unwrap_or_default()
        }
        Ok(json) => admissions.tasks.admit(&json, Notation::Json).err().unwrap_or_default(),
        Err(error) => vec![error.to_string()],
    };
    for (_, notes) in output.notes.iter_mut().take(1) {
        for message in &answer {
            notes.refuse("what comes of it", message);
        }
    }
}

/// A mapping in this order.
fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Mapping {
    entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
}

#[cfg(test)]
mod tests;
