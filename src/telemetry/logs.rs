//! Logs: one line per event on standard error, as text or as JSON.

use std::io::{self, IsTerminal as _};

use crate::core::message::misleads;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    fmt::{
        self, FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::{LookupSpan, Scope},
    util::SubscriberInitExt as _,
};

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people: time, level, spans with their fields, message. Coloured if standard error is a terminal.
    #[default]
    Text,
    /// For programs: one flat JSON object per line. It has the event's fields and those of its spans. If names collide,
    /// the event wins over its spans, and an inner span over an outer one.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is empty.
    #[error(
        "the log level is empty: give off, error, warn, info, debug or trace, or directives such as info,kube=debug"
    )]
    Empty,
    /// A single word that is not a level. The filter would read it as the name of a module, and log nothing else.
    #[error(
        "unknown log level `{0}`: give off, error, warn, info, debug or trace, or directives such as info,kube=debug"
    )]
    UnknownLevel(String),
    /// The directives do not parse.
    #[error("invalid log filter `{filter}`: {source}")]
    Filter {
        /// The filter as it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The process already has a logger.
    #[error("logging was set up before: {0}")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the logs of the whole process to stderr.
///
/// `level` is a level (`off`, `error`, `warn`, `info`, `debug`, `trace`) or a list of directives in the syntax of
/// [`EnvFilter`], such as `info,retryable_tasks=debug`.
///
/// # Errors
/// When the filter is invalid, or when logging was set up before.
pub fn init(level: &str, format: LogFormat) -> Result<(), Error> {
    let filter = filter(level)?;
    let ansi = std::io::stderr().is_terminal();
    match format {
        LogFormat::Text => text(filter, ansi, std::io::stderr).try_init()?,
        LogFormat::Json => json(filter, std::io::stderr).try_init()?,
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = level.trim();
    if level.is_empty() {
        return Err(Error::Empty);
    }
    let is_word = level.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word && !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
        return Err(Error::UnknownLevel(level.to_owned()));
    }
    EnvFilter::builder().parse(level).map_err(|source| Error::Filter { filter: level.to_owned(), source })
}

fn text<W>(filter: EnvFilter, ansi: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let writer = OneLine { inner: writer, escape: if ansi { Escape::Coloured } else { Escape::Text } };
    fmt::Subscriber::builder().with_env_filter(filter).with_ansi(ansi).with_writer(writer).finish()
}

/// Escapes characters that would break a record's line or change the terminal. Errors may quote any text of others.
struct OneLine<W> {
    inner: W,
    escape: Escape,
}

/// How to escape a character that misleads.
#[derive(Clone, Copy)]
enum Escape {
    Text,
    /// The colours of records are escape sequences too, and stay.
    Coloured,
    /// Characters that mislead can only be in strings.
    Json,
}

impl Escape {
    fn push(self, c: char, line: &mut String) {
        match self {
            _ if !misleads(c) => line.push(c),
            Self::Coloured if c == '\u{1b}' => line.push(c),
            Self::Text | Self::Coloured => line.extend(c.escape_default()),
            Self::Json => line.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OneLine { inner: self.inner.make_writer(), escape: self.escape }
    }
}

impl<W: io::Write> io::Write for OneLine<W> {
    /// The subscriber writes a whole record at once.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record.strip_suffix(b"\n").unwrap_or(record));
        let mut line = String::with_capacity(record.len());
        for c in text.chars() {
            self.escape.push(c, &mut line);
        }
        line.push('\n');
        self.inner.write_all(line.as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(OneLine { inner: writer, escape: Escape::Json })
        .fmt_fields(JsonFields::new())
        .event_format(FlatJson)
        .finish()
}

/// Writes an event and the fields of all its spans as one flat JSON object, so that a query can use `task` directly.
struct FlatJson;

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut line = Map::new();
        for span in ctx.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                line.extend(parse(&fields.fields));
            }
        }
        let mut fields = String::new();
        ctx.field_format().format_fields(Writer::new(&mut fields), event)?;
        line.extend(parse(&fields));

        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        line.insert("timestamp".into(), timestamp.into());
        line.insert("level".into(), metadata.level().as_str().into());
        line.insert("target".into(), metadata.target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

fn parse(fields: &str) -> Map<String, Value> {
    serde_json::from_str(fields).unwrap_or_default()
}

#[cfg(test)]
mod tests;
