//! A page with generated parts.

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// A page, taken apart.
#[derive(Clone)]
pub struct Page(Vec<Piece>);

#[derive(Clone)]
enum Piece {
    /// One line, written by hand.
    Line(String),
    Generated(Part),
}

/// A generated part.
#[derive(Clone)]
pub struct Part {
    /// By what it is generated.
    pub kind: String,
    /// What the kind takes; may be empty.
    pub argument: String,
    /// What stands there, without the empty lines around it.
    pub body: String,
}

impl Page {
    pub fn read(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(head) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(" -->")) else {
                pieces.push(Piece::Line(line.into()));
                continue;
            };
            let (kind, argument) = head.split_once(' ').unwrap_or((head, ""));
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != END).collect();
            assert!(!body.iter().any(|line| line.starts_with(BEGIN)), "no end of: {line}");
            let body = body.join("\n").trim().to_owned();
            pieces.push(Piece::Generated(Part { kind: kind.into(), argument: argument.into(), body }));
        }
        Self(pieces)
    }

    pub fn text(&self) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Line(line) => format!("{line}\n"),
            Piece::Generated(Part { kind, argument, body }) => {
                let head = format!("{kind} {argument}");
                format!("{BEGIN}{} -->\n\n{body}\n\n{END}\n", head.trim_end())
            }
        });
        pieces.collect()
    }

    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Line(_) => None,
            Piece::Generated(part) => Some(part),
        })
    }

    /// The same page with other bodies.
    pub fn with(&self, body: impl Fn(&Part) -> String) -> Self {
        let mut new = self.clone();
        for piece in &mut new.0 {
            if let Piece::Generated(part) = piece {
                part.body = body(part);
            }
        }
        new
    }

    /// The link to the heading above that part, if the page has it.
    pub fn link(&self, kind: &str, argument: &str) -> Option<String> {
        let mut heading = "";
        for piece in &self.0 {
            match piece {
                Piece::Line(line) if line.starts_with('#') => heading = line,
                Piece::Generated(part) if part.kind == kind && part.argument == argument => {
                    return Some(format!("#{}", anchor(heading)));
                }
                _ => {}
            }
        }
        None
    }

    /// What is under the headings of that name, down to the next ones of the same level.
    pub fn section(&self, heading: &str) -> String {
        let level = heading.split(' ').next().unwrap_or_default();
        let text = self.text();
        let inside = text.lines().skip_while(|line| *line != heading).skip(1);
        inside.take_while(|line| line.split(' ').next() != Some(level)).flat_map(|line| [line, "\n"]).collect()
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A table of Markdown.
pub fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let titles: Vec<String> = titles.iter().map(ToString::to_string).collect();
    let mut lines = vec![row(&titles), format!("|{}", "---|".repeat(titles.len()))];
    lines.extend(rows.iter().map(|cells| row(cells)));
    lines.join("\n")
}

/// Text in a cell: on one line, and no bar in it.
pub fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Text in a cell, to the letter.
pub fn code(text: &str) -> String {
    let text = cell(text);
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
