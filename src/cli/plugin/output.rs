//! What is printed, and how.

use super::error::Error;
use clap::{Args, ValueEnum};
use kube::Resource;
use retryable_tasks::plugin::table::{Style, Table};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    #[value(hide = true)]
    Table,
    /// With more columns
    Wide,
    /// The names alone
    Name,
    /// For programs
    Json,
    /// For programs
    Yaml,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The format of the output
    #[arg(long, short, value_enum, default_value_t, hide_default_value = true, value_name = "FORMAT")]
    pub(super) output: Output,

    /// No line of headers
    #[arg(long)]
    no_headers: bool,
}

impl Show {
    /// How tables are drawn. Colours and the width are a terminal's.
    pub(super) fn style(&self) -> Style {
        Style { no_header: self.no_headers, ..style() }
    }

    /// Prints objects in the format that was asked for. `empty` is said if there is none.
    pub(super) fn objects<K>(&self, items: &[K], table: impl FnOnce(bool) -> Table, empty: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        match self.output {
            Output::Json | Output::Yaml => {
                self.value(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}))
            }
            Output::Name => out(&items.iter().map(|item| name_of(item) + "\n").collect::<String>()),
            Output::Table | Output::Wide if items.is_empty() => {
                note(empty);
                Ok(())
            }
            Output::Table | Output::Wide => out(&table(self.output == Output::Wide).draw(self.style())),
        }
    }

    /// Prints a value for programs: as YAML if that was asked for, else as JSON.
    pub(super) fn value(&self, value: &impl Serialize) -> Result<(), Error> {
        match self.output {
            Output::Yaml => yaml(value),
            Output::Table | Output::Wide | Output::Name | Output::Json => json(value),
        }
    }

    /// Prints one of several values that come one by one.
    pub(super) fn next_value(&self, value: &impl Serialize) -> Result<(), Error> {
        if self.output == Output::Yaml {
            out("---\n")?;
        }
        self.value(value)
    }

    /// Whether it is for programs.
    pub(super) fn is_value(&self) -> bool {
        matches!(self.output, Output::Json | Output::Yaml)
    }
}

/// The format of what has no names and no columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ValueFormat {
    /// For programs
    Json,
    /// For programs
    Yaml,
}

#[derive(Debug, Args)]
pub(super) struct ShowValue {
    /// The format of the output, for programs
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<ValueFormat>,
}

impl ShowValue {
    /// Prints the value, if it is for programs. Answers whether it was.
    pub(super) fn print(&self, value: &impl Serialize) -> Result<bool, Error> {
        match self.output {
            None => return Ok(false),
            Some(ValueFormat::Json) => json(value)?,
            Some(ValueFormat::Yaml) => yaml(value)?,
        }
        Ok(true)
    }

    /// Whether it is for programs.
    pub(super) fn is_value(&self) -> bool {
        self.output.is_some()
    }
}

fn json(value: &impl Serialize) -> Result<(), Error> {
    out(&(serde_json::to_string_pretty(value)? + "\n"))
}

fn yaml(value: &impl Serialize) -> Result<(), Error> {
    out(&serde_yaml_ng::to_string(value)?)
}

/// As kubectl names an object, such as `retryabletask.retryable.dev/import-orders`.
pub(super) fn name_of<K: Resource<DynamicType = ()>>(item: &K) -> String {
    let name = item.meta().name.as_deref().unwrap_or_default();
    format!("{}.{}/{name}", K::kind(&()).to_ascii_lowercase(), K::group(&()))
}

/// What suits where standard output leads.
pub(super) fn style() -> Style {
    let is_terminal = io::stdout().is_terminal();
    let wants_no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let width = terminal_size::terminal_size().filter(|_| is_terminal).map(|(width, _)| usize::from(width.0));
    Style { no_header: false, colour: is_terminal && !wants_no_colour, width }
}

/// How many lines the terminal shows.
pub(super) fn height() -> usize {
    terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0))
}

/// Writes to standard output, at once.
pub(super) fn out(text: &str) -> Result<(), Error> {
    write(text.as_bytes())
}

/// The same of bytes that need not be text.
pub(super) fn write(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// A remark, to standard error.
#[allow(clippy::print_stderr)] // standard output has what was asked for
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints what could not be read. Answers the exit code.
pub(super) fn problems(problems: &[String]) -> u8 {
    for problem in problems {
        note(&format!("error: {problem}"));
    }
    u8::from(!problems.is_empty())
}
