//! Draws what a service was asked for, second by second, as SVG that can be read on light and dark pages; the numbers are beside
//! it as CSV.

#![allow(clippy::cast_precision_loss)] // of seconds and counts in a picture

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The calls that a service saw, in milliseconds.
pub struct Seen {
    pub without: Vec<u64>,
    pub with: Vec<u64>,
    /// When it was back.
    pub back: u64,
}

const WIDTH: usize = 760;
const LEFT: usize = 44;
const PANEL: usize = 130;
const TOP: usize = 34;
const GAP: usize = 44;
const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}.axis{stroke:#8c959f;stroke-width:1}.down{fill:#d1242f;opacity:.10}\
    .without{fill:#bc4c00}.with{fill:#0969da}@media(prefers-color-scheme:dark){text{fill:#d1d7e0}.down{fill:#f47067;opacity:.18}\
    .without{fill:#f69d50}.with{fill:#539bf5}}";

/// Writes the picture, and its numbers.
pub fn draw(path: &Path, seen: &Seen) {
    let Seen { without, with, back } = seen;
    let first = *without.iter().chain(with).min().unwrap();
    let seconds = |calls: &[u64]| {
        let last = without.iter().chain(with).max().unwrap();
        let mut counts = vec![0_usize; usize::try_from((last - first) / 1000).unwrap() + 1];
        for call in calls {
            counts[usize::try_from((call - first) / 1000).unwrap()] += 1;
        }
        counts
    };
    let (without, with) = (seconds(without), seconds(with));
    let back = usize::try_from((back - first) / 1000).unwrap() + 1;
    let rows =
        without.iter().zip(&with).enumerate().map(|(second, (without, with))| format!("{second},{without},{with}\n"));
    let head = format!("# the service was back after second {back}\nsecond,without a queue,with a queue\n");
    fs::write(path.with_extension("csv"), head + &rows.collect::<String>()).unwrap();
    fs::write(path, picture(&without, &with, back)).unwrap();
}

fn picture(without: &[usize], with: &[usize], back: usize) -> String {
    let most = without.iter().chain(with).copied().max().unwrap_or(1).max(1);
    let height = TOP + 2 * PANEL + GAP + 40;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Calls per second that a service sees in an outage, without and with a TaskQueue</title>\n<style>{STYLE}</style>\n"
    );
    panel(&mut svg, TOP, ("without a queue", "without"), without, (most, back));
    panel(&mut svg, TOP + PANEL + GAP, ("with a queue and its circuit breaker", "with"), with, (most, back));
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">seconds; the service is down where the ground is red</text>",
        height - 6
    );
    svg + "</svg>\n"
}

fn panel(svg: &mut String, top: usize, (title, class): (&str, &str), counts: &[usize], (most, back): (usize, usize)) {
    let (room, bottom) = (WIDTH - LEFT - 12, top + PANEL);
    let x = |second: usize| LEFT as f64 + second as f64 * room as f64 / counts.len() as f64;
    let down: usize = counts.iter().take(back).sum();
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">{title}: {down} calls while it is down</text>\n\
         <rect class=\"down\" x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{PANEL}\"/>\n\
         <path class=\"axis\" fill=\"none\" d=\"M{LEFT} {top}V{bottom}H{}\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most}</text><text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>",
        top - 10,
        x(back) - LEFT as f64,
        LEFT + room,
        LEFT - 6,
        top + 10,
        LEFT - 6,
    );
    for (second, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let tall = (count * PANEL) as f64 / most as f64;
        let wide = (x(1) - x(0) - 0.6).max(0.8);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>",
            x(second),
            bottom as f64 - tall,
        );
    }
    for second in (0..counts.len()).step_by(30) {
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{second}</text>", x(second), bottom + 15);
    }
}
