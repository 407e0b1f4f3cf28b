//! The attempts of a task over time, as a picture and as a table of the same.

use super::Look;
use crate::api::{Action, EndReason, FallbackState, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::delay::DelayRange;
use crate::core::end_text::reason_and_code;
use crate::core::past_waits::ranges;
use crate::core::time::{human, plus, until};
use crate::ui::query::{Paging, Place, page_of};
use crate::ui::text::{When, exact};
use jiff::{SignedDuration, Timestamp};

/// Where the picture begins and ends, in percent of its width: the numbers of the attempts are to its left.
const LEFT: f64 = 7.0;
const RIGHT: f64 = 99.0;
/// Least width of a bar, in percent.
const LEAST_WIDTH: f64 = 0.4;
/// Heights, in pixels.
const ROW_HEIGHT: usize = 20;
const AXIS_HEIGHT: usize = 20;
/// Most marks of the axis.
const MAX_TICKS: i64 = 6;
/// Distances of the marks, in seconds.
const STEPS: [i64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000];

/// The picture and the table.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The rows, the newest first.
    pub rows: Vec<Row>,
    /// The picture; none if nothing has begun.
    pub picture: Option<Picture>,
    /// Which rows are shown.
    pub paging: Paging,
    /// How many attempts are not in the history any more.
    pub dropped: i32,
}

/// One attempt, in words.
#[derive(Clone, Debug)]
pub struct Row {
    /// Such as `3`, or `fallback`.
    pub number: String,
    /// The class of its shape and colour.
    pub class: &'static str,
    /// How it ended.
    pub result: String,
    /// When it began.
    pub started: Option<When>,
    /// How long it ran.
    pub ran: String,
    /// The message.
    pub message: String,
    /// The rule that decided, and what followed.
    pub verdict: String,
    /// The wait after it.
    pub wait: String,
    /// The range that the jitter could have picked it from.
    pub range: String,
    /// The node.
    pub node: String,
}

/// The picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Height in pixels.
    pub height: usize,
    /// The baseline of the axis' texts.
    pub axis: usize,
    /// Where the lines of the axis end.
    pub foot: usize,
    /// What it says, for those who do not see it.
    pub summary: String,
    /// Marks of the axis.
    pub ticks: Vec<Tick>,
    /// A row for each attempt.
    pub bars: Vec<Bar>,
}

/// A mark of the axis.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Where, in percent.
    pub x: String,
    /// Its text.
    pub text: String,
    /// Whether its text ends there, since there is no room to the right.
    pub is_last: bool,
    /// Whether its text is left out where there is little room: that of every second one, and not of the last.
    pub is_minor: bool,
}

/// An attempt in the picture. Places are in percent of the width, and in pixels from above.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Such as `#3`.
    pub label: String,
    /// The baseline of the label.
    pub baseline: usize,
    /// The upper edge.
    pub y: usize,
    /// The middle.
    pub middle: usize,
    /// The left edge.
    pub x: String,
    /// The width.
    pub width: String,
    /// The class of its colour.
    pub class: &'static str,
    /// What it says when pointed at.
    pub title: String,
    /// The wait after it.
    pub wait: Option<WaitBar>,
}

/// A wait in the picture.
#[derive(Clone, Debug)]
pub struct WaitBar {
    /// Where it begins.
    pub x: String,
    /// Where it ends.
    pub end: String,
    /// The range that the jitter could have picked its end from: where it begins, and its width.
    pub range: Option<(String, String)>,
    /// What it says when pointed at.
    pub title: String,
}

/// An attempt with its times.
struct Span<'a> {
    number: String,
    class: &'static str,
    result: String,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    message: &'a str,
    verdict: String,
    wait: Option<SignedDuration>,
    range: Option<DelayRange>,
    node: &'a str,
}

/// The attempts of the task, on the query's page.
pub fn timeline(look: Look, task: &RetryableTask) -> Timeline {
    let none = RetryableTaskStatus::default();
    let status = task.status.as_ref().unwrap_or(&none);
    let ended = status.history.iter().zip(ranges(task)).map(|(entry, range)| of_entry(entry, range));
    let mut spans: Vec<Span> = ended.collect();
    spans.extend(fallback(status, look.now));
    spans.extend(current(status, look.now));
    spans.reverse();
    let (spans, paging) = page_of(spans, look.query, Place::Task);
    Timeline {
        picture: picture(&spans, look.now),
        rows: spans.iter().map(|span| row(look, span)).collect(),
        paging,
        dropped: status.history_dropped,
    }
}

