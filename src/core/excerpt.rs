//! The excerpts of an attempt's messages that are stored and shown.

use super::message::{MAX_MESSAGE_BYTES, cut_around};
use super::pod_snapshot::Outcome;
use super::rule_match;
use std::collections::HashSet;
use std::ops::Range;

/// Two excerpts of what is reported of an end, each at most 1 KiB of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// For the history: the whole text if it fits, else its beginning, what a rule matched, and its end.
    pub text: Option<String>,
    /// The most important line, for conditions and Events: the line that a rule matched, else the cause that the Pod
    /// gives, else the first line of a termination report or the last meaningful line of a log.
    pub line: Option<String>,
}

/// The excerpts of this end. `pattern` is the expression with which a rule matched it.
pub fn excerpt(outcome: &Outcome, pattern: Option<&str>) -> Excerpt {
    let [cause, message, raw_report] = outcome.texts();
    let matches = |text: Option<&str>| pattern.zip(text).and_then(|(pattern, text)| rule_match::find(pattern, text));
    let (in_cause, in_message) = (matches(cause), matches(message));
    // The raw report is shown only if the rule matched it and no other text.
    let in_report = if in_cause.is_none() && in_message.is_none() { matches(raw_report) } else { None };
    let raw_report = raw_report.filter(|_| in_report.is_some());
    let (mut whole, mut focus) = (String::new(), None);
    for (text, matched) in [(cause, in_cause), (message, in_message), (raw_report, in_report)] {
        let Some(text) = text else { continue };
        if !whole.is_empty() {
            whole.push('\n');
        }
        let from = whole.len();
        focus = focus.or_else(|| matched.map(|matched| from + matched.start..from + matched.end));
        whole.push_str(text);
    }
    let matched_line = focus.clone().and_then(|focus| line_of(&whole, &focus));
    let line = matched_line.or_else(|| {
        let of_message = if outcome.is_log { last_line } else { first_line };
        let line = cause.and_then(first_line).or_else(|| message.and_then(of_message));
        line.map(|line| (line, None))
    });
    Excerpt { text: stored(&whole, focus), line: line.and_then(|(line, focus)| stored(line, focus)) }
}

fn stored(text: &str, focus: Option<Range<usize>>) -> Option<String> {
    Some(cut_around(text, focus, MAX_MESSAGE_BYTES)).filter(|text| !text.is_empty())
}

/// The line in which the match begins, and where in the line it is. None if the match is empty or the whole text.
fn line_of<'a>(text: &'a str, matched: &Range<usize>) -> Option<(&'a str, Option<Range<usize>>)> {
    let found = text.get(matched.clone())?;
    if found.trim().is_empty() || found.len() >= text.trim().len() {
        return None;
    }
    let begin = matched.end - found.trim_start().len();
    let start = text.get(..begin)?.rfind('\n').map_or(0, |end| end + 1);
    let end = text.get(begin..)?.find('\n').map_or(text.len(), |length| begin + length);
    let line = text.get(start..end)?;
    let indent = line.len() - line.trim_start().len();
    let line = line.trim();
    let at = |index: usize| index.saturating_sub(start + indent).min(line.len());
    let focus = at(begin)..at(matched.end);
    (!line.is_empty()).then_some((line, Some(focus)))
}

/// The first line that has words, else the first that is not empty.
pub fn first_line(text: &str) -> Option<&str> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(|line| is_sentence(line)).or_else(|| lines().next())
}

/// The last meaningful line of a log: not a stack frame, not the continuation of another line, and not what a runtime
/// adds to every error. A line that begins with `fatal` or the like wins over later ones: the container runtime reads
/// standard output and standard error separately, so their lines may be in another order than they were written.
pub fn last_line(log: &str) -> Option<&str> {
    let of_dump = go_dump(log);
    let has_meaning = |line: &str| is_sentence(line) && !is_frame(line.trim()) && !is_trailer(line.trim());
    let meaningful = || log.lines().enumerate().filter(|(number, line)| !of_dump.contains(number) && has_meaning(line));
    let fatal = meaningful().filter(|(_, line)| is_fatal(line)).last();
    let unindented = || meaningful().filter(|(_, line)| !line.starts_with([' ', '\t'])).last();
    let best = fatal.or_else(unindented).or_else(|| meaningful().last()).map(|(_, line)| line);
    best.or_else(|| log.lines().rfind(|line| !line.trim().is_empty())).map(str::trim)
}

fn is_sentence(line: &str) -> bool {
    line.chars().any(char::is_alphanumeric)
}

fn is_fatal(line: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.next().is_some_and(|word| ["fatal", "critical", "panic"].iter().any(|fatal| word.eq_ignore_ascii_case(fatal)))
}

/// A line of a stack trace: Java, JavaScript and .NET; Python; PHP and sanitizers; Ruby.
fn is_frame(line: &str) -> bool {
    let more = line.strip_prefix("... ").and_then(|rest| rest.split_once(' '));
    let is_more = more.is_some_and(|(count, _)| count.parse::<u32>().is_ok());
    let is_numbered = line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_place = |place: &str| place.split([' ', '(']).next().is_some_and(|first| first.contains(['.', '/']));
    let is_java = line.strip_prefix("at ").is_some_and(|place| place.ends_with(')') && is_place(place));
    let is_python = line.starts_with("File \"") && line.contains(", line ");
    is_more || is_numbered || is_java || is_python || (line.starts_with("from ") && line.contains(":in "))
}

/// A line that runtimes print after an error message.
fn is_trailer(line: &str) -> bool {
    const BEGINNINGS: [&str; 9] = [
        "stack backtrace:",
        "Stack trace:",
        "note: run with `RUST_BACKTRACE",
        "note: Some details are omitted",
        "Node.js v",
        "[signal ",
        "exit status ",
        "npm ERR! A complete log of this run",
        "npm error A complete log of this run",
    ];
    BEGINNINGS.into_iter().any(|beginning| line.starts_with(beginning))
}

/// The numbers of the lines in Go's dumps of its goroutines. A dump begins with `goroutine 1 [running]:` and ends
/// before the first line of another form.
fn go_dump(log: &str) -> HashSet<usize> {
    let mut inside = false;
    let mut lines = HashSet::new();
    for (number, line) in log.lines().enumerate() {
        let header = line.strip_prefix("goroutine ").and_then(|rest| rest.split_once(" ["));
        let begins = header.is_some_and(|(id, _)| id.split(' ').next().is_some_and(|id| id.parse::<u64>().is_ok()));
        let goes_on = || line.trim().is_empty() || line.starts_with('\t') || is_call(line) || is_trailer(line);
        inside = begins || (inside && goes_on());
        if inside {
            lines.insert(number);
        }
    }
    lines
}

/// A line of a dump: a function (`main.run({0x1, 0x2})`, `created by main.main in goroutine 1`) or a register
/// (`rax 0x0`).
fn is_call(line: &str) -> bool {
    let is_function = || line.split('(').next().is_some_and(|name| !name.contains(' ')) && line.ends_with(')');
    let is_register = || line.split_once(' ').is_some_and(|(_, value)| value.trim_start().starts_with("0x"));
    is_function() || is_register() || line.starts_with("created by ")
}

#[cfg(test)]
mod tests;
