//! The `convert` command: a task out of a Job or an Argo Workflow.

use super::print_error;
use clap::Args;
use retryable_tasks::convert::{self, Admissions, ConvertError, Converted, Kind, Options};
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Something means something else in the task.
const DIFFERS: u8 = 2;

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// The manifest, YAML or JSON, such as kubectl get job NAME -o yaml; - means standard input
    #[arg(required_unless_present = "from")]
    file: Option<String>,

    /// What is in the cluster, such as job/NAME or cronjob/NAME; in kubectl retryable alone
    #[arg(long, value_name = "KIND/NAME", conflicts_with = "file")]
    from: Option<String>,

    /// Take the defaults of a task, instead of waits and budgets as before
    #[arg(long)]
    modern: bool,

    /// Make one task of each completion of a Job
    #[arg(long)]
    expand: bool,
}

/// Why nothing is converted.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{file}: {why}")]
    Read { file: String, why: io::Error },
    #[error("{file}: {why}")]
    Convert { file: String, why: ConvertError },
    #[error("--from needs a cluster: kubectl retryable convert --from KIND/NAME")]
    NoCluster,
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl ConvertArgs {
    /// What is to be converted from the cluster.
    pub(super) fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }
}

/// Converts a file: the manifests to standard output, what to know to standard error. Ends with 0 if all is as before, 2 if
/// something differs, 1 if something cannot be converted.
pub(super) fn convert(args: &ConvertArgs) -> ExitCode {
    if args.from.is_some() {
        print_error(&Error::NoCluster);
        return ExitCode::FAILURE;
    }
    ExitCode::from(exit_code(args))
}

/// The same as a number.
pub(super) fn exit_code(args: &ConvertArgs) -> u8 {
    let file = args.file.as_deref().unwrap_or("-");
    let name = if file == "-" { "standard input" } else { file };
    match read(file) {
        Ok(text) => exit_code_of(args, name, &text),
        Err(why) => failed(&Error::Read { file: name.to_owned(), why }),
    }
}

/// Converts a text that is called `name`.
pub(super) fn exit_code_of(args: &ConvertArgs, name: &str, text: &str) -> u8 {
    match write(args, name, text) {
        Ok(true) => DIFFERS,
        Ok(false) => 0,
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> u8 {
    print_error(error);
    1
}

fn write(args: &ConvertArgs, name: &str, text: &str) -> Result<bool, Error> {
    let ConvertArgs { file: _, from: _, modern, expand } = args;
    let options = Options { modern: *modern, expand: *expand };
    let converted = convert::convert(text, options, &Admissions::new())
        .map_err(|why| Error::Convert { file: name.to_owned(), why })?;
    print_notes(&converted);
    match io::stdout().write_all(converted.yaml.as_bytes()) {
        // The reader, such as `head`, has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(converted.differs()),
        result => Ok(result.map(|()| converted.differs())?),
    }
}

fn read(file: &str) -> io::Result<String> {
    let mut text = String::new();
    match file {
        "-" => io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut opened| opened.read_to_string(&mut text)),
    }?;
    Ok(text)
}

#[allow(clippy::print_stderr)] // standard output has the manifests
fn print_notes(converted: &Converted) {
    for skipped in &converted.skipped {
        eprintln!("{skipped}");
    }
    for note in &converted.notes {
        let word = match note.kind {
            Kind::Difference => "differs",
            Kind::Comment | Kind::Remark => "note",
        };
        eprintln!("{word}: {}: {}: {}", note.title, note.path, note.text);
    }
}