fn of_entry(entry: &HistoryEntry, range: Option<DelayRange>) -> Span<'_> {
    let is_plain_success = entry.action == Action::Complete && entry.reason == EndReason::Completed.as_str();
    let (class, word) = match entry.action {
        Action::Complete => ("succeeded", "Succeeded"),
        Action::Ignore => ("cancelled", "Not charged"),
        Action::Retry | Action::Fail | Action::Unknown => ("failed", "Failed"),
    };
    let cause = match entry.signal {
        Some(signal) => format!("{}, signal {signal}", reason_and_code(&entry.reason, entry.exit_code)),
        None => reason_and_code(&entry.reason, entry.exit_code),
    };
    let error_type = entry.error_type.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    let action = match entry.action {
        Action::Complete => "the task is done",
        Action::Retry => "retry",
        Action::Ignore => "retry, not charged",
        Action::Fail => "the task fails",
        Action::Unknown => "unknown",
    };
    let verdict = match &entry.rule {
        Some(rule) => format!("rule {rule}: {action}"),
        None => action.to_owned(),
    };
    Span {
        number: entry.attempt.to_string(),
        class,
        result: if is_plain_success { word.to_owned() } else { format!("{word}: {cause}{error_type}") },
        from: entry.start_time.as_ref().or(entry.finish_time.as_ref()).map(|at| at.0),
        to: entry.finish_time.as_ref().map(|at| at.0),
        message: entry.message.as_deref().unwrap_or_default(),
        verdict,
        wait: entry.delay_milliseconds.map(SignedDuration::from_millis),
        range,
        node: entry.node_name.as_deref().unwrap_or_default(),
    }
}

/// The attempt that is under way, if it has begun.
fn current(status: &RetryableTaskStatus, now: Timestamp) -> Option<Span<'_>> {
    let current = status.current.as_ref().filter(|current| !current.fallback)?;
    let began = current.create_time.as_ref().filter(|_| current.pod_name.is_some())?.0;
    let (class, result) = match (&current.hold_up, current.stop_reason) {
        (_, Some(reason)) => ("cancelled", format!("Being stopped: {}", reason.as_str())),
        (Some(hold_up), None) => ("pending", format!("Not started: {}", hold_up.reason)),
        (None, None) => ("running", "Running".to_owned()),
    };
    let message = current.hold_up.as_ref().and_then(|hold_up| hold_up.message.as_deref()).unwrap_or_default();
    Some(Span {
        number: current.number.to_string(),
        class,
        result,
        from: Some(began),
        to: Some(now.max(began)),
        message,
        verdict: String::new(),
        wait: None,
        range: None,
        node: "",
    })
}

fn fallback(status: &RetryableTaskStatus, now: Timestamp) -> Option<Span<'_>> {
    let fallback = status.fallback.as_ref()?;
    let (class, word) = match fallback.state {
        FallbackState::Running => ("running", "Running"),
        FallbackState::Succeeded => ("succeeded", "Succeeded"),
        FallbackState::Failed => ("failed", "Failed"),
        FallbackState::Unknown => ("unknown", "Unknown"),
    };
    let cause = fallback.reason.as_ref().map(|reason| format!(": {}", reason_and_code(reason, fallback.exit_code)));
    Some(Span {
        number: "fallback".into(),
        class,
        result: format!("{word}{}", cause.unwrap_or_default()),
        from: fallback.start_time.as_ref().map(|at| at.0),
        to: fallback.finish_time.as_ref().map_or(Some(now), |at| Some(at.0)),
        message: fallback.message.as_deref().unwrap_or_default(),
        verdict: String::new(),
        wait: None,
        range: None,
        node: fallback.node_name.as_deref().unwrap_or_default(),
    })
}

fn row(look: Look, span: &Span) -> Row {
    let ran = span.from.zip(span.to).map(|(from, to)| human(until(from, to)));
    Row {
        number: span.number.clone(),
        class: span.class,
        result: span.result.clone(),
        started: span.from.map(|at| look.when(at)),
        ran: ran.unwrap_or_default(),
        message: span.message.to_owned(),
        verdict: span.verdict.clone(),
        wait: span.wait.map(human).unwrap_or_default(),
        range: span.range.map(range_text).unwrap_or_default(),
        node: span.node.to_owned(),
    }
}

