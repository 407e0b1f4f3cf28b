//! Plain columns, as kubectl prints them.

use crate::core::message::misleads;

const GAP: &str = "   ";
/// The narrowest that a last column is cut to.
const LEAST_WIDTH: usize = 16;

/// Rows under headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The headers.
    pub header: Vec<&'static str>,
    /// A cell for each header.
    pub rows: Vec<Vec<String>>,
    /// The columns that a narrow window goes without, the first one first.
    pub dispensable: &'static [&'static str],
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Without the line of headers.
    pub no_header: bool,
    /// Colours the words that name a state.
    pub colour: bool,
    /// The width of the window. Columns that can be done without are left out until the rest fits, and the last one is cut. None: all is
    /// shown.
    pub width: Option<usize>,
}

impl Table {
    /// A table without rows.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new(), dispensable: &[] }
    }

    /// The lines.
    pub fn draw(&self, style: Style) -> String {
        let header: Vec<String> = self.header.iter().map(|&cell| cell.to_owned()).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect::<Vec<_>>());
        let mut all: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        if let Some(width) = style.width {
            let mut rest = self.dispensable.iter();
            while before_last(&all) + LEAST_WIDTH > width
                && let Some(column) = rest.next()
            {
                leave_out(&mut all, column);
            }
        }
        if style.no_header {
            all.remove(0);
        }
        let widths = widths(&all);
        let room = style.width.map(|width| width.saturating_sub(before_last(&all)).max(LEAST_WIDTH));
        all.iter().map(|row| line(row, &widths, room, style.colour)).collect()
    }
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let of = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    (0..columns).map(|column| of(column).unwrap_or(0)).collect()
}

/// Where the last column begins.
fn before_last(rows: &[Vec<String>]) -> usize {
    widths(rows).iter().rev().skip(1).map(|width| width + GAP.len()).sum()
}

fn leave_out(rows: &mut [Vec<String>], column: &str) {
    let at = rows.first().and_then(|header| header.iter().position(|name| name == column));
    for row in rows.iter_mut() {
        if let Some(at) = at.filter(|at| *at < row.len()) {
            row.remove(at);
        }
    }
}

/// The text in lines of at most `width` characters, broken between words. All but the first are indented.
pub fn wrapped(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(room) = width.map(|width| width.saturating_sub(indent).max(LEAST_WIDTH)) else { return text.to_owned() };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

fn line(row: &[String], widths: &[usize], room: Option<usize>, colour: bool) -> String {
    let last = widths.len().saturating_sub(1);
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let cell = if column == last { cut(cell, room) } else { cell.clone() };
        let code = colour_of(&cell).filter(|_| colour);
        let padding = width.saturating_sub(cell.chars().count());
        match code {
            Some(code) => line.extend(["\u{1b}[", code, "m", &*cell, "\u{1b}[0m"]),
            None => line.push_str(&cell),
        }
        if column < last {
            line.push_str(&" ".repeat(padding));
            line.push_str(GAP);
        }
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// A cell is one line of harmless text, and never empty, so that columns can be told apart by programs too.
fn shown(cell: &str) -> String {
    let line: String = cell.chars().map(|c| if misleads(c) || c == '\t' { ' ' } else { c }).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "-".into() } else { line }
}

fn cut(cell: &str, room: Option<usize>) -> String {
    match room {
        Some(room) if cell.chars().count() > room => cell.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
        _ => cell.to_owned(),
    }
}

/// The colour of a word that names a state: red is failed, yellow needs somebody, green is well.
fn colour_of(cell: &str) -> Option<&'static str> {
    match cell {
        "Failed" | "Stalled" | "Open" | "Paused" | "Missing" => Some("31"),
        "Pending" | "Blocked" | "Queued" | "Waiting" | "Suspended" | "HalfOpen" | "WouldOpen" | "Held" => Some("33"),
        "Succeeded" | "Running" | "Closed" | "Scheduled" => Some("32"),
        _ => None,
    }
}

/// The text, or what stands for none.
pub fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".into(), |text| text.to_string())
}