fn range_text(range: DelayRange) -> String {
    if range.earliest() == range.latest() {
        return "no jitter".into();
    }
    format!("{} to {}", human(range.earliest()), human(range.latest()))
}

/// Turns times into places.
struct Scale {
    from: Timestamp,
    seconds: f64,
}

impl Scale {
    fn over(spans: &[Span], now: Timestamp) -> Option<Self> {
        let from = spans.iter().filter_map(|span| span.from).min()?;
        let ends = spans.iter().filter_map(|span| {
            let to = span.to?;
            let wait = span.range.map(DelayRange::latest).max(span.wait).unwrap_or_default();
            Some(plus(to, wait))
        });
        let to = ends.max().unwrap_or(now);
        Some(Self { from, seconds: until(from, to).as_secs_f64().max(1.0) })
    }

    fn place(&self, at: Timestamp) -> f64 {
        let share = until(self.from, at).as_secs_f64() / self.seconds;
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<Tick> {
        #[allow(clippy::cast_possible_truncation)] // a span of timestamps in seconds
        let length = self.seconds as i64;
        let fits = |step: &&i64| length / **step <= MAX_TICKS;
        let step = STEPS.iter().find(fits).copied().unwrap_or(length.max(1));
        let last = length / step;
        (0..=last)
            .map(|index| {
                let after = SignedDuration::from_secs(index * step);
                let text = if index == 0 { "0".to_owned() } else { format!("+{}", whole(after)) };
                let x = self.place(plus(self.from, after));
                Tick { x: percent(x), text, is_last: x > RIGHT - 8.0, is_minor: last > 2 && index % 2 == 1 }
            })
            .collect()
    }
}

/// As people read it, without a second unit that is zero.
fn whole(time: SignedDuration) -> String {
    let text = human(time);
    let units = text.find(|c: char| c.is_ascii_alphabetic()).and_then(|end| text.split_at_checked(end + 1));
    match units {
        Some((first, "0s" | "0m" | "0h")) => first.to_owned(),
        _ => text,
    }
}

fn percent(place: f64) -> String {
    format!("{place:.2}%")
}

fn picture(spans: &[Span], now: Timestamp) -> Option<Picture> {
    let scale = Scale::over(spans, now)?;
    let bars: Vec<Bar> = spans.iter().enumerate().filter_map(|(index, span)| bar(&scale, span, index)).collect();
    let foot = AXIS_HEIGHT + ROW_HEIGHT * spans.len();
    Some(Picture {
        height: foot + 4,
        axis: AXIS_HEIGHT - 7,
        foot,
        summary: format!(
            "{} attempts from {} on, over {}. The table below has the same.",
            bars.len(),
            exact(scale.from),
            human(SignedDuration::from_secs_f64(scale.seconds)),
        ),
        ticks: scale.ticks(),
        bars,
    })
}

fn bar(scale: &Scale, span: &Span, index: usize) -> Option<Bar> {
    let (from, to) = (span.from?, span.to?);
    let (x, end) = (scale.place(from), scale.place(to));
    let y = AXIS_HEIGHT + ROW_HEIGHT * index;
    let number = &span.number;
    Some(Bar {
        label: if number.starts_with(|c: char| c.is_ascii_digit()) { format!("#{number}") } else { "fallb.".into() },
        baseline: y + 14,
        y: y + 4,
        middle: y + 10,
        x: percent(x),
        width: percent((end - x).max(LEAST_WIDTH)),
        class: span.class,
        title: format!("Attempt {number}. {}. It ran {}.", span.result, human(until(from, to))),
        wait: span.wait.filter(|wait| !wait.is_zero()).map(|wait| wait_bar(scale, to, wait, span.range)),
    })
}

fn wait_bar(scale: &Scale, from: Timestamp, wait: SignedDuration, range: Option<DelayRange>) -> WaitBar {
    let spread = range.filter(|range| range.earliest() < range.latest());
    let range_bar = spread.map(|range| {
        let (begin, end) = (scale.place(plus(from, range.earliest())), scale.place(plus(from, range.latest())));
        (percent(begin), percent((end - begin).max(LEAST_WIDTH)))
    });
    let could = spread.map(|range| format!(", which the jitter picked from {}", range_text(range)));
    WaitBar {
        x: percent(scale.place(from)),
        end: percent(scale.place(plus(from, wait))),
        range: range_bar,
        title: format!("Then a wait of {}{}.", human(wait), could.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
